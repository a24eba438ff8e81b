//! How values merge (`storage-conf.md` 2).

use super::*;

fn merged(texts: &[&str]) -> Loaded {
    let mut files = MemoryFiles::default();
    for (n, text) in texts.iter().enumerate() {
        files = files.file(&format!("/etc/containers/storage.conf.d/{n}.conf"), text);
    }
    loaded(&files, &[], &root()).unwrap()
}

#[test]
fn later_scalars_win_and_empty_ones_reset() {
    let loaded = merged(&[
        "[storage]\ndriver='vfs'\ngraphroot='/g'\n[storage.options]\nforce_mask=0o700\nsize='1'\n[storage.options.overlay]\nsize='2'",
        "[storage]\ndriver='overlay'\ngraphroot=''\n[storage.options]\nforce_mask=0\nsize=''",
    ]);
    assert_eq!(loaded.options.driver, "overlay");
    assert_eq!(loaded.options.graph_root, Path::new("/var/lib/containers/storage"));
    assert_eq!(loaded.options.driver_options, ["overlay.size=2"]);
}

#[test]
fn pull_options_merge_key_by_key() {
    let loaded = merged(&[
        "[storage.options.pull_options]\na='1'\nb='1'",
        "[storage.options]\npull_options={b='2', C='3'}",
    ]);
    let pairs: Vec<_> = loaded.options.pull_options.into_iter().collect();
    let expected = [("C", "3"), ("a", "1"), ("b", "2")];
    assert_eq!(pairs, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
}

#[test]
fn lists_replace_until_append_is_said_and_the_mark_sticks() {
    let priority = |texts: &[&str]| {
        let texts: Vec<_> =
            texts.iter().map(|list| format!("[storage]\ndriver_priority = {list}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        merged(&texts).options.driver_priority.concat()
    };
    assert_eq!(priority(&["['a']", "['b']"]), "b");
    assert_eq!(priority(&["['a']", "['b', {append=true}, 'c']"]), "abc");
    assert_eq!(priority(&["['a', {append=true}]", "['b']", "['c']"]), "abc");
    assert_eq!(priority(&["['a', {append=true}]", "['b', {append=false}]", "['c']"]), "c");
    assert_eq!(priority(&["['a']", "[]"]), "");
    assert_eq!(priority(&["['a', {}]", "[{append=false}, {append=true}, 'b']"]), "ab");
}

#[test]
fn a_list_holds_strings_and_the_mark_alone() {
    for (list, complaint) in [
        ("[1]", "an integer among the strings"),
        ("[['a']]", "an array among the strings"),
        ("[{append='true'}]", "append must be true or false"),
        ("[{Append=true}]", "\"Append\" is unknown"),
        ("[{append=true, x=1}]", "\"x\" is unknown"),
        ("'a'", "must be a list of strings, not a string (put the value in brackets)"),
    ] {
        let error = refusal(&format!("[storage]\ndriver_priority = {list}"));
        assert!(error.to_string().contains(complaint), "{error}");
    }
    assert!(refusal("[[storage.driver_priority]]\nappend = true").to_string().contains("line 1"));
}

#[test]
fn letter_case_is_forgiven_and_exact_keys_win() {
    let driver = |text| etc(text).unwrap().options.driver;
    assert_eq!(driver("[STORAGE]\nDriver='a'"), "a");
    assert_eq!(driver("[storage]\ndriver='exact'\nDRIVER='folded'"), "exact");
    assert_eq!(driver("[storage]\ndriver='exact'\n[Storage]\ndriver='folded'"), "exact");
    assert_eq!(driver("[\"\u{17f}torage\"]\ndriver='long s'"), "long s");
    let text =
        "[storage.OPTIONS]\nSIZE='1'\nDisable-Volatile=true\n[storage.options.Overlay]\nSync='x'";
    let options = etc(text).unwrap().options;
    assert_eq!(options.driver_options, ["size=1", "overlay.sync=x"]);
    assert!(options.disable_volatile);
    // A folded key is checked even where an exact one beats it.
    assert_eq!(refusal("[storage]\ndriver='a'\nDriver=1").kind(), ErrorKind::Config);
}

#[test]
fn a_wrong_type_names_file_line_and_key() {
    for (text, complaint) in [
        ("storage = 1", "line 1: storage must be a table, not an integer"),
        ("[storage]\n\ndriver = 1", "line 3: storage.driver must be a string, not the integer 1"),
        (
            "[storage]\ntransient_store = 'true'",
            "line 2: storage.transient_store must be a boolean without quotes, not a string (leave out the quotes)",
        ),
        (
            "[storage.options]\nskip_mount_home = true",
            "line 2: storage.options.skip_mount_home must be a string, not a boolean (put the value in quotes)",
        ),
        (
            "[storage.options]\nforce_mask = 'shared'",
            "line 2: storage.options.force_mask must be an integer from 0 to 4294967295, not a string",
        ),
        ("[storage.options]\nauto-userns-min-size = -1", "not the integer -1"),
        ("[storage.options]\nauto-userns-max-size = 4294967296", "not the integer 4294967296"),
        (
            "[storage.options.pull_options]\na = ''\nb = true",
            "line 3: storage.options.pull_options.b must be a string, not a boolean",
        ),
        ("[storage.options]\noverlay = []", "storage.options.overlay must be a table"),
        ("[[storage]]\ndriver = 'x'", "storage must be a table, not an array"),
    ] {
        let error = refusal(text);
        assert_eq!((error.kind(), error.file()), (ErrorKind::Config, Some(Path::new(ETC))));
        assert!(error.to_string().contains(complaint), "{error}");
    }
}

#[test]
fn a_file_that_does_not_parse_is_an_error_with_its_line() {
    for (text, line) in [
        (&b"[storage]\ndriver = \n"[..], "line 2"),
        (b"[storage]\n\n[storage", "line 3"),
        (b"a=1\n\nb='\xff'", "line 3: not UTF-8"),
        (b"a=1\nb=99999999999999999999", "line 2: number out of range"),
        (b"a=[1, {b=[1e999]}]", "line 1: number out of range"),
    ] {
        let files = MemoryFiles::default().file(ETC, text);
        let error = loaded(&files, &[], &root()).unwrap_err();
        assert_eq!((error.kind(), error.file()), (ErrorKind::Config, Some(Path::new(ETC))));
        assert!(error.to_string().contains(line), "{error}");
    }
}

#[test]
fn deep_nesting_is_refused_or_read_but_never_overflows_the_stack() {
    for (open, close) in [("[", "]"), ("{a=", "}")] {
        let text = format!("x = {}1{}", open.repeat(200_000), close.repeat(200_000));
        assert_eq!(refusal(&text).kind(), ErrorKind::Config);
    }
}

#[test]
fn unknown_keys_and_those_of_old_versions_are_ignored() {
    let text = "x=1\n[storage]\nremap-uids='0:1:2'\n[storage.options]\nremap-user='u'\nauto_userns_min_size='no dashes'\n\
        [storage.options.thinpool]\nsize=1\n[storage.options.aufs]\nmountopt=1";
    let loaded = etc(text).unwrap();
    assert_eq!(loaded.options, options(&MemoryFiles::default()));
    assert_eq!(loaded.warnings, [""; 0]);
}
