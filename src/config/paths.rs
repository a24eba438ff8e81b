//! Paths of the configuration: cleaning, expansion of variables and following of links, as the Go loader does them.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::{Environment, Files, Node};

/// More links on the way than this are taken for a loop.
const MAX_LINKS: usize = 255;

/// Shortens a path by its text alone: doubled slashes, `.` and `name/..` go; the empty path becomes `.`.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    let rooted = bytes.first() == Some(&b'/');
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in bytes.split(|&b| b == b'/') {
        push(&mut parts, rooted, part);
    }
    assemble(rooted, &parts)
}

/// Puts two paths together, the second below the first even if it is absolute, and cleans the outcome.
pub(crate) fn join(base: &Path, below: impl AsRef<Path>) -> PathBuf {
    let mut text = base.as_os_str().to_os_string();
    if !text.is_empty() {
        text.push("/");
    }
    text.push(below.as_ref());
    clean(Path::new(&text))
}

/// Goes one component further: into a name, nowhere for `.` and the empty one, up for `..`.
fn push<T: AsRef<[u8]>>(parts: &mut Vec<T>, rooted: bool, part: T) {
    match part.as_ref() {
        b"" | b"." => {}
        b".." => match parts.last() {
            Some(last) if last.as_ref() != b".." => drop(parts.pop()),
            None if rooted => {}
            _ => parts.push(part),
        },
        _ => parts.push(part),
    }
}

fn assemble<T: AsRef<[u8]>>(rooted: bool, parts: &[T]) -> PathBuf {
    let mut bytes = Vec::new();
    for (i, part) in parts.iter().enumerate() {
        if i > 0 || rooted {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(part.as_ref());
    }
    if bytes.is_empty() {
        bytes.push(if rooted { b'/' } else { b'.' });
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// Follows every symbolic link of a path; a relative path stays relative. An error if a component does not exist.
pub(crate) fn resolve_links(files: &dyn Files, path: &Path) -> io::Result<PathBuf> {
    let split = |path: &Path| -> Vec<Vec<u8>> {
        path.as_os_str().as_bytes().split(|&b| b == b'/').map(<[u8]>::to_vec).collect()
    };
    let mut rooted = path.is_absolute();
    let mut ahead: VecDeque<Vec<u8>> = split(path).into();
    let mut done: Vec<Vec<u8>> = Vec::new();
    let mut links = 0;
    while let Some(part) = ahead.pop_front() {
        if matches!(part.as_slice(), b"" | b"." | b"..") {
            push(&mut done, rooted, part);
            continue;
        }
        done.push(part);
        match files.node(&assemble(rooted, &done))? {
            Node::Directory { .. } => {}
            Node::Other if ahead.is_empty() => {}
            Node::Other => return Err(io::ErrorKind::NotADirectory.into()),
            Node::Link(target) => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(rustix::io::Errno::LOOP.into());
                }
                done.pop();
                if target.is_absolute() {
                    rooted = true;
                    done.clear();
                }
                for part in split(&target).into_iter().rev() {
                    ahead.push_front(part);
                }
            }
        }
    }
    Ok(assemble(rooted, &done))
}

/// Expands a configured path (`storage-conf.md` 5): `$UID`, then variables, then links if all of it exists.
pub(crate) fn expand(files: &dyn Files, env: &Environment, uid: u32, path: &str) -> PathBuf {
    let path = path.replace("$UID", &uid.to_string());
    let path = PathBuf::from(OsString::from_vec(expand_variables(env, path.as_bytes())));
    resolve_links(files, &path).unwrap_or_else(|_| clean(&path))
}

/// Replaces `$NAME` and `${NAME}`; a dollar sign that no name follows stays, a brace without a partner is dropped.
fn expand_variables(env: &Environment, mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rest.len());
    while let Some((&first, after)) = rest.split_first() {
        if first != b'$' || after.is_empty() {
            out.push(first);
            rest = after;
            continue;
        }
        let (name, length) = variable_name(after);
        match name {
            b"" if length == 0 => out.push(b'$'),
            b"" => {}
            name => {
                if let Some(value) = env.vars.get(std::ffi::OsStr::from_bytes(name)) {
                    out.extend_from_slice(value.as_bytes());
                }
            }
        }
        rest = after.get(length..).unwrap_or_default();
    }
    out
}

/// The name that follows a dollar sign, and how many bytes it takes with its braces.
fn variable_name(text: &[u8]) -> (&[u8], usize) {
    let special = |b: u8| matches!(b, b'*' | b'#' | b'$' | b'@' | b'!' | b'?' | b'-' | b'0'..=b'9');
    match text {
        [b'{', inner @ ..] => match inner.iter().position(|&b| b == b'}') {
            Some(end) => (inner.get(..end).unwrap_or_default(), end + 2),
            None => (b"", 1),
        },
        [first, ..] if special(*first) => (text.get(..1).unwrap_or_default(), 1),
        _ => {
            let end = text.iter().position(|&b| b != b'_' && !b.is_ascii_alphanumeric());
            let end = end.unwrap_or(text.len());
            (text.get(..end).unwrap_or_default(), end)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::memory::MemoryFiles;
    use super::*;

    // storage-conf.md 5, the values as Go's path.Clean gives them.
    #[test]
    fn cleaning_goes_by_text() {
        for (path, cleaned) in [
            ("", "."),
            ("/", "/"),
            ("//a///b/", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/../a", "/a"),
            ("../../a/..", "../.."),
            ("a/..", "."),
        ] {
            assert_eq!(clean(Path::new(path)), Path::new(cleaned), "{path:?}");
        }
        assert_eq!(join(Path::new("/r/"), "/etc/x"), Path::new("/r/etc/x"));
        assert_eq!(join(Path::new(""), "containers"), Path::new("containers"));
    }

    #[test]
    fn variables_expand_as_in_go() {
        let env = [("A", "x"), ("UID", "env"), ("EMPTY", "")].into_iter().collect();
        for (text, expanded) in [
            ("$A/${A}", "x/x"),
            ("$UNSET/y$EMPTY", "/y"),
            ("$A.b", "x.b"),
            ("$AB", ""),
            ("${UID}", "env"),
            ("a$", "a$"),
            ("$/x", "$/x"),
            ("${}y", "y"),
            ("${A", "A"),
            ("$1$$x", "x"),
            ("~/z", "~/z"),
        ] {
            assert_eq!(
                String::from_utf8(expand_variables(&env, text.as_bytes())).unwrap(),
                expanded,
                "{text:?}"
            );
        }
    }

    #[test]
    fn the_text_uid_comes_before_the_environment() {
        let env = [("UID", "7"), ("UIDX", "8")].into_iter().collect();
        let files = MemoryFiles::default();
        assert_eq!(
            expand(&files, &env, 1000, "/a/$UID/$UIDX/${UID}"),
            Path::new("/a/1000/1000X/7")
        );
    }

    #[test]
    fn links_are_followed_only_if_the_whole_path_exists() {
        let files = MemoryFiles::default()
            .link("/l", "real/../real")
            .dir("/real/sub", 0, 0o755)
            .file("/real/f", "")
            .link("/loop", "loop")
            .link("/abs", "/l/sub");
        let env = Environment::default();
        for (path, expanded) in [
            ("/l/sub", "/real/sub"),
            ("/l/missing", "/l/missing"),
            ("/abs/..", "/real"),
            ("/l/f/..", "/l"),
            ("/loop", "/loop"),
            ("l/./x", "l/x"),
        ] {
            assert_eq!(expand(&files, &env, 0, path), Path::new(expanded), "{path}");
        }
    }

    #[test]
    fn a_relative_path_stays_relative() {
        let files = MemoryFiles::default().link("l", "d").dir("d/e", 0, 0o755);
        assert_eq!(resolve_links(&files, Path::new("l/e")).unwrap(), Path::new("d/e"));
        assert_eq!(resolve_links(&files, Path::new("")).unwrap(), Path::new("."));
    }
}
