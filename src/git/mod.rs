//! The one module that talks to git: reads through libgit2, and through the git program what libgit2 cannot; changes
//! worktrees through the git program.
//!
//! It knows nothing of triggers or runs. Whatever it starts gets neutralised configuration (no hooks, no filters, no
//! fsmonitor, no pager) and no environment of a hook. Objects are read as they were written: replacement refs and
//! attributes of a working tree have no say in what a commit holds.

mod cat_file;
pub mod diff;
pub mod history;
mod library;
mod logins;
mod neutral;
mod object;
pub mod person;
mod place;
mod plumbing;
mod program;
mod range;
pub mod readable;
mod reader;
pub mod reflog;
mod renames;
pub mod sequence;
#[cfg(test)]
mod tests;
mod tracked;
mod tree;
pub mod workspace;

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use git2::ErrorCode;

use self::library::Library;
use self::object::{Id, Kind};
use self::place::{Place, Surroundings};
use self::plumbing::Plumbing;
pub use self::program::{Program, Setting, init_bare, template_setting};
use self::reader::Reader;

use crate::error::{Context as _, Error, Result};
use crate::event::Actor;
use crate::ids::Oid;
use crate::process;
use crate::text;

/// How much of a commit message is kept.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// How many branches a hook looks at to find one.
pub const BRANCHES_MAX: usize = 1_000;

/// A repository, opened once.
pub struct Repository {
    reader: Box<dyn Reader>,
    place: Place,
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

/// Sets libgit2 up for a process that reads each object once and ends: objects are not kept, and their ids are not
/// computed again, as git does not when it reads (a damaged object still fails its checksum). Holds for the process.
pub fn read_once() {
    git2::opts::enable_caching(false);
    git2::opts::strict_hash_verification(false);
}

impl Repository {
    /// The repository that holds `start`, as git would find it (`GIT_DIR` included, when `use_environment`).
    pub fn discover(start: &Path, use_environment: bool) -> Result<Self> {
        let variable = |name: &str| env::var_os(name).filter(|value| use_environment && !value.is_empty());
        Self::find(
            start,
            &Surroundings {
                git_directory: variable("GIT_DIR"),
                worktree: variable("GIT_WORK_TREE"),
                ceilings: variable("GIT_CEILING_DIRECTORIES").unwrap_or_default(),
            },
        )
    }

    /// The repository whose hook ran in `directory` with these values of `GIT_DIR` and `GIT_WORK_TREE`.
    pub fn of_hook(directory: &Path, git_directory: Option<OsString>, worktree: Option<OsString>) -> Result<Self> {
        Self::find(directory, &Surroundings { git_directory, worktree, ceilings: OsString::new() })
    }

    fn find(start: &Path, surroundings: &Surroundings) -> Result<Self> {
        let start = std::path::absolute(start).context(|| format!("cannot use the path `{}`", shown(start)))?;
        match place::open(&start, surroundings) {
            Ok(inner) => {
                Ok(Self { place: Place::of_library(&inner, &start, surroundings)?, reader: Box::new(Library(inner)) })
            }
            Err(error) if matches!(error.code(), ErrorCode::NotFound | ErrorCode::Owner) => {
                Err(explain_opening(&error, &start))
            }
            // SHA-256 ids, reftable, an extension that libgit2 does not know: git is the judge.
            Err(_) => Self::find_with_git(&start, surroundings),
        }
    }

    /// The same, read by the git program.
    fn find_with_git(start: &Path, surroundings: &Surroundings) -> Result<Self> {
        let environment = process::clean_environment();
        let (place, format) = Place::of_git(start, surroundings, &environment)?;
        let reader = Plumbing::new(&place.git_directory, &place.common_directory, format, environment)?;
        Ok(Self { reader: Box::new(reader), place })
    }

    /// The common git directory: shared by all worktrees.
    pub fn common_directory(&self) -> &Path {
        &self.place.common_directory
    }

    /// The git directory of this worktree.
    pub fn git_directory(&self) -> &Path {
        &self.place.git_directory
    }

    /// The top of this worktree; `None` in a bare repository.
    pub fn worktree(&self) -> Option<&Path> {
        self.place.worktree.as_deref()
    }

    /// The top of this worktree; the git directory, in a bare repository.
    pub fn place(&self) -> &Path {
        self.worktree().unwrap_or(self.git_directory())
    }

    /// The directory that holds `.orchestrator`: the top of the main worktree, or the git directory where there is none
    /// (a bare repository) or where nothing tells which it is (see [`Repository::is_home_untold`]).
    pub fn home(&self) -> PathBuf {
        self.place.home.clone()
    }

    /// Whether there is a main worktree, and neither git nor [`Repository::settle_home`] has written down where: git
    /// does not for `--separate-git-dir`.
    pub fn is_home_untold(&self) -> bool {
        self.place.is_untold
    }

    /// Takes this worktree for the main one, where git does not say and this is it. Returns whether it did. What already
    /// lies in the git directory stays the home.
    pub fn assume_home(&mut self) -> bool {
        let Some(top) = self.place.worktree.clone().filter(|_| self.place.is_untold) else { return false };
        let is_main = self.place.git_directory == self.place.common_directory;
        if !is_main || self.place.home.join(".orchestrator").symlink_metadata().is_ok() {
            return false;
        }
        (self.place.home, self.place.is_untold) = (top, false);
        true
    }

    /// Does the same and writes it down, so that every linked worktree finds the same home.
    pub fn settle_home(&mut self) -> Result<bool> {
        let settled = self.assume_home();
        if settled {
            place::record_main(&self.place.common_directory, &self.place.home)?;
        }
        Ok(settled)
    }

    /// Takes back what [`Repository::settle_home`] did.
    pub fn unsettle_home(&mut self) -> Result<()> {
        place::forget_main(&self.place.common_directory)?;
        (self.place.home, self.place.is_untold) = (self.place.common_directory.clone(), true);
        Ok(())
    }

    /// Whether history was cut off by `--depth`.
    pub fn is_shallow(&self) -> bool {
        self.reader.is_shallow()
    }

    /// Where HEAD points.
    pub fn head(&self) -> Result<Head> {
        self.reader.head()
    }

    /// The commit that a person's `revision` names.
    pub fn resolve(&self, revision: &str) -> Result<Oid> {
        self.reader.resolve(revision, &text::one_line(text::prefix_bytes(revision, 200)))
    }

    /// What a commit says.
    pub fn commit(&self, id: &Oid) -> Result<Commit> {
        if let Some(commit) = self.reader.commit(self.id(id)?)? {
            return Ok(commit);
        }
        if self.is_shallow() {
            return Err(Error::not_found(format!("commit {} is not here: this is a shallow clone", id.short()))
                .hint("`git fetch --unshallow` gets the rest of the history"));
        }
        Err(Error::not_found(format!("there is no commit {} here", id.short())))
    }

    /// The bytes of the file at `path` in this commit, if it is a regular file of at most `max_bytes`.
    pub fn blob_at(&self, commit: &Oid, path: &[u8], max_bytes: u64) -> Result<Option<Vec<u8>>> {
        let failed = || format!("cannot read `{}` of {}", text::bytes_line(path), commit.short());
        let mut tree = Id::of(&self.commit(commit)?.tree)?;
        let mut names = path.split(|byte| *byte == b'/').peekable();
        while let Some(name) = names.next() {
            let bytes = self.tree(tree).context(failed)?;
            let Some(side) = tree::find(&bytes, self.reader.format(), name).context(failed)? else { return Ok(None) };
            if names.peek().is_some() {
                if !tree::is_tree(side.mode) {
                    return Ok(None);
                }
                tree = side.id;
                continue;
            }
            if !tree::is_regular_file(side.mode) {
                return Ok(None);
            }
            let id = side.id;
            let header = self.reader.header(id).context(failed)?;
            let (kind, bytes) = header.ok_or_else(|| self.missing(id)).context(failed)?;
            if kind != Kind::Blob || bytes > max_bytes {
                return Ok(None);
            }
            let object = self.reader.object(id).context(failed)?;
            return Ok(Some(object.ok_or_else(|| self.missing(id)).context(failed)?.bytes));
        }
        Ok(None)
    }

    /// Whether the object database holds this commit. An annotated tag is no commit.
    pub fn has_commit(&self, id: &Oid) -> bool {
        self.id(id).is_ok_and(|id| self.reader.links(id).is_some())
    }

    /// The commit an object stands for: itself, or what a tag names. `None` for a tag of a tree or blob, or an object
    /// that is not here.
    pub fn commit_of(&self, id: &Oid) -> Option<Oid> {
        self.reader.peeled(self.id(id).ok()?)?.oid().ok()
    }

    /// The first parent; `None` for a root commit, and for one at the edge of a shallow clone.
    pub fn first_parent(&self, id: &Oid) -> Result<Option<Oid>> {
        Ok(self.commit(id)?.parents.into_iter().next())
    }

    /// The first commit of HEAD's history, by first parents; `None` where there is none, or where it is not found among
    /// [`history::FIRST_PARENTS_MAX`] commits. Not for a hook.
    pub fn root_commit(&self) -> Option<Oid> {
        let mut id = self.id(&self.head().ok()?.commit?).ok()?;
        for _ in 0..history::FIRST_PARENTS_MAX {
            match self.reader.links(id)?.parents.into_iter().next() {
                Some(parent) => id = parent,
                None => return id.oid().ok(),
            }
        }
        None
    }

    /// The best common ancestor of `one` and any of `others`, themselves included. `None` where there is none, or where
    /// it is not found among [`history::COMMITS_MAX`] commits: a hook must not read a whole history.
    pub fn common_ancestor(&self, one: &Oid, others: &[Oid]) -> Option<Oid> {
        history::common_ancestor(self, one, others).ok().flatten()
    }

    /// Whether `old` is `new` or one of its ancestors; `None` where that is not found out in time.
    pub fn is_ancestor(&self, old: &Oid, new: &Oid) -> Option<bool> {
        let base = history::common_ancestor(self, new, std::slice::from_ref(old)).ok()?;
        Some(base.as_ref() == Some(old))
    }

    /// What the remote-tracking branches of `remote` name, as far as it is here; at most [`BRANCHES_MAX`].
    pub fn tracking_branches(&self, remote: &str) -> Vec<Oid> {
        // A name with glob characters is none that git gives a remote; a URL has no tracking branches.
        if remote.is_empty() || remote.contains(['*', '?', '[', '\\', '\0', ':']) {
            return Vec::new();
        }
        let tips = self.reader.tips(&format!("refs/remotes/{remote}/"), BRANCHES_MAX);
        tips.into_iter().filter_map(|tip| self.reader.peeled(tip.id)?.oid().ok()).collect()
    }

    /// The branches, without `refs/heads/`, and where they stand; at most [`BRANCHES_MAX`].
    pub fn branches(&self) -> Vec<(String, Oid)> {
        let branch =
            |tip: object::Tip| Some((text::bytes_line(tip.name.strip_prefix(b"refs/heads/")?), tip.id.oid().ok()?));
        self.reader.tips("refs/heads/", BRANCHES_MAX).into_iter().filter_map(branch).collect()
    }

    /// The branches that stand at this commit, without `refs/heads/`; looks at [`BRANCHES_MAX`].
    pub fn branches_at(&self, commit: &Oid) -> Vec<String> {
        self.branches().into_iter().filter(|(_, tip)| tip == commit).map(|(name, _)| name).collect()
    }

    /// The commit in a pseudo-ref of this worktree, such as `ORIG_HEAD`.
    pub fn pseudo_ref(&self, name: &str) -> Option<Oid> {
        self.reader.pseudo_ref(name)
    }

    /// The id as this repository's trees hold it.
    fn id(&self, id: &Oid) -> Result<Id> {
        let own = Some(Id::of(id)?).filter(|id| id.format() == self.reader.format());
        own.ok_or_else(|| Error::failed(format!("`{id}` is no object id of this repository")))
    }

    /// The bytes of a tree.
    fn tree(&self, id: Id) -> Result<Vec<u8>> {
        let object = self.reader.object(id)?.ok_or_else(|| self.missing(id))?;
        if object.kind != Kind::Tree {
            return Err(Error::failed(format!("the object {id} is not a tree")));
        }
        Ok(object.bytes)
    }

    /// What to say of an object that a commit needs and that is not here.
    fn missing(&self, id: Id) -> Error {
        let id = id.to_string();
        let id = text::prefix_bytes(&id, 7);
        if place::is_partial(self.common_directory()) {
            return Error::not_found(format!("the object {id} is not here: a partial clone leaves it with its remote"))
                .hint(place::PARTIAL_HINT);
        }
        Error::failed(format!("the object {id} is not here")).hint("`git fsck` says what else is missing")
    }
}

fn no_revision(shown: &str) -> Error {
    Error::not_found(format!("there is no revision `{shown}`")).hint("`git log --oneline --all` lists what there is")
}

fn ambiguous_revision(shown: &str) -> Error {
    Error::usage(format!("`{shown}` may mean more than one object")).hint("type more of its digits")
}

fn names_no_commit(shown: &str) -> Error {
    Error::usage(format!("`{shown}` does not name a commit"))
}

/// A path as one line of text.
pub(crate) fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    text::bytes_line(path.as_os_str().as_bytes())
}

/// Why a repository cannot be opened, in a sentence.
fn explain_opening(error: &git2::Error, start: &Path) -> Error {
    let place = shown(start);
    let said = error.message();
    if error.code() == ErrorCode::NotFound {
        return Error::not_found(format!("{place} is not in a git repository"))
            .hint("go into one, or make one with `git init`");
    }
    if error.code() == ErrorCode::Owner {
        return Error::refused(format!("the repository at {place} belongs to another user"))
            .hint(format!("if you trust it: git config --global --add safe.directory {}", text::shell_word(&place)));
    }
    Error::failed(format!("cannot open the repository at {place}: {}", text::one_line(said)))
}
