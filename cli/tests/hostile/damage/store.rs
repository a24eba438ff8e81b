//! The store that is damaged: an image of two layers with a container, a volatile container, and beside them a layer, an image and a
//! container that have nothing to do with those.

use std::fs;
use std::process::Command;

use crate::ground::{Ground, docker_archive};
use crate::tar;

/// A whole store, and the names of what is in it.
pub struct Template {
    pub ground: Ground,
    /// Whether a layer is used by mounting it.
    pub mounts: bool,
    /// How many layers, images and containers there are, as `=3`.
    pub counts: [&'static str; 3],
    names: Vec<(&'static str, String)>,
}

impl Template {
    /// The text with each `{name}` replaced, `{outside}` by the path of the canaries.
    pub fn fill(&self, text: &str, ground: &Ground) -> String {
        let outside = ground.path("outside").to_str().unwrap().to_owned();
        let text = text.replace("{outside}", &outside);
        self.names.iter().fold(text, |text, (name, value)| text.replace(name, value))
    }
}

/// Makes the store with this driver; `None`, having said why, where that cannot be.
pub fn template(driver: &'static str) -> Option<Template> {
    let ground = Ground::of(driver)?;
    let img = load(&ground);
    let field = |object: &str, name: &str| field(&ground, object, name);
    let top = top_of(&ground);
    let base = field(&format!("layer {top}"), "Parent:");
    let note = ground.file("note", b"a note on the top layer");
    ground.ok(&format!("set-layer-data -f {note} {top} note"));
    for name in ["box", "vol --volatile"] {
        ground.ok(&format!("create-container -i {name} {img}"));
    }
    ground.ok(&format!("set-container-data -f {note} box note"));
    let merged = ground.ok("mount box");
    fs::write(format!("{merged}/written"), "by the container").unwrap();
    ground.ok("unmount box");
    neighbours(&ground);
    fs::write(ground.path("g/userns.lock"), "").unwrap();
    let boxed = field("container box", "Layer:");
    let volatile = field("container vol", "Layer:");
    // What a crash has left.
    let mut old =
        vec![format!("{driver}/tempdirs/temp-dir-7"), format!("{driver}-layers/tmp/temp-dir-7")];
    let mut names = Vec::new();
    if driver == "overlay" {
        // All that is ever probed, with words by which the kernel's own settings do not matter.
        for words in ["", "metacopy=on", "redirect_dir=on", "redirect_dir=off"] {
            ground.ok(&format!("--storage-opt overlay.mountopt={words} status"));
        }
        // Content that was set aside by a shift of ids.
        old.push(format!("overlay/{boxed}/diff1"));
        let device = ground.path("g/overlay/backingFsBlockDev");
        assert!(
            Command::new("mknod").arg(device).args(["b", "7", "99"]).status().unwrap().success()
        );
        let link = |layer: &str| {
            fs::read_to_string(ground.path(&format!("g/overlay/{layer}/link"))).unwrap()
        };
        names.extend([
            ("{toplink}", link(&top)),
            ("{baselink}", link(&base)),
            ("{boxlink}", link(&boxed)),
            ("{sololink}", link("solo")),
        ]);
    }
    for dir in old {
        fs::create_dir_all(ground.path("g").join(&dir)).unwrap();
        fs::write(ground.path("g").join(&dir).join("older"), "older").unwrap();
    }
    // The item called `sha256:…`, under its encoded name.
    let items = fs::read_dir(ground.path(&format!("g/{driver}-images/{img}"))).unwrap();
    let items = items.map(|item| item.unwrap().file_name().into_string().unwrap());
    let config = items.into_iter().find(|item| item.starts_with("=c2hhMjU2O")).unwrap();
    names.extend([
        ("{config}", config),
        ("{img}", img),
        ("{top}", top),
        ("{base}", base),
        ("{box}", boxed),
        ("{vol}", volatile),
    ]);
    // The driver's probes are cached by now; nothing is mounted.
    Some(Template { ground, mounts: driver == "overlay", counts: ["=6", "=2", "=3"], names })
}

/// An image with a copy for other owners, on which a container has older uppers; and the neighbours.
pub fn mapped() -> Option<Template> {
    let ground = Ground::new()?;
    let img = load(&ground);
    ground.ok(&format!("{COPIES} create-container -i box {MAPS} {img}"));
    neighbours(&ground);
    let (boxed, top) = (field(&ground, "container box", "Layer:"), top_of(&ground));
    let copy = field(&ground, &format!("layer {boxed}"), "Parent:");
    for number in 1..=3 {
        let dir = ground.path(&format!("g/overlay/{boxed}/diff{number}"));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join(format!("older{number}")), "older").unwrap();
    }
    let base = field(&ground, &format!("layer {top}"), "Parent:");
    let names = vec![
        ("{img}", img),
        ("{top}", top),
        ("{base}", base),
        ("{box}", boxed),
        ("{copy}", copy),
        ("{maps}", format!("{COPIES} create-container {MAPS}")),
        ("{othermaps}", format!("{COPIES} create-container --uidmap 0:7000:99 --gidmap 0:7000:99")),
    ];
    Some(Template { ground, mounts: true, counts: ["=6", "=2", "=2"], names })
}

/// A container on an image of an additional store, which is outside; and the neighbours.
pub fn beside() -> Option<Template> {
    let mut ground = Ground::new()?;
    let img = load(&ground);
    let top = top_of(&ground);
    let base = field(&ground, &format!("layer {top}"), "Parent:");
    ground.publish();
    ground.ok(&format!("create-container -i box {img}"));
    neighbours(&ground);
    let boxed = field(&ground, "container box", "Layer:");
    let link =
        fs::read_to_string(ground.path(&format!("outside/medium/overlay/{top}/link"))).unwrap();
    let names = vec![
        ("{toplink}", link),
        ("{img}", img),
        ("{top}", top),
        ("{base}", base),
        ("{box}", boxed),
    ];
    Some(Template { ground, mounts: true, counts: ["=5", "=2", "=2"], names })
}

const MAPS: &str = "--uidmap 0:100000:65536 --gidmap 0:100000:65536";
const COPIES: &str = "--storage-opt overlay.disable_idmap=true";

/// Loads the image of two layers; its id.
fn load(ground: &Ground) -> String {
    let layers = [
        tar::files(&[("etc/", b""), ("etc/motd", b"hello")]),
        tar::files(&[("opt/", b""), ("opt/top", b"top")]),
    ];
    let archive = docker_archive(ground, "web:1", &layers);
    ground.ok(&format!("load -q -i {archive}"));
    fs::remove_file(archive).unwrap();
    field(ground, "image localhost/web:1", "ID:")
}

/// A layer, an image and a container that have nothing to do with the others.
fn neighbours(ground: &Ground) {
    let solo = ground.file("solo.tar", &tar::files(&[("solo", b"alone")]));
    ground.ok(&format!("import-layer -i solo -f {solo}"));
    ground.ok("create-image -i other -n other:1 solo");
    ground.ok("create-container -i keep other");
}

fn top_of(ground: &Ground) -> String {
    field(ground, "image localhost/web:1", "Top Layer:")
}

/// What a command says of an object.
fn field(ground: &Ground, object: &str, field: &str) -> String {
    let text = ground.ok(object);
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap_or_else(|| panic!("{object}: no {field} in {text}")).trim().to_owned()
}
