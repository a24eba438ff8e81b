//! Settings that have a price, and stores that are named and not there.

use std::path::Path;

use super::super::options::OverlayOptions;
use super::super::overlay::Overlay;
use super::{Answer, Area, Finding};
use crate::config::StoreOptions;

/// The findings on the configuration.
pub(super) fn findings(
    options: &StoreOptions,
    driver: &str,
    overlay: Option<&Overlay>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(overlay) = overlay {
        let set = overlay.options();
        findings.push(synced(set.unsynced));
        findings.extend(words(set));
        findings.extend(set.image_stores.iter().map(|root| image_store(root)));
    } else if driver == "vfs"
        && let Ok(set) = super::super::options::parse_vfs(&options.driver_options)
    {
        findings.push(synced(set.unsynced));
        findings.extend(set.image_stores.iter().map(|root| image_store(root)));
    }
    if options.transient_store {
        findings.push(
            Finding::new(Area::Settings, "setting", Answer::Yes, "transient_store is on")
                .change("containers are forgotten with the next boot; leave it out to keep them"),
        );
    }
    findings
}

fn synced(unsynced: bool) -> Finding {
    let finding = |answer, why: &str| Finding::new(Area::Settings, "synced", answer, why);
    match unsynced {
        false => finding(Answer::Yes, "layers are on the disk before they count"),
        true => finding(Answer::No, "sync is \"none\"")
            .change("a power cut can leave layers whose files are empty: remove sync = \"none\", at the price of one syncfs(2) a load"),
    }
}

/// Mount words and switches that cost something.
fn words(set: &OverlayOptions) -> Vec<Finding> {
    let has = |word: &str| set.mountopt.split(',').any(|w| w == word);
    let setting = |why: &str, change: &str| {
        Finding::new(Area::Settings, "setting", Answer::Yes, why).change(change)
    };
    let mut findings = Vec::new();
    if has("metacopy=on") {
        findings.push(setting(
            "mountopt has metacopy=on: changed owners and modes copy no data",
            "but other programs than orlop read two trees for each diff and commit; leave it out where they build images",
        ));
    } else if has("redirect_dir=on") {
        findings.push(setting(
            "mountopt has redirect_dir=on: renamed directories copy no data",
            "but other programs than orlop read two trees for each diff and commit; leave it out where they build images",
        ));
    }
    if has("volatile") {
        findings.push(setting(
            "mountopt has volatile: no container waits for the disk",
            "what a container has written is lost in a crash; leave it out, and give the flag to single containers",
        ));
    }
    if set.skip_mount_home {
        findings.push(setting(
            "skip_mount_home is on: the home is not a private mount",
            "mounts of layers spread to other mount namespaces, where they keep layers from being deleted; leave it out",
        ));
    }
    if set.ignore_chown_errors {
        findings.push(setting(
            "ignore_chown_errors is on",
            "files of owners that cannot be set belong to the user who unpacks them; give him subordinate ids and leave it out",
        ));
    }
    findings
}

/// Whether an additional store's records can be read.
fn image_store(root: &Path) -> Finding {
    let finding = |answer, why: String| Finding::new(Area::Settings, "image-store", answer, why);
    let kinds = ["overlay", "vfs"];
    let records = kinds.iter().map(|driver| root.join(format!("{driver}-images/images.json")));
    let mut last = None;
    for file in records {
        match std::fs::File::open(&file) {
            Ok(_) => return finding(Answer::Yes, format!("{} can be read", root.display())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => last = Some(format!("{}: {e}", file.display())),
        }
    }
    match last {
        Some(why) => finding(Answer::No, why)
            .change("let the user read it: its files 0644, its directories 0755"),
        None => finding(Answer::No, format!("{} has no images", root.display())).change(
            "name the graph root of a store, or take the entry out of additionalimagestores",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(mountopt: &str) -> OverlayOptions {
        crate::driver::options::parse_overlay(&[format!("mountopt={mountopt}")]).unwrap()
    }

    #[test]
    fn words_with_a_price_are_told() {
        assert_eq!(words(&set("nodev")), []);
        for (word, cost) in [
            ("metacopy=on", "two trees"),
            ("redirect_dir=on", "two trees"),
            ("volatile", "lost in a crash"),
        ] {
            let findings = words(&set(&format!("nodev,{word}")));
            assert!(findings[0].why.contains(word), "{word}");
            assert!(findings[0].change.as_deref().unwrap().contains(cost), "{word}");
        }
        assert_eq!(synced(true).answer, Answer::No);
        assert!(synced(true).change.unwrap().contains("power cut"));
    }

    #[test]
    fn a_store_without_records_is_told() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(image_store(dir.path()).answer, Answer::No);
        std::fs::create_dir(dir.path().join("overlay-images")).unwrap();
        std::fs::write(dir.path().join("overlay-images/images.json"), "[]").unwrap();
        assert_eq!(image_store(dir.path()).answer, Answer::Yes);
    }
}
