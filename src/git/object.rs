//! Git's objects as both readers hand them over.

use std::fmt;

use crate::error::{Error, Result};
use crate::ids::Oid;

/// Which ids a repository's objects have (`extensions.objectFormat`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Sha1,
    Sha256,
}

impl Format {
    /// How many bytes an id takes in a tree.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// An object's id as trees hold it: small enough to be copied by the thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Id {
    Sha1([u8; 20]),
    Sha256([u8; 32]),
}

impl Id {
    /// From the bytes in a tree; `None` unless there are 20 or 32.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.len() {
            20 => bytes.try_into().ok().map(Self::Sha1),
            32 => bytes.try_into().ok().map(Self::Sha256),
            _ => None,
        }
    }

    /// From 40 or 64 hexadecimal digits.
    pub(super) fn from_hex(digits: &[u8]) -> Option<Self> {
        let nibble = |byte: &u8| char::from(*byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
        let pair = |pair: &[u8]| match pair {
            [high, low] => Some(nibble(high)? << 4 | nibble(low)?),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = digits.chunks(2).map(pair).collect();
        Self::from_bytes(&bytes?)
    }

    pub(super) fn of(id: &Oid) -> Result<Self> {
        Self::from_hex(id.as_str().as_bytes()).ok_or_else(|| Error::failed(format!("`{id}` is no object id")))
    }

    pub(super) fn format(self) -> Format {
        match self {
            Self::Sha1(_) => Format::Sha1,
            Self::Sha256(_) => Format::Sha256,
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Sha1(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
        }
    }

    /// As the rest of the program knows it. An error for the all-zero id, which names nothing.
    pub(super) fn oid(self) -> Result<Oid> {
        self.to_string().parse()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Commit,
    Tree,
    Blob,
    Tag,
}

/// An object's type and content.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) kind: Kind,
    pub(super) bytes: Vec<u8>,
}

/// What a walk through the history asks of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Links {
    /// When it was made, in seconds since 1970, as the committer's clock had it.
    pub(super) time: i64,
    pub(super) parents: Vec<Id>,
}

/// A ref that names an object. Symbolic refs are not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tip {
    /// The whole name.
    pub(super) name: Vec<u8>,
    pub(super) id: Id,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_both_lengths_are_read_and_written() {
        for digits in ["0123456789abcdef0123456789abcdef01234567".to_owned(), "fe".repeat(32)] {
            let id = Id::from_hex(digits.as_bytes()).unwrap();
            assert_eq!(id.to_string(), digits);
            assert_eq!(Id::from_bytes(id.as_bytes()), Some(id));
            assert_eq!(id.oid().unwrap().as_str(), digits);
            assert_eq!(Id::of(&id.oid().unwrap()).unwrap(), id);
        }
        for bad in ["", "12", &"0".repeat(39), &"0".repeat(41), &"g".repeat(40)] {
            assert_eq!(Id::from_hex(bad.as_bytes()), None, "{bad}");
        }
        assert!(Id::Sha256([0; 32]).oid().is_err());
    }
}
