//! A driver of its own for each test, behind its C functions; whatever it mounts is unmounted even when the test panics.

use std::ffi::{CStr, CString, c_char};
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

use orlop_capi::*;

/// What a call says when it has failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: i32,
    pub(crate) errno: i32,
    pub(crate) message: String,
}

/// Calls a function with an error pointer: its number, or why it failed.
macro_rules! call {
    ($function:ident($($argument:expr),* $(,)?)) => {{
        let mut error: *mut orlop_capi::orlop_error = std::ptr::null_mut();
        // SAFETY: the tests hand in what the header asks for.
        let code = unsafe { orlop_capi::$function($($argument,)* &mut error) };
        crate::host::outcome(code, error)
    }};
}
pub(crate) use call;

pub(crate) fn outcome(code: i32, error: *mut orlop_error) -> Result<i32, Failure> {
    assert_eq!(
        code < 0,
        !error.is_null(),
        "an error object goes with a failure, and with no success"
    );
    if code >= 0 {
        return Ok(code);
    }
    // SAFETY: the error is the caller's until it is freed, at the end.
    unsafe {
        assert_eq!(orlop_error_code(error), code);
        let message = CStr::from_ptr(orlop_error_message(error)).to_str().unwrap().to_owned();
        let failure = Failure { code, errno: orlop_error_errno(error), message };
        orlop_error_free(error);
        Err(failure)
    }
}

/// A struct of options with its size set and all else zero.
pub(crate) fn zeroed<T: Copy>() -> T {
    let mut made = std::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: used for structs of the header only, which begin with their size and are valid as zeroes.
    unsafe {
        made.as_mut_ptr().cast::<usize>().write(size_of::<T>());
        made.assume_init()
    }
}

/// A list that lives for good, as tests are short.
pub(crate) fn list(texts: &[&str]) -> orlop_strings {
    let items: Vec<*const c_char> =
        texts.iter().map(|t| CString::new(*t).unwrap().into_raw().cast_const()).collect();
    let items = items.leak();
    orlop_strings { items: items.as_ptr(), count: items.len() }
}

/// No id map, and one.
pub(crate) const NO_MAPS: orlop_id_maps = orlop_id_maps { items: ptr::null(), count: 0 };

pub(crate) fn one_map() -> orlop_id_maps {
    let map = Box::leak(Box::new(orlop_id_map { container_id: 0, host_id: 100_000, size: 10 }));
    orlop_id_maps { items: map, count: 1 }
}

pub(crate) fn text(text: &str) -> CString {
    CString::new(text).unwrap()
}

/// The bytes of a buffer, which it frees.
pub(crate) fn taken(mut buf: orlop_buf) -> Vec<u8> {
    // SAFETY: a buffer that the library filled, with a NUL behind it.
    unsafe {
        assert_eq!(*buf.data.add(buf.len), 0);
        let bytes = std::slice::from_raw_parts(buf.data, buf.len).to_vec();
        orlop_buf_free(&mut buf);
        assert!(buf.data.is_null());
        bytes
    }
}

pub(crate) const EMPTY: orlop_buf = orlop_buf { data: ptr::null_mut(), len: 0 };

pub(crate) fn json(buf: orlop_buf) -> serde_json::Value {
    serde_json::from_slice(&taken(buf)).unwrap()
}

/// A graph root with a driver.
pub(crate) struct Host {
    dir: tempfile::TempDir,
    name: &'static str,
    options: &'static [&'static str],
    pub(crate) driver: *mut orlop_driver,
}

impl Host {
    pub(crate) fn new(name: &'static str) -> Self {
        Self::with(name, &[])
    }

    /// One with these driver options.
    pub(crate) fn with(name: &'static str, options: &'static [&'static str]) -> Self {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let mut host = Self { dir, name, options, driver: ptr::null_mut() };
        host.driver = host.another();
        call!(orlop_driver_prepare(host.driver)).unwrap();
        host
    }

    /// One more handle on the same root.
    pub(crate) fn another(&self) -> *mut orlop_driver {
        let root =
            |name: &str| CString::new(self.dir.path().join(name).as_os_str().as_bytes()).unwrap();
        let (graph, run, name) = (root("graph"), root("run"), text(self.name));
        let mut given: orlop_config_options = zeroed();
        given.only_given = 1;
        given.graph_root = graph.as_ptr();
        given.run_root = run.as_ptr();
        given.driver = name.as_ptr();
        given.driver_options = list(self.options);
        let (mut config, mut driver) = (ptr::null_mut(), ptr::null_mut());
        call!(orlop_config_load(&given, &mut config)).unwrap();
        call!(orlop_driver_open(config, &mut driver)).unwrap();
        // SAFETY: nobody uses it any more.
        unsafe { orlop_config_free(config) };
        driver
    }

    /// Closes the handle before its time.
    pub(crate) fn close(&mut self) {
        // SAFETY: nobody uses it any more.
        unsafe { orlop_driver_free(std::mem::replace(&mut self.driver, ptr::null_mut())) };
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("graph").join(self.name)
    }

    pub(crate) fn create(&self, id: &str, parent: &str) {
        let (id, parent) = (text(id), text(parent));
        let none = ptr::null();
        call!(orlop_driver_create(self.driver, id.as_ptr(), parent.as_ptr(), none)).unwrap();
    }

    /// Mounts a layer, lets `work` at it, and unmounts it.
    pub(crate) fn within(&self, id: &str, work: impl FnOnce(&Path)) {
        let id = text(id);
        let mut path = EMPTY;
        call!(orlop_driver_get(self.driver, id.as_ptr(), ptr::null(), &mut path)).unwrap();
        work(Path::new(std::str::from_utf8(&taken(path)).unwrap()));
        call!(orlop_driver_put(self.driver, id.as_ptr())).unwrap();
    }

    /// A layer's diff, read from a pipe while it is written.
    pub(crate) fn diff(&self, id: &str, parent: &str) -> Vec<u8> {
        let (id, parent) = (text(id), text(parent));
        piped_out(|fd| {
            let none = ptr::null();
            call!(orlop_driver_diff(
                self.driver,
                id.as_ptr(),
                parent.as_ptr(),
                ptr::null(),
                fd,
                none
            ))
            .unwrap();
        })
    }

    pub(crate) fn diff_size(&self, id: &str, parent: &str) -> u64 {
        let (id, parent, mut bytes) = (text(id), text(parent), 0);
        call!(orlop_driver_diff_size(
            self.driver,
            id.as_ptr(),
            parent.as_ptr(),
            ptr::null(),
            &mut bytes
        ))
        .unwrap();
        bytes
    }

    /// How many things lie in the directories for temporary ones.
    pub(crate) fn leftovers(&self) -> usize {
        let mut roots = EMPTY;
        let driver = if self.driver.is_null() { self.another() } else { self.driver };
        call!(orlop_driver_temp_dir_roots(driver, &mut roots)).unwrap();
        if self.driver.is_null() {
            // SAFETY: opened above.
            unsafe { orlop_driver_free(driver) };
        }
        let roots: Vec<PathBuf> = serde_json::from_value(json(roots)).unwrap();
        assert!(!roots.is_empty());
        roots.iter().map(|r| fs::read_dir(r).map_or(0, Iterator::count)).sum()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.close();
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let targets = table.lines().rev().filter_map(|l| l.split(' ').nth(4));
        for target in targets.filter(|t| Path::new(t).starts_with(self.dir.path())) {
            let target = text(target);
            // SAFETY: a C string; the mount is this test's own.
            unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
        }
    }
}

/// What `work` writes to the descriptor it is given.
pub(crate) fn piped_out(work: impl FnOnce(i32)) -> Vec<u8> {
    use std::io::Read;
    use std::os::fd::AsRawFd;
    let (mut reader, writer) = std::io::pipe().unwrap();
    std::thread::scope(|s| {
        let read = s.spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all).unwrap()
        });
        work(writer.as_raw_fd());
        drop(writer);
        read.join().unwrap()
    })
}

/// Gives `bytes` through a pipe to `work`; all of them must be read.
pub(crate) fn piped_in<T>(bytes: &[u8], work: impl FnOnce(i32) -> T) -> T {
    use std::os::fd::AsRawFd;
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::thread::scope(|s| {
        let written = s.spawn(move || writer.write_all(bytes));
        let outcome = work(reader.as_raw_fd());
        drop(reader);
        written.join().unwrap().unwrap();
        outcome
    })
}

/// The drivers that this process can serve.
pub(crate) fn drivers() -> Vec<&'static str> {
    // SAFETY: it only tells.
    if unsafe { libc::geteuid() } == 0 {
        return vec!["vfs", "overlay"];
    }
    println!("skipped: overlay needs root");
    vec!["vfs"]
}
