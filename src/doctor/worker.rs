//! The worker: whether one lives where there is work, and what the last one complained of.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::{Duration, Instant};

use super::{Finding, Here, Level, Mend, Section, count, state};
use crate::clock::Timestamp;
use crate::files;
use crate::run::State;
use crate::store::ledger::Ledger;
use crate::store::spool::{self, Waiting};
use crate::store::{Filter, Store as _};
use crate::text;
use crate::worker::lock;

const SECTION: Section = Section::Worker;

/// How long a worker that a hook has just started may take to take its lock.
const START_GRACE: Duration = Duration::from_millis(600);

/// How many runs that may begin are looked at to find one that waits for nothing but a worker.
const DUE_LOOKED_AT: usize = 200;

/// How much of the log's end is read, in bytes.
const LOG_END_BYTES: u64 = 64 << 10;

pub(super) fn look(here: &Here<'_>) -> (Vec<Finding>, Waiting) {
    let mut findings = Vec::new();
    let waiting = || spool::look(&here.layout, state::SPOOL_FILES_MAX).unwrap_or_default();
    if !here.layout.state().is_dir() || here.layout.refuse_links().is_err() {
        // Said already, by the section before.
        return (findings, Waiting::default());
    }
    let mut events = waiting();
    let paused = here.ledger.as_ref().and_then(|ledger| ledger.paused().ok().flatten());
    let had_work = needs_worker(here, &events, paused.is_some()).is_some();
    let begun = Instant::now();
    let living = loop {
        let living = lock::living_worker(&here.layout);
        let idle = matches!(living, Ok(None)) && needs_worker(here, &events, paused.is_some()).is_some();
        if !idle || begun.elapsed() > START_GRACE {
            break living;
        }
        std::thread::park_timeout(Duration::from_millis(50));
        events = waiting();
    };
    // Looking at the lock may have turned a worker away that a hook was just starting: see `lock`.
    let turned_away =
        matches!(living, Ok(None)) && !had_work && needs_worker(here, &waiting(), paused.is_some()).is_some();
    let living =
        if turned_away { lock::ensure_running(&here.layout, here.place.own_program).map(|_| Some(0)) } else { living };
    match living {
        Err(error) => {
            let finding = Finding::of_error(SECTION, Level::Problem, "worker-lock", &error);
            findings.push(match finding.fix {
                Some(_) => finding,
                None => finding.action(format!(
                    "look at {}: it has to be a file that you may write",
                    crate::git::shown(&here.layout.worker_lock())
                )),
            });
        }
        Ok(Some(pid)) if is_stopped(pid) => {
            let message = format!("the worker lives, process {pid}, but somebody stopped it");
            let finding = Finding::new(SECTION, Level::Warning, "worker-stopped", message);
            findings.push(finding.command(format!("kill -CONT {pid}")));
        }
        // It has its lock and has not written its number down yet.
        Ok(Some(0)) => findings.push(Finding::new(SECTION, Level::Ok, "worker-works", "at work")),
        Ok(Some(pid)) => {
            findings.push(Finding::new(SECTION, Level::Ok, "worker-works", format!("at work, process {pid}")));
        }
        Ok(None) => findings.extend(needs_worker(here, &events, paused.is_some())),
    }
    if let Some(reason) = paused {
        let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        let finding = Finding::new(SECTION, Level::Warning, "queue-paused", format!("the queue is paused{reason}"));
        findings.push(finding.command("git orchestrator resume"));
    }
    findings.extend(last_error(here));
    if findings.is_empty() {
        findings.push(Finding::new(SECTION, Level::Ok, "worker-idle", "idle: nothing is to be done"));
    }
    (findings, events)
}

/// What is there to do although no worker lives.
fn needs_worker(here: &Here<'_>, events: &Waiting, is_paused: bool) -> Option<Finding> {
    let left = here.ledger.as_ref().map(active).unwrap_or_default();
    if let Some(run) = left.first() {
        let more = if left.len() > 1 { format!(" and {} more", left.len() - 1) } else { String::new() };
        let message = format!("a worker died over run {run}{more}; the next hook or command begins it again");
        let finding = Finding::new(SECTION, Level::Warning, "worker-died", message);
        return Some(finding.command("git orchestrator status").mends(Mend::Work));
    }
    let spooled = events.plans.len() + events.more;
    if spooled > 0 {
        let message = format!("{} waiting to be taken in, and no worker lives", are(spooled));
        let finding = Finding::new(SECTION, Level::Warning, "worker-missing", message);
        return Some(finding.command("git orchestrator status").mends(Mend::Work));
    }
    if here.ledger.as_ref().is_some_and(is_queued) && !is_paused {
        let message = "runs are queued, and no worker lives";
        let finding = Finding::new(SECTION, Level::Warning, "worker-missing", message);
        return Some(finding.command("git orchestrator status").mends(Mend::Work));
    }
    None
}

/// Whether a run waits for a worker: it may begin now, or its time comes. For the end of a rebase no worker has to wait.
fn is_queued(ledger: &Ledger) -> bool {
    let now = Timestamp::now();
    let due = ledger.due(now, DUE_LOOKED_AT).unwrap_or_default();
    due.iter().any(|run| !run.waits()) || matches!(ledger.next_due(now), Ok(Some(_)))
}

fn are(n: usize) -> String {
    format!("{} {}", count(n, "event"), if n == 1 { "is" } else { "are" })
}

/// The runs that the ledger has under way, by their short ids.
fn active(ledger: &Ledger) -> Vec<String> {
    let states = State::ALL.into_iter().filter(|state| state.is_active()).collect();
    let filter = Filter { states, limit: Some(10), ..Filter::default() };
    ledger.runs(&filter).unwrap_or_default().iter().map(|run| run.id.short()).collect()
}

/// Whether a signal stopped the process, by proc(5); where there is none, it is taken to run.
fn is_stopped(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The name before may hold anything.
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['T', 't']))
}

/// The error that the log ends with: what came before a later run that ended is over.
fn last_error(here: &Here<'_>) -> Option<Finding> {
    let path = here.layout.worker_log();
    let mut file = files::open(&path).ok().flatten()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_END_BYTES))).ok()?;
    let mut end = Vec::new();
    file.take(LOG_END_BYTES).read_to_end(&mut end).ok()?;
    let end = String::from_utf8_lossy(&end);
    let line = error_line(&end)?;
    let message = format!("the last worker wrote: {}", text::clipped(line, 300));
    let finding = Finding::new(SECTION, Level::Warning, "worker-error", message);
    Some(finding.action(format!("read {}", crate::git::shown(&path))))
}

/// The last line of level ERROR, unless something went on after it.
fn error_line(log: &str) -> Option<&str> {
    let level = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
    let lines: Vec<&str> = log.lines().collect();
    let at = lines.iter().rposition(|line| level(line).as_deref() == Some("ERROR"))?;
    let goes_on = lines.get(at + 1..)?.iter().any(|line| level(line).as_deref() == Some("INFO"));
    lines.get(at).copied().filter(|_| !goes_on)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_counts_until_something_went_on() {
        let error = "2026-01-01T00:00:00Z ERROR the worker ends error=\"disk\"";
        let info = "2026-01-01T00:00:01Z  INFO ends run=1 state=succeeded";
        assert_eq!(error_line(&format!("{info}\n{error}\n")), Some(error));
        assert_eq!(error_line(&format!("{error}\n{info}\n")), None);
        assert_eq!(error_line(""), None);
        assert_eq!(error_line("\u{fffd}\n\n"), None);
    }
}
