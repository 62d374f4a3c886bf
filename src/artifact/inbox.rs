//! `INBOX.md`: what waits for a person, newest first, each with the command to type. A view of the ledger, written
//! anew whenever something changes.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::Artifact;
use super::markdown::{code, inline, plural};
use crate::files::{self, Directory};
use crate::run::State;
use crate::store::layout::{DIRECTORY, INBOX, Layout};
use crate::store::{Filter, Run, Store, StoreError};

/// How many entries a section shows.
const SHOWN: usize = 20;

/// The largest artifact that is looked into for its mark.
const ARTIFACT_BYTES: u64 = 4 << 20;

/// How many runs are looked through for what waits.
const RUNS_LOOKED_THROUGH: usize = 200;

/// Writes `INBOX.md` anew from the ledger. It can be made again at any time, so that a failure to write it is logged and
/// fails nothing.
pub fn refresh_inbox(layout: &Layout, store: &dyn Store) -> Result<(), StoreError> {
    let runs = store.runs(&Filter { limit: Some(RUNS_LOOKED_THROUGH), ..Filter::default() })?;
    let page = inbox(layout.home(), &runs);
    let written = Directory::create(layout.root(), Path::new(""));
    if let Err(error) = written.and_then(|directory| directory.write(INBOX, page.as_bytes())) {
        tracing::error!(error = %error.chain(), "cannot write the inbox");
    }
    Ok(())
}

/// The inbox page for these runs (newest first): what waits for a person, with the command to type. `home` is the
/// directory that holds `.orchestrator`; artifacts that are no longer there are not listed.
pub fn inbox(home: &Path, runs: &[Run]) -> String {
    let mut out = String::from(
        "# Inbox\n\nWhat waits for a person, newest first. Made anew by `git orchestrator`; safe to delete.\n",
    );
    let before = out.len();
    let of = |states: &[State]| -> Vec<&Run> { runs.iter().filter(|run| states.contains(&run.state)).collect() };
    section(&mut out, "Waiting for an answer", &of(&[State::Waiting]), |run| {
        format!("`git orchestrator review {}` shows what it asks, and what to type.", run.id.short())
    });
    section(&mut out, "Held", &of(&[State::Held]), |run| {
        let id = run.id.short();
        format!("`git orchestrator show {id}` says what releases it; `git orchestrator cancel {id}` drops it.")
    });
    let unfinished: Vec<&Run> = of(&[State::Failed, State::Inconclusive]);
    let unfinished: Vec<&Run> = unfinished.into_iter().filter(|run| !was_tried_again(run, runs)).collect();
    section(&mut out, "Failed or inconclusive", &unfinished, |run| {
        let id = run.id.short();
        let page = page_link(home, run).map_or(String::new(), |link| format!("{link} · "));
        format!("{page}`git orchestrator show {id}` · `git orchestrator retry {id}`")
    });
    let mut pages = BTreeSet::new();
    let done: Vec<&Run> = of(&[State::Succeeded])
        .into_iter()
        .filter(|run| page_link(home, run).is_some_and(|link| pages.insert(link)))
        .take(SHOWN)
        .collect();
    section(&mut out, "To review", &done, |run| page_link(home, run).unwrap_or_default());
    if out.len() == before {
        out.push_str("\nNothing waits.\n");
    }
    out
}

fn section(out: &mut String, title: &str, runs: &[&Run], what: impl Fn(&Run) -> String) {
    if runs.is_empty() {
        return;
    }
    writeln!(out, "\n## {title}\n").ok();
    for run in runs.iter().take(SHOWN) {
        let job = &run.job;
        let branch = job.branch.as_deref().map_or(String::new(), |branch| format!(" on {}", code(branch)));
        let is_unfinished = matches!(run.state, State::Failed | State::Inconclusive);
        let state = if is_unfinished { format!(" **{}**", run.state) } else { String::new() };
        let reason = if run.reason.is_empty() { String::new() } else { format!(" — {}", inline(&run.reason)) };
        let (role, commit) = (inline(&job.row.role), job.change.head.short());
        writeln!(out, "- **{role}** of `{commit}`{branch}{state}{reason}  \n  {}", what(run)).ok();
    }
    if runs.len() > SHOWN {
        writeln!(out, "- … and {} more: `git orchestrator status`", runs.len() - SHOWN).ok();
    }
}

/// Whether a newer run does the same: then this one waits for nobody.
fn was_tried_again(run: &Run, runs: &[Run]) -> bool {
    runs.iter().any(|other| {
        other.created_at > run.created_at
            && (other.job.retry_of == Some(run.id)
                || (other.job.row.trigger == run.job.row.trigger && other.job.branch == run.job.branch))
    })
}

/// A link to the run's page, marked if a scripted model wrote it; `None` if there is none (any more).
fn page_link(home: &Path, run: &Run) -> Option<String> {
    let page = run.artifacts.iter().find(|path| Path::new(path).extension().is_some_and(|end| end == "md"))?;
    let json = files::read_beneath(home, &Path::new(page).with_extension("json"), ARTIFACT_BYTES).ok()??;
    let artifact: Artifact = serde_json::from_slice(&json).ok()?;
    // A later run for the same commit may have taken its place.
    if artifact.envelope.run != run.id {
        return None;
    }
    let target = page.strip_prefix(DIRECTORY)?.strip_prefix('/')?;
    let plain = target.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_'));
    let mark = if artifact.envelope.rehearsal { " (rehearsal)" } else { "" };
    let refused = match artifact.evidence.refused.len() {
        0 => String::new(),
        count => format!(" · {} refused by the policy", plural(count, "action")),
    };
    plain.then(|| format!("[{target}]({target}){mark}{refused}"))
}
