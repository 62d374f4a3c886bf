//! Two trees side by side, equal subtrees skipped.
//!
//! libgit2's own comparison reads every subtree of both sides; this one reads only those that differ, which is what
//! lets a hook afford it in a large repository. Trees are hostile data: they may be nested without end, name a subtree
//! a million times, or be unsorted. The first two meet a limit, the third makes more paths reported, never fewer.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::ops::ControlFlow;

use super::Repository;
use super::object::{Format, Id};
use crate::error::{Error, Result};
use crate::event::visit::Visitor;

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

/// Whether a mode is that of a directory.
pub(super) fn is_tree(mode: i32) -> bool {
    mode & 0o170_000 == 0o040_000
}

/// What stands at a path on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Side {
    /// The mode, as the tree has it.
    pub(super) mode: i32,
    /// The object.
    pub(super) id: Id,
}

impl Side {
    /// Whether it is a file that its owner may execute.
    pub(super) fn is_executable(self) -> bool {
        is_regular_file(self.mode) && self.mode & 0o100 != 0
    }

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
#[derive(Clone, Copy)]
struct Entry<'a> {
    name: &'a [u8],
    mode: i32,
    id: Id,
}

impl Entry<'_> {
    fn is_tree(&self) -> bool {
        is_tree(self.mode)
    }

    /// Git's order: a directory sorts as if its name ended in a slash.
    fn order(&self, other: &Self) -> Ordering {
        let key = |entry: &'_ Self| entry.is_tree().then_some(b'/');
        self.name.iter().copied().chain(key(self)).cmp(other.name.iter().copied().chain(key(other)))
    }
}

/// Reads a tree's bytes entry by entry: octal mode, space, name, NUL, the id's 20 or 32 bytes.
struct Entries<'a> {
    format: Format,
    rest: &'a [u8],
    next: Option<Entry<'a>>,
}

impl<'a> Entries<'a> {
    fn of(bytes: &'a [u8], format: Format) -> Result<Self> {
        let mut entries = Self { format, rest: bytes, next: None };
        entries.advance()?;
        Ok(entries)
    }

    /// Takes the next entry away and reads the one behind it.
    fn advance(&mut self) -> Result<Option<Entry<'a>>> {
        let taken = self.next.take();
        if !self.rest.is_empty() {
            let (entry, rest) = entry(self.rest, self.format).ok_or_else(|| Error::failed("a tree does not read"))?;
            (self.next, self.rest) = (Some(entry), rest);
        }
        Ok(taken)
    }
}

/// The first entry of a tree's bytes, and what follows it.
fn entry(bytes: &[u8], format: Format) -> Option<(Entry<'_>, &[u8])> {
    let space = bytes.iter().take(8).position(|byte| *byte == b' ')?;
    let (mode, rest) = (bytes.get(..space)?, bytes.get(space + 1..)?);
    // At most seven digits, which an `i32` holds.
    let digit = |mode: i32, digit: &u8| matches!(digit, b'0'..=b'7').then(|| mode * 8 + i32::from(digit - b'0'));
    let mode = mode.iter().try_fold(0, digit).filter(|_| space > 0)?;
    let nul = rest.iter().position(|byte| *byte == 0).filter(|at| *at > 0)?;
    let (id, after) = rest.get(nul + 1..)?.split_at_checked(format.bytes())?;
    Some((Entry { name: rest.get(..nul)?, mode, id: Id::from_bytes(id)? }, after))
}

/// What stands under this name in a tree of these bytes.
pub(super) fn find(bytes: &[u8], format: Format, name: &[u8]) -> Result<Option<Side>> {
    let mut entries = Entries::of(bytes, format)?;
    while let Some(entry) = entries.advance()? {
        if entry.name == name {
            return Ok(Some(Side { mode: entry.mode, id: entry.id }));
        }
    }
    Ok(None)
}

/// The names in a tree of these bytes.
pub(super) fn names(bytes: &[u8], format: Format) -> Result<Vec<&[u8]>> {
    let mut entries = Entries::of(bytes, format)?;
    let mut names = Vec::new();
    while let Some(entry) = entries.advance()? {
        names.push(entry.name);
    }
    Ok(names)
}

/// What differs between the trees, sorted by path, each path once. `None` is the empty tree.
pub(super) fn differences(repository: &Repository, old: Option<Id>, new: Option<Id>) -> Result<Vec<Difference>> {
    let mut found = Vec::new();
    walk(
        repository,
        old,
        new,
        |_| true,
        |path, old, new| {
            found.push(Difference { path: path.to_vec(), old, new });
            ControlFlow::Continue(())
        },
    )?;
    found.sort_by(|one, two| one.path.cmp(&two.path));
    found.dedup_by(|one, two| one.path == two.path);
    Ok(found)
}

/// Tells the paths of [`differences`], as far as the visitor wants them. In a tree that is not sorted, one may come
/// twice.
pub(super) fn visit_changed_paths(
    repository: &Repository,
    old: Option<Id>,
    new: Option<Id>,
    visitor: &mut dyn Visitor,
) -> Result<()> {
    // Both closures need it, never at once.
    let visitor = RefCell::new(visitor);
    walk(
        repository,
        old,
        new,
        |directory| visitor.borrow_mut().wants(directory),
        |path, _, _| visitor.borrow_mut().visit(path),
    )
}

/// A pair of differing subtrees that is still to be compared.
struct Open {
    /// The path in front of its names: empty, or with a slash at its end.
    prefix: Vec<u8>,
    depth: usize,
    old: Option<Id>,
    new: Option<Id>,
}

/// Visits each path at which the trees differ, depth first, the paths directly in a directory before those below it.
/// A directory below the top is asked for before it is read. In a tree that is not sorted, a path may come twice.
fn walk(
    repository: &Repository,
    old: Option<Id>,
    new: Option<Id>,
    mut wants: impl FnMut(&[u8]) -> bool,
    mut visit: impl FnMut(&[u8], Option<Side>, Option<Side>) -> ControlFlow<()>,
) -> Result<()> {
    let format = repository.reader.format();
    let read = |tree: Option<Id>| tree.map(|id| repository.tree(id)).transpose();
    let (mut count, mut bytes) = (0, 0);
    let mut open = vec![Open { prefix: Vec::new(), depth: 0, old, new }];
    let mut below = Vec::new();
    while let Some(Open { prefix, depth, old, new }) = open.pop() {
        if old == new || (!prefix.is_empty() && !wants(&prefix)) {
            continue;
        }
        if depth > DEPTH_MAX {
            return Err(Error::failed(format!("directories are nested deeper than {DEPTH_MAX}")));
        }
        let (old, new) = (read(old)?, read(new)?);
        let mut old = Entries::of(old.as_deref().unwrap_or_default(), format)?;
        let mut new = Entries::of(new.as_deref().unwrap_or_default(), format)?;
        let in_front = prefix.len();
        // One buffer for the names of all files of a directory.
        let mut path = prefix;
        loop {
            let order = match (&old.next, &new.next) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(one), Some(two)) => one.order(two),
            };
            let one = if order.is_le() { old.advance()? } else { None };
            let two = if order.is_ge() { new.advance()? } else { None };
            let Some(entry) = one.or(two) else { break };
            if let (Some(one), Some(two)) = (one, two)
                && (one.id, one.mode) == (two.id, two.mode)
            {
                continue;
            }
            path.truncate(in_front);
            path.extend_from_slice(entry.name);
            bytes += path.len();
            if bytes > PATH_BYTES_MAX || count >= PATHS_MAX || open.len() + below.len() >= PATHS_MAX {
                return Err(Error::failed(format!("the change touches more than {PATHS_MAX} paths")));
            }
            if entry.is_tree() {
                let mut prefix = Vec::with_capacity(path.len() + 1);
                prefix.extend_from_slice(&path);
                prefix.push(b'/');
                let (old, new) = (one.map(|entry| entry.id), two.map(|entry| entry.id));
                below.push(Open { prefix, depth: depth + 1, old, new });
            } else {
                let side = |entry: Entry<'_>| Side { mode: entry.mode, id: entry.id };
                count += 1;
                if visit(&path, one.map(side), two.map(side)).is_break() {
                    return Ok(());
                }
            }
        }
        open.extend(below.drain(..).rev());
    }
    Ok(())
}
