//! Records are the bytes of the files (which Go's encoding/json writes; tests/records_go.rs compares them).

use std::fs;

use crate::fixtures::{Fixture, drivers};
use crate::support::c;

#[test]
fn lists_are_the_bytes_of_the_files() {
    for driver in drivers() {
        let f = Fixture::on(driver);
        f.import("base", "", &[("f", b"<x>")]).unwrap();
        f.import("next", "base", &[("g", b"&")]).unwrap();
        f.image("pic", "next", &["<localhost/a&b:1>"]).unwrap();
        f.container("crew", "pic").unwrap();
        for (kind, list) in [
            ("layers", text!(orlop_layers(f.store)).unwrap()),
            ("images", text!(orlop_images(f.store)).unwrap()),
            ("containers", text!(orlop_containers(f.store)).unwrap()),
        ] {
            assert_eq!(list, fs::read_to_string(f.records(kind)).unwrap());
        }
        // Fields of a newer program come too, but for those that say how the store is now.
        let path = f.records("images");
        let newer = fs::read_to_string(&path).unwrap().replacen(
            "}]",
            r#","read-only":"no","later":[1.5,{"b":1,"a":2}]}]"#,
            1,
        );
        fs::write(&path, &newer).unwrap();
        let another = f.another();
        let image = text!(orlop_image(another, c"pic".as_ptr())).unwrap();
        // SAFETY: opened above.
        unsafe { orlop_capi::orlop_store_free(another) };
        assert_eq!(format!("[{image}]"), newer.replace(r#""read-only":"no","#, ""));
    }
}

#[test]
fn what_the_store_knows_beside_stands_behind() {
    let f = Fixture::new();
    f.import("base", "", &[("f", b"x")]).unwrap();
    let before = text!(orlop_layer(f.store, c"base".as_ptr())).unwrap();
    let path = text!(orlop_mount(f.store, c"base".as_ptr(), std::ptr::null())).unwrap();
    let after = text!(orlop_layer(f.store, c("base").as_ptr())).unwrap();
    let more = format!(r#","mountpoint":"{path}","mount-count":1}}"#);
    assert_eq!(after, before.strip_suffix('}').unwrap().to_owned() + &more);
    let found = text!(orlop_lookup(f.store, c"base".as_ptr())).unwrap();
    assert_eq!(found, format!(r#"{{"kind":"layer","record":{after}}}"#));
    call!(orlop_unmount(f.store, c"base".as_ptr(), 1)).unwrap();
}
