//! A push, about to happen here or arrived here: one call of a hook, and an event for each ref that brings something.

use std::cell::OnceCell;

use super::Observer;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::event::{Change, Detail, Event, Hook, RefChange};
use crate::git::Repository;
use crate::ids::Oid;

/// How many refs of one push are looked at for events, branches first: each may cost a search of the history, and
/// nobody wants a job for each of a thousand tags.
pub const PARTS_MAX: usize = 32;

/// Refs that hold no work: what other programs, and this one, remember there.
const WITHOUT_WORK: [&str; 5] = ["refs/notes/", "refs/remotes/", "refs/replace/", "refs/stash", "refs/orchestrator/"];

/// One push.
#[derive(Debug)]
pub struct Push {
    hook: Hook,
    at: Timestamp,
    detail: Detail,
    /// Where it goes; `None` for one that arrived.
    remote: Option<String>,
    refs: Vec<RefChange>,
    known: OnceCell<Vec<Oid>>,
}

/// The events of a push.
#[derive(Debug, Default)]
pub struct Parts {
    /// One for each ref that brings something.
    pub events: Vec<Event>,
    /// How many refs were not looked at, because there are more than [`PARTS_MAX`].
    pub left_out: usize,
}

impl Push {
    pub(super) fn new(hook: Hook, at: Timestamp, detail: Detail, remote: Option<String>, refs: Vec<RefChange>) -> Self {
        Self { hook, at, detail, remote, refs, known: OnceCell::new() }
    }

    /// The refs that move, those that are deleted included.
    pub fn refs(&self) -> &[RefChange] {
        &self.refs
    }

    /// An event for each branch that brings commits and for each tag. A tag on a commit that is the tip of a branch of
    /// the same push belongs to that branch's event. Deletions, and branches that are set back to what is known, are
    /// none.
    ///
    /// # Errors
    /// A commit cannot be read.
    pub fn events(&self, repository: &Repository) -> Result<Parts> {
        let with_work = |moved: &&RefChange| {
            moved.new.is_some() && !WITHOUT_WORK.iter().any(|prefix| moved.name.starts_with(prefix))
        };
        let (branches, others): (Vec<_>, Vec<_>) =
            self.refs.iter().filter(with_work).partition(|moved| is_branch(moved));
        let all = branches.len() + others.len();
        let mut parts: Vec<(Vec<RefChange>, Change)> = Vec::new();
        for moved in branches.into_iter().chain(others).take(PARTS_MAX) {
            let Some(head) = moved.new.as_ref().and_then(|new| repository.commit_of(new)) else { continue };
            if !is_branch(moved)
                && let Some((refs, _)) = parts.iter_mut().find(|(_, change)| change.head == head)
            {
                refs.push(moved.clone());
                continue;
            }
            let change = self.change(moved, head, repository);
            if change.base.as_ref() != Some(&change.head) || moved.name.starts_with("refs/tags/") {
                parts.push((vec![moved.clone()], change));
            }
        }
        let events = parts.into_iter().map(|(refs, change)| self.event(repository, refs, Some(change)));
        Ok(Parts { events: events.collect::<Result<_>>()?, left_out: all.saturating_sub(PARTS_MAX) })
    }

    /// The part that concerns one ref, whatever it brings: what a gate before that ref is asked about.
    ///
    /// # Errors
    /// The commit cannot be read.
    pub fn part(&self, reference: &RefChange, repository: &Repository) -> Result<Event> {
        let head = reference.new.as_ref().and_then(|new| repository.commit_of(new));
        let change = head.map(|head| self.change(reference, head, repository));
        self.event(repository, vec![reference.clone()], change)
    }

    /// The part that concerns one ref, without what it brings.
    ///
    /// # Errors
    /// Those of [`Push::part`].
    pub fn named(&self, reference: &RefChange, repository: &Repository) -> Result<Event> {
        self.event(repository, vec![reference.clone()], None)
    }

    /// What the ref brings: from what the other side has of its history.
    fn change(&self, moved: &RefChange, head: Oid, repository: &Repository) -> Change {
        let base = match moved.old.as_ref().and_then(|old| repository.commit_of(old)) {
            Some(old) => Some(repository.common_ancestor(&head, std::slice::from_ref(&old)).unwrap_or(old)),
            // It is new there, or stands at a commit that was never fetched.
            None => match self.known(repository) {
                [] => None,
                known => repository.common_ancestor(&head, known),
            },
        };
        Change { base, head }
    }

    /// The tips that the other side has: by what was last fetched from there; of a push that arrived, by the branches
    /// that it did not touch, and by where the others were.
    fn known(&self, repository: &Repository) -> &[Oid] {
        self.known.get_or_init(|| {
            if let Some(remote) = &self.remote {
                return repository.tracking_branches(remote);
            }
            let untouched = |name: &str| {
                let pushed = |moved: &RefChange| moved.name.strip_prefix("refs/heads/") == Some(name);
                !self.refs.iter().any(pushed)
            };
            let tips = repository.branches().into_iter().filter(|(name, _)| untouched(name)).map(|(_, tip)| tip);
            let before = self.refs.iter().filter_map(|moved| repository.commit_of(moved.old.as_ref()?));
            tips.chain(before).take(crate::git::BRANCHES_MAX).collect()
        })
    }

    fn event(&self, repository: &Repository, refs: Vec<RefChange>, change: Option<Change>) -> Result<Event> {
        let branch = refs.first().and_then(|moved| moved.name.strip_prefix("refs/heads/")).map(str::to_owned);
        Observer { repository, hook: self.hook, at: self.at }.event(self.detail.clone(), refs, branch, change)
    }
}

fn is_branch(moved: &RefChange) -> bool {
    moved.name.starts_with("refs/heads/")
}
