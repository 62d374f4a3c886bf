//! The spool: one small fsynced file for each event, which is all that a hook writes.
//!
//! A hook must not wait for a database's lock nor fail because of a damaged one. File names sort by time, so that
//! events are taken in in the order they happened. A file that does not read back is kept aside, never deleted.

use std::io;
use std::path::{Path, PathBuf};

use super::layout::Layout;
use super::{Store, StoreError};
use crate::error::{Context as _, Error, Result};
use crate::event::Event;
use crate::files;
use crate::ids::RunId;
use crate::triggers::plan::{Plan, SCHEMA};

/// The largest file that is taken in: a push of many refs, with every row of a large table.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// The extension of a file that could not be taken in.
const SET_ASIDE: &str = "damaged";

/// How old a half-written file is before it is taken for what a crash left, in milliseconds: no hook takes an hour.
const LEFTOVER_MILLIS: u64 = 3600 * 1000;

/// Makes the plan durable. Once this returns, the event is not lost.
pub fn write(layout: &Layout, plan: &Plan) -> Result<PathBuf> {
    let bytes = serde_json::to_vec(plan).context(|| "cannot write the event down")?;
    // A UUIDv7 sorts by time, within one process strictly.
    let path = layout.spool().join(format!("{}.json", RunId::new()));
    files::write(&path, &bytes)?;
    Ok(path)
}

/// Makes an event durable that no row was looked up for, because nobody has accepted the table.
pub fn hold(layout: &Layout, event: &Event) -> Result<()> {
    let bytes = serde_json::to_vec(event).context(|| "cannot write the event down")?;
    files::create_directories(&layout.held())?;
    files::write(&layout.held().join(format!("{}.json", RunId::new())), &bytes)
}

/// How many events wait for acceptance.
pub fn held_count(layout: &Layout) -> usize {
    files_in(&layout.held()).map_or(0, |paths| paths.len())
}

/// The events that wait for acceptance, oldest first. One that does not read is set aside.
pub fn held(layout: &Layout) -> Result<Vec<(PathBuf, Event)>> {
    let mut found = Vec::new();
    for path in files_in(&layout.held())? {
        let Some(bytes) = files::read(&path, FILE_BYTES_MAX)? else { continue };
        match serde_json::from_slice(&bytes).context(|| format!("{} does not read back", path.display())) {
            Ok(event) => found.push((path, event)),
            Err(error) => set_aside(&path, &error)?,
        }
    }
    Ok(found)
}

/// The files that wait, oldest first.
fn waiting(layout: &Layout) -> Result<Vec<PathBuf>> {
    files_in(&layout.spool())
}

fn files_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::failed(format!("cannot read {}", directory.display())).because(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.context(|| format!("cannot read {}", directory.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// How many files were set aside because they could not be taken in.
pub fn set_aside_count(layout: &Layout) -> usize {
    let entries = std::fs::read_dir(layout.spool()).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == SET_ASIDE)).count()
}

/// What waits, looked at without touching it.
#[derive(Debug, Default)]
pub struct Waiting {
    /// The plans, oldest first.
    pub plans: Vec<Plan>,
    /// Files that do not read, and why.
    pub unreadable: Vec<(PathBuf, Error)>,
    /// How many more there are than were looked at.
    pub more: usize,
}

/// Looks at what waits, at most `limit` files.
pub fn look(layout: &Layout, limit: usize) -> Result<Waiting> {
    let paths = waiting(layout)?;
    let mut found = Waiting { more: paths.len().saturating_sub(limit), ..Waiting::default() };
    for path in paths.into_iter().take(limit) {
        match read(&path) {
            Ok(Some(plan)) => found.plans.push(plan),
            Ok(None) => {}
            Err(error) => found.unreadable.push((path, error)),
        }
    }
    Ok(found)
}

/// Whether anything waits.
pub fn is_empty(layout: &Layout) -> Result<bool> {
    Ok(waiting(layout)?.is_empty())
}

/// Takes every waiting file into the store, oldest first, and removes it after the commit. Returns how many.
///
/// Two processes may do this at once: the store takes an event in once by its key.
pub fn drain(layout: &Layout, store: &mut dyn Store) -> Result<usize, StoreError> {
    sweep(layout);
    let mut taken = 0;
    for path in waiting(layout)? {
        match read(&path) {
            Ok(Some(plan)) => {
                store.take_in(&plan)?;
                taken += 1;
                remove(&path)?;
            }
            // Another process was faster.
            Ok(None) => {}
            Err(error) => set_aside(&path, &error)?,
        }
    }
    Ok(taken)
}

/// Removes what hooks left half-written when they were killed. They were not told that their event is safe.
fn sweep(layout: &Layout) {
    for entry in std::fs::read_dir(layout.spool()).into_iter().flatten().flatten() {
        let is_half = entry.file_name().as_encoded_bytes().starts_with(files::HALF_WRITTEN.as_bytes());
        let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
        if is_half && age.is_some_and(|age| age.as_millis() > u128::from(LEFTOVER_MILLIS)) {
            // Whoever else sweeps may be faster.
            std::fs::remove_file(entry.path()).ok();
        }
    }
}

fn read(path: &Path) -> Result<Option<Plan>> {
    let Some(bytes) = files::read(path, FILE_BYTES_MAX)? else { return Ok(None) };
    let plan: Plan = serde_json::from_slice(&bytes).context(|| format!("{} does not read back", path.display()))?;
    if plan.schema != SCHEMA {
        return Err(Error::failed(format!("{} has form {}, this program knows {SCHEMA}", path.display(), plan.schema)));
    }
    Ok(Some(plan))
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::failed(format!("cannot remove {}", path.display())).because(error))
        }
        _ => Ok(()),
    }
}

/// Renames a file that cannot be taken in, so that it does not stop the ones behind it.
fn set_aside(path: &Path, error: &Error) -> Result<()> {
    tracing::error!(path = %path.display(), error = %error.chain(), "an event was set aside");
    match std::fs::rename(path, path.with_extension(SET_ASIDE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::failed(format!("cannot set {} aside", path.display())).because(error))
        }
        _ => Ok(()),
    }
}
