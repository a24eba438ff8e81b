//! Id maps and forced modes: in with the tar, out with the diff, and changed in place (UNP-10, TAR-5, MAP-4, FMK-2).

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::ptr;

use orlop_capi::*;

use crate::host::{EMPTY, Host, NO_MAPS, call, one_map, piped_in, piped_out, taken, text, zeroed};

fn owner(path: PathBuf) -> (u32, u32) {
    let about = path.symlink_metadata().unwrap();
    (about.uid(), about.gid())
}

fn apply(host: &Host, id: &str, tar: &[u8], how: &orlop_apply_options) {
    let (id, none, bytes) = (text(id), ptr::null(), ptr::null_mut());
    piped_in(tar, |fd| {
        call!(orlop_driver_apply_diff(host.driver, id.as_ptr(), fd, how, none, bytes)).unwrap();
    });
}

#[test]
fn owners_are_mapped_both_ways() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: owners_are_mapped_both_ways: only root gives files away");
        return;
    }
    let host = Host::new("vfs");
    host.create("plain", "");
    host.within("plain", |root| {
        fs::write(root.join("f"), "").unwrap();
        chown(root.join("f"), Some(5), Some(6)).unwrap();
    });
    let tar = host.diff("plain", "");

    // Out of the range of 10 ids from 100,000 on.
    let map = one_map();
    let mut layer: orlop_layer_options = zeroed();
    (layer.uid_map, layer.gid_map) = (map, map);
    let (id, none) = (text("mapped"), ptr::null());
    call!(orlop_driver_create(host.driver, id.as_ptr(), none, &layer)).unwrap();
    let mut how: orlop_apply_options = zeroed();
    (how.uid_map, how.gid_map) = (map, map);
    apply(&host, "mapped", &tar, &how);
    host.within("mapped", |root| {
        assert_eq!(owner(root.to_path_buf()), (100_000, 100_000));
        assert_eq!(owner(root.join("f")), (100_005, 100_006));
    });
    assert!(host.diff("mapped", "") != tar);
    let mut options: orlop_diff_options = zeroed();
    (options.uid_map, options.gid_map) = (map, map);
    let mapped_back = piped_out(|fd| {
        call!(orlop_driver_diff(host.driver, id.as_ptr(), none, &options, fd, ptr::null()))
            .unwrap();
    });
    assert_eq!(mapped_back, tar);

    // The same inside is no change.
    let parent = text("plain");
    let mut changes = EMPTY;
    call!(orlop_driver_changes(host.driver, id.as_ptr(), parent.as_ptr(), &options, &mut changes))
        .unwrap();
    assert!(taken(changes).is_empty());
    let mut bytes = 7;
    let size = call!(orlop_driver_diff_size(
        host.driver,
        id.as_ptr(),
        parent.as_ptr(),
        &options,
        &mut bytes
    ));
    assert_eq!((size.unwrap(), bytes), (0, 0));

    // In place, and while it is staged.
    let update = |from: orlop_id_maps, to: orlop_id_maps| {
        call!(orlop_driver_update_id_maps(host.driver, id.as_ptr(), from, from, to, to, none))
    };
    update(map, NO_MAPS).unwrap();
    host.within("mapped", |root| assert_eq!(owner(root.join("f")), (5, 6)));
    update(NO_MAPS, map).unwrap();
    host.within("mapped", |root| assert_eq!(owner(root.join("f")), (100_005, 100_006)));
    let mut staged = ptr::null_mut();
    piped_in(&[0; 1024], |fd| {
        let (none, bytes) = (ptr::null(), ptr::null_mut());
        let (parent, out) = (parent.as_ptr(), &mut staged);
        call!(orlop_driver_stage(host.driver, parent, fd, &how, none, out, bytes)).unwrap();
    });
    let top = text("top");
    call!(orlop_driver_create(host.driver, top.as_ptr(), parent.as_ptr(), ptr::null())).unwrap();
    call!(orlop_driver_commit_staged(host.driver, top.as_ptr(), staged)).unwrap();
    host.within("top", |root| assert_eq!(owner(root.join("f")), (100_005, 100_006)));

    let shifts = call!(orlop_driver_supports_shifting(host.driver, map, map)).unwrap();
    assert_eq!(shifts, 0, "vfs mounts nothing");
    let foreign = orlop_id_map { container_id: 0, host_id: 7, size: 1 };
    let foreign = orlop_id_maps { items: &foreign, count: 1 };
    let e = update(foreign, NO_MAPS).unwrap_err();
    assert_eq!(e.code, ORLOP_ERR_INVALID_ARGUMENT, "{}", e.message);
    assert!(e.message.contains("100005:100006"), "{}", e.message);
    assert_eq!(host.leftovers(), 0);
}

#[test]
fn a_mode_is_forced_upon_every_file() {
    let host = Host::new("vfs");
    host.create("plain", "");
    host.within("plain", |root| {
        let f = root.join("f");
        fs::write(&f, "content").unwrap();
        fs::set_permissions(&f, fs::Permissions::from_mode(0o4711)).unwrap();
    });
    let tar = host.diff("plain", "");
    let mut how: orlop_apply_options = zeroed();
    (how.has_force_mask, how.force_mask) = (1, 0o700);
    host.create("forced", "");
    apply(&host, "forced", &tar, &how);
    let out = host.diff("forced", "");
    let holds = |text: &str| out.windows(text.len()).any(|w| w == text.as_bytes());
    let me = nix::unistd::geteuid();
    let note = format!("user.containers.override_stat={me}:{}:4711:file", nix::unistd::getegid());
    assert!(holds(&note), "vfs gives the attribute away as it is");
    host.within("forced", |root| {
        let about = root.join("f").metadata().unwrap();
        assert_eq!((about.mode() & 0o7777, about.uid()), (0o700, me.as_raw()));
    });
}
