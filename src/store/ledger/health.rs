//! Looking at a ledger without changing it: for `doctor`, which is called when something is wrong.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use super::rows::{from_json, signed};
use super::{Doing as _, FORMAT, Ledger, Result};
use crate::error::Error;
use crate::event::Event;
use crate::store::StoreError;

/// How long a reader waits for a writer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the database says of its own soundness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Soundness {
    /// Nothing is wrong with it.
    Sound,
    /// The first thing that is wrong with it.
    Damaged(String),
    /// It is so large that the check was cut off.
    Unknown,
}

/// Refuses what is no regular file in the place of the ledger and of what lies beside it: opening a FIFO would wait for
/// ever, and a link would lead out of our directory. Whether the ledger is there.
pub(super) fn refuse_others(path: &Path) -> Result<bool> {
    let mut is_there = false;
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let name = Path::new(&name);
        match name.symlink_metadata() {
            Ok(meta) if meta.is_file() => is_there |= suffix.is_empty(),
            Ok(_) => {
                let refused = Error::refused(format!("{} is no file of ours", name.display()));
                return Err(refused
                    .hint(format!("look at what it is, then remove it: ls -ld {}", name.display()))
                    .into());
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::failed(format!("cannot open {}", name.display())).because(error).into()),
        }
    }
    Ok(is_there)
}

impl Ledger {
    /// Opens the ledger for reading only; `None` if there is none. Nothing is created, so that it works where nothing
    /// can be written.
    pub fn open_to_read(path: &Path) -> Result<Option<Self>> {
        let opening = format!("cannot open {}", path.display());
        if !refuse_others(path)? {
            return Ok(None);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).doing(&opening)?;
        connection.busy_timeout(PATIENCE).doing(&opening)?;
        let format = |connection: &Connection| -> rusqlite::Result<i64> {
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
            connection.pragma_query_value(None, "user_version", |row| row.get(0))
        };
        let (connection, found) = match format(&connection) {
            Ok(found) => (connection, found),
            Err(error) if is_unwritable(&error) => {
                // Beside a database in write-ahead mode files are made even to read it. Where that is not possible
                // nobody writes to it either, so it may be read as it lies there.
                let connection =
                    Connection::open_with_flags(immutable(path), flags | OpenFlags::SQLITE_OPEN_URI).doing(&opening)?;
                let found = format(&connection).doing(&opening)?;
                (connection, found)
            }
            Err(error) => return Err(error).doing(&opening),
        };
        match found {
            // Made and not filled yet: there is nothing in it.
            0 => Ok(None),
            // An older one lacks tables only, which nobody asks for who looks at one without changing it.
            1..=FORMAT => Ok(Some(Self { connection })),
            found => Err(StoreError::Newer { path: path.to_owned(), found, known: FORMAT }),
        }
    }

    /// Asks the database to check itself, for at most so long.
    pub fn soundness(&self, limit: Duration) -> Result<Soundness> {
        let interrupt = self.connection.get_interrupt_handle();
        let (done, waits) = mpsc::channel::<()>();
        let watch = std::thread::spawn(move || {
            if waits.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                interrupt.interrupt();
            }
        });
        let said = self.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
        drop(done);
        watch.join().ok();
        match said {
            Ok(said) if said == "ok" => Ok(Soundness::Sound),
            Ok(said) => Ok(Soundness::Damaged(said)),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Ok(Soundness::Unknown),
            Err(error) => Err(error).doing("cannot check the ledger"),
        }
    }

    /// The newest events, at most `limit`.
    pub fn newest_events(&self, limit: usize) -> Result<Vec<Event>> {
        let doing = "cannot read events";
        let mut statement =
            self.connection.prepare_cached("SELECT body FROM events ORDER BY seq DESC LIMIT ?1").doing(doing)?;
        let rows = statement.query_map(params![signed(limit as u64)], |row| row.get::<_, String>(0)).doing(doing)?;
        rows.map(|row| from_json("an event", &row.doing(doing)?)).collect()
    }
}

fn is_unwritable(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

/// The path as a URI that says that nothing changes the file.
fn immutable(path: &Path) -> String {
    use std::fmt::Write as _;
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => uri.push(char::from(*byte)),
            byte => {
                write!(uri, "%{byte:02x}").ok();
            }
        }
    }
    uri.push_str("?immutable=1");
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store as _;

    #[test]
    fn nothing_is_made_by_looking_and_garbage_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a ledger?.db");
        assert!(Ledger::open_to_read(&path).unwrap().is_none());
        assert!(!path.exists());
        drop(Ledger::open(&path).unwrap());
        let read = Ledger::open_to_read(&path).unwrap().unwrap();
        assert_eq!(read.soundness(Duration::from_secs(60)).unwrap(), Soundness::Sound);
        assert!(read.newest_events(5).unwrap().is_empty());
        assert!(read.paused().unwrap().is_none());
        drop(read);
        let copy = Connection::open_with_flags(
            immutable(&path),
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
        );
        copy.unwrap().query_row("SELECT count(*) FROM runs", [], |_| Ok(())).unwrap();
        crate::files::write(&path, &b"no database ".repeat(1000)).unwrap();
        assert!(Ledger::open_to_read(&path).is_err());
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        assert!(Ledger::open_to_read(&path).is_err());
    }
}
