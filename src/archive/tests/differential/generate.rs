//! Archives at random: names that meet each other, through links and whiteouts too, and bytes that are changed afterwards.

use std::collections::HashSet;

use crate::archive::names::clean;
use crate::archive::pack::Header;
use crate::archive::tests::unpacking::Dice;
use crate::archive::tests::{Tar, header};

const PARTS: [&str; 22] = [
    "a",
    "b",
    "c",
    "d",
    "ln",
    "up",
    "f",
    "g",
    "..",
    ".",
    "",
    "é",
    "self",
    "h",
    "i",
    "j",
    ".wh.a",
    ".wh.f",
    ".wh.ln",
    ".wh..wh..opq",
    ".wh.d",
    ".wh..wh.plnk",
];

const TARGETS: [&str; 12] =
    ["a", "f", "d/f", "../f", "/", ".", "..", "/a/b", "self/a", "ln", "../../up", "d"];

const XATTRS: [&str; 8] = [
    "user.a",
    "user.a",
    "trusted.a",
    "trusted.overlay.opaque",
    "user.overlay.opaque",
    "security.selinux",
    "odd",
    "security.capability",
];

/// The archive of that number.
pub(super) fn archive(number: u64) -> Vec<u8> {
    let mut dice = Dice::new(number);
    let mut tar = Tar::default();
    let mut used = HashSet::new();
    // Most hard links lead to nothing, and end it for both sides.
    let hard_links = dice.roll(4) == 0;
    for _ in 0..=dice.roll(9) {
        let mut member = member(&mut dice);
        if member.kind == b'1' && !hard_links {
            member.kind = b'2';
        }
        let content = vec![b'a' + dice.roll(20) as u8; dice.roll(1200) as usize];
        // Equal names end it for both sides, so let there be few.
        if used.insert(clean(&member.name)) || dice.roll(30) == 0 {
            let has_content = matches!(member.kind, b'0' | b'7');
            tar = tar.add(member, if has_content { &content } else { b"" });
        }
    }
    let mut tar = tar.end();
    match dice.roll(8) {
        0 | 1 => damage(&mut dice, &mut tar),
        2 => {
            let junk = dice.roll(2000) as usize;
            tar.extend(std::iter::repeat_n(7, junk));
        }
        3 => tar.truncate(dice.roll(tar.len() as u64 + 1) as usize),
        _ => {}
    }
    tar
}

fn pick<T: Copy>(dice: &mut Dice, from: &[T]) -> T {
    from[dice.roll(from.len() as u64) as usize]
}

fn member(dice: &mut Dice) -> Header {
    let parts: Vec<_> = (0..=dice.roll(3)).map(|_| pick(dice, &PARTS)).collect();
    let mut name = parts.join("/");
    if dice.roll(40) == 0 {
        name.push_str(&"n".repeat(dice.roll(300) as usize));
    }
    let kind = pick(dice, b"000000555522211346");
    let mut member = Header {
        mode: if dice.roll(3) == 0 { dice.roll(0o10000) as u32 } else { 0o755 },
        uid: dice.roll(3) as u32 * 1000,
        gid: dice.roll(2) as u32 * 3_000_000,
        mtime: if dice.roll(9) == 0 { -5 } else { dice.roll(2_000_000_000) as i64 },
        ..header(&name, kind)
    };
    match kind {
        b'1' | b'2' => member.link_name = pick(dice, &TARGETS).into(),
        b'3' | b'4' => {
            (member.dev_major, member.dev_minor) = pick(dice, &[(0, 0), (1, 3), (7, 300)])
        }
        b'5' if dice.roll(2) == 0 => member.name.push(b'/'),
        _ => {}
    }
    if dice.roll(6) == 0 {
        let value = vec![b'v'; dice.roll(30) as usize];
        member.xattrs = vec![(pick(dice, &XATTRS).into(), value)];
    }
    if dice.roll(60) == 0 {
        member.kind = pick(dice, b"7SgVxKL\0 Z");
    }
    member
}

/// What the names of global headers begin with where they can do no harm.
pub(super) const HARMLESS: &[u8] = b"global";

/// The archive with harmless names for its global headers, if that makes it another one.
pub(super) fn without_global_names(tar: &[u8]) -> Option<Vec<u8>> {
    let mut other = tar.to_vec();
    let is_global = |block: &&mut [u8]| block[156] == b'g' && block[257..].starts_with(b"ustar");
    for (n, block) in other.chunks_exact_mut(512).filter(is_global).enumerate() {
        let name = [HARMLESS, n.to_string().as_bytes()].concat();
        block[..100].fill(0);
        block[..name.len()].copy_from_slice(&name);
        block[345..500].fill(0);
    }
    crate::fuzzing::seal_headers(&mut other);
    (other != tar).then_some(other)
}

/// Changes some bytes, mostly of a header whose checksum is then made right.
fn damage(dice: &mut Dice, tar: &mut [u8]) {
    for _ in 0..=dice.roll(3) {
        let block = dice.roll(tar.len() as u64 / 512) as usize * 512;
        let at = match dice.roll(4) {
            0 => 156,
            1 => 100 + dice.roll(48) as usize,
            2 => 257 + dice.roll(8) as usize,
            _ => dice.roll(512) as usize,
        };
        tar[block + at] = if dice.roll(2) == 0 {
            pick(dice, b"01234567\0 gxLKSV/.-")
        } else {
            dice.roll(256) as u8
        };
    }
    if dice.roll(6) != 0 {
        crate::fuzzing::seal_headers(tar);
    }
}
