//! The one module that talks to git: reads through libgit2, changes worktrees through the git program.
//!
//! It knows nothing of triggers or runs. Whatever it starts gets neutralised configuration (no hooks, no filters, no
//! fsmonitor, no pager) and no environment of a hook. Objects are read as they were written: replacement refs and
//! attributes of a working tree have no say in what a commit holds.

pub mod diff;
pub mod history;
pub mod person;
mod tracked;
pub mod workspace;
mod neutral;
mod program;
mod tree;

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use git2::{ErrorCode, RepositoryOpenFlags};

use crate::error::{Context as _, Error, Result};
use crate::event::Actor;
use crate::files;
use crate::ids::Oid;
use crate::text;

/// How much of a commit message is kept.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// How many branches a hook looks at to find one.
pub const BRANCHES_MAX: usize = 1_000;

/// A repository, opened once.
pub struct Repository {
    inner: git2::Repository,
    git_directory: PathBuf,
    common_directory: PathBuf,
    worktree: Option<PathBuf>,
    home: PathBuf,
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

/// The variables by which git tells a hook where its repository is.
struct Surroundings {
    git_directory: Option<OsString>,
    worktree: Option<OsString>,
    ceilings: OsString,
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
        let opened = match &surroundings.git_directory {
            Some(path) => {
                let flags = RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::NO_DOTGIT;
                git2::Repository::open_ext(start.join(path), flags, [] as [&Path; 0])
            }
            None => git2::Repository::open_ext(
                &start,
                RepositoryOpenFlags::empty(),
                env::split_paths(&surroundings.ceilings).filter(|path| path.is_absolute()),
            ),
        };
        let inner = opened.map_err(|error| explain_opening(&error, &start))?;
        let home = home_of(&inner)?;
        let worktree = match (&surroundings.worktree, &surroundings.git_directory) {
            (Some(worktree), _) => Some(start.join(worktree)),
            // Git's own rule: whoever names the git directory and no worktree stands at the top of it. But who stands in
            // the git directory itself is told so about a push that arrives (`GIT_DIR=.`), and the worktree is elsewhere.
            (None, Some(path)) if path != "." && !inner.is_bare() && !has_worktree_setting(&inner) => Some(start),
            (None, _) => inner.workdir().map(Path::to_path_buf),
        };
        let worktree = worktree.map(|path| path.canonicalize().unwrap_or(path)).map(|path| plain(&path));
        Ok(Self {
            git_directory: plain(inner.path()),
            common_directory: plain(inner.commondir()),
            worktree,
            home,
            inner,
        })
    }

    /// The common git directory: shared by all worktrees.
    pub fn common_directory(&self) -> &Path {
        &self.common_directory
    }

    /// The git directory of this worktree.
    pub fn git_directory(&self) -> &Path {
        &self.git_directory
    }

    /// The top of this worktree; `None` in a bare repository.
    pub fn worktree(&self) -> Option<&Path> {
        self.worktree.as_deref()
    }

    /// The top of this worktree; the git directory, in a bare repository.
    pub fn place(&self) -> &Path {
        self.worktree().unwrap_or(&self.git_directory)
    }

    /// The directory that holds `.orchestrator`: the top of the main worktree, or the git directory where there is none
    /// (a bare repository) or where its worktree cannot be told from every linked one (`--separate-git-dir`).
    pub fn home(&self) -> PathBuf {
        self.home.clone()
    }

    /// Whether history was cut off by `--depth`.
    pub fn is_shallow(&self) -> bool {
        self.inner.is_shallow()
    }

    /// Where HEAD points.
    pub fn head(&self) -> Result<Head> {
        let failed = || "cannot read HEAD".to_owned();
        let head = self.inner.find_reference("HEAD").context(failed)?;
        let branch = head.symbolic_target_bytes().map(|name| {
            let short = name.strip_prefix(b"refs/heads/".as_slice()).unwrap_or(name);
            text::bytes_line(short)
        });
        let commit = match head.resolve() {
            Ok(reference) => Some(from_git(reference.peel_to_commit().context(failed)?.id())?),
            Err(error) if error.code() == ErrorCode::NotFound => None,
            Err(error) => return Err(Error::failed(failed()).because(error)),
        };
        Ok(Head { branch, commit })
    }

    /// The commit that a person's `revision` names.
    pub fn resolve(&self, revision: &str) -> Result<Oid> {
        let name = text::one_line(text::prefix_bytes(revision, 200));
        let object = self.inner.revparse_single(revision).map_err(|error| {
            if error.code() == ErrorCode::NotFound {
                Error::not_found(format!("there is no revision `{name}`"))
                    .hint("`git log --oneline --all` lists what there is")
            } else if error.code() == ErrorCode::Ambiguous {
                Error::usage(format!("`{name}` may mean more than one object")).hint("type more of its digits")
            } else {
                Error::usage(format!("`{name}` is no revision")).because(error)
            }
        })?;
        let commit = object
            .peel_to_commit()
            .map_err(|error| Error::usage(format!("`{name}` does not name a commit")).because(error))?;
        from_git(commit.id())
    }

    /// What a commit says.
    pub fn commit(&self, id: &Oid) -> Result<Commit> {
        let commit = self.find_commit(id)?;
        let author = commit.author();
        let message = commit.message_raw_bytes();
        // Cut before decoding: a replaced byte takes three.
        let cut = &message[..message.len().min(MESSAGE_BYTES_MAX)];
        let message = String::from_utf8_lossy(cut);
        Ok(Commit {
            id: id.clone(),
            tree: from_git(commit.tree_id())?,
            parents: commit.parent_ids().map(from_git).collect::<Result<_>>()?,
            author: Actor {
                name: String::from_utf8_lossy(author.name_bytes()).into_owned(),
                email: String::from_utf8_lossy(author.email_bytes()).into_owned(),
            },
            message: text::prefix_bytes(&message, MESSAGE_BYTES_MAX).to_owned(),
        })
    }

    /// The bytes of the file at `path` in this commit, if it is a regular file of at most `max_bytes`.
    pub fn blob_at(&self, commit: &Oid, path: &[u8], max_bytes: u64) -> Result<Option<Vec<u8>>> {
        let failed = || format!("cannot read `{}` of {}", text::bytes_line(path), commit.short());
        let mut tree = self.find_commit(commit)?.tree().context(failed)?;
        let mut names = path.split(|byte| *byte == b'/').peekable();
        while let Some(name) = names.next() {
            let Some(entry) = tree.iter().find(|entry| entry.name_bytes() == name).map(|entry| entry.to_owned()) else {
                return Ok(None);
            };
            if names.peek().is_some() {
                if entry.kind() != Some(git2::ObjectType::Tree) {
                    return Ok(None);
                }
                tree = self.inner.find_tree(entry.id()).context(failed)?;
                continue;
            }
            if !tree::is_regular_file(entry.filemode_raw()) {
                return Ok(None);
            }
            let (size, kind) = self.inner.odb().context(failed)?.read_header(entry.id()).context(failed)?;
            if kind != git2::ObjectType::Blob || size as u64 > max_bytes {
                return Ok(None);
            }
            return Ok(Some(self.inner.find_blob(entry.id()).context(failed)?.content().to_vec()));
        }
        Ok(None)
    }

    /// Whether the object database holds this commit. An annotated tag is no commit.
    pub fn has_commit(&self, id: &Oid) -> bool {
        to_git(id).is_ok_and(|id| self.inner.find_commit(id).is_ok())
    }

    /// The commit an object stands for: itself, or what a tag names. `None` for a tag of a tree or blob, or an object
    /// that is not here.
    pub fn commit_of(&self, id: &Oid) -> Option<Oid> {
        let object = self.inner.find_object(to_git(id).ok()?, None).ok()?;
        from_git(object.peel_to_commit().ok()?.id()).ok()
    }

    /// The first parent; `None` for a root commit, and for one at the edge of a shallow clone.
    pub fn first_parent(&self, id: &Oid) -> Result<Option<Oid>> {
        self.find_commit(id)?.parent_ids().next().map(from_git).transpose()
    }

    /// The best common ancestor of `one` and any of `others`, themselves included. `None` where there is none, or where
    /// it is not found among [`history::COMMITS_MAX`] commits: a hook must not read a whole history.
    pub fn common_ancestor(&self, one: &Oid, others: &[Oid]) -> Option<Oid> {
        history::common_ancestor(&self.inner, one, others).ok().flatten()
    }

    /// Whether `old` is `new` or one of its ancestors; `None` where that is not found out in time.
    pub fn is_ancestor(&self, old: &Oid, new: &Oid) -> Option<bool> {
        let base = history::common_ancestor(&self.inner, new, std::slice::from_ref(old)).ok()?;
        Some(base.as_ref() == Some(old))
    }

    /// What the remote-tracking branches of `remote` name, as far as it is here; at most [`BRANCHES_MAX`].
    pub fn tracking_branches(&self, remote: &str) -> Vec<Oid> {
        // A name with glob characters is none that git gives a remote; a URL has no tracking branches.
        if remote.is_empty() || remote.contains(['*', '?', '[', '\\', '\0', ':']) {
            return Vec::new();
        }
        let Ok(references) = self.inner.references_glob(&format!("refs/remotes/{remote}/*")) else { return Vec::new() };
        let commit = |reference: git2::Reference<'_>| from_git(reference.peel_to_commit().ok()?.id()).ok();
        references.flatten().take(BRANCHES_MAX).filter_map(commit).collect()
    }

    /// The branches, without `refs/heads/`, and where they stand; at most [`BRANCHES_MAX`].
    pub fn branches(&self) -> Vec<(String, Oid)> {
        let Ok(references) = self.inner.references_glob("refs/heads/*") else { return Vec::new() };
        let branch = |reference: git2::Reference<'_>| {
            let name = text::bytes_line(reference.name_bytes().strip_prefix(b"refs/heads/")?);
            Some((name, from_git(reference.target()?).ok()?))
        };
        references.flatten().take(BRANCHES_MAX).filter_map(branch).collect()
    }

    /// The branches that stand at this commit, without `refs/heads/`; looks at [`BRANCHES_MAX`].
    pub fn branches_at(&self, commit: &Oid) -> Vec<String> {
        self.branches().into_iter().filter(|(_, tip)| tip == commit).map(|(name, _)| name).collect()
    }

    /// What the reflog says moved HEAD last, such as `checkout: moving from main to topic`. `None` where there is no
    /// reflog in a file.
    pub fn last_move_of_head(&self) -> Option<String> {
        use std::io::{Read as _, Seek as _, SeekFrom};
        // An entry is as long as a branch's name or a subject line; the file grows for ever.
        const TAIL_BYTES: u64 = 4096;
        let mut file = files::open(&self.git_directory.join("logs/HEAD")).ok()??;
        let end = file.seek(SeekFrom::End(0)).ok()?;
        file.seek(SeekFrom::Start(end.saturating_sub(TAIL_BYTES))).ok()?;
        let mut tail = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut tail).ok()?;
        let entry = tail.trim_ascii_end().rsplit(|byte| *byte == b'\n').next()?;
        let at = entry.iter().position(|byte| *byte == b'\t')?;
        Some(text::bytes_line(entry.get(at + 1..)?))
    }

    /// The commit in a pseudo-ref of this worktree, such as `ORIG_HEAD`.
    pub fn pseudo_ref(&self, name: &str) -> Option<Oid> {
        from_git(self.inner.find_reference(name).ok()?.peel_to_commit().ok()?.id()).ok()
    }

    fn find_commit(&self, id: &Oid) -> Result<git2::Commit<'_>> {
        self.inner.find_commit(to_git(id)?).map_err(|error| {
            if error.code() != ErrorCode::NotFound {
                Error::failed(format!("cannot read commit {}", id.short())).because(error)
            } else if self.is_shallow() {
                Error::not_found(format!("commit {} is not here: this is a shallow clone", id.short()))
                    .hint("`git fetch --unshallow` gets the rest of the history")
            } else {
                Error::not_found(format!("there is no commit {} here", id.short()))
            }
        })
    }
}

/// The directory that all worktrees of this repository agree on.
fn home_of(repository: &git2::Repository) -> Result<PathBuf> {
    let common = repository.commondir();
    let main;
    let main_repository = if repository.is_worktree() {
        main = git2::Repository::open_ext(
            common,
            RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::NO_DOTGIT,
            [] as [&Path; 0],
        )
        .map_err(|error| explain_opening(&error, common))?;
        &main
    } else {
        repository
    };
    if main_repository.is_bare() {
        return Ok(plain(common));
    }
    if has_worktree_setting(main_repository) || common.file_name().is_some_and(|name| name == ".git") {
        return Ok(plain(main_repository.workdir().unwrap_or(common)));
    }
    Ok(plain(common))
}

/// Whether the configuration, and not the place of the git directory, says where the worktree is.
fn has_worktree_setting(repository: &git2::Repository) -> bool {
    repository.config().is_ok_and(|config| config.get_entry("core.worktree").is_ok())
}

/// Without the trailing slash that libgit2 puts behind a directory.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
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
            .hint(format!("if you trust it: git config --global --add safe.directory {place}"));
    }
    let lower = said.to_ascii_lowercase();
    if lower.contains("sha256") || lower.contains("object format") || lower.contains("objectformat") {
        return Error::failed(format!(
            "the repository at {place} uses SHA-256 object ids, which are not supported yet"
        ));
    }
    if lower.contains("refstorage") || lower.contains("reftable") {
        return Error::failed(format!(
            "the repository at {place} keeps its refs as reftable, which is not supported yet"
        ))
        .hint("`git refs migrate --ref-format=files` turns them into files");
    }
    if lower.contains("partialclone") {
        return Error::failed(format!("the repository at {place} is a partial clone, which is not supported yet"))
            .hint("clone it without `--filter`");
    }
    Error::failed(format!("cannot open the repository at {place}: {}", text::one_line(said)))
}

/// Our id as libgit2's.
fn to_git(id: &Oid) -> Result<git2::Oid> {
    git2::Oid::from_str(id.as_str())
        .map_err(|error| Error::failed(format!("`{id}` is no object id of this repository")).because(error))
}

/// Libgit2's id as ours.
fn from_git(id: git2::Oid) -> Result<Oid> {
    id.to_string().parse()
}
