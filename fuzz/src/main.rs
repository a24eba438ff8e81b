//! All fuzz targets in one program: `FUZZ_TARGET=tar-split orlop-fuzz fuzz/corpus/tar-split`. They are `orlop::fuzzing`.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use orlop::fuzzing::{TARGETS, Target, seal_headers};

static TARGET: OnceLock<Target> = OnceLock::new();

fn target() -> Target {
    *TARGET.get_or_init(|| {
        let wanted = std::env::var("FUZZ_TARGET").unwrap_or_default();
        match TARGETS.iter().find(|(name, _)| *name == wanted) {
            Some(target) => *target,
            None => {
                TARGETS.iter().for_each(|(name, _)| println!("{name}"));
                std::process::exit(i32::from(!wanted.is_empty()));
            }
        }
    })
}

fuzz_target!(init: { target(); }, |data: &[u8]| {
    (target().1)(data);
});

// A tar with a wrong checksum is refused at once: three of four changed ones get the right ones.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    let is_tar = matches!(target().0, "tar-unpack" | "tar-split" | "image-archive");
    if is_tar && seed % 4 != 0 {
        seal_headers(&mut data[..size]);
    }
    size
});
