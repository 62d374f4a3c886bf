//! Changes to a few files, each of which knows how to be undone.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Context as _, Error, Result};
use crate::files;
use crate::git::shown;

type Undo = Box<dyn FnOnce(&Path) -> io::Result<()>>;

/// What was done so far, for the case that the rest fails.
#[derive(Default)]
pub(super) struct Steps {
    undo: Vec<(PathBuf, Undo)>,
}

impl Steps {
    /// Has `undo` called with `path` if a later step fails.
    pub(super) fn on_undo(&mut self, path: &Path, undo: impl FnOnce(&Path) -> io::Result<()> + 'static) {
        self.undo.push((path.to_path_buf(), Box::new(undo)));
    }

    /// Takes everything back, newest first, and returns `error`, with what could not be taken back as hints.
    pub(super) fn undo(self, mut error: Error) -> Error {
        for (path, undo) in self.undo.into_iter().rev() {
            match undo(&path) {
                Err(failure) if failure.kind() != io::ErrorKind::NotFound => {
                    error = error.hint(format!("{} could not be taken back: {failure}", shown(&path)));
                }
                _ => {}
            }
        }
        error
    }

    pub(super) fn create_directory(&mut self, path: &Path) -> Result<()> {
        fs::create_dir(path).context(|| format!("cannot create {}", shown(path)))?;
        self.on_undo(path, |path| fs::remove_dir(path));
        Ok(())
    }

    /// Writes a file that is not there; never replaces one.
    pub(super) fn create(&mut self, path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
        let failed = || format!("cannot write {}", shown(path));
        let file = written(path, bytes, mode).context(failed)?;
        file.persist_noclobber(path).map_err(|error| error.error).context(failed)?;
        self.on_undo(path, |path| fs::remove_file(path));
        sync(path)
    }

    /// Writes a file of ours over the one that may be there.
    pub(super) fn replace(&mut self, path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
        let failed = || format!("cannot write {}", shown(path));
        let old = files::read(path, super::FILE_BYTES_MAX)?;
        let file = written(path, bytes, mode).context(failed)?;
        file.persist(path).map_err(|error| error.error).context(failed)?;
        self.on_undo(path, move |path| match old {
            Some(old) => written(path, &old, mode)?.persist(path).map(drop).map_err(|error| error.error),
            None => fs::remove_file(path),
        });
        sync(path)
    }

    /// Gives the hook at `path` the name `before` and puts the shim in its place.
    pub(super) fn put_in_front(&mut self, path: &Path, before: &Path, shim: &[u8]) -> Result<()> {
        let failed = || format!("cannot put a hook in front of {}", shown(path));
        // Ready before the other is moved, so that the place is empty for an instant only.
        let file = written(path, shim, 0o755).context(failed)?;
        fs::rename(path, before).context(failed)?;
        let kept = before.to_path_buf();
        // The rename replaces the shim, if there is one by then.
        self.on_undo(path, move |path| fs::rename(&kept, path));
        file.persist_noclobber(path).map_err(|error| error.error).context(failed)?;
        sync(path)
    }
}

/// A temporary file beside `path` with these bytes, on disk.
fn written(path: &Path, bytes: &[u8], mode: u32) -> io::Result<tempfile::NamedTempFile> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn sync(path: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    files::sync_directory(directory).context(|| format!("cannot write {}", shown(path)))
}
