//! A home of today's layout beside a legacy one, which shares its files.

use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::io::Errno;

use super::plan::{Source, Step};
use super::{ROOT, UPPER};
use crate::archive::{self, Difference};
use crate::driver::overlay::layout::{self, DirLook, LinkId, make_dir, open_dir};
use crate::{Error, LayerId, Result};
use std::collections::BTreeMap;

/// The mark of an overlay's upper root that says which root was below it: none that the new layers have.
const ORIGIN: &str = "trusted.overlay.origin";

/// Makes the home `new` with all layers of `steps`, from those of `old`.
///
/// # Errors
/// When something cannot be read or made; what was made until then stays.
pub(super) fn build(old: &Path, new: &Path, steps: &[Step]) -> Result<Difference> {
    let look = |path: &Path| DirLook::of(path).map_err(|e| Error::io("examining", path, e));
    make_dir(new, look(old)?)?;
    make_dir(&new.join(layout::LINKS), DirLook::root(0o755))?;
    let mut links: BTreeMap<&LayerId, LinkId> = BTreeMap::new();
    let mut total = Difference::default();
    for step in steps {
        let (from, to) = (old.join(&step.id), new.join(&step.id));
        make_dir(&to, look(&from)?)?;
        let made = fill(old, step, &to.join("diff"))
            .map_err(|e| e.context(format!("migrating layer {}", step.id)).id(step.id.as_str()))?;
        total.files += made.files;
        total.directories += made.directories;
        total.whiteouts += made.whiteouts;

        let link = LinkId::random();
        // All of it is synced before it takes the old home's place.
        layout::write_link_file(&to, &link, false)?;
        let path = link.path(new);
        symlink(layout::target_of_layer(&step.id), &path)
            .map_err(|e| Error::io("making the link", &path, e))?;
        let private = DirLook { mode: 0o700, ..look(&to.join("diff"))? };
        make_dir(&to.join("work"), private)?;
        make_dir(&to.join("merged"), private)?;
        if step.chain.is_empty() {
            make_dir(&to.join("empty"), private)?;
        } else {
            let short: Vec<_> =
                step.chain.iter().filter_map(|id| links.get(id)).map(LinkId::relative).collect();
            let ids: Vec<_> = step.chain.iter().map(LayerId::as_str).collect();
            layout::write_new(&to.join(layout::LOWER), 0o644, short.join(":").as_bytes())?;
            layout::write_new(&to.join(layout::LOWER_LAYERS), 0o644, ids.join(":").as_bytes())?;
        }
        links.insert(&step.id, link);
    }
    Ok(total)
}

/// Makes a layer's `diff`.
fn fill(old: &Path, step: &Step, diff: &Path) -> Result<Difference> {
    let target = make_dir(diff, DirLook::root(0o700))?;
    let open = |id: &LayerId, name: &str| open_dir(&old.join(id).join(name));
    match &step.source {
        Source::Whole => {
            archive::link_difference(open(&step.id, ROOT)?.as_fd(), None, target.as_fd())
        }
        Source::Over(parent) => archive::link_difference(
            open(&step.id, ROOT)?.as_fd(),
            Some(open(parent, ROOT)?.as_fd()),
            target.as_fd(),
        ),
        Source::Upper => {
            // Whiteouts and marks are those of an overlay already.
            archive::link_tree(open(&step.id, UPPER)?.as_fd(), target.as_fd())?;
            match rustix::fs::fremovexattr(&target, ORIGIN) {
                Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(Difference::default()),
                Err(e) => Err(Error::io("removing an xattr of", diff, e)),
            }
        }
    }
}
