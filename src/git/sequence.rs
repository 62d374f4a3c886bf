//! What a worktree is in the middle of: a rebase, a merge, a series of picks or patches, a search for a bad commit.
//!
//! Git keeps each of them as files in the worktree's own git directory. A few looks at names say it: nothing is opened
//! but the file that leads there, so that a waiting worker can afford to ask again and again.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::files;

/// How large the list of a series may be: it holds a line for each commit.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Something that takes more than one step and that a person or git is still at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequence {
    /// `git rebase`, of either backend.
    Rebase,
    /// `git am`.
    Am,
    /// A merge that is not concluded.
    Merge,
    /// `git cherry-pick`.
    CherryPick,
    /// `git revert`.
    Revert,
    /// `git bisect`.
    Bisect,
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rebase => "rebase",
            Self::Am => "series of patches",
            Self::Merge => "merge",
            Self::CherryPick => "cherry-pick",
            Self::Revert => "revert",
            Self::Bisect => "bisect",
        })
    }
}

/// What is under way in the worktree whose top is `worktree`. `None` also for a bare repository, which has no worktree
/// to be in the middle of anything, and where the worktree is gone.
pub fn under_way(worktree: &Path) -> Option<Sequence> {
    in_directory(&git_directory(worktree)?)
}

/// What the git directory of one worktree says is under way.
pub fn in_directory(directory: &Path) -> Option<Sequence> {
    let replay = replay_in(directory);
    if replay.is_some() {
        return replay;
    }
    let has = |name: &str| has(directory, name);
    if has("CHERRY_PICK_HEAD") {
        return Some(Sequence::CherryPick);
    }
    if has("REVERT_HEAD") {
        return Some(Sequence::Revert);
    }
    if has("sequencer") {
        // Between two commits of a series only its list is there.
        let list = files::read(&directory.join("sequencer/todo"), FILE_BYTES_MAX).ok().flatten().unwrap_or_default();
        return Some(if list.starts_with(b"revert") { Sequence::Revert } else { Sequence::CherryPick });
    }
    if has("MERGE_HEAD") {
        return Some(Sequence::Merge);
    }
    has("BISECT_LOG").then_some(Sequence::Bisect)
}

/// The rebase or the series of patches that is under way in this worktree: what a hook asks, since git calls hooks for
/// the steps of both.
pub fn replay_in(directory: &Path) -> Option<Sequence> {
    if has(directory, "rebase-merge") {
        return Some(Sequence::Rebase);
    }
    // One backend of rebase works as `git am` does, in the same directory.
    let is_am = || has(directory, "rebase-apply/applying");
    has(directory, "rebase-apply").then(|| if is_am() { Sequence::Am } else { Sequence::Rebase })
}

fn has(directory: &Path, name: &str) -> bool {
    directory.join(name).symlink_metadata().is_ok()
}

/// The git directory of a worktree: `.git`, or what the file of this name leads to (a linked worktree, a submodule).
fn git_directory(worktree: &Path) -> Option<PathBuf> {
    let place = worktree.join(".git");
    if place.is_dir() { Some(place) } else { super::place::linked_directory(worktree) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_state_of_git_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let git = dir.path().join(".git");
        fs::create_dir(&git).unwrap();
        assert_eq!(under_way(dir.path()), None);
        for (directories, file, found) in [
            ("rebase-merge", "", Sequence::Rebase),
            ("rebase-apply", "rebase-apply/rebasing", Sequence::Rebase),
            ("rebase-apply", "rebase-apply/applying", Sequence::Am),
            ("sequencer", "CHERRY_PICK_HEAD", Sequence::CherryPick),
            ("sequencer", "", Sequence::CherryPick),
            ("", "REVERT_HEAD", Sequence::Revert),
            ("", "MERGE_HEAD", Sequence::Merge),
            ("", "BISECT_LOG", Sequence::Bisect),
        ] {
            if !directories.is_empty() {
                fs::create_dir(git.join(directories)).unwrap();
            }
            if !file.is_empty() {
                files::write(&git.join(file), b"").unwrap();
            }
            assert_eq!(under_way(dir.path()), Some(found), "{directories} {file}");
            if !file.is_empty() {
                fs::remove_file(git.join(file)).unwrap();
            }
            if !directories.is_empty() {
                fs::remove_dir_all(git.join(directories)).unwrap();
            }
        }
        fs::create_dir(git.join("sequencer")).unwrap();
        files::write(&git.join("sequencer/todo"), b"revert 1234567 message\n").unwrap();
        assert_eq!(under_way(dir.path()), Some(Sequence::Revert));
    }

    #[test]
    fn a_linked_worktree_has_a_state_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (own, linked) = (dir.path().join("own git\u{a0}dir "), dir.path().join("linked"));
        fs::create_dir_all(own.join("rebase-merge")).unwrap();
        fs::create_dir(&linked).unwrap();
        assert_eq!(under_way(&linked), None, "no `.git` at all");
        for place in [own.to_str().unwrap(), "../own git\u{a0}dir "] {
            files::write(&linked.join(".git"), format!("gitdir: {place}\n").as_bytes()).unwrap();
            assert_eq!(under_way(&linked), Some(Sequence::Rebase));
        }
        fs::remove_dir_all(&linked).unwrap();
        assert_eq!(under_way(&linked), None, "a worktree that is gone waits for nothing");
    }
}
