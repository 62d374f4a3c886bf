//! What waited for acceptance goes on: events that no row was looked up for, and runs that were held for trust alone.

use std::fs;

use super::HELD;
use crate::ceiling;
use crate::error::Result;
use crate::event::{Event, Hook};
use crate::git::Repository;
use crate::ids::Digest;
use crate::run::{Happening, State};
use crate::store::layout::Layout;
use crate::store::{Filter, Run, Store, Transition, spool};
use crate::triggers::matching::Paths;
use crate::triggers::plan::{self, Plan};
use crate::triggers::{Table, Vocabulary};

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Events whose rows were looked up now.
    pub events: usize,
    /// Runs that wait for the worker now.
    pub runs: usize,
    /// Runs whose row the accepted table has not, or asks other things of: they were cancelled, and their events looked up
    /// again.
    pub replaced: usize,
    /// Events that could not be looked up, and why: they stay where they are.
    pub failed: Vec<String>,
}

/// Whether this run is held for trust and nothing else.
pub fn is_held_for_trust(run: &Run) -> bool {
    run.state == State::Held && run.reason.starts_with(HELD)
}

/// Lets go on what waited, by the table that was accepted.
pub fn release(
    store: &mut dyn Store,
    layout: &Layout,
    repository: &Repository,
    table: &Table,
    vocabulary: &Vocabulary<'_>,
) -> Result<Released> {
    let mut released = Released::default();
    // Oldest first, as they would have been queued.
    let mut runs = store.runs(&Filter { states: vec![State::Held], ..Filter::default() })?;
    runs.reverse();
    for run in runs.into_iter().filter(is_held_for_trust) {
        let events = store.events_of(run.id)?;
        let hooks: Vec<Hook> = events.iter().map(|event| event.hook).collect();
        let by_hand = store.is_by_hand(&run)?;
        let has_row = plan::as_it_stands(table, &run.job.row, vocabulary, by_hand).is_some();
        if has_row && (by_hand || plan::starts_alike(table, &run.job.row, &hooks)) {
            store.decide(run.id, Transition::of(Happening::Accepted, "its rules are accepted"))?;
            released.runs += 1;
            continue;
        }
        // Looked up before the run is cancelled: whatever fails or dies in between, the event is still somewhere.
        let mut failed = Vec::new();
        for event in events.into_iter().filter(|event| event.hook != Hook::Manual) {
            // Another event for the ledger, which has handled this one; the same one however often it comes here.
            let key = Digest::of_parts([
                b"as accepted".as_slice(),
                event.key.as_str().as_bytes(),
                table.digest.as_str().as_bytes(),
            ]);
            if let Err(error) = queue(store, repository, table, vocabulary, Event { key, ..event }) {
                failed.push(error.chain());
            }
        }
        if failed.is_empty() {
            let reason = format!("the accepted table has no row `{}` as it was held for", run.job.row.trigger);
            store.decide(run.id, Transition::of(Happening::Cancelled, reason))?;
            released.replaced += 1;
        }
        released.failed.extend(failed);
    }
    for (path, event) in spool::held(layout)? {
        match queue(store, repository, table, vocabulary, event) {
            Ok(()) => {
                released.events += 1;
                fs::remove_file(&path).ok();
            }
            Err(error) => released.failed.push(error.chain()),
        }
    }
    Ok(released)
}

fn queue(
    store: &mut dyn Store,
    repository: &Repository,
    table: &Table,
    vocabulary: &Vocabulary<'_>,
    event: Event,
) -> Result<()> {
    let change = event.change.clone();
    let mut paths = Paths::walked(|visitor| match &change {
        Some(change) => repository.visit_changed_paths(change, visitor),
        None => Ok(()),
    });
    if let Some(mut plan) = Plan::of(table, event, vocabulary, &mut paths)? {
        ceiling::apply(std::slice::from_mut(&mut plan), vocabulary, false);
        store.take_in(&plan)?;
    }
    Ok(())
}
