//! Which files are read (`storage-conf.md` 1).

use super::*;

#[test]
fn no_file_gives_the_defaults() {
    let expected = StoreOptions {
        graph_root: "/var/lib/containers/storage".into(),
        run_root: "/run/containers/storage".into(),
        ..StoreOptions::default()
    };
    assert_eq!(options(&MemoryFiles::default()), expected);
}

#[test]
fn only_the_first_main_file_is_read() {
    let usr = || MemoryFiles::default().file(USR, "[storage]\ndriver='usr'\nrunroot='/usr'");
    assert_eq!(options(&usr()).driver, "usr");
    let etc = || usr().file(ETC, driver("etc"));
    assert_eq!(options(&etc()).driver, "etc");
    assert_eq!(options(&etc()).run_root, Path::new("/run/containers/storage"));
    // For root too.
    assert_eq!(options(&etc().file(USER, driver("user"))).driver, "user");
    let xdg = etc().file(USER, driver("user")).file("/x/containers/storage.conf", driver("xdg"));
    let loaded = loaded(&xdg, &[("XDG_CONFIG_HOME", "/x")], &root()).unwrap();
    assert_eq!(loaded.options.driver, "xdg");
}

#[test]
fn an_empty_xdg_config_home_counts_as_unset() {
    let files = MemoryFiles::default()
        .file(USER, driver("user"))
        .file("containers/storage.conf", driver("relative"));
    let loaded = loaded(&files, &[("XDG_CONFIG_HOME", "")], &root()).unwrap();
    assert_eq!(loaded.options.driver, "user");
}

#[test]
fn a_main_file_that_cannot_be_read_ends_the_load() {
    let files = MemoryFiles::default().failing(USER, io::ErrorKind::PermissionDenied).file(ETC, "");
    let error = loaded(&files, &[], &root()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!(error.file(), Some(Path::new(USER)));
    assert_eq!(error.os_error(), Some(io::ErrorKind::PermissionDenied));
}

#[test]
fn without_a_home_the_user_file_cannot_be_looked_for() {
    let homeless = User { home: None, ..root() };
    let error = loaded(&MemoryFiles::default(), &[], &homeless).unwrap_err();
    assert!(error.to_string().contains("set HOME or XDG_CONFIG_HOME"), "{error}");
    assert!(loaded(&MemoryFiles::default(), &[("XDG_CONFIG_HOME", "/x")], &homeless).is_ok());
}

#[test]
fn the_named_main_file_is_read_without_drop_ins_and_must_exist() {
    let files = MemoryFiles::default()
        .file("/c", driver("named"))
        .file(ETC, driver("etc"))
        .file("/etc/containers/storage.conf.d/a.conf", driver("drop-in"));
    let named = |path| loaded(&files, &[("CONTAINERS_STORAGE_CONF", path)], &root());
    assert_eq!(named("/c").unwrap().options.driver, "named");
    assert_eq!(named("").unwrap().options.driver, "drop-in");
    let error = named("/missing").unwrap_err();
    assert_eq!(error.os_error(), Some(io::ErrorKind::NotFound));
    assert!(error.to_string().contains("CONTAINERS_STORAGE_CONF names this file"), "{error}");
}

#[test]
fn the_override_comes_last_even_beside_a_named_file_and_must_exist() {
    let files = MemoryFiles::default()
        .file("/c", driver("named"))
        .file("/o", driver("override"))
        .file("/etc/containers/storage.conf.d/z.conf", driver("drop-in"));
    let over = ("CONTAINERS_STORAGE_CONF_OVERRIDE", "/o");
    for env in [&[over][..], &[over, ("CONTAINERS_STORAGE_CONF", "/c")]] {
        assert_eq!(loaded(&files, env, &root()).unwrap().options.driver, "override");
    }
    let empty = [("CONTAINERS_STORAGE_CONF_OVERRIDE", "")];
    assert_eq!(loaded(&files, &empty, &root()).unwrap().options.driver, "drop-in");
    let missing = [("CONTAINERS_STORAGE_CONF_OVERRIDE", "/missing")];
    assert!(loaded(&files, &missing, &root()).is_err());
}

#[test]
fn drop_ins_are_applied_in_the_byte_order_of_their_names() {
    let files = MemoryFiles::default()
        .file("/home/ann/.config/containers/storage.conf.d/10.conf", driver("10"))
        .file("/etc/containers/storage.conf.d/9.conf", driver("9"))
        .file("/usr/share/containers/storage.conf.d/a.conf", driver("a"))
        .file("/etc/containers/storage.conf.d/Z.conf", driver("Z"))
        .file("/etc/containers/storage.conf.d/zz.txt", driver("no conf"))
        .file("/etc/containers/storage.conf.d/zz.conf/x.conf", driver("in a directory"));
    let loaded = loaded(&files, &[], &root()).unwrap();
    let names: Vec<_> =
        loaded.provenance.files.iter().filter_map(|f| f.file_name()?.to_str()).collect();
    assert_eq!(names, ["10.conf", "9.conf", "Z.conf", "a.conf"]);
    assert_eq!(loaded.options.driver, "a");
}

#[test]
fn of_one_name_the_highest_ranked_directory_counts_alone() {
    let root_dirs = [
        "/home/ann/.config/containers/storage.conf.d",
        "/etc/containers/storage.rootful.conf.d",
        "/etc/containers/storage.conf.d",
        "/usr/share/containers/storage.rootful.conf.d",
        "/usr/share/containers/storage.conf.d",
    ];
    let ann_dirs = [
        "/home/ann/.config/containers/storage.conf.d",
        "/etc/containers/storage.rootless.conf.d/1000",
        "/etc/containers/storage.rootless.conf.d",
        "/etc/containers/storage.conf.d",
        "/usr/share/containers/storage.rootless.conf.d/1000",
        "/usr/share/containers/storage.rootless.conf.d",
        "/usr/share/containers/storage.conf.d",
    ];
    let env = [("XDG_RUNTIME_DIR", "/")];
    for (user, dirs, foreign) in
        [(root(), &root_dirs[..], "rootless"), (ann(), &ann_dirs[..], "rootful")]
    {
        for highest in 0..dirs.len() {
            let foreign = format!("/etc/containers/storage.{foreign}.conf.d/a.conf");
            let mut files = MemoryFiles::default().file(&foreign, driver("foreign"));
            for dir in &dirs[highest..] {
                files = files.file(&format!("{dir}/a.conf"), driver(dir));
            }
            assert_eq!(loaded(&files, &env, &user).unwrap().options.driver, dirs[highest]);
        }
    }
}

#[test]
fn an_empty_drop_in_masks_a_lower_ranked_one() {
    let files = MemoryFiles::default()
        .file("/etc/containers/storage.conf.d/a.conf", "")
        .file("/usr/share/containers/storage.conf.d/a.conf", driver("vendor"));
    assert_eq!(options(&files).driver, "");
}

#[test]
fn a_drop_in_directory_that_cannot_be_listed_ends_the_load() {
    let dir = "/etc/containers/storage.conf.d";
    for files in [
        MemoryFiles::default().failing(dir, io::ErrorKind::PermissionDenied),
        MemoryFiles::default().file(dir, ""),
    ] {
        assert_eq!(loaded(&files, &[], &root()).unwrap_err().file(), Some(Path::new(dir)));
    }
}

#[test]
fn a_recorded_uid_selects_the_rootless_drop_ins() {
    let files = MemoryFiles::default()
        .file("/etc/containers/storage.rootless.conf.d/a.conf", driver("rootless"));
    let user = User { uid: 0, ..ann() };
    let loaded = loaded(&files, &[("XDG_RUNTIME_DIR", "/")], &user).unwrap();
    assert_eq!(loaded.options.driver, "rootless");
}

#[test]
fn the_alternate_root_is_for_system_files_alone() {
    let temp = tempfile::tempdir().unwrap();
    let at = |path: &str| temp.path().join(path);
    for (path, name) in [
        ("root/etc/containers/storage.conf", "etc"),
        ("root/etc/containers/storage.rootful.conf.d/a.conf", "drop-in"),
        ("home/.config/containers/storage.conf", "user"),
    ] {
        std::fs::create_dir_all(at(path).parent().unwrap()).unwrap();
        std::fs::write(at(path), driver(name)).unwrap();
    }
    let files = RealFiles { alternate_root: Some(at("root")) };
    let user = User { home: Some(at("home")), ..root() };
    let loaded = load(&files, &Environment::default(), &user).unwrap();
    let read = [
        "home/.config/containers/storage.conf",
        "root/etc/containers/storage.rootful.conf.d/a.conf",
    ];
    assert_eq!(loaded.provenance.files, read.map(at));
}

#[test]
fn the_environment_sets_driver_and_driver_options() {
    let files = MemoryFiles::default()
        .file(ETC, "[storage]\ndriver='vfs'\n[storage.options]\nsize='1'\nmountopt='a,b'");
    let load = |env| loaded(&files, env, &root()).unwrap();
    let from_files = load(&[("STORAGE_DRIVER", "")]);
    assert_eq!(from_files.options.driver, "vfs");
    assert_eq!(from_files.options.driver_options, ["size=1", "mountopt=a,b"]);
    assert_eq!(from_files.provenance.driver, Source::File(ETC.into()));
    let from_env = load(&[("STORAGE_DRIVER", "zfs"), ("STORAGE_OPTS", "a=b,c=d,")]);
    assert_eq!(from_env.options.driver, "zfs");
    assert_eq!(from_env.options.driver_options, ["a=b", "c=d", ""]);
    assert_eq!(from_env.provenance.driver, Source::Environment("STORAGE_DRIVER"));
    assert_eq!(
        from_env.provenance.driver_options,
        [const { Source::Environment("STORAGE_OPTS") }; 3]
    );
    assert!(load(&[("STORAGE_OPTS", "")]).options.driver_options.is_empty());
    // A switch of the Go driver's own, beside whatever else is configured or chosen.
    const SWITCH: &str = "_CONTAINERS_OVERLAY_DISABLE_IDMAP";
    let switched = load(&[("STORAGE_OPTS", "a=b"), (SWITCH, "yes")]);
    assert_eq!(switched.options.driver_options, ["a=b", "overlay.disable_idmap=true"]);
    assert_eq!(switched.provenance.driver_options[1], Source::Environment(SWITCH));
    let choice = Overrides { graph_root: Some("/g".into()), ..Overrides::default() };
    let chosen = switched.with_overrides(choice).unwrap();
    assert_eq!(chosen.driver_options, ["overlay.disable_idmap=true"]);
    let other = load(&[("STORAGE_OPTS", ""), (SWITCH, "no")]);
    assert!(other.options.driver_options.is_empty());
}
