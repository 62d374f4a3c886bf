//! What is wrong here and what to do about it: findings as data.
//!
//! Each section looks at one thing and never fails: what cannot be looked at is a finding itself. Nothing is changed by
//! looking; what can be mended without touching anything a person wrote is named by a [`Mend`] and done by [`mend`].
//! Foreign text in a finding is stored raw.

mod codex;
mod environment;
mod git;
mod hooks;
mod jobs;
mod mend;
mod missed;
mod state;
mod table;
mod trust;
mod worker;

use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use crate::clock::Timestamp;
use crate::error::Error;
use crate::git::Repository;
use crate::install;
use crate::process::Environment;
use crate::store::layout::Layout;
use crate::store::ledger::Ledger;
use crate::text;
use crate::triggers::Table;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Works, but not as one expects.
    Warning,
    /// Does not work.
    Problem,
}

impl Level {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// What was looked at, in the order it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Section {
    /// The git program and the repository.
    Git,
    /// The hooks, ours and others'.
    Hooks,
    /// triggers.yaml.
    Table,
    /// What was accepted.
    Trust,
    /// The runtime.
    Codex,
    /// `.orchestrator`.
    State,
    /// The worker.
    Worker,
    /// Runs that do not move on by themselves.
    Jobs,
    /// What happened and no hook reported.
    Missed,
    /// Variables and the system.
    Environment,
}

impl Section {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Git => "git",
            Self::Hooks => "hooks",
            Self::Table => "table",
            Self::Trust => "trust",
            Self::Codex => "codex",
            Self::State => "state",
            Self::Worker => "worker",
            Self::Jobs => "jobs",
            Self::Missed => "missed",
            Self::Environment => "environment",
        }
    }
}

/// What a person does about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fix {
    /// Types this.
    Command(String),
    /// Does this.
    Action(String),
}

impl Fix {
    /// The words.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Command(words) | Self::Action(words) => words,
        }
    }
}

impl Serialize for Fix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What `--fix` can do by itself: nothing here touches what a person wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mend {
    /// Sets up again what `install` sets up: missing, older and switched-off hooks.
    Install,
    /// Makes the directories of `.orchestrator` again.
    Directories,
    /// Gives a directory of ours these permissions.
    Permissions(PathBuf, u32),
    /// Takes events in that hooks wrote, and starts a worker if there is work.
    Work,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A stable name in kebab-case.
    pub code: &'static str,
    /// How bad it is.
    pub level: Level,
    /// Where.
    pub section: Section,
    /// A sentence. Holds foreign text raw.
    pub message: String,
    /// What to do.
    pub fix: Option<Fix>,
    /// Whether `--fix` can do it.
    pub fixable: bool,
    /// Whether `--fix` did it.
    pub fixed: bool,
    /// How.
    #[serde(skip)]
    pub mend: Option<Mend>,
}

impl Finding {
    fn new(section: Section, level: Level, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, level, section, message, fix: None, fixable: false, fixed: false, mend: None }
    }

    /// The error as a finding: its sentence with all causes, its first hint as the fix.
    fn of_error(section: Section, level: Level, code: &'static str, error: &Error) -> Self {
        let finding = Self::new(section, level, code, error.chain());
        match error.hints() {
            [] => finding,
            hints => finding.action(hints.join("; ")),
        }
    }

    fn command(self, words: impl Into<String>) -> Self {
        Self { fix: Some(Fix::Command(words.into())), ..self }
    }

    fn action(self, words: impl Into<String>) -> Self {
        Self { fix: Some(Fix::Action(words.into())), ..self }
    }

    /// This action, where there is no fix yet.
    fn or_action(self, words: impl Into<String>) -> Self {
        if self.fix.is_some() { self } else { self.action(words) }
    }

    fn mends(self, mend: Mend) -> Self {
        Self { mend: Some(mend), fixable: true, ..self }
    }
}

/// What `--fix` did with one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deed {
    /// What was done, or was to be done.
    pub what: String,
    /// Why it could not be done.
    pub error: Option<String>,
}

/// Everything that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By section.
    pub findings: Vec<Finding>,
    /// What `--fix` did.
    pub deeds: Vec<Deed>,
}

impl Report {
    /// How many findings of this level are left.
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level && !finding.fixed).count()
    }

    /// How many of what is left `--fix` can do.
    pub fn fixable(&self) -> usize {
        self.findings.iter().filter(|finding| finding.fixable && !finding.fixed).count()
    }
}

/// What there is to look at.
pub struct Place<'a> {
    /// Where the command was typed.
    pub directory: &'a Path,
    /// The repository around it, or why there is none.
    pub repository: Result<Repository, Error>,
    /// This program's own file.
    pub own_program: &'a Path,
    /// The environment that children are started with.
    pub environment: &'a Environment,
}

/// A repository that is there, with what several sections need of it.
struct Here<'a> {
    place: &'a Place<'a>,
    repository: &'a Repository,
    layout: Layout,
    /// Whether `install` has been here: its directory is there, or a hook of ours.
    installed: bool,
    table: Option<Table>,
    ledger: Option<Ledger>,
    now: Timestamp,
}

/// Looks at everything and changes nothing.
pub fn examine(place: &Place<'_>) -> Report {
    let mut findings = git::look(place);
    if let Ok(repository) = &place.repository {
        let layout = Layout::new(&repository.home());
        let (found, table) = table::look(repository);
        let (hooks, has_hooks) = hooks::look(place, repository, &layout);
        let (state, ledger) = state::look(&layout, repository);
        let installed = has_hooks || layout.root().symlink_metadata().is_ok();
        let here = Here { place, repository, layout, installed, table, ledger, now: Timestamp::now() };
        let has_faulty_hooks = hooks.iter().any(|finding| finding.level > Level::Ok);
        findings.extend(hooks);
        if here.installed {
            findings.extend(found);
            if here.table.is_some() {
                findings.extend(trust::look(place, repository, &here.layout, has_faulty_hooks));
            }
        }
        findings.extend(codex::look(place, here.table.as_ref()));
        if here.installed {
            findings.extend(state);
            let (worker, waiting) = worker::look(&here);
            findings.extend(worker);
            findings.extend(jobs::look(&here));
            findings.extend(missed::look(&here, &waiting));
        }
    } else {
        findings.extend(codex::look(place, None));
    }
    findings.extend(environment::look(place));
    Report { findings, deeds: Vec::new() }
}

/// Does what is safe, and looks again. What was found before and is gone now is marked as fixed.
pub fn mend(place: &Place<'_>) -> Report {
    let before = examine(place);
    let Ok(repository) = &place.repository else { return before };
    if before.fixable() == 0 {
        return before;
    }
    let deeds = mend::all(place, repository, &before.findings);
    let mut after = examine(place);
    let is_left =
        |gone: &Finding| after.findings.iter().any(|left| left.code == gone.code && left.message == gone.message);
    let fixed: Vec<Finding> = before
        .findings
        .iter()
        .filter(|finding| finding.fixable && !is_left(finding))
        .map(|finding| Finding { fixed: true, ..finding.clone() })
        .collect();
    after.findings.extend(fixed);
    after.findings.sort_by_key(|finding| finding.section);
    after.deeds = deeds;
    after
}

/// What `install` is asked for: the hooks as they are called here already.
fn install_request<'a>(place: &'a Place<'a>) -> install::Request<'a> {
    install::Request { program: place.own_program, starter: install::STARTER_TABLE, config_hooks: false }
}

/// A path as a word for the shell. What had to be escaped is no path any more that a shell would find.
fn quoted(path: &Path) -> String {
    text::shell_word(&crate::git::shown(path))
}

/// `one thing`, `2 things`.
fn count(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}
