//! What must hold of any input: one function for each reader of what comes from outside, for the fuzzer in `fuzz/`.
//!
//! Only there in tests, which hand each function the files of `fuzz/corpus/`, and with `--cfg fuzzing`. The functions stand
//! beside what they try, in the `fuzzing` of each room; this is the list of them. Whatever they are given they return, unless
//! something that is promised does not hold: then they panic.

/// A name, which is also that of the folder in `fuzz/corpus/`, and what it stands for.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("tar-unpack", crate::archive::fuzzing::tar_unpack),
    ("tar-split", crate::archive::fuzzing::tar_split),
    ("tar-split-log", crate::archive::fuzzing::tar_split_log),
    ("gzip", crate::archive::fuzzing::gzip),
    ("zstd", crate::archive::fuzzing::zstd),
    ("xz", crate::archive::fuzzing::xz),
    ("bzip2", crate::archive::fuzzing::bzip2),
    ("records", crate::record::fuzzing::records),
    ("overlay-files", crate::driver::fuzzing::overlay_files),
    ("storage-conf", crate::config::fuzzing::storage_conf),
    ("image-archive", crate::image::fuzzing::image_archive),
    ("image-documents", crate::image::fuzzing::image_documents),
    ("policy", crate::image::fuzzing::policy),
    ("references", crate::image::fuzzing::references),
    ("words", crate::driver::fuzzing::words),
    ("thin-json", crate::thin::fuzzing::thin_json),
    ("cvmfs-url", crate::thin::fuzzing::cvmfs_url),
    ("docker-documents", crate::docker::fuzzing::docker_documents),
    ("docker-words", crate::docker::fuzzing::docker_words),
];

/// Makes the checksums of a tar's headers right, wherever the sizes before them put them, so that changed bytes get past
/// the first look. For a fuzzer's mutations.
pub fn seal_headers(tar: &mut [u8]) {
    let mut rest = tar;
    while let Some((block, behind)) = std::mem::take(&mut rest).split_at_mut_checked(512) {
        let Some(size) = seal(block) else { return };
        let skip = size.next_multiple_of(512).min(behind.len());
        rest = behind.split_at_mut(skip).1;
    }
}

/// Seals one block and gives the size that it names; `None` for an end marker, or what names no size that could be.
fn seal(block: &mut [u8]) -> Option<usize> {
    if block.iter().all(|b| *b == 0) {
        return None;
    }
    block.get_mut(148..156)?.fill(b' ');
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block.get_mut(148..156)?.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let without_content = matches!(block.get(156)?, b'1'..=b'6');
    let digits = block.get(124..136)?.split(|b| !b.is_ascii_digit()).find(|d| !d.is_empty())?;
    let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()?;
    Some(if without_content { 0 } else { size.min(1 << 30) })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::*;

    /// What a fuzzer once found, or found worth keeping, is tried again.
    #[test]
    fn the_corpora_hold() {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let folders: Vec<_> = std::fs::read_dir(&corpora)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(folders.len(), TARGETS.len(), "folders without a target, or targets without");
        for (name, target) in TARGETS {
            let files: Vec<_> = std::fs::read_dir(corpora.join(name)).unwrap().collect();
            assert!(files.len() >= 5, "{name} has next to no corpus");
            for file in files {
                let path = file.unwrap().path();
                let begin = Instant::now();
                let input = std::fs::read(&path).unwrap();
                let outcome = std::panic::catch_unwind(|| target(&input));
                assert!(outcome.is_ok(), "{}", path.display());
                assert!(begin.elapsed() < Duration::from_secs(20), "{}", path.display());
            }
        }
    }

    #[test]
    fn sealed_headers_are_read() {
        let header = |name: &str, size: usize| {
            let mut block = vec![0; 512];
            block[..name.len()].copy_from_slice(name.as_bytes());
            block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
            block[156] = b'0';
            block
        };
        let mut tar = [header("a", 600), vec![1; 1024], header("b", 0), vec![0; 1024]].concat();
        let names = |tar: &[u8]| {
            let mut parts = tar_split_rs::Disassembler::new(tar, std::io::sink());
            std::iter::from_fn(|| parts.next_member().transpose())
                .map(|member| member.map(|m| m.name))
                .collect::<Result<Vec<_>, _>>()
        };
        assert!(names(&tar).is_err());
        seal_headers(&mut tar);
        assert_eq!(names(&tar).unwrap(), [b"a", b"b"]);
        assert_eq!(&tar[512..1536], [1; 1024]);
        seal_headers(&mut [7; 700]);
    }
}
