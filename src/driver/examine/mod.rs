//! What this kernel, file system, user and configuration can do for a store, and what to change: [`examine`].
//!
//! Nothing is written into the store. What only an attempt can tell is taken from what earlier attempts have left in the run root, or
//! tried out in a directory that the caller names.

mod attempts;
mod disk;
mod kernel;
mod scratch;
mod settings;
#[cfg(test)]
mod tests;
mod user;

use std::path::{Path, PathBuf};

use super::Driver;
use super::overlay::Overlay;
use crate::Error;
use crate::config::StoreOptions;

/// The answer to the question that a [`Finding`] stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is so.
    Yes,
    /// It is not.
    No,
    /// It cannot be told without what this process may not do, or was not asked to do.
    Unknown,
}

impl Answer {
    /// `yes`, `no` or `unknown`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

impl From<bool> for Answer {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// The store as it is configured.
    Store,
    /// The running kernel.
    Kernel,
    /// The file system of the graph root.
    Disk,
    /// The user that runs this, and the programs there are.
    User,
    /// The configuration: settings that have a price.
    Settings,
}

impl Area {
    /// `store`, `kernel`, `disk`, `user` or `settings`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Kernel => "kernel",
            Self::Disk => "disk",
            Self::User => "user",
            Self::Settings => "settings",
        }
    }
}

/// One line of an examination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub area: Area,
    /// What was asked, in lower case with dashes; stays the same from version to version.
    pub name: &'static str,
    /// The answer.
    pub answer: Answer,
    /// What the answer rests on, or why it is no.
    pub why: String,
    /// What to change, where a change would make the store usable, faster or safer.
    pub change: Option<String>,
    /// Whether the store cannot be used if the answer is no.
    pub needed: bool,
}

impl Finding {
    /// A finding without advice that the store does not depend on.
    pub fn new(area: Area, name: &'static str, answer: Answer, why: impl Into<String>) -> Self {
        Self { area, name, answer, why: why.into(), change: None, needed: false }
    }

    /// Adds what to change.
    #[must_use]
    pub fn change(mut self, change: impl Into<String>) -> Self {
        self.change = Some(change.into());
        self
    }

    /// Adds what to change if the answer is not yes.
    #[must_use]
    fn unless_yes(self, change: &str) -> Self {
        if self.answer == Answer::Yes { self } else { self.change(change) }
    }

    /// Says that the store cannot be used without.
    #[must_use]
    fn needed(mut self) -> Self {
        self.needed = true;
        self
    }

    /// A failure as a finding: no, with the error's text and advice.
    pub fn refused(area: Area, name: &'static str, error: &Error) -> Self {
        let finding = Self::new(area, name, Answer::No, error.to_string());
        match error.advice() {
            Some(advice) => finding.change(advice),
            None => finding,
        }
    }
}

/// Whether the store that was examined can be used: nothing that is needed was answered with no.
///
/// ```
/// use orlop::driver::examine::{Answer, Area, Finding, is_usable};
/// let finding = Finding::new(Area::Kernel, "metacopy", Answer::No, "Linux 4.18");
/// assert!(is_usable(&[finding]));
/// ```
pub fn is_usable(findings: &[Finding]) -> bool {
    findings.iter().all(|f| !(f.needed && f.answer == Answer::No))
}

/// Examines what the store of `options` stands on. Nothing is written, unless there is a directory among `scratch` on the same file
/// system as the graph root: in a new directory below the first such one, features are tried out with mounts and files of their own,
/// which are gone afterwards.
///
/// Whatever goes wrong is a finding; there is a finding of each name that the driver knows, once, but for the names `image-store`
/// and `setting`, of which there is one for each store and each setting.
///
/// ```no_run
/// use orlop::config;
/// use orlop::driver::examine::{examine, is_usable};
/// # fn main() -> orlop::Result<()> {
/// let options = config::load_default()?.options;
/// let findings = examine(&options, &[]);
/// for finding in findings.iter().filter(|f| f.change.is_some()) {
///     println!("{}: {}", finding.name, finding.why);
/// }
/// assert!(is_usable(&findings));
/// # Ok(())
/// # }
/// ```
pub fn examine(options: &StoreOptions, scratch: &[PathBuf]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (driver, finding) = driver_of(options);
    findings.push(finding);
    findings.push(disk::reachable(&options.graph_root));
    let name = driver.as_ref().map_or_else(|| options.driver.clone(), |d| d.name().to_owned());
    let overlay = if name == "vfs" { None } else { overlay_of(options) };
    findings.extend(kernel::findings(overlay.as_ref()));
    findings.extend(attempts::findings(options, overlay.as_ref(), scratch));
    findings.extend(disk::findings(&options.graph_root, scratch));
    findings.extend(user::findings(options));
    findings.extend(settings::findings(options, &name, overlay.as_ref()));
    findings
}

/// The store's driver, and whether this host can serve it with the options as they are.
fn driver_of(options: &StoreOptions) -> (Option<Box<dyn Driver>>, Finding) {
    const DRIVER: &str = "driver";
    let driver = match super::of(options) {
        Ok(driver) => driver,
        Err(e) => return (None, Finding::refused(Area::Store, DRIVER, &e).needed()),
    };
    let finding = match driver.check() {
        Err(e) => Finding::refused(Area::Store, DRIVER, &e),
        Ok(()) if driver.name() == "vfs" => {
            let why = "vfs: each layer is a full copy of the one below it";
            Finding::new(Area::Store, DRIVER, Answer::Yes, why)
                .change("as root on Linux, driver = \"overlay\" in a new graph root shares the layers' files")
        }
        Ok(()) => Finding::new(Area::Store, DRIVER, Answer::Yes, driver.name()),
    };
    (Some(driver), finding.needed())
}

/// The overlay driver at the store's place, whether or not it can be used; `None` if its options cannot be read, which
/// [`driver_of`] tells.
fn overlay_of(options: &StoreOptions) -> Option<Overlay> {
    let name = if options.driver == "overlay2" { "overlay2" } else { "overlay" };
    let (graph, run) = (&options.graph_root, &options.run_root);
    let image_store = options.image_store.as_deref();
    Overlay::open(name, graph, run, image_store, &options.driver_options, options.dialect).ok()
}

/// `path`, or what of it is there.
fn nearest(path: &Path) -> &Path {
    path.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"))
}
