//! Where a repository's directories are: found as git finds them, or asked of git where libgit2 cannot open it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use git2::{Config, RepositoryOpenFlags};

use super::object::Format;
use super::{program, shown, workspace};
use crate::error::{Context as _, Error, Result};
use crate::files;
use crate::process::Environment;
use crate::text;

/// The longest path that git writes into a file.
const PATH_BYTES_MAX: u64 = 64 * 1024;

/// The name of a git directory that lies in its worktree.
const DOT_GIT: &str = ".git";

/// The variables by which git tells a hook where its repository is.
pub(super) struct Surroundings {
    pub(super) git_directory: Option<OsString>,
    pub(super) worktree: Option<OsString>,
    pub(super) ceilings: OsString,
}

/// Where everything is.
pub(super) struct Place {
    pub(super) git_directory: PathBuf,
    pub(super) common_directory: PathBuf,
    pub(super) worktree: Option<PathBuf>,
    pub(super) home: PathBuf,
    /// There is a main worktree, and nothing says where: `home` is the git directory instead.
    pub(super) is_untold: bool,
}

/// What tells where the worktree is.
struct Facts {
    git_directory: PathBuf,
    common_directory: PathBuf,
    /// The worktree at hand is none of the main one's.
    is_linked: bool,
    /// Of the main worktree: there is none.
    is_bare: bool,
    /// The main worktree, if the configuration or the place of the git directory says where it is.
    main: Option<PathBuf>,
    /// The worktree of this git directory, if it can be told without the environment.
    top: Option<PathBuf>,
    /// The configuration says where the worktree is.
    has_setting: bool,
}

/// Opens with libgit2.
pub(super) fn open(start: &Path, surroundings: &Surroundings) -> std::result::Result<git2::Repository, git2::Error> {
    match &surroundings.git_directory {
        Some(path) => open_git_directory(&start.join(path)),
        None => git2::Repository::open_ext(
            start,
            RepositoryOpenFlags::empty(),
            env::split_paths(&surroundings.ceilings).filter(|path| path.is_absolute()),
        ),
    }
}

fn open_git_directory(path: &Path) -> std::result::Result<git2::Repository, git2::Error> {
    git2::Repository::open_ext(path, RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::NO_DOTGIT, [] as [&Path; 0])
}

impl Place {
    /// Of a repository that libgit2 has opened.
    pub(super) fn of_library(inner: &git2::Repository, start: &Path, surroundings: &Surroundings) -> Result<Self> {
        let (git_directory, common_directory) = (plain(inner.path()), plain(inner.commondir()));
        let opened;
        let main = if inner.is_worktree() {
            opened = open_git_directory(&common_directory)
                .map_err(|error| super::explain_opening(&error, &common_directory))?;
            &opened
        } else {
            inner
        };
        let says_where = has_worktree_setting(main) || is_dot_git(&common_directory);
        // What libgit2 takes for the worktree of any other git directory is the directory above it.
        let top = inner.workdir().map(plain);
        let is_sure = |top: &PathBuf| inner.is_worktree() || says_where || leads_to(top, &git_directory);
        Self::of(
            Facts {
                is_linked: inner.is_worktree(),
                is_bare: main.is_bare(),
                main: main.workdir().filter(|_| says_where).map(plain),
                top: top.filter(is_sure),
                has_setting: has_worktree_setting(inner),
                git_directory,
                common_directory,
            },
            start,
            surroundings,
        )
    }

    /// Of a repository that only git can open, and the ids that it has. Git is asked for no more than its directory;
    /// the rest stands in files whose form never changes.
    pub(super) fn of_git(
        start: &Path,
        surroundings: &Surroundings,
        environment: &Environment,
    ) -> Result<(Self, Format)> {
        let mut environment = environment.clone();
        let ceilings = Some(surroundings.ceilings.clone()).filter(|ceilings| !ceilings.is_empty());
        let told = surroundings.git_directory.as_ref().map(|path| start.join(path).into_os_string());
        let worktree = surroundings.worktree.as_ref().map(|path| start.join(path).into_os_string());
        for (name, value) in [("GIT_DIR", told), ("GIT_WORK_TREE", worktree), ("GIT_CEILING_DIRECTORIES", ceilings)] {
            if let Some(value) = value {
                environment.insert(name.into(), value);
            }
        }
        let git_directory = program::git_directory(start, environment)
            .context(|| format!("cannot open the repository at {}", shown(start)))?;
        let common_directory = match files::read(&git_directory.join("commondir"), PATH_BYTES_MAX)? {
            Some(path) => canonical(&git_directory.join(OsStr::from_bytes(without_break(&path)))),
            None => git_directory.clone(),
        };
        let settings = Settings::read(&common_directory)?;
        let is_linked = git_directory != common_directory;
        let is_bare = settings.is_bare().unwrap_or_else(|| !is_dot_git(&common_directory));
        let setting = settings.path("core.worktree").map(|path| canonical(&common_directory.join(path)));
        let has_setting = setting.is_some();
        let beside = is_dot_git(&common_directory).then(|| common_directory.parent().map(Path::to_path_buf)).flatten();
        let main = setting.or(beside);
        let top = if is_linked {
            let link = files::read(&git_directory.join("gitdir"), PATH_BYTES_MAX)?.unwrap_or_default();
            let link = git_directory.join(OsStr::from_bytes(without_break(&link)));
            link.parent().map(canonical)
        } else if is_bare {
            None
        } else {
            main.clone().or_else(|| start.ancestors().find(|top| leads_to(top, &git_directory)).map(Path::to_path_buf))
        };
        let format = settings.format()?;
        let facts = Facts { git_directory, common_directory, is_linked, is_bare, main, top, has_setting };
        Ok((Self::of(facts, start, surroundings)?, format))
    }

    fn of(facts: Facts, start: &Path, surroundings: &Surroundings) -> Result<Self> {
        let has_none = facts.is_bare && !facts.is_linked;
        let worktree = match (&surroundings.worktree, &surroundings.git_directory) {
            (Some(worktree), _) => Some(start.join(worktree)),
            // Git's own rule: whoever names the git directory and no worktree stands at the top of it. But who stands in
            // the git directory itself is told so about a push that arrives (`GIT_DIR=.`), and the worktree is elsewhere.
            (None, Some(path)) if path != "." && !has_none && !facts.has_setting => Some(start.to_path_buf()),
            (None, _) => facts.top,
        };
        let told = if facts.is_bare {
            Some(facts.common_directory.clone())
        } else {
            facts.main.or(recorded_main(&facts.common_directory)?)
        };
        Ok(Self {
            worktree: worktree.map(|path| canonical(&path)),
            is_untold: told.is_none(),
            home: told.map_or_else(|| plain(&facts.common_directory), |home| plain(&home)),
            git_directory: facts.git_directory,
            common_directory: facts.common_directory,
        })
    }
}

/// The two files that git takes the repository's own shape from.
struct Settings {
    common: Config,
    worktree: Option<Config>,
}

impl Settings {
    fn read(common_directory: &Path) -> Result<Self> {
        let open = |name: &str| {
            let path = common_directory.join(name);
            Config::open(&path).context(|| format!("cannot read {}", shown(&path)))
        };
        let common = open("config")?;
        let has_own = common.get_bool("extensions.worktreeConfig").unwrap_or(false)
            && common_directory.join("config.worktree").is_file();
        Ok(Self { worktree: has_own.then(|| open("config.worktree")).transpose()?, common })
    }

    fn is_bare(&self) -> Option<bool> {
        let of = |config: &Config| config.get_bool("core.bare").ok();
        self.worktree.as_ref().and_then(of).or_else(|| of(&self.common))
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        let of = |config: &Config| config.get_entry(key).ok().map(|entry| entry.value_bytes().to_vec());
        let value = self.worktree.as_ref().and_then(of).or_else(|| of(&self.common));
        value.filter(|value| !value.is_empty()).map(|value| PathBuf::from(OsString::from_vec(value)))
    }

    fn format(&self) -> Result<Format> {
        match self.common.get_string("extensions.objectFormat").ok().as_deref() {
            None | Some("sha1") => Ok(Format::Sha1),
            Some("sha256") => Ok(Format::Sha256),
            Some(other) => {
                Err(Error::failed(format!("object ids of the form `{}` are not known", text::one_line(other))))
            }
        }
    }
}

/// How a partial clone gets what it lacks.
pub(super) const PARTIAL_HINT: &str =
    "`git backfill` (git 2.49), or `git fetch --refetch --no-filter`, gets what is missing";

/// Whether objects may be left with a remote: then one that is not here is no damage.
pub(super) fn is_partial(common_directory: &Path) -> bool {
    let Ok(settings) = Settings::read(common_directory) else { return false };
    let promisor = |name: &str| {
        settings.common.entries(Some(name)).is_ok_and(|mut entries| entries.next().is_some_and(|entry| entry.is_ok()))
    };
    promisor("^extensions\\.partialclone$") || promisor("^remote\\..*\\.promisor$")
}

/// Where the main worktree was when `install` saw it; git itself does not write it down for `--separate-git-dir`.
/// `None` unless it still is that one.
fn recorded_main(common_directory: &Path) -> Result<Option<PathBuf>> {
    let Some(path) = files::read(&record_of_main(common_directory), PATH_BYTES_MAX)? else { return Ok(None) };
    let top = PathBuf::from(OsString::from_vec(path));
    Ok(Some(top).filter(|top| top.is_absolute() && leads_to(top, common_directory)))
}

fn record_of_main(common_directory: &Path) -> PathBuf {
    workspace::directory(common_directory).join("main-worktree")
}

/// Writes down where the main worktree is.
pub(super) fn record_main(common_directory: &Path, top: &Path) -> Result<()> {
    workspace::create_own_directory(&workspace::directory(common_directory))?;
    files::write(&record_of_main(common_directory), top.as_os_str().as_bytes())
}

/// Takes that back.
pub(super) fn forget_main(common_directory: &Path) -> Result<()> {
    let path = record_of_main(common_directory);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::failed(format!("cannot remove {}", shown(&path))).because(error))
        }
        _ => {
            // Fails, rightly, if workspaces are there.
            fs::remove_dir(workspace::directory(common_directory)).ok();
            Ok(())
        }
    }
}

/// Whether the `.git` at this top is, or names, this git directory.
fn leads_to(top: &Path, git_directory: &Path) -> bool {
    let place = top.join(DOT_GIT);
    let target = if place.is_dir() { Some(place) } else { linked_directory(top) };
    target.is_some_and(|target| is_same(&target, git_directory))
}

/// The git directory that the file `.git` at this top names: of a linked worktree, a submodule, `--separate-git-dir`.
pub(super) fn linked_directory(top: &Path) -> Option<PathBuf> {
    let bytes = files::read(&top.join(DOT_GIT), PATH_BYTES_MAX).ok().flatten()?;
    let target = bytes.strip_prefix(b"gitdir: ")?;
    Some(top.join(OsStr::from_bytes(without_break(target))))
}

/// Whether both are there, and are one directory.
pub(super) fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Whether the configuration, and not the place of the git directory, says where the worktree is.
fn has_worktree_setting(repository: &git2::Repository) -> bool {
    repository.config().is_ok_and(|config| config.get_entry("core.worktree").is_ok())
}

fn is_dot_git(directory: &Path) -> bool {
    directory.file_name().is_some_and(|name| name == DOT_GIT)
}

/// A path in one of git's files, which git itself reads without the line breaks at its end, and with blanks there.
fn without_break(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |at| at + 1);
    bytes.get(..end).unwrap_or_default()
}

/// Links resolved, as far as it is there.
fn canonical(path: &Path) -> PathBuf {
    plain(&path.canonicalize().unwrap_or_else(|_| path.to_path_buf()))
}

/// Without the trailing slash that libgit2 puts behind a directory.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}
