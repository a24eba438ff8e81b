//! Paths and rootless defaults (`storage-conf.md` 5).

use super::*;

#[test]
fn the_roots_are_expanded_and_the_image_store_is_not() {
    let files = MemoryFiles::default()
        .file(ETC, "[storage]\ngraphroot='$BASE/$UID'\nrunroot='/link'\nimagestore='$BASE'")
        .link("/link", "/target")
        .dir("/target", 0, 0o755);
    let options = loaded(&files, &[("BASE", "/base/")], &root()).unwrap().options;
    assert_eq!(options.graph_root, Path::new("/base/0"));
    assert_eq!(options.run_root, Path::new("/target"));
    assert_eq!(options.image_store, Some(PathBuf::from("$BASE")));
}

#[test]
fn the_text_uid_is_the_rootless_uid_not_the_effective_one() {
    let files = MemoryFiles::default().file(ETC, "[storage]\ngraphroot='/s/$UID'");
    let user = User { uid: 0, ..ann() };
    let loaded = loaded(&files, &[("XDG_RUNTIME_DIR", "/")], &user).unwrap();
    assert_eq!(loaded.options.graph_root, Path::new("/s/1000"));
}

#[test]
fn a_rootless_user_has_storage_of_his_own() {
    let files = || MemoryFiles::default().link("/rt", "real").dir("/real", 1000, 0o700);
    let roots = |files: &MemoryFiles, env: &[(&str, &str)]| {
        let options = loaded(files, env, &ann()).unwrap().options;
        (options.graph_root.display().to_string(), options.run_root.display().to_string())
    };
    let rt = ("XDG_RUNTIME_DIR", "/rt");
    let home = "/home/ann/.local/share/containers/storage".to_owned();
    assert_eq!(roots(&files(), &[rt]), (home, "/real/containers".into()));
    let data = roots(&files(), &[rt, ("XDG_DATA_HOME", "/d//e/")]);
    assert_eq!(data.0, "/d/e/containers/storage");
    // The system's file counts for him too.
    let system = files().file(ETC, "[storage]\ngraphroot='/g'\nrunroot='/r'");
    assert_eq!(roots(&system, &[rt]), ("/g".into(), "/r".into()));
    let source = loaded(&system, &[rt], &ann()).unwrap().provenance.graph_root;
    assert_eq!(source, Source::File(ETC.into()));
}

#[test]
fn the_rootless_storage_path_is_the_rootless_graph_root_unless_graphroot_is_set() {
    let rt = [("XDG_RUNTIME_DIR", "/")];
    let files = MemoryFiles::default().file(ETC, "[storage]\nrootless_storage_path='$HOME/s$UID'");
    let env = [rt[0], ("HOME", "/h")];
    let rootless = loaded(&files, &env, &ann()).unwrap();
    assert_eq!(rootless.options.graph_root, Path::new("/h/s1000"));
    assert_eq!(rootless.provenance.graph_root, Source::File(ETC.into()));
    assert_eq!(options(&files).graph_root, Path::new("/var/lib/containers/storage"));
    let both =
        MemoryFiles::default().file(ETC, "[storage]\nrootless_storage_path='/s'\ngraphroot='/g'");
    let both = loaded(&both, &rt, &ann()).unwrap();
    assert_eq!(both.options.graph_root, Path::new("/g"));
    assert!(
        both.warnings[0]
            .contains("rootless_storage_path (set in /etc/containers/storage.conf) is deprecated")
    );
}

#[test]
fn the_runtime_directory_must_be_private() {
    let run_root = |files: &MemoryFiles| {
        let env = [("TMPDIR", "/t")];
        loaded(files, &env, &ann()).map(|loaded| loaded.options.run_root.display().to_string())
    };
    let login = |owner, mode| MemoryFiles::default().dir("/run/user/1000", owner, mode);
    let temp = |owner, mode| login(0, 0o755).dir("/t/storage-run-1000", owner, mode);
    assert_eq!(run_root(&login(1000, 0o700)).unwrap(), "/run/user/1000/containers");
    assert_eq!(run_root(&login(1000, 0o1755)).unwrap(), "/run/user/1000/containers");
    assert_eq!(run_root(&temp(1000, 0o700)).unwrap(), "/t/storage-run-1000/containers");
    for files in [
        temp(1000, 0o720),
        temp(1000, 0o702),
        temp(1000, 0o500),
        temp(0, 0o700),
        login(1001, 0o700),
        MemoryFiles::default().link("/run/user/1000", "/p").dir("/p", 1000, 0o700),
    ] {
        let error = run_root(&files).unwrap_err();
        assert!(error.to_string().contains("set XDG_RUNTIME_DIR"), "{error}");
    }
    // A missing one is made where that is allowed.
    let mut files = login(0, 0o755);
    files.maker = Some(1000);
    assert_eq!(run_root(&files).unwrap(), "/t/storage-run-1000/containers");
}

#[test]
fn a_runtime_directory_named_must_exist() {
    let env = [("XDG_RUNTIME_DIR", "/missing")];
    let error = loaded(&MemoryFiles::default(), &env, &ann()).unwrap_err();
    assert_eq!(error.os_error(), Some(io::ErrorKind::NotFound));
    assert_eq!(loaded(&MemoryFiles::default(), &env, &root()).unwrap().options.driver, "");
}

#[test]
fn a_missing_runtime_directory_is_made_private() {
    use std::os::unix::fs::PermissionsExt;
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("a/b");
    RealFiles::default().make_private_dir(&dir).unwrap();
    assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(matches!(RealFiles::default().node(&dir), Ok(Node::Directory { mode: 0o700, .. })));
}
