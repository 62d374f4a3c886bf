//! Where things lie under `.orchestrator/` (DESIGN: on disk). Paths only; no I/O but creating the directories.

use std::path::{Path, PathBuf};

use crate::clock::Timestamp;
use crate::error::Result;
use crate::files;
use crate::ids::{Oid, RunId};

/// The directory's name.
pub const DIRECTORY: &str = ".orchestrator";

/// The paths of one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// `home` is the top of the main worktree; in a bare repository, the git directory.
    pub fn new(home: &Path) -> Self {
        Self { root: home.join(DIRECTORY) }
    }

    /// `.orchestrator`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory that holds `.orchestrator`: artifact paths are shown relative to it.
    pub fn home(&self) -> &Path {
        self.root.parent().unwrap_or(&self.root)
    }

    /// Whether `install` has been here.
    pub fn exists(&self) -> bool {
        self.root.is_dir()
    }

    /// What waits for a person.
    pub fn inbox(&self) -> PathBuf {
        self.root.join("INBOX.md")
    }

    /// The artifacts of one commit.
    pub fn artifacts(&self, commit: &Oid) -> PathBuf {
        self.root.join("artifacts").join(commit.short12())
    }

    /// The directory of one run.
    pub fn run(&self, run: RunId, created_at: Timestamp) -> PathBuf {
        self.root.join("runs").join(created_at.date()).join(run.to_string())
    }

    /// State that people have no business in.
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// What hooks wrote and nobody has taken in yet.
    pub fn spool(&self) -> PathBuf {
        self.state().join("spool")
    }

    /// The ledger.
    pub fn ledger(&self) -> PathBuf {
        self.state().join("ledger.db")
    }

    /// Held by the living worker.
    pub fn worker_lock(&self) -> PathBuf {
        self.state().join("worker.lock")
    }

    /// What the worker logs.
    pub fn worker_log(&self) -> PathBuf {
        self.state().join("worker.log")
    }

    /// Creates the directories a hook and a worker need, with the `.gitignore` that keeps them out of git's sight.
    pub fn create(&self) -> Result<()> {
        files::create_directories(&self.spool())?;
        let ignore = self.root.join(".gitignore");
        if !ignore.exists() {
            files::write(&ignore, b"# Written by git-orchestrator: nothing here is for git.\n*\n")?;
        }
        Ok(())
    }
}
