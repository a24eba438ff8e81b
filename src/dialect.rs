//! Whose layout an overlay home has.

use std::fmt;
use std::str::FromStr;

use crate::{Error, ErrorKind, Result};

/// The layout that the layers of an overlay home have on disk, which is that of the engine that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Dialect {
    /// That of podman, buildah, skopeo and CRI-O, from containers/storage 1.0 until today.
    #[default]
    Containers,
    /// Docker's `overlay2`, as of 20.10.
    Moby,
    /// That of containers/storage in 2016: whole trees that share their files by hard links.
    Legacy,
    /// That of `Containers`, or in a directory `overlay2` that of the docker-graphdriver plugin of CernVM-FS; each with thin layers, which
    /// stand for others that lie in repositories.
    Cvmfs,
}

impl Dialect {
    /// All that there are.
    pub const ALL: [Self; 4] = [Self::Containers, Self::Moby, Self::Legacy, Self::Cvmfs];

    /// Its name, as a user gives it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Containers => "containers",
            Self::Moby => "moby",
            Self::Legacy => "legacy",
            Self::Cvmfs => "cvmfs",
        }
    }

    /// What its driver is called, and the home's directory below the graph root.
    pub const fn driver_name(self) -> &'static str {
        match self {
            Self::Containers | Self::Legacy | Self::Cvmfs => "overlay",
            Self::Moby => "overlay2",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dialect {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|d| d.name()).collect();
            Error::new(ErrorKind::InvalidArgument, format!("choosing the dialect {text:?}"))
                .hint(format!("the dialects are {}", names.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for dialect in Dialect::ALL {
            assert_eq!(dialect.to_string().parse::<Dialect>().unwrap(), dialect);
        }
        let e = "overlay3".parse::<Dialect>().unwrap_err();
        assert!(e.to_string().contains("containers, moby, legacy, cvmfs"), "{e}");
    }
}
