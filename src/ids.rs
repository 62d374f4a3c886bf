//! The names things have: object ids, run ids, digests. Parsed once at the border, so that behind it a name is known to
//! be harmless in a path, an argument vector or a terminal.

use std::fmt;
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// A git object id: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits, never all zero.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Oid(String);

impl Oid {
    /// Parses an id. `Ok(None)` for the all-zero id, by which git says "nothing".
    pub fn parse(text: &str) -> Result<Option<Self>> {
        let hex = matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit());
        if !hex {
            return Err(Error::failed(format!("`{}` is not a git object id", crate::text::one_line(text))));
        }
        if text.bytes().all(|b| b == b'0') {
            return Ok(None);
        }
        Ok(Some(Self(text.to_ascii_lowercase())))
    }

    /// All digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first seven digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..7]
    }

    /// The first twelve digits: the name of an artifact directory (DESIGN: on disk).
    pub fn short12(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Oid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)?.ok_or_else(|| Error::failed("the all-zero id names no object"))
    }
}

impl<'de> Deserialize<'de> for Oid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A SHA-256 in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex(&Sha256::digest(bytes)))
    }

    /// The digest of everything that `reader` gives, and how many bytes that is.
    pub fn of_reader(mut reader: impl io::Read) -> io::Result<(Self, u64)> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 256 << 10];
        let mut bytes = 0;
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok((Self(hex(&hasher.finalize())), bytes)),
                Ok(read) => {
                    hasher.update(buffer.get(..read).unwrap_or_default());
                    bytes += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The digest of these parts, each preceded by its length so that no two lists of parts collide.
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        Self(hex(&hasher.finalize()))
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        write!(out, "{byte:02x}").ok();
        out
    })
}

/// A run's id: a UUID of version 7, so that ids sort by time and run directories list in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(uuid::Uuid);

impl RunId {
    /// A fresh id.
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7())
    }

    /// The last eight digits: random, so that they tell runs of one minute apart. What people see and type.
    pub fn short(&self) -> String {
        let text = self.0.simple().to_string();
        text[text.len() - 8..].to_owned()
    }

    /// Whether a person who typed `text` may mean this run: a prefix or a suffix of the id, with or without hyphens.
    pub fn answers_to(&self, text: &str) -> bool {
        let plain = self.0.simple().to_string();
        let typed: String = text.chars().filter(|c| *c != '-').flat_map(char::to_lowercase).collect();
        typed.len() >= 4 && (plain.starts_with(&typed) || plain.ends_with(&typed))
    }
}

impl Default for RunId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for RunId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        uuid::Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| Error::usage(format!("`{}` is not a run id", crate::text::one_line(text))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_ids_are_hexadecimal_of_the_right_length() {
        assert!(Oid::parse(&"0".repeat(40)).unwrap().is_none());
        assert!(Oid::parse(&"a".repeat(64)).unwrap().is_some());
        for bad in ["", "abc", "HEAD", &"g".repeat(40), &"a".repeat(41)] {
            assert!(Oid::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_run_answers_to_its_short_name_and_to_prefixes() {
        let id = RunId::new();
        assert!(id.answers_to(&id.short()));
        assert!(id.answers_to(&id.to_string()));
        assert!(id.answers_to(&id.to_string()[..10]));
        assert!(!id.answers_to("zz"));
        assert!(!id.answers_to(""));
    }
}
