//! Which of the images of a multi-platform index is the wanted one.

use std::fmt;
use std::str::FromStr;

use crate::{Error, ErrorKind, Result};

/// An operating system, an architecture and perhaps its variant, in the words of the Go language (`linux/arm/v7`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`; empty for none.
    pub variant: String,
}

impl FromStr for Platform {
    type Err = Error;

    /// Reads `os/arch[/variant]`.
    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            [os, architecture] if !os.is_empty() && !architecture.is_empty() => Ok(Self {
                os: (*os).into(),
                architecture: (*architecture).into(),
                variant: String::new(),
            }),
            [os, architecture, variant] if parts.iter().all(|p| !p.is_empty()) => Ok(Self {
                os: (*os).into(),
                architecture: (*architecture).into(),
                variant: (*variant).into(),
            }),
            _ => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("reading the platform {text:?}"),
            )
            .hint("a platform reads os/architecture or os/architecture/variant, as linux/arm/v7")),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

/// The platforms that will do, best first: those asked for, or those of this machine.
///
/// A variant that was asked for (or found in `/proc/cpuinfo`) is followed by the lesser ones and by none; where none was asked
/// for, images without a variant come first, then all known ones from the most capable down, as in the Go image library.
pub(super) fn wanted(asked: Option<&Platform>) -> Vec<Platform> {
    let base = asked.cloned().unwrap_or_else(host);
    let known: &[&str] = match base.architecture.as_str() {
        "arm" => &["v8", "v7", "v6", "v5"],
        "arm64" => &["v8"],
        _ => &[],
    };
    let variants: Vec<&str> = if base.variant.is_empty() {
        std::iter::once("").chain(known.iter().copied()).collect()
    } else {
        let lesser: Vec<&str> = known.iter().copied().skip_while(|v| *v != base.variant).collect();
        let lesser = if lesser.is_empty() { vec![base.variant.as_str()] } else { lesser };
        lesser.into_iter().chain(std::iter::once("")).collect()
    };
    variants.into_iter().map(|v| Platform { variant: v.to_string(), ..base.clone() }).collect()
}

/// This machine's platform.
pub(super) fn host() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        "loongarch64" => "loong64",
        "mips64" if cfg!(target_endian = "little") => "mips64le",
        "mips" if cfg!(target_endian = "little") => "mipsle",
        other => other,
    };
    let variant = match architecture {
        "arm" | "arm64" => {
            std::fs::read_to_string("/proc/cpuinfo").map(|t| arm_variant(&t)).unwrap_or_default()
        }
        _ => String::new(),
    };
    Platform {
        os: std::env::consts::OS.to_string(),
        architecture: architecture.to_string(),
        variant,
    }
}

fn arm_variant(cpuinfo: &str) -> String {
    let field = |name: &str| {
        cpuinfo
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_ascii_lowercase())
            .unwrap_or_default()
    };
    match field("CPU architecture").as_str() {
        "8" | "aarch64" => "v8",
        // A Raspberry Pi Zero says 7 and is a 6.
        "7" if field("model name").starts_with("armv6-compatible") => "v6",
        "7" | "7m" | "?(12)" | "?(13)" | "?(14)" | "?(15)" | "?(16)" | "?(17)" => "v7",
        "6" | "6tej" => "v6",
        "5" | "5t" | "5te" | "5tej" => "v5",
        "4" | "4t" => "v4",
        "3" => "v3",
        _ => "",
    }
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(asked: &str) -> Vec<String> {
        wanted(Some(&asked.parse().unwrap())).iter().map(Platform::to_string).collect()
    }

    #[test]
    fn variants_fall_back() {
        assert_eq!(list("linux/amd64"), ["linux/amd64"]);
        assert_eq!(list("linux/arm/v6"), ["linux/arm/v6", "linux/arm/v5", "linux/arm"]);
        assert_eq!(
            list("linux/arm"),
            ["linux/arm", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]
        );
        assert_eq!(list("linux/arm64"), ["linux/arm64", "linux/arm64/v8"]);
        assert_eq!(list("linux/arm64/v8"), ["linux/arm64/v8", "linux/arm64"]);
        assert_eq!(list("linux/amd64/v3"), ["linux/amd64/v3", "linux/amd64"]);
        assert_eq!(wanted(None).first().unwrap().os, "linux");
    }

    #[test]
    fn platforms_are_read() {
        for bad in ["", "linux", "/amd64", "linux/", "linux/arm/", "a/b/c/d"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn arm_variants_come_from_cpuinfo() {
        assert_eq!(arm_variant("processor\t: 0\nCPU architecture: 8\n"), "v8");
        assert_eq!(
            arm_variant("model name\t: ARMv6-compatible processor rev 7\nCPU architecture: 7\n"),
            "v6"
        );
        assert_eq!(arm_variant("model name\t: ARMv7\nCPU architecture: 7\n"), "v7");
        assert_eq!(arm_variant(""), "");
    }
}
