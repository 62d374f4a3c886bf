//! Two trees side by side, equal subtrees skipped.
//!
//! libgit2's own comparison reads every subtree of both sides; this one reads only those that differ, which is what
//! lets a hook afford it in a large repository. Trees are hostile data: they may be nested without end, name a subtree
//! a million times, or be unsorted. The first two meet a limit, the third makes more paths reported, never fewer.

use std::cmp::Ordering;

use crate::error::{Context as _, Error, Result};
use crate::text;

/// The most paths that one change may touch.
pub(super) const PATHS_MAX: usize = 1_000_000;

/// The most memory that their names may take.
const PATH_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The deepest path, as git has it (`core.maxTreeDepth`, 2048 since git 2.44).
const DEPTH_MAX: usize = 2048;

/// Whether a mode is that of a file: not a link, a directory or a submodule. The lowest bits were not always checked, so
/// that old histories hold modes such as 100664.
pub(super) fn is_regular_file(mode: i32) -> bool {
    mode & 0o170_000 == 0o100_000
}

/// Whether a mode is that of a submodule: its id names a commit of another repository.
pub(super) fn is_submodule(mode: i32) -> bool {
    mode & 0o170_000 == 0o160_000
}

/// What stands at a path on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Side {
    /// The mode, as the tree has it.
    pub(super) mode: i32,
    /// The object.
    pub(super) id: git2::Oid,
}

impl Side {
    /// Whether it is the same kind of thing: file, link or submodule.
    pub(super) fn is_like(self, other: Self) -> bool {
        self.mode & 0o170_000 == other.mode & 0o170_000
    }
}

/// A path at which two trees differ. Never a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// The path.
    pub(super) path: Vec<u8>,
    /// What was there.
    pub(super) old: Option<Side>,
    /// What is there.
    pub(super) new: Option<Side>,
}

/// One name of a tree.
struct Entry {
    name: Vec<u8>,
    mode: i32,
    id: git2::Oid,
}

impl Entry {
    fn is_tree(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }

    /// Git's order: a directory sorts as if its name ended in a slash.
    fn order(&self, other: &Self) -> Ordering {
        let key = |entry: &'_ Self| entry.is_tree().then_some(b'/');
        self.name.iter().copied().chain(key(self)).cmp(other.name.iter().copied().chain(key(other)))
    }
}

/// The paths at which the trees differ, sorted, each once. `None` is the empty tree.
pub(super) fn differences(
    repository: &git2::Repository,
    old: Option<git2::Oid>,
    new: Option<git2::Oid>,
) -> Result<Vec<Difference>> {
    let mut found: Vec<Difference> = Vec::new();
    let mut bytes = 0;
    // Pairs of differing subtrees that are still to be compared, with the path in front of their names.
    let mut open = vec![(Vec::new(), 0, old, new)];
    while let Some((prefix, depth, old, new)) = open.pop() {
        if old == new {
            continue;
        }
        if depth > DEPTH_MAX {
            return Err(Error::failed(format!("directories are nested deeper than {DEPTH_MAX}")));
        }
        let old = entries(repository, old)?;
        let new = entries(repository, new)?;
        let mut old = old.iter().peekable();
        let mut new = new.iter().peekable();
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(one), Some(two)) => one.order(two),
            };
            let one = if order.is_le() { old.next() } else { None };
            let two = if order.is_ge() { new.next() } else { None };
            let Some(entry) = one.or(two) else { break };
            if let (Some(one), Some(two)) = (one, two)
                && (one.id, one.mode) == (two.id, two.mode)
            {
                continue;
            }
            let mut path = prefix.clone();
            path.extend_from_slice(&entry.name);
            bytes += path.len();
            if bytes > PATH_BYTES_MAX || found.len() >= PATHS_MAX || open.len() >= PATHS_MAX {
                return Err(Error::failed(format!("the change touches more than {PATHS_MAX} paths")));
            }
            if entry.is_tree() {
                path.push(b'/');
                open.push((path, depth + 1, one.map(|entry| entry.id), two.map(|entry| entry.id)));
            } else {
                let side = |entry: &Entry| Side { mode: entry.mode, id: entry.id };
                found.push(Difference { path, old: one.map(side), new: two.map(side) });
            }
        }
    }
    found.sort_by(|one, two| one.path.cmp(&two.path));
    found.dedup_by(|one, two| one.path == two.path);
    Ok(found)
}

fn entries(repository: &git2::Repository, tree: Option<git2::Oid>) -> Result<Vec<Entry>> {
    let Some(id) = tree else { return Ok(Vec::new()) };
    let tree =
        repository.find_tree(id).context(|| format!("cannot read the tree {}", text::one_line(&id.to_string())))?;
    let entry = |entry: git2::TreeEntry<'_>| Entry {
        name: entry.name_bytes().to_vec(),
        mode: entry.filemode_raw(),
        id: entry.id(),
    };
    Ok(tree.iter().map(entry).collect())
}
