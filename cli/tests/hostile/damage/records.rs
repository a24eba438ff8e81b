//! Record files (`store-format.md` 3 to 6).

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
];
