//! Layers whose files hold something else, where the digest of their tar does not tell.

use std::io::{Read, Write};
use std::os::unix::fs::FileExt;

use base64::Engine as _;
use tar::EntryType;

use super::hostile::refused_of;
use super::tampered::{rich, set_mode, set_time};
use super::*;
use crate::archive::{TreeFiles, reassemble};

/// Puts a layer's tar together, of the tar-split file and the tree as they are.
fn tar_again(f: &Fixture, chain_id: &Digest) -> Vec<u8> {
    let open = |path: PathBuf| std::fs::File::open(path).unwrap();
    let mut tar_split = open(f.record(chain_id).join("tar-split.json.gz"));
    let files = TreeFiles::new(vec![open(f.diff(chain_id)).into()]);
    let mut tar = Vec::new();
    reassemble(&mut tar_split, &files, &mut tar).unwrap();
    tar
}

#[test]
fn content_that_the_tar_split_holds_is_no_files() {
    if !needs_root() {
        return;
    }
    let tars = [base(), rich()];
    refused_of("a file never read", "is not followed by the entry", &tars, |f, chain, _| {
        let path = f.record(&chain[1]).join("tar-split.json.gz");
        let mut lines = String::new();
        let file = std::fs::File::open(&path).unwrap();
        flate2::read::GzDecoder::new(file).read_to_string(&mut lines).unwrap();
        let entry = lines.lines().find(|line| line.contains(r#""dir/file""#)).unwrap();
        let content = base64::engine::general_purpose::STANDARD.encode("content");
        let lines = lines.replace(entry, &format!(r#"{{"type":2,"payload":"{content}"}}"#));
        let file = std::fs::File::create(&path).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        gzip.write_all(lines.as_bytes()).unwrap();
        gzip.finish().unwrap();
        let file = f.diff(&chain[1]).join("dir/file");
        std::fs::write(&file, "CONTENT").unwrap();
        set_time(&file, 1_600_000_000);
        assert!(tar_again(f, &chain[1]) == tars[1], "the digest is the layer's");
    });
}

/// The header of a sparse file in GNU's old format: with so many bytes at `offset`, and `size` in all.
fn sparse_header(stored: u64, offset: u64, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_path("file").unwrap();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_mode(0o644);
    header.set_mtime(1_600_000_000);
    header.set_size(stored);
    header.set_uid(0);
    header.set_gid(0);
    let gnu = header.as_gnu_mut().unwrap();
    let number = |field: &mut [u8], number: u64| {
        field.copy_from_slice(format!("{number:011o}\0").as_bytes());
    };
    number(&mut gnu.sparse[0].offset, offset);
    number(&mut gnu.sparse[0].numbytes, stored);
    number(&mut gnu.realsize, size);
    header.set_cksum();
    header
}

/// A tar of a file with `abc` behind a hole and before one, 200000 bytes in all.
fn sparse() -> Vec<u8> {
    let header = sparse_header(3, 100_000, 200_000);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header, &b"abc"[..]).unwrap();
    tar.into_inner().unwrap()
}

#[test]
fn sparse_content_that_the_tar_split_holds_is_compared() {
    if !needs_root() {
        return;
    }
    let write = |f: &Fixture, chain: &[Digest], at: u64, bytes: &[u8]| {
        let path = f.diff(&chain[0]).join("file");
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(bytes, at).unwrap();
        set_time(&path, 1_600_000_000);
        assert!(tar_again(f, &chain[0]) == sparse(), "the digest is the layer's");
    };
    let places: [(u64, &[u8]); 5] =
        [(100_000, b"abd"), (99_999, b"x"), (0, b"x"), (150_000, b"x"), (199_999, b"x")];
    for (at, bytes) in places {
        let why = "its content is another than in the tar";
        refused_of(&at.to_string(), why, &[sparse()], |f, chain, _| write(f, chain, at, bytes));
    }
    // Where zeros are written there needs not be a hole.
    let f = Fixture::new();
    let id = f.image(&["a:1"], &[sparse()], None);
    let chain = f.docker().image(&id).unwrap().chain_ids();
    write(&f, &chain, 0, &[0; 70_000]);
    for transfer in [Transfer::Copy, Transfer::Move] {
        let options = MigrateOptions { transfer, ..MigrateOptions::default() };
        let report = take(&f, &[], options).unwrap();
        assert!(report.is_whole(), "{transfer:?}: {report:?}");
    }
}

/// A layer that the store had before, and in which `change` is done, keeps docker's image from going; what went wrong is told.
fn keeps_dockers(tar: &[u8], why: &str, change: impl FnOnce(&Path)) {
    let f = Fixture::new();
    let good = f.image(&["good:1"], &[base(), top("good")], None);
    let bad = f.image(&["bad:1"], &[base(), tar.to_vec()], None);
    let report = take(&f, &[], MigrateOptions::default()).unwrap();
    let found = report.images.iter().find(|image| image.id == bad.hex()).unwrap();
    let layer = content(&f, &found.layers[1].id);
    change(&layer);
    let report = take(&f, &[], moving()).unwrap();
    assert!(report.is_whole(), "{why}: {report:?}");
    for image in &report.images {
        assert_eq!(image.moved, image.id == good.hex(), "{why}: {report:?}");
        let kept = image.kept.clone().unwrap_or_default();
        assert_eq!(kept.contains(why), image.id == bad.hex(), "{why}: {report:?}");
        assert_eq!(kept.contains("delete its images from the store"), image.id == bad.hex());
    }
    let docker = f.docker();
    assert_eq!(docker.images().unwrap().into_iter().map(|i| i.id).collect::<Vec<_>>(), [bad]);
    let unverified = || MigrateOptions { verify: false, ..moving() };
    assert!(take(&f, &[], unverified()).unwrap().images[0].moved, "{why}");
}

#[test]
fn a_stores_layer_that_was_changed_keeps_dockers() {
    if !needs_root() {
        return;
    }
    keeps_dockers(&rich(), "its mode is 4755, in the tar 0644", |at| {
        set_mode(at.join("dir/same"), 0o4755);
    });
    keeps_dockers(&rich(), "it is a file, in the tar nothing", |at| {
        std::fs::write(at.join("dir/more"), "").unwrap();
        set_time(&at.join("dir"), 1_600_000_000);
    });
    keeps_dockers(&sparse(), "its content is another than in the tar", |at| {
        let file = std::fs::File::options().write(true).open(at.join("file")).unwrap();
        file.write_all_at(b"abd", 100_000).unwrap();
        set_time(&at.join("file"), 1_600_000_000);
    });
    // Another file's content is for the digest, which comes first.
    keeps_dockers(&rich(), "checksum", |at| {
        std::fs::write(at.join("dir/file"), "CONTENT").unwrap();
    });
}

/// Go's tar-split has the expanded content of a sparse file read where the tar has the stored one.
#[test]
fn a_stores_sparse_file_does_not_hold_the_members_after_it() {
    if !needs_root() {
        return;
    }
    // What is stored fills its block, and the file is as much longer as the next member takes.
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&sparse_header(512, 0, 3 * 512), &[b'x'; 512][..]).unwrap();
    let mut tar = tar.into_inner().unwrap();
    tar.truncate(1024);
    tar.extend(tar_of(&[("next", &"n".repeat(512))]));
    let (file, end) = (512..2048, 2048..);
    let swallowed = std::str::from_utf8(&tar[file]).unwrap();
    let plain = tar_of(&[("file", swallowed)]);
    let mut stream = tar_split_rs::Disassembler::new(&plain[..], Vec::new());
    while stream.next_member().unwrap().is_some() {}
    let log = String::from_utf8(stream.finish().unwrap().1).unwrap();
    let entry = log.lines().find(|line| line.contains(r#""file""#)).unwrap();
    let segment = |bytes: &[u8]| {
        let payload = base64::engine::general_purpose::STANDARD.encode(bytes);
        format!(r#"{{"type":2,"payload":"{payload}"}}"#)
    };
    let lines = [segment(&tar[..512]), entry.to_owned(), segment(&tar[end])].join("\n");
    let why = "its files give a tar of 3072 bytes, not 2048";
    keeps_dockers(&tar, why, |at| {
        std::fs::write(at.join("file"), swallowed).unwrap();
        set_time(&at.join("file"), 1_600_000_000);
        std::fs::remove_file(at.join("next")).unwrap();
        let layer = at.parent().unwrap();
        let id = layer.file_name().unwrap().to_str().unwrap();
        let records = layer.parent().unwrap().with_file_name("overlay-layers");
        let tar_split = records.join(format!("{id}.tar-split.gz"));
        assert!(tar_split.exists());
        let file = std::fs::File::create(tar_split).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        gzip.write_all(lines.as_bytes()).unwrap();
        gzip.finish().unwrap();
    });
}

#[test]
fn a_stores_layer_that_was_loaded_lets_dockers_go() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    let id = f.image(&["a:1"], &[base(), rich(), middle(), sparse()], None);
    // By an archive, as the store had it from elsewhere.
    let other = Fixture::new();
    migrate(&other.store(), &f.docker(), &MigrateOptions::default()).unwrap();
    let archive = f.dir.path().join("image.tar");
    let names = ["docker.io/library/a:1".to_owned()];
    let output = Output::Path(archive.clone());
    let options = SaveOptions::default();
    save(&other.store(), &names, SaveFormat::DockerArchive, output, &options).unwrap();
    load(&f.store(), Source::Path(archive), &LoadOptions::default()).unwrap();
    let report = take(&f, &[], moving()).unwrap();
    assert!(report.is_whole() && report.images[0].moved, "{report:?}");
    assert_eq!(report.images[0].id, id.hex());
    assert!(report.images[0].layers.iter().all(|layer| layer.outcome == Outcome::Present));
    assert!(f.docker().layers().unwrap().is_empty());
}

#[test]
fn layers_in_another_form_are_not_compared_with_headers() {
    if !needs_root() {
        return;
    }
    let f = Fixture::new();
    f.image(&["a:1"], &[base()], None);
    let report = take(&f, &[], MigrateOptions::default()).unwrap();
    let id = &report.images[0].layers[0].id;
    let is_looked_at = || f.store().with_unpacked(id, |_, _| Ok(())).unwrap().is_some();
    assert!(is_looked_at());
    // Composefs keeps the names in an image, and the files by their digests.
    let image = content(&f, id).with_file_name("composefs-data");
    std::fs::create_dir(&image).unwrap();
    assert!(!is_looked_at());
    std::fs::remove_dir(image).unwrap();
    assert!(is_looked_at());
    let records = f.dir.path().join("graph/overlay-layers/layers.json");
    let mut json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&records).unwrap()).unwrap();
    for key in ["uidmap", "gidmap"] {
        json[0][key] = json!([{"container_id": 0, "host_id": 100_000, "size": 65_536}]);
    }
    std::fs::write(&records, json.to_string()).unwrap();
    assert!(!is_looked_at());
}
