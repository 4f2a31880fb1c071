//! Platforms that images are made for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// More than three parts.
    #[error("{text:?}: cannot parse platform specifier: invalid argument")]
    Format {
        /// What was given.
        text: String,
    },
    /// A pattern in place of a name.
    #[error("{text:?}: wildcards not yet supported: invalid argument")]
    Wildcard {
        /// What was given.
        text: String,
    },
    /// The first part is no name of a system, with or without a version: `windows(10.0)`.
    #[error(
        "{part:?} is an invalid OS component of {text:?}: OSAndVersion specifier component must \
         match \"^([A-Za-z0-9_-]+)(?:\\\\(([A-Za-z0-9_.-]*)\\\\))?$\": invalid argument"
    )]
    System {
        /// The part.
        part: String,
        /// What was given.
        text: String,
    },
    /// Another part that is empty or has characters outside the rule.
    #[error(
        "{part:?} is an invalid component of {text:?}: platform specifier component must match \
         \"^[A-Za-z0-9_.-]+$\": invalid argument"
    )]
    Component {
        /// The part.
        part: String,
        /// What was given.
        text: String,
    },
    /// One word that is neither a known system nor a known architecture.
    #[error("{text:?}: unknown operating system or architecture: invalid argument")]
    Unknown {
        /// What was given.
        text: String,
    },
}

/// An operating system, a processor architecture and, where it matters, its variant, in the
/// names that images use (`linux`, `amd64`, `arm64`, `arm` with `v7`…).
///
/// Values made by [`Platform::new`] and by parsing are normalised: `x86_64` is `amd64`,
/// `aarch64` and `arm64/v8` are `arm64`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    /// A platform from its parts, normalised. An empty variant is no variant.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
        let os = match os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let (architecture, variant) = normalise(architecture, variant.unwrap_or(""));
        Platform {
            os,
            architecture,
            variant,
        }
    }

    /// The platform of this program.
    pub fn host() -> Platform {
        let architecture = match std::env::consts::ARCH {
            "x86" => "386",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            other => other,
        };
        Platform::new("linux", architecture, None)
    }

    /// Which of the levels of x86-64 the processor has (System V ABI for x86-64, 3.1.1), as Docker tells it of a host.
    pub fn host_level() -> Option<u8> {
        #[cfg(target_arch = "x86_64")]
        {
            macro_rules! all {
                ($($name:tt)*) => { $(std::arch::is_x86_feature_detected!($name))&&* };
            }
            let second = all!("cmpxchg16b" "popcnt" "sse3" "sse4.1" "sse4.2" "ssse3");
            let third = second && all!("avx" "avx2" "bmi1" "bmi2" "f16c" "fma" "lzcnt" "movbe");
            let fourth = third && all!("avx512f" "avx512bw" "avx512cd" "avx512dq" "avx512vl");
            Some(1 + u8::from(second) + u8::from(third) + u8::from(fourth))
        }
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// The operating system, for instance `linux`.
    pub fn os(&self) -> &str {
        &self.os
    }

    /// The architecture, for instance `amd64`.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// The variant, for instance `v7`; `None` for an architecture's usual one.
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// How well an image made for `offered` serves when `self` is wanted: 0 is exact, larger is
    /// worse, `None` does not run at all. 386 serves amd64, older arm serves newer arm and arm64.
    pub fn rank(&self, offered: &Platform) -> Option<usize> {
        self.preferences()
            .iter()
            .position(|wanted| wanted == offered)
    }

    /// Whether an image made for `offered` runs where `self` is wanted.
    pub fn matches(&self, offered: &Platform) -> bool {
        self.rank(offered).is_some()
    }

    /// What serves when `self` is wanted, best first. The first is `self`.
    pub fn preferences(&self) -> Vec<Platform> {
        let other = |architecture: &str, variant: Option<&str>| {
            Platform::new(&self.os, architecture, variant)
        };
        let mut list = vec![self.clone()];
        let level = self
            .variant
            .as_deref()
            .and_then(|v| v.strip_prefix('v')?.parse::<u8>().ok());
        match (self.architecture.as_str(), level) {
            ("amd64", level) => {
                let lower = (1..level.unwrap_or(1)).rev();
                list.extend(lower.map(|n| other("amd64", Some(&format!("v{n}")))));
                list.push(other("386", None));
            }
            ("arm64", level) => {
                // "v9" runs what the usual "v8" (written as none) runs, and arm's 32-bit code.
                if level.is_some() {
                    list.push(other("arm64", None));
                }
                list.extend((5..=8).rev().map(|n| other("arm", Some(&format!("v{n}")))));
            }
            ("arm", Some(level)) if level <= 8 => {
                list.extend(
                    (5..level)
                        .rev()
                        .map(|n| other("arm", Some(&format!("v{n}")))),
                );
            }
            _ => {}
        }
        list
    }
}

/// Maps other people's names for an architecture to the one that images use.
fn normalise(architecture: &str, variant: &str) -> (String, Option<String>) {
    let architecture = architecture.to_ascii_lowercase();
    let variant = variant.to_ascii_lowercase();
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386" | "i486" | "i586" | "i686", _) => ("386", String::new()),
        ("x86_64" | "x86-64" | "amd64", "" | "v1") => ("amd64", String::new()),
        ("x86_64" | "x86-64", _) => ("amd64", variant),
        ("aarch64" | "arm64", "" | "8" | "v8" | "v8.0") => ("arm64", String::new()),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9".to_owned()),
        ("aarch64", _) => ("arm64", variant),
        ("armhf", _) => ("arm", "v7".to_owned()),
        ("armel", _) => ("arm", "v6".to_owned()),
        ("arm", "" | "7") => ("arm", "v7".to_owned()),
        ("arm", "5" | "6" | "8") => ("arm", format!("v{variant}")),
        (other, _) => (other, variant),
    };
    (
        architecture.to_owned(),
        Some(variant).filter(|v| !v.is_empty()),
    )
}

fn of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// The system in `system` or `system(version)`. The version is of no use here: only Windows has some.
fn system(text: &str) -> Option<&str> {
    let (name, version) = match text.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')')?),
        None => (text, ""),
    };
    let is_name = !name.is_empty() && name.bytes().all(of_name);
    let is_version = version.bytes().all(|byte| byte == b'.' || of_name(byte));
    (is_name && is_version).then_some(name)
}

fn known_os(text: &str) -> bool {
    const SYSTEMS: [&str; 12] = [
        "linux",
        "windows",
        "darwin",
        "macos",
        "freebsd",
        "netbsd",
        "openbsd",
        "dragonfly",
        "solaris",
        "illumos",
        "aix",
        "wasip1",
    ];
    SYSTEMS.contains(&text)
}

fn known_architecture(text: &str) -> bool {
    const ARCHITECTURES: [&str; 15] = [
        "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
        "ppc64le", "riscv64", "s390x", "wasm", "sparc64",
    ];
    ARCHITECTURES.contains(&text)
}

impl FromStr for Platform {
    type Err = PlatformError;

    /// Reads `os/architecture[/variant]`, or one word, an architecture or a system, whose other
    /// half is the host's.
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        if text.contains('*') {
            return Err(PlatformError::Wildcard {
                text: text.to_owned(),
            });
        }
        let mut parts: Vec<&str> = text.splitn(4, '/').collect();
        let system = system(parts[0]).ok_or_else(|| PlatformError::System {
            part: parts[0].to_owned(),
            text: text.to_owned(),
        })?;
        for part in &parts[1..] {
            if part.is_empty() || !part.bytes().all(|byte| byte == b'.' || of_name(byte)) {
                return Err(PlatformError::Component {
                    part: (*part).to_owned(),
                    text: text.to_owned(),
                });
            }
        }
        // Architectures are told by the whole word.
        if parts.len() > 1 || known_os(&Platform::new(system, "", None).os) {
            parts[0] = system;
        }
        match parts[..] {
            [word] => {
                let host = Platform::host();
                let as_os = Platform::new(word, &host.architecture, host.variant.as_deref());
                let as_architecture = Platform::new(&host.os, word, None);
                if known_os(&as_os.os) {
                    Ok(as_os)
                } else if known_architecture(&as_architecture.architecture) {
                    Ok(as_architecture)
                } else {
                    Err(PlatformError::Unknown {
                        text: text.to_owned(),
                    })
                }
            }
            [os, architecture] => Ok(Platform::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Platform::new(os, architecture, Some(variant))),
            _ => Err(PlatformError::Format {
                text: text.to_owned(),
            }),
        }
    }
}

impl TryFrom<String> for Platform {
    type Error = PlatformError;

    fn try_from(text: String) -> Result<Self, PlatformError> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> String {
        platform.to_string()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn other_names_are_normalised() {
        for (given, wanted) in [
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AMD64/v1", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("arm64", "linux/arm64"),
            ("aarch64", "linux/arm64"),
            ("linux/riscv64", "linux/riscv64"),
        ] {
            assert_eq!(platform(given).to_string(), wanted);
        }
        assert_eq!(platform("linux"), Platform::host());
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "/",
            "linux/",
            "a/b/c/d",
            "linux/amd 64",
            "toaster",
            "x/y/z/w/v",
        ] {
            let told = text.parse::<Platform>().unwrap_err().to_string();
            assert!(told.ends_with(": invalid argument"), "{told}");
        }
    }

    #[test]
    fn nonsense_is_told_in_docker_s_words() {
        let told = |text: &str| text.parse::<Platform>().unwrap_err().to_string();
        assert_eq!(
            told("foo"),
            "\"foo\": unknown operating system or architecture: invalid argument"
        );
        assert_eq!(
            told("a b"),
            "\"a b\" is an invalid OS component of \"a b\": OSAndVersion specifier component must match \
             \"^([A-Za-z0-9_-]+)(?:\\\\(([A-Za-z0-9_.-]*)\\\\))?$\": invalid argument"
        );
        assert_eq!(
            told("linux/"),
            "\"\" is an invalid component of \"linux/\": platform specifier component must match \
             \"^[A-Za-z0-9_.-]+$\": invalid argument"
        );
        assert_eq!(
            told("linux/*"),
            "\"linux/*\": wildcards not yet supported: invalid argument"
        );
        assert_eq!(
            platform("windows(10.0.17763)/amd64"),
            platform("windows/amd64")
        );
        for text in ["li.nux/amd64", "windows(1/amd64", "windows(!)", "(1)"] {
            assert!(told(text).contains("is an invalid OS component of"));
        }
    }

    #[test]
    fn older_variants_serve_newer_machines_and_never_the_reverse() {
        let v7 = platform("linux/arm/v7");
        let v6 = platform("linux/arm/v6");
        assert_eq!(v7.rank(&v7), Some(0));
        assert_eq!(v7.rank(&v6), Some(1));
        assert_eq!(v6.rank(&v7), None);
        assert_eq!(
            platform("linux/amd64").rank(&platform("linux/386")),
            Some(1)
        );
        assert!(!platform("linux/386").matches(&platform("linux/amd64")));
        assert!(platform("linux/amd64/v3").matches(&platform("linux/amd64")));
        assert!(!platform("linux/amd64").matches(&platform("windows/amd64")));
        assert!(platform("linux/arm64").matches(&v7));
    }
}
