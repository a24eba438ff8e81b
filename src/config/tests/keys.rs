//! Keys and driver options (`storage-conf.md` 3 and 4).

use super::*;

#[test]
fn options_are_flattened_in_the_drivers_order() {
    let text = "
[storage.options.zfs]
size='z' \nmountopt='zm' \nfsname='f'
[storage.options.vfs]
sync='none' \nignore_chown_errors='v'
[storage.options.overlay]
sync='s' \nuse_composefs='c' \nforce_mask='0700' \nskip_mount_home='h' \ninodes='5' \nsize='o' \nmountopt='m' \nmount_program='p' \nignore_chown_errors='i'
[storage.options.btrfs]
size='b' \nmin_space='bm'
[storage.options]
mountopt='gm' \nforce_mask=0o755 \nignore_chown_errors='gi' \nskip_mount_home='gh' \nmount_program='gp' \nsize='g'
additionallayerstores=['/l:ref'] \nadditionalimagestores=['/a', '', '/b'] \nimagestore='/no' \nuse_composefs='no'
";
    let expected = "imagestore=/a imagestore= imagestore=/b additionallayerstore=/l:ref size=g mount_program=gp \
        skip_mount_home=gh ignore_chown_errors=gi force_mask=755 mountopt=gm btrfs.min_space=bm btrfs.size=b \
        overlay.ignore_chown_errors=i overlay.mount_program=p overlay.mountopt=m overlay.size=o overlay.inodes=5 \
        overlay.skip_mount_home=h overlay.force_mask=0700 overlay.use_composefs=c overlay.sync=s \
        vfs.ignore_chown_errors=v vfs.sync=none zfs.fsname=f zfs.mountopt=zm zfs.size=z";
    assert_eq!(etc(text).unwrap().options.driver_options.join(" "), expected);
}

#[test]
fn the_other_keys_reach_the_options() {
    let options = etc("
[storage]
driver_priority=['vfs', 'overlay'] \ngraphroot='/g' \nrunroot='/r' \nimagestore='/i' \ntransient_store=true
[storage.options]
root-auto-userns-user='u' \nauto-userns-min-size=5 \nauto-userns-max-size=0x10 \ndisable-volatile=true
pull_options={enable_partial_images='true'}")
    .unwrap()
    .options;
    let expected = StoreOptions {
        graph_root: "/g".into(),
        run_root: "/r".into(),
        image_store: Some("/i".into()),
        driver_priority: vec!["vfs".into(), "overlay".into()],
        auto_user_ns: AutoUserNs { root_user: "u".into(), min_size: 5, max_size: 16 },
        pull_options: [("enable_partial_images".to_owned(), "true".to_owned())].into(),
        disable_volatile: true,
        transient_store: true,
        ..StoreOptions::default()
    };
    assert_eq!(options, expected);
}

#[test]
fn warnings_say_what_has_no_effect() {
    // IDN-3
    let old = etc(&driver("overlay2")).unwrap();
    assert_eq!(old.options.driver, "overlay");
    assert!(old.warnings[0].contains("overlay2"));
    let map = etc("[storage.options]\npull_options = 5").unwrap();
    assert!(map.warnings[0].contains("line 2: storage.options.pull_options is ignored"));
    let empty = etc("[storage]\ngraphroot='$UNSET'").unwrap();
    assert_eq!(empty.options.graph_root, Path::new("."));
    assert!(empty.warnings[0].contains("expands to the working directory"));
}

#[test]
fn the_image_store_must_not_be_the_graph_root() {
    let error = refusal("[storage]\ngraphroot='/a/../b'\nimagestore='/b'");
    assert_eq!((error.kind(), error.file()), (ErrorKind::Config, Some(Path::new(ETC))));
}
