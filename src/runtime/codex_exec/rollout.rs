//! What the stream of a turn left out, from Codex's own record of the thread.
//!
//! `codex exec --json` is silent about commands whose failure reads like a refusal of the sandbox ("Permission denied",
//! "Read-only file system": 0.169 where they end at once, 0.130 always), about calls it refuses, and about the tokens of
//! a turn that failed. The rollout file `$CODEX_HOME/sessions/YYYY/MM/DD/rollout-TIME-THREAD.jsonl` holds all of it.
//! Measured with 0.130.0 and 0.169.0. The file is Codex's: it is read, never written, and a turn does not depend on it;
//! where it is missing or has another form, the turn ends as it would have without it.
//!
//! This file finds and reads; `lines` understands single lines, `merge` compares with what the stream said.

mod lines;
mod merge;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

pub(super) use self::lines::Input;
use self::lines::Told;
pub(in crate::runtime) use self::merge::Streamed;
use super::config;
use crate::clock::Timestamp;
use crate::files;
use crate::runtime::{Activity, Environment, Usage};
use crate::text;

/// How much of a turn's record is read. A turn's output limit is a few MiB; its record repeats the outputs once or twice.
const RECORD_BYTES: u64 = 64 << 20;

/// The longest line that is looked at. The longest of a usual thread is the first, with some tens of KiB.
const LINE_BYTES: u64 = 8 << 20;

/// How many files of one day are looked through.
const ENTRIES_MAX: usize = 20_000;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the record of a turn begins: known before Codex starts, because a thread that is continued has a record already.
#[derive(Clone, Debug)]
pub(in crate::runtime) struct Start {
    /// Codex's own directory.
    home: Option<PathBuf>,
    /// The thread that is continued, and how long its record is. No length: it was not found, so nothing can be told
    /// apart later.
    resumed: Option<(String, Option<u64>)>,
}

impl Start {
    /// Looks at the record as it is now.
    pub(in crate::runtime) fn of(environment: &Environment, resume: Option<&str>) -> Self {
        // The person's choice of a directory may be a link; nothing below it is followed.
        let home = config::home(environment).and_then(|home| home.canonicalize().ok());
        let length = |thread: &str| find(home.as_deref()?, thread)?.symlink_metadata().ok().map(|file| file.len());
        let resumed = resume.map(|thread| (thread.to_owned(), length(thread)));
        Self { home, resumed }
    }

    fn open(&self, thread: &str) -> Option<File> {
        let from = match &self.resumed {
            Some((resumed, length)) if resumed == thread => (*length)?,
            // What is not continued began with this turn.
            _ => 0,
        };
        let path = find(self.home.as_deref()?, thread)?;
        let mut file = files::open(&path).ok()??;
        // A record that became shorter was written anew: where this turn begins in it, nobody knows.
        let same = file.metadata().is_ok_and(|metadata| metadata.len() >= from);
        (same && file.seek(SeekFrom::Start(from)).is_ok()).then_some(file)
    }
}

/// What is to be added to what the stream said.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Found {
    /// What happened beside it, in the order in which it ended.
    pub(in crate::runtime) activities: Vec<Activity>,
    /// What the model wanted typed into running processes.
    pub(super) inputs: Vec<Input>,
    /// The thread's counter as it stood last.
    pub(in crate::runtime) thread_usage: Option<Usage>,
    /// The permission profile that held for the turn, where Codex names one; empty where an older mode held.
    pub(in crate::runtime) profile: Option<String>,
}

/// Reads the record of the turn that began at `start`, and returns what `streamed` lacks.
pub(in crate::runtime) fn read(start: &Start, thread: Option<&str>, streamed: &[Streamed]) -> Found {
    let thread = thread.or(start.resumed.as_ref().map(|(resumed, _)| resumed.as_str()));
    let mut told = Told::default();
    if let Some(file) = thread.and_then(|thread| start.open(thread)) {
        match take_lines(BufReader::new(file), RECORD_BYTES, &mut told) {
            Ok(true) => {}
            Ok(false) => {
                let limit = text::bytes(RECORD_BYTES);
                let message = format!("Codex's own record of the turn is longer than {limit}: the rest was not read");
                told.warn(message);
            }
            Err(error) => tracing::warn!(%error, "Codex's own record of the thread cannot be read"),
        }
    }
    let thread_usage = told.thread_usage();
    let inputs = std::mem::take(&mut told.inputs);
    let profile = told.profile().map(str::to_owned);
    Found { activities: merge::missing(told, streamed), inputs, thread_usage, profile }
}

/// Hands the lines on. Returns whether that was all.
fn take_lines(reader: impl io::BufRead, limit: u64, told: &mut Told) -> io::Result<bool> {
    let mut reader = reader.take(limit);
    let mut line = Vec::new();
    let mut is_over_long = false;
    while reader.limit() > 0 {
        line.clear();
        let read = reader.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(true);
        }
        let is_end = line.ends_with(b"\n");
        // Neither the beginning of a line that is too long nor its rest is one.
        if !is_over_long && (is_end || (read as u64) < LINE_BYTES) {
            told.take(&line);
        }
        is_over_long = !is_end;
    }
    // At the limit exactly: whether more follows, only the reader below knows.
    Ok(reader.into_inner().fill_buf()?.is_empty())
}

/// The record of this thread. A thread's id is a UUID, and one of version 7 holds the time at which the thread began:
/// with a day on both sides for the time zone, that names the directory.
fn find(home: &Path, thread: &str) -> Option<PathBuf> {
    let thread = Uuid::try_parse(thread).ok()?;
    let suffix = format!("-{}.jsonl", thread.hyphenated());
    let began = match thread.get_timestamp() {
        Some(time) => Timestamp::from_millis(time.to_unix().0.saturating_mul(1000)),
        None => Timestamp::now(),
    };
    let before = Timestamp::from_millis(began.millis().saturating_sub(u64::try_from(DAY.as_millis()).unwrap_or(0)));
    let days: BTreeSet<String> = [before, began, began.plus(DAY)].into_iter().map(Timestamp::date).collect();
    let mut found: Vec<PathBuf> = Vec::new();
    for day in days {
        let mut directory = home.to_owned();
        let parts = std::iter::once("sessions").chain(day.split('-'));
        let is_there = parts.into_iter().all(|part| {
            directory.push(part);
            directory.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
        });
        if !is_there {
            continue;
        }
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        let matching = entries.take(ENTRIES_MAX).flatten().filter(|entry| {
            let name = entry.file_name();
            name.to_str().is_some_and(|name| name.starts_with("rollout-") && name.ends_with(&suffix))
        });
        found.extend(matching.map(|entry| entry.path()));
    }
    // The name begins with the time, so the last one is the newest.
    found.into_iter().max()
}

#[cfg(test)]
mod tests;
