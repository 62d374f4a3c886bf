//! What a person is shown: the closure against what was accepted, file by file, as a diff that steers no terminal.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use similar::{Algorithm, DiffOp, capture_diff_slices_deadline, group_diff_ops};

use super::closure::{Closure, Piece};
use super::compare::{Change, versions};
use super::record::{Accepted, Kind, Part};
use super::store::Store;
use crate::event::path_text;
use crate::git::shown;
use crate::text;

/// After this long a diff is as good as it is: two files of a megabyte without a common line would take minutes.
const DIFF_TIME: Duration = Duration::from_secs(2);

/// Lines around a change.
const CONTEXT: usize = 3;

/// One file that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileDifference {
    /// What it is.
    pub kind: Kind,
    /// Where.
    #[serde(with = "path_text")]
    pub path: PathBuf,
    /// How.
    pub change: Change,
    /// Whether anything is held because of it: what is gone and starts nothing holds nothing.
    pub holds: bool,
    /// Of a program: its versions, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub versions: Option<String>,
    /// Lines that are new.
    pub added: usize,
    /// Lines that are gone.
    pub removed: usize,
    /// The diff, escaped; it ends with a newline.
    pub text: String,
}

/// What differs. What cannot be read is part of it.
pub fn between(accepted: Option<(&Store, &Accepted)>, closure: &Closure) -> Vec<FileDifference> {
    let mut found = Vec::new();
    for piece in &closure.pieces {
        let old =
            accepted.and_then(|(store, accepted)| Some((store, accepted.part(piece.part.kind, &piece.part.path)?)));
        let change = match old {
            None => Change::Added,
            Some((_, old)) if old.digest != piece.part.digest => Change::Content,
            Some((_, old)) if old.is_executable != piece.part.is_executable => Change::Mode,
            // Without its copy no run can be made.
            Some((store, old)) if old.kind.is_kept() && store.bytes(old).is_err() => Change::Content,
            Some(_) => continue,
        };
        found.push(one(old, Some(piece), &piece.part, change));
    }
    for (kind, path, error) in &closure.problems {
        let why = error.chain();
        let text = format!("--- {}\n{}\n", shown(path), text::one_line(&why));
        let change = Change::Unreadable(why);
        found.push(FileDifference {
            kind: *kind,
            path: path.clone(),
            change,
            holds: true,
            versions: None,
            added: 0,
            removed: 0,
            text,
        });
    }
    if let Some((store, accepted)) = accepted {
        for part in &accepted.parts {
            let is_problem = closure.problems.iter().any(|(kind, path, _)| (*kind, path) == (part.kind, &part.path));
            if closure.piece(part.kind, &part.path).is_none() && !is_problem {
                found.push(one(Some((store, part)), None, part, Change::Removed));
            }
        }
    }
    found.sort_by(|one, other| (one.kind, &one.path).cmp(&(other.kind, &other.path)));
    found
}

fn one(old: Option<(&Store, &Part)>, new: Option<&Piece>, part: &Part, change: Change) -> FileDifference {
    let holds = change != Change::Removed || matches!(part.kind, Kind::Instructions | Kind::Skill);
    let (kind, path) = (part.kind, part.path.clone());
    let name = shown(&path);
    let mut text = format!("{} {name}\n", kind.as_str());
    match (old, new) {
        (None, Some(new)) => writeln!(text, "new file mode {}", new.part.mode()).ok(),
        (Some((_, old)), None) => writeln!(text, "deleted file mode {}", old.mode()).ok(),
        (Some((_, old)), Some(new)) if old.is_executable != new.part.is_executable => {
            writeln!(text, "old mode {}\nnew mode {}", old.mode(), new.part.mode()).ok()
        }
        _ => None,
    };
    if kind == Kind::Tool {
        for (sign, part) in [('-', old.map(|(_, old)| old)), ('+', new.map(|new| &new.part))] {
            if let Some(part) = part {
                let version = part.version.as_ref().map_or_else(String::new, |version| format!("version {version}, "));
                writeln!(text, "{sign}{version}sha256 {}", part.digest).ok();
            }
        }
        let now = new.and_then(|new| new.part.version.as_deref());
        let versions = versions(old.map(|(_, old)| old), now);
        return FileDifference { kind, path, change, holds, versions, added: 0, removed: 0, text };
    }
    let before = match old.map(|(store, old)| store.bytes(old)) {
        None => Vec::new(),
        Some(Ok(bytes)) => bytes,
        // All of it is shown then, as if it were new.
        Some(Err(error)) => {
            writeln!(text, "{}", text::one_line(&error.chain())).ok();
            Vec::new()
        }
    };
    let after = new.and_then(|new| new.bytes.as_deref()).unwrap_or_default();
    let (added, removed) = unified(&mut text, &before, after);
    FileDifference { kind, path, change, holds, versions: None, added, removed, text }
}

/// Appends the hunks, compared byte by byte and shown escaped. Returns how many lines are new and gone.
fn unified(out: &mut String, before: &[u8], after: &[u8]) -> (usize, usize) {
    let lines = |bytes: &'_ [u8]| -> Vec<Vec<u8>> {
        bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    };
    let (before, after) = (lines(before), lines(after));
    let deadline = Instant::now() + DIFF_TIME;
    let all = capture_diff_slices_deadline(Algorithm::Myers, &before, &after, Some(deadline));
    let (mut added, mut removed) = (0, 0);
    for group in group_diff_ops(all, CONTEXT) {
        let ends = group.first().zip(group.last());
        let range = |side: fn(&DiffOp) -> std::ops::Range<usize>| {
            ends.map_or((0, 0), |(first, last)| (side(first).start, side(last).end))
        };
        let ((old_from, old_to), (new_from, new_to)) = (range(DiffOp::old_range), range(DiffOp::new_range));
        writeln!(out, "@@ -{},{} +{},{} @@", old_from + 1, old_to - old_from, new_from + 1, new_to - new_from).ok();
        for op in &group {
            let mut push = |sign: char, lines: &[Vec<u8>]| lines.iter().for_each(|bytes| line(out, sign, bytes));
            let old = before.get(op.old_range()).unwrap_or_default();
            let new = after.get(op.new_range()).unwrap_or_default();
            if matches!(op, DiffOp::Equal { .. }) {
                push(' ', old);
            } else {
                push('-', old);
                push('+', new);
                removed += old.len();
                added += new.len();
            }
        }
    }
    (added, removed)
}

/// One line; bytes that are no text are escaped.
fn line(out: &mut String, sign: char, bytes: &[u8]) {
    let (bytes, has_break) = match bytes.strip_suffix(b"\n") {
        Some(bytes) => (bytes, true),
        None => (bytes, false),
    };
    out.push(sign);
    for chunk in bytes.utf8_chunks() {
        out.push_str(&text::shown(chunk.valid()));
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}").ok();
        }
    }
    out.push('\n');
    if !has_break {
        out.push_str("\\ no line break at the end of the file\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_shows_every_byte_and_steers_nothing() {
        let mut out = String::new();
        let counted = unified(&mut out, b"a\nb\nc\n", "a\nb\u{202e}\x1b[2J\rx\nc\n\u{e0041}".as_bytes());
        assert_eq!(counted, (2, 1));
        assert_eq!(
            out,
            "@@ -1,3 +1,4 @@\n a\n-b\n+b\\u{202e}\\u{1b}[2J\\u{d}x\n c\n+\\u{e0041}\n\\ no line break at the end of the file\n"
        );
        let mut out = String::new();
        unified(&mut out, b"", b"\xff\n");
        assert_eq!(out, "@@ -1,0 +1,1 @@\n+\\xff\n");
    }

    #[test]
    fn two_large_files_without_a_common_line_are_compared_in_time() {
        let many =
            |from: u32| -> Vec<u8> { (from..from + 60_000).flat_map(|n| format!("{n}\n").into_bytes()).collect() };
        let mut out = String::new();
        let begun = Instant::now();
        assert_eq!(unified(&mut out, &many(0), &many(1_000_000)), (60_000, 60_000));
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
