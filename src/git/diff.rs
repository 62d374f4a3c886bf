//! What changed between two commits.

use super::Repository;
use crate::error::{Error, Result};
use crate::event::Change;

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
    /// The paths that differ, both names of a renamed file included, sorted. Walks the two trees and skips equal
    /// subtrees: this is what a hook can afford.
    pub fn changed_paths(&self, change: &Change) -> Result<Vec<Vec<u8>>> {
        let _ = change;
        Err(Error::failed("stub"))
    }

    /// The changed files with their patches, sorted by path; a file whose blobs together exceed `max_file_bytes` comes
    /// without hunks.
    pub fn diff(&self, change: &Change, max_file_bytes: u64) -> Result<Vec<FileDiff>> {
        let _ = (change, max_file_bytes);
        Err(Error::failed("stub"))
    }
}
