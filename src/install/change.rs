//! Changes to the disk: planned as values, shown as a diff or carried out, each undone when a later one fails.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use similar::TextDiff;

use super::FILE_BYTES_MAX;
use super::survey::{beside, look};
use crate::error::{Context as _, Error, Result};
use crate::files;
use crate::git::shown;
use crate::store::layout::{DIRECTORY, Layout};
use crate::text;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `.orchestrator` with what belongs into it.
    OwnDirectory(Layout),
    /// A directory that is not there.
    MakeDirectory(PathBuf),
    /// A file: new where `old` is `None`, else in the place of exactly these bytes.
    Write {
        /// Which.
        path: PathBuf,
        /// What it holds now.
        old: Option<Vec<u8>>,
        /// What it will hold.
        new: Vec<u8>,
        /// Its permissions.
        mode: u32,
    },
    /// The same for a file of git's configuration, under git's lock.
    Configure {
        /// Which.
        path: PathBuf,
        /// What it holds now.
        old: Option<Vec<u8>>,
        /// What it will hold; it is removed where that is nothing.
        new: Vec<u8>,
    },
    /// Another name; what stands there is replaced, so that the name is never without a hook.
    Rename {
        /// The name it has.
        from: PathBuf,
        /// The name it gets.
        to: PathBuf,
    },
    /// A symbolic link.
    Link {
        /// Where.
        path: PathBuf,
        /// To what.
        target: PathBuf,
    },
    /// A file or link goes.
    Remove(PathBuf),
    /// A directory goes, if it is empty by then.
    RemoveDirectory(PathBuf),
}

/// What the name of a file begins with that is being written: one that is found when nobody is writing was left by a
/// process that was killed.
const HALF_WRITTEN: &str = ".git-orchestrator.new-";

type Undo = Box<dyn FnOnce() -> io::Result<()>>;

/// Carries all of them out, in order. If one fails, those before it are taken back, newest first.
pub fn apply(changes: &[Change]) -> Result<()> {
    let mut undo: Vec<(PathBuf, Undo)> = Vec::new();
    for change in changes {
        if let Err(mut error) = change.apply(&mut undo) {
            for (path, undo) in undo.into_iter().rev() {
                match undo() {
                    Err(failure) if failure.kind() != io::ErrorKind::NotFound => {
                        error = error.hint(format!("{} could not be taken back: {failure}", shown(&path)));
                    }
                    _ => {}
                }
            }
            return Err(error);
        }
    }
    Ok(())
}

/// What an install or uninstall that was killed left half written in these directories, to be removed. Those that do not
/// exist hold nothing.
pub(super) fn left_behind<'a>(directories: impl IntoIterator<Item = &'a Path>) -> Result<Vec<Change>> {
    let mut out = Vec::new();
    for directory in directories {
        let failed = || format!("cannot read {}", shown(directory));
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
            Err(error) => return Err(Error::failed(failed()).because(error)),
        };
        for entry in entries {
            let entry = entry.context(failed)?;
            let name = entry.file_name();
            let begins = |with: &str| name.as_bytes().starts_with(with.as_bytes());
            // Ours alone writes into `.orchestrator`.
            let is_ours = begins(HALF_WRITTEN) || directory.ends_with(DIRECTORY) && begins(files::HALF_WRITTEN);
            let change = Change::Remove(entry.path());
            if is_ours && entry.file_type().context(failed)?.is_file() && !out.contains(&change) {
                out.push(change);
            }
        }
    }
    Ok(out)
}

impl Change {
    fn apply(&self, undo: &mut Vec<(PathBuf, Undo)>) -> Result<()> {
        let mut on_undo = |path: &Path, run: Undo| undo.push((path.to_path_buf(), run));
        match self {
            Self::OwnDirectory(layout) => {
                let root = layout.root().to_path_buf();
                if look(&root)?.is_none() {
                    on_undo(&root.clone(), Box::new(move || fs::remove_dir_all(root)));
                }
                layout.create()
            }
            Self::MakeDirectory(path) => {
                fs::create_dir(path).context(|| format!("cannot create {}", shown(path)))?;
                let path = path.clone();
                on_undo(&path.clone(), Box::new(move || fs::remove_dir(path)));
                Ok(())
            }
            Self::Write { path, old, new, mode } => {
                let failed = || format!("cannot write {}", shown(path));
                let before = kept(path)?;
                if before.as_ref().and_then(Kept::bytes) != old.as_deref() || before.is_some() != old.is_some() {
                    return Err(changed_meanwhile(path));
                }
                let file = written(path, new, *mode).context(failed)?;
                let persisted = if old.is_some() { file.persist(path) } else { file.persist_noclobber(path) };
                persisted.map_err(|error| error.error).context(failed)?;
                let path = path.clone();
                on_undo(&path.clone(), Box::new(move || put_back(&path, before)));
                sync(self.path())
            }
            Self::Configure { path, old, new } => {
                let before = configure(path, old.as_deref(), new)?;
                let path = path.clone();
                on_undo(&path.clone(), Box::new(move || put_back(&path, before)));
                sync(self.path())
            }
            Self::Rename { from, to } => {
                let replaced = kept(to)?;
                fs::rename(from, to).context(|| format!("cannot rename {} to {}", shown(from), shown(to)))?;
                let (from, to) = (from.clone(), to.clone());
                on_undo(
                    &to.clone(),
                    Box::new(move || {
                        fs::rename(&to, from)?;
                        put_back(&to, replaced)
                    }),
                );
                sync(self.path())
            }
            Self::Link { path, target } => {
                symlink(target, path).context(|| format!("cannot link {}", shown(path)))?;
                let path = path.clone();
                on_undo(&path.clone(), Box::new(move || fs::remove_file(path)));
                Ok(())
            }
            Self::Remove(path) => {
                let before = kept(path)?;
                match fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(Error::failed(format!("cannot remove {}", shown(path))).because(error));
                    }
                    _ => {}
                }
                let path = path.clone();
                on_undo(&path.clone(), Box::new(move || put_back(&path, before)));
                sync(self.path())
            }
            Self::RemoveDirectory(path) => {
                // Fails, rightly, if somebody put something there.
                if fs::remove_dir(path).is_ok() {
                    let path = path.clone();
                    on_undo(&path.clone(), Box::new(move || fs::create_dir(path)));
                }
                Ok(())
            }
        }
    }

    /// What it is about.
    fn path(&self) -> &Path {
        match self {
            Self::OwnDirectory(layout) => layout.root(),
            Self::MakeDirectory(path)
            | Self::Write { path, .. }
            | Self::Configure { path, .. }
            | Self::Link { path, .. }
            | Self::Remove(path)
            | Self::RemoveDirectory(path) => path,
            Self::Rename { to, .. } => to,
        }
    }

    /// The change as `git diff` would show it, paths relative to `home` where they lie in it. Escaped.
    pub fn diff(&self, home: &Path) -> String {
        let name = |path: &Path| {
            let path = path.strip_prefix(home).unwrap_or(path);
            if path.as_os_str().is_empty() { ".".to_owned() } else { shown(path) }
        };
        match self {
            Self::OwnDirectory(layout) if layout.exists() => String::new(),
            Self::OwnDirectory(layout) => format!("new directory {}\n", name(layout.root())),
            Self::MakeDirectory(path) => format!("new directory {}\n", name(path)),
            Self::Write { path, old, new, mode } => {
                let head = if old.is_none() { format!("new file mode 100{mode:03o}\n") } else { String::new() };
                head + &unified(&name(path), old.as_deref(), Some(new))
            }
            Self::Configure { path, old, new } => unified(&name(path), old.as_deref(), Some(new)),
            Self::Rename { from, to } => format!("rename from {}\nrename to {}\n", name(from), name(to)),
            Self::Link { path, target } => format!("new link {} -> {}\n", name(path), shown(target)),
            Self::Remove(path) => match kept(path) {
                Ok(Some(Kept::File { bytes, .. })) => unified(&name(path), Some(&bytes), None),
                _ => format!("deleted {}\n", name(path)),
            },
            Self::RemoveDirectory(path) => format!("deleted directory {}, if it is empty\n", name(path)),
        }
    }
}

fn unified(name: &str, old: Option<&[u8]>, new: Option<&[u8]>) -> String {
    let decode = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let (from, to) = (decode(old), decode(new));
    let side = |prefix: &str, there: bool| if there { format!("{prefix}/{name}") } else { "/dev/null".to_owned() };
    let diff = TextDiff::from_lines(&from, &to);
    let diff = diff.unified_diff().header(&side("a", old.is_some()), &side("b", new.is_some())).to_string();
    text::shown(&diff).into_owned()
}

/// What stood at a path, so that it can be put back.
enum Kept {
    File { bytes: Vec<u8>, mode: u32 },
    Link(PathBuf),
}

impl Kept {
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::File { bytes, .. } => Some(bytes),
            Self::Link(_) => None,
        }
    }
}

fn kept(path: &Path) -> Result<Option<Kept>> {
    let Some(meta) = look(path)? else { return Ok(None) };
    if meta.is_symlink() {
        return Ok(Some(Kept::Link(fs::read_link(path).context(|| format!("cannot read {}", shown(path)))?)));
    }
    let bytes = files::read(path, FILE_BYTES_MAX)?.unwrap_or_default();
    Ok(Some(Kept::File { bytes, mode: meta.permissions().mode() & 0o7777 }))
}

fn put_back(path: &Path, before: Option<Kept>) -> io::Result<()> {
    match before {
        Some(Kept::File { bytes, mode }) => {
            written(path, &bytes, mode)?.persist(path).map(drop).map_err(|error| error.error)
        }
        Some(Kept::Link(target)) => symlink(target, path),
        None => match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        },
    }
}

fn changed_meanwhile(path: &Path) -> Error {
    Error::failed(format!("{} changed in this moment", shown(path))).hint("try again")
}

/// Writes a configuration file as git does: under its lock, with the mode it had. Nothing left in it removes it. Returns
/// what stood there, which has to be `old`.
fn configure(path: &Path, old: Option<&[u8]>, new: &[u8]) -> Result<Option<Kept>> {
    let failed = || format!("cannot write {}", shown(path));
    let lock = beside(path, ".lock");
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&lock) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Error::failed(format!("another git writes to {} right now", shown(path)))
                .hint(format!("try again; if no git runs, remove {}", shown(&lock))));
        }
        Err(error) => return Err(Error::failed(failed()).because(error)),
    };
    // Only now nobody else writes: what stands there is what is replaced.
    let before = kept(path).and_then(|before| {
        let is_as_planned = before.as_ref().and_then(Kept::bytes) == old;
        if is_as_planned { Ok(before) } else { Err(changed_meanwhile(path)) }
    });
    let before = before.inspect_err(|_| drop(fs::remove_file(&lock)))?;
    let mode = match &before {
        Some(Kept::File { mode, .. }) => *mode,
        Some(Kept::Link(_)) | None => 0o644,
    };
    let mut replace = || -> io::Result<()> {
        file.write_all(new)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        if new.is_empty() {
            fs::remove_file(path)?;
            return fs::remove_file(&lock);
        }
        fs::rename(&lock, path)
    };
    replace().inspect_err(|_| drop(fs::remove_file(&lock))).context(failed)?;
    Ok(before)
}

/// A temporary file beside `path` with these bytes, on disk.
fn written(path: &Path, bytes: &[u8], mode: u32) -> io::Result<tempfile::NamedTempFile> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new().prefix(HALF_WRITTEN).tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn sync(path: &Path) -> Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().as_bytes().is_empty()).unwrap_or(Path::new("/"));
    files::sync_directory(directory).context(|| format!("cannot write {}", shown(path)))
}
