//! The example in the repository.

use super::*;

const EXAMPLE: &str = include_str!("../../../storage.conf.example");

/// The example with its examples switched on: what stands behind `# ` and looks like `key = value`.
fn example_in_full() -> String {
    let switched = EXAMPLE.lines().map(|line| {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let is_key = bare.split_once(" = ").is_some_and(|(name, _)| !name.contains(' '));
        if is_key { bare } else { line }
    });
    switched.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_changes_nothing_but_what_its_defaults_spell_out() {
    let loaded = etc(EXAMPLE).unwrap();
    let pull_options = loaded.options.pull_options.clone();
    assert!(pull_options.values().all(|value| value == "false" || value.is_empty()));
    let expected = StoreOptions {
        auto_user_ns: AutoUserNs { root_user: String::new(), min_size: 1024, max_size: 65536 },
        pull_options,
        ..options(&MemoryFiles::default())
    };
    assert_eq!(loaded.options, expected);
}

#[test]
fn the_example_names_every_key_with_its_type() {
    let full = example_in_full();
    etc(&full).unwrap();
    let table: toml::Table = full.parse().unwrap();
    for key in &KEYS {
        let mut at = &table;
        for name in key.table.path().split('.') {
            at = at[name].as_table().unwrap();
        }
        assert!(at.contains_key(key.name), "{}.{}", key.table.path(), key.name);
    }
    for name in ["CONTAINERS_STORAGE_CONF_OVERRIDE", "STORAGE_DRIVER", "STORAGE_OPTS"] {
        assert!(EXAMPLE.contains(name), "{name}");
    }
}
