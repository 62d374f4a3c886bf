//! What happens to runs, inside one transaction: queueing, taking up newer events, transitions, what follows an end.
//!
//! [`apply`] is the only place that changes a state, and it asks the table of transitions.

use rusqlite::{Transaction, params};

use super::rows::{one_run, select_runs, signed, to_json};
use super::{Doing as _, Result, handled};
use crate::clock::Timestamp;
use crate::ids::{Digest, Oid, RunId};
use crate::policy::admission::Admission;
use crate::run::{self, Happening, State};
use crate::secrets;
use crate::store::{Job, Run, StoreError, Transition};
use crate::triggers::Coalesce;
use crate::triggers::plan::{Plan, PlannedRow, Starts};

/// Appends a line to the history.
fn append(
    tx: &Transaction<'_>,
    run: RunId,
    at: Timestamp,
    happening: Option<Happening>,
    state: State,
    reason: &str,
) -> Result<()> {
    tx.prepare_cached("INSERT INTO transitions (run, at, happening, state, reason) VALUES (?1, ?2, ?3, ?4, ?5)")
        .and_then(|mut statement| {
            statement.execute(params![
                run.to_string(),
                signed(at.millis()),
                happening.map(Happening::as_str),
                state.as_str(),
                secrets::redacted(reason)
            ])
        })
        .doing("cannot record what happened")?;
    Ok(())
}

/// Makes something happen to a run: the only place that changes a state.
pub(super) fn apply(tx: &Transaction<'_>, run: &Run, transition: &Transition, now: Timestamp) -> Result<State> {
    let impossible = || StoreError::Impossible { run: run.id, state: run.state, happening: transition.happening };
    let state = run::after(run.state, transition.happening).ok_or_else(impossible)?;
    append(tx, run.id, now, Some(transition.happening), state, &transition.reason)?;
    let begins = transition.happening == Happening::Claimed;
    let artifacts = match &transition.artifacts {
        Some(paths) => Some(to_json("artifacts", paths)?),
        None => None,
    };
    tx.prepare_cached(
        "UPDATE runs SET state = ?2, reason = ?3, not_before = ?4,
             attempt = attempt + ?5,
             started_at = CASE WHEN ?5 = 1 AND started_at IS NULL THEN ?6 ELSE started_at END,
             finished_at = CASE WHEN ?7 = 1 THEN ?6 ELSE NULL END,
             cancel = CASE WHEN ?7 = 1 THEN NULL ELSE cancel END,
             input_tokens = input_tokens + ?8, cached_tokens = cached_tokens + ?9, output_tokens = output_tokens + ?10,
             artifacts = coalesce(?11, artifacts), rehearsal = coalesce(?12, rehearsal),
             favourable = coalesce(?13, favourable)
         WHERE id = ?1",
    )
    .and_then(|mut statement| {
        statement.execute(params![
            run.id.to_string(),
            state.as_str(),
            secrets::redacted(&transition.reason),
            transition.not_before.map(|at| signed(at.millis())),
            i64::from(begins),
            signed(now.millis()),
            i64::from(state.is_terminal()),
            signed(transition.usage.input_tokens),
            signed(transition.usage.cached_input_tokens),
            signed(transition.usage.output_tokens),
            artifacts,
            transition.rehearsal,
            transition.favourable,
        ])
    })
    .doing("cannot update a run")?;
    if state.is_terminal() {
        follow(tx, run, state, now)?;
    }
    Ok(state)
}

/// Queues the rows that follow `run` when it ends as `state`. In the transaction that ends it, so that a crash cannot
/// part the two.
fn follow(tx: &Transaction<'_>, run: &Run, state: State, now: Timestamp) -> Result<()> {
    for row in &run.job.followers {
        let Starts::After { runs } = &row.starts else { continue };
        if runs.iter().any(|(trigger, wanted)| *trigger == run.job.row.trigger && *wanted == state) {
            let job = Job { row: row.clone(), caused_by: Some(run.id), retry_of: None, ..run.job.clone() };
            enqueue(tx, job, Once::Always, now, now)?;
        }
    }
    Ok(())
}

/// Whether an earlier run of the same row for the same commit makes this job needless.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Once {
    /// Yes: another event named the same commit.
    PerCommit,
    /// Yes, but where that run failed: a push is another occasion to ask for it.
    UnlessFailed,
    /// No: a person asked, or another run did.
    Always,
}

/// Queues a job, or lets a run that still waits take it up. `at` is when its event happened.
pub(super) fn enqueue(
    tx: &Transaction<'_>,
    mut job: Job,
    once: Once,
    at: Timestamp,
    now: Timestamp,
) -> Result<Option<RunId>> {
    let trigger = job.row.trigger.clone();
    if let Some(runs) = handled::by(tx, &job, once)? {
        for run in runs {
            link(tx, &run.to_string(), &job.event)?;
        }
        return Ok(None);
    }
    let key = coalescing_key(&job, once);
    if let Some(key) = &key
        && let Some(waiting) = select_runs(
            tx,
            "WHERE coalesce_key = ?1 AND state IN ('queued', 'held') AND attempt = 0 ORDER BY seq DESC LIMIT 1",
            &[key],
        )?
        .into_iter()
        .next()
        // What was held under older rules does not hold back what today's admit.
        && (waiting.state == State::Queued || job.row.admission != Admission::Admitted)
    {
        job.take_up(&waiting.job, once == Once::UnlessFailed);
        // A held run goes on saying why it is held, a waiting one what it waits for.
        let reason = if waiting.state == State::Held || waiting.waits() {
            waiting.reason.clone()
        } else if job.change.head == waiting.job.change.head {
            format!("took up another event of {}", job.change.head.short())
        } else {
            format!("took up {} in place of {}", job.change.head.short(), waiting.job.change.head.short())
        };
        write_job(tx, waiting.id, &job)?;
        link(tx, &waiting.id.to_string(), &job.event)?;
        // Quiet is waited for anew, but not for ever: somebody who commits steadily gets a run all the same.
        let latest = waiting.created_at.plus(job.row.debounce.saturating_mul(DEBOUNCES_MAX));
        let not_before = quiet_from(&job, at, now).map(|quiet| quiet.min(latest));
        let transition = Transition { not_before, ..Transition::of(Happening::Absorbed, reason) };
        apply(tx, &waiting, &transition, now)?;
        // Nor is what is held today carried out because something that was admitted waited.
        if let (State::Queued, Admission::Held { reason }) = (waiting.state, &job.row.admission) {
            let (merged, _) = one_run(tx, waiting.id)?;
            apply(tx, &merged, &Transition::of(Happening::Held, reason.clone()), now)?;
        }
        return Ok(Some(waiting.id));
    }
    let id = RunId::new();
    let admission = job.row.admission.clone();
    tx.execute(
        r#"INSERT INTO runs (id, trigger, coalesce_key, "commit", job, created_at, state, tree, role, not_before)
           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"#,
        params![
            id.to_string(),
            trigger,
            key,
            job.change.head.as_str(),
            to_json("job", &job)?,
            signed(now.millis()),
            State::Queued.as_str(),
            job.tree.as_ref().map(Oid::as_str),
            job.row.role,
            quiet_from(&job, at, now).map(|quiet| signed(quiet.millis())),
        ],
    )
    .doing("cannot queue a run")?;
    link(tx, &id.to_string(), &job.event)?;
    append(tx, id, now, None, State::Queued, "")?;
    if let Admission::Held { reason } = admission {
        let (run, _) = one_run(tx, id)?;
        apply(tx, &run, &Transition::of(Happening::Held, reason), now)?;
    }
    Ok(Some(id))
}

/// How many times its quiet time a run waits at most after it was queued, however often it takes something up.
const DEBOUNCES_MAX: u32 = 10;

/// From when on it has been quiet for long enough, if nothing else happens. What a person or another run asked for does
/// not wait.
fn quiet_from(job: &Job, at: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let is_asked_for = job.retry_of.is_some() || job.caused_by.is_some();
    // A clock that was set back since must not make it wait for that time to come again.
    (!is_asked_for && !job.row.debounce.is_zero()).then(|| at.min(now).plus(job.row.debounce))
}

/// Waiting runs of the same key become one. `None`: this one is never taken up into another.
fn coalescing_key(job: &Job, once: Once) -> Option<String> {
    let trigger = &job.row.trigger;
    // Neither a row's name nor a branch's holds a NUL.
    match job.row.coalesce {
        // What a person asks for by name is carried out as asked.
        _ if job.retry_of.is_some() => None,
        // A detached HEAD has no branch to share: one job for each commit. The branch of a push is one of the other side,
        // which may take anything under that name.
        Coalesce::Branch => job.branch.as_ref().map(|branch| match once {
            Once::UnlessFailed => format!("{trigger}\0{branch}\0push"),
            Once::PerCommit | Once::Always => format!("{trigger}\0{branch}"),
        }),
        Coalesce::Commit if once != Once::Always => Some(format!("{trigger}\0{}\0commit", job.change.head)),
        Coalesce::Commit | Coalesce::None => None,
    }
}

/// Replaces what a run is to do.
pub(super) fn write_job(tx: &Transaction<'_>, run: RunId, job: &Job) -> Result<()> {
    tx.execute(
        r#"UPDATE runs SET job = ?2, "commit" = ?3, tree = ?4 WHERE id = ?1"#,
        params![run.to_string(), to_json("job", job)?, job.change.head.as_str(), job.tree.as_ref().map(Oid::as_str)],
    )
    .doing("cannot change a run")?;
    Ok(())
}

fn link(tx: &Transaction<'_>, run: &str, event: &Digest) -> Result<()> {
    tx.execute("INSERT OR IGNORE INTO run_events (run, event) VALUES (?1, ?2)", params![run, event.as_str()])
        .doing("cannot link an event to its run")?;
    Ok(())
}

pub(super) fn job_of(plan: &Plan, row: &PlannedRow, followers: &[PlannedRow]) -> Option<Job> {
    Some(Job {
        row: row.clone(),
        followers: followers.to_vec(),
        event: plan.event.key.clone(),
        change: plan.event.change.clone()?,
        tree: plan.event.tree.clone(),
        branch: plan.event.branch.clone(),
        worktree: plan.event.worktree.clone(),
        budget: plan.budget,
        artifacts: plan.artifacts,
        table: plan.table.clone(),
        took_up: Vec::new(),
        caused_by: None,
        retry_of: None,
    })
}
