//! The second admission, directly before a run begins: what a person accepted says what it may do, whatever the event
//! found and whatever the ledger holds.

use super::{Worker, deeds};
use crate::ceiling;
use crate::error::{Error, Result};
use crate::policy::admission::Admission;
use crate::run::Happening;
use crate::store::{Job, Run, Store as _, Transition};
use crate::triggers::{load, plan};
use crate::trust;
use crate::trust::hook::Copies;

impl Worker {
    /// The run as the accepted table has it, with the accepted copies that it is made of. `None`: it may not begin, and
    /// was told so.
    pub(super) fn admitted(&mut self, run: &Run) -> Result<Option<(Run, Copies)>> {
        let job = &run.job;
        // The hook may have reported it before anybody could know whose deed it was.
        let events = self.ledger.events_of(run.id)?;
        if !events.is_empty() && events.iter().all(|event| deeds::is_one(&self.layout, event)) {
            return self.end(run, Happening::Cancelled, "a run did this: it starts nothing".to_owned());
        }
        let standing = trust::standing(&self.repository, Some(&job.worktree), &self.environment);
        let copies = match Copies::read(&self.repository, &standing) {
            Ok(copies) => copies,
            Err(objection) => return self.end(run, Happening::Held, trust::reason(&objection)),
        };
        let vocabulary = trust::vocabulary();
        let table = match load::table(&copies.table, load::FILE_NAME, &vocabulary) {
            Ok(table) => table,
            // It loaded when it was accepted: this program is another version.
            Err(error) => return self.end(run, Happening::Held, trust::reason(&error.chain())),
        };
        let by_hand = self.ledger.is_by_hand(run)?;
        let Some(mut row) = plan::as_it_stands(&table, &job.row, &vocabulary, by_hand) else {
            let reason = format!("the accepted table has no row `{}` for this role any more", job.row.trigger);
            return self.end(run, Happening::Cancelled, reason);
        };
        let mut budget = table.policy.budget;
        // What the person lets any repository have holds whatever they accepted here, and whoever released it.
        match ceiling::limits(&vocabulary) {
            Ok(None) => {}
            Ok(Some(ceiling)) => {
                row.narrow(&ceiling, by_hand);
                ceiling.narrow_budget(&mut budget);
            }
            Err(reason) => return self.end(run, Happening::Held, reason),
        }
        if let Admission::Held { reason } = &row.admission
            && !self.is_released(run)?
        {
            return self.end(run, Happening::Held, reason.clone());
        }
        let row = plan::PlannedRow { policy: row.policy, runtime: row.runtime, ..job.row.clone() };
        let now = Job { row, budget, artifacts: table.artifacts, table: table.digest, ..job.clone() };
        if now == *job {
            return Ok(Some((run.clone(), copies)));
        }
        let replanned = super::unless_changed(self.ledger.replan(run.id, &now))?;
        Ok(replanned.map(|()| (Run { job: now, ..run.clone() }, copies)))
    }

    fn end(&mut self, run: &Run, happening: Happening, reason: String) -> Result<Option<(Run, Copies)>> {
        tracing::warn!(run = %run.id, reason, "may not begin");
        super::unless_changed(self.ledger.decide(run.id, Transition::of(happening, reason)))?;
        Ok(None)
    }

    /// Whether a person released it by name.
    pub(super) fn is_released(&self, run: &Run) -> Result<bool, Error> {
        let history = self.ledger.history(Some(run.id), 100)?;
        Ok(history.iter().any(|line| line.happening == Some(Happening::Released)))
    }
}
