//! A directory of ours, held open: what is written and read beneath it stays beneath it, whatever takes the place of a
//! name on the way meanwhile.
//!
//! A commit can bring a link or a FIFO along under `.orchestrator/`, since git takes what it ignores for expendable; and
//! it can do so while a run goes on. Each component is opened by itself, through the directory before it, and is not
//! followed if it is a link.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use uuid::Uuid;

use super::HALF_WRITTEN;
use crate::error::{Context as _, Error, Result};

/// As any program would make it: what the umask leaves.
const FILE_MODE: Mode = Mode::from_bits_retain(0o666);
const DIRECTORY_MODE: Mode = Mode::from_bits_retain(0o777);

/// An open directory.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    handle: OwnedFd,
}

impl Directory {
    /// Opens `below`, a path of plain names beneath `root`, and creates what is missing of it. `root` itself is not
    /// followed if it is a link.
    pub fn create(root: &Path, below: &Path) -> Result<Self> {
        super::create_directories(root.parent().unwrap_or(root))?;
        match mkdirat(CWD, root, DIRECTORY_MODE) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(Error::failed(format!("cannot create {}", root.display())).because(error)),
        }
        Self::walk(root, below, true)?.ok_or_else(|| Error::failed(format!("{} is gone", root.join(below).display())))
    }

    /// Opens `below` beneath `root`; `None` if it is not there.
    pub fn open(root: &Path, below: &Path) -> Result<Option<Self>> {
        Self::walk(root, below, false)
    }

    fn walk(root: &Path, below: &Path, creates: bool) -> Result<Option<Self>> {
        let (mut path, whole) = (root.to_owned(), root.join(below));
        let Some(mut handle) = enter(CWD.as_fd(), root.as_os_str(), root)? else { return Ok(None) };
        for part in below.components() {
            let Component::Normal(name) = part else {
                return Err(Error::failed(format!("{} leads out of {}", below.display(), root.display())));
            };
            path.push(name);
            if creates {
                match mkdirat(&handle, name, DIRECTORY_MODE) {
                    Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                    Err(error) => {
                        return Err(Error::failed(format!("cannot create {}", whole.display())).because(error));
                    }
                }
            }
            let Some(next) = enter(handle.as_fd(), name, &path)? else { return Ok(None) };
            handle = next;
        }
        Ok(Some(Self { path, handle }))
    }

    /// Where it was when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file so that it is there whole or not at all, as [`super::write`] does.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.try_write(name, bytes).context(|| format!("cannot write {}", self.path.join(name).display()))
    }

    fn try_write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let name = plain(name)?;
        let half = format!("{HALF_WRITTEN}{}", Uuid::now_v7().simple());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.handle, &half, flags, FILE_MODE)?);
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        let named = written.and_then(|()| Ok(renameat(&self.handle, &half, &self.handle, name)?));
        if named.is_err() {
            unlinkat(&self.handle, &half, rustix::fs::AtFlags::empty()).ok();
        }
        named?;
        Ok(rustix::fs::fsync(&self.handle)?)
    }

    /// Opens a regular file for appending, and creates it if it is missing.
    pub fn append(&self, name: &str) -> Result<File> {
        let flags = OFlags::APPEND | OFlags::WRONLY | OFlags::CREATE;
        self.regular(name, flags)?.ok_or_else(|| Error::failed(format!("{} is gone", self.path.join(name).display())))
    }

    /// Reads a regular file of at most `max_bytes`; `None` if it is not there.
    pub fn read(&self, name: &str, max_bytes: u64) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.regular(name, OFlags::RDONLY)? else { return Ok(None) };
        let path = self.path.join(name);
        let mut bytes = Vec::new();
        file.take(max_bytes + 1).read_to_end(&mut bytes).context(|| format!("cannot read {}", path.display()))?;
        if bytes.len() as u64 > max_bytes {
            let limit = crate::text::bytes(max_bytes);
            return Err(Error::failed(format!("{} is larger than {limit}", path.display())));
        }
        Ok(Some(bytes))
    }

    fn regular(&self, name: &str, flags: OFlags) -> Result<Option<File>> {
        let path = self.path.join(name);
        let failed = || format!("cannot open {}", path.display());
        let name = plain(name).context(failed)?;
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.handle, name, flags, FILE_MODE) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(Error::failed(not_ours(&path)).because(error)),
        };
        if file.metadata().context(failed)?.is_file() { Ok(Some(file)) } else { Err(Error::failed(not_ours(&path))) }
    }
}

/// Reads the regular file at `below`, a path of plain names beneath `root`; `None` if it is not there.
pub fn read_beneath(root: &Path, below: &Path, max_bytes: u64) -> Result<Option<Vec<u8>>> {
    let (Some(parent), Some(name)) = (below.parent(), below.file_name().and_then(OsStr::to_str)) else {
        return Err(Error::failed(format!("{} names no file", below.display())));
    };
    match Directory::open(root, parent)? {
        Some(directory) => directory.read(name, max_bytes),
        None => Ok(None),
    }
}

/// What cannot be opened as a file of ours: what it is instead, as far as it can be told.
fn not_ours(path: &Path) -> String {
    let shown = path.display();
    match path.symlink_metadata() {
        Ok(meta) if meta.is_symlink() => format!("{shown} is a link, which is not followed"),
        Ok(meta) if !meta.is_file() => format!("{shown} is not a regular file"),
        _ => format!("cannot open {shown}"),
    }
}

/// Opens the directory `name` in `from`. `path` is where it is.
fn enter(from: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match openat(from, name, flags, Mode::empty()) {
        Ok(handle) => Ok(Some(handle)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error @ (rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP | rustix::io::Errno::MLINK)) => {
            let shown = path.display();
            Err(Error::refused(format!("{shown} is no directory of ours: nothing is written through it, nor read"))
                .hint(format!("look at what it is, then remove it: ls -ld {shown}"))
                .because(error))
        }
        Err(error) => Err(Error::failed(format!("cannot open {}", path.display())).because(error)),
    }
}

fn plain(name: &str) -> io::Result<&str> {
    let is_plain = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
    if is_plain { Ok(name) } else { Err(io::Error::from(io::ErrorKind::InvalidInput)) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(path: &Path) -> usize {
        std::fs::read_dir(path).unwrap().count()
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_is_left() {
        let root = tempfile::tempdir().unwrap();
        let top = root.path().join("own");
        let directory = Directory::create(&top, Path::new("a/b")).unwrap();
        directory.write("x", b"one").unwrap();
        directory.write("x", b"two").unwrap();
        directory.append("log").unwrap().write_all(b"line").unwrap();
        assert_eq!(directory.read("x", 3).unwrap().unwrap(), b"two");
        assert_eq!(read_beneath(&top, Path::new("a/b/log"), 10).unwrap().unwrap(), b"line");
        assert!(directory.read("x", 2).is_err() && directory.read("nothing", 9).unwrap().is_none());
        assert!(read_beneath(&top, Path::new("a/c/x"), 10).unwrap().is_none());
        assert_eq!(names(directory.path()), 2);
        for name in ["", ".", "..", "a/b", "/x"] {
            assert!(directory.write(name, b"x").is_err() && directory.append(name).is_err(), "{name}");
        }
        assert!(Directory::create(&top, Path::new("../x")).is_err());
    }

    #[test]
    fn no_link_and_no_fifo_is_followed() {
        let root = tempfile::tempdir().unwrap();
        let (top, out) = (root.path().join("own"), root.path().join("out"));
        std::fs::create_dir_all(top.join("real")).unwrap();
        std::fs::create_dir(&out).unwrap();
        super::super::write(&out.join("secret"), b"s").unwrap();
        symlink(&out, top.join("link")).unwrap();
        symlink(out.join("secret"), top.join("real/file")).unwrap();
        rustix::fs::mknodat(CWD, top.join("real/fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        rustix::fs::mknodat(CWD, top.join("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for below in ["link", "link/deeper", "fifo", "fifo/deeper"] {
            assert!(Directory::create(&top, Path::new(below)).is_err(), "{below}");
            assert!(Directory::open(&top, Path::new(below)).is_err(), "{below}");
        }
        assert!(Directory::open(&top.join("link"), Path::new("")).is_err());
        let directory = Directory::open(&top, Path::new("real")).unwrap().unwrap();
        for name in ["file", "fifo"] {
            assert!(directory.read(name, 10).is_err() && directory.append(name).is_err(), "{name}");
        }
        // Writing takes the name's place.
        directory.write("file", b"mine").unwrap();
        assert_eq!(std::fs::read(out.join("secret")).unwrap(), b"s");
        // What takes the directory's place later is not written through either.
        std::fs::rename(top.join("real"), top.join("moved")).unwrap();
        symlink(&out, top.join("real")).unwrap();
        directory.write("late", b"x").unwrap();
        assert_eq!(names(&out), 1);
        assert!(top.join("moved/late").exists());
    }
}
