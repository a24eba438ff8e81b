//! Streams at random: of well-formed members with odd names, and damaged ones.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Names that tend to be odd, and to be the same.
fn name() -> impl Strategy<Value = Vec<u8>> + Clone {
    prop_oneof![
        "[a-d<>&\"\\\\é\u{2028}\t]{1,6}(/[a-d.]{1,3}){0,3}/?".prop_map(String::into_bytes),
        "(\\./|/|\\.\\./)?[a-z0-9]{2,12}".prop_map(String::into_bytes),
        vec(1u8..=255, 1..40),
        vec(prop::sample::select(b"abc/".to_vec()), 90..400),
    ]
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        vec(any::<u8>(), 1..20),
        (vec(any::<u8>(), 1..8), 1..300usize).prop_map(|(bytes, times)| bytes.repeat(times)),
        (any::<u8>(), 0..3usize).prop_map(|(byte, blocks)| vec![byte; blocks * 512]),
    ]
}

/// A member by the writer of the `tar` crate, which makes GNU long names, or PAX records before it.
fn by_tar_crate() -> impl Strategy<Value = Vec<u8>> {
    let records = vec(("[a-z]{1,8}|SCHILY\\.xattr\\.user\\.[a-c]", vec(any::<u8>(), 0..30)), 0..3);
    (name(), content(), records, any::<bool>()).prop_map(|(name, content, records, gnu)| {
        let mut builder = tar::Builder::new(Vec::new());
        if !records.is_empty() {
            let records = records.iter().map(|(key, value)| (key.as_str(), &value[..]));
            builder.append_pax_extensions(records).unwrap();
        }
        let mut header = if gnu { tar::Header::new_gnu() } else { tar::Header::new_ustar() };
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        let path = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&name);
        if builder.append_data(&mut header, path, &content[..]).is_err() {
            // A name that it does not write: absolute, with `..`, or too long for ustar.
            let short = &name[..name.len().min(100)];
            return file(short, &content);
        }
        let mut bytes = builder.into_inner().unwrap();
        bytes.truncate(bytes.len() - END.len());
        bytes
    })
}

/// A member by hand: all type flags, formats and extensions.
fn by_hand() -> impl Strategy<Value = Vec<u8>> {
    let short = name().prop_map(|name| name[..name.len().min(100)].to_vec());
    let type_flag = prop::sample::select(b"0123456\x007gxLKSV".to_vec());
    let number = prop_oneof![Just(0u64), 0..2000u64];
    let time = prop::sample::select(vec!["", "1", "-1.5", "12.345", "-0.000000001", "1e3"]);
    prop_oneof![
        (short.clone(), content()).prop_map(|(name, content)| file(&name, &content)),
        (short.clone(), type_flag, number).prop_map(|(name, flag, size)| {
            let block = header(&name, flag, size);
            let block = if flag == b'S' { gnu_header(&name, flag, size) } else { block };
            member(block, &vec![b' '; size as usize])
        }),
        (name(), short.clone(), content()).prop_map(|(long, name, content)| {
            [gnu_long(b'L', &long), gnu_long(b'K', &long), file(&name, &content)].concat()
        }),
        (name(), short.clone(), content(), time).prop_map(|(long, name, content, time)| {
            let records: [(&[u8], &[u8]); 3] =
                [(b"path", &long), (b"mtime", time.as_bytes()), (b"SCHILY.xattr.user.a", &name)];
            [pax(b'x', &records), file(&name, &content)].concat()
        }),
        (short.clone(), vec((0..600u64, vec(any::<u8>(), 0..700)), 0..30)).prop_map(
            |(name, pieces)| {
                let mut end = 0;
                let mut map = Vec::new();
                for (hole, data) in &pieces {
                    map.push((end + hole, &data[..]));
                    end += hole + data.len() as u64;
                }
                old_sparse(&name, &map, end + 100)
            }
        ),
        (short, vec((0..600u64, vec(any::<u8>(), 0..700)), 0..30)).prop_map(|(name, pieces)| {
            let (mut end, mut map, mut data) = (0, format!("{}\n", pieces.len()), Vec::new());
            for (hole, piece) in &pieces {
                map += &format!("{}\n{}\n", end + hole, piece.len());
                end += hole + piece.len() as u64;
                data.extend_from_slice(piece);
            }
            let stored = [pad(map.into_bytes()), data].concat();
            let size = (end + 9).to_string();
            let records: [(&[u8], &[u8]); 3] = [
                (b"GNU.sparse.major", b"1"),
                (b"GNU.sparse.minor", b"0"),
                (b"GNU.sparse.realsize", size.as_bytes()),
            ];
            [pax(b'x', &records), file(&name, &stored)].concat()
        }),
    ]
}

fn tail() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(END.to_vec()),
        Just(Vec::new()),
        Just(vec![0; 512]),
        Just(vec![0; 10240]),
        vec(any::<u8>(), 0..2000).prop_map(|junk| [&END[..], &junk].concat()),
    ]
}

/// A stream of some members, well-formed but for names that may come twice.
pub(crate) fn stream() -> impl Strategy<Value = Vec<u8>> {
    (vec(prop_oneof![by_tar_crate(), by_hand()], 0..6), tail())
        .prop_map(|(members, tail)| [members.concat(), tail].concat())
}

/// A stream with some bytes changed, half of the time with the checksum of the block that they are in made
/// right again, and perhaps cut off.
pub(crate) fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), 0..512usize, any::<u8>(), any::<bool>());
    let cut = prop::option::weighted(0.2, any::<prop::sample::Index>());
    (stream(), vec(change, 1..4), cut).prop_map(|(mut bytes, changes, cut)| {
        for (block, at, value, reseal) in changes {
            let blocks = bytes.len() / 512;
            if blocks == 0 {
                continue;
            }
            let block = &mut bytes[block.index(blocks) * 512..][..512];
            block[at] = value;
            if reseal {
                seal(block);
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        bytes
    })
}
