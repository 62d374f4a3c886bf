//! The input package of a run: everything the model is told, and a record of what was included and what was cut.
//!
//! Deterministic: the same commit, role and handoffs give the same bytes. Text from the repository is data: labelled
//! untrusted and fenced. Every section has a budget in bytes, so that no commit can make a prompt that no model takes;
//! what a budget cuts is told in the prompt and in the record. No I/O but reading the repository.

pub mod fence;
mod prompt;
pub mod selection;

use serde::{Deserialize, Serialize};

pub use self::prompt::package;
pub use self::selection::{Class, class_of};
use crate::event::Event;
use crate::git::Repository;
use crate::ids::Digest;
use crate::role::Role;
use crate::secrets::Counts;
use crate::store::Job;

/// The result of an earlier run, handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handoff {
    /// The role that made it.
    pub role: String,
    /// Where it lies, relative to the directory that holds `.orchestrator`.
    pub path: String,
    /// Its answer, as JSON text.
    pub answer: String,
    /// Of the artifact file's bytes.
    pub digest: Digest,
}

/// What a package is made of.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// Who is asked.
    pub role: &'static Role,
    /// About what.
    pub job: &'a Job,
    /// What git did.
    pub event: &'a Event,
    /// Where it did it.
    pub repository: &'a Repository,
    /// What earlier roles found.
    pub handoffs: &'a [Handoff],
    /// The role's instructions, where they are not ours.
    pub skill: Option<&'a [u8]>,
    /// What the project tells agents.
    pub guidance: Option<&'a [u8]>,
}

/// How much of a file's change the prompt holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Inclusion {
    /// All its hunks.
    Whole,
    /// Some of its hunks.
    Partial,
    /// Its name only.
    Named,
}

/// One changed file, as the prompt holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncludedFile {
    /// Its path; bytes that are no UTF-8 are escaped.
    pub path: String,
    /// What it is.
    pub class: Class,
    /// How it changed.
    pub status: crate::git::diff::Status,
    /// It is executed or tells a tool what to do: by its name, its mode or its first line. Such a file is not approved
    /// unread, whatever its class.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub program: bool,
    /// How much of it is in the prompt.
    pub inclusion: Inclusion,
    /// Why not all of it is.
    pub cut: Option<String>,
    /// The new-file line ranges of the hunks that are in the prompt, first and last line.
    pub hunks: Vec<(u32, u32)>,
    /// The new-file line ranges of the hunks that are not.
    pub left_out: Vec<(u32, u32)>,
    /// Those of `left_out` in which lines are removed: the new file alone does not show them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removing: Vec<(u32, u32)>,
}

/// How many changed files the record names. A change of more files is not read by anybody; it ends as inconclusive.
pub const FILES_RECORDED: usize = 2_000;

/// `context.json`: what was included and what was cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The version of this form.
    pub schema: u32,
    /// The sections of the prompt with their sizes in bytes and whether they were cut.
    pub sections: Vec<Section>,
    /// The changed files in the order of risk, at most [`FILES_RECORDED`].
    pub files: Vec<IncludedFile>,
    /// How many files changed, those beyond the record included.
    pub files_changed: usize,
    /// The command prefixes that the run was told it may execute.
    pub commands: Vec<String>,
    /// Digests of the artifacts handed over, by role.
    pub handoffs: Vec<(String, Digest)>,
    /// What was taken for a secret and cut from the prompt, by kind.
    #[serde(default)]
    pub redacted: Counts,
    /// Of the skill's bytes.
    pub skill: Digest,
    /// Of the prompt's bytes.
    pub prompt: Digest,
}

/// One section of the prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// How long it is in the prompt.
    pub bytes: usize,
    /// How long it would be uncut.
    pub uncut_bytes: usize,
}

/// A finished package.
#[derive(Clone, Debug)]
pub struct Package {
    /// The prompt.
    pub prompt: String,
    /// The record of it.
    pub context: Context,
}
