//! The fixed shapes of `--json` (DESIGN: the command line). Keys may be added, never changed.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::runtime::Usage;
use crate::store::Run;

/// The version of these shapes.
pub const SCHEMA: u32 = 1;

/// `status --json`.
#[derive(Debug, Serialize)]
pub struct Status {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The worker.
    pub worker: Worker,
    /// Why the queue is paused; absent if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
    /// Whether what is here was accepted.
    pub trust: Trust,
    /// How many events could not be read and were set aside.
    pub set_aside: usize,
    /// How many runs stand in each state; states without a run are left out.
    pub counts: BTreeMap<&'static str, u64>,
    /// Runs, newest first.
    pub runs: Vec<RunView>,
    /// What waits for a person.
    pub gates: Vec<Gate>,
}

/// Whether what is here was accepted.
#[derive(Debug, Serialize)]
pub struct Trust {
    /// `trusted`, `changed` or `unknown`.
    pub state: &'static str,
    /// Why nothing begins; null where it does.
    pub reason: Option<String>,
    /// How many events wait until rows can be looked up for them.
    pub held_events: usize,
}

/// The worker.
#[derive(Debug, Serialize)]
pub struct Worker {
    /// Whether one lives.
    pub running: bool,
    /// Its process.
    pub pid: Option<u32>,
}

/// A place where a person decides.
#[derive(Debug, Serialize)]
pub struct Gate {
    /// What to give to `answer`, `approve` or `reject`.
    pub id: String,
    /// `clarification`, `escalation` or `review`.
    pub kind: String,
    /// The run that waits.
    pub run: String,
    /// What is asked.
    pub question: String,
}

/// A run.
#[derive(Debug, Serialize)]
pub struct RunView {
    /// Its id.
    pub id: String,
    /// The row.
    pub trigger: String,
    /// The role.
    pub role: String,
    /// Where it stands.
    pub state: &'static str,
    /// Why.
    pub reason: String,
    /// The commit.
    pub commit: String,
    /// The branch, if there was one.
    pub branch: Option<String>,
    /// The runtime.
    pub runtime: String,
    /// A scripted model carries it out.
    pub rehearsal: bool,
    /// Whether the role found nothing against the change; null before it came to a result.
    pub favourable: Option<bool>,
    /// How often it was begun.
    pub attempt: u32,
    /// When it was queued.
    pub created_at: Timestamp,
    /// When it was first begun.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Not to be begun before.
    pub not_before: Option<Timestamp>,
    /// The run whose end started it.
    pub caused_by: Option<String>,
    /// The run it tries again.
    pub retry_of: Option<String>,
    /// Its artifacts, relative to the top of the main worktree.
    pub artifacts: Vec<String>,
    /// Tokens.
    pub usage: Usage,
    /// Its directory, relative like the artifacts.
    pub directory: String,
}

impl RunView {
    /// The view of a run whose directory is `directory`, beneath `home`.
    pub fn of(run: &Run, home: &Path, directory: &Path) -> Self {
        let job = &run.job;
        Self {
            id: run.id.to_string(),
            trigger: job.row.trigger.clone(),
            role: job.row.role.clone(),
            state: run.state.as_str(),
            reason: run.reason.clone(),
            commit: job.change.head.to_string(),
            branch: job.branch.clone(),
            runtime: job.row.runtime.clone(),
            rehearsal: run.rehearsal,
            favourable: run.favourable,
            attempt: run.attempt,
            created_at: run.created_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
            not_before: run.not_before,
            caused_by: job.caused_by.map(|id| id.to_string()),
            retry_of: job.retry_of.map(|id| id.to_string()),
            artifacts: run.artifacts.clone(),
            usage: run.usage,
            directory: directory.strip_prefix(home).unwrap_or(directory).to_string_lossy().into_owned(),
        }
    }
}
