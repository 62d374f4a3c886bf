//! The worker: takes runs one by one, in order, and ends when nothing is left.
//!
//! It is the same program as the hook, started by it, in a session of its own. It holds the worker lock while it lives.
//! It knows the stages (workspace, package, runtime, judgement, publication) by their functions only: what a role is
//! or how a runtime works is none of its business.

mod admission;
mod choice;
pub mod deeds;
mod escalation;
pub mod execute;
pub mod keep;
pub mod lock;
pub mod own;
pub mod record;
pub mod secrets;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use self::choice::Patience;
use self::lock::WorkerLock;
use crate::artifact;
use crate::clock::Timestamp;
use crate::error::{Context as _, Error, Result};
use crate::git::Repository;
use crate::ids::RunId;
use crate::policy::Budget;
use crate::process;
use crate::process::Environment;
use crate::run::{Happening, State};
use crate::store::layout::{DIRECTORY, Layout};
use crate::store::ledger::Ledger;
use crate::store::{Filter, Run, Store, StoreError, Transition, spool};

/// How often a working or waiting worker looks for new events and for a person's word.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// A day, in milliseconds.
const DAY_MILLIS: u64 = 24 * 3600 * 1000;

/// What a worker needs to know.
pub struct Worker {
    layout: Layout,
    repository: Repository,
    ledger: Ledger,
    environment: Environment,
    own_program: PathBuf,
    signals: Signals,
    /// Runs that it has given up waiting with: see [`choice::LINGER_MAX`].
    left_waiting: BTreeSet<RunId>,
}

/// The signals that ask a worker to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    stopped: bool,
}

impl Signals {
    fn new() -> Result<Self> {
        let install = |kind| signal(kind).context(|| "cannot listen for signals");
        Ok(Self {
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
            stopped: false,
        })
    }

    /// Whether the worker was asked to end.
    async fn asked(&mut self) -> bool {
        // Polls once: a signal that came while nobody listened is there.
        tokio::select! {
            biased;
            () = self.stop() => {}
            () = std::future::ready(()) => {}
        }
        self.stopped
    }

    /// Returns when the worker is asked to end; at once, if it was.
    async fn stop(&mut self) {
        if self.stopped {
            return;
        }
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        self.stopped = true;
    }
}

/// Works on the repository whose `.orchestrator` lies in `home` until nothing is left. Does nothing if a worker lives.
pub fn run(home: &Path, own_program: &Path) -> Result<()> {
    process::adopt_orphans();
    let layout = Layout::new(home);
    if !layout.exists() {
        return Err(Error::not_found(format!("there is no {}", layout.root().display()))
            .hint("run `git orchestrator install` first"));
    }
    layout.create()?;
    let repository = Repository::discover(home, false)?;
    layout.refuse_tracked(&repository.names_at_head(DIRECTORY))?;
    secrets::learn_all(&repository, &process::clean_environment())?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context(|| "cannot start the worker")?;
    while let Some(lock) = WorkerLock::acquire(&layout)? {
        let (stopped, left_waiting) = runtime.block_on(async {
            let mut worker = Worker {
                repository: Repository::discover(home, false)?,
                ledger: Ledger::open(&layout.ledger()).context(|| "cannot open the ledger")?,
                environment: process::clean_environment(),
                own_program: own_program.to_owned(),
                signals: Signals::new()?,
                layout: layout.clone(),
                left_waiting: BTreeSet::new(),
            };
            worker.work().await?;
            Ok::<_, Error>((worker.signals.stopped, worker.left_waiting))
        })?;
        drop(lock);
        // Only after the lock is free may the queue be looked at for the last time: see `lock`.
        if stopped || !has_work_beside(&layout, &left_waiting)? {
            break;
        }
    }
    Ok(())
}

/// Whether a worker would find something to do, now or later.
pub fn has_work(layout: &Layout) -> Result<bool> {
    has_work_beside(layout, &BTreeSet::new())
}

/// [`has_work`], apart from these runs.
fn has_work_beside(layout: &Layout, left_waiting: &BTreeSet<RunId>) -> Result<bool> {
    if !spool::is_empty(layout)? {
        return Ok(true);
    }
    if !layout.ledger().exists() {
        return Ok(false);
    }
    let ledger = Ledger::open(&layout.ledger()).context(|| "cannot open the ledger")?;
    let paused = ledger.paused().context(|| "cannot read the queue")?.is_some();
    let queued = ledger.runs(&Filter { states: vec![State::Queued], ..Filter::default() })?;
    let waits = queued.iter().any(|run| !left_waiting.contains(&run.id));
    // With no worker alive, a run that is under way is one that a dead worker left.
    let left = ledger.counts().context(|| "cannot read the queue")?.keys().any(|state| state.is_active());
    Ok(left || !paused && waits)
}

/// Nothing, where a person changed the run between the look and the deed (a cancel, say): the queue is looked at anew.
fn unless_changed<T>(done: Result<T, StoreError>) -> Result<Option<T>> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(StoreError::Impossible { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Worker {
    async fn work(&mut self) -> Result<()> {
        let worked = self.empty_the_queue().await;
        // Held runs and what commands changed show in the inbox too, though nothing was executed.
        artifact::refresh_inbox(&self.layout, &self.ledger)?;
        worked?;
        self.prune()
    }

    /// Removes what the newest run's table says is old.
    fn prune(&self) -> Result<()> {
        deeds::forget_old(&self.layout)?;
        let Some(newest) = self.ledger.runs(&Filter { limit: Some(1), ..Filter::default() })?.into_iter().next() else {
            return Ok(());
        };
        let open = Filter {
            states: State::ALL.into_iter().filter(|state| !state.is_terminal()).collect(),
            ..Filter::default()
        };
        let days = self.ledger.runs(&open)?.iter().map(|run| run.created_at.date()).collect();
        keep::prune(&self.layout, newest.job.artifacts, Timestamp::now(), &days)
    }

    async fn empty_the_queue(&mut self) -> Result<()> {
        let recovered = self.ledger.recover().context(|| "cannot recover what a dead worker left")?;
        for run in recovered {
            tracing::warn!(run = %run, "a worker died over this run");
        }
        let mut patience = Patience::new();
        while !self.signals.asked().await {
            let taken_in = self.take_in();
            if taken_in.as_ref().is_ok_and(|taken| *taken > 0) {
                patience = Patience::new();
            }
            let taken_in = taken_in.map(drop);
            let now = Timestamp::now();
            self.ledger.expire_questions(now).context(|| "cannot read the questions of the runs")?;
            let choice = self.choose(now)?;
            if let Some(run) = choice.ready {
                patience = Patience::new();
                self.begin(&run, now).await?;
                continue;
            }
            // Not `break`, here and below: files that could not be taken in would be found again, for ever.
            if self.ledger.paused().context(|| "cannot read the queue")?.is_some() {
                return taken_in.context(|| "cannot take events in");
            }
            let pause = match self.ledger.next_due(now).context(|| "cannot read the queue")? {
                // A retry waits for its time, a new run for quiet.
                Some(due) => due.since(now).min(LOOK_INTERVAL),
                None if choice.waiting.is_empty() => return taken_in.context(|| "cannot take events in"),
                None => {
                    let Some(pause) = patience.next(Instant::now()) else {
                        self.left_waiting = choice.waiting;
                        return taken_in.context(|| "cannot take events in");
                    };
                    pause
                }
            };
            self.rest(pause).await?;
        }
        Ok(())
    }

    /// Takes new events in. After a failure the files wait where they are, and the run at hand goes on.
    fn take_in(&mut self) -> Result<usize, StoreError> {
        spool::drain(&self.layout, &mut self.ledger)
    }

    async fn begin(&mut self, run: &Run, now: Timestamp) -> Result<()> {
        if self.is_needless(run)? {
            return Ok(());
        }
        self.remember_commits();
        let Some((run, copies)) = self.admitted(run)? else { return Ok(()) };
        let run = &run;
        if let Some(reason) = self.over_budget(run, now).context(|| "cannot read what was spent")? {
            let held = Transition::of(Happening::Held, reason);
            return unless_changed(self.ledger.decide(run.id, held)).map(drop);
        }
        let Some((claim, run)) = unless_changed(self.ledger.claim(run.id, now))? else { return Ok(()) };
        tracing::info!(run = %run.id, trigger = %run.job.row.trigger, attempt = run.attempt, "begins");
        let ended = self.execute(&claim, run, &copies).await;
        self.remember_commits();
        match ended {
            Ok(state) => tracing::info!(run = %claim.run, %state, "ends"),
            // Somebody else works on it now: not ours to touch.
            Err(error @ StoreError::StaleClaim { .. }) => tracing::warn!(%error),
            Err(error) => return Err(Error::failed(format!("cannot go on with run {}", claim.run)).because(error)),
        }
        Ok(())
    }

    /// Writes down which commits were made in workspaces. That it cannot be done is no reason to stop: the other guards hold.
    fn remember_commits(&self) {
        if let Err(error) = deeds::remember_commits(&self.layout, &self.repository) {
            tracing::warn!(error = %error.chain(), "which commits runs made cannot be written down");
        }
    }

    /// Why today's budget does not allow this run, unless a person released it.
    fn over_budget(&self, run: &Run, now: Timestamp) -> Result<Option<String>, StoreError> {
        let Budget { runs_per_day, tokens_per_day } = run.job.budget;
        if runs_per_day.is_none() && tokens_per_day.is_none() || run.attempt > 0 {
            return Ok(None);
        }
        if self.is_released(run)? {
            return Ok(None);
        }
        let midnight = Timestamp::from_millis(now.millis() / DAY_MILLIS * DAY_MILLIS);
        let (runs, tokens) = self.ledger.spent_since(midnight)?;
        if let Some(limit) = runs_per_day.filter(|limit| runs >= *limit) {
            return Ok(Some(format!("today's budget of {limit} runs is used up (`policy.budget.runs_per_day`)")));
        }
        if let Some(limit) = tokens_per_day.filter(|limit| tokens >= *limit) {
            let (used, limit) = (crate::text::count(tokens), crate::text::count(limit));
            return Ok(Some(format!("today's budget of {limit} tokens is used up: {used} (`policy.budget`)")));
        }
        Ok(None)
    }
}
