//! Writing files so that a crash leaves either the old bytes or the new ones, and reading them without surprises.
//!
//! A plain `std::fs::write` can leave half a file after a power cut; everything under `.orchestrator/` is written
//! here instead. Reads are capped, refuse anything that is not a regular file (a FIFO would block for ever), and do
//! not follow a link in the last component.

mod directory;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

pub use self::directory::{Directory, read_beneath};
use crate::error::{Context as _, Error, Result};

/// What the name of a file that is being written begins with.
pub const HALF_WRITTEN: &str = ".new-";

/// Writes `bytes` to `path` so that it is there whole or not at all: temporary file, fsync, rename, fsync of the
/// directory. The directory must exist.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    // As any program would make it: what the umask leaves of read and write for all.
    try_write(path, bytes, 0o666).context(|| format!("cannot write {}", path.display()))
}

/// [`write()`], for the owner's eyes only.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    try_write(path, bytes, 0o600).context(|| format!("cannot write {}", path.display()))
}

fn try_write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let permissions = fs::Permissions::from_mode(mode);
    let mut file = tempfile::Builder::new().prefix(HALF_WRITTEN).permissions(permissions).tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_directory(directory)
}

/// Makes a rename or a removal in this directory durable.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Creates the directory and its parents.
pub fn create_directories(path: &Path) -> Result<()> {
    fs::create_dir_all(path).context(|| format!("cannot create {}", path.display()))
}

/// Opens a regular file for reading. `Ok(None)` if there is no such file.
pub fn open(path: &Path) -> Result<Option<File>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if path.is_symlink() => {
            return Err(Error::failed(format!("{} is a link, which is not followed", path.display())).because(error));
        }
        Err(error) => return Err(Error::failed(format!("cannot read {}", path.display())).because(error)),
    };
    let metadata = file.metadata().context(|| format!("cannot read {}", path.display()))?;
    if !metadata.is_file() {
        return Err(Error::failed(format!("{} is not a regular file", path.display())));
    }
    Ok(Some(file))
}

/// Opens a regular file for reading that lies at `relative` beneath `root`; no link on the way is followed. `Ok(None)` if
/// there is no such file.
pub fn open_beneath(root: &Path, relative: &Path) -> Result<Option<File>> {
    let path = || root.join(relative);
    let (Some(name), Some(parents)) = (relative.file_name(), relative.parent()) else {
        return Err(Error::failed(format!("{} names no file", path().display())));
    };
    let directory = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let failed = |errno: rustix::io::Errno| match errno {
        Errno::NOENT => Ok(None),
        // A link where a directory is to be is ENOTDIR, one in the place of the file ELOOP.
        Errno::LOOP | Errno::NOTDIR => {
            Err(Error::failed(format!("{} is reached through something that is not followed", path().display()))
                .because(io::Error::from(errno)))
        }
        errno => Err(Error::failed(format!("cannot read {}", path().display())).because(io::Error::from(errno))),
    };
    let mut at = match rustix::fs::openat(CWD, root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(at) => at,
        Err(errno) => return failed(errno),
    };
    for parent in parents.components() {
        let Component::Normal(parent) = parent else {
            return Err(Error::failed(format!("{} leads out of its directory", path().display())));
        };
        at = match rustix::fs::openat(&at, parent, directory, Mode::empty()) {
            Ok(at) => at,
            Err(errno) => return failed(errno),
        };
    }
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(&at, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(errno) => return failed(errno),
    };
    if !file.metadata().context(|| format!("cannot read {}", path().display()))?.is_file() {
        return Err(Error::failed(format!("{} is not a regular file", path().display())));
    }
    Ok(Some(file))
}

/// Reads a regular file of at most `max_bytes`. `Ok(None)` if there is no such file.
pub fn read(path: &Path, max_bytes: u64) -> Result<Option<Vec<u8>>> {
    open(path)?.map(|file| read_open(file, path, max_bytes)).transpose()
}

/// Reads what was opened at `path`, at most `max_bytes`.
pub fn read_open(file: File, path: &Path, max_bytes: u64) -> Result<Vec<u8>> {
    // What the system says of its size is a hint: a read too few for each file that a hook looks at.
    let expected = file.metadata().map_or(0, |meta| meta.len()).min(max_bytes);
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
    file.take(max_bytes + 1).read_to_end(&mut bytes).context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() as u64 > max_bytes {
        let limit = crate::text::bytes(max_bytes);
        return Err(Error::failed(format!("{} is larger than {limit}", path.display())));
    }
    Ok(bytes)
}

/// Opens a regular file for appending, creating it if needed; a link in the last component is not followed.
pub fn append(path: &Path) -> Result<File> {
    open_own(path, OpenOptions::new().append(true).create(true))
}

/// Opens a regular file for reading and writing, creating it if needed, as [`append`] does; for locks.
pub fn open_lock(path: &Path) -> Result<File> {
    open_own(path, OpenOptions::new().read(true).write(true).create(true).truncate(false))
}

/// Opening a FIFO would wait for its other end, and writing to a device could do anything.
fn open_own(path: &Path, options: &mut OpenOptions) -> Result<File> {
    let failed = || format!("cannot open {}", path.display());
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = options.custom_flags(i32::try_from(flags.bits()).unwrap_or(0)).open(path).context(failed)?;
    if file.metadata().context(failed)?.is_file() {
        return Ok(file);
    }
    Err(Error::failed(format!("{} is not a regular file", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_replaces_the_whole_file_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(read(&path, 10).unwrap().unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn reads_refuse_links_fifos_and_too_much() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, b"12345").unwrap();
        assert!(read(&path, 4).is_err());
        std::os::unix::fs::symlink(&path, dir.path().join("link")).unwrap();
        assert!(read(&dir.path().join("link"), 10).is_err());
        assert!(read(dir.path(), 10).is_err());
        assert!(read(&dir.path().join("missing"), 10).unwrap().is_none());
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(read(&fifo, 10).is_err());
    }

    #[test]
    fn beneath_a_directory_no_link_is_followed_and_nothing_leads_out() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| open_beneath(dir.path(), Path::new(name));
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        write(&dir.path().join("a/b/c"), b"x").unwrap();
        assert!(at("a/b/c").unwrap().is_some());
        assert!(at("a/b/d").unwrap().is_none() && at("e/b/c").unwrap().is_none());
        std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("c", dir.path().join("a/b/link")).unwrap();
        for wrong in ["link/b/c", "a/b/link", "a/b", "a/b/c/d", "../x", "a/../a/b/c", "/etc/passwd", ""] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }
}
