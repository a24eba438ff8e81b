//! Carries out one operation of the library again and again in one process, for `make bench`; its twin for the Go library
//! is `tests/go/reference/in-process`.
//!
//! ```text
//! in-process GRAPH RUN OPTION TAR SECONDS OPERATION
//! ```
//!
//! Prints the mean of the operation's wall clock and processor time, in seconds, and how often it was carried out.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use orlop::archive::Compression;
use orlop::config::StoreOptions;
use orlop::driver::{self, CreateOptions, Driver, MountOptions};
use orlop::store::{MountRequest, NewContainer, NewLayer, Store};
use orlop::{IdMap, IdMaps, LayerId};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [graph, run, option, tar, seconds, operation] = args.as_slice() else {
        return Err("usage: in-process GRAPH RUN OPTION TAR SECONDS OPERATION".into());
    };
    let seconds = Duration::try_from_secs_f64(seconds.parse()?)?;
    let store = Store::open(StoreOptions {
        graph_root: graph.into(),
        run_root: run.into(),
        driver: "overlay".to_owned(),
        driver_options: vec![option.clone()],
        ..StoreOptions::default()
    })?;
    let mut operation = prepared(&store, tar, operation)?;
    let (begin, mut aside, mut count) = (Spent::now()?, Spent::default(), 0);
    while count < 3 || Spent::now()?.wall - begin.wall < seconds {
        if let Some(before) = &mut operation.before {
            let from = Spent::now()?;
            before()?;
            aside = aside.and(from.until_now()?);
        }
        (operation.measured)()?;
        count += 1;
    }
    let spent = begin.until_now()?;
    let mean = |all: Duration, aside: Duration| (all - aside).as_secs_f64() / f64::from(count);
    println!("{:.9} {:.9} {count}", mean(spent.wall, aside.wall), mean(spent.cpu, aside.cpu));
    Ok(())
}

/// Time of the clock and of all processors, this process's and its children's, from some point on.
#[derive(Clone, Copy, Default)]
struct Spent {
    wall: Duration,
    cpu: Duration,
}

impl Spent {
    fn now() -> Outcome<Self> {
        let mut cpu = Duration::ZERO;
        for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
            let usage = getrusage(who)?;
            let both = usage.user_time() + usage.system_time();
            cpu += Duration::from_micros(both.num_microseconds().try_into()?);
        }
        let wall = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
        Ok(Self { wall, cpu })
    }

    fn until_now(self) -> Outcome<Self> {
        let now = Self::now()?;
        Ok(Self { wall: now.wall - self.wall, cpu: now.cpu - self.cpu })
    }

    fn and(self, other: Self) -> Self {
        Self { wall: self.wall + other.wall, cpu: self.cpu + other.cpu }
    }
}

type Step<'a> = Box<dyn FnMut() -> Outcome + 'a>;

struct Operation<'a> {
    /// What each one needs done that does not count.
    before: Option<Step<'a>>,
    measured: Step<'a>,
}

/// The operation of that name, with what all of them need done.
fn prepared<'a>(store: &'a Store, tar: &'a str, operation: &str) -> Outcome<Operation<'a>> {
    if operation == "change owners" {
        return change_owners(store, tar);
    }
    Ok(Operation { before: None, measured: alone(store, tar, operation)? })
}

/// An operation that can follow itself.
fn alone<'a>(store: &'a Store, tar: &'a str, operation: &str) -> Outcome<Step<'a>> {
    Ok(match operation {
        "create, delete layer" => Box::new(|| {
            let layer = store.create_layer(NewLayer::default())?;
            Ok(store.delete_layer(&layer.id)?)
        }),
        "list layers" => Box::new(|| Ok(store.layers().map(drop)?)),
        "look up layer" => Box::new(|| Ok(store.layer("layer-7").map(drop)?)),
        // For `make bench-capi`; its twin is benches/capi/jobs.go.
        "exists" => Box::new(|| match store.exists("layer-7")? {
            true => Ok(()),
            false => Err("layer-7 is not there".into()),
        }),
        "import, delete tar" => Box::new(|| Ok(store.delete_layer(&import(store, tar)?)?)),
        "export tar" => {
            let id = import(store, tar)?;
            Box::new(move || {
                store.diff(&id, None, Some(Compression::None), &mut io::sink())?;
                Ok(())
            })
        }
        "mount, unmount" => {
            let id = store.create_layer(NewLayer::default())?.id.clone();
            Box::new(move || {
                store.mount(&id, &MountRequest::default())?;
                store.unmount(&id, false)?;
                Ok(())
            })
        }
        "get, put of 10 layers" => get_and_put(store, 10)?,
        "get, put of 400 layers" => get_and_put(store, 400)?,
        "diff of a container" => {
            let (_, container) = changed_container(store, tar)?;
            Box::new(move || {
                store.diff(&container, None, Some(Compression::None), &mut io::sink())?;
                Ok(())
            })
        }
        "changes of a container" => {
            let (_, container) = changed_container(store, tar)?;
            Box::new(move || Ok(store.changes(&container, None).map(drop)?))
        }
        "size of a container" => {
            let (_, container) = changed_container(store, tar)?;
            Box::new(move || Ok(store.diff_size(&container, None).map(drop)?))
        }
        "changes over the base" => {
            let (base, container) = changed_container(store, tar)?;
            Box::new(move || Ok(store.changes(&container, Some(&base)).map(drop)?))
        }
        // Every file of both trees is another one.
        "changes over another layer" => {
            let (_, container) = changed_container(store, tar)?;
            let other = import(store, tar)?;
            Box::new(move || Ok(store.changes(&container, Some(&other)).map(drop)?))
        }
        "create, delete container" => Box::new(|| {
            let container = store.create_container(NewContainer::default())?;
            Ok(store.delete_container(&container.id)?)
        }),
        other => return Err(format!("no operation {other:?}").into()),
    })
}

/// Mounts and unmounts a chain of that many layers, without the records of a store.
fn get_and_put(store: &Store, layers: usize) -> Outcome<Step<'static>> {
    let driver = driver::of(store.options())?;
    driver.prepare()?;
    let name = |n: usize| LayerId::new(format!("{n:064x}"));
    let mut parent = None;
    for n in 1..layers {
        let id = name(n)?;
        if !driver.exists(&id) {
            driver.create(&id, parent.as_ref(), &CreateOptions::default())?;
        }
        parent = Some(id);
    }
    let top = name(layers)?;
    if !driver.exists(&top) {
        driver.create_read_write(&top, parent.as_ref(), &CreateOptions::default())?;
    }
    Ok(Box::new(move || {
        driver.get(&top, &MountOptions::default())?;
        Ok(driver.put(&top)?)
    }))
}

/// Gives a new layer over one with the tar's content other id maps, by which all files get other owners.
fn change_owners(store: &Store, tar: &str) -> Outcome<Operation<'static>> {
    let base = LayerId::new(import(store, tar)?)?;
    let driver: Arc<dyn Driver> = Arc::from(driver::of(store.options())?);
    let layer = LayerId::new(format!("{:064x}", 1))?;
    let maps = [IdMap { container_id: 0, host_id: 100_000, size: 65_536 }];
    let maps = IdMaps::new(&maps, &maps);
    let (remade, id) = (Arc::clone(&driver), layer.clone());
    let before = move || {
        if remade.exists(&id) {
            remade.remove(&id)?;
        }
        Ok(remade.create_read_write(&id, Some(&base), &CreateOptions::default())?)
    };
    let measured = move || Ok(driver.update_id_maps(&layer, &IdMaps::default(), &maps, "")?);
    Ok(Operation { before: Some(Box::new(before)), measured: Box::new(measured) })
}

fn import(store: &Store, tar: &str) -> Outcome<String> {
    let layer = NewLayer { read_only: true, ..NewLayer::default() };
    Ok(store.import_layer(layer, &mut File::open(tar)?)?.id.clone())
}

/// The ids of a layer with the tar's content and of one two layers above it, in which programs changed some files and renamed a
/// directory.
fn changed_container(store: &Store, tar: &str) -> Outcome<(String, String)> {
    let base = import(store, tar)?;
    let above = NewLayer { parent: Some(base.clone()), read_only: true, ..NewLayer::default() };
    let image = store.create_layer(above)?.id.clone();
    let above = NewLayer { parent: Some(image), ..NewLayer::default() };
    let container = store.create_layer(above)?.id.clone();
    let merged = store.mount(&container, &MountRequest::default())?;
    let files = files_below(&merged)?;
    for (number, file) in files.iter().enumerate() {
        match number % 1000 {
            0 | 500 => fs::set_permissions(file, Permissions::from_mode(0o600))?,
            1 => OpenOptions::new().append(true).open(file)?.write_all(b"more")?,
            2 => fs::remove_file(file)?,
            _ => {}
        }
    }
    // Refused by a mount without redirects.
    if let Some(folder) = files.last().and_then(|file| file.parent()) {
        let _ = fs::rename(folder, folder.with_file_name("renamed"));
    }
    store.unmount(&container, false)?;
    Ok((base, container))
}

/// In the order of their names.
fn files_below(root: &Path) -> Outcome<Vec<PathBuf>> {
    let (mut files, mut left) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                left.push(entry.path())
            } else {
                files.push(entry.path())
            }
        }
    }
    files.sort();
    Ok(files)
}
