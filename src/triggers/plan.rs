//! What the dispatcher hands over: the event and the rows that it starts, now or after one another.
//!
//! The plan carries everything a run needs to know of the table (policy, limits, the rows that follow), so that what
//! runs is what the table said when the event happened, whatever the working tree holds by then.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::matching::{self, Matched, Paths};
use super::{ArtifactRules, Coalesce, LimitOverrides, RowAction, Source, Table, Trigger, Vocabulary, When};
use crate::error::{Error, Result};
use crate::event::{Event, Hook};
use crate::ids::Digest;
use crate::policy::admission::{self, Admission};
use crate::policy::ceiling::Ceiling;
use crate::policy::{Autonomy, Budget, RolePolicy, SandboxMode};
use crate::run::State;
use crate::text;

/// The version of the plan's JSON form: the format of a spool file.
pub const SCHEMA: u32 = 1;

/// An event and the rows it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The version of this form.
    pub schema: u32,
    /// What git did.
    pub event: Event,
    /// Rows that start now, and rows that follow one of them.
    pub rows: Vec<PlannedRow>,
    /// What may be spent in a day.
    pub budget: Budget,
    /// The `artifacts` section.
    pub artifacts: ArtifactRules,
    /// Of the table's bytes.
    pub table: Digest,
}

/// One row, resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRow {
    /// The row's name.
    pub trigger: String,
    /// The role it starts.
    pub role: String,
    /// The runtime that carries it out.
    pub runtime: String,
    /// Which events become one job.
    pub coalesce: Coalesce,
    /// How long it has to be quiet after the newest event before the run is begun.
    #[serde(default, skip_serializing_if = "Duration::is_zero")]
    pub debounce: Duration,
    /// What the row asks of an event: told to whoever has to know later which commits concern it.
    #[serde(default)]
    pub when: When,
    /// What the run may do, limits of the row included.
    pub policy: RolePolicy,
    /// When it starts.
    pub starts: Starts,
    /// Whether it may.
    pub admission: Admission,
}

/// When a row starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "when", rename_all = "kebab-case")]
pub enum Starts {
    /// With the event.
    Now,
    /// When a run of that row reaches that state. Any of them does.
    After {
        /// Row and state.
        runs: Vec<(String, State)>,
    },
}

impl Plan {
    /// The rows that `event` starts; `None` where it starts nothing. Gates are not part of it: see
    /// [`matching::gates`].
    ///
    /// A row that listens to the hook and to a run stands in the plan twice, once for each start.
    ///
    /// # Errors
    /// That of computing the changed paths.
    pub fn of(table: &Table, event: Event, vocabulary: &Vocabulary<'_>, paths: &mut Paths<'_>) -> Result<Option<Self>> {
        let matched = matching::rows(table, &event, paths)?;
        if matched.now.is_empty() {
            return Ok(None);
        }
        let Matched { now, after } = matched;
        let mut rows: Vec<PlannedRow> =
            now.into_iter().filter_map(|row| planned(table, row, vocabulary, Starts::Now)).collect();
        rows.extend(
            after.into_iter().filter_map(|follower| {
                planned(table, follower.row, vocabulary, Starts::After { runs: follower.after })
            }),
        );
        Ok(Some(Self::with(table, event, rows)))
    }

    /// What a person asks for by name: a row, with its limits and the rows that follow it, or else a role alone.
    ///
    /// Conditions are not asked, neither of the row nor of its followers: the person has decided. Nor is `observe` a
    /// reason to hold what they asked for themselves; its read-only sandbox stays, and so does the allow-list: a role
    /// that is not listed is held. Two requests are never one job.
    ///
    /// # Errors
    /// [`Usage`](crate::error::Kind::Usage) for a gate or an event without a commit,
    /// [`NotFound`](crate::error::Kind::NotFound) where there is neither a row nor a role of this name.
    pub fn for_person(table: &Table, event: Event, name: &str, vocabulary: &Vocabulary<'_>) -> Result<Self> {
        if event.change.is_none() {
            return Err(Error::usage("there is no commit to run on").hint("make a commit first"));
        }
        let Some(row) = table.triggers.iter().find(|row| row.name == name) else {
            if !vocabulary.roles.contains(&name) {
                return Err(unknown(table, name, vocabulary));
            }
            let limits = LimitOverrides::default();
            let row = resolved(table, vocabulary, name, name, None, &limits, Starts::Now);
            return Ok(Self::with(table, event, vec![asked_for(table, row)]));
        };
        let Some(first) = planned(table, row, vocabulary, Starts::Now) else {
            return Err(Error::usage(format!("row `{name}` is a gate: it starts nothing"))
                .hint("it asks by itself on a push; `git orchestrator approve` answers it"));
        };
        let first = PlannedRow { coalesce: Coalesce::None, debounce: Duration::ZERO, ..asked_for(table, first) };
        let mut rows = vec![first];
        rows.extend(
            matching::followers(table, &[row], |_| Ok(true))?.into_iter().filter_map(|follower| {
                planned(table, follower.row, vocabulary, Starts::After { runs: follower.after })
            }),
        );
        Ok(Self::with(table, event, rows))
    }

    /// Holds every row that the policy admits, for this reason. Rows that follow are asked about when they begin.
    pub fn hold(&mut self, reason: &str) {
        for row in self.rows.iter_mut().filter(|row| row.starts == Starts::Now) {
            if row.admission == Admission::Admitted {
                row.admission = Admission::Held { reason: reason.to_owned() };
            }
        }
    }

    /// Narrows every row to what a person lets any repository have; what they do not allow at all is held. `asked`: the
    /// person asked for it by name, so that nothing has to be held because it would start by itself.
    pub fn narrow(&mut self, ceiling: &Ceiling, asked: bool) {
        ceiling.narrow_budget(&mut self.budget);
        for row in &mut self.rows {
            row.narrow(ceiling, asked);
        }
    }

    /// Holds every row, and leaves it nothing to do with: what a person allows is not known.
    pub fn disarm(&mut self, reason: &str) {
        for row in &mut self.rows {
            row.policy.sandbox = SandboxMode::ReadOnly;
            row.policy.network = false;
            row.policy.commands.clear();
            if row.admission == Admission::Admitted {
                row.admission = Admission::Held { reason: reason.to_owned() };
            }
        }
    }

    fn with(table: &Table, event: Event, rows: Vec<PlannedRow>) -> Self {
        Self {
            schema: SCHEMA,
            event,
            rows,
            budget: table.policy.budget,
            artifacts: table.artifacts,
            table: table.digest.clone(),
        }
    }
}

impl PlannedRow {
    /// See [`Plan::narrow`].
    pub fn narrow(&mut self, ceiling: &Ceiling, asked: bool) {
        ceiling.narrow(&self.role, &mut self.policy);
        if matches!(self.admission, Admission::Held { .. }) {
            return;
        }
        let is_asked = asked && self.starts == Starts::Now && ceiling.lists(&self.role);
        if let Some(reason) = ceiling.holds(&self.role).filter(|_| !is_asked) {
            self.admission = Admission::Held { reason };
        }
    }
}

/// A row with everything resolved; `None` for a gate.
fn planned(table: &Table, row: &Trigger, vocabulary: &Vocabulary<'_>, starts: Starts) -> Option<PlannedRow> {
    let RowAction::Role(role) = &row.action else { return None };
    // A row that follows a run has nothing to wait for: what it is about has settled.
    let debounce = if starts == Starts::Now { row.debounce } else { Duration::ZERO };
    let runtime = row.runtime.as_deref();
    let resolved = resolved(table, vocabulary, &row.name, role, runtime, &row.limits, starts);
    Some(PlannedRow { coalesce: row.coalesce, debounce, when: row.when.clone(), ..resolved })
}

fn resolved(
    table: &Table,
    vocabulary: &Vocabulary<'_>,
    trigger: &str,
    role: &str,
    runtime: Option<&str>,
    limits: &LimitOverrides,
    starts: Starts,
) -> PlannedRow {
    let (admission, mut policy) = admission::admit(&table.policy, role, &(vocabulary.contract)(role));
    policy.limits = limits.over(&policy.limits);
    PlannedRow {
        trigger: trigger.to_owned(),
        role: role.to_owned(),
        runtime: runtime.unwrap_or(&table.runtime).to_owned(),
        coalesce: Coalesce::None,
        debounce: Duration::ZERO,
        when: When::default(),
        policy,
        starts,
        admission,
    }
}

/// The row of a run as this table has it: what it may do, by which runtime, and whether it is admitted. `None` where the
/// table has no such row for its role. `asked`: a person asked for it by name.
pub fn as_it_stands(table: &Table, row: &PlannedRow, vocabulary: &Vocabulary<'_>, asked: bool) -> Option<PlannedRow> {
    let starts = row.starts.clone();
    let found = match table.triggers.iter().find(|own| own.name == row.trigger) {
        Some(own) => planned(table, own, vocabulary, starts).filter(|own| own.role == row.role)?,
        // A person asked for the role alone.
        None if row.trigger == row.role && vocabulary.roles.contains(&row.role.as_str()) => {
            resolved(table, vocabulary, &row.role, &row.role, None, &LimitOverrides::default(), starts)
        }
        None => return None,
    };
    Some(if asked && found.starts == Starts::Now { asked_for(table, found) } else { found })
}

/// Whether this table would start the row of a run as it was started: by the same hook under the same conditions, or by
/// the same runs.
pub fn starts_alike(table: &Table, row: &PlannedRow, hooks: &[Hook]) -> bool {
    let Some(own) = table.triggers.iter().find(|own| own.name == row.trigger) else { return false };
    let listens = |source: Source| own.on.contains(&source);
    own.when == row.when
        && match &row.starts {
            Starts::Now => hooks.iter().all(|hook| listens(Source::Hook(*hook))),
            Starts::After { runs } => {
                runs.iter().any(|(trigger, state)| listens(Source::Run { trigger: trigger.clone(), state: *state }))
            }
        }
}

/// A row that a person asked for: `observe` does not hold it, the allow-list does.
fn asked_for(table: &Table, mut row: PlannedRow) -> PlannedRow {
    let listed = table.policy.roles.as_ref().is_none_or(|roles| roles.contains_key(&row.role));
    if table.policy.autonomy == Autonomy::Observe && listed {
        row.admission = Admission::Admitted;
    }
    row
}

fn unknown(table: &Table, name: &str, vocabulary: &Vocabulary<'_>) -> Error {
    let rows =
        || table.triggers.iter().filter(|row| matches!(row.action, RowAction::Role(_))).map(|row| row.name.as_str());
    let error = Error::not_found(format!("there is neither a row nor a role `{}`", text::one_line(name)));
    if let Some(near) = text::nearest(name, rows().chain(vocabulary.roles.iter().copied())) {
        return error.hint(format!("did you mean `{near}`?"));
    }
    let error = error.hint(format!("roles: {}", vocabulary.roles.join(", ")));
    let rows: Vec<&str> = rows().collect();
    if rows.is_empty() { error } else { error.hint(format!("rows: {}", rows.join(", "))) }
}
