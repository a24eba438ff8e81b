//! What must hold of any storage.conf.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test for any input")]

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::{Environment, Files, Loaded, Node, StoreOptions, User, load};
use crate::{ErrorKind, Result};

const FILE: &str = "/storage.conf";

/// A file system that holds one file.
struct OneFile<'a>(&'a [u8]);

impl Files for OneFile<'_> {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        Ok((path == Path::new(FILE)).then(|| self.0.to_vec()))
    }

    fn list(&self, _: &Path) -> io::Result<Option<Vec<OsString>>> {
        Ok(None)
    }

    fn node(&self, _: &Path) -> io::Result<Node> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn make_private_dir(&self, _: &Path) -> io::Result<()> {
        panic!("a system's store needs no private directory")
    }
}

fn loaded(text: &[u8], with_override: bool) -> Result<Loaded> {
    let mut env: Environment =
        [("CONTAINERS_STORAGE_CONF", FILE), ("HOME", "/home/ann"), ("A", "x/../y")]
            .into_iter()
            .collect();
    if with_override {
        env.vars.insert("CONTAINERS_STORAGE_CONF_OVERRIDE".into(), FILE.into());
    }
    let home = Some(PathBuf::from("/home/ann"));
    load(&OneFile(text), &env, &User { uid: 0, rootless_uid: 0, is_rootless: false, home })
}

/// A refusal is about the configuration and names file and line; the options, written as a file, load as the same options; a file
/// that is read twice says nothing new.
pub(crate) fn storage_conf(data: &[u8]) {
    let options = match loaded(data, false) {
        Ok(loaded) => {
            assert_eq!(loaded.provenance.driver_options.len(), loaded.options.driver_options.len());
            loaded.options
        }
        Err(e) => {
            assert_eq!(e.kind(), ErrorKind::Config, "{e}");
            let text = e.to_string();
            assert!(text.contains(FILE) || text.contains("imagestore"), "{text}");
            return;
        }
    };
    // Only `{append = true}`, and naming the variable itself in a path, make the second reading count.
    let says = |word: &[u8]| data.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word));
    if !says(b"append") && !says(b"_override") {
        assert_eq!(loaded(data, true).unwrap().options, options);
    }
    let roots = [&options.graph_root, &options.run_root];
    // What is left of dollar signs would be expanded anew.
    let Some(text) = written(&options).filter(|text| !text.contains('$')) else { return };
    let again = loaded(text.as_bytes(), false).unwrap().options;
    assert_eq!([&again.graph_root, &again.run_root], roots, "{text}");
    let driver_options = options.driver_options.clone();
    assert_eq!(StoreOptions { driver_options, ..again }, options, "{text}");
}

/// The options as storage.conf, but for those of the driver.
fn written(options: &StoreOptions) -> Option<String> {
    let text = |value: &str| toml::Value::String(value.to_owned()).to_string();
    let path = |path: &Path| path.to_str().map(text);
    let list: Vec<_> = options.driver_priority.iter().map(|name| text(name)).collect();
    let pull: Vec<_> = options
        .pull_options
        .iter()
        .map(|(key, value)| format!("{} = {}", text(key), text(value)))
        .collect();
    let image_store = match &options.image_store {
        Some(store) => path(store)?,
        None => text(""),
    };
    let users = &options.auto_user_ns;
    Some(format!(
        "[storage]\ndriver = {}\ngraphroot = {}\nrunroot = {}\nimagestore = {image_store}\n\
         driver_priority = [{}]\ntransient_store = {}\n[storage.options]\n\
         root-auto-userns-user = {}\nauto-userns-min-size = {}\nauto-userns-max-size = {}\n\
         disable-volatile = {}\npull_options = {{ {} }}\n",
        text(&options.driver),
        path(&options.graph_root)?,
        path(&options.run_root)?,
        list.join(", "),
        options.transient_store,
        text(&users.root_user),
        users.min_size,
        users.max_size,
        options.disable_volatile,
        pull.join(", "),
    ))
}
