//! From an answer to something a person can trust: check, judge, publish.
//!
//! The model writes the answer; everything around it (the envelope, the evidence, the conclusion) is computed here and
//! cannot be written by a model. Only this module writes under `.orchestrator/artifacts` and `INBOX.md`.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::git::Repository;
use crate::ids::{Digest, Oid, RunId};
use crate::role::Role;
use crate::runtime::Usage;
use crate::runtime::activity::Recorded;
use crate::store::Run;
use crate::store::layout::Layout;

/// What an answer is worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Conclusion {
    /// The evidence carries the verdict.
    Conclusive,
    /// It does not, for these reasons. Never a pass.
    Inconclusive {
        /// What is missing, as sentences.
        reasons: Vec<String>,
    },
}

/// Computed, not claimed. Grows with later versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Changed files whose change was in the prompt or was opened by a command.
    pub files_read: Vec<String>,
    /// Changed files of which neither holds.
    pub files_not_read: Vec<String>,
    /// The commands that were executed, with what became of them.
    pub commands: Vec<CommandEvidence>,
    /// Quotes of the answer that stand where it says they stand.
    pub quotes_found: u32,
    /// Quotes that do not, as `path:line`.
    pub quotes_missing: Vec<String>,
}

/// One executed command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandEvidence {
    /// The line.
    pub command: String,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

/// A checked answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The answer, as JSON that fits the schema.
    pub answer: Value,
    /// What it is worth.
    pub conclusion: Conclusion,
    /// On what grounds.
    pub evidence: Evidence,
    /// One line for `status` and the inbox: the verdict and why.
    pub headline: String,
    /// Questions that block, for the clarification gate.
    pub questions: Vec<String>,
}

/// What surrounds an answer in an artifact. No field of it comes from the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The version of the artifact's form.
    pub schema: u32,
    /// The run.
    pub run: RunId,
    /// The role.
    pub role: String,
    /// The row.
    pub trigger: String,
    /// The event's key.
    pub event: Digest,
    /// The commit.
    pub commit: Oid,
    /// Its tree.
    pub tree: Option<Oid>,
    /// The branch.
    pub branch: Option<String>,
    /// The runtime's name.
    pub runtime: String,
    /// The runtime's version.
    pub runtime_version: String,
    /// The model, where it is known.
    pub model: Option<String>,
    /// A scripted model wrote the answer.
    pub rehearsal: bool,
    /// Of the policy the run had, as JSON.
    pub policy: Digest,
    /// Of the prompt.
    pub prompt: Digest,
    /// Of the skill.
    pub skill: Digest,
    /// The attempt that succeeded.
    pub attempt: u32,
    /// Tokens of the run.
    pub usage: Usage,
    /// When the run began.
    pub started_at: Timestamp,
    /// When the answer was published.
    pub finished_at: Timestamp,
}

/// Checks an answer against the role's type and the record. `Err` lists what is wrong with it, for a repair turn.
pub fn judge(
    role: &Role,
    answer: &str,
    context: &Context,
    activities: &[Recorded],
    repository: &Repository,
    commit: &Oid,
) -> Result<Judgement, Vec<String>> {
    let _ = (role, answer, context, activities, repository, commit);
    Err(Vec::new())
}

/// Writes `<role>.json` and `<role>.md` for this commit and returns their paths relative to `layout.home()`.
pub fn publish(layout: &Layout, envelope: &Envelope, judgement: &Judgement) -> Result<Vec<String>> {
    let _ = (layout, envelope, judgement);
    Err(Error::failed("stub"))
}

/// The inbox page for these runs (newest first): what waits for a person, with the command to type.
pub fn inbox(home: &Path, runs: &[Run]) -> String {
    let _ = (home, runs);
    String::new()
}
