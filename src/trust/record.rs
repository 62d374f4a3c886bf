//! What was accepted, as it is written down.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::event::path_text;
use crate::ids::{Digest, Oid};

/// The version of the record's form.
pub const SCHEMA: u32 = 1;

/// What a part of the closure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `triggers.yaml`.
    Table,
    /// A file for agents that is quoted in every prompt.
    Instructions,
    /// The instructions of a role, in the place of ours.
    Skill,
    /// A file that git runs as a hook and that calls us.
    Shim,
    /// A program that runs start.
    Tool,
}

impl Kind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Instructions => "instructions",
            Self::Skill => "skill",
            Self::Shim => "hook",
            Self::Tool => "program",
        }
    }

    /// Whether a copy of it is kept. A program has hundreds of megabytes, and its text tells nobody anything.
    pub fn is_kept(self) -> bool {
        self != Self::Tool
    }
}

/// One file of the closure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What it is.
    pub kind: Kind,
    /// Where: relative to the top for what the repository brings, else absolute.
    #[serde(with = "path_text")]
    pub path: PathBuf,
    /// Whether it may be executed.
    pub is_executable: bool,
    /// Of its bytes.
    pub digest: Digest,
    /// The version of a program, as what lies around it says: for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How the file was when it was read; `None` where a later write might look the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

impl Part {
    /// The mode as git has it.
    pub fn mode(&self) -> &'static str {
        mode(self.is_executable)
    }
}

/// The mode as git has it.
pub fn mode(is_executable: bool) -> &'static str {
    if is_executable { "100755" } else { "100644" }
}

/// What the system says of a file without opening it. As long as it says the same, nobody has written to it: the time of
/// the last change is the kernel's and cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    inode: u64,
    bytes: u64,
    mode: u32,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// How long before now a file has to have been left alone for [`Seen`] to tell a later write apart, in milliseconds. Clocks
/// of file systems tick every ten milliseconds, some every two seconds.
const SETTLED_MILLIS: i64 = 3_000;

impl Seen {
    /// Of a file.
    pub fn of(meta: &std::fs::Metadata) -> Self {
        Self {
            inode: meta.ino(),
            bytes: meta.size(),
            mode: meta.mode(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// The same, if a write from `now` on cannot look the same.
    pub fn settled(meta: &std::fs::Metadata, now: Timestamp) -> Option<Self> {
        let now = i64::try_from(now.millis()).ok()?;
        let millis = |(seconds, nanos): (i64, i64)| seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000);
        let seen = Self::of(meta);
        (millis(seen.changed).saturating_add(SETTLED_MILLIS) < now).then_some(seen)
    }
}

/// What a person accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// [`SCHEMA`].
    pub schema: u32,
    /// When.
    pub at: Timestamp,
    /// The repository's common git directory, links resolved.
    #[serde(with = "path_text")]
    pub common_directory: PathBuf,
    /// The first commit of its history, where it had one.
    pub root: Option<Oid>,
    /// The ref whose commit the rules are taken from, in the place of the worktree (`policy.from`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The closure, by kind and path.
    pub parts: Vec<Part>,
}

impl Accepted {
    /// The part at this path.
    pub fn part(&self, kind: Kind, path: &Path) -> Option<&Part> {
        self.parts.iter().find(|part| part.kind == kind && part.path == path)
    }

    /// The parts of this kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(move |part| part.kind == kind)
    }

    /// Of the whole closure.
    pub fn digest(&self) -> Digest {
        digest(self.from.as_deref(), &self.parts)
    }
}

/// One digest over the ordered manifest.
pub fn digest(from: Option<&str>, parts: &[Part]) -> Digest {
    use std::os::unix::ffi::OsStrExt as _;
    let head: [&[u8]; 2] = [b"git-orchestrator closure 1", from.unwrap_or_default().as_bytes()];
    let lines = parts.iter().flat_map(|part| {
        let kind: [&[u8]; 4] = [
            part.kind.as_str().as_bytes(),
            part.path.as_os_str().as_bytes(),
            part.mode().as_bytes(),
            part.digest.as_str().as_bytes(),
        ];
        kind
    });
    Digest::of_parts(head.into_iter().chain(lines))
}
