//! The one module that talks to git: reads through libgit2, changes worktrees through the git program.
//!
//! It knows nothing of triggers or runs. Whatever it starts gets neutralised configuration (no hooks, no filters, no
//! fsmonitor, no pager) and no environment of a hook.

pub mod diff;
pub mod workspace;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::event::Actor;
use crate::ids::Oid;

/// A repository, opened once.
pub struct Repository {
    inner: git2::Repository,
}

/// What a commit says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: Oid,
    /// Its tree.
    pub tree: Oid,
    /// Its parents.
    pub parents: Vec<Oid>,
    /// Who wrote it. Untrusted.
    pub author: Actor,
    /// The message, lossily decoded and cut at 64 KiB. Untrusted.
    pub message: String,
}

/// Where HEAD points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The branch without `refs/heads/`; `None` if detached.
    pub branch: Option<String>,
    /// The commit; `None` if unborn.
    pub commit: Option<Oid>,
}

impl Repository {
    /// The repository that holds `start`, as git would find it (`GIT_DIR` included, when `use_environment`).
    pub fn discover(start: &Path, use_environment: bool) -> Result<Self> {
        let _ = (start, use_environment);
        Err(Error::failed("stub"))
    }

    /// The common git directory: shared by all worktrees.
    pub fn common_directory(&self) -> &Path {
        self.inner.commondir()
    }

    /// The git directory of this worktree.
    pub fn git_directory(&self) -> &Path {
        self.inner.path()
    }

    /// The top of this worktree; `None` in a bare repository.
    pub fn worktree(&self) -> Option<&Path> {
        self.inner.workdir()
    }

    /// The directory that holds `.orchestrator`: the top of the main worktree, or the git directory of a bare one.
    pub fn home(&self) -> PathBuf {
        PathBuf::new()
    }

    /// Where HEAD points.
    pub fn head(&self) -> Result<Head> {
        Err(Error::failed("stub"))
    }

    /// The commit that a person's `revision` names.
    pub fn resolve(&self, revision: &str) -> Result<Oid> {
        let _ = revision;
        Err(Error::failed("stub"))
    }

    /// What a commit says.
    pub fn commit(&self, id: &Oid) -> Result<Commit> {
        let _ = id;
        Err(Error::failed("stub"))
    }

    /// The bytes of the file at `path` in this commit, if it is a regular file of at most `max_bytes`.
    pub fn blob_at(&self, commit: &Oid, path: &[u8], max_bytes: u64) -> Result<Option<Vec<u8>>> {
        let _ = (commit, path, max_bytes);
        Err(Error::failed("stub"))
    }
}
