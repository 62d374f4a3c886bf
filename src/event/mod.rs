//! One thing git did, as one immutable value with a deterministic key.
//!
//! An event holds what the hook was told and what cannot be found out later (the worktree, who did it). What can be
//! computed from the object database at any time, such as the list of changed paths, is not stored: an event names
//! the two ends of the change. This module does no I/O; the `observe` module builds events from what the git module reports.

pub mod visit;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{Digest, Oid};

/// The version of the event's JSON form.
pub const SCHEMA: u32 = 1;

/// The hooks that are dispatched, and a person's own request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// A commit was made (also by cherry-pick, revert, and each pick of a rebase).
    PostCommit,
    /// A merge or a pull finished.
    PostMerge,
    /// An amend or a rebase replaced commits.
    PostRewrite,
    /// `git am` (or `rebase --apply`) applied a patch.
    PostApplypatch,
    /// Another commit was checked out (also by clone, `worktree add` and submodule update).
    PostCheckout,
    /// A merge without conflicts is about to be committed.
    PreMergeCommit,
    /// A push is about to happen.
    PrePush,
    /// A push arrived here, in the repository of the other side.
    PostReceive,
    /// No hook: a person typed `git orchestrator run`.
    Manual,
}

impl Hook {
    /// The hooks that `install` sets up, in the order they are listed.
    pub const INSTALLED: [Self; 8] = [
        Self::PostCommit,
        Self::PostMerge,
        Self::PostRewrite,
        Self::PostApplypatch,
        Self::PostCheckout,
        Self::PreMergeCommit,
        Self::PrePush,
        Self::PostReceive,
    ];

    /// Git's name for it; `manual` for a person's request.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PostCommit => "post-commit",
            Self::PostMerge => "post-merge",
            Self::PostRewrite => "post-rewrite",
            Self::PostApplypatch => "post-applypatch",
            Self::PostCheckout => "post-checkout",
            Self::PreMergeCommit => "pre-merge-commit",
            Self::PrePush => "pre-push",
            Self::PostReceive => "post-receive",
            Self::Manual => "manual",
        }
    }

    /// The installed hook of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::INSTALLED.into_iter().find(|hook| hook.as_str() == name)
    }
}

impl std::fmt::Display for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// One ref and where it moved. `None` is git's all-zero id: the ref did not exist, or is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefChange {
    /// The full name, `refs/heads/main`; on a push, the name on the other side. Bytes that are no UTF-8 are escaped.
    pub name: String,
    /// Where it was.
    pub old: Option<Oid>,
    /// Where it is now.
    pub new: Option<Oid>,
}

/// The two ends of what changed: the tree of `base` (nothing, for a root commit) against the tree of `head`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Change {
    /// The commit before; `None` stands for the empty tree.
    pub base: Option<Oid>,
    /// The commit after: what a run is about.
    pub head: Oid,
}

/// A commit that was replaced by another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewritten {
    /// The commit that went.
    pub old: Oid,
    /// The commit that came.
    pub new: Oid,
}

/// What only one kind of hook reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Detail {
    /// post-commit.
    Commit,
    /// post-merge; a squash leaves HEAD where it was.
    Merge {
        /// `git merge --squash`.
        squash: bool,
    },
    /// post-rewrite.
    Rewrite {
        /// `amend` or `rebase`.
        command: String,
        /// Every pair git reported.
        rewritten: Vec<Rewritten>,
    },
    /// post-applypatch.
    Patch,
    /// post-checkout; `HEAD` is what moved.
    Checkout,
    /// pre-merge-commit: what is merged is no part of the branch yet, and the merge has no commit yet.
    Merging {
        /// Where HEAD is: the first parent of the merge that is being made.
        into: Oid,
        /// What the person called the commits that are merged, in the order of the event's refs. Untrusted.
        names: Vec<String>,
    },
    /// pre-push: the part of it that one ref is.
    Push {
        /// The remote's name, or its URL where none was configured.
        remote: String,
        /// The URL, without credentials.
        url: String,
    },
    /// post-receive: the part of it that one ref is.
    Receive,
    /// A person's request, with a number that makes it one of its kind.
    Manual {
        /// Tells two requests for the same commit apart.
        request: String,
    },
}

/// Who did it, as the commit names them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The name.
    pub name: String,
    /// The e-mail address.
    pub email: String,
}

impl Actor {
    /// `Name <email>`, which is what `author` conditions are matched against.
    pub fn line(&self) -> String {
        format!("{} <{}>", self.name, self.email)
    }
}

/// One thing git did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The version of this form.
    pub schema: u32,
    /// What makes it this event: the same thing reported twice has the same key.
    pub key: Digest,
    /// The hook that reported it.
    pub hook: Hook,
    /// What that hook said.
    pub detail: Detail,
    /// The refs that moved. Of a push: the one that this event is about, and tags pushed along that name the same commit.
    pub refs: Vec<RefChange>,
    /// The branch checked out in the worktree (or pushed), without `refs/heads/`; `None` on a detached HEAD.
    pub branch: Option<String>,
    /// What changed; `None` where nothing did (a deleted ref, a squash that is not committed, a push of nothing).
    pub change: Option<Change>,
    /// The tree of `change.head`.
    pub tree: Option<Oid>,
    /// The message of `change.head`, cut at 64 KiB. Untrusted.
    pub message: String,
    /// The author of `change.head`. Untrusted.
    pub author: Actor,
    /// The top of the worktree the hook ran in (the git directory, in a bare repository).
    #[serde(with = "path_text")]
    pub worktree: PathBuf,
    /// When the hook ran.
    pub at: Timestamp,
}

impl Event {
    /// The commit a run of this event is about.
    pub fn commit(&self) -> Option<&Oid> {
        self.change.as_ref().map(|change| &change.head)
    }

    /// The first line of the message.
    pub fn subject(&self) -> &str {
        self.message.lines().next().unwrap_or("").trim()
    }

    /// The key of an event: a digest of everything that makes it this one, and of nothing that differs between two
    /// reports of it (time, environment). The worktree is part of it, since two worktrees can do the same thing.
    pub fn key_of(hook: Hook, detail: &Detail, refs: &[RefChange], change: Option<&Change>, place: &[u8]) -> Digest {
        let detail = serde_json::to_vec(detail).unwrap_or_default();
        let refs = serde_json::to_vec(refs).unwrap_or_default();
        let change = serde_json::to_vec(&change).unwrap_or_default();
        Digest::of_parts([b"event 1".as_slice(), hook.as_str().as_bytes(), &detail, &refs, &change, place])
    }
}

/// Paths as JSON strings; a path that is no UTF-8 is written in hexadecimal behind a marker, so that it comes back byte
/// for byte.
pub mod path_text {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    /// No path begins with this: a NUL cannot stand in one.
    const MARK: &str = "\0hex:";

    /// Writes the path.
    pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        use std::fmt::Write as _;
        if let Some(text) = path.to_str() {
            return serializer.serialize_str(text);
        }
        let mut out = String::from(MARK);
        for byte in path.as_os_str().as_bytes() {
            write!(out, "{byte:02x}").map_err(serde::ser::Error::custom)?;
        }
        serializer.serialize_str(&out)
    }

    /// Reads it back.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        let text = String::deserialize(deserializer)?;
        let Some(hex) = text.strip_prefix(MARK) else { return Ok(PathBuf::from(text)) };
        let digits = hex.as_bytes();
        if digits.len() % 2 != 0 || !digits.is_ascii() {
            return Err(D::Error::custom("a path in hexadecimal has an even number of digits"));
        }
        let bytes: Result<Vec<u8>, _> =
            hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(&String::from_utf8_lossy(pair), 16)).collect();
        Ok(PathBuf::from(OsString::from_vec(bytes.map_err(D::Error::custom)?)))
    }
}
