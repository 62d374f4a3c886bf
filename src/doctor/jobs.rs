//! Runs that do not move on by themselves, and those that failed lately.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Finding, Here, Level, Section, count};
use crate::clock::Timestamp;
use crate::run::State;
use crate::runtime::refusals::described;
use crate::store::ledger::Ledger;
use crate::store::question::Question;
use crate::store::{Filter, Run, Store as _};
use crate::text;
use crate::trust;
use crate::trust::held::is_held_for_trust;

const SECTION: Section = Section::Jobs;

/// How many of a kind are named; the rest is counted.
const NAMED_MAX: usize = 5;

/// How much of what a run asks for is shown, in characters.
const ACTION_CHARS: usize = 60;

/// A day.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How far back failures are of interest.
const RECENT: Duration = DAY;

/// After this long a run that still waits is said to.
const LONG: Duration = Duration::from_secs(3600);

pub(super) fn look(here: &Here<'_>) -> Vec<Finding> {
    let Some(ledger) = &here.ledger else { return Vec::new() };
    match runs(ledger, here.now) {
        Ok(findings) if findings.is_empty() => {
            vec![Finding::new(SECTION, Level::Ok, "jobs-clear", "nothing is held, stuck or failed lately")]
        }
        Ok(findings) => findings,
        Err(error) => vec![
            Finding::of_error(SECTION, Level::Problem, "jobs-unreadable", &error.into())
                .or_action("move .orchestrator/state/ledger.db and its `-wal` and `-shm` aside: a new one begins"),
        ],
    }
}

fn runs(ledger: &Ledger, now: Timestamp) -> Result<Vec<Finding>, crate::store::StoreError> {
    let of = |states: &[State], limit| {
        ledger.runs(&Filter { states: states.to_vec(), limit: Some(limit), ..Filter::default() })
    };
    let counts = ledger.counts()?;
    let number = |state| usize::try_from(counts.get(&state).copied().unwrap_or(0)).unwrap_or(usize::MAX);
    let mut findings = Vec::new();
    // What waits for acceptance waits for one answer, however many runs it is.
    let held = ledger.runs(&Filter { states: vec![State::Held], ..Filter::default() })?;
    let (untrusted, held): (Vec<_>, Vec<_>) = held.into_iter().partition(is_held_for_trust);
    if let Some(newest) = untrusted.first() {
        let message =
            format!("{} held until the rules are accepted, {} the newest", are(untrusted.len()), named(newest));
        findings.push(Finding::new(SECTION, Level::Note, "run-held", message).command(trust::COMMAND));
    }
    for run in held.iter().take(NAMED_MAX) {
        let message = format!("{} is held: {}", named(run), or(&run.reason, "a person decides"));
        let finding = Finding::new(SECTION, Level::Note, "run-held", message);
        findings.push(finding.command(format!("git orchestrator retry {}", run.id.short())));
    }
    for run in of(&[State::Waiting], NAMED_MAX)? {
        findings.push(waiting(&run, &ledger.questions(run.id)?, now));
    }
    for (n, state, code, next) in [
        (held.len(), State::Held, "run-held", "git orchestrator status --limit 100"),
        (number(State::Waiting), State::Waiting, "run-waiting", "git orchestrator review"),
    ] {
        let more = n.saturating_sub(NAMED_MAX);
        if more > 0 {
            let message = format!("{} more {state}", count(more, "run"));
            findings.push(Finding::new(SECTION, Level::Note, code, message).command(next));
        }
    }
    for run in of(&[State::Queued], 200)? {
        let age = now.since(run.created_at);
        let later = run.not_before.filter(|until| *until > now);
        if let Some(until) = later.filter(|_| run.attempt > 0) {
            let reason = or(&run.reason, "it failed and is tried again");
            let message =
                format!("{} waits {} for its next attempt: {reason}", named(&run), text::duration(until.since(now)));
            let finding = Finding::new(SECTION, Level::Note, "run-backs-off", message);
            findings.push(finding.command(format!("git orchestrator log {}", run.id.short())));
        } else if later.is_none() && age > LONG {
            // What waits for quiet (`debounce`) is as it should be; the reason says what else it waits for.
            let reason = if run.reason.is_empty() { String::new() } else { format!(": {}", run.reason) };
            let message = format!("{} has been queued for {}{reason}", named(&run), text::duration(age));
            let finding = Finding::new(SECTION, Level::Note, "run-queued-long", message);
            findings.push(finding.command("git orchestrator wait"));
        }
        if findings.len() > 4 * NAMED_MAX {
            break;
        }
    }
    // Only the newest run of a row and branch speaks: what failed and was done again is over.
    let mut seen = BTreeSet::new();
    let newest =
        of(&[], 200)?.into_iter().filter(|run| seen.insert((run.job.row.trigger.clone(), run.job.branch.clone())));
    let failed =
        newest.filter(|run| run.state == State::Failed && run.finished_at.is_some_and(|at| now.since(at) < RECENT));
    for run in failed.take(NAMED_MAX) {
        let message = format!("{} failed: {}", named(&run), or(&run.reason, "no reason was recorded"));
        let finding = Finding::new(SECTION, Level::Warning, "run-failed", message);
        findings.push(finding.command(format!("git orchestrator show {}", run.id.short())));
    }
    Ok(findings)
}

/// A run that asks to be allowed something: what, since when, how long still, and what to type.
fn waiting(run: &Run, questions: &[Question], now: Timestamp) -> Finding {
    let finding = |message| Finding::new(SECTION, Level::Warning, "run-waiting", message);
    let mut open = questions.iter().filter(|question| question.is_open(run, now));
    let Some(first) = open.next() else {
        return finding(format!("{} waited for an answer that nobody gave in time", named(run)))
            .command("git orchestrator status");
    };
    let more = match open.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let line = text::clipped(&described(&first.action), ACTION_CHARS).into_owned();
    let left = match first.expires_at.since(now) {
        left if left > 2 * DAY => format!("{} days", left.as_secs() / DAY.as_secs()),
        left => text::duration(left),
    };
    finding(format!("{} asks to be allowed `{line}`{more}; {left} are left to answer", named(run)))
        .command(format!("git orchestrator review {}", run.id.short()))
}

/// `1 run is`, `2 runs are`.
fn are(n: usize) -> String {
    format!("{} {}", count(n, "run"), if n == 1 { "is" } else { "are" })
}

fn named(run: &Run) -> String {
    format!("run {} ({} for {})", run.id.short(), run.job.row.role, run.job.change.head.short())
}

fn or<'a>(reason: &'a str, otherwise: &'a str) -> &'a str {
    if reason.is_empty() { otherwise } else { reason }
}
