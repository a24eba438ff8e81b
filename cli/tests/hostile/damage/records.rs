//! Records, locks, tar-splits and big data (`store-format.md` 3 to 9).

use super::Damage::{
    Empty, Escaping, Foreign, LinkDangling, LinkOut, Missing, Pipe, Truncated, Unreadable,
    WrongType,
};
use super::Step::{Afterwards, Containers, Delete, Images, Layers, Neighbour, Use, Write};
use super::{Deviations, SOUND, Subject};

/// Without any layer, the objects that stand on one can only be listed and deleted; what is written begins a new list.
const NO_LAYERS: Deviations = &[
    (Layers, "=1"),
    (Use, "layer not known"),
    (Neighbour, "layer not known"),
    (Afterwards, "rebuilt"),
];

macro_rules! refusing {
    ($words:literal, $($step:ident),*) => { &[$(($step, $words)),*] };
}

pub const SUBJECTS: &[Subject] = &[
    Subject {
        file: "g/overlay-layers/layers.json",
        usage: "mount box; unmount box; diff -u -f /dev/null {top}",
        write: "create-layer -i fresh",
        delete: "delete-container box",
        cells: &[
            (Missing, NO_LAYERS),
            (Empty, NO_LAYERS),
            (
                Truncated,
                refusing!("layers.json & damaged store", Layers, Use, Neighbour, Write, Delete),
            ),
            (
                WrongType,
                refusing!(
                    "layers.json & not a regular file",
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
                    "layers.json & not a regular file",
                    Layers,
                    Use,
                    Neighbour,
                    Write,
                    Delete
                ),
            ),
            (Foreign("\"parent\":\"{base}\"", "\"parent\":\"nosuch\""), &[(Afterwards, "rebuilt")]),
            (
                Escaping("\"id\":\"{box}\"", "\"id\":\"../../outside\""),
                &[(Use, "layer not known"), (Afterwards, "rebuilt")],
            ),
            (
                LinkOut,
                refusing!("layers.json & symbolic link", Layers, Use, Neighbour, Write, Delete),
            ),
            (
                LinkDangling,
                refusing!("layers.json & symbolic link", Layers, Use, Neighbour, Write, Delete),
            ),
            (
                Unreadable,
                refusing!(
                    "layers.json & Input/output error",
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
        file: "g/overlay-layers/volatile-layers.json",
        usage: "mount vol; unmount vol",
        write: "create-container --volatile -i fresh other",
        delete: "delete-container vol",
        cells: &[
            (Missing, &[(Layers, "=5"), (Use, "layer not known"), (Afterwards, "rebuilt")]),
            (Empty, &[(Layers, "=5"), (Use, "layer not known"), (Afterwards, "rebuilt")]),
            (
                Truncated,
                refusing!(
                    "volatile-layers.json & damaged store",
                    Layers,
                    Use,
                    Neighbour,
                    Write,
                    Delete
                ),
            ),
            (
                WrongType,
                refusing!(
                    "volatile-layers.json & not a regular file",
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
                    "volatile-layers.json & not a regular file",
                    Layers,
                    Use,
                    Neighbour,
                    Write,
                    Delete
                ),
            ),
            // An id that an earlier file has: that one counts.
            (
                Foreign("{vol}", "solo"),
                &[(Layers, "=5"), (Use, "layer not known"), (Afterwards, "rebuilt")],
            ),
            (
                Escaping("{vol}", "../../outside"),
                &[(Use, "layer not known"), (Afterwards, "rebuilt")],
            ),
            (
                LinkOut,
                refusing!(
                    "volatile-layers.json & symbolic link",
                    Layers,
                    Use,
                    Neighbour,
                    Write,
                    Delete
                ),
            ),
            (
                LinkDangling,
                refusing!(
                    "volatile-layers.json & symbolic link",
                    Layers,
                    Use,
                    Neighbour,
                    Write,
                    Delete
                ),
            ),
            (
                Unreadable,
                refusing!(
                    "volatile-layers.json & Input/output error",
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
        file: "g/overlay-images/images.json",
        usage: "mount -r {img}; unmount {img}",
        write: "create-image -i fresh solo",
        delete: "delete {img}",
        cells: &[
            (
                Missing,
                &[
                    (Images, "=0"),
                    (Use, "image not known"),
                    (Delete, "layer not known"),
                    (Afterwards, "rebuilt"),
                ],
            ),
            (
                Empty,
                &[
                    (Images, "=0"),
                    (Use, "image not known"),
                    (Delete, "layer not known"),
                    (Afterwards, "rebuilt"),
                ],
            ),
            (Truncated, refusing!("images.json & damaged store", Images, Use, Write, Delete)),
            (WrongType, refusing!("images.json & not a regular file", Images, Use, Write, Delete)),
            (Pipe, refusing!("images.json & not a regular file", Images, Use, Write, Delete)),
            (
                Foreign("\"layer\":\"{top}\"", "\"layer\":\"nosuch\""),
                &[(Use, "layer not known"), (Afterwards, "rebuilt")],
            ),
            (
                Escaping("\"layer\":\"{top}\"", "\"layer\":\"../../outside\""),
                &[(Use, "layer not known"), (Afterwards, "rebuilt")],
            ),
            (
                Escaping("\"id\":\"{img}\"", "\"id\":\"../../outside\""),
                &[(Use, "image not known"), (Delete, "layer not known"), (Afterwards, "rebuilt")],
            ),
            // store-format.md 4: one bad digest makes the whole file bad.
            (
                Foreign("sha256:", "sha256:X"),
                refusing!("images.json & digest", Images, Use, Write, Delete),
            ),
            (LinkOut, refusing!("images.json & symbolic link", Images, Use, Write, Delete)),
            (LinkDangling, refusing!("images.json & symbolic link", Images, Use, Write, Delete)),
            (Unreadable, refusing!("images.json & Input/output error", Images, Use, Write, Delete)),
        ],
    },
    Subject {
        file: "g/overlay-containers/containers.json",
        usage: "mount box; unmount box",
        write: "create-container -i fresh other",
        delete: "delete-container box",
        cells: &[
            // What is no container's is looked for among the layers.
            (
                Missing,
                &[
                    (Containers, "=1"),
                    (Use, "layer not known"),
                    (Neighbour, "layer not known"),
                    (Delete, "not a container"),
                    (Afterwards, "rebuilt"),
                ],
            ),
            (
                Empty,
                &[
                    (Containers, "=1"),
                    (Use, "layer not known"),
                    (Neighbour, "layer not known"),
                    (Delete, "not a container"),
                    (Afterwards, "rebuilt"),
                ],
            ),
            (
                Truncated,
                refusing!(
                    "containers.json & damaged store",
                    Containers,
                    Use,
                    Neighbour,
                    Write,
                    Delete
                ),
            ),
            (
                WrongType,
                refusing!(
                    "containers.json & not a regular file",
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
                    "containers.json & not a regular file",
                    Containers,
                    Use,
                    Neighbour,
                    Write,
                    Delete
                ),
            ),
            (Foreign("{box}", "nosuch"), &[(Use, "layer not known"), (Afterwards, "rebuilt")]),
            (
                Escaping("{box}", "../../outside"),
                &[(Use, "layer not known"), (Afterwards, "rebuilt")],
            ),
            (
                Escaping("\"id\":\"box\"", "\"id\":\"../../outside\""),
                &[(Use, "layer not known"), (Delete, "not a container"), (Afterwards, "rebuilt")],
            ),
            (
                LinkOut,
                refusing!(
                    "containers.json & symbolic link",
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
                    "containers.json & symbolic link",
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
                    "containers.json & Input/output error",
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
        file: "g/overlay-containers/volatile-containers.json",
        usage: "mount vol; unmount vol",
        write: "create-container --volatile -i fresh other",
        delete: "delete-container vol",
        cells: &[
            (
                Missing,
                &[
                    (Containers, "=2"),
                    (Use, "layer not known"),
                    (Delete, "not a container"),
                    (Afterwards, "rebuilt"),
                ],
            ),
            (
                Empty,
                &[
                    (Containers, "=2"),
                    (Use, "layer not known"),
                    (Delete, "not a container"),
                    (Afterwards, "rebuilt"),
                ],
            ),
            (
                Truncated,
                refusing!(
                    "volatile-containers.json & damaged store",
                    Containers,
                    Use,
                    Neighbour,
                    Write,
                    Delete
                ),
            ),
            (
                WrongType,
                refusing!(
                    "volatile-containers.json & not a regular file",
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
                    "volatile-containers.json & not a regular file",
                    Containers,
                    Use,
                    Neighbour,
                    Write,
                    Delete
                ),
            ),
            (Foreign("{vol}", "nosuch"), &[(Use, "layer not known"), (Afterwards, "rebuilt")]),
            (
                Escaping("{vol}", "../../outside"),
                &[(Use, "layer not known"), (Afterwards, "rebuilt")],
            ),
            (
                LinkOut,
                refusing!(
                    "volatile-containers.json & symbolic link",
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
                    "volatile-containers.json & symbolic link",
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
                    "volatile-containers.json & Input/output error",
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
        // In the run root, and no more than a hint beside the kernel's own table: what cannot be parsed is begun anew.
        file: "r/overlay-layers/mountpoints.json",
        usage: "mount box; unmount box",
        write: "create-layer -i fresh",
        delete: "delete-container box",
        cells: &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, &[(Afterwards, "rebuilt")]),
            (Foreign("", "[{\"id\":\"{box}\""), &[(Afterwards, "rebuilt")]),
            (Foreign("", "[{\"id\":\"nosuch\",\"path\":\"{outside}\",\"count\":1}]"), SOUND),
            (
                Escaping("", "[{\"id\":\"{box}\",\"path\":\"{outside}\",\"count\":1}]"),
                &[(Afterwards, "rebuilt")],
            ),
            (
                WrongType,
                refusing!("mountpoints.json & not a regular file", Layers, Use, Neighbour, Delete),
            ),
            (
                Pipe,
                refusing!("mountpoints.json & not a regular file", Layers, Use, Neighbour, Delete),
            ),
            (
                LinkOut,
                refusing!("mountpoints.json & symbolic link", Layers, Use, Neighbour, Delete),
            ),
            (
                LinkDangling,
                refusing!("mountpoints.json & symbolic link", Layers, Use, Neighbour, Delete),
            ),
            (
                Unreadable,
                refusing!("mountpoints.json & Input/output error", Layers, Use, Neighbour, Delete),
            ),
        ],
    },
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
    Subject {
        file: "g/overlay-layers/{top}.tar-split.gz",
        usage: "diff -u -f /dev/null {top}",
        write: "create-layer -i fresh",
        delete: "delete-container box; delete-container vol; delete-image {img}",
        cells: &[
            // store-format.md 8: the diff is then made of the files.
            (Missing, SOUND),
            (Empty, refusing!("{top}.tar-split.gz & damaged store", Use)),
            (Truncated, refusing!("{top}.tar-split.gz & damaged store", Use)),
            (Foreign("", "no gzip at all"), refusing!("{top}.tar-split.gz & damaged store", Use)),
            (WrongType, refusing!("{top}.tar-split.gz & not a regular file", Use)),
            (Pipe, refusing!("{top}.tar-split.gz & not a regular file", Use)),
            (LinkOut, refusing!("{top}.tar-split.gz & symbolic link", Use)),
            (LinkDangling, refusing!("{top}.tar-split.gz & symbolic link", Use)),
            (
                Unreadable,
                &[
                    (Use, "{top}.tar-split.gz & Input/output error"),
                    // The means of this test: a mount, which cannot be renamed.
                    (Delete, "{top}.tar-split.gz & resource busy"),
                ],
            ),
        ],
    },
    Subject {
        file: "g/overlay-layers/{top}/note",
        usage: "get-layer-data -f /dev/null {top} note",
        write: "set-layer-data -f /dev/null {top} more",
        delete: "delete-container box; delete-container vol; delete-image {img}",
        cells: &[
            (Missing, refusing!("note & file does not exist", Use)),
            // A layer's items have neither size nor digest on record.
            (Empty, SOUND),
            (Truncated, SOUND),
            (WrongType, refusing!("note & not a regular file", Use)),
            (Pipe, refusing!("note & not a regular file", Use)),
            (LinkOut, refusing!("note & symbolic link", Use)),
            (LinkDangling, refusing!("note & symbolic link", Use)),
            (Unreadable, refusing!("note & Input/output error", Use)),
        ],
    },
    Subject {
        file: "g/overlay-layers/{top}",
        usage: "get-layer-data -f /dev/null {top} note",
        write: "create-layer -i fresh",
        delete: "delete-container box; delete-container vol; delete-image {img}",
        cells: &[
            (Missing, refusing!("note & file does not exist", Use)),
            (Empty, refusing!("note & file does not exist", Use)),
            (WrongType, refusing!("note & Not a directory", Use)),
            (LinkOut, refusing!("{top} & symbolic link", Use)),
            (LinkDangling, refusing!("{top} & symbolic link", Use)),
        ],
    },
    Subject {
        file: "g/overlay-images/{img}/manifest",
        usage: "save -q -o {outside}/../saved.tar {img}",
        write: "set-image-data -f /dev/null {img} more",
        delete: "delete-container box; delete-container vol; delete-image {img}",
        cells: &[
            (Missing, refusing!("manifest", Use)),
            (Empty, refusing!("manifest", Use)),
            (Truncated, refusing!("manifest", Use)),
            // What is written out is counted anew.
            (Foreign("\"size\":", "\"size\":1"), SOUND),
            (Foreign("{img}", "{base}"), refusing!("sha256:{base}", Use)),
            (Escaping("sha256:", "sha256:../../../../outside/canary"), refusing!("manifest", Use)),
            (WrongType, refusing!("manifest & not a regular file", Use)),
            (Pipe, refusing!("manifest & not a regular file", Use)),
            (LinkOut, refusing!("manifest & symbolic link", Use)),
            (LinkDangling, refusing!("manifest & symbolic link", Use)),
            (Unreadable, refusing!("manifest & Input/output error", Use)),
        ],
    },
    Subject {
        file: "g/overlay-images/{img}/{config}",
        usage: "save -q -o {outside}/../saved.tar {img}",
        write: "set-image-data -f /dev/null {img} more",
        delete: "delete-container box; delete-container vol; delete-image {img}",
        cells: &[
            (Missing, refusing!("sha256:{img}", Use)),
            (Empty, refusing!("sha256:{img}", Use)),
            (Truncated, refusing!("sha256:{img}", Use)),
            (Foreign("amd64", "arm64"), refusing!("sha256:{img}", Use)),
            (
                Escaping("sha256:", "sha256:../../../../outside/canary"),
                refusing!("sha256:{img}", Use),
            ),
            (WrongType, refusing!("sha256:{img} & not a regular file", Use)),
            (Pipe, refusing!("sha256:{img} & not a regular file", Use)),
            (LinkOut, refusing!("sha256:{img} & symbolic link", Use)),
            (LinkDangling, refusing!("sha256:{img} & symbolic link", Use)),
            (Unreadable, refusing!("sha256:{img} & Input/output error", Use)),
        ],
    },
    Subject {
        file: "g/overlay-images/{img}",
        usage: "get-image-data -f /dev/null {img} manifest",
        write: "create-image -i fresh solo",
        delete: "delete-container box; delete-container vol; delete-image {img}",
        cells: &[
            (Missing, refusing!("manifest & file does not exist", Use)),
            (Empty, refusing!("manifest & file does not exist", Use)),
            (WrongType, refusing!("manifest & Not a directory", Use)),
            (LinkOut, refusing!("{img} & symbolic link", Use)),
            (LinkDangling, refusing!("{img} & symbolic link", Use)),
        ],
    },
    Subject {
        file: "g/overlay-containers/box/note",
        usage: "get-container-data -f /dev/null box note",
        write: "set-container-data -f /dev/null box more",
        delete: "delete-container box",
        cells: &[
            (Missing, refusing!("note & file does not exist", Use)),
            (Empty, SOUND),
            (Truncated, SOUND),
            (WrongType, refusing!("note & not a regular file", Use)),
            (Pipe, refusing!("note & not a regular file", Use)),
            (LinkOut, refusing!("note & symbolic link", Use)),
            (LinkDangling, refusing!("note & symbolic link", Use)),
            (Unreadable, refusing!("note & Input/output error", Use)),
        ],
    },
    Subject {
        file: "g/overlay-containers/box",
        usage: "get-container-data -f /dev/null box note",
        write: "set-container-data -f /dev/null keep more",
        delete: "delete-container box",
        cells: &[
            (Missing, refusing!("note & file does not exist", Use)),
            (Empty, refusing!("note & file does not exist", Use)),
            (WrongType, refusing!("note & Not a directory", Use)),
            (LinkOut, refusing!("box & symbolic link", Use)),
            (LinkDangling, refusing!("box & symbolic link", Use)),
        ],
    },
    Subject {
        file: "g/overlay-layers",
        usage: "mount box; unmount box",
        write: "create-layer -i fresh",
        delete: "delete-container box",
        cells: &[
            (
                Missing,
                &[
                    (Layers, "=0"),
                    (Use, "layer not known"),
                    (Neighbour, "layer not known"),
                    (Afterwards, "rebuilt"),
                ],
            ),
            (Empty, &[(Layers, "=0"), (Use, "layer not known"), (Neighbour, "layer not known")]),
            (WrongType, refusing!("overlay-layers", Layers, Use, Neighbour, Write, Delete)),
            (
                LinkDangling,
                &[
                    (Layers, "=0"),
                    (Use, "overlay-layers"),
                    (Neighbour, "overlay-layers"),
                    (Write, "overlay-layers"),
                    (Delete, "overlay-layers"),
                ],
            ),
        ],
    },
];
