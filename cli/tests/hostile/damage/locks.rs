//! Lock files (`store-format.md` 9).

use super::Damage::{
    Empty, Foreign, LinkDangling, LinkOut, Missing, Pipe, Truncated, Unreadable, WrongType,
};
use super::Step::{Afterwards, Containers, Delete, Images, Layers, Neighbour, Use, Write};
use super::{SOUND, Subject};

pub const SUBJECTS: &[Subject] = &[
    Subject {
        file: "g/overlay-layers/layers.lock",
        usage: "mount box; unmount box; diff -u -f /dev/null {top}",
        write: "create-layer -i fresh",
        delete: "delete-container box",
        cells: &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, SOUND),
            (Truncated, SOUND),
            (Foreign("", "0123456789abcdef"), SOUND),
            (
                WrongType,
                refusing!(
                    "layers.lock & not a regular file",
                    Layers,
                    Use,
                    Neighbour,
                    Write,
                    Delete
                ),
            ),
            (
                Pipe,
                refusing!(
                    "layers.lock & not a regular file",
                    Layers,
                    Use,
                    Neighbour,
                    Write,
                    Delete
                ),
            ),
            (
                LinkOut,
                refusing!("layers.lock & symbolic link", Layers, Use, Neighbour, Write, Delete),
            ),
            (
                LinkDangling,
                refusing!("layers.lock & symbolic link", Layers, Use, Neighbour, Write, Delete),
            ),
            (
                Unreadable,
                refusing!(
                    "layers.lock & Input/output error",
                    Layers,
                    Use,
                    Neighbour,
                    Write,
                    Delete
                ),
            ),
        ],
    },
    Subject {
        file: "g/overlay-images/images.lock",
        usage: "mount -r {img}; unmount {img}",
        write: "create-image -i fresh solo",
        delete: "delete {img}",
        cells: &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, SOUND),
            (Truncated, SOUND),
            (WrongType, refusing!("images.lock & not a regular file", Images, Use, Write, Delete)),
            (Pipe, refusing!("images.lock & not a regular file", Images, Use, Write, Delete)),
            (LinkOut, refusing!("images.lock & symbolic link", Images, Use, Write, Delete)),
            (LinkDangling, refusing!("images.lock & symbolic link", Images, Use, Write, Delete)),
            (Unreadable, refusing!("images.lock & Input/output error", Images, Use, Write, Delete)),
        ],
    },
    Subject {
        file: "g/overlay-containers/containers.lock",
        usage: "mount box; unmount box",
        write: "create-container -i fresh other",
        delete: "delete-container box",
        cells: &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, SOUND),
            (Truncated, SOUND),
            (
                WrongType,
                refusing!(
                    "containers.lock & not a regular file",
                    Containers,
                    Use,
                    Neighbour,
                    Write,
                    Delete
                ),
            ),
            (
                Pipe,
                refusing!(
                    "containers.lock & not a regular file",
                    Containers,
                    Use,
                    Neighbour,
                    Write,
                    Delete
                ),
            ),
            (
                LinkOut,
                refusing!(
                    "containers.lock & symbolic link",
                    Containers,
                    Use,
                    Neighbour,
                    Write,
                    Delete
                ),
            ),
            (
                LinkDangling,
                refusing!(
                    "containers.lock & symbolic link",
                    Containers,
                    Use,
                    Neighbour,
                    Write,
                    Delete
                ),
            ),
            (
                Unreadable,
                refusing!(
                    "containers.lock & Input/output error",
                    Containers,
                    Use,
                    Neighbour,
                    Write,
                    Delete
                ),
            ),
        ],
    },
    Subject {
        file: "r/overlay-layers/mountpoints.lock",
        usage: "mount box; unmount box",
        write: "create-layer -i fresh",
        delete: "delete-container box",
        cells: &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, SOUND),
            (Truncated, SOUND),
            (
                WrongType,
                refusing!("mountpoints.lock & not a regular file", Layers, Use, Neighbour, Delete),
            ),
            (
                Pipe,
                refusing!("mountpoints.lock & not a regular file", Layers, Use, Neighbour, Delete),
            ),
            (
                LinkOut,
                refusing!("mountpoints.lock & symbolic link", Layers, Use, Neighbour, Delete),
            ),
            (
                LinkDangling,
                refusing!("mountpoints.lock & symbolic link", Layers, Use, Neighbour, Delete),
            ),
            (Unreadable, refusing!("mountpoints.lock & Input/output error", Use, Neighbour)),
        ],
    },
    Subject {
        file: "g/storage.lock",
        usage: "mount box; unmount box",
        write: "create-layer -i fresh",
        delete: "delete-container box",
        cells: &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, SOUND),
            (
                WrongType,
                refusing!("storage.lock & not a regular file", Use, Neighbour, Write, Delete),
            ),
            (Pipe, refusing!("storage.lock & not a regular file", Use, Neighbour, Write, Delete)),
            (LinkOut, refusing!("storage.lock & symbolic link", Use, Neighbour, Write, Delete)),
            (
                LinkDangling,
                refusing!("storage.lock & symbolic link", Use, Neighbour, Write, Delete),
            ),
            (
                Unreadable,
                refusing!("storage.lock & Input/output error", Use, Neighbour, Write, Delete),
            ),
        ],
    },
    Subject {
        // Of no use to this version, and not looked at.
        file: "g/userns.lock",
        usage: "mount box; unmount box",
        write: "create-layer -i fresh",
        delete: "delete-container box",
        cells: &[
            (Missing, SOUND),
            (Foreign("", "0123456789abcdef"), SOUND),
            (WrongType, SOUND),
            (Pipe, SOUND),
            (LinkOut, SOUND),
            (LinkDangling, SOUND),
            (Unreadable, SOUND),
        ],
    },
];
