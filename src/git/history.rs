//! Questions to the history that a hook can afford, because they give up after a fixed number of commits.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};

use super::Repository;
use super::object::{Id, Links};
use crate::ids::Oid;

/// How many commits one search visits before it gives up: some 30 ms.
pub const COMMITS_MAX: usize = 10_000;

/// How many commits a walk by first parents visits before it gives up: some 0.2 s.
pub const FIRST_PARENTS_MAX: usize = 50_000;

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
pub(super) fn common_ancestor(repository: &Repository, one: &Oid, others: &[Oid]) -> Result<Option<Oid>, TooFar> {
    let mut painting = Painting { repository, known: HashMap::new(), queue: BinaryHeap::new(), open: 0, turn: 0 };
    for other in others {
        if let Ok(id) = repository.id(other) {
            painting.reach(id, Reached { other: true, ..Reached::default() });
        }
    }
    if let Ok(id) = repository.id(one) {
        painting.reach(id, Reached { one: true, ..Reached::default() });
    }
    let mut common: Vec<(i64, Id)> = Vec::new();
    for _ in 0..COMMITS_MAX {
        if painting.open == 0 && !common.is_empty() {
            break;
        }
        let Some((time, id, reached, parents)) = painting.next() else { break };
        let mut onwards = reached;
        if reached.one && reached.other {
            if !reached.beyond {
                common.push((time, id));
            }
            onwards.beyond = true;
        }
        for parent in parents {
            painting.reach(parent, onwards);
        }
    }
    let finished = painting.queue.is_empty() || (painting.open == 0 && !common.is_empty());
    if !finished {
        return Err(TooFar);
    }
    common.retain(|(_, id)| painting.known.get(id).is_some_and(|known| !known.reached.beyond));
    // Of one second, the one found first: it is nearer to the ends.
    let best = common.into_iter().reduce(|best, next| if next.0 > best.0 { next } else { best });
    Ok(best.and_then(|(_, id)| id.oid().ok()))
}

struct Painting<'a> {
    repository: &'a Repository,
    known: HashMap<Id, Known>,
    /// By date; commits of one second in the order in which they were found.
    queue: BinaryHeap<(i64, Reverse<usize>, Id, Seen)>,
    /// How many in the queue are open.
    open: usize,
    turn: usize,
}

/// A commit that was reached. Each is read once.
struct Known {
    reached: Reached,
    links: Links,
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
    fn reach(&mut self, id: Id, from: Reached) {
        let known = match self.known.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                // A commit that is not here is the edge of a shallow clone.
                let Some(links) = self.repository.reader.links(id) else { return };
                place.insert(Known { reached: Reached::default(), links })
            }
        };
        let now = known.reached.and(from);
        if now == known.reached {
            return;
        }
        known.reached = now;
        self.turn += 1;
        self.open += usize::from(now.is_open());
        self.queue.push((known.links.time, Reverse(self.turn), id, Seen(now)));
    }

    /// The next commit, with all that is known of it by now.
    fn next(&mut self) -> Option<(i64, Id, Reached, Vec<Id>)> {
        loop {
            let (time, _, id, Seen(then)) = self.queue.pop()?;
            self.open -= usize::from(then.is_open());
            // Otherwise it was queued again when more became known.
            if let Some(known) = self.known.get(&id).filter(|known| known.reached == then) {
                return Some((time, id, then, known.links.parents.clone()));
            }
        }
    }
}
