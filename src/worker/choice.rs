//! What begins next, and what need not begin: runs that wait for the end of a rebase, runs whose commit was replaced,
//! runs whose work was done already.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use super::Worker;
use crate::clock::Timestamp;
use crate::error::{Context as _, Result};
use crate::event::{Change, Event, Hook};
use crate::git::Repository;
use crate::git::sequence::{self, Sequence};
use crate::ids::{Oid, RunId};
use crate::run::{Happening, State};
use crate::store::ledger::Ledger;
use crate::store::{Filter, Run, Store, StoreError, Transition, WAITS_FOR};
use crate::triggers::Coalesce;
use crate::triggers::matching::{self, Paths};

/// How long a worker lives for nothing but runs that wait for the end of something in the repository. A person may
/// leave a rebase for days; the next hook or command starts another worker.
const LINGER_MAX: Duration = Duration::from_secs(600);

/// The first and the longest pause between two looks at what is under way.
const PAUSES: (Duration, Duration) = (super::LOOK_INTERVAL, Duration::from_secs(5));

/// How many commits of a push are looked at to find that all of them were handled; a larger push runs.
const COMMITS_MAX: usize = 1_000;

/// How many runs that may begin are looked at to find the first.
const DUE_LOOKED_AT: usize = 16;

/// How many runs a reason names.
const RUNS_TOLD: usize = 3;

/// How a worker waits for what nobody announces: with growing pauses, and not for ever.
#[derive(Debug)]
pub(super) struct Patience {
    since: Option<Instant>,
    pause: Duration,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { since: None, pause: PAUSES.0 }
    }

    /// The next pause; `None` when it has waited for long enough.
    pub(super) fn next(&mut self, now: Instant) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSES.1);
        (now.saturating_duration_since(since) < LINGER_MAX).then_some(pause)
    }
}

/// What the queue holds for the worker right now.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// The run to begin.
    pub(super) ready: Option<Run>,
    /// Runs that would be due, but something is under way where their event happened.
    pub(super) waiting: BTreeSet<RunId>,
}

impl Worker {
    /// The oldest run that may begin. What has to wait is told so, once.
    pub(super) fn choose(&mut self, now: Timestamp) -> Result<Choice> {
        let choice = self.choose_of(now, DUE_LOOKED_AT)?;
        // A long queue is read as a whole only where its beginning waits.
        if choice.ready.is_none() && choice.waiting.len() >= DUE_LOOKED_AT {
            return self.choose_of(now, usize::MAX);
        }
        Ok(choice)
    }

    fn choose_of(&mut self, now: Timestamp, limit: usize) -> Result<Choice> {
        let mut choice = Choice::default();
        let mut looked: BTreeMap<_, Option<Sequence>> = BTreeMap::new();
        for run in self.ledger.due(now, limit)? {
            let place = &run.job.worktree;
            let found = match looked.get(place) {
                Some(found) => *found,
                None => *looked.entry(place.clone()).or_insert(self.under_way(place)),
            };
            let reason = match found {
                Some(sequence) if !self.ledger.is_by_hand(&run)? => {
                    choice.waiting.insert(run.id);
                    format!("{WAITS_FOR}{sequence} in {}", crate::git::shown(place))
                }
                Some(_) | None if run.waits() => String::new(),
                Some(_) | None => run.reason.clone(),
            };
            if run.reason != reason {
                let told = Transition { not_before: run.not_before, ..Transition::of(Happening::Deferred, reason) };
                super::unless_changed(self.ledger.decide(run.id, told))?;
            }
            if choice.ready.is_none() && !choice.waiting.contains(&run.id) {
                choice.ready = Some(run);
            }
        }
        Ok(choice)
    }

    /// What is under way in the worktree at `place`. The main worktree's git directory may lie elsewhere.
    fn under_way(&self, place: &Path) -> Option<Sequence> {
        if self.repository.worktree() == Some(place) {
            return sequence::in_directory(self.repository.git_directory());
        }
        sequence::under_way(place)
    }

    /// Rests until the pause is over, or something new is there, or the worker is asked to end.
    pub(super) async fn rest(&mut self, pause: Duration) -> Result<()> {
        let version = self.ledger.version()?;
        let until = Instant::now() + pause;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            tokio::select! {
                () = tokio::time::sleep(left.min(super::LOOK_INTERVAL)) => {}
                () = self.signals.stop() => return Ok(()),
            }
            let is_over = Instant::now() >= until || self.ledger.version()? != version;
            if is_over || !crate::store::spool::is_empty(&self.layout)? {
                return Ok(());
            }
        }
    }

    /// Whether the run is not needed any more; then it has ended.
    pub(super) fn is_needless(&mut self, run: &Run) -> Result<bool> {
        if give_way(&self.repository, &mut self.ledger, run).context(|| "cannot read the queue")? {
            return Ok(true);
        }
        let Some(runs) = self.done_by(run)? else { return Ok(false) };
        let mut names = runs.iter().take(RUNS_TOLD).map(RunId::short).collect::<Vec<_>>().join(", ");
        if let Some(more) = runs.len().checked_sub(RUNS_TOLD).filter(|more| *more > 0) {
            names = format!("{names} and {more} more");
        }
        let what = if runs.len() == 1 { "run" } else { "runs" };
        let reason = format!("every commit of it was handled already: {what} {names}");
        let done = Transition::of(Happening::Superseded, reason);
        super::unless_changed(self.ledger.decide(run.id, done))?;
        Ok(true)
    }

    /// The runs of the same row that have handled every commit of this run's change that concerns the row. Asked for
    /// what only moves a ref: a push, a merge that brings what was committed elsewhere.
    fn done_by(&self, run: &Run) -> Result<Option<Vec<RunId>>> {
        let job = &run.job;
        let is_asked_for = job.retry_of.is_some() || job.caused_by.is_some() || run.attempt > 0;
        if is_asked_for || job.row.coalesce == Coalesce::None || !job.took_up.is_empty() {
            return Ok(None);
        }
        let Some(event) = self.ledger.event(&job.event)? else { return Ok(None) };
        if !matches!(event.hook, Hook::PrePush | Hook::PostReceive | Hook::PostMerge) {
            return Ok(None);
        }
        // At the edge of a shallow clone nothing is known: it runs.
        let Ok(Some(commits)) = self.repository.commits_in(&job.change, COMMITS_MAX) else { return Ok(None) };
        let mut open: BTreeSet<&Oid> = commits.iter().collect();
        let mut done = Vec::new();
        for commit in &commits {
            for earlier in self.ledger.runs(&Filter { commit: Some(commit.clone()), ..Filter::default() })? {
                let is_of_row = earlier.job.row.trigger == job.row.trigger && earlier.job.row.role == job.row.role;
                if !is_of_row || !matches!(earlier.state, State::Succeeded | State::Inconclusive) {
                    continue;
                }
                let Ok(Some(seen)) = self.repository.commits_in(&earlier.job.change, COMMITS_MAX) else { continue };
                let before = open.len();
                open.retain(|commit| !seen.contains(commit));
                if open.len() < before {
                    done.push(earlier.id);
                }
            }
        }
        if done.is_empty() {
            return Ok(None);
        }
        for commit in open {
            if self.concerns(run, &event, commit)? {
                return Ok(None);
            }
        }
        Ok(Some(done))
    }

    /// Whether this commit by itself would have started the row.
    fn concerns(&self, run: &Run, event: &Event, commit: &Oid) -> Result<bool> {
        let commit = self.repository.commit(commit)?;
        let change = Change { base: commit.parents.first().cloned(), head: commit.id };
        let mut paths = Paths::walked(|visitor| self.repository.visit_changed_paths(&change, visitor));
        let event =
            Event { change: Some(change.clone()), message: commit.message, author: commit.author, ..event.clone() };
        matching::concerns(&run.job.row.when, &event, &mut paths)
    }

    /// What the run is about, now that it begins: back to the earliest change it took up that is still in the history,
    /// up to the newest.
    pub(super) fn whole_change(&self, run: &Run) -> Change {
        let mut change = run.job.change.clone();
        let is_in = |old: &Oid, new: &Oid| self.repository.is_ancestor(old, new);
        for taken in &run.job.took_up {
            // What was pushed later may be the older one, if it is not all that is left of the branch.
            let is_newer = taken.head != change.head
                && is_in(&change.head, &taken.head) == Some(true)
                && self.branch_holds(run.job.branch.as_deref(), &taken.head) != Some(false);
            if is_newer {
                change.head = taken.head.clone();
            }
            let is_there = is_newer || is_in(&taken.head, &change.head) != Some(false);
            // An amend stands on a part of what was taken up; a rebase stands elsewhere and reports all that it replaced.
            let stands_on_it = change.base.as_ref().is_some_and(|own| is_in(own, &taken.head) == Some(true));
            if is_there || stands_on_it {
                change.base = self.older(change.base, taken.base.clone());
            }
        }
        change
    }

    /// The older of two ends, or what both have in common; `None` is the beginning of all.
    fn older(&self, one: Option<Oid>, other: Option<Oid>) -> Option<Oid> {
        let (one, other) = (one?, other?);
        Some(self.repository.common_ancestor(&one, std::slice::from_ref(&other)).unwrap_or(other))
    }

    fn branch_holds(&self, branch: Option<&str>, commit: &Oid) -> Option<bool> {
        branch_holds(&self.repository, branch, commit)
    }
}

/// Whether the branch, as it stands now, holds this commit; `None` where there is no such branch, or it is not found out
/// in time.
fn branch_holds(repository: &Repository, branch: Option<&str>, commit: &Oid) -> Option<bool> {
    let tip = repository.pseudo_ref(&format!("refs/heads/{}", branch?))?;
    repository.is_ancestor(commit, &tip)
}

/// Lets a newer run take the place of this one, if its commit is gone from its branch. What waits has ended then; a run
/// that is under way has been asked to stop. A commit that is still in the branch is worth its run.
pub(super) fn give_way(repository: &Repository, ledger: &mut Ledger, run: &Run) -> Result<bool, StoreError> {
    let Some(successor) = ledger.successor(run)? else { return Ok(false) };
    let is_gone = |run: &Run| branch_holds(repository, run.job.branch.as_deref(), &run.job.change.head) == Some(false);
    // Between a reset and the commit that follows it, both are gone: what comes next takes the place of both.
    if !is_gone(run) || is_gone(&successor) {
        return Ok(false);
    }
    ledger.supersede(run.id, successor.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_to_five_seconds_and_ends_after_ten_minutes() {
        let begun = Instant::now();
        let mut patience = Patience::new();
        let mut at = begun;
        let mut pauses = Vec::new();
        while let Some(pause) = patience.next(at) {
            pauses.push(pause.as_millis());
            at += pause;
        }
        assert_eq!(pauses[..6], [200, 400, 800, 1600, 3200, 5000]);
        assert!(pauses[6..].iter().all(|pause| *pause == 5000));
        assert!(at.duration_since(begun) >= LINGER_MAX && at.duration_since(begun) < LINGER_MAX + PAUSES.1);
    }
}
