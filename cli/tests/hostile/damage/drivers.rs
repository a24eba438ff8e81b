//! The overlay driver's home and layer directories (`store-format.md` 12, `overlay-driver.md` 2, ADD-1).

use super::Damage::{
    Empty, Escaping, Foreign, LinkDangling, LinkOut, Missing, Pipe, Truncated, Unreadable,
    WrongType,
};
use super::Step::{Afterwards, Delete, Neighbour, Use, Write};
use super::{SOUND, Subject};

/// The container's layer stands on `top`, and that on `base`.
const USE: &str = "mount box; unmount box";
/// Everything that the image brought.
const DELETE: &str = "delete-container box; delete-container vol; delete-image {img}";
const WRITE: &str = "create-layer -i fresh; delete-layer fresh";

pub const SUBJECTS: &[Subject] = &[
    Subject {
        file: "g/overlay/{top}/link",
        usage: "create-container -i child {img}; mount child; unmount child; delete-container child",
        write: WRITE,
        delete: DELETE,
        cells: &[
            // A child could not be used by others that read `lower` alone.
            (Missing, refusing!("{top}/link & missing", Use)),
            (Empty, refusing!("{top}/link & empty", Use)),
            (Truncated, refusing!("{top}/link & 26", Use)),
            (Foreign("", "AAAAAAAAAAAAAAAAAAAAAAAAAA"), SOUND),
            (Foreign("", "{sololink}"), SOUND),
            (Escaping("", "../../../../outside/canary"), refusing!("{top}/link & 26", Use)),
            (WrongType, refusing!("{top}/link & not a regular file", Use)),
            (Pipe, refusing!("{top}/link & not a regular file", Use)),
            (LinkOut, refusing!("{top}/link & symbolic link", Use)),
            (LinkDangling, refusing!("{top}/link & symbolic link", Use)),
            (Unreadable, refusing!("{top}/link & Input/output error", Use)),
        ],
    },
    Subject {
        file: "g/overlay/{box}/lower-layers",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, SOUND),
            (Empty, refusing!("lower-layers & not a layer's id", Use)),
            (Truncated, refusing!("lower-layers & has 1 below it", Use)),
            (Foreign("{base}", "nosuch"), refusing!("lower-layers & nosuch & in no store", Use)),
            (Foreign("{base}", "{box}"), refusing!("{box} & listed among those below it", Use)),
            (
                Escaping("{base}", "../../outside"),
                refusing!("lower-layers & not a layer's id", Use),
            ),
            (WrongType, refusing!("lower-layers & not a regular file", Use)),
            (Pipe, refusing!("lower-layers & not a regular file", Use)),
            (LinkOut, refusing!("lower-layers & symbolic link", Use)),
            (LinkDangling, refusing!("lower-layers & symbolic link", Use)),
            (Unreadable, refusing!("lower-layers & Input/output error", Use)),
        ],
    },
    Subject {
        file: "g/overlay/{box}/lower",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
            // `lower-layers` says the same.
            (Missing, SOUND),
            (Empty, SOUND),
            (Truncated, SOUND),
            (Foreign("{baselink}", "{sololink}"), SOUND),
            (Escaping("{baselink}", "../../outside"), SOUND),
            (WrongType, SOUND),
            (Pipe, SOUND),
            (LinkOut, SOUND),
            (LinkDangling, SOUND),
            (Unreadable, SOUND),
        ],
    },
    Subject {
        file: "g/overlay/l/{toplink}",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Foreign("", "../{base}/diff"), SOUND),
            (Foreign("", "../nosuch/diff"), SOUND),
            (Escaping("", "../../../outside"), refusing!("l/{toplink} & ../<id>/diff", Use)),
            (Escaping("", "{outside}"), refusing!("l/{toplink} & ../<id>/diff", Use)),
            (WrongType, refusing!("l/{toplink} & not a symbolic link", Use)),
            (Pipe, refusing!("l/{toplink} & not a symbolic link", Use)),
        ],
    },
    Subject {
        file: "g/overlay/l",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, SOUND),
            (WrongType, refusing!("overlay/l & not a directory", Use, Neighbour, Write, Delete)),
            (LinkOut, refusing!("overlay/l & symbolic link", Use, Neighbour, Write, Delete)),
            (LinkDangling, refusing!("overlay/l & symbolic link", Use, Neighbour, Write, Delete)),
        ],
    },
    Subject {
        // store-format.md 16.25
        file: "g/overlay/.has-mount-program",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
            // What is no answer is looked for in the layers, and written down.
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, &[(Afterwards, "rebuilt")]),
            (Truncated, &[(Afterwards, "rebuilt")]),
            // Then fuse-overlayfs mounts the layers, which knows the kernel's marks as well.
            (Foreign("", "true"), SOUND),
            (Escaping("", "/bin/sh"), &[(Afterwards, "rebuilt")]),
            (
                WrongType,
                refusing!(".has-mount-program & not a regular file", Use, Neighbour, Write, Delete),
            ),
            (
                Pipe,
                refusing!(".has-mount-program & not a regular file", Use, Neighbour, Write, Delete),
            ),
            (
                LinkOut,
                refusing!(".has-mount-program & symbolic link", Use, Neighbour, Write, Delete),
            ),
            (
                LinkDangling,
                refusing!(".has-mount-program & symbolic link", Use, Neighbour, Write, Delete),
            ),
            (
                Unreadable,
                refusing!(".has-mount-program & Input/output error", Use, Neighbour, Write, Delete),
            ),
        ],
    },
    Subject {
        // For quotas on kernels before 5.14.
        file: "g/overlay/backingFsBlockDev",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, SOUND),
            (WrongType, SOUND),
            (Pipe, SOUND),
            (LinkOut, SOUND),
            (LinkDangling, SOUND),
        ],
    },
    Subject {
        // What was found out about the kernel. The name alone says it: the file is not read.
        file: "r/overlay/overlay-true",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, SOUND),
            (Foreign("", "false"), SOUND),
            (WrongType, SOUND),
            (Pipe, SOUND),
            (LinkOut, SOUND),
            (LinkDangling, SOUND),
            (Unreadable, SOUND),
        ],
    },
    Subject {
        // Whether changes of metadata alone copy a file's data. The name alone says yes.
        file: "r/overlay/metacopy(metacopy=on)-true",
        usage: "--storage-opt overlay.mountopt=metacopy=on mount box; unmount box",
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Foreign("", "false"), SOUND),
            (WrongType, SOUND),
            (Pipe, SOUND),
            (LinkOut, SOUND),
            (LinkDangling, SOUND),
            (Unreadable, SOUND),
        ],
    },
    Subject {
        // A no has the reason for its content: what is no file is no answer, and is asked for again.
        file: "r/overlay/metacopy(redirect_dir=off)-false",
        usage: "--storage-opt overlay.mountopt=redirect_dir=off status",
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Foreign("", "true"), SOUND),
            // A file does not take a directory's place.
            (WrongType, SOUND),
            (Pipe, &[(Afterwards, "rebuilt")]),
            (LinkOut, &[(Afterwards, "rebuilt")]),
            (LinkDangling, &[(Afterwards, "rebuilt")]),
            (Unreadable, SOUND),
        ],
    },
    Subject {
        // Whether a layer's changes can be read from its own content.
        file: "r/overlay/native-diff(redirect_dir=off)-true",
        usage: "--storage-opt overlay.mountopt=redirect_dir=off status",
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Foreign("", "false"), SOUND),
            (WrongType, SOUND),
            (Pipe, SOUND),
            (LinkOut, SOUND),
            (LinkDangling, SOUND),
            (Unreadable, SOUND),
        ],
    },
    Subject {
        file: "r/overlay/native-diff(redirect_dir=on)-false",
        usage: "--storage-opt overlay.mountopt=redirect_dir=on status",
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, SOUND),
            (Truncated, SOUND),
            (Foreign("", "true"), SOUND),
            (WrongType, SOUND),
            (Pipe, &[(Afterwards, "rebuilt")]),
            (LinkOut, &[(Afterwards, "rebuilt")]),
            (LinkDangling, &[(Afterwards, "rebuilt")]),
            (Unreadable, SOUND),
        ],
    },
    Subject {
        file: "r/overlay/volatile-true",
        usage: "mount vol; unmount vol",
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Foreign("", "false"), SOUND),
            (WrongType, SOUND),
            (Pipe, SOUND),
            (LinkOut, SOUND),
            (LinkDangling, SOUND),
            (Unreadable, SOUND),
        ],
    },
    Subject {
        file: "r/overlay",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, SOUND),
            (WrongType, refusing!("r/overlay & not a directory", Use, Neighbour, Write, Delete)),
            (
                LinkDangling,
                refusing!(
                    "r/overlay & symbolic link & outside/nothing & remove the link",
                    Use,
                    Neighbour,
                    Write,
                    Delete
                ),
            ),
        ],
    },
    Subject {
        file: "g/overlay/{box}/diff",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
            // GET-7
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, SOUND),
            (WrongType, refusing!("{box}/diff & not a directory", Use)),
            (LinkOut, refusing!("{box}/diff & additional layer store", Use)),
            (LinkDangling, refusing!("{box}/diff & additional layer store", Use)),
        ],
    },
    Subject {
        file: "g/overlay/{top}/diff",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, refusing!("{top}/diff & missing", Use)),
            (Empty, SOUND),
            (WrongType, refusing!("{top}/diff & not a directory", Use)),
            (LinkOut, refusing!("{top}/diff & additional layer store", Use)),
            (LinkDangling, refusing!("{top}/diff & additional layer store", Use)),
        ],
    },
    Subject {
        file: "g/overlay/{top}/diff",
        usage: "diff -u -f /dev/null {top}",
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, refusing!("{top}", Use)),
            (Empty, refusing!("{top} & opt/top", Use)),
            (WrongType, refusing!("{top}/diff", Use)),
            (LinkOut, refusing!("{top}/diff", Use)),
            (LinkDangling, refusing!("{top}/diff", Use)),
        ],
    },
    Subject {
        file: "g/overlay/{box}/diff1",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
            // The first gap ends the list.
            (Missing, SOUND),
            (Empty, SOUND),
            (WrongType, refusing!("{box}/diff1 & not a directory", Use)),
            (Pipe, refusing!("{box}/diff1 & not a directory", Use)),
            (LinkOut, refusing!("{box}/diff1 & not a directory", Use)),
            (LinkDangling, refusing!("{box}/diff1 & not a directory", Use)),
        ],
    },
    Subject {
        // A layer is moved there on its way out.
        file: "g/overlay/tempdirs",
        usage: USE,
        write: "create-layer -i fresh",
        delete: DELETE,
        cells: &[
            (Missing, SOUND),
            (Empty, SOUND),
            (WrongType, refusing!("overlay/tempdirs", Delete)),
            (Pipe, refusing!("overlay/tempdirs", Delete)),
            (LinkOut, refusing!("overlay/tempdirs & symbolic link", Delete)),
            (LinkDangling, refusing!("overlay/tempdirs & symbolic link", Delete)),
        ],
    },
    Subject {
        file: "g/overlay-layers/tmp",
        usage: USE,
        write: "create-layer -i fresh",
        delete: DELETE,
        cells: &[
            (Missing, SOUND),
            (Empty, SOUND),
            (WrongType, refusing!("overlay-layers/tmp", Delete)),
            (Pipe, refusing!("overlay-layers/tmp", Delete)),
            (LinkOut, refusing!("overlay-layers/tmp & symbolic link", Delete)),
            (LinkDangling, refusing!("overlay-layers/tmp & symbolic link", Delete)),
        ],
    },
    Subject {
        file: "g/overlay/{box}/work",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, SOUND),
            (WrongType, refusing!("{box}/work & not a directory", Use)),
            (Pipe, refusing!("{box}/work & not a directory", Use)),
            (LinkOut, refusing!("{box}/work & symbolic link", Use)),
            (LinkDangling, refusing!("{box}/work & symbolic link", Use)),
        ],
    },
    Subject {
        file: "g/overlay/{box}/merged",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, SOUND),
            (WrongType, refusing!("{box}/merged & not a directory", Use)),
            (Pipe, refusing!("{box}/merged & not a directory", Use)),
            (LinkOut, refusing!("{box}/merged & symbolic link", Use)),
            (LinkDangling, refusing!("{box}/merged & symbolic link", Use)),
        ],
    },
    Subject {
        file: "g/overlay/{base}/empty",
        usage: "mount {base}; unmount {base}",
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, SOUND),
            (WrongType, refusing!("{base}/empty & not a directory", Use)),
            (Pipe, refusing!("{base}/empty & not a directory", Use)),
            (LinkOut, refusing!("{base}/empty & symbolic link", Use)),
            (LinkDangling, refusing!("{base}/empty & symbolic link", Use)),
        ],
    },
    Subject {
        file: "g/overlay/{box}",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, refusing!("{box} & layer not known", Use)),
            (Empty, &[(Use, "")]),
            (WrongType, refusing!("{box} & layer not known", Use)),
            (LinkOut, refusing!("{box} & layer not known", Use)),
            (LinkDangling, refusing!("{box} & layer not known", Use)),
        ],
    },
    Subject {
        file: "g/overlay/{top}",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
            (Missing, refusing!("{top} & in no store", Use)),
            (Empty, refusing!("{top}/diff & missing", Use)),
            (WrongType, refusing!("{top} & in no store", Use)),
            (LinkOut, refusing!("{top} & in no store", Use)),
            (LinkDangling, refusing!("{top} & in no store", Use)),
        ],
    },
    Subject {
        file: "g/overlay",
        usage: USE,
        write: WRITE,
        delete: DELETE,
        cells: &[
            (
                Missing,
                &[
                    (Use, "layer not known"),
                    (Neighbour, "layer not known"),
                    (Afterwards, "rebuilt"),
                ],
            ),
            (Empty, &[(Use, "layer not known"), (Neighbour, "layer not known")]),
            (WrongType, refusing!("g/overlay", Use, Neighbour, Write, Delete)),
            // A directory of the administrator's choice; the store is then there.
            (LinkDangling, refusing!("g/overlay & remove the link", Use, Neighbour, Write, Delete)),
        ],
    },
];
