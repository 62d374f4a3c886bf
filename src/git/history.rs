//! Questions to the history that a hook can afford, because they give up after a fixed number of commits.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::{from_git, to_git};
use crate::ids::Oid;

/// How many commits one search visits before it gives up: some 30 ms.
pub const COMMITS_MAX: usize = 10_000;

/// The search was given up.
#[derive(Debug)]
pub(super) struct TooFar;

/// From which ends a commit was reached.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Reached {
    one: bool,
    other: bool,
    /// It is an ancestor of a common ancestor: common, but not the best.
    beyond: bool,
}

impl Reached {
    fn and(self, more: Self) -> Self {
        Self { one: self.one || more.one, other: self.other || more.other, beyond: self.beyond || more.beyond }
    }

    /// A commit from which a better common ancestor can still be found.
    fn is_open(self) -> bool {
        self.one && !self.other
    }
}

/// The best common ancestor of `one` and any of `others`; of several, the newest. Paints both histories from their
/// ends, newest commit first, until nothing is left that only `one` reaches.
pub(super) fn common_ancestor(repository: &git2::Repository, one: &Oid, others: &[Oid]) -> Result<Option<Oid>, TooFar> {
    let mut painting = Painting { repository, reached: HashMap::new(), queue: BinaryHeap::new(), open: 0, turn: 0 };
    for other in others {
        if let Ok(id) = to_git(other) {
            painting.reach(id, Reached { other: true, ..Reached::default() });
        }
    }
    if let Ok(id) = to_git(one) {
        painting.reach(id, Reached { one: true, ..Reached::default() });
    }
    let mut common: Vec<(i64, git2::Oid)> = Vec::new();
    for _ in 0..COMMITS_MAX {
        if painting.open == 0 && !common.is_empty() {
            break;
        }
        let Some((time, id, reached)) = painting.next() else { break };
        let mut onwards = reached;
        if reached.one && reached.other {
            if !reached.beyond {
                common.push((time, id));
            }
            onwards.beyond = true;
        }
        let Ok(commit) = repository.find_commit(id) else { continue };
        for parent in commit.parent_ids() {
            painting.reach(parent, onwards);
        }
    }
    let finished = painting.queue.is_empty() || (painting.open == 0 && !common.is_empty());
    if !finished {
        return Err(TooFar);
    }
    common.retain(|(_, id)| painting.reached.get(id).is_some_and(|reached| !reached.beyond));
    // Of one second, the one found first: it is nearer to the ends.
    let best = common.into_iter().reduce(|best, next| if next.0 > best.0 { next } else { best });
    Ok(best.and_then(|(_, id)| from_git(id).ok()))
}

struct Painting<'a> {
    repository: &'a git2::Repository,
    reached: HashMap<git2::Oid, Reached>,
    /// By date; commits of one second in the order in which they were found.
    queue: BinaryHeap<(i64, Reverse<usize>, git2::Oid, Seen)>,
    /// How many in the queue are open.
    open: usize,
    turn: usize,
}

/// What was known of a commit when it was queued. Orders nothing: the turn before it is unique.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen(Reached);

impl Ord for Seen {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl PartialOrd for Seen {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Painting<'_> {
    fn reach(&mut self, id: git2::Oid, from: Reached) {
        // A commit that is not here is the edge of a shallow clone.
        let Ok(commit) = self.repository.find_commit(id) else { return };
        let known = self.reached.entry(id).or_default();
        let now = known.and(from);
        if now == *known {
            return;
        }
        *known = now;
        self.turn += 1;
        self.open += usize::from(now.is_open());
        self.queue.push((commit.time().seconds(), Reverse(self.turn), id, Seen(now)));
    }

    /// The next commit, with all that is known of it by now.
    fn next(&mut self) -> Option<(i64, git2::Oid, Reached)> {
        loop {
            let (time, _, id, Seen(then)) = self.queue.pop()?;
            self.open -= usize::from(then.is_open());
            let now = self.reached.get(&id).copied().unwrap_or_default();
            // Otherwise it was queued again when more became known.
            if now == then {
                return Some((time, id, now));
            }
        }
    }
}
