//! Tars in and out, staged content, and calling off (`go-driver.md`, DiffDriver and ApplyDiffStaging).

use std::fs;
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::ptr;
use std::time::{Duration, Instant};

use orlop_capi::*;

use crate::filled;
use crate::host::{EMPTY, Host, call, drivers, json, piped_in, taken, text, zeroed};

fn changes(host: &Host, id: &str, parent: &str) -> Vec<Vec<u8>> {
    let (id, parent, mut records) = (text(id), text(parent), EMPTY);
    call!(orlop_driver_changes(
        host.driver,
        id.as_ptr(),
        parent.as_ptr(),
        ptr::null(),
        &mut records
    ))
    .unwrap();
    let records = taken(records);
    assert_eq!(records.last(), Some(&0));
    let mut found: Vec<_> =
        records.strip_suffix(b"\0").unwrap().split(|b| *b == 0).map(<[u8]>::to_vec).collect();
    found.sort();
    found
}

/// A whiteout bears the time at which it is written, not one of the layer's: that and the checksum are blanked.
fn timeless(mut tar: Vec<u8>) -> Vec<u8> {
    for block in tar.chunks_exact_mut(512).filter(|b| b.starts_with(b"d/.wh.")) {
        block[136..156].fill(0);
    }
    tar
}

/// A pointer that another thread may use, as the header allows.
struct Shared<T>(*const T);
// SAFETY: tokens and progresses may be used by any thread.
unsafe impl<T> Send for Shared<T> {}

#[test]
fn a_diff_is_listed_written_and_applied() {
    for name in drivers() {
        let host = filled(name);
        let wanted = ["A/d/new", "C/d", "C/d/kept", "D/d/gone"].map(|w| w.as_bytes().to_vec());
        assert_eq!(changes(&host, "top", "base"), wanted);
        let (base, top) = (host.diff("base", ""), host.diff("top", "base"));
        assert!(top.windows(9).any(|w| w == b".wh.gone\0"), "AUFS whiteouts");

        // The same layers again, the one from a pipe, with blocks behind its end, the other from within a file.
        host.create("base2", "");
        let mut bytes = 0;
        let (id, none) = (text("base2"), ptr::null());
        let longer = [base.as_slice(), &[0; 100_000]].concat();
        let how = ptr::null();
        piped_in(&longer, |fd| {
            call!(orlop_driver_apply_diff(host.driver, id.as_ptr(), fd, how, none, &mut bytes))
                .unwrap();
        });
        assert_eq!((bytes, host.diff_size("base2", "")), (300_008, 300_008));
        host.create("top2", "base2");
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"not of the tar").unwrap();
        let start = file.stream_position().unwrap();
        file.write_all(&top).unwrap();
        file.seek(std::io::SeekFrom::Start(start)).unwrap();
        let (id, fd) = (text("top2"), file.as_raw_fd());
        call!(orlop_driver_apply_diff(host.driver, id.as_ptr(), fd, how, none, &mut bytes))
            .unwrap();
        assert_eq!((bytes, host.diff_size("top2", "base2")), (10, 10));
        assert_eq!(file.stream_position().unwrap(), start + top.len() as u64);
        assert_eq!(changes(&host, "top2", "base2"), wanted);
        assert!(timeless(host.diff("top2", "base2")) == timeless(top));
    }
}

/// A tar's header for its root, of mode 0700.
fn root_entry() -> Vec<u8> {
    let mut header = vec![0; 512];
    let fields: [(usize, &[u8]); 7] = [
        (0, b"./"),
        (100, b"0000700"),
        (108, b"0000000"),
        (116, b"0000000"),
        (124, b"00000000000"),
        (136, b"00000000000"),
        (148, b"        5"),
    ];
    for (at, text) in fields.into_iter().chain([(257, b"ustar\x0000".as_slice())]) {
        header[at..at + text.len()].copy_from_slice(text);
    }
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// Stages `tar`; the handle and the bytes.
fn stage(host: &Host, parent: &str, tar: &[u8]) -> (*mut orlop_staged, u64) {
    let parent = text(parent);
    let (mut staged, mut bytes) = (ptr::null_mut(), 0);
    piped_in(tar, |fd| {
        let (how, operation) = (ptr::null(), ptr::null());
        call!(orlop_driver_stage(
            host.driver,
            parent.as_ptr(),
            fd,
            how,
            operation,
            &mut staged,
            &mut bytes
        ))
        .unwrap();
    });
    (staged, bytes)
}

#[test]
fn staged_content_becomes_a_layer_or_vanishes() {
    for name in drivers() {
        let mut host = filled(name);
        let top = host.diff("top", "base");
        let commit = |host: &Host, id: &str, staged| {
            call!(orlop_driver_commit_staged(host.driver, text(id).as_ptr(), staged))
        };
        let (staged, bytes) = stage(&host, "base", &top);
        assert_eq!((bytes, host.leftovers() > 0), (10, true));
        host.create("third", "base");
        commit(&host, "third", staged).unwrap();
        assert_eq!(host.leftovers(), 0);
        assert!(timeless(host.diff("third", "base")) == timeless(top.clone()));

        // What the stream says of the root holds, else the parent's root does.
        let mode = |id: &str| {
            let mut mode = 0;
            host.within(id, |root| mode = fs::metadata(root).unwrap().mode() & 0o7777);
            mode
        };
        for (id, tar) in [("fourth", [root_entry(), top.clone()].concat()), ("same", top.clone())] {
            host.create(id, "base");
            let (staged, _) = stage(&host, "base", &tar);
            commit(&host, id, staged).unwrap();
        }
        assert_eq!((mode("fourth"), mode("same")), (0o700, 0o555));

        if name == "overlay" {
            let (staged, _) = stage(&host, "base", &top);
            assert_eq!(commit(&host, "third", staged).unwrap_err().code, ORLOP_ERR_DUPLICATE_ID);
        }
        let (staged, _) = stage(&host, "base", &top);
        let e = commit(&host, "no such layer", staged).unwrap_err();
        assert_eq!((e.code, host.leftovers()), (ORLOP_ERR_LAYER_UNKNOWN, 0), "{}", e.message);

        // Of another handle, though on the same root.
        let (staged, _) = stage(&host, "base", &top);
        host.create("fifth", "base");
        let other = host.another();
        let e = call!(orlop_driver_commit_staged(other, text("fifth").as_ptr(), staged));
        let e = e.unwrap_err();
        assert_eq!((e.code, host.leftovers()), (ORLOP_ERR_INVALID_ARGUMENT, 0));
        assert!(e.message.contains("another driver handle"), "{}", e.message);
        // SAFETY: opened above; nobody uses it any more.
        unsafe { orlop_driver_free(other) };

        let (staged, _) = stage(&host, "base", &top);
        host.close();
        assert!(host.leftovers() > 0);
        // SAFETY: not committed.
        unsafe { orlop_staged_free(staged) };
        assert_eq!(host.leftovers(), 0);
    }
}

#[test]
fn a_damaged_tar_leaves_nothing_staged() {
    for name in drivers() {
        let host = filled(name);
        let whole = host.diff("base", "");
        let mut staged = ptr::dangling_mut::<orlop_staged>();
        let none = ptr::null();
        let (how, operation) = (ptr::null(), ptr::null());
        let e = piped_in(&whole[..100_000], |fd| {
            let (bytes, staged) = (ptr::null_mut(), &mut staged);
            call!(orlop_driver_stage(host.driver, none, fd, how, operation, staged, bytes))
                .unwrap_err()
        });
        assert_eq!(e.code, ORLOP_ERR_INVALID_ARCHIVE, "{}", e.message);
        assert!(staged.is_null() && host.leftovers() == 0);
    }
}

#[test]
fn an_operation_is_watched_and_called_off_while_it_waits() {
    for name in drivers() {
        let host = filled(name);
        let tar = host.diff("base", "");
        for aside in [true, false] {
            let (mut cancel, mut progress) = (ptr::null_mut(), ptr::null_mut());
            call!(orlop_cancel_new(&mut cancel)).unwrap();
            call!(orlop_progress_new(&mut progress)).unwrap();
            let mut operation: orlop_operation = zeroed();
            operation.cancel = cancel;
            operation.progress = progress;
            let (reader, mut writer) = std::io::pipe().unwrap();
            let fd = reader.as_raw_fd();
            let (token, watched) = (Shared(cancel.cast_const()), Shared(progress.cast_const()));
            let read = |progress| {
                let mut state: orlop_progress_state = zeroed();
                call!(orlop_progress_read(progress, &mut state)).unwrap();
                state
            };
            let part = &tar[..40_000];
            let mut called_off = None;
            let e = std::thread::scope(|s| {
                let caller = s.spawn(|| {
                    let (token, watched) = (token, watched);
                    // A part of the tar, and then nothing more, with the pipe open.
                    writer.write_all(part).unwrap();
                    let start = Instant::now();
                    while read(watched.0).bytes_done < part.len() as u64 {
                        assert!(start.elapsed() < Duration::from_secs(60), "nobody reads");
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    // SAFETY: the token lives until the end of the test.
                    unsafe { orlop_cancel_now(token.0) };
                    called_off = Some(Instant::now());
                });
                let mut staged = ptr::null_mut();
                let outcome = if aside {
                    let how = ptr::null();
                    let (none, bytes) = (ptr::null(), ptr::null_mut());
                    let (staged, operation) = (&mut staged, &operation);
                    call!(orlop_driver_stage(host.driver, none, fd, how, operation, staged, bytes))
                } else {
                    host.create("target", "");
                    let (id, how, bytes) = (text("target"), ptr::null(), ptr::null_mut());
                    let id = id.as_ptr();
                    call!(orlop_driver_apply_diff(host.driver, id, fd, how, &operation, bytes))
                };
                caller.join().unwrap();
                assert!(staged.is_null());
                outcome.unwrap_err()
            });
            assert_eq!(e.code, ORLOP_ERR_CANCELLED, "{}", e.message);
            assert!(called_off.unwrap().elapsed() < Duration::from_secs(30));
            assert_eq!(host.leftovers(), 0);
            let state = read(progress.cast_const());
            assert_eq!((state.items_started, state.items_finished), (1, 1));

            // Called off once, it stays so; nothing is read.
            let id = text("base");
            let e = call!(orlop_driver_diff(
                host.driver,
                id.as_ptr(),
                ptr::null(),
                ptr::null(),
                reader.as_raw_fd(),
                &operation
            ));
            assert_eq!(e.unwrap_err().code, ORLOP_ERR_CANCELLED);
            // SAFETY: nobody uses them any more.
            unsafe {
                orlop_cancel_free(cancel);
                orlop_progress_free(progress);
            }
        }
    }
}

#[test]
fn progress_tells_all_bytes() {
    let host = filled("vfs");
    let mut progress = ptr::null_mut();
    call!(orlop_progress_new(&mut progress)).unwrap();
    let mut operation: orlop_operation = zeroed();
    operation.progress = progress;
    let tar = crate::host::piped_out(|fd| {
        let (id, parent) = (text("base"), ptr::null());
        call!(orlop_driver_diff(host.driver, id.as_ptr(), parent, ptr::null(), fd, &operation))
            .unwrap();
    });
    host.create("other", "");
    let id = text("other");
    piped_in(&tar, |fd| {
        let (how, bytes) = (ptr::null(), ptr::null_mut());
        let id = id.as_ptr();
        call!(orlop_driver_apply_diff(host.driver, id, fd, how, &operation, bytes)).unwrap();
    });
    // A file tells how much there is, from where it stands.
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[&[7; 3], tar.as_slice()].concat()).unwrap();
    let at_tar = || (&file).seek(std::io::SeekFrom::Start(3)).unwrap();
    at_tar();
    host.create("third", "");
    let (id, fd, how) = (text("third"), file.as_raw_fd(), ptr::null());
    let bytes = ptr::null_mut();
    call!(orlop_driver_apply_diff(host.driver, id.as_ptr(), fd, how, &operation, bytes)).unwrap();
    at_tar();
    let (none, mut staged) = (ptr::null(), ptr::null_mut());
    let place = &mut staged;
    call!(orlop_driver_stage(host.driver, none, fd, how, &operation, place, bytes)).unwrap();
    // SAFETY: staged above.
    unsafe { orlop_staged_free(staged) };
    let mut items = EMPTY;
    call!(orlop_progress_items(progress, &mut items)).unwrap();
    let size = tar.len();
    let piped = |what: &str| serde_json::json!({"what": what, "done": size, "note": "done"});
    let filed =
        |what: &str| serde_json::json!({"what": what, "total": size, "done": size, "note": "done"});
    let wanted =
        [piped("layer base"), piped("layer other"), filed("layer third"), filed("a new layer")];
    assert_eq!(json(items), serde_json::json!(wanted));
    let mut state: orlop_progress_state = zeroed();
    call!(orlop_progress_read(progress, &mut state)).unwrap();
    assert_eq!((state.bytes_total, state.bytes_done), (2 * size as u64, 4 * size as u64));
    // SAFETY: nobody uses it any more.
    unsafe { orlop_progress_free(progress) };
}

#[test]
fn a_reader_that_goes_away_is_an_error() {
    let host = filled("vfs");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let (id, none) = (text("base"), ptr::null());
    let operation = ptr::null();
    let e = call!(orlop_driver_diff(
        host.driver,
        id.as_ptr(),
        none,
        ptr::null(),
        writer.as_raw_fd(),
        operation
    ));
    let e = e.unwrap_err();
    assert_eq!((e.code, e.errno), (ORLOP_ERR_IO, libc::EPIPE), "{}", e.message);
}
