//! Names of records: unique over a kind, taken and given back (`store-format.md` 11).

use std::collections::{HashMap, HashSet};

use super::kind::Record;

/// What happens to a record's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// These names instead of the present ones.
    Set,
    /// These names in front of the present ones.
    Add,
    /// The present ones without these.
    Remove,
}

/// `names` without repetitions, order kept.
pub(crate) fn unique(names: &[String]) -> Vec<String> {
    let mut seen = HashSet::new();
    names.iter().filter(|n| seen.insert(n.as_str())).cloned().collect()
}

/// The names that `change` with `given` makes of `present`.
pub(crate) fn changed(present: &[String], change: Change, given: &[String]) -> Vec<String> {
    match change {
        Change::Set => unique(given),
        Change::Add => unique(&[given, present].concat()),
        Change::Remove => unique(present).into_iter().filter(|n| !given.contains(n)).collect(),
    }
}

/// The history after the names `present` have been in use: each moves to the front, in list order (11).
pub(crate) fn history(history: &[String], present: &[String]) -> Vec<String> {
    let mut newest = history.to_vec();
    for name in present {
        newest.retain(|n| n != name);
        newest.insert(0, name.clone());
    }
    newest
}

/// Mends what was read: a repeated id in a later file is dropped, a name that two records have stays with the later one.
/// Returns, for each file, whether memory now differs from it.
pub(crate) fn mend<T: Record>(files: &mut [Vec<T>]) -> Vec<bool> {
    // Not a difference to be written: the later file keeps what its writer put there.
    for later in 1..files.len() {
        if let Some((list, earlier)) = files.get_mut(..=later).and_then(<[_]>::split_last_mut)
            && !list.is_empty()
        {
            let ids: HashSet<&str> = earlier.iter().flatten().map(|r| r.id()).collect();
            list.retain(|r| !ids.contains(r.id()));
        }
    }
    let all = files.iter().flatten().map(|r| r.names().len()).sum();
    let mut owners: HashMap<&str, (usize, usize)> = HashMap::with_capacity(all);
    let mut losers: Vec<(usize, usize, String)> = Vec::new();
    for (f, list) in files.iter().enumerate() {
        for (r, record) in list.iter().enumerate() {
            for name in record.names() {
                match owners.insert(name, (f, r)) {
                    Some((file, at)) if (file, at) != (f, r) => {
                        losers.push((file, at, name.clone()))
                    }
                    _ => {}
                }
            }
        }
    }
    let mut mended = vec![false; files.len()];
    for (file, at, name) in losers {
        if let (Some(record), Some(flag)) =
            (files.get_mut(file).and_then(|l| l.get_mut(at)), mended.get_mut(file))
        {
            record.names_mut().retain(|n| *n != name);
            *flag = true;
        }
    }
    for (list, flag) in files.iter_mut().zip(&mut mended) {
        for record in list.iter_mut().filter(|r| r.names().len() > 1) {
            let once = unique(record.names());
            if once.len() != record.names().len() {
                *record.names_mut() = once;
                *flag = true;
            }
        }
    }
    mended
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Layer;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn layer(id: &str, names: &str) -> Layer {
        Layer { id: id.into(), names: words(names), ..Layer::default() }
    }

    #[test]
    fn names_change_as_in_go() {
        let present = words("a b");
        assert_eq!(changed(&present, Change::Set, &words("c c d")), words("c d"));
        assert_eq!(changed(&present, Change::Add, &words("c a")), words("c a b"));
        assert_eq!(changed(&present, Change::Remove, &words("a x")), words("b"));
        assert_eq!(history(&words("o a"), &words("a b")), words("b a o"));
    }

    #[test]
    fn the_later_record_keeps_a_name() {
        let mut files = vec![vec![layer("1", "a b"), layer("2", "b")], vec![layer("3", "a")]];
        assert_eq!(mend(&mut files), [true, false]);
        let left: Vec<_> = files.iter().flatten().map(|l| l.names.join(" ")).collect();
        assert_eq!(left, ["", "b", "a"]);
    }

    #[test]
    fn a_repeated_id_in_a_later_file_is_ignored() {
        let mut files = vec![vec![layer("1", "a")], vec![layer("1", "z"), layer("2", "")]];
        assert_eq!(mend(&mut files), [false, false]);
        assert_eq!(files.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn a_name_twice_in_one_record_is_kept_once() {
        let mut files = vec![vec![layer("1", "a a")]];
        assert_eq!(mend(&mut files), [true]);
        assert_eq!(files.concat().first().map(|l| l.names.clone()), Some(words("a")));
    }
}
