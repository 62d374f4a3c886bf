//! What the dispatcher hands over: the event and the rows that it starts, now or after one another.
//!
//! The plan carries everything a run needs to know of the table (policy, limits, the rows that follow), so that what
//! runs is what the table said when the event happened, whatever the working tree holds by then.

use serde::{Deserialize, Serialize};

use super::{ArtifactRules, Coalesce};
use crate::event::Event;
use crate::ids::Digest;
use crate::policy::admission::Admission;
use crate::policy::{Budget, RolePolicy};
use crate::run::State;

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
