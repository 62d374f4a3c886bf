//! One worker for each repository, and no moment in which work lies about with nobody to do it.
//!
//! The worker holds a kernel lock on `worker.lock` while it lives; the kernel drops it however the worker dies. The pid
//! in the file is for people, and for a hook to tell that the worker is its ancestor. Two rules close every window:
//!
//! 1. A hook makes its event durable before it looks at the lock; a worker that finds nothing to do releases the lock
//!    before it looks for work once more. Whichever comes second sees the other.
//! 2. Whoever holds the lock for a moment to look at it may turn a worker away, so it looks for work after letting go
//!    and starts a worker if there is some.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::path::Path;

use crate::error::{Context as _, Error, Result};
use crate::files;
use crate::process;
use crate::store::layout::Layout;

/// The right to be the worker, as long as it lives.
#[derive(Debug)]
pub struct WorkerLock {
    file: File,
}

fn open(layout: &Layout) -> Result<File> {
    files::open_lock(&layout.worker_lock())
}

fn try_lock(file: &File, layout: &Layout) -> Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => {
            Err(Error::failed(format!("cannot lock {}", layout.worker_lock().display()))
                .hint("the file system has to support flock(2)")
                .because(error))
        }
    }
}

impl WorkerLock {
    /// Becomes the worker; `None` if there is one.
    pub fn acquire(layout: &Layout) -> Result<Option<Self>> {
        let mut file = open(layout)?;
        if !try_lock(&file, layout)? {
            return Ok(None);
        }
        let pid = std::process::id().to_string();
        let noted = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(pid.as_bytes()));
        noted.context(|| format!("cannot write {}", layout.worker_lock().display()))?;
        Ok(Some(Self { file }))
    }
}

impl Drop for WorkerLock {
    fn drop(&mut self) {
        // Closing the file would do it too, but not before a child that is just being started has executed.
        self.file.unlock().ok();
    }
}

/// The pid of the living worker. Look for work afterwards: see the module's second rule.
pub fn living_worker(layout: &Layout) -> Result<Option<u32>> {
    // Looking makes nothing: without the file nobody holds it.
    if layout.worker_lock().symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(None);
    }
    let mut file = open(layout)?;
    match file.try_lock_shared() {
        Ok(()) => {
            file.unlock().ok();
            Ok(None)
        }
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).context(|| format!("cannot read {}", layout.worker_lock().display()))?;
            // Between the lock and the note the file is empty: the worker lives, its pid is not known yet.
            Ok(Some(pid.trim().parse().unwrap_or(0)))
        }
        Err(TryLockError::Error(error)) => {
            Err(Error::failed(format!("cannot lock {}", layout.worker_lock().display())).because(error))
        }
    }
}

/// Starts a worker if none lives. Call it after the work is durable.
pub fn ensure_running(layout: &Layout, own_program: &Path) -> Result<bool> {
    let file = open(layout)?;
    if !try_lock(&file, layout)? {
        return Ok(false);
    }
    file.unlock().ok();
    drop(file);
    let home = layout.home();
    let arguments = [OsStr::new("worker"), OsStr::new("--home"), home.as_os_str()];
    process::start_detached(own_program, &arguments, home)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_worker_and_its_pid_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        assert_eq!(living_worker(&layout).unwrap(), None);
        layout.create().unwrap();
        assert_eq!(living_worker(&layout).unwrap(), None);
        assert!(!layout.worker_lock().exists(), "looking makes nothing");
        let lock = WorkerLock::acquire(&layout).unwrap().unwrap();
        assert!(WorkerLock::acquire(&layout).unwrap().is_none());
        assert_eq!(living_worker(&layout).unwrap(), Some(std::process::id()));
        drop(lock);
        assert_eq!(living_worker(&layout).unwrap(), None);
    }
}
