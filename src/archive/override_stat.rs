//! `user.containers.override_stat`: owner, mode and type of a file where `force_mask` keeps them beside the file (FMK-1 to FMK-3).

use std::fmt;

/// The attribute.
pub(crate) const KEY: &[u8] = b"user.containers.override_stat";

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    Fifo,
    Socket,
    Block(u32, u32),
    Char(u32, u32),
}

/// The attributes that a file has for its readers, whatever the disk says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OverrideStat {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Permissions, set-user-ID and the like included.
    pub(crate) mode: u32,
    /// Absent where an old writer left it out: then the file is what it is on the disk.
    pub(crate) kind: Option<Kind>,
}

impl OverrideStat {
    /// Reads a value of either form; `None` for what is no such value, of which as in Go every field counts but a fifth.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let mut fields = std::str::from_utf8(value).ok()?.split(':');
        let mut number = |radix| u32::from_str_radix(digits(fields.next()?)?, radix).ok();
        let (uid, gid, mode) = (number(10)?, number(10)?, number(8)? & 0o7777);
        let kind = fields.next().map(kind);
        if kind == Some(None) {
            return None;
        }
        Some(Self { uid, gid, mode, kind: kind.flatten() })
    }
}

/// A sign is none of the format's.
fn digits(text: &str) -> Option<&str> {
    text.bytes().all(|b| b.is_ascii_digit()).then_some(text)
}

/// Names are matched by their beginning, and parts after the device's numbers may come one day.
fn kind(name: &str) -> Option<Kind> {
    let plain = [
        ("file", Kind::File),
        ("dir", Kind::Directory),
        ("symlink", Kind::Symlink),
        ("pipe", Kind::Fifo),
        ("socket", Kind::Socket),
    ];
    if let Some((_, kind)) = plain.iter().find(|(text, _)| name.starts_with(text)) {
        return Some(*kind);
    }
    let mut parts = name.split('-');
    let device = parts.next()?;
    let mut number = || digits(parts.next()?)?.parse().ok();
    let (major, minor) = (number()?, number()?);
    match device {
        "block" => Some(Kind::Block(major, minor)),
        "char" => Some(Kind::Char(major, minor)),
        _ => None,
    }
}

impl fmt::Display for OverrideStat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{:04o}", self.uid, self.gid, self.mode)?;
        match self.kind {
            None => Ok(()),
            Some(Kind::File) => f.write_str(":file"),
            Some(Kind::Directory) => f.write_str(":dir"),
            Some(Kind::Symlink) => f.write_str(":symlink"),
            Some(Kind::Fifo) => f.write_str(":pipe"),
            Some(Kind::Socket) => f.write_str(":socket"),
            Some(Kind::Block(major, minor)) => write!(f, ":block-{major}-{minor}"),
            Some(Kind::Char(major, minor)) => write!(f, ":char-{major}-{minor}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        // FMK-2
        let kinds = [
            (Kind::File, "5:6:4755:file"),
            (Kind::Directory, "5:6:4755:dir"),
            (Kind::Symlink, "5:6:4755:symlink"),
            (Kind::Fifo, "5:6:4755:pipe"),
            (Kind::Socket, "5:6:4755:socket"),
            (Kind::Block(8, 1), "5:6:4755:block-8-1"),
            (Kind::Char(1, 3), "5:6:4755:char-1-3"),
        ];
        for (kind, text) in kinds {
            let stat = OverrideStat { uid: 5, gid: 6, mode: 0o4755, kind: Some(kind) };
            assert_eq!(stat.to_string(), text);
            assert_eq!(OverrideStat::parse(text.as_bytes()), Some(stat));
        }
        let short = OverrideStat { uid: 0, gid: 0, mode: 0o7, kind: Some(Kind::File) };
        assert_eq!(short.to_string(), "0:0:0007:file");
    }

    #[test]
    fn both_forms_are_read_and_nonsense_is_not() {
        // FMK-1, FMK-3
        let old = OverrideStat { uid: 5, gid: 6, mode: 0o644, kind: None };
        assert_eq!(OverrideStat::parse(b"5:6:0644"), Some(old));
        let new = OverrideStat { kind: Some(Kind::Char(1, 3)), ..old };
        assert_eq!(OverrideStat::parse(b"5:6:0644:char-1-3-more:even more"), Some(new));
        let prefix = OverrideStat { kind: Some(Kind::File), ..old };
        assert_eq!(OverrideStat::parse(b"5:6:0644:file2"), Some(prefix));
        for bad in [
            "",
            "5:6",
            "5:6:0999",
            "a:6:0644",
            "5:-6:0644",
            "5:6:+644",
            "5:6:0644:",
            "5:6:0644:char-1",
            "5:6:0644:door",
            "5:6:0644:char-1-",
            "5:6:0644:chars-1-2",
            "4294967296:0:0644",
            ":::",
        ] {
            assert_eq!(OverrideStat::parse(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(OverrideStat::parse(b"\xff:0:0"), None);
    }
}
