//! What is remembered: the spool that hooks write, and the ledger that holds the truth.
//!
//! A hook writes one spool file and is done; it never opens the database. Whoever needs the truth takes spool files
//! into the ledger first. Taking one in twice is the same as once (rows are keyed), and a file is removed only after
//! the commit that holds it, so a crash at any point loses nothing.
//!
//! Access goes through the [`Store`] trait, because a server's store will stand behind it later. Only this module
//! decides what state a run is in.

pub mod layout;
pub mod ledger;
pub mod question;
pub mod spool;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::question::{Answer, Asked, Question, Standing, Word};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::event::{Change, Event, path_text};
use crate::ids::{Digest, Oid, RunId};
use crate::policy::{Action, Budget, RolePolicy};
use crate::run::{Happening, State};
use crate::runtime::Usage;
use crate::triggers::ArtifactRules;
use crate::triggers::plan::{Plan, PlannedRow};

/// What went wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else took the run over; whoever gets this must stop at once.
    #[error("run {run} was taken over by another worker")]
    StaleClaim {
        /// The run.
        run: RunId,
    },
    /// The happening is not in the table of transitions.
    #[error("run {run} is {state}: it cannot be {happening:?}")]
    Impossible {
        /// The run.
        run: RunId,
        /// Where it stands.
        state: State,
        /// What was asked for.
        happening: Happening,
    },
    /// There is no such run.
    #[error("there is no run `{0}`")]
    NoSuchRun(String),
    /// There is no such question.
    #[error("there is no question `{0}`")]
    NoSuchQuestion(String),
    /// The question waits for no answer.
    #[error("{}", not_open(question, *standing, *state))]
    NotOpen {
        /// The question.
        question: Box<Question>,
        /// How it stands.
        standing: Standing,
        /// How its run stands.
        state: State,
    },
    /// A run was to wait, and there was nothing that a person could be asked.
    #[error("run {0} has no question that could be asked")]
    NothingToAsk(RunId),
    /// The ledger was written by a newer version.
    #[error("{path} has format {found}, newer than this program's {known}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The database said no.
    #[error("{doing}: {source}")]
    Database {
        /// What was being done.
        doing: String,
        /// What it said.
        source: rusqlite::Error,
    },
    /// Our own side failed: a file could not be read or written.
    #[error(transparent)]
    Files(#[from] Error),
    /// A row does not hold what was written there.
    #[error("{what} does not read back: {source}")]
    Damaged {
        /// Which row.
        what: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// A store's refusal, as an error for a person.
impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Files(error) => error,
            StoreError::NoSuchRun(_) | StoreError::NoSuchQuestion(_) => Self::not_found(error.to_string()),
            StoreError::Impossible { .. } | StoreError::NotOpen { .. } => Self::refused(error.to_string()),
            StoreError::Newer { .. } => {
                Self::failed(error.to_string()).hint("update git-orchestrator; nothing was changed")
            }
            StoreError::Database { ref source, .. } if is_damage(source) => {
                let aside = "move `.orchestrator/state/ledger.db` and its `-wal` and `-shm` aside: a new one begins";
                Self::failed("the ledger is damaged").hint(aside).because(error)
            }
            StoreError::Database { .. }
            | StoreError::Damaged { .. }
            | StoreError::StaleClaim { .. }
            | StoreError::NothingToAsk(_) => Self::failed("the ledger does not answer").because(error),
        }
    }
}

/// Why a question waits for no answer, as a sentence.
fn not_open(question: &Question, standing: Standing, state: State) -> String {
    let id = question.id();
    let by = question.answer.as_ref().map_or_else(String::new, |answer| crate::text::one_line(&answer.who));
    match standing {
        Standing::Open => format!("question {id} waits for an answer"),
        Standing::Expired => format!("question {id} was not answered in time"),
        Standing::Closed => format!("question {id} needs no answer any more: its run is {state}"),
        Standing::Allowed => format!("question {id} was answered already: {by} allowed it"),
        Standing::Used => format!("question {id} was answered already: {by} allowed it, and it was done"),
        Standing::Rejected => format!("question {id} was answered already: {by} refused it"),
    }
}

/// Whether the file itself is broken, so that trying again is of no use.
fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase))
}

/// What a run is to do: fixed when it is queued, but for the event, which a newer one may replace until it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The row, resolved.
    pub row: PlannedRow,
    /// Rows that follow this one.
    pub followers: Vec<PlannedRow>,
    /// The event's key.
    pub event: Digest,
    /// What changed.
    pub change: Change,
    /// Changes that this job took up and that may not be part of `change`, earliest first, [`TAKEN_UP_MAX`] at most:
    /// what the run is about reaches back to before them, as far as they are still in the history.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub took_up: Vec<Change>,
    /// The tree of `change.head`.
    pub tree: Option<Oid>,
    /// The branch, if HEAD was on one.
    pub branch: Option<String>,
    /// Where the hook ran.
    #[serde(with = "path_text")]
    pub worktree: PathBuf,
    /// What may be spent in a day.
    pub budget: Budget,
    /// The `artifacts` section.
    pub artifacts: ArtifactRules,
    /// Of the table's bytes.
    pub table: Digest,
    /// The run whose end started this one.
    pub caused_by: Option<RunId>,
    /// The run that this one tries again.
    pub retry_of: Option<RunId>,
}

/// How many changes a job remembers beside its own. In a straight history the earliest says it all; what is dropped
/// beyond this is neither the earliest nor the newest.
pub const TAKEN_UP_MAX: usize = 16;

impl Job {
    /// What the run may do.
    pub fn policy(&self) -> &RolePolicy {
        &self.row.policy
    }

    /// Makes this job stand for `other` too, which has not begun or is ended for it.
    ///
    /// Commits that come one after another are one change, from before the first to the last. Where others lie between,
    /// which matched nothing, only the repository can tell: the worker asks it. Of two changes from one base the one that
    /// was committed later replaced the other; what was pushed later may be the older one (`is_push`).
    pub fn take_up(&mut self, other: &Self, is_push: bool) {
        self.took_up.splice(0..0, other.took_up.iter().cloned());
        if self.change.base.as_ref() == Some(&other.change.head) {
            self.change.base.clone_from(&other.change.base);
        } else if is_push || self.change.base != other.change.base {
            match self.took_up.last_mut().filter(|last| other.change.base.as_ref() == Some(&last.head)) {
                Some(last) => last.head = other.change.head.clone(),
                None => self.took_up.push(other.change.clone()),
            }
        }
        self.took_up.dedup();
        while self.took_up.len() > TAKEN_UP_MAX {
            self.took_up.remove(TAKEN_UP_MAX - 1);
        }
    }
}

/// A run as the ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// What it is to do.
    pub job: Job,
    /// Where it stands.
    pub state: State,
    /// Why it stands there, as a sentence; empty where the state says it all.
    pub reason: String,
    /// How often it was begun.
    pub attempt: u32,
    /// How often it went on after it had waited for a person. Such an attempt is none that had to be made again.
    #[serde(default)]
    pub resumed: u32,
    /// Not to be claimed before.
    pub not_before: Option<Timestamp>,
    /// It is to stop: a person asked for it, or a newer run takes its place.
    pub cancel_requested: bool,
    /// The newer run that takes its place.
    pub superseded_by: Option<RunId>,
    /// When it was queued.
    pub created_at: Timestamp,
    /// When it was first claimed.
    pub started_at: Option<Timestamp>,
    /// When it reached a terminal state.
    pub finished_at: Option<Timestamp>,
    /// What it used.
    pub usage: Usage,
    /// Paths of its artifacts, relative to the directory that holds `.orchestrator`.
    pub artifacts: Vec<String>,
    /// A scripted model carries it out, not an agent.
    pub rehearsal: bool,
    /// Whether the role found nothing against the change; `None` before it came to a result.
    pub favourable: Option<bool>,
}

/// How the reason of a queued run begins that waits for something in the repository to end.
pub const WAITS_FOR: &str = "waits for the end of the ";

impl Run {
    /// Whether it waits for something in the repository to end, as the worker last saw it.
    pub fn waits(&self) -> bool {
        self.state == State::Queued && self.reason.starts_with(WAITS_FOR)
    }

    /// Which try this is, of those that `limits.attempts` allows.
    pub fn tries(&self) -> u32 {
        self.attempt.saturating_sub(self.resumed)
    }

    /// Why `by` takes the place of this run.
    pub fn superseded_reason(&self, by: &Self) -> String {
        let (old, new) = (self.job.change.head.short(), by.job.change.head.short());
        format!("{new} replaced {old}: run {} takes its place", by.id.short())
    }

    /// The artifact with this extension, relative to the directory that holds `.orchestrator`.
    pub fn artifact(&self, extension: &str) -> Option<&str> {
        let has_it = |path: &&String| Path::new(path.as_str()).extension().is_some_and(|found| found == extension);
        self.artifacts.iter().find(has_it).map(String::as_str)
    }
}

/// The right to work on a run. Every write of the worker shows it; a newer claim makes it worthless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The run.
    pub run: RunId,
    /// Grows with every claim in this ledger.
    pub token: u64,
}

/// Something that happened to a run, with what is to be remembered of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// What.
    pub happening: Happening,
    /// Why, as a sentence; empty where there is nothing to say.
    pub reason: String,
    /// Sets [`Run::not_before`].
    pub not_before: Option<Timestamp>,
    /// Adds to [`Run::usage`].
    pub usage: Usage,
    /// Sets [`Run::artifacts`].
    pub artifacts: Option<Vec<String>>,
    /// Sets [`Run::rehearsal`].
    pub rehearsal: Option<bool>,
    /// Sets [`Run::favourable`].
    pub favourable: Option<bool>,
}

impl Transition {
    /// What happened, with nothing more to remember than the reason.
    pub fn of(happening: Happening, reason: impl Into<String>) -> Self {
        Self {
            happening,
            reason: reason.into(),
            not_before: None,
            usage: Usage::default(),
            artifacts: None,
            rehearsal: None,
            favourable: None,
        }
    }
}

/// What a person decided about a tree, for a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The tree: another commit of the same tree has the same verdict.
    pub tree: Oid,
    /// The commit the person looked at.
    pub commit: Oid,
    /// Approved or rejected.
    pub approved: bool,
    /// Who.
    pub who: String,
    /// Why, if they said.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// A finished step of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Which attempt.
    pub attempt: u32,
    /// Its name: `workspace`, `package`, `turn`, `validate`, `publish`.
    pub name: String,
    /// When it was finished.
    pub at: Timestamp,
    /// The file that holds what came out of it, in the run's directory.
    pub file: Option<String>,
    /// That file's digest.
    pub digest: Option<Digest>,
    /// A few words for `show`.
    pub note: String,
}

/// A line of a run's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryLine {
    /// Its place in the ledger.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// The run.
    pub run: RunId,
    /// What happened; `None` for the first line, when it was queued.
    pub happening: Option<Happening>,
    /// The state after it.
    pub state: State,
    /// Why.
    pub reason: String,
}

/// Where the truth is kept. One implementation today, [`ledger::Ledger`].
pub trait Store {
    /// Takes a plan in: records the event and queues its rows, once by the event's key; a push, merge or checkout that
    /// happens again after its runs ended is another event. Rows of one coalescing key that still wait take up the newer
    /// event instead of making another job.
    fn take_in(&mut self, plan: &Plan) -> Result<Vec<RunId>, StoreError>;

    /// Queues the job of an ended run once more, as a run of its own.
    fn enqueue_again(&mut self, run: RunId) -> Result<RunId, StoreError>;

    /// The runs that may begin at `now`, oldest first, at most `limit`; none while the queue is paused.
    fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Run>, StoreError>;

    /// Takes a queued run, with a claim that makes all earlier ones worthless.
    fn claim(&mut self, run: RunId, now: Timestamp) -> Result<(Claim, Run), StoreError>;

    /// Records what the worker made happen, if its claim still holds. Reaching a terminal state queues the rows that
    /// follow, in the same transaction.
    fn advance(&mut self, claim: &Claim, transition: Transition) -> Result<State, StoreError>;

    /// Records what the run is about, now that the repository was asked, if the claim still holds. `tree` is that of the
    /// change's head.
    fn settle(&mut self, claim: &Claim, change: &Change, tree: &Oid) -> Result<(), StoreError>;

    /// Replaces what a run that waits is to do.
    fn replan(&mut self, run: RunId, job: &Job) -> Result<(), StoreError>;

    /// The events that became this run, oldest first.
    fn events_of(&self, run: RunId) -> Result<Vec<Event>, StoreError>;

    /// Lets the run wait for a person's answer to these questions, if the claim still holds; a part of them, if there are
    /// more than a person would read.
    fn ask(&mut self, claim: &Claim, asked: &[Asked], transition: Transition) -> Result<State, StoreError>;

    /// The questions of a run, in order.
    fn questions(&self, run: RunId) -> Result<Vec<Question>, StoreError>;

    /// Records what a person said to a question that waits for an answer. When no question of the run is open any more
    /// it goes back into the queue.
    fn answer(&mut self, run: RunId, number: u32, answer: &Answer) -> Result<State, StoreError>;

    /// What persons said about exactly this action in this run, if the claim still holds. A permission is used up, and
    /// durably so, before this returns: once means once, whatever happens next.
    fn redeem(&mut self, claim: &Claim, action: &Action, now: Timestamp) -> Result<Word, StoreError>;

    /// Lets runs go on, or ends them, that wait for answers which nobody may give any more. Returns how many.
    fn expire_questions(&mut self, now: Timestamp) -> Result<usize, StoreError>;

    /// Records a finished step, if the claim still holds.
    fn record_step(&mut self, claim: &Claim, step: &Step) -> Result<(), StoreError>;

    /// Records what a person made happen (held runs released, queued ones cancelled). Needs no claim; refused while the
    /// worker is on the run, for which see [`Store::request_cancel`].
    fn decide(&mut self, run: RunId, transition: Transition) -> Result<State, StoreError>;

    /// Asks whoever works on the run to stop.
    fn request_cancel(&mut self, run: RunId, by: &str) -> Result<(), StoreError>;

    /// The newest run that may take the place of `run` if its commit was replaced: of the same row and branch, queued
    /// later. For a run that follows another one also a later run of that one's row. `None` for what a person asked for.
    fn successor(&self, run: &Run) -> Result<Option<Run>, StoreError>;

    /// Lets `by` take the place of `run`, whose commit is no longer what it was: what waits ends at once, whoever works on
    /// it is asked to stop. `false` where `by` does not stand for all that `run` was about; then nothing is changed.
    fn supersede(&mut self, run: RunId, by: RunId) -> Result<bool, StoreError>;

    /// Whether a person asked for this run by name, or for one that led to it.
    fn is_by_hand(&self, run: &Run) -> Result<bool, StoreError>;

    /// A number that changes when another process writes to the store.
    fn version(&self) -> Result<i64, StoreError>;

    /// Puts runs back into the queue that a dead worker left active. Only for the holder of the worker lock.
    fn recover(&mut self) -> Result<Vec<RunId>, StoreError>;

    /// One run.
    fn run(&self, id: RunId) -> Result<Run, StoreError>;

    /// Runs, newest first.
    fn runs(&self, filter: &Filter) -> Result<Vec<Run>, StoreError>;

    /// What this role found for exactly this tree: for each row of the table the newest run that came to a result; where
    /// none has, the newest one.
    fn results_for_tree(&self, tree: &Oid, role: &str) -> Result<Vec<Run>, StoreError>;

    /// Records what a person decided about a tree.
    fn record_verdict(&mut self, verdict: &Verdict) -> Result<(), StoreError>;

    /// The newest verdict about this tree.
    fn verdict(&self, tree: &Oid) -> Result<Option<Verdict>, StoreError>;

    /// How many runs stand in each state.
    fn counts(&self) -> Result<BTreeMap<State, u64>, StoreError>;

    /// The event of this key.
    fn event(&self, key: &Digest) -> Result<Option<Event>, StoreError>;

    /// Runs that a person who typed `text` may mean: by id (prefix or last digits), newest first, at most `limit`.
    fn find(&self, text: &str, limit: usize) -> Result<Vec<RunId>, StoreError>;

    /// Events whose key begins with `prefix`, newest first, at most `limit`.
    fn find_events(&self, prefix: &str, limit: usize) -> Result<Vec<Event>, StoreError>;

    /// When the next run may begin that waits for its time at `now`; `None` where none does.
    fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// The finished steps of a run, in order.
    fn steps(&self, run: RunId) -> Result<Vec<Step>, StoreError>;

    /// What happened, oldest first: to one run, or to all.
    fn history(&self, run: Option<RunId>, limit: usize) -> Result<Vec<HistoryLine>, StoreError>;

    /// Runs started and tokens used since this time.
    fn spent_since(&self, since: Timestamp) -> Result<(u64, u64), StoreError>;

    /// Whether a person paused the queue, and why.
    fn paused(&self) -> Result<Option<String>, StoreError>;

    /// Pauses or resumes the queue.
    fn set_paused(&mut self, reason: Option<&str>) -> Result<(), StoreError>;
}

/// Which runs.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those in one of these states; empty: all.
    pub states: Vec<State>,
    /// Only those of this commit.
    pub commit: Option<Oid>,
    /// At most so many.
    pub limit: Option<usize>,
}
