//! A list of records kept in one or more JSON files under one lock (`store-format.md` 2, 9, 10).

use std::collections::HashSet;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::kind::Record;
use super::names;
use super::order::{Before, Held};
use super::seek::{self, Seek};
use super::waste::Waste;
use crate::sys::atomic::{self, FileStamp};
use crate::sys::lock::{LockAccess, LockFile, ReadGuard, Token, WriteGuard};
use crate::sys::regular;
use crate::{Error, ErrorKind, Result};

/// One JSON file of a table.
#[derive(Debug, Clone)]
pub(crate) struct RecordFile {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Whether it must survive a power cut; volatile files and those of the run root need not.
    pub(crate) durable: bool,
}

/// A table of records: its files, its locks, and what was read last.
pub(crate) struct Table<T, Rank> {
    locks: Vec<PathBuf>,
    files: Vec<RecordFile>,
    read_only: bool,
    cache: Mutex<Option<Cache<T>>>,
    /// Whether a record has been looked up.
    asked: AtomicBool,
    _rank: PhantomData<fn() -> Rank>,
}

struct Cache<T> {
    token: Token,
    stamps: Vec<Option<FileStamp>>,
    lists: Arc<Lists<T>>,
}

/// The records, file by file in load order; an id that an earlier file has does not appear again.
#[derive(Debug, Clone)]
pub(crate) struct Lists<T> {
    files: Vec<Vec<T>>,
    /// For each file, whether memory differs from it because of mending at load.
    mended: Vec<bool>,
}

/// A table that is to be changed, and the proof that it is locked.
pub(crate) type Locked<'t, T, Rank> = (Held<Rank>, Edit<'t, T, Rank>);

impl<T: Record, Rank> Table<T, Rank> {
    /// A table in `files` under `locks`, the first of which tells about changes.
    pub(crate) fn new(locks: Vec<PathBuf>, files: Vec<RecordFile>, read_only: bool) -> Self {
        let (cache, asked) = (Mutex::new(None), AtomicBool::new(false));
        Self { locks, files, read_only, cache, asked, _rank: PhantomData }
    }

    /// Takes the lock for reading and returns what is there now. Creates nothing.
    pub(crate) fn read<Outer>(&self, _: &Held<Outer>) -> Result<(Held<Rank>, Snapshot<T>)>
    where
        Outer: Before<Rank>,
    {
        let guards = self.lock_for_reading()?;
        let token = match guards.first() {
            Some(guard) => guard.file().token()?,
            None => Token::default(),
        };
        let lists = self.load(token)?.lists;
        Ok((Held::taken(), Snapshot { lists, _guards: guards }))
    }

    /// The record that [`Lists::find`] finds for `key` now. A process that looks up one thing and ends is common: the first look-up
    /// keeps nothing of the others, and the next ones remember them all.
    pub(crate) fn look_up<Outer>(&self, outer: &Held<Outer>, key: &str) -> Result<Option<T>>
    where
        Outer: Before<Rank>,
    {
        if !self.asked.swap(true, Ordering::Relaxed) && self.cached().is_none() {
            let _guards = self.lock_for_reading()?;
            if let Some(outcome) = self.seek(key)? {
                return Ok(outcome.found());
            }
        }
        Ok(self.read(outer)?.1.find(key).cloned())
    }

    /// Reads for one record; `None` where the whole list is needed, to drop what a later file repeats of an earlier one or to say
    /// what is odd about a read-only store. The lock is held.
    fn seek<'k>(&self, key: &'k str) -> Result<Option<Seek<'k, T>>> {
        let mut present = Vec::new();
        for file in &self.files {
            present.extend(Self::content(file)?.map(|bytes| (file, bytes)));
        }
        if self.read_only || present.len() > 1 {
            return Ok(None);
        }
        let mut seek = Seek::new(key);
        for (file, bytes) in present {
            let mut checked = Ok(());
            let read = T::read_each(&bytes, |mut record| {
                if checked.is_ok() {
                    checked = record.check();
                }
                seek.see(record);
            });
            read.and(checked).map_err(|e| e.path(&file.path))?;
        }
        Ok(Some(seek))
    }

    /// Takes the locks for reading. All of them: with an image store, others may share that one and nothing else.
    fn lock_for_reading(&self) -> Result<Vec<ReadGuard>> {
        let mut guards = Vec::with_capacity(self.locks.len());
        for path in &self.locks {
            guards.push(LockFile::open(path, LockAccess::ReadOnly)?.read()?);
        }
        Ok(guards)
    }

    fn content(file: &RecordFile) -> Result<Option<Vec<u8>>> {
        regular::read(&format!("reading the {} records", T::KIND), &file.path)
    }

    /// Takes the locks for writing and returns what is there now, to be changed and saved.
    pub(crate) fn write<Outer>(&self, _: &Held<Outer>) -> Result<(Held<Rank>, Edit<'_, T, Rank>)>
    where
        Outer: Before<Rank>,
    {
        let locks = self.open_locks()?;
        self.begin(locks.iter().map(LockFile::write).collect::<Result<_>>()?)
    }

    /// As [`Table::write`], if nobody has one of the locks; `None` if somebody does.
    pub(crate) fn try_write<Outer>(&self, _: &Held<Outer>) -> Result<Option<Locked<'_, T, Rank>>>
    where
        Outer: Before<Rank>,
    {
        let locks = self.open_locks()?;
        let guards = locks.iter().map(LockFile::try_write).collect::<Result<Option<_>>>()?;
        guards.map(|guards| self.begin(guards)).transpose()
    }

    fn open_locks(&self) -> Result<Vec<Arc<LockFile>>> {
        if self.read_only {
            return Err(Error::new(
                ErrorKind::ReadOnly,
                format!("locking the {}s for writing", T::KIND),
            )
            .path(self.locks.first().map_or(Path::new(""), PathBuf::as_path)));
        }
        self.locks.iter().map(|path| LockFile::open(path, LockAccess::ReadWrite)).collect()
    }

    fn begin(&self, guards: Vec<WriteGuard>) -> Result<Locked<'_, T, Rank>> {
        let token = match guards.first() {
            Some(guard) => guard.file().token()?,
            None => Token::default(),
        };
        let Cache { lists, stamps, .. } = self.load(token)?;
        // Out of the cache while it changes: a failure on the way means that the next one reads the files again.
        *self.cached() = None;
        let lists = Arc::try_unwrap(lists).unwrap_or_else(|shared| (*shared).clone());
        let dirty = lists.mended.clone();
        let fresh = Freshness::Read(token, stamps);
        Ok((
            Held::taken(),
            Edit { table: self, lists, dirty, guards, fresh, waste: Waste::default() },
        ))
    }

    /// Whether the list is kept in memory.
    #[cfg(test)]
    pub(super) fn is_kept(&self) -> bool {
        self.cached().is_some()
    }

    fn cached(&self) -> std::sync::MutexGuard<'_, Option<Cache<T>>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The records, read again if the last-writer record or any file differs from what was seen last (9.2, 9.5). A lock is held.
    fn load(&self, token: Token) -> Result<Cache<T>> {
        let stamps = self.stamps()?;
        let mut cached = self.cached();
        if let Some(cache) = cached.take_if(|c| c.token != token || c.stamps != stamps) {
            drop(cache);
        }
        if let Some(cache) = cached.as_ref() {
            return Ok(cache.clone());
        }
        let cache = Cache { token, stamps, lists: Arc::new(self.parse()?) };
        *cached = Some(cache.clone());
        Ok(cache)
    }

    fn stamps(&self) -> Result<Vec<Option<FileStamp>>> {
        self.files.iter().map(|f| FileStamp::of(&f.path)).collect()
    }

    fn parse(&self) -> Result<Lists<T>> {
        let mut files = Vec::with_capacity(self.files.len());
        for file in &self.files {
            let bytes = Self::content(file)?.unwrap_or_default();
            let mut records = T::parse(&bytes).map_err(|e| e.path(&file.path))?;
            for record in &mut records {
                record.check().map_err(|e| e.path(&file.path))?;
            }
            files.push(records);
        }
        let lists = Lists::of(files);
        if self.read_only && lists.mended.contains(&true) {
            tracing::warn!(
                "the {} records of the read-only store at {:?} give one name to two of them; the later one has it",
                T::KIND,
                self.files.first().map(|f| &f.path)
            );
        }
        Ok(lists)
    }
}

impl<T> Clone for Cache<T> {
    fn clone(&self) -> Self {
        Self { token: self.token, stamps: self.stamps.clone(), lists: Arc::clone(&self.lists) }
    }
}

impl<T: Record> Lists<T> {
    /// What was read of each file, mended.
    pub(super) fn of(mut files: Vec<Vec<T>>) -> Self {
        let mended = names::mend(&mut files);
        Self { files, mended }
    }

    /// All records that are complete, in load order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.files.iter().flatten().filter(|r| !r.is_incomplete())
    }

    /// All records, those of cut-short operations included.
    pub(crate) fn iter_all(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.files.iter().flatten()
    }

    /// The record of exactly that id.
    pub(crate) fn by_id(&self, id: &str) -> Option<&T> {
        self.iter().find(|r| r.id() == id)
    }

    /// By exact id, then exact name, then unique prefix of an id (`store-format.md` 11).
    pub(crate) fn find(&self, key: &str) -> Option<&T> {
        self.by_id(key)
            .or_else(|| self.iter().find(|r| r.names().iter().any(|n| n == key)))
            .or_else(|| self.by_prefix(key))
    }

    /// Whether [`Lists::find`] finds a record: one pass, for lists of which every record would have to be looked at three times.
    pub(crate) fn has(&self, key: &str) -> bool {
        let mut beginning = 0;
        let exact = self.iter().any(|r| {
            beginning += u32::from(r.id().starts_with(key) && !r.id().contains(' '));
            r.id() == key || r.names().iter().any(|n| n == key)
        });
        exact || beginning == 1 && !key.is_empty()
    }

    /// The only record whose id begins with `prefix`.
    pub(crate) fn by_prefix(&self, prefix: &str) -> Option<&T> {
        let mut found = self.iter().filter(|r| seek::has_prefix(*r, prefix));
        match (found.next(), found.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        }
    }
}

impl<T: Record> Lists<T> {
    /// Refuses an id or a name that a record already has, be it that of a cut-short operation.
    pub(crate) fn check_free(&self, id: &str, names: &[String]) -> Result<()> {
        check_free(|| self.iter_all(), id, names)
    }

    /// As [`Lists::check_free`], for a first look: what recovery may still free is not refused.
    pub(crate) fn check_freeable(&self, id: &str, names: &[String]) -> Result<()> {
        check_free(|| self.iter(), id, names)
    }
}

fn check_free<'l, T: Record, I: Iterator<Item = &'l T>>(
    records: impl Fn() -> I,
    id: &str,
    names: &[String],
) -> Result<()> {
    let action = || format!("creating {} {id:?}", T::KIND);
    if records().any(|r| r.id() == id) {
        return Err(Error::new(ErrorKind::DuplicateId, action()).id(id));
    }
    for name in names {
        if let Some(owner) = records().find(|r| r.names().contains(name)) {
            return Err(Error::new(
                ErrorKind::DuplicateName,
                format!("{} with the name {name:?}", action()),
            )
            .id(owner.id())
            .hint(format!("{} {} has it", T::KIND, owner.id())));
        }
    }
    Ok(())
}

/// What a table held when its lock was taken for reading; the lock is released with it.
pub(crate) struct Snapshot<T> {
    lists: Arc<Lists<T>>,
    _guards: Vec<ReadGuard>,
}

impl<T> Snapshot<T> {
    /// The records by themselves, the lock released.
    pub(crate) fn release(self) -> Arc<Lists<T>> {
        self.lists
    }
}

impl<T> std::ops::Deref for Snapshot<T> {
    type Target = Lists<T>;
    fn deref(&self) -> &Lists<T> {
        &self.lists
    }
}

enum Freshness {
    /// As read, with that token, from files of these stamps: nobody else writes them while the lock is held.
    Read(Token, Vec<Option<FileStamp>>),
    /// Saved by us, with that token.
    Saved(Token),
    /// Changed in memory, or the save failed.
    Unsaved,
}

/// A table under its write lock. What is changed counts when [`Edit::save`] has succeeded; dropped without, nothing has changed.
pub(crate) struct Edit<'t, T: Record, Rank> {
    table: &'t Table<T, Rank>,
    lists: Lists<T>,
    dirty: Vec<bool>,
    guards: Vec<WriteGuard>,
    fresh: Freshness,
    /// What the change leaves to delete; the last field, since fields go in their order and the locks must go first.
    pub(super) waste: Waste,
}

impl<T: Record, Rank> std::ops::Deref for Edit<'_, T, Rank> {
    type Target = Lists<T>;
    fn deref(&self) -> &Lists<T> {
        &self.lists
    }
}

impl<T: Record, Rank> Edit<'_, T, Rank> {
    /// Adds a record at the end of file number `file`.
    pub(crate) fn push(&mut self, file: usize, record: T) -> Result<()> {
        let Some(list) = self.lists.files.get_mut(file) else {
            return Err(Error::new(ErrorKind::Internal, format!("adding a {}", T::KIND))
                .detail("no such record file"));
        };
        list.push(record);
        self.mark(file);
        Ok(())
    }

    /// The record of exactly that id, incomplete ones included, to be changed; its file will be written.
    pub(crate) fn get_mut(&mut self, id: &str) -> Result<&mut T> {
        let place = self.place(id).ok_or_else(|| unknown::<T>("changing", id))?;
        self.mark(place.0);
        let record = self.lists.files.get_mut(place.0).and_then(|l| l.get_mut(place.1));
        record.ok_or_else(|| unknown::<T>("changing", id))
    }

    /// Takes the record of exactly that id out.
    pub(crate) fn remove(&mut self, id: &str) -> Option<T> {
        let place = self.place(id)?;
        self.mark(place.0);
        self.lists.files.get_mut(place.0).map(|list| list.remove(place.1))
    }

    /// Takes the records of these ids out.
    pub(crate) fn remove_all(&mut self, ids: &HashSet<String>) {
        for (list, dirty) in self.lists.files.iter_mut().zip(&mut self.dirty) {
            let before = list.len();
            list.retain(|r| !ids.contains(r.id()));
            if list.len() != before {
                *dirty = true;
                self.fresh = Freshness::Unsaved;
            }
        }
    }

    /// Lets `change` see every record, incomplete ones included; the files of those that it says it changed will be written.
    pub(crate) fn change_each(&mut self, mut change: impl FnMut(&mut T) -> bool) {
        for (list, dirty) in self.lists.files.iter_mut().zip(&mut self.dirty) {
            for record in list {
                if change(record) {
                    *dirty = true;
                    self.fresh = Freshness::Unsaved;
                }
            }
        }
    }

    /// Takes all records out.
    pub(crate) fn clear(&mut self) {
        for (list, dirty) in self.lists.files.iter_mut().zip(&mut self.dirty) {
            *dirty |= !list.is_empty();
            list.clear();
        }
        self.fresh = Freshness::Unsaved;
    }

    /// Takes `names` away from every record but `keeper` (11, "stealing"), whatever file it is in.
    pub(crate) fn steal_names(&mut self, keeper: &str, names: &[String]) {
        self.change_each(|record| {
            let before = record.names().len();
            if record.id() != keeper {
                record.names_mut().retain(|n| !names.contains(n));
            }
            record.names().len() != before
        });
    }

    /// Whether anything waits to be saved.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.contains(&true)
    }

    /// Writes the files with a changed member: a fresh last-writer record first, so that a crash in between makes others read
    /// again rather than trust what they remember (9.2).
    pub(crate) fn save(&mut self) -> Result<()> {
        if !self.is_dirty() {
            return Ok(());
        }
        self.fresh = Freshness::Unsaved;
        let mut token = None;
        for guard in &self.guards {
            let written = guard.touch()?;
            token.get_or_insert(written);
        }
        for ((file, list), dirty) in
            self.table.files.iter().zip(&self.lists.files).zip(&mut self.dirty)
        {
            if *dirty {
                atomic::replace(&file.path, &T::write(list), 0o600, file.durable)?;
                *dirty = false;
            }
        }
        self.lists.mended.iter_mut().for_each(|m| *m = false);
        self.fresh = Freshness::Saved(token.unwrap_or_default());
        Ok(())
    }

    /// Whether the files have the record of that id as it is here, or do not have it either, as after a save whose last step failed,
    /// the sync of the directory. What cannot be read counts as written: what the record needs must not be taken from it.
    pub(crate) fn is_on_disk(&self, id: &str) -> bool {
        let Ok(disk) = self.table.parse() else { return true };
        let text = |lists: &Lists<T>| {
            lists.iter_all().find(|r| r.id() == id).map(|r| T::write(std::slice::from_ref(r)))
        };
        text(&disk) == text(&self.lists)
    }

    fn mark(&mut self, file: usize) {
        if let Some(dirty) = self.dirty.get_mut(file) {
            *dirty = true;
        }
        self.fresh = Freshness::Unsaved;
    }

    fn place(&self, id: &str) -> Option<(usize, usize)> {
        self.lists.files.iter().enumerate().find_map(|(file, list)| {
            list.iter().position(|r| r.id() == id).map(|position| (file, position))
        })
    }
}

impl<T: Record, Rank> Drop for Edit<'_, T, Rank> {
    /// What was read or saved stays in memory for the next operation; what was changed and not saved is forgotten.
    fn drop(&mut self) {
        let (token, stamps) = match std::mem::replace(&mut self.fresh, Freshness::Unsaved) {
            Freshness::Read(token, stamps) => (token, Ok(stamps)),
            Freshness::Saved(token) => (token, self.table.stamps()),
            Freshness::Unsaved => return,
        };
        if let Ok(stamps) = stamps {
            let lists = Lists {
                files: std::mem::take(&mut self.lists.files),
                mended: std::mem::take(&mut self.lists.mended),
            };
            *self.table.cached() = Some(Cache { token, stamps, lists: Arc::new(lists) });
        }
    }
}

/// The error for an id or name that no record has.
pub(crate) fn unknown<T: Record>(action: &str, id: &str) -> Error {
    Error::new(T::UNKNOWN, format!("{action} {} {id:?}", T::KIND))
        .id(id)
        .hint(format!("`orlop {}s` lists those there are", T::KIND))
}
