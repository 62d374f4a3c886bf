//! What runs did to the repository, by its ids: an event about exactly that starts nothing, whoever reports it, from
//! wherever and whenever.
//!
//! The third guard against recursion (see [`own`](super::own)) needs neither the environment nor the ancestry of the
//! process that reports: a push that goes through a server process back into this repository has neither. Three things
//! are written down, each as the name of an empty file in `state/deeds`:
//!
//! - the key of an event that was reported from inside a run: the same event reported once more is the same deed;
//! - the commits that runs made, as their hooks told or as the log of a workspace's HEAD does after the run;
//! - what was pushed from inside a run, as ref and id, which is what arrives on the other side.
//!
//! Only the deed itself is recorded. A commit of a run that a person merges, checks out or pushes later is the person's
//! doing, and starts what it always starts.

use std::fs;
use std::io;
use std::time::Duration;

use crate::error::{Context as _, Result};
use crate::event::{Event, Hook, RefChange};
use crate::files;
use crate::git::{Repository, workspace};
use crate::ids::{Digest, Oid};
use crate::store::layout::Layout;

/// How long a deed is kept: its event comes with it, but a repository may lie on a disk that was put away.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long a push may take to arrive. After that the same ref set to the same commit is another push.
const PUSH_ARRIVES: Duration = Duration::from_secs(3600);

/// The hooks that report that a commit was made. A merge may only move a branch to a commit that was there.
const MAKING: [Hook; 3] = [Hook::PostCommit, Hook::PostRewrite, Hook::PostApplypatch];

/// Writes down what an event from inside a run says. In a sandbox this fails: there the worker looks afterwards.
pub fn remember(layout: &Layout, event: &Event) -> Result<()> {
    write(layout, &key(event))?;
    match event.commit().filter(|_| MAKING.contains(&event.hook)) {
        Some(commit) => write(layout, &made(commit)),
        None => Ok(()),
    }
}

/// Writes down what is pushed from inside a run.
pub fn remember_push(layout: &Layout, refs: &[RefChange]) -> Result<()> {
    refs.iter().filter_map(pushed).try_for_each(|name| write(layout, &name))
}

/// Writes down the commits that were made in the workspaces of runs.
pub fn remember_commits(layout: &Layout, repository: &Repository) -> Result<()> {
    workspace::commits_made(repository)?.iter().try_for_each(|commit| write(layout, &made(commit)))
}

/// Whether the event is about a deed of a run.
pub fn is_one(layout: &Layout, event: &Event) -> bool {
    let is_there = |name: &str| layout.deeds().join(name).symlink_metadata().ok();
    let is_new = |meta: fs::Metadata| meta.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age < PUSH_ARRIVES));
    let made = || event.commit().filter(|_| MAKING.contains(&event.hook)).and_then(|commit| is_there(&made(commit)));
    let arrived = || {
        let mut names = event.refs.iter().map(pushed).peekable();
        event.hook == Hook::PostReceive
            && names.peek().is_some()
            && names.all(|name| name.and_then(|name| is_there(&name)).is_some_and(is_new))
    };
    is_there(&key(event)).is_some() || made().is_some() || arrived()
}

/// Removes what is old.
pub fn forget_old(layout: &Layout) -> Result<()> {
    let entries = match fs::read_dir(layout.deeds()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).context(|| format!("cannot read {}", layout.deeds().display())),
    };
    for entry in entries.flatten() {
        let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
        if age.is_some_and(|age| age > KEPT) {
            fs::remove_file(entry.path()).context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

fn key(event: &Event) -> String {
    format!("event-{}", event.key)
}

fn made(commit: &Oid) -> String {
    format!("commit-{commit}")
}

fn pushed(moved: &RefChange) -> Option<String> {
    let new = moved.new.as_ref()?;
    Some(format!("push-{}", Digest::of_parts([moved.name.as_bytes(), new.as_str().as_bytes()])))
}

fn write(layout: &Layout, name: &str) -> Result<()> {
    let path = layout.deeds().join(name);
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    layout.create()?;
    files::create_directories(&layout.deeds())?;
    files::write(&path, b"")
}
