//! Where the rules of a repository are read: a worktree, or the commit of a ref.

use std::path::{Path, PathBuf};

use super::record::Kind;
use crate::error::{Context as _, Error, Result};
use crate::files;
use crate::git::Repository;
use crate::ids::Oid;
use crate::role;
use crate::text;
use crate::triggers::load;

/// The largest file of a closure that is read, in bytes; a table has a limit of its own.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// The file for agents that prompts quote.
pub const INSTRUCTIONS: &str = "AGENTS.md";

/// What to do where the ref of `policy.from` is gone.
const GONE: &str = "bring the ref back (`git fetch`, `git branch`), or name another one under `policy.from`, and type \
                    `git orchestrator trust --revoke` before you accept that";

/// Where the rules are.
pub struct Rules<'a> {
    repository: &'a Repository,
    source: Source,
}

enum Source {
    /// The files below this directory.
    Place(PathBuf),
    /// The files of this ref's commit, or why there are none.
    Commit(Result<Oid, String>),
}

impl<'a> Rules<'a> {
    /// Those for what happens in `worktree` (by default, the one that was opened): the worktree's own, or the main
    /// worktree's where it has no table. With `from`, those of that ref wherever it happens.
    pub fn of(repository: &'a Repository, worktree: Option<&Path>, from: Option<&str>) -> Self {
        if let Some(name) = from {
            let commit = repository.pseudo_ref(name).ok_or_else(|| format!("there is no {}", text::one_line(name)));
            return Self { repository, source: Source::Commit(commit) };
        }
        let has_table = |top: &&Path| top.join(load::FILE_NAME).symlink_metadata().is_ok();
        let own = worktree.or(repository.worktree()).filter(has_table);
        let place = own.map_or_else(|| repository.home(), Path::to_path_buf);
        Self { repository, source: Source::Place(place) }
    }

    /// The names of the files that a repository may bring, with what they are. Where the ref that they are read from is
    /// gone, the table stands for all of them: one thing is missing, and it is said once.
    pub fn listed(&self) -> impl Iterator<Item = (Kind, PathBuf)> {
        let is_gone = matches!(self.source, Source::Commit(Err(_)));
        Self::names().filter(move |(kind, _)| !is_gone || *kind == Kind::Table)
    }

    fn names() -> impl Iterator<Item = (Kind, PathBuf)> {
        [(Kind::Table, PathBuf::from(load::FILE_NAME)), (Kind::Instructions, PathBuf::from(INSTRUCTIONS))]
            .into_iter()
            .chain(role::NAMES.iter().map(|role| (Kind::Skill, skill_of(role))))
    }

    /// The bytes of a file, and whether it may be executed; `None` where there is none.
    pub fn read(&self, kind: Kind, relative: &Path) -> Result<Option<Read>> {
        let max = if kind == Kind::Table { load::MAX_BYTES } else { FILE_BYTES_MAX };
        match &self.source {
            Source::Place(top) => {
                let Some(file) = files::open_beneath(top, relative)? else { return Ok(None) };
                let path = top.join(relative);
                let meta = file.metadata().context(|| format!("cannot read {}", path.display()))?;
                let bytes = files::read_open(file, &path, max)?;
                Ok(Some(Read { bytes, meta: Some(meta) }))
            }
            Source::Commit(Err(why)) => Err(Error::failed(why.clone()).hint(GONE)),
            Source::Commit(Ok(commit)) => {
                use std::os::unix::ffi::OsStrExt as _;
                let bytes = self.repository.blob_at(commit, relative.as_os_str().as_bytes(), max)?;
                Ok(bytes.map(|bytes| Read { bytes, meta: None }))
            }
        }
    }

    /// What the system says of a file, unopened; `None` where it says nothing (a commit's).
    pub fn look(&self, relative: &Path) -> Option<std::io::Result<std::fs::Metadata>> {
        match &self.source {
            Source::Place(top) => Some(top.join(relative).symlink_metadata()),
            Source::Commit(_) => None,
        }
    }

    /// The table's bytes.
    pub fn table(&self) -> Result<Option<Vec<u8>>> {
        Ok(self.read(Kind::Table, Path::new(load::FILE_NAME))?.map(|read| read.bytes))
    }
}

/// What was read of a file.
pub struct Read {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What the system said of it when it was opened; of a commit's file nothing.
    pub meta: Option<std::fs::Metadata>,
}

impl Read {
    /// Whether it may be executed. Nothing of what a commit holds is ever executed from there.
    pub fn is_executable(&self) -> bool {
        self.meta.as_ref().is_some_and(is_executable)
    }
}

/// Whether somebody may execute the file.
pub fn is_executable(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    meta.permissions().mode() & 0o111 != 0
}

/// Where a repository puts the instructions of a role in the place of ours.
pub fn skill_of(role: &str) -> PathBuf {
    Path::new("skills").join(role).join("SKILL.md")
}
