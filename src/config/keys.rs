//! Every key of storage.conf that has a meaning (`storage-conf.md` 3), and the driver option that it becomes (4).

use std::fmt;

/// A table of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Table {
    Root,
    Storage,
    Options,
    Btrfs,
    Overlay,
    Vfs,
    Zfs,
}

impl Table {
    /// Each table below another: parent, name, table.
    pub(crate) const CHILDREN: [(Self, &'static str, Self); 6] = [
        (Self::Root, "storage", Self::Storage),
        (Self::Storage, "options", Self::Options),
        (Self::Options, "btrfs", Self::Btrfs),
        (Self::Options, "overlay", Self::Overlay),
        (Self::Options, "vfs", Self::Vfs),
        (Self::Options, "zfs", Self::Zfs),
    ];

    /// The dotted name in the file.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Root => "",
            Self::Storage => "storage",
            Self::Options => "storage.options",
            Self::Btrfs => "storage.options.btrfs",
            Self::Overlay => "storage.options.overlay",
            Self::Vfs => "storage.options.vfs",
            Self::Zfs => "storage.options.zfs",
        }
    }
}

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Flag,
    Number,
    List,
    Map,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "a string",
            Self::Flag => "a boolean without quotes",
            Self::Number => "an integer from 0 to 4294967295",
            Self::List => "a list of strings",
            Self::Map => "a table of strings",
        })
    }
}

/// A key, its table and type, and the name of the driver option that it becomes, if any.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) table: Table,
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) option: Option<&'static str>,
}

const fn key(table: Table, name: &'static str, kind: Kind) -> Key {
    Key { table, name, kind, option: None }
}

const fn option(table: Table, name: &'static str, kind: Kind, option: &'static str) -> Key {
    Key { table, name, kind, option: Some(option) }
}

/// All keys. Those that become driver options stand in the order in which the driver gets them: it lets later ones win.
pub(crate) static KEYS: [Key; 38] = [
    key(Table::Storage, "driver", Kind::Text),
    key(Table::Storage, "driver_priority", Kind::List),
    key(Table::Storage, "graphroot", Kind::Text),
    key(Table::Storage, "runroot", Kind::Text),
    key(Table::Storage, "rootless_storage_path", Kind::Text),
    key(Table::Storage, "imagestore", Kind::Text),
    key(Table::Storage, "transient_store", Kind::Flag),
    key(Table::Options, "root-auto-userns-user", Kind::Text),
    key(Table::Options, "auto-userns-min-size", Kind::Number),
    key(Table::Options, "auto-userns-max-size", Kind::Number),
    key(Table::Options, "disable-volatile", Kind::Flag),
    key(Table::Options, "pull_options", Kind::Map),
    // Without effect in this table, but a wrong type is an error.
    key(Table::Options, "imagestore", Kind::Text),
    key(Table::Options, "use_composefs", Kind::Text),
    option(Table::Options, "additionalimagestores", Kind::List, "imagestore"),
    option(Table::Options, "additionallayerstores", Kind::List, "additionallayerstore"),
    option(Table::Options, "size", Kind::Text, "size"),
    option(Table::Options, "mount_program", Kind::Text, "mount_program"),
    option(Table::Options, "skip_mount_home", Kind::Text, "skip_mount_home"),
    option(Table::Options, "ignore_chown_errors", Kind::Text, "ignore_chown_errors"),
    option(Table::Options, "force_mask", Kind::Number, "force_mask"),
    option(Table::Options, "mountopt", Kind::Text, "mountopt"),
    option(Table::Btrfs, "min_space", Kind::Text, "btrfs.min_space"),
    option(Table::Btrfs, "size", Kind::Text, "btrfs.size"),
    option(Table::Overlay, "ignore_chown_errors", Kind::Text, "overlay.ignore_chown_errors"),
    option(Table::Overlay, "mount_program", Kind::Text, "overlay.mount_program"),
    option(Table::Overlay, "mountopt", Kind::Text, "overlay.mountopt"),
    option(Table::Overlay, "size", Kind::Text, "overlay.size"),
    option(Table::Overlay, "inodes", Kind::Text, "overlay.inodes"),
    option(Table::Overlay, "skip_mount_home", Kind::Text, "overlay.skip_mount_home"),
    option(Table::Overlay, "force_mask", Kind::Text, "overlay.force_mask"),
    option(Table::Overlay, "use_composefs", Kind::Text, "overlay.use_composefs"),
    option(Table::Overlay, "sync", Kind::Text, "overlay.sync"),
    option(Table::Vfs, "ignore_chown_errors", Kind::Text, "vfs.ignore_chown_errors"),
    option(Table::Vfs, "sync", Kind::Text, "vfs.sync"),
    option(Table::Zfs, "fsname", Kind::Text, "zfs.fsname"),
    option(Table::Zfs, "mountopt", Kind::Text, "zfs.mountopt"),
    option(Table::Zfs, "size", Kind::Text, "zfs.size"),
];

/// Whether a name of the file stands for a known, all-ASCII one: letter case is no difference, by Unicode's simple folding.
pub(crate) fn same_folded(known: &str, name: &str) -> bool {
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    name.chars().map(fold).eq(known.chars().map(fold))
}
