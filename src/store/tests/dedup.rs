//! Equal files of images that share their space.

use super::*;
use crate::driver::DedupMethod;
use crate::driver::tests::Xfs;

#[test]
fn only_the_layers_of_images_are_deduplicated() {
    // REM-16
    let xfs = match Xfs::new() {
        Ok(xfs) => xfs,
        Err(why) => {
            println!("skipped: deduplication on xfs: {why}");
            return;
        }
    };
    let fixture = Fixture::within(&xfs.root());
    let store = fixture.store();
    assert_eq!(store.dedup(DedupMethod::Crc).unwrap(), 0, "of a store with nothing");
    let content: String = (0..100_000).map(|n| format!("line {n}\n")).collect();
    let files: &[(&str, &str)] = &[("same", &content)];
    import(&store, "a", None, files);
    let top = import(&store, "b", Some("a"), files);
    import(&store, "of no image", None, files);
    assert_eq!(store.dedup(DedupMethod::Crc).unwrap(), 0, "there is no image");
    for name in ["i", "j"] {
        let layer = Some(top.id.clone());
        store
            .create_image(NewImage { names: vec![name.into()], layer, ..NewImage::default() })
            .unwrap();
    }
    let bytes = store.dedup(DedupMethod::Sha256).unwrap();
    assert_eq!(bytes, content.len() as u64, "once for two layers");
    for name in ["a", "b"] {
        let mut tar = Vec::new();
        store.diff(name, None, None, &mut tar).unwrap();
        assert_eq!(tar, tar_of(files), "{name}");
    }
}
