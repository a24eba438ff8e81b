//! The overlay driver's home and layer directories (`store-format.md` 12, `overlay-driver.md` 2, ADD-1). The container's layer stands on `top`,
//! and that on `base`.

use super::Damage::{
    Empty, Escaping, Foreign, LinkDangling, LinkOut, Missing, Pipe, Truncated, Unreadable,
    WrongType,
};
use super::Step::{Afterwards, Delete, Neighbour, Use, Write};
use super::{DELETE, SOUND, Subject, USE, subject};

pub const SUBJECTS: &[Subject] = &[
    subject(
        "g/overlay/{top}/link",
        "create-container -i child {img}; mount child; unmount child; delete-container child",
        DELETE,
        &[
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
    ),
    subject(
        "g/overlay/{box}/lower-layers",
        USE,
        DELETE,
        &[
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
    ),
    subject(
        "g/overlay/{box}/lower",
        USE,
        DELETE,
        &[
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
    ),
    subject(
        "g/overlay/l/{toplink}",
        USE,
        DELETE,
        &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Foreign("", "../{base}/diff"), SOUND),
            (Foreign("", "../nosuch/diff"), SOUND),
            (Escaping("", "../../../outside"), refusing!("l/{toplink} & ../<id>/diff", Use)),
            (Escaping("", "{outside}"), refusing!("l/{toplink} & ../<id>/diff", Use)),
            (WrongType, refusing!("l/{toplink} & not a symbolic link", Use)),
            (Pipe, refusing!("l/{toplink} & not a symbolic link", Use)),
        ],
    ),
    subject(
        "g/overlay/l",
        USE,
        DELETE,
        &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, SOUND),
            (WrongType, refusing!("overlay/l & not a directory", Use, Neighbour, Write, Delete)),
            (LinkOut, refusing!("overlay/l & symbolic link", Use, Neighbour, Write, Delete)),
            (LinkDangling, refusing!("overlay/l & symbolic link", Use, Neighbour, Write, Delete)),
        ],
    ),
    // store-format.md 16.25
    subject(
        "g/overlay/.has-mount-program",
        USE,
        DELETE,
        &[
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
    ),
    // For quotas on kernels before 5.14.
    subject(
        "g/overlay/backingFsBlockDev",
        USE,
        DELETE,
        &[
            (Missing, SOUND),
            (WrongType, SOUND),
            (Pipe, SOUND),
            (LinkOut, SOUND),
            (LinkDangling, SOUND),
        ],
    ),
    // What was found out about the kernel. The name alone says it: the file is not read.
    subject(
        "r/overlay/overlay-true",
        USE,
        DELETE,
        &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, SOUND),
            (Foreign("", "false"), SOUND),
            (WrongType, SOUND),
            (Pipe, SOUND),
            (LinkOut, SOUND),
            (LinkDangling, SOUND),
            (Unreadable, SOUND),
        ],
    ),
    // Whether changes of metadata alone copy a file's data. The name alone says yes.
    subject(
        "r/overlay/metacopy(metacopy=on)-true",
        "--storage-opt overlay.mountopt=metacopy=on mount box; unmount box",
        DELETE,
        &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Foreign("", "false"), SOUND),
            (WrongType, SOUND),
            (Pipe, SOUND),
            (LinkOut, SOUND),
            (LinkDangling, SOUND),
            (Unreadable, SOUND),
        ],
    ),
    // A no has the reason for its content: what is no file is no answer, and is asked for again.
    subject(
        "r/overlay/metacopy(redirect_dir=off)-false",
        "--storage-opt overlay.mountopt=redirect_dir=off status",
        DELETE,
        &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Foreign("", "true"), SOUND),
            // A file does not take a directory's place.
            (WrongType, SOUND),
            (Pipe, &[(Afterwards, "rebuilt")]),
            (LinkOut, &[(Afterwards, "rebuilt")]),
            (LinkDangling, &[(Afterwards, "rebuilt")]),
            (Unreadable, SOUND),
        ],
    ),
    // Whether a layer's changes can be read from its own content.
    subject(
        "r/overlay/native-diff(redirect_dir=off)-true",
        "--storage-opt overlay.mountopt=redirect_dir=off status",
        DELETE,
        &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Foreign("", "false"), SOUND),
            (WrongType, SOUND),
            (Pipe, SOUND),
            (LinkOut, SOUND),
            (LinkDangling, SOUND),
            (Unreadable, SOUND),
        ],
    ),
    subject(
        "r/overlay/native-diff(redirect_dir=on)-false",
        "--storage-opt overlay.mountopt=redirect_dir=on status",
        DELETE,
        &[
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
    ),
    subject(
        "r/overlay/volatile-true",
        "mount vol; unmount vol",
        DELETE,
        &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Foreign("", "false"), SOUND),
            (WrongType, SOUND),
            (Pipe, SOUND),
            (LinkOut, SOUND),
            (LinkDangling, SOUND),
            (Unreadable, SOUND),
        ],
    ),
    subject(
        "r/overlay",
        USE,
        DELETE,
        &[
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
    ),
    subject(
        "g/overlay/{box}/diff",
        USE,
        DELETE,
        &[
            // GET-7
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, SOUND),
            (WrongType, refusing!("{box}/diff & not a directory", Use)),
            (LinkOut, refusing!("{box}/diff & additional layer store", Use)),
            (LinkDangling, refusing!("{box}/diff & additional layer store", Use)),
        ],
    ),
    subject(
        "g/overlay/{top}/diff",
        USE,
        DELETE,
        &[
            (Missing, refusing!("{top}/diff & missing", Use)),
            (Empty, SOUND),
            (WrongType, refusing!("{top}/diff & not a directory", Use)),
            (LinkOut, refusing!("{top}/diff & additional layer store", Use)),
            (LinkDangling, refusing!("{top}/diff & additional layer store", Use)),
        ],
    ),
    subject(
        "g/overlay/{top}/diff",
        "diff -u -f /dev/null {top}",
        DELETE,
        &[
            (Missing, refusing!("{top}", Use)),
            (Empty, refusing!("{top} & opt/top", Use)),
            (WrongType, refusing!("{top}/diff", Use)),
            (LinkOut, refusing!("{top}/diff", Use)),
            (LinkDangling, refusing!("{top}/diff", Use)),
        ],
    ),
    subject(
        "g/overlay/{box}/diff1",
        USE,
        DELETE,
        &[
            // The first gap ends the list.
            (Missing, SOUND),
            (Empty, SOUND),
            (WrongType, refusing!("{box}/diff1 & not a directory", Use)),
            (Pipe, refusing!("{box}/diff1 & not a directory", Use)),
            (LinkOut, refusing!("{box}/diff1 & not a directory", Use)),
            (LinkDangling, refusing!("{box}/diff1 & not a directory", Use)),
        ],
    ),
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
    subject(
        "g/overlay/{box}/work",
        USE,
        DELETE,
        &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, SOUND),
            (WrongType, refusing!("{box}/work & not a directory", Use)),
            (Pipe, refusing!("{box}/work & not a directory", Use)),
            (LinkOut, refusing!("{box}/work & symbolic link", Use)),
            (LinkDangling, refusing!("{box}/work & symbolic link", Use)),
        ],
    ),
    subject(
        "g/overlay/{box}/merged",
        USE,
        DELETE,
        &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, SOUND),
            (WrongType, refusing!("{box}/merged & not a directory", Use)),
            (Pipe, refusing!("{box}/merged & not a directory", Use)),
            (LinkOut, refusing!("{box}/merged & symbolic link", Use)),
            (LinkDangling, refusing!("{box}/merged & symbolic link", Use)),
        ],
    ),
    subject(
        "g/overlay/{base}/empty",
        "mount {base}; unmount {base}",
        DELETE,
        &[
            (Missing, &[(Afterwards, "rebuilt")]),
            (Empty, SOUND),
            (WrongType, refusing!("{base}/empty & not a directory", Use)),
            (Pipe, refusing!("{base}/empty & not a directory", Use)),
            (LinkOut, refusing!("{base}/empty & symbolic link", Use)),
            (LinkDangling, refusing!("{base}/empty & symbolic link", Use)),
        ],
    ),
    subject(
        "g/overlay/{box}",
        USE,
        DELETE,
        &[
            (Missing, refusing!("{box} & layer not known", Use)),
            (Empty, &[(Use, "")]),
            (WrongType, refusing!("{box} & layer not known", Use)),
            (LinkOut, refusing!("{box} & layer not known", Use)),
            (LinkDangling, refusing!("{box} & layer not known", Use)),
        ],
    ),
    subject(
        "g/overlay/{top}",
        USE,
        DELETE,
        &[
            (Missing, refusing!("{top} & in no store", Use)),
            (Empty, refusing!("{top}/diff & missing", Use)),
            (WrongType, refusing!("{top} & in no store", Use)),
            (LinkOut, refusing!("{top} & in no store", Use)),
            (LinkDangling, refusing!("{top} & in no store", Use)),
        ],
    ),
    subject(
        "g/overlay",
        USE,
        DELETE,
        &[
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
    ),
];
