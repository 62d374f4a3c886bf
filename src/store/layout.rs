//! Where things lie under `.orchestrator/` (DESIGN: on disk). Paths only; no I/O but creating the directories.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::files;
use crate::ids::{Oid, RunId};

/// The directory's name.
pub const DIRECTORY: &str = ".orchestrator";

/// The file's name that lists what waits for a person.
pub const INBOX: &str = "INBOX.md";

/// `.orchestrator/.gitignore` where nothing is tracked.
const IGNORE_ALL: &[u8] = b"# Written by git-orchestrator: nothing here is for git.\n*\n";

/// And where `artifacts.track` is set.
const IGNORE_BUT_ARTIFACTS: &[u8] =
    b"# Written by git-orchestrator: of what lies here, only the artifacts are for git.\n*\n!/.gitignore\n!/artifacts/\n!/artifacts/**\n";

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
        self.root.join(INBOX)
    }

    /// The artifacts of one commit.
    pub fn artifacts(&self, commit: &Oid) -> PathBuf {
        self.all_artifacts().join(commit.short12())
    }

    /// The artifacts of all commits.
    pub fn all_artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    /// The directories of all runs, by day.
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// The directory of one run.
    pub fn run(&self, run: RunId, created_at: Timestamp) -> PathBuf {
        self.runs().join(created_at.date()).join(run.to_string())
    }

    /// State that people have no business in.
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// What hooks wrote and nobody has taken in yet.
    pub fn spool(&self) -> PathBuf {
        self.state().join("spool")
    }

    /// Events that wait for a person to accept the rules.
    pub fn held(&self) -> PathBuf {
        self.state().join("held")
    }

    /// What runs did to the repository, by its ids.
    pub fn deeds(&self) -> PathBuf {
        self.state().join("deeds")
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

    /// Reads a file of ours, given by one of the paths above; no link on the way is followed. `None` if it is not there.
    pub fn read(&self, path: &Path, max_bytes: u64) -> Result<Option<Vec<u8>>> {
        let below = path.strip_prefix(&self.root).map_err(|error| {
            Error::failed(format!("{} does not lie in {}", path.display(), self.root.display())).because(error)
        })?;
        files::read_beneath(&self.root, below, max_bytes)
    }

    /// Creates the directories a hook and a worker need, with the `.gitignore` that keeps them out of git's sight.
    pub fn create(&self) -> Result<()> {
        self.refuse_links()?;
        files::create_directories(&self.spool())?;
        if !self.ignore_file().exists() {
            files::write(&self.ignore_file(), IGNORE_ALL)?;
        }
        Ok(())
    }

    /// Refuses a link where one of our directories is to be. A commit can bring one along, since git takes what it
    /// ignores for expendable; writing or removing through it would reach anywhere.
    pub fn refuse_links(&self) -> Result<()> {
        for directory in [
            self.root.clone(),
            self.state(),
            self.spool(),
            self.held(),
            self.deeds(),
            self.runs(),
            self.all_artifacts(),
        ] {
            match std::fs::symlink_metadata(&directory) {
                Ok(meta) if meta.is_symlink() => {
                    return Err(Error::refused(format!("{} is a link, not a directory of ours", directory.display()))
                        .hint("see where it comes from (`git log -- .orchestrator`) and remove it"));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(Error::failed(format!("cannot look at {}", directory.display())).because(error));
                }
            }
        }
        Ok(())
    }

    /// Refuses state that a commit brought along: a ledger, an event or a record that git tracks was not written by us.
    /// `tracked` are the names that HEAD's tree holds under `.orchestrator`.
    pub fn refuse_tracked(&self, tracked: &[String]) -> Result<()> {
        match tracked.iter().find(|name| !matches!(name.as_str(), "artifacts" | ".gitignore")) {
            None => Ok(()),
            Some(name) => {
                let name = crate::text::one_line(name);
                Err(Error::refused(format!("a commit brought {DIRECTORY}/{name} along: it is not taken for ours"))
                    .hint(format!("`git rm -r --cached {DIRECTORY}` and commit; then remove what it left there")))
            }
        }
    }

    /// Lets git see the artifacts, or not (`artifacts.track`). A `.gitignore` that a person changed is left alone.
    pub fn track_artifacts(&self, track: bool) -> Result<()> {
        let wanted = if track { IGNORE_BUT_ARTIFACTS } else { IGNORE_ALL };
        let current = files::read(&self.ignore_file(), 64 << 10)?;
        let is_ours = current.as_deref().is_none_or(|bytes| bytes == IGNORE_ALL || bytes == IGNORE_BUT_ARTIFACTS);
        if is_ours && current.as_deref() != Some(wanted) {
            files::write(&self.ignore_file(), wanted)?;
        }
        Ok(())
    }

    fn ignore_file(&self) -> PathBuf {
        self.root.join(".gitignore")
    }
}
