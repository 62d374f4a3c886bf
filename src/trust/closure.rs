//! The closure as it stands: every file read once, so that what is shown is what is accepted.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::record::{self, Accepted, Kind, Part, SCHEMA, Seen};
use super::rules::{FILE_BYTES_MAX, Rules, is_executable};
use super::version;
use crate::clock::Timestamp;
use crate::error::{Context as _, Error, Result};
use crate::files;
use crate::git::{Repository, shown};
use crate::ids::Digest;
use crate::triggers::load;
use crate::triggers::{Table, Vocabulary};

/// The closure, in memory.
#[derive(Debug)]
pub struct Closure {
    /// The ref that the rules were read from.
    pub from: Option<String>,
    /// What was read, by kind and path.
    pub pieces: Vec<Piece>,
    /// What could not be read: nothing is accepted while there is such a thing.
    pub problems: Vec<(Kind, PathBuf, Error)>,
}

/// One file.
#[derive(Debug)]
pub struct Piece {
    /// What it is.
    pub part: Part,
    /// Its bytes; not those of a program.
    pub bytes: Option<Vec<u8>>,
}

impl Closure {
    /// Reads everything. `shims` are the hook files that call us, `tools` the programs that runs start. What `known` says
    /// of a program that nobody has written to since is believed: hashing one takes a second.
    pub fn read(
        repository: &Repository,
        from: Option<&str>,
        shims: &[PathBuf],
        tools: &[PathBuf],
        known: Option<&Accepted>,
    ) -> Self {
        let rules = Rules::of(repository, None, from);
        let mut closure = Self { from: from.map(str::to_owned), pieces: Vec::new(), problems: Vec::new() };
        for (kind, path) in rules.listed() {
            let piece = rules.read(kind, &path).map(|read| {
                read.map(|read| {
                    let seen = read.meta.as_ref().and_then(|meta| Seen::settled(meta, Timestamp::now()));
                    let is_executable = read.is_executable();
                    piece(kind, &path, is_executable, seen, read.bytes)
                })
            });
            closure.add(kind, path, piece);
        }
        for path in shims {
            closure.add(Kind::Shim, path.clone(), shim(path));
        }
        for path in tools {
            closure.add(Kind::Tool, path.clone(), tool(path, known));
        }
        closure.pieces.sort_by(|one, other| (one.part.kind, &one.part.path).cmp(&(other.part.kind, &other.part.path)));
        closure
    }

    fn add(&mut self, kind: Kind, path: PathBuf, piece: Result<Option<Piece>>) {
        match piece {
            Ok(piece) => self.pieces.extend(piece),
            Err(error) => self.problems.push((kind, path, error)),
        }
    }

    /// One digest for all of it.
    pub fn digest(&self) -> Digest {
        let parts: Vec<Part> = self.pieces.iter().map(|piece| piece.part.clone()).collect();
        record::digest(self.from.as_deref(), &parts)
    }

    /// The piece at this path.
    pub fn piece(&self, kind: Kind, path: &Path) -> Option<&Piece> {
        self.pieces.iter().find(|piece| piece.part.kind == kind && piece.part.path == path)
    }

    /// The bytes of the table.
    pub fn table(&self) -> Option<&[u8]> {
        self.piece(Kind::Table, Path::new(load::FILE_NAME))?.bytes.as_deref()
    }

    /// The table, checked: one that does not load is not accepted, nor is one that says it has to be read elsewhere.
    pub fn checked_table(&self, vocabulary: &Vocabulary<'_>) -> Result<Option<Table>> {
        let Some(bytes) = self.table() else { return Ok(None) };
        load::table(bytes, load::FILE_NAME, vocabulary).map(Some)
    }

    /// The first thing that could not be read, as the error that nothing can be accepted with.
    pub fn problem(&self) -> Option<Error> {
        let (_, path, error) = self.problems.first()?;
        let sentence = format!("{} cannot be accepted: {}", shown(path), error.chain());
        let hint = error.hints().first().map_or("make it a plain file, or remove it", String::as_str);
        Some(Error::refused(sentence).hint(hint))
    }

    /// As the record of it, once it is accepted.
    pub fn record(&self, repository: &Repository, common_directory: PathBuf) -> Accepted {
        Accepted {
            schema: SCHEMA,
            at: Timestamp::now(),
            common_directory,
            root: repository.root_commit(),
            from: self.from.clone(),
            parts: self.pieces.iter().map(|piece| piece.part.clone()).collect(),
        }
    }
}

fn piece(kind: Kind, path: &Path, is_executable: bool, seen: Option<Seen>, bytes: Vec<u8>) -> Piece {
    let part = Part { kind, path: path.to_path_buf(), is_executable, digest: Digest::of(&bytes), version: None, seen };
    Piece { part, bytes: kind.is_kept().then_some(bytes) }
}

fn shim(path: &Path) -> Result<Option<Piece>> {
    // What git runs may be a link that a manager made: what it leads to is what is run.
    let Some(file) = open_followed(path)? else { return Ok(None) };
    let meta = file.metadata().context(|| format!("cannot read {}", shown(path)))?;
    let bytes = files::read_open(file, path, FILE_BYTES_MAX)?;
    let seen = Seen::settled(&meta, Timestamp::now());
    Ok(Some(piece(Kind::Shim, path, is_executable(&meta), seen, bytes)))
}

fn tool(path: &Path, known: Option<&Accepted>) -> Result<Option<Piece>> {
    let Some(file) = open_followed(path)? else { return Ok(None) };
    let meta = file.metadata().context(|| format!("cannot read {}", shown(path)))?;
    let known =
        known.and_then(|known| known.part(Kind::Tool, path)).filter(|known| known.seen == Some(Seen::of(&meta)));
    if let Some(known) = known {
        return Ok(Some(Piece { part: known.clone(), bytes: None }));
    }
    let seen = Seen::settled(&meta, Timestamp::now());
    let (digest, _) = Digest::of_reader(file).context(|| format!("cannot read {}", shown(path)))?;
    let (kind, is_executable, version) = (Kind::Tool, is_executable(&meta), version::of_program(path));
    let part = Part { kind, path: path.to_path_buf(), is_executable, digest, version, seen };
    Ok(Some(Piece { part, bytes: None }))
}

/// Opens a regular file outside of the repository as the system would run it, links followed. Never waits.
pub(super) fn open_followed(path: &Path) -> Result<Option<std::fs::File>> {
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::CLOEXEC).bits()).unwrap_or(0);
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::failed(format!("cannot read {}", shown(path))).because(error)),
    };
    if !file.metadata().is_ok_and(|meta| meta.is_file()) {
        return Err(Error::failed(format!("{} is not a regular file", shown(path))));
    }
    Ok(Some(file))
}
