//! What changed between two commits.
//!
//! Everything here depends on the two commits alone: attributes and diff drivers of a working tree are ignored, so that
//! the same change always reads the same and a file cannot hide from review by calling itself binary.

use std::collections::{BTreeMap, BTreeSet};

use git2::{DiffLineType, DiffOptions, Patch};

use super::object::{Id, Kind};
use super::tree::{self, Difference, Side};
use super::{Repository, renames};
use crate::error::{Context as _, Error, Result};
use crate::event::Change;
use crate::event::visit::{Collected, Visitor};
use crate::text;

/// Renamed files are looked for only while (files added) x (files deleted) is at most this. Above it, they are listed
/// as deleted and added.
pub const RENAME_PAIRS_MAX: usize = 250_000;

/// Renamed files that were also edited are looked for only while all added and deleted files together are at most so
/// many bytes. Above it, only files that were moved unchanged are found.
pub const RENAME_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// The most bytes that the hunks of one change take together; files after that come without hunks.
pub const PATCH_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A file is binary if a NUL stands among this many first bytes: git's own rule.
const BINARY_PROBE_BYTES: usize = 8_000;

/// How a file changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It is new.
    Added,
    /// Its content or mode changed.
    Modified,
    /// It is gone.
    Deleted,
    /// It has another name (and perhaps another content).
    Renamed,
    /// A file became a link, a submodule, or the like.
    TypeChanged,
}

/// One hunk of a file's patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hunk {
    /// First line in the new file, from 1; 0 where the new side is empty.
    pub new_start: u32,
    /// How many lines of the new file it covers.
    pub new_lines: u32,
    /// First line in the old file.
    pub old_start: u32,
    /// How many lines of the old file it covers.
    pub old_lines: u32,
    /// The hunk as `git diff` prints it, `@@` line included. Bytes that are no UTF-8 are replaced.
    pub text: String,
}

/// One changed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDiff {
    /// The path after the change (before it, for a deleted file).
    pub path: Vec<u8>,
    /// The path before, of a renamed file.
    pub old_path: Option<Vec<u8>>,
    /// How it changed.
    pub status: Status,
    /// Its content is no text.
    pub binary: bool,
    /// It can be executed as it stands after the change: by its mode, or because it begins with `#!`.
    pub program: bool,
    /// Lines added and removed.
    pub added: u32,
    /// See `added`.
    pub removed: u32,
    /// The hunks; empty for a binary file, and for one whose patch is larger than asked for.
    pub hunks: Vec<Hunk>,
    /// The patch was left out because of its size, in bytes.
    pub too_large: Option<u64>,
}

impl Repository {
    /// The paths that differ, both names of a renamed file included, sorted.
    pub fn changed_paths(&self, change: &Change) -> Result<Vec<Vec<u8>>> {
        let mut all = Collected::default();
        self.visit_changed_paths(change, &mut all)?;
        Ok(all.sorted())
    }

    /// Tells the paths that differ, both names of a renamed file included, as far as the visitor wants them, directory
    /// by directory. Walks the two trees and skips equal subtrees: this is what a hook can afford.
    pub fn visit_changed_paths(&self, change: &Change, visitor: &mut dyn Visitor) -> Result<()> {
        let (old, new) = self.trees(change)?;
        tree::visit_changed_paths(self, old, Some(new), visitor).map_err(|error| cannot_list(change, error))
    }

    /// The changed files with their patches, sorted by path; a file whose blobs together exceed `max_file_bytes` comes
    /// without hunks. Renames are found within [`RENAME_PAIRS_MAX`] and [`RENAME_BYTES_MAX`], hunks within
    /// [`PATCH_BYTES_MAX`].
    pub fn diff(&self, change: &Change, max_file_bytes: u64) -> Result<Vec<FileDiff>> {
        let differences = self.differences(change)?;
        let renames = renames::find(self, &differences)
            .context(|| format!("cannot find the files that {} renames", change.head.short()))?;
        let gone: BTreeSet<&[u8]> = renames.values().map(Vec::as_slice).collect();
        let before: BTreeMap<&[u8], Side> = differences
            .iter()
            .filter(|difference| gone.contains(difference.path.as_slice()))
            .filter_map(|difference| Some((difference.path.as_slice(), difference.old?)))
            .collect();

        let mut left = PATCH_BYTES_MAX;
        let mut files = Vec::new();
        for difference in &differences {
            if gone.contains(difference.path.as_slice()) {
                continue;
            }
            let old_path = renames.get(&difference.path);
            let old = match old_path {
                Some(path) => before.get(path.as_slice()).copied(),
                None => difference.old,
            };
            let status = match (old, difference.new) {
                (Some(_), _) if old_path.is_some() => Status::Renamed,
                (None, _) => Status::Added,
                (_, None) => Status::Deleted,
                (Some(one), Some(two)) if one.is_like(two) => Status::Modified,
                (Some(_), Some(_)) => Status::TypeChanged,
            };
            let mut file = FileDiff {
                path: difference.path.clone(),
                old_path: old_path.cloned(),
                status,
                binary: false,
                program: difference.new.is_some_and(tree::Side::is_executable),
                added: 0,
                removed: 0,
                hunks: Vec::new(),
                too_large: None,
            };
            self.read_patch(old, difference.new, max_file_bytes.min(left), &mut file)
                .context(|| format!("cannot compare `{}`", text::bytes_line(&difference.path)))?;
            left -= file.hunks.iter().map(|hunk| hunk.text.len() as u64).sum::<u64>().min(left);
            files.push(file);
        }
        Ok(files)
    }

    fn differences(&self, change: &Change) -> Result<Vec<Difference>> {
        let (old, new) = self.trees(change)?;
        tree::differences(self, old, Some(new)).map_err(|error| cannot_list(change, error))
    }

    /// The trees of both ends.
    fn trees(&self, change: &Change) -> Result<(Option<Id>, Id)> {
        let tree = |commit| Id::of(&self.commit(commit)?.tree);
        Ok((change.base.as_ref().map(tree).transpose()?, tree(&change.head)?))
    }

    /// Fills in hunks and counts, or why there are none.
    fn read_patch(&self, old: Option<Side>, new: Option<Side>, max_bytes: u64, file: &mut FileDiff) -> Result<()> {
        let mut total = 0_u64;
        for side in [old, new].into_iter().flatten().filter(|side| !tree::is_submodule(side.mode)) {
            let (_, size) = self.reader.header(side.id)?.ok_or_else(|| self.missing(side.id))?;
            total = total.saturating_add(size);
        }
        if total > max_bytes {
            file.too_large = Some(total);
            return Ok(());
        }
        let content = |side: Option<Side>| match side {
            None => Ok(Vec::new()),
            // What git shows of a submodule.
            Some(side) if tree::is_submodule(side.mode) => Ok(format!("Subproject commit {}\n", side.id).into_bytes()),
            Some(side) => match self.reader.object(side.id)?.ok_or_else(|| self.missing(side.id))? {
                object if object.kind == Kind::Blob => Ok(object.bytes),
                _ => Err(Error::failed(format!("the object {} is not a file", side.id))),
            },
        };
        let (old, new) = (content(old)?, content(new)?);
        file.program |= new.starts_with(b"#!");
        file.binary =
            [&old, &new].into_iter().any(|bytes| bytes.iter().take(BINARY_PROBE_BYTES).any(|byte| *byte == 0));
        if file.binary {
            return Ok(());
        }
        let mut options = DiffOptions::new();
        options.force_text(true).context_lines(3);
        // No path: with one, libgit2 would ask the working tree's attributes.
        let failed = || "libgit2 cannot compare the two";
        let patch = Patch::from_buffers(&old, None, &new, None, Some(&mut options)).context(failed)?;
        let (_, added, removed) = patch.line_stats().context(failed)?;
        file.added = u32::try_from(added).unwrap_or(u32::MAX);
        file.removed = u32::try_from(removed).unwrap_or(u32::MAX);
        for number in 0..patch.num_hunks() {
            file.hunks.push(read_hunk(&patch, number).context(failed)?);
        }
        Ok(())
    }
}

fn cannot_list(change: &Change, error: Error) -> Error {
    let hints = error.hints().to_vec();
    let error = Error::failed(format!("cannot list what {} changes", change.head.short())).because(error);
    hints.into_iter().fold(error, Error::hint)
}

fn read_hunk(patch: &Patch<'_>, number: usize) -> std::result::Result<Hunk, git2::Error> {
    let (hunk, lines) = patch.hunk(number)?;
    let mut bytes = hunk.header().to_vec();
    let (old_start, old_lines) = (hunk.old_start(), hunk.old_lines());
    let (new_start, new_lines) = (hunk.new_start(), hunk.new_lines());
    for index in 0..lines {
        let line = patch.line_in_hunk(number, index)?;
        let origin = line.origin_value();
        // The other kinds are "\ No newline at end of file", which brings its own line break.
        if let Some(mark) =
            [(DiffLineType::Context, b' '), (DiffLineType::Addition, b'+'), (DiffLineType::Deletion, b'-')]
                .into_iter()
                .find_map(|(kind, mark)| (kind == origin).then_some(mark))
        {
            bytes.push(mark);
        }
        bytes.extend_from_slice(line.content());
    }
    Ok(Hunk { new_start, new_lines, old_start, old_lines, text: String::from_utf8_lossy(&bytes).into_owned() })
}
