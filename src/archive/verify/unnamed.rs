//! What no member names: only the directories that named entries lie in.

use std::os::fd::AsFd;

use rustix::fs::FileType;

use super::files::{Place, word};
use super::{Check, differs, failed};
use crate::Result;
use crate::archive::names::split;
use crate::archive::walk::{Item, Walk};
use crate::progress;
use crate::sys::beneath::Identity;

/// A directory that no member names, on the way to the present entry.
struct Unnamed {
    path: Vec<u8>,
    /// Something in it has been named.
    is_needed: bool,
}

impl Check<'_> {
    /// Goes through the tree.
    ///
    /// # Errors
    /// The first entry that is not named, nor a parent of one that is.
    pub(super) fn walk(&mut self) -> Result<()> {
        let mut walk = Walk::new(self.root).map_err(|e| failed(b".", e))?;
        let mut branch: Vec<Unnamed> = Vec::new();
        while let Some(item) = walk.next().map_err(|e| failed(walk.path(), e))? {
            progress::check(self.progress)?;
            leave(&mut branch, walk.path())?;
            let dir = walk.dir_identity().map_err(|e| failed(walk.path(), e))?;
            if self.named.contains(dir, split(walk.path()).1) {
                if let Some(last) = branch.last_mut() {
                    last.is_needed = true;
                }
                continue;
            }
            match item.kind() {
                FileType::Directory => self.unnamed_directory(&walk, &item, &mut branch)?,
                FileType::Socket => {}
                kind => {
                    let why = format!("it is {}, in the tar nothing", word(kind));
                    return Err(differs(walk.path(), &why));
                }
            }
        }
        leave(&mut branch, b"")
    }

    fn unnamed_directory(
        &mut self,
        walk: &Walk,
        item: &Item,
        branch: &mut Vec<Unnamed>,
    ) -> Result<()> {
        let path = walk.path();
        let (uid, gid) = (item.stat.st_uid, item.stat.st_gid);
        if (uid, gid) != (0, 0) {
            let why = format!("its owner is {uid}:{gid}, and no member of the tar names it");
            return Err(differs(path, &why));
        }
        let dir = walk.dir().map_err(|e| failed(path, e))?;
        let place = Place { dir: dir.as_fd(), base: split(path).1, path };
        if let Some(why) = self.unnamed_attributes(&place).map_err(|e| failed(path, e))? {
            return Err(differs(path, &why));
        }
        // A marker in it names it.
        let is_needed = self.marked.contains(&Identity::from(&item.stat));
        branch.push(Unnamed { path: path.to_vec(), is_needed });
        Ok(())
    }
}

/// Leaves the directories that `path` is not below.
fn leave(branch: &mut Vec<Unnamed>, path: &[u8]) -> Result<()> {
    let is_below = |dir: &[u8]| path.strip_prefix(dir).is_some_and(|rest| rest.starts_with(b"/"));
    while let Some(done) = branch.pop_if(|last| !is_below(&last.path)) {
        if !done.is_needed {
            return Err(differs(&done.path, "it is a directory, in the tar nothing"));
        }
        if let Some(above) = branch.last_mut() {
            above.is_needed = true;
        }
    }
    Ok(())
}
