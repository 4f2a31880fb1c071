//! Identifiers of containers and of engine instances.

use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::{self, Digest};

const ID_LENGTH: usize = 64;
const SHORT_LENGTH: usize = 12;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid identifier {text:?}: {wanted} lowercase hexadecimal digits are wanted")]
pub struct IdError {
    /// What was given.
    pub text: String,
    /// How many digits it should have had.
    pub wanted: usize,
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A container's identity: 64 lowercase hexadecimal digits.
///
/// Executed processes and networks carry identifiers of the same form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

impl ContainerId {
    /// Draws a new identifier from the kernel's random numbers.
    ///
    /// The first 12 digits never form a decimal number, because they become the container's
    /// host name and some programs read such a name as an address.
    ///
    /// # Errors
    /// Only if the kernel refuses getrandom(2).
    pub fn random() -> io::Result<ContainerId> {
        loop {
            let mut bytes = [0u8; ID_LENGTH / 2];
            fill_random(&mut bytes)?;
            let text = digest::hex(&bytes);
            if text
                .bytes()
                .take(SHORT_LENGTH)
                .any(|b| b.is_ascii_alphabetic())
            {
                return Ok(ContainerId(text));
            }
        }
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, as lists and host names show them.
    pub fn short(&self) -> &str {
        &self.0[..SHORT_LENGTH]
    }
}

fn fill_random(mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::rand::getrandom(&mut *bytes, rustix::rand::GetRandomFlags::empty()) {
            Ok(filled) => bytes = &mut bytes[filled..],
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

impl FromStr for ContainerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for ContainerId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        if text.len() == ID_LENGTH && is_lower_hex(&text) {
            Ok(ContainerId(text))
        } else {
            Err(IdError {
                text,
                wanted: ID_LENGTH,
            })
        }
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> String {
        id.0
    }
}

impl AsRef<str> for ContainerId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContainerId({})", self.short())
    }
}

/// Tells the kernel objects of one engine from those of another on the same host: 8 lowercase
/// hexadecimal digits, derived from where the engine keeps its data.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId(String);

impl InstanceId {
    /// Number of digits.
    pub const LENGTH: usize = 8;

    /// The instance whose data lies at `data_root`, which the caller has made canonical: two
    /// spellings of one folder would be two instances.
    pub fn of_data_root(data_root: &Path) -> InstanceId {
        let mut text = Digest::sha256(data_root.as_os_str().as_bytes()).hex();
        text.truncate(Self::LENGTH);
        InstanceId(text)
    }

    /// The 8 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for InstanceId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        if text.len() == Self::LENGTH && is_lower_hex(&text) {
            Ok(InstanceId(text))
        } else {
            Err(IdError {
                text,
                wanted: Self::LENGTH,
            })
        }
    }
}

impl FromStr for InstanceId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::try_from(text.to_owned())
    }
}

impl From<InstanceId> for String {
    fn from(id: InstanceId) -> String {
        id.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_differ_and_parse_back() {
        let one = ContainerId::random().unwrap();
        let two = ContainerId::random().unwrap();
        assert_ne!(one, two);
        assert_eq!(one.as_str().parse::<ContainerId>().unwrap(), one);
        assert_eq!(one.short().len(), 12);
        assert!(one.short().bytes().any(|b| b.is_ascii_alphabetic()));
    }

    #[test]
    fn wrong_ids_are_refused() {
        for text in ["", "abc", &"A".repeat(64), &"g".repeat(64), &"a".repeat(65)] {
            assert!(text.parse::<ContainerId>().is_err(), "{text}");
        }
        let json = serde_json::from_str::<ContainerId>("\"xyz\"");
        assert!(json.unwrap_err().to_string().contains("invalid identifier"));
    }

    #[test]
    fn an_instance_is_the_hash_of_its_root() {
        let id = InstanceId::of_data_root(Path::new("/var/lib/wharf"));
        assert_eq!(id, InstanceId::of_data_root(Path::new("/var/lib/wharf")));
        assert_ne!(id, InstanceId::of_data_root(Path::new("/var/lib/wharf2")));
        assert_eq!(id.as_str().parse::<InstanceId>().unwrap(), id);
    }
}
