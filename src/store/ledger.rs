//! The ledger: the one source of truth for events, runs and what happened to them, in an embedded `SQLite`
//! database.
//!
//! Every change is one immediate transaction, so that several processes (the worker, commands) can write. WAL mode with
//! full synchronisation: what was committed survives a power cut. Nothing outside these files
//! knows a column.

mod handled;
pub mod health;
mod questions;
mod queue;
mod rows;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Transaction, TransactionBehavior, params};

use self::queue::{Once, apply, enqueue, job_of, write_job};
use self::rows::{from_json, from_json_string, one_run, select_runs, signed, time_of, to_json, unsigned};
use super::question::{Answer, Asked, Question, Word};
use super::{Claim, Filter, HistoryLine, Job, Run, Step, Store, StoreError, Transition, Verdict};
use crate::clock::Timestamp;
use crate::event::{Change, Event, Hook};
use crate::ids::{Digest, Oid, RunId};
use crate::policy::Action;
use crate::policy::admission::Admission;
use crate::run::{Happening, State};
use crate::secrets;
use crate::triggers::plan::{Plan, PlannedRow, Starts};

/// What makes each format of the file out of the one before it. Nothing that was released is ever changed.
const FORMATS: [(i64, &str); 2] = [(1, include_str!("schema.sql")), (FORMAT, include_str!("schema-2.sql"))];

/// The newest format, in `PRAGMA user_version`.
const FORMAT: i64 = 2;

/// How long a writer waits for another one. Transactions take milliseconds.
const BUSY: Duration = Duration::from_secs(10);

type Result<T, E = StoreError> = std::result::Result<T, E>;

/// The ledger of one repository.
#[derive(Debug)]
pub struct Ledger {
    connection: Connection,
}

/// Names what was being done when the database said no.
trait Doing<T> {
    fn doing(self, what: &str) -> Result<T>;
}

impl<T> Doing<T> for rusqlite::Result<T> {
    fn doing(self, what: &str) -> Result<T> {
        self.map_err(|source| StoreError::Database { doing: what.to_owned(), source })
    }
}

/// Switches to write-ahead logging. Two processes that make a new database at once get in each other's way here, and
/// `SQLite` does not wait for this one statement: it is tried again.
fn use_wal(connection: &Connection) -> rusqlite::Result<()> {
    let begun = Instant::now();
    loop {
        let mode: rusqlite::Result<String> = connection.pragma_query_value(None, "journal_mode", |row| row.get(0));
        if mode.as_deref() == Ok("wal") {
            return Ok(());
        }
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && begun.elapsed() < BUSY => {
                std::thread::yield_now();
            }
            done => return done,
        }
    }
}

impl Ledger {
    /// Opens the ledger, creating it if it is not there.
    pub fn open(path: &Path) -> Result<Self> {
        let opening = format!("cannot open {}", path.display());
        health::refuse_others(path)?;
        let mut connection = Connection::open(path).doing(&opening)?;
        connection.busy_timeout(BUSY).doing(&opening)?;
        use_wal(&connection).doing(&opening)?;
        connection.pragma_update(None, "synchronous", "FULL").doing(&opening)?;
        let format: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).doing(&opening)?;
        if format < FORMAT {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).doing(&opening)?;
            // Another process may have been faster.
            let format: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0)).doing(&opening)?;
            for (version, missing) in FORMATS.iter().filter(|(version, _)| *version > format) {
                tx.execute_batch(missing).doing(&opening)?;
                tx.pragma_update(None, "user_version", version).doing(&opening)?;
            }
            tx.commit().doing(&opening)?;
        } else if format > FORMAT {
            return Err(StoreError::Newer { path: path.to_owned(), found: format, known: FORMAT });
        }
        Ok(Self { connection })
    }

    fn write(&mut self) -> Result<Transaction<'_>> {
        self.connection.transaction_with_behavior(TransactionBehavior::Immediate).doing("cannot write to the ledger")
    }

    fn select(&self, tail: &str, parameters: &[&dyn rusqlite::ToSql]) -> Result<Vec<Run>> {
        select_runs(&self.connection, tail, parameters)
    }
}

/// The event without secrets in what a person wrote. Rows were matched against all of it before.
fn without_secrets(event: &Event) -> Event {
    let mut event = event.clone();
    for text in [&mut event.message, &mut event.author.name, &mut event.author.email] {
        if let Cow::Owned(clean) = secrets::redacted(text) {
            *text = clean;
        }
    }
    event
}

impl Store for Ledger {
    fn take_in(&mut self, plan: &Plan) -> Result<Vec<RunId>> {
        let now = Timestamp::now();
        let event = &plan.event;
        let tx = self.write()?;
        let new = tx
            .execute(
                "INSERT INTO events (key, at, body) VALUES (?1, ?2, ?3) ON CONFLICT (key) DO NOTHING",
                params![event.key.as_str(), signed(event.at.millis()), to_json("event", &without_secrets(event))?],
            )
            .doing("cannot record an event")?;
        let mut queued = Vec::new();
        let is_new = new == 1;
        if is_new || handled::may_happen_again(event.hook) {
            let once = match event.hook {
                Hook::Manual => Once::Always,
                Hook::PrePush | Hook::PostReceive => Once::UnlessFailed,
                Hook::PostCommit
                | Hook::PostMerge
                | Hook::PostRewrite
                | Hook::PostApplypatch
                | Hook::PostCheckout
                | Hook::PreMergeCommit => Once::PerCommit,
            };
            let followers: Vec<_> = plan.rows.iter().filter(|row| row.starts != Starts::Now).cloned().collect();
            for row in plan.rows.iter().filter(|row| row.starts == Starts::Now) {
                if !is_new && !handled::is_over(&tx, event, row)? {
                    continue;
                }
                if let Some(job) = job_of(plan, row, &followers) {
                    queued.extend(enqueue(&tx, job, once, event.at, now)?);
                }
            }
        }
        if is_new {
            handled::replace_rewritten(&tx, plan, now)?;
        }
        tx.commit().doing("cannot record an event")?;
        Ok(queued)
    }

    fn enqueue_again(&mut self, run: RunId) -> Result<RunId> {
        let now = Timestamp::now();
        let tx = self.write()?;
        let (old, _) = one_run(&tx, run)?;
        let row = PlannedRow { admission: Admission::Admitted, ..old.job.row.clone() };
        let job = Job { row, retry_of: Some(run), ..old.job };
        let id = enqueue(&tx, job, Once::Always, now, now)?;
        tx.commit().doing("cannot queue a run")?;
        id.ok_or_else(|| StoreError::NoSuchRun(run.to_string()))
    }

    fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Run>> {
        if self.paused()?.is_some() {
            return Ok(Vec::new());
        }
        self.select(
            "WHERE state = 'queued' AND (not_before IS NULL OR not_before <= ?1) ORDER BY seq LIMIT ?2",
            &[&signed(now.millis()), &signed(limit as u64)],
        )
    }

    fn claim(&mut self, run: RunId, now: Timestamp) -> Result<(Claim, Run)> {
        let tx = self.write()?;
        let (run, _) = one_run(&tx, run)?;
        let doing = "cannot claim a run";
        tx.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'token'", []).doing(doing)?;
        let token: i64 = tx
            .query_row("SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'token'", [], |row| row.get(0))
            .doing(doing)?;
        tx.execute("UPDATE runs SET token = ?2 WHERE id = ?1", params![run.id.to_string(), token]).doing(doing)?;
        apply(&tx, &run, &Transition::of(Happening::Claimed, ""), now)?;
        let (run, token) = one_run(&tx, run.id)?;
        tx.commit().doing(doing)?;
        Ok((Claim { run: run.id, token }, run))
    }

    fn advance(&mut self, claim: &Claim, transition: Transition) -> Result<State> {
        let now = Timestamp::now();
        let tx = self.write()?;
        let (run, token) = one_run(&tx, claim.run)?;
        if token != claim.token {
            return Err(StoreError::StaleClaim { run: claim.run });
        }
        let state = apply(&tx, &run, &transition, now)?;
        tx.commit().doing("cannot record what happened")?;
        Ok(state)
    }

    fn settle(&mut self, claim: &Claim, change: &Change, tree: &Oid) -> Result<()> {
        let tx = self.write()?;
        let (run, token) = one_run(&tx, claim.run)?;
        if token != claim.token {
            return Err(StoreError::StaleClaim { run: claim.run });
        }
        let job = Job { change: change.clone(), tree: Some(tree.clone()), took_up: Vec::new(), ..run.job };
        write_job(&tx, run.id, &job)?;
        tx.commit().doing("cannot change a run")
    }

    fn replan(&mut self, run: RunId, job: &Job) -> Result<()> {
        let tx = self.write()?;
        let (run, _) = one_run(&tx, run)?;
        if run.state.is_active() || run.state.is_terminal() {
            return Err(StoreError::Impossible { run: run.id, state: run.state, happening: Happening::Absorbed });
        }
        write_job(&tx, run.id, job)?;
        tx.commit().doing("cannot change a run")
    }

    fn events_of(&self, run: RunId) -> Result<Vec<Event>> {
        let doing = "cannot read the events of a run";
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT body FROM events JOIN run_events ON run_events.event = events.key
                 WHERE run_events.run = ?1 ORDER BY events.seq",
            )
            .doing(doing)?;
        let rows = statement.query_map([run.to_string()], |row| row.get::<_, String>(0)).doing(doing)?;
        rows.map(|row| from_json("an event", &row.doing(doing)?)).collect()
    }

    fn ask(&mut self, claim: &Claim, asked: &[Asked], transition: Transition) -> Result<State> {
        let now = Timestamp::now();
        let tx = self.write()?;
        let (run, token) = one_run(&tx, claim.run)?;
        if token != claim.token {
            return Err(StoreError::StaleClaim { run: claim.run });
        }
        questions::ask(&tx, &run, asked, now)?;
        let state = apply(&tx, &run, &transition, now)?;
        tx.commit().doing("cannot record a question")?;
        Ok(state)
    }

    fn questions(&self, run: RunId) -> Result<Vec<Question>> {
        questions::of_run(&self.connection, run)
    }

    fn answer(&mut self, run: RunId, number: u32, answer: &Answer) -> Result<State> {
        let tx = self.write()?;
        let (run, _) = one_run(&tx, run)?;
        let state = questions::answer(&tx, &run, number, answer)?;
        tx.commit().doing("cannot record an answer")?;
        Ok(state)
    }

    fn redeem(&mut self, claim: &Claim, action: &Action, now: Timestamp) -> Result<Word> {
        let tx = self.write()?;
        let word = questions::redeem(&tx, claim, action, now)?;
        tx.commit().doing("cannot record that a permission is used")?;
        Ok(word)
    }

    fn expire_questions(&mut self, now: Timestamp) -> Result<usize> {
        // Nearly always there is none: nobody has to wait for a writer to learn that.
        if questions::expirable(&self.connection, now)?.is_empty() {
            return Ok(0);
        }
        let tx = self.write()?;
        let moved = questions::expire(&tx, now)?;
        tx.commit().doing("cannot record that nobody answered")?;
        Ok(moved)
    }

    fn record_step(&mut self, claim: &Claim, step: &Step) -> Result<()> {
        let tx = self.write()?;
        let (_, token) = one_run(&tx, claim.run)?;
        if token != claim.token {
            return Err(StoreError::StaleClaim { run: claim.run });
        }
        let doing = "cannot record a step";
        tx.execute(
            "INSERT INTO steps (run, attempt, name, at, file, digest, note) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                claim.run.to_string(),
                step.attempt,
                step.name,
                signed(step.at.millis()),
                step.file,
                step.digest.as_ref().map(Digest::as_str),
                secrets::redacted(&step.note)
            ],
        )
        .doing(doing)?;
        tx.commit().doing(doing)
    }

    fn decide(&mut self, run: RunId, transition: Transition) -> Result<State> {
        let now = Timestamp::now();
        let tx = self.write()?;
        let (run, _) = one_run(&tx, run)?;
        if run.state.is_active() {
            return Err(StoreError::Impossible { run: run.id, state: run.state, happening: transition.happening });
        }
        let state = apply(&tx, &run, &transition, now)?;
        tx.commit().doing("cannot record a decision")?;
        Ok(state)
    }

    fn request_cancel(&mut self, run: RunId, by: &str) -> Result<()> {
        self.connection
            .execute("UPDATE runs SET cancel = ?2 WHERE id = ?1", params![run.to_string(), by])
            .doing("cannot ask the worker to stop")?;
        Ok(())
    }

    fn successor(&self, run: &Run) -> Result<Option<Run>> {
        handled::successor(&self.connection, run)
    }

    fn supersede(&mut self, run: RunId, by: RunId) -> Result<bool> {
        let tx = self.write()?;
        let done = handled::supersede(&tx, run, by, Timestamp::now())?;
        tx.commit().doing("cannot supersede a run")?;
        Ok(done)
    }

    fn is_by_hand(&self, run: &Run) -> Result<bool> {
        handled::is_by_hand(&self.connection, run)
    }

    fn version(&self) -> Result<i64> {
        self.connection.pragma_query_value(None, "data_version", |row| row.get(0)).doing("cannot read the queue")
    }

    fn recover(&mut self) -> Result<Vec<RunId>> {
        let now = Timestamp::now();
        let tx = self.write()?;
        let left =
            select_runs(&tx, "WHERE state IN ('preparing', 'running', 'validating', 'publishing') ORDER BY seq", &[])?;
        for run in &left {
            let transition = if let Some(by) = run.superseded_by {
                let (by, _) = one_run(&tx, by)?;
                Transition::of(Happening::Superseded, run.superseded_reason(&by))
            } else if run.cancel_requested {
                Transition::of(Happening::Cancelled, "cancelled while no worker was there")
            } else if run.tries() >= run.job.policy().limits.attempts {
                let died = "the worker died over it, and no attempt is left";
                Transition::of(Happening::Failed, format!("{died} · git orchestrator retry {}", run.id.short()))
            } else {
                Transition::of(Happening::Recovered, "the worker died; it begins again")
            };
            apply(&tx, run, &transition, now)?;
        }
        tx.commit().doing("cannot recover")?;
        Ok(left.into_iter().map(|run| run.id).collect())
    }

    fn run(&self, id: RunId) -> Result<Run> {
        one_run(&self.connection, id).map(|(run, _)| run)
    }

    fn runs(&self, filter: &Filter) -> Result<Vec<Run>> {
        let mut conditions = Vec::new();
        if !filter.states.is_empty() {
            let names: Vec<_> = filter.states.iter().map(|state| format!("'{state}'")).collect();
            conditions.push(format!("state IN ({})", names.join(", ")));
        }
        let commit = filter.commit.as_ref().map(Oid::as_str);
        if commit.is_some() {
            conditions.push(r#""commit" = ?2"#.to_owned());
        } else {
            conditions.push("?2 IS NULL".to_owned());
        }
        let limit = filter.limit.map_or(-1, |limit| signed(limit as u64));
        self.select(&format!("WHERE {} ORDER BY seq DESC LIMIT ?1", conditions.join(" AND ")), &[&limit, &commit])
    }

    fn results_for_tree(&self, tree: &Oid, role: &str) -> Result<Vec<Run>> {
        let mut runs = self.select(
            "WHERE tree = ?1 AND role = ?2
             ORDER BY state IN ('succeeded', 'inconclusive', 'failed') DESC, seq DESC",
            &[&tree.as_str(), &role],
        )?;
        let mut rows = BTreeSet::new();
        runs.retain(|run| rows.insert(run.job.row.trigger.clone()));
        Ok(runs)
    }

    fn record_verdict(&mut self, verdict: &Verdict) -> Result<()> {
        self.connection
            .execute(
                r#"INSERT INTO verdicts (tree, "commit", approved, who, why, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"#,
                params![
                    verdict.tree.as_str(),
                    verdict.commit.as_str(),
                    verdict.approved,
                    verdict.who,
                    secrets::redacted(&verdict.why),
                    signed(verdict.at.millis())
                ],
            )
            .doing("cannot record a verdict")?;
        Ok(())
    }

    fn verdict(&self, tree: &Oid) -> Result<Option<Verdict>> {
        let doing = "cannot read verdicts";
        let row = self
            .connection
            .query_row(
                r#"SELECT "commit", approved, who, why, at FROM verdicts WHERE tree = ?1 ORDER BY seq DESC LIMIT 1"#,
                [tree.as_str()],
                |row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get::<_, i64>(4)?)),
            )
            .optional()
            .doing(doing)?;
        row.map(|(commit, approved, who, why, at)| {
            let commit = from_json_string("a verdict", &commit)?;
            Ok(Verdict { tree: tree.clone(), commit, approved, who, why, at: time_of(at) })
        })
        .transpose()
    }

    fn counts(&self) -> Result<BTreeMap<State, u64>> {
        let doing = "cannot count runs";
        let mut statement =
            self.connection.prepare_cached("SELECT state, count(*) FROM runs GROUP BY state").doing(doing)?;
        let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))).doing(doing)?;
        let mut counts = BTreeMap::new();
        for row in rows {
            let (state, n) = row.doing(doing)?;
            counts.insert(from_json_string("a state", &state)?, unsigned(n));
        }
        Ok(counts)
    }

    fn event(&self, key: &Digest) -> Result<Option<Event>> {
        Ok(self.find_events(key.as_str(), 1)?.into_iter().next())
    }

    fn find(&self, text: &str, limit: usize) -> Result<Vec<RunId>> {
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).flat_map(char::to_lowercase).collect();
        let typed = text.chars().filter(|c| *c != '-').count();
        if digits.len() < 4 || digits.len() != typed {
            return Ok(Vec::new());
        }
        let doing = "cannot look for a run";
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT id FROM runs WHERE replace(id, '-', '') LIKE ?1 OR replace(id, '-', '') LIKE ?2
                 ORDER BY seq DESC LIMIT ?3",
            )
            .doing(doing)?;
        let rows = statement
            .query_map(params![format!("{digits}%"), format!("%{digits}"), signed(limit as u64)], |row| {
                row.get::<_, String>(0)
            })
            .doing(doing)?;
        rows.map(|row| from_json_string("a run's id", &row.doing(doing)?)).collect()
    }

    fn find_events(&self, prefix: &str, limit: usize) -> Result<Vec<Event>> {
        if prefix.len() < 4 || !prefix.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(Vec::new());
        }
        let doing = "cannot read events";
        let mut statement = self
            .connection
            .prepare_cached("SELECT body FROM events WHERE key LIKE ?1 ORDER BY seq DESC LIMIT ?2")
            .doing(doing)?;
        let rows = statement
            .query_map(params![format!("{prefix}%"), signed(limit as u64)], |row| row.get::<_, String>(0))
            .doing(doing)?;
        rows.map(|row| from_json("an event", &row.doing(doing)?)).collect()
    }

    fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let sql = "SELECT min(not_before) FROM runs WHERE state = 'queued' AND not_before > ?1";
        self.connection
            .query_row(sql, [signed(now.millis())], |row| Ok(row.get::<_, Option<i64>>(0)?.map(time_of)))
            .doing("cannot read the queue")
    }

    fn steps(&self, run: RunId) -> Result<Vec<Step>> {
        let doing = "cannot read steps";
        let mut statement = self
            .connection
            .prepare_cached("SELECT attempt, name, at, file, digest, note FROM steps WHERE run = ?1 ORDER BY seq")
            .doing(doing)?;
        let rows = statement
            .query_map([run.to_string()], |row| {
                Ok((
                    Step {
                        attempt: row.get(0)?,
                        name: row.get(1)?,
                        at: time_of(row.get(2)?),
                        file: row.get(3)?,
                        digest: None,
                        note: row.get(5)?,
                    },
                    row.get::<_, Option<String>>(4)?,
                ))
            })
            .doing(doing)?;
        rows.map(|row| {
            let (step, digest) = row.doing(doing)?;
            let digest = digest.map(|text| from_json_string("a digest", &text)).transpose()?;
            Ok(Step { digest, ..step })
        })
        .collect()
    }

    fn history(&self, run: Option<RunId>, limit: usize) -> Result<Vec<HistoryLine>> {
        let doing = "cannot read the history";
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT seq, run, at, happening, state, reason FROM transitions
                 WHERE ?1 IS NULL OR run = ?1 ORDER BY seq DESC LIMIT ?2",
            )
            .doing(doing)?;
        let rows = statement
            .query_map(params![run.map(|run| run.to_string()), signed(limit as u64)], |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, i64>(2)?,
                    row.get::<_, Option<String>>(3)?,
                    row.get::<_, String>(4)?,
                    row.get::<_, String>(5)?,
                ))
            })
            .doing(doing)?;
        let mut lines = Vec::new();
        for row in rows {
            let (seq, run, at, happening, state, reason) = row.doing(doing)?;
            lines.push(HistoryLine {
                seq: unsigned(seq),
                at: time_of(at),
                run: from_json_string("a run's id", &run)?,
                happening: happening.map(|text| from_json_string("a happening", &text)).transpose()?,
                state: from_json_string("a state", &state)?,
                reason,
            });
        }
        lines.reverse();
        Ok(lines)
    }

    fn spent_since(&self, since: Timestamp) -> Result<(u64, u64)> {
        self.connection
            .query_row(
                "SELECT count(*), coalesce(sum(input_tokens + output_tokens), 0) FROM runs WHERE started_at >= ?1",
                [signed(since.millis())],
                |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?))),
            )
            .doing("cannot add up what was spent")
    }

    fn paused(&self) -> Result<Option<String>> {
        self.connection
            .query_row("SELECT value FROM meta WHERE key = 'paused'", [], |row| row.get(0))
            .optional()
            .doing("cannot read the queue")
    }

    fn set_paused(&mut self, reason: Option<&str>) -> Result<()> {
        let done = match reason {
            Some(reason) => {
                let reason = secrets::redacted(reason);
                self.connection.execute("INSERT OR REPLACE INTO meta VALUES ('paused', ?1)", [reason])
            }
            None => self.connection.execute("DELETE FROM meta WHERE key = 'paused'", []),
        };
        done.doing("cannot pause or resume")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
