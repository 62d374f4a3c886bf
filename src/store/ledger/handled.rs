//! Which runs have done already what a job asks for, and which one takes the place of another.
//!
//! Both are answered from what the ledger holds: runs name the two ends of what they are about. What only the repository
//! can tell (which commits lie between two ends, whether one is still in a branch) is the worker's to ask.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::queue::{Once, apply, write_job};
use super::rows::{SUPERSEDED_BY, from_json, one_run, select_runs};
use super::{Doing as _, Result};
use crate::clock::Timestamp;
use crate::event::{Detail, Event, Hook, Rewritten};
use crate::ids::{Oid, RunId};
use crate::run::{Happening, State};
use crate::store::{Job, Run, Transition};
use crate::triggers::Coalesce;
use crate::triggers::plan::{Plan, PlannedRow, Starts};

/// How many runs a chain may have.
const CHAIN_MAX: usize = 1_000;

/// How many later runs of a row are looked at to find one of the same branch.
const LATER_LOOKED_AT: i64 = 50;

/// The runs that together are about the whole change of this job, one from where the next begins; `None` where there
/// are none. A run counts while it still waits, but not one of another branch, which may yet become one for another
/// commit.
pub(super) fn by(tx: &Transaction<'_>, job: &Job, once: Once) -> Result<Option<Vec<RunId>>> {
    if once == Once::Always || job.row.coalesce == Coalesce::None {
        return Ok(None);
    }
    let mut seen = BTreeSet::from([job.change.head.clone()]);
    // Ways that begin at the head, as the ends they have reached and the runs they are made of.
    let mut open: Vec<(Oid, Vec<RunId>)> = vec![(job.change.head.clone(), Vec::new())];
    while let Some((at, way)) = open.pop() {
        let runs = select_runs(
            tx,
            r#"WHERE "commit" = ?1 AND trigger = ?2 AND role = ?3 AND state NOT IN ('cancelled', 'superseded')"#,
            &[&at.as_str(), &job.row.trigger, &job.row.role],
        )?;
        for run in runs {
            // A failed run has seen its commit: only a push asks again. It is no link of a longer chain.
            let is_whole = way.is_empty() && run.job.change.base == job.change.base;
            if run.state == State::Failed && !(is_whole && once == Once::PerCommit) {
                continue;
            }
            let has_begun = run.state.is_terminal() || run.attempt > 0;
            if !has_begun && run.job.branch != job.branch || run.superseded_by.is_some() {
                continue;
            }
            let mut way = way.clone();
            way.push(run.id);
            if run.job.change.base == job.change.base {
                return Ok(Some(way));
            }
            if let Some(base) = run.job.change.base
                && seen.len() < CHAIN_MAX
                && seen.insert(base.clone())
            {
                open.push((base, way));
            }
        }
    }
    Ok(None)
}

/// Whether the very same thing can happen again later: a push that did not arrive and is tried anew, a switch there and
/// back. What makes a commit makes another one each time.
pub(super) fn may_happen_again(hook: Hook) -> bool {
    match hook {
        Hook::PostMerge | Hook::PostCheckout | Hook::PreMergeCommit | Hook::PrePush | Hook::PostReceive => true,
        Hook::PostCommit | Hook::PostRewrite | Hook::PostApplypatch | Hook::Manual => false,
    }
}

/// Whether every run that an event of this key led to in this row had ended when the event happened. Then it happened
/// anew; before, it is the same one, which a hook delivers twice or a crash leaves in the spool.
pub(super) fn is_over(tx: &Transaction<'_>, event: &Event, row: &PlannedRow) -> Result<bool> {
    let runs = select_runs(
        tx,
        "WHERE trigger = ?1 AND id IN (SELECT run FROM run_events WHERE event = ?2)",
        &[&row.trigger, &event.key.as_str()],
    )?;
    Ok(runs.iter().all(|run| run.finished_at.is_some_and(|end| run.state.is_terminal() && end < event.at)))
}

/// Lets the runs of these rows for the new commits take the place of those for the commits that were rewritten.
pub(super) fn replace_rewritten(tx: &Transaction<'_>, plan: &Plan, now: Timestamp) -> Result<()> {
    let (Detail::Rewrite { rewritten, .. }, Some(change)) = (&plan.event.detail, &plan.event.change) else {
        return Ok(());
    };
    let gone: BTreeSet<&Oid> = rewritten.iter().map(|Rewritten { old, .. }| old).collect();
    for row in plan.rows.iter().filter(|row| row.starts == Starts::Now) {
        let successor = select_runs(
            tx,
            r#"WHERE "commit" = ?1 AND trigger = ?2 AND role = ?3 ORDER BY seq DESC LIMIT 1"#,
            &[&change.head.as_str(), &row.trigger, &row.role],
        )?;
        let Some(successor) = successor.into_iter().next() else { continue };
        let open = select_runs(
            tx,
            "WHERE trigger = ?1 AND state IN ('queued', 'held', 'waiting', 'preparing', 'running', 'validating', \
             'publishing')",
            &[&row.trigger],
        )?;
        for run in open.iter().filter(|run| gone.contains(&run.job.change.head)) {
            supersede(tx, run.id, successor.id, now)?;
        }
    }
    Ok(())
}

/// See [`Store::supersede`](crate::store::Store::supersede).
pub(super) fn supersede(tx: &Transaction<'_>, run: RunId, by: RunId, now: Timestamp) -> Result<bool> {
    let ((run, _), (mut by, _)) = (one_run(tx, run)?, one_run(tx, by)?);
    let can_take_over = takes_over(&by) && run.id != by.id && !run.state.is_terminal() && !is_by_hand(tx, &run)?;
    if !can_take_over || run.cancel_requested || stands_for_another_branch(tx, &run)? {
        return Ok(false);
    }
    if by.state == State::Queued && by.attempt == 0 && by.job.row.trigger == run.job.row.trigger {
        by.job.take_up(&run.job, false);
        write_job(tx, by.id, &by.job)?;
    } else if by.job.change.base != run.job.change.base || !run.job.took_up.is_empty() {
        // It has begun, with what it was about then: the other run's change is not part of it.
        return Ok(false);
    }
    if run.state.is_active() {
        tx.execute(
            "UPDATE runs SET cancel = ?2 WHERE id = ?1",
            params![run.id.to_string(), format!("{SUPERSEDED_BY}{}", by.id)],
        )
        .doing("cannot ask the worker to stop")?;
    } else {
        apply(tx, &run, &Transition::of(Happening::Superseded, run.superseded_reason(&by)), now)?;
    }
    Ok(true)
}

/// Whether an event of another branch made no run because of this one: that branch was merged or pushed there, and what
/// is replaced here stays in it.
fn stands_for_another_branch(tx: &Transaction<'_>, run: &Run) -> Result<bool> {
    tx.query_row(
        "SELECT EXISTS (SELECT 1 FROM run_events JOIN events ON events.key = run_events.event
                        WHERE run_events.run = ?1 AND json_extract(events.body, '$.branch') IS NOT ?2)",
        params![run.id.to_string(), run.job.branch],
        |row| row.get(0),
    )
    .doing("cannot read the events of a run")
}

/// Whether the run is on its way, or has come to something.
fn takes_over(run: &Run) -> bool {
    !matches!(run.state, State::Held | State::Failed | State::Cancelled | State::Superseded) && !run.cancel_requested
}

/// See [`Store::successor`](crate::store::Store::successor).
pub(super) fn successor(connection: &Connection, run: &Run) -> Result<Option<Run>> {
    if run.job.branch.is_none() || is_by_hand(connection, run)? {
        return Ok(None);
    }
    let mut ancestor = run.clone();
    // Rows cannot form a cycle: a longer chain than there are rows is damage.
    for _ in 0..CHAIN_MAX {
        let later = select_runs(
            connection,
            "WHERE trigger = ?1 AND seq > (SELECT seq FROM runs WHERE id = ?2) ORDER BY seq DESC LIMIT ?3",
            &[&ancestor.job.row.trigger, &ancestor.id.to_string(), &LATER_LOOKED_AT],
        )?;
        for later in later {
            let is_of_branch = later.job.branch == run.job.branch && later.job.change.head != run.job.change.head;
            if is_of_branch && takes_over(&later) && !is_by_hand(connection, &later)? {
                return Ok(Some(later));
            }
        }
        let Some(cause) = ancestor.job.caused_by else { break };
        ancestor = one_run(connection, cause)?.0;
    }
    Ok(None)
}

/// Whether a person asked for this run by name, or for the one that led to it.
pub(super) fn is_by_hand(connection: &Connection, run: &Run) -> Result<bool> {
    if run.job.retry_of.is_some() {
        return Ok(true);
    }
    let body: Option<String> = connection
        .query_row("SELECT body FROM events WHERE key = ?1", [run.job.event.as_str()], |row| row.get(0))
        .optional()
        .doing("cannot read events")?;
    let event: Option<Event> = body.map(|body| from_json("an event", &body)).transpose()?;
    Ok(event.is_some_and(|event| event.hook == Hook::Manual))
}
