//! One handle for many threads, and none for a forked child.

use std::os::fd::AsRawFd;
use std::thread;

use orlop_capi::*;

use crate::fixtures::{Fixture, drivers, file, tar};
use crate::support::c;

#[test]
fn ten_threads_on_one_handle() {
    for driver in drivers() {
        let f = Fixture::on(driver);
        f.import("base", "", &[("f", b"x")]).unwrap();
        f.image("pic", "base", &[]).unwrap();
        thread::scope(|scope| {
            for n in 0..10 {
                let f = &f;
                scope.spawn(move || {
                    for round in 0..3 {
                        one_of_many(f, &format!("{n}-{round}"));
                    }
                });
            }
        });
        let all = |text: String| {
            serde_json::from_str::<serde_json::Value>(&text).unwrap().as_array().unwrap().len()
        };
        assert_eq!(all(text!(orlop_layers(f.store)).unwrap()), 31);
        assert_eq!(all(text!(orlop_containers(f.store)).unwrap()), 0);
    }
}

fn one_of_many(f: &Fixture, name: &str) {
    let (layer, container) = (c(format!("layer-{name}")), c(format!("container-{name}")));
    let new = options!(orlop_new_layer { id: layer.as_ptr(), parent: c"base".as_ptr() });
    let stream = file(&tar(&[(name, name.as_bytes())]));
    let fd = stream.as_raw_fd();
    text!(orlop_import_layer(f.store, &new, fd, std::ptr::null())).unwrap();
    f.container(container.to_str().unwrap(), "pic").unwrap();
    let container = container.as_ptr();
    let root = text!(orlop_mount(f.store, container, std::ptr::null())).unwrap();
    std::fs::write(std::path::Path::new(&root).join(name), name).unwrap();
    assert!(json!(orlop_layers(f.store)).unwrap().as_array().unwrap().len() > 1);
    call!(orlop_unmount(f.store, container, 0)).unwrap();
    call!(orlop_delete_container(f.store, container)).unwrap();
}

#[test]
fn a_forked_child_gets_an_error_and_frees_nothing() {
    let f = Fixture::new();
    f.import("base", "", &[("f", b"x")]).unwrap();
    let root = text!(orlop_mount(f.store, c"base".as_ptr(), std::ptr::null())).unwrap();
    // SAFETY: the child calls what the header allows, looks at its outcome and ends.
    let child = unsafe { nix::unistd::fork() }.unwrap();
    let nix::unistd::ForkResult::Parent { child } = child else {
        let refused = |outcome: crate::support::Outcome<i32>| {
            outcome
                .is_err_and(|e| e.code == ORLOP_ERR_INVALID_ARGUMENT && e.message.contains("fork"))
        };
        let fine = refused(text!(orlop_layers(f.store)).map(|_| 0))
            && refused(call!(orlop_exists(f.store, c"base".as_ptr())))
            && refused(call!(orlop_unmount(f.store, c"base".as_ptr(), 1)))
            && refused(call!(orlop_wipe(f.store)));
        // SAFETY: the child's copy, used no more; and the way out of a child.
        unsafe {
            orlop_store_free(f.store);
            libc::_exit(if fine { 0 } else { 1 });
        }
    };
    let ended = nix::sys::wait::waitpid(child, None).unwrap();
    assert_eq!(ended, nix::sys::wait::WaitStatus::Exited(child, 0));
    assert!(std::path::Path::new(&root).join("f").exists());
    assert_eq!(call!(orlop_unmount(f.store, c"base".as_ptr(), 0)).unwrap(), 0);
}
