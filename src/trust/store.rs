//! Where acceptance is kept: `$XDG_STATE_HOME/git-orchestrator/trust/<key>/`, outside of every repository.
//!
//! The key is made of the real path of the common git directory, so that what is moved or copied elsewhere is unknown
//! there. Directories have mode 0700, files 0600; whatever others may write to, or is a link, is not believed.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::closure::Closure;
use super::record::{Accepted, Part, SCHEMA};
use crate::error::{Context as _, Error, Result};
use crate::files;
use crate::git::{Repository, shown};
use crate::ids::Digest;

/// The record's name.
const RECORD: &str = "accepted.json";

/// The largest record, in bytes: a closure has some twenty parts.
const RECORD_BYTES_MAX: u64 = 1 << 20;

/// The directory of the copies, each under the digest of its bytes.
const COPIES: &str = "files";

/// The largest copy.
const COPY_BYTES_MAX: u64 = super::rules::FILE_BYTES_MAX;

/// What stands in front of a path in a key.
const KEY: &[u8] = b"git-orchestrator trust 1";

/// The place of one repository's acceptance.
#[derive(Clone, Debug)]
pub struct Store {
    /// `$XDG_STATE_HOME`.
    state_home: PathBuf,
    /// The common git directory, links resolved.
    common_directory: PathBuf,
    key: String,
}

/// The path without links, as far as it is there: what is not will be made below that.
fn real(path: &Path) -> PathBuf {
    let found = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    found.map_or_else(
        || path.to_path_buf(),
        |(above, real)| match path.strip_prefix(above) {
            Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
            _ => real,
        },
    )
}

/// The person's state directory, by this process's environment.
pub fn state_home() -> Result<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // Graphical clients and `env -i` may set neither: then it is what the system says of the user.
    let home = || env::home_dir().filter(|home| home.is_absolute());
    absolute("XDG_STATE_HOME").or_else(|| home().map(|home| home.join(".local/state"))).ok_or_else(|| {
        Error::failed("cannot tell where acceptance is kept: there is no home directory").hint("set HOME")
    })
}

impl Store {
    /// That of this repository, in the person's state directory.
    pub fn of(repository: &Repository) -> Result<Self> {
        Self::below(&state_home()?, repository)
    }

    /// That of this repository below another state directory.
    ///
    /// # Errors
    /// [`Refused`](crate::error::Kind::Refused) where it would lie inside the repository, whose commits could bring it.
    pub fn below(state_home: &Path, repository: &Repository) -> Result<Self> {
        let (place, common_directory) = (real(state_home), real(repository.common_directory()));
        let home = repository.home();
        let worktree = repository.worktree().filter(|top| *top != home);
        let is_inside = [Some(home.as_path()), worktree].into_iter().flatten().any(|top| place.starts_with(real(top)));
        if is_inside || place.starts_with(&common_directory) {
            return Err(Error::refused(format!(
                "{} lies inside the repository, whose commits could bring acceptance",
                { shown(state_home) }
            ))
            .hint("set XDG_STATE_HOME to a directory outside of it"));
        }
        let digest = Digest::of_parts([KEY, common_directory.as_os_str().as_bytes()]);
        let key = digest.as_str().get(..32).unwrap_or_default().to_owned();
        Ok(Self { state_home: state_home.to_path_buf(), common_directory, key })
    }

    /// The directory of this repository's acceptance.
    pub fn directory(&self) -> PathBuf {
        self.state_home.join("git-orchestrator/trust").join(&self.key)
    }

    /// What was accepted; `None` where nothing was.
    pub fn accepted(&self) -> Result<Option<Accepted>> {
        let Some(directory) = self.open()? else { return Ok(None) };
        let path = self.directory().join(RECORD);
        let Some(bytes) = read_own(&directory, RECORD, &path, RECORD_BYTES_MAX)? else { return Ok(None) };
        let accepted: Accepted =
            serde_json::from_slice(&bytes).context(|| format!("{} does not read back", shown(&path)))?;
        if accepted.schema != SCHEMA {
            return Err(Error::failed(format!("{} was written by another version", shown(&path))));
        }
        if accepted.common_directory != self.common_directory {
            return Err(Error::failed(format!("{} is about another repository", shown(&path))));
        }
        Ok(Some(accepted))
    }

    /// The accepted bytes of this part.
    pub fn bytes(&self, part: &Part) -> Result<Vec<u8>> {
        let path = self.directory().join(COPIES).join(part.digest.as_str());
        let gone = || Error::failed(format!("the accepted copy of {} is gone: {}", shown(&part.path), shown(&path)));
        let directory = self.open()?.ok_or_else(gone)?;
        let copies = own_directory(&directory, COPIES, &self.directory().join(COPIES))?.ok_or_else(gone)?;
        let bytes = read_own(&copies, part.digest.as_str(), &path, COPY_BYTES_MAX)?.ok_or_else(gone)?;
        if Digest::of(&bytes) != part.digest {
            return Err(Error::failed(format!("the accepted copy of {} was changed: {}", shown(&part.path), {
                shown(&path)
            })));
        }
        Ok(bytes)
    }

    /// Writes down that this closure is accepted: exactly the bytes that it holds.
    pub fn accept(&self, repository: &Repository, closure: &Closure) -> Result<Accepted> {
        if let Some(problem) = closure.problem() {
            return Err(problem);
        }
        let before = self.accepted().ok().flatten();
        let (directory, copies) = (self.directory(), self.directory().join(COPIES));
        let parents = directory.ancestors().skip(1).take(2).collect::<Vec<_>>();
        files::create_directories(&self.state_home)?;
        for path in parents.into_iter().rev().chain([directory.as_path(), copies.as_path()]) {
            match DirBuilder::new().mode(0o700).create(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(Error::failed(format!("cannot create {}", shown(path))).because(error));
                }
                _ => {}
            }
        }
        // Whoever could write here could accept.
        let opened = self.open()?.ok_or_else(|| Error::failed(format!("{} is gone", shown(&directory))))?;
        own_directory(&opened, COPIES, &copies)?;
        for piece in &closure.pieces {
            if let Some(bytes) = &piece.bytes {
                files::write_private(&copies.join(piece.part.digest.as_str()), bytes)?;
            }
        }
        let accepted = closure.record(repository, self.common_directory.clone());
        let mut bytes = serde_json::to_vec_pretty(&accepted).context(|| "cannot write down what was accepted")?;
        bytes.push(b'\n');
        files::write_private(&directory.join(RECORD), &bytes)?;
        self.prune(&accepted, before.as_ref());
        Ok(accepted)
    }

    /// Forgets what was accepted. Returns whether there was anything.
    pub fn revoke(&self) -> Result<bool> {
        let directory = self.directory();
        if self.open()?.is_none() {
            return Ok(false);
        }
        // The record first: without it the copies say nothing.
        let had = match fs::remove_file(directory.join(RECORD)) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(Error::failed(format!("cannot remove {}", shown(&directory))).because(error)),
        };
        fs::remove_dir_all(&directory).context(|| format!("cannot remove {}", shown(&directory)))?;
        Ok(had)
    }

    /// Removes copies that neither this record nor the one before it names: a run may be reading those of the latter.
    fn prune(&self, now: &Accepted, before: Option<&Accepted>) {
        let is_named = |name: &str| {
            let mut parts = now.parts.iter().chain(before.into_iter().flat_map(|before| &before.parts));
            parts.any(|part| part.digest.as_str() == name)
        };
        for entry in fs::read_dir(self.directory().join(COPIES)).into_iter().flatten().flatten() {
            if !entry.file_name().to_str().is_some_and(is_named) {
                fs::remove_file(entry.path()).ok();
            }
        }
    }

    /// The directory, opened step by step; `None` where it is not there.
    fn open(&self) -> Result<Option<OwnedFd>> {
        let base = self.state_home.join("git-orchestrator");
        let Some(opened) = opened(CWD, base.as_os_str().as_bytes(), &base)? else { return Ok(None) };
        // Other things of ours lie there, with the mode that the umask gives.
        check(&opened, &base, FileType::Directory, Mode::WGRP | Mode::WOTH)?;
        let trust = base.join("trust");
        let Some(opened) = own_directory(&opened, "trust", &trust)? else { return Ok(None) };
        own_directory(&opened, &self.key, &trust.join(&self.key))
    }
}

fn opened(at: impl rustix::fd::AsFd, name: &[u8], path: &Path) -> Result<Option<OwnedFd>> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(at, name, flags, Mode::empty()) {
        Ok(opened) => Ok(Some(opened)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::LOOP | Errno::NOTDIR) => {
            Err(Error::refused(format!("{} is no directory of ours", shown(path)))
                .hint("see what it is, and remove it"))
        }
        Err(errno) => Err(Error::failed(format!("cannot open {}", shown(path))).because(io::Error::from(errno))),
    }
}

/// A directory that nobody else may look into.
fn own_directory(at: &OwnedFd, name: &str, path: &Path) -> Result<Option<OwnedFd>> {
    let Some(opened) = opened(at, name.as_bytes(), path)? else { return Ok(None) };
    check(&opened, path, FileType::Directory, Mode::RWXG | Mode::RWXO)?;
    Ok(Some(opened))
}

/// A file that nobody else may look into.
fn read_own(at: &OwnedFd, name: &str, path: &Path, max_bytes: u64) -> Result<Option<Vec<u8>>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(at, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => {
            return Err(Error::failed(format!("cannot read {}", shown(path))).because(io::Error::from(errno)));
        }
    };
    check(&file, path, FileType::RegularFile, Mode::RWXG | Mode::RWXO)?;
    files::read_open(File::from(file), path, max_bytes).map(Some)
}

/// Refuses what is not this person's own, what others have one of these permissions for, and what is something else.
fn check(opened: &OwnedFd, path: &Path, wanted: FileType, too_open: Mode) -> Result<()> {
    let stat: Stat = rustix::fs::fstat(opened)
        .map_err(|errno| Error::failed(format!("cannot look at {}", shown(path))).because(io::Error::from(errno)))?;
    if FileType::from_raw_mode(stat.st_mode) != wanted {
        return Err(Error::refused(format!("{} is not what was written there", shown(path))));
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(Error::refused(format!("{} belongs to another user", shown(path)))
            .hint("acceptance is each person's own: use your own state directory"));
    }
    if Mode::from_raw_mode(stat.st_mode).intersects(too_open) {
        let mode = if wanted == FileType::Directory { "700" } else { "600" };
        let quoted = crate::text::shell_word(&shown(path));
        return Err(Error::refused(format!("others have access to {}: what it says is not believed", shown(path)))
            .hint(format!("if nobody has used it: chmod {mode} {quoted}")));
    }
    Ok(())
}
