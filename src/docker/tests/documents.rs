//! Docker's files as its daemon writes them, with whatever in them, and as it does not.

use proptest::prelude::*;

use super::*;
use crate::docker::fuzzing::{documents, words as layer_words};

/// Each case makes files, which should cost nothing.
fn memory() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 8]>().prop_map(|seed| Digest::sha256(&seed))
}

/// A JSON value where another one is expected.
fn odd() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!([])),
        Just(json!({})),
        Just(json!({"a": {"a": 1}})),
        any::<i64>().prop_map(|n| json!(n)),
        ".*".prop_map(|text| json!(text)),
        digest().prop_map(|id| json!(id.as_str())),
    ]
}

proptest! {
    #[test]
    fn an_image_has_the_layers_of_its_config(
        diffs in prop::collection::vec(digest(), 0..9),
        label in ".*",
        created in "20[0-9]{2}-0[1-9]-1[0-9]T0[0-9]:00:00Z",
    ) {
        let f = Fixture::below(&memory());
        let config = json!({
            "architecture": "amd64", "created": created, "config": {"Labels": {"a": label}},
            "rootfs": {"type": "layers", "diff_ids": diffs.iter().map(Digest::as_str).collect::<Vec<_>>()},
        })
        .to_string();
        let id = Digest::sha256(config.as_bytes());
        std::fs::write(f.config(&id), config).unwrap();
        let images = f.docker().images().unwrap();
        prop_assert_eq!(images.len(), 1);
        prop_assert_eq!(&images[0].id, &id);
        prop_assert_eq!(&images[0].diffs, &diffs);
        prop_assert_eq!(images[0].created.as_deref(), Some(created.as_str()));
        prop_assert_eq!(images[0].chain_ids().len(), diffs.len());
    }

    #[test]
    fn an_image_has_the_names_that_mean_it(
        mut names in prop::collection::btree_map("[a-z]{1,9}(/[a-z]{1,9})?", "[A-Za-z0-9_]{1,9}", 0..9),
        other in digest(),
    ) {
        let f = Fixture::below(&memory());
        let id = f.image(&[], &[], None);
        names.remove("other");
        let mut known = BTreeMap::new();
        for (name, tag) in &names {
            let named = [format!("{name}:{tag}"), format!("{name}@{other}")];
            known.insert(name.clone(), named.map(|name| (name, id.to_string())).into());
        }
        known.insert("other".to_owned(), [("other:1".to_owned(), other.to_string())].into());
        *f.names.borrow_mut() = known;
        f.write_names();
        let found = f.docker().images().unwrap();
        let wanted: Vec<String> = names.iter().map(|(name, tag)| format!("{name}:{tag}")).collect();
        prop_assert_eq!(&found[0].names, &wanted);
    }

    #[test]
    fn odd_documents_are_refused(
        field in prop::sample::select(vec![
            "rootfs", "history", "config", "created", "Repositories", "ID", "Name", "Image", "State", "Config", "Driver",
            "about", "images", "layers",
        ]),
        value in odd(),
    ) {
        let mut all = json!({
            "rootfs": {"type": "layers", "diff_ids": []}, "history": [], "config": {}, "Repositories": {},
            "ID": "c".repeat(64), "Name": "/n", "Image": Digest::sha256(b"").as_str(),
            "State": {"Running": false, "FinishedAt": ""}, "Config": {}, "Driver": "overlay2",
            "about": "", "images": {}, "layers": [],
        });
        all[field] = value;
        documents(&memory(), all.to_string().as_bytes());
    }

    #[test]
    fn odd_words_lead_nowhere(
        at in 0..7usize,
        length in 1..8usize,
        odd in prop_oneof![
            digest().prop_map(|id| id.to_string()),
            digest().prop_map(|id| id.hex().to_owned()),
            digest().prop_map(|id| format!("{}-init", id.hex())),
            "[0-9a-z]{25}",
            prop::sample::select(vec!["", ".", "..", "../..", "/etc", "l", "overlay2", "-1", "7"])
                .prop_map(str::to_owned),
            ".*",
        ],
    ) {
        // Those of a layer and of a container, all as they should be but for one.
        let (digest, id) = (Digest::sha256(b"some"), "d".repeat(64));
        let mut words = [
            digest.as_str(), digest.hex(), "7", digest.as_str(), &id, &format!("{id}-init"), digest.as_str(),
        ]
        .map(str::to_owned);
        words[at] = odd;
        layer_words(&memory(), words[..length].join("\0").as_bytes());
    }
}
