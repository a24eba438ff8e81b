//! What a forked child opens itself keeps its parent out, and the other way round. The only test of its program: nobody else may be in
//! the library when it forks.
#![allow(clippy::unwrap_used, missing_docs)]

use std::ffi::CString;
use std::mem::zeroed;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null_mut;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use orlop_capi::*;

const LAYERS: usize = 30;

fn open(dir: &Path) -> *mut orlop_store {
    let path = |name| CString::new(dir.join(name).as_os_str().as_bytes()).unwrap();
    let (graph, run) = (path("graph"), path("run"));
    let (mut config, mut store) = (null_mut(), null_mut());
    // SAFETY: a struct of options may be all zeroes, and everything lives as long as the calls.
    unsafe {
        let mut given: orlop_config_options = zeroed();
        given.size = size_of::<orlop_config_options>();
        given.only_given = 1;
        given.graph_root = graph.as_ptr();
        given.run_root = run.as_ptr();
        given.driver = c"vfs".as_ptr();
        assert_eq!(orlop_config_load(&given, &mut config, null_mut()), ORLOP_OK);
        assert_eq!(orlop_store_open(config, &mut store, null_mut()), ORLOP_OK);
        orlop_config_free(config);
    }
    store
}

/// Makes layers; whether all could be made.
fn make(store: *mut orlop_store, whose: &str) -> bool {
    (0..LAYERS).all(|n| {
        let id = CString::new(format!("{whose}-{n}")).unwrap();
        // SAFETY: a struct of options may be all zeroes, and everything lives as long as the call.
        unsafe {
            let mut new: orlop_new_layer = zeroed();
            new.size = size_of::<orlop_new_layer>();
            new.id = id.as_ptr();
            orlop_create_layer(store, &new, null_mut(), null_mut()) == ORLOP_OK
        }
    })
}

#[test]
fn a_child_and_its_parent_lock_each_other_out() {
    // store-format 9.1
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let store = open(dir.path());
    // The parent has the lock files open when it forks.
    assert!(make(store, "before"));
    // SAFETY: no other thread is in the library, and the child ends without coming back.
    let ForkResult::Parent { child } = (unsafe { fork() }).unwrap() else {
        // SAFETY: ends the child whatever happens.
        unsafe { libc::alarm(60) };
        let done = make(open(dir.path()), "child");
        // SAFETY: the way out of a child.
        unsafe { libc::_exit(i32::from(!done)) }
    };
    let done = make(store, "parent");
    assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
    assert!(done);
    let mut records = orlop_buf { data: null_mut(), len: 0 };
    // SAFETY: a handle and a struct of ours; the buffer is freed once.
    let text = unsafe {
        assert_eq!(orlop_layers(store, &mut records, null_mut()), ORLOP_OK);
        let text = std::slice::from_raw_parts(records.data, records.len).to_vec();
        orlop_buf_free(&mut records);
        orlop_store_free(store);
        text
    };
    let layers: Vec<serde_json::Value> = serde_json::from_slice(&text).unwrap();
    assert_eq!(layers.len(), 3 * LAYERS);
}
