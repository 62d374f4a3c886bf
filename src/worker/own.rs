//! Whether a run, or this program for a run, made what a hook reports: then it starts nothing.
//!
//! Guards, each of which holds without the others: the marker in the environment
//! ([`RUN_MARKER`](crate::process::RUN_MARKER), looked at before anything else), the ids of what runs did
//! ([`deeds`](super::deeds)), the ancestry of the process that reports it, and the places and names that belong to runs
//! (their workspaces here, `refs/orchestrator/` in [`observe`](crate::observe)). All but the first are asked only about
//! what would be queued.

use std::path::Path;

use super::lock;
use crate::git::{Repository, workspace};
use crate::process::{self, ancestry};
use crate::store::layout::Layout;

/// Whether it comes from a run.
pub fn is_our_own(repository: &Repository, layout: &Layout) -> bool {
    is_in_a_workspace(repository) || is_below_the_worker(layout)
}

/// Why this is the inside of a run, as a sentence, by every witness there is; `None` if it is not. What cannot be told
/// counts as one: for whoever asks whether something may be opened.
pub fn inside(repository: &Repository, layout: &Layout) -> Option<String> {
    let witness = || crate::ancestry::inside_a_run(&process::clean_environment());
    witness().or_else(|| is_our_own(repository, layout).then(|| "this is the inside of a run".to_owned()))
}

/// The hook was called in a checkout that was made for runs.
fn is_in_a_workspace(repository: &Repository) -> bool {
    let ours = workspace::directory(repository.common_directory());
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    repository.worktree().is_some_and(|top| real(top).starts_with(real(&ours)))
}

/// A process that started this one holds the worker's lock. What cannot be found out is no reason to lose an event.
fn is_below_the_worker(layout: &Layout) -> bool {
    let Ok(Some(worker)) = lock::living_worker(layout) else { return false };
    // Where a repository is shared with a container, the number may be somebody else's here.
    ancestry::descends_from(worker, |process| {
        let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(b"worker".as_slice())
    })
}
