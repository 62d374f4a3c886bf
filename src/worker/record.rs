//! The run directory: what was asked, what happened, what came back.
//!
//! `events.jsonl` grows as things happen, so that a person can follow; everything else is written whole. A step's file
//! is durable before its row is. Nothing is written here without a look for secrets; what the evidence is made of stays
//! as it came, in memory.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::error::{Context as _, Result};
use crate::files::Directory;
use crate::ids::Digest;
use crate::runtime::Activity;
use crate::runtime::activity::Recorded;
use crate::secrets::{self, Counts};
use crate::store::layout::Layout;
use crate::store::{Claim, Step, Store, StoreError};

/// The largest record that is read back, in bytes: many times what the output limit lets through.
pub const EVENTS_BYTES_MAX: u64 = 256 << 20;

/// The directory of one run, while an attempt writes it.
#[derive(Debug)]
pub struct Record {
    directory: Directory,
    checkpoints: Directory,
    events: File,
    attempt: u32,
    steps: u32,
    /// What this attempt recorded, for the evidence.
    activities: Vec<Recorded>,
    /// The first write that failed: a full disk must not kill the run silently.
    failed: Option<std::io::Error>,
}

impl Record {
    /// Opens the directory for this attempt, creating it if needed. `steps` is the number of steps recorded so far.
    pub fn open(layout: &Layout, directory: &Path, attempt: u32, steps: u32) -> Result<Self> {
        let below = directory.strip_prefix(layout.root()).context(|| "a run's directory lies outside .orchestrator")?;
        let create = |below: &Path| {
            Directory::create(layout.root(), below)
                .context(|| format!("cannot create {}", layout.root().join(below).display()))
        };
        let (directory, checkpoints) = (create(below)?, create(&below.join("checkpoints"))?);
        let events = directory.append("events.jsonl")?;
        Ok(Self { directory, checkpoints, events, attempt, steps, activities: Vec::new(), failed: None })
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Reads back what earlier attempts recorded, as far as it is read back whole: the thread that goes on has seen it.
    pub fn recall(&mut self) -> Result<()> {
        let Some(bytes) = self.directory.read("events.jsonl", EVENTS_BYTES_MAX)? else { return Ok(()) };
        let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
        let mut earlier: Vec<Recorded> = lines.filter(|recorded: &Recorded| recorded.attempt < self.attempt).collect();
        earlier.append(&mut self.activities);
        self.activities = earlier;
        Ok(())
    }

    /// Everything this attempt recorded, after what was [recalled](Self::recall).
    pub fn activities(&self) -> &[Recorded] {
        &self.activities
    }

    /// Appends a line to `events.jsonl`.
    pub fn activity(&mut self, activity: Activity) {
        let recorded = Recorded { at: Timestamp::now(), attempt: self.attempt, activity };
        let clean = secrets::redacted_value(&recorded, &mut Counts::new());
        if let Ok(mut line) = clean.and_then(|clean| serde_json::to_vec(&clean)) {
            line.push(b'\n');
            // One write for one line: a reader that follows never sees half of one, short of a full disk.
            if let Err(error) = self.events.write_all(&line)
                && self.failed.is_none()
            {
                self.failed = Some(error);
            }
        }
        self.activities.push(recorded);
    }

    /// Makes the lines durable, and tells whether any could not be written.
    pub fn flush(&mut self) -> Result<()> {
        let path = self.directory().join("events.jsonl");
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.events.sync_all(),
        }
        .context(|| format!("cannot write {}", path.display()))
    }

    /// Writes a file of the run.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.directory.write(name, bytes)
    }

    /// Records a finished step: its checkpoint first, then the row that names it.
    pub fn step(
        &mut self,
        store: &mut dyn Store,
        claim: &Claim,
        name: &str,
        note: &str,
        payload: &impl Serialize,
    ) -> Result<(), StoreError> {
        #[derive(Serialize)]
        struct Checkpoint<'a, T> {
            schema: u32,
            run: String,
            attempt: u32,
            step: &'a str,
            at: Timestamp,
            payload: &'a T,
        }
        self.steps += 1;
        let at = Timestamp::now();
        let checkpoint =
            Checkpoint { schema: 1, run: claim.run.to_string(), attempt: self.attempt, step: name, at, payload };
        let bytes = secrets::redacted_value(&checkpoint, &mut Counts::new())
            .and_then(|clean| serde_json::to_vec_pretty(&clean))
            .context(|| format!("cannot record the step `{name}`"))?;
        let name_of_file = format!("{:02}-{name}.json", self.steps);
        self.checkpoints.write(&name_of_file, &bytes)?;
        let step = Step {
            attempt: self.attempt,
            name: name.to_owned(),
            at,
            file: Some(format!("checkpoints/{name_of_file}")),
            digest: Some(Digest::of(&bytes)),
            note: secrets::redacted(note).into_owned(),
        };
        store.record_step(claim, &step)
    }
}
