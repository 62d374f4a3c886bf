//! From an answer to something a person can trust: check, judge, publish.
//!
//! The model writes the answer; everything around it (the envelope, the evidence, the conclusion) is computed here and
//! cannot be written by a model. Only this module writes under `.orchestrator/artifacts` and `INBOX.md`.

mod evidence;
mod inbox;
mod judge;
mod markdown;
mod page;
mod publish;
mod quotes;
mod reads;
mod suites;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::inbox::{inbox, refresh_inbox};
pub use self::judge::{Submission, judge};
pub use self::publish::publish;
use crate::clock::Timestamp;
use crate::ids::{Digest, Oid, RunId};
use crate::runtime::Usage;
use crate::secrets::Counts;

/// The version of the form of artifact files.
pub const SCHEMA: u32 = 1;

/// What an answer is worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Evidence {
    /// How many changed files there are of each kind. The lists below name a part of them.
    #[serde(default)]
    pub files: FileCounts,
    /// Changed files whose change was in the prompt or was opened by a command.
    pub files_read: Vec<String>,
    /// Changed files of which neither holds.
    pub files_not_read: Vec<String>,
    /// Changed files that nobody is meant to read, and that no command opened: generated and binary ones.
    #[serde(default)]
    pub files_skipped: Vec<String>,
    /// The commands that were executed, with what became of them.
    pub commands: Vec<CommandEvidence>,
    /// Quotes of the answer that stand where it says they stand.
    pub quotes_found: u32,
    /// Quotes that do not, as `path:line`; what rested on them was taken out of the answer.
    pub quotes_missing: Vec<String>,
    /// Commands that the answer claims and the record does not bear out, as sentences.
    #[serde(default)]
    pub claims_unproven: Vec<String>,
    /// Files of the commit that were different or gone in the checkout when the answer came.
    #[serde(default)]
    pub changed_in_checkout: Vec<String>,
    /// What stood in the checkout then and is neither in the commit nor ignored.
    #[serde(default)]
    pub new_in_checkout: Vec<String>,
    /// Lines that were executed although `commands` does not list them, each once.
    #[serde(default)]
    pub unlisted: Vec<String>,
    /// Lines that a person allowed this run beyond `commands`.
    #[serde(default)]
    pub allowed_by_a_person: Vec<String>,
    /// What the gatekeeper refused.
    #[serde(default)]
    pub refused: Vec<RefusedEvidence>,
}

/// How many changed files were read and how many were not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FileCounts {
    /// All changed files.
    pub changed: usize,
    /// Of these, those that were read.
    pub read: usize,
    /// Those that were not.
    pub not_read: usize,
    /// Those that nobody is meant to read, and nobody did.
    pub skipped: usize,
}

/// One executed command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CommandEvidence {
    /// The line.
    pub command: String,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

/// One thing that the gatekeeper refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RefusedEvidence {
    /// What, in the words it was asked for.
    pub what: String,
    /// The rule that refused it.
    pub rule: String,
    /// A person could have allowed it.
    pub could_be_allowed: bool,
    /// How often it was asked for.
    pub times: u32,
}

/// A checked answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The answer, as JSON that fits the schema.
    pub answer: Value,
    /// What it is worth.
    pub conclusion: Conclusion,
    /// It lets the change go on: conclusive, and a plan without questions, an approval or a pass. Computed; a gate asks
    /// for it.
    pub favourable: bool,
    /// On what grounds.
    pub evidence: Evidence,
    /// One line for `status` and the inbox: the verdict and why.
    pub headline: String,
    /// Questions that block, for the clarification gate.
    pub questions: Vec<String>,
}

/// What surrounds an answer in an artifact. No field of it comes from the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Envelope {
    /// The version of the artifact's form.
    pub schema: u32,
    /// The run.
    #[cfg_attr(test, schemars(with = "String"))]
    pub run: RunId,
    /// The role.
    pub role: String,
    /// The row.
    pub trigger: String,
    /// The event's key.
    #[cfg_attr(test, schemars(with = "String"))]
    pub event: Digest,
    /// The commit.
    #[cfg_attr(test, schemars(with = "String"))]
    pub commit: Oid,
    /// Its tree.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
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
    #[cfg_attr(test, schemars(with = "String"))]
    pub policy: Digest,
    /// Of the prompt.
    #[cfg_attr(test, schemars(with = "String"))]
    pub prompt: Digest,
    /// Of the skill.
    #[cfg_attr(test, schemars(with = "String"))]
    pub skill: Digest,
    /// The attempt that succeeded.
    pub attempt: u32,
    /// What was taken for a secret and cut, by kind: in the prompt, in the answer and in the evidence.
    #[serde(default)]
    pub redacted: Counts,
    /// Tokens of the run.
    pub usage: Usage,
    /// When the run began.
    #[cfg_attr(test, schemars(with = "String"))]
    pub started_at: Timestamp,
    /// When the answer was published.
    #[cfg_attr(test, schemars(with = "String"))]
    pub finished_at: Timestamp,
}

/// An artifact file: `<role>.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Artifact {
    /// The version of the file's form.
    pub schema: u32,
    /// What surrounds the answer.
    pub envelope: Envelope,
    /// What the answer is worth.
    pub conclusion: Conclusion,
    /// On what grounds.
    pub evidence: Evidence,
    /// The answer, as the role's own schema has it.
    #[cfg_attr(test, schemars(with = "serde_json::Map<String, Value>"))]
    pub answer: Value,
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_artifact_schema_is_that_of_the_type() {
        crate::role::schema::check_file::<super::Artifact>("skills/artifact.schema.json");
    }
}
