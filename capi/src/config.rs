//! storage.conf, and the caller's choices upon it, to what a store or a driver is opened with.

use std::collections::BTreeMap;
use std::ffi::c_char;
use std::path::PathBuf;

use orlop::IdMap;
use orlop::Result;
use orlop::config::{self, Environment, Overrides, RealFiles, StoreOptions, User};
use serde::Serialize;

use crate::buffer::{BufferOut, PointerOut, orlop_buf};
use crate::error::orlop_error;
use crate::guard::run;
use crate::handle::{self, Handle, opaque};
use crate::input::{
    self, Options, flag, id_maps, optional_path, optional_text, options, orlop_id_maps,
    orlop_strings, strings,
};
use crate::json;

/// What a store or a driver is opened with. It never changes: any thread may use it.
pub struct orlop_config(Handle<StoreOptions>);
opaque!(orlop_config, StoreOptions, "config");

/// Choices of the caller. NULL in its place, and zero in each field: none.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct orlop_config_options {
    /// sizeof(struct orlop_config_options).
    pub size: usize,
    /// A storage.conf to read in place of the one that CONTAINERS_STORAGE_CONF names or that is in the usual places.
    pub file: *const c_char,
    /// 1: read no file and no environment; what is given here is all there is.
    pub only_given: u32,
    /// 1: container records live under the run root, and go with a reboot.
    pub transient_store: u32,
    /// 1: never mount with overlay's "volatile"; only with only_given.
    pub disable_volatile: u32,
    /// Zero.
    pub reserved: u32,
    /// Root of the store. As with the Go command: where a root is given, nothing of the configuration holds but the other root.
    pub graph_root: *const c_char,
    /// Run-time root.
    pub run_root: *const c_char,
    /// Separate root for images.
    pub image_store: *const c_char,
    /// Name of the driver: "overlay" or "vfs".
    pub driver: *const c_char,
    /// "key=value" options for the driver.
    pub driver_options: orlop_strings,
    /// Drivers in the order in which they are tried where none is named; only with only_given.
    pub driver_priority: orlop_strings,
    /// User id map of the store; only with only_given.
    pub uid_map: orlop_id_maps,
    /// Group id map of the store; only with only_given.
    pub gid_map: orlop_id_maps,
    /// Whose layout the overlay driver's layers have: "containers" (podman's and its kin), "legacy" (of 2016), "cvmfs", or "moby"
    /// (Docker's overlay2, with the graph root /var/lib/docker); NULL: as they show. It is no key of storage.conf.
    pub dialect: *const c_char,
}

// SAFETY: numbers and pointers which may be NULL, `size` first.
unsafe impl Options for orlop_config_options {
    const NAME: &'static str = "orlop_config_options";
}

/// # Safety
/// The strings and lists live as long as the call.
unsafe fn resolve(given: orlop_config_options) -> Result<StoreOptions> {
    let optional = |text: *const c_char, what: &str| -> Result<Option<String>> {
        // SAFETY: as the caller promises.
        Ok(unsafe { optional_text(text, what) }?.map(str::to_owned))
    };
    // SAFETY: as the caller promises.
    let (graph_root, run_root, image_store, file) = unsafe {
        (
            optional_path(given.graph_root),
            optional_path(given.run_root),
            optional_path(given.image_store),
            optional_path(given.file),
        )
    };
    let driver = optional(given.driver, "driver")?;
    let dialect = optional(given.dialect, "dialect")?.map(|name| name.parse()).transpose()?;
    // SAFETY: as the caller promises.
    let driver_options = unsafe { strings(given.driver_options, "driver_options") }?;
    let transient = flag(given.transient_store, "transient_store")?;
    let alone = Alone {
        disable_volatile: flag(given.disable_volatile, "disable_volatile")?,
        // SAFETY: as the caller promises.
        driver_priority: unsafe { strings(given.driver_priority, "driver_priority") }?,
        // SAFETY: as the caller promises.
        uid_map: unsafe { id_maps(given.uid_map, "uid_map") }?,
        // SAFETY: as the caller promises.
        gid_map: unsafe { id_maps(given.gid_map, "gid_map") }?,
    };
    input::reserved(given.reserved)?;
    if flag(given.only_given, "only_given")? {
        if file.is_some() {
            return Err(input::invalid("file").detail("it goes with only_given = 0"));
        }
        return Ok(StoreOptions {
            graph_root: graph_root.unwrap_or_default(),
            run_root: run_root.unwrap_or_default(),
            image_store,
            driver: driver.unwrap_or_default(),
            dialect,
            driver_options,
            transient_store: transient,
            driver_priority: alone.driver_priority,
            uid_map: alone.uid_map,
            gid_map: alone.gid_map,
            disable_volatile: alone.disable_volatile,
            ..StoreOptions::default()
        });
    }
    if alone != Alone::default() {
        return Err(input::invalid("orlop_config_options")
            .detail("driver_priority, id maps and disable_volatile go with only_given = 1"));
    }
    let mut environment = Environment::of_process();
    if let Some(file) = file {
        environment.vars.insert("CONTAINERS_STORAGE_CONF".into(), file.into());
    }
    let user = User::of_process(&environment);
    let loaded = config::load(&RealFiles::default(), &environment, &user)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    loaded.with_overrides(Overrides {
        graph_root,
        run_root,
        image_store,
        driver,
        driver_options,
        dialect,
        transient,
    })
}

/// What cannot be put upon a configuration that was read.
#[derive(PartialEq, Default)]
struct Alone {
    disable_volatile: bool,
    driver_priority: Vec<String>,
    uid_map: Vec<IdMap>,
    gid_map: Vec<IdMap>,
}

/// The fields of Go's types.StoreOptions.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(skip_serializing_if = "String::is_empty")]
    runroot: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    root: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    imagestore: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    driver: &'a str,
    #[serde(rename = "driver-priority", skip_serializing_if = "<[_]>::is_empty")]
    driver_priority: &'a [String],
    #[serde(rename = "driver-options", skip_serializing_if = "<[_]>::is_empty")]
    driver_options: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    uidmap: Vec<PrintedMap>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gidmap: Vec<PrintedMap>,
    #[serde(skip_serializing_if = "str::is_empty")]
    root_auto_ns_user: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    auto_userns_min_size: u32,
    #[serde(skip_serializing_if = "is_zero")]
    auto_userns_max_size: u32,
    #[serde(rename = "PullOptions")]
    pull_options: &'a BTreeMap<String, String>,
    #[serde(rename = "disable-volatile", skip_serializing_if = "is_no")]
    disable_volatile: bool,
    #[serde(skip_serializing_if = "is_no")]
    transient_store: bool,
}

#[derive(Serialize)]
struct PrintedMap {
    container_id: u32,
    host_id: u32,
    size: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_no(flag: &bool) -> bool {
    !flag
}

fn printed(options: &StoreOptions) -> Printed<'_> {
    let path = |path: &PathBuf| path.to_string_lossy().into_owned();
    let maps = |maps: &[IdMap]| {
        let map = |m: &IdMap| PrintedMap {
            container_id: m.container_id,
            host_id: m.host_id,
            size: m.size,
        };
        maps.iter().map(map).collect()
    };
    Printed {
        runroot: path(&options.run_root),
        root: path(&options.graph_root),
        imagestore: options.image_store.as_ref().map(path),
        driver: &options.driver,
        driver_priority: &options.driver_priority,
        driver_options: &options.driver_options,
        uidmap: maps(&options.uid_map),
        gidmap: maps(&options.gid_map),
        root_auto_ns_user: &options.auto_user_ns.root_user,
        auto_userns_min_size: options.auto_user_ns.min_size,
        auto_userns_max_size: options.auto_user_ns.max_size,
        pull_options: &options.pull_options,
        disable_volatile: options.disable_volatile,
        transient_store: options.transient_store,
    }
}

/// The JSON form of a configuration.
///
/// # Errors
/// A defect: there always is one.
pub(crate) fn print(options: &StoreOptions) -> Result<String> {
    json::text(&printed(options))
}

/// Reads the configuration: storage.conf with its drop-ins and environment, as containers-storage.conf(5) and podman have it, and
/// the caller's choices upon it.
///
/// Ownership: *config is the caller's, to be freed with orlop_config_free.
/// Threads: any; it reads the environment, so that no other thread may call setenv meanwhile.
/// Errors: ORLOP_ERR_CONFIG with the file, the line and the key; ORLOP_ERR_INVALID_ARGUMENT for the options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_config_load(
    given: *const orlop_config_options,
    config: *mut *mut orlop_config,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = PointerOut::new(config, "config")?;
            out.put(orlop_config(Handle::new(resolve(options(given)?)?)));
            Ok(())
        })
    }
}

/// A configuration as JSON, with the field names of Go's types.StoreOptions: "runroot", "root", "imagestore", "driver",
/// "driver-priority", "driver-options", "uidmap", "gidmap", "PullOptions", "disable-volatile", "transient_store" and so on; what is
/// empty is left out. Bytes of a path that are not UTF-8 become U+FFFD.
///
/// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
/// Threads: any.
/// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_config_json(
    config: *const orlop_config,
    text: *mut orlop_buf,
    error: *mut *mut orlop_error,
) -> i32 {
    // SAFETY: pointers of the caller's, as the header asks.
    unsafe {
        run(error, || {
            let out = BufferOut::new(text);
            out.put(print(&*handle::borrow(config)?)?);
            Ok(())
        })
    }
}

/// Frees a configuration; NULL is fine. What was opened with it lives on.
///
/// Threads: any; nobody else may use the pointer any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orlop_config_free(config: *mut orlop_config) {
    // SAFETY: NULL or a configuration that the caller has not freed.
    unsafe { handle::free(config) };
}
