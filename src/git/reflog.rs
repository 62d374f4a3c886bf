//! What git wrote down about its branches and HEAD (the reflog): of branches by the git program, which knows every way in
//! which refs are kept; of HEAD, for a hook, from the file.

use std::ffi::OsStr;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::Duration;

use super::Repository;
use super::program::Git;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::files;
use crate::ids::Oid;
use crate::process::Environment;
use crate::text;

/// How long git may take to list a few hundred lines.
const DEADLINE: Duration = Duration::from_secs(20);

/// How much of the end of HEAD's file is read: an entry is as long as a branch's name or a subject line, the file grows
/// for ever.
const TAIL_BYTES: u64 = 4096;

/// One line of a branch's reflog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The branch, without `refs/heads/`; bytes that are no UTF-8 are escaped.
    pub branch: String,
    /// Where it was moved to.
    pub new: Oid,
    /// When, in whole seconds.
    pub at: Timestamp,
    /// What moved it: `commit: a subject`, `reset: moving to HEAD~1`. Untrusted.
    pub what: String,
}

impl Entry {
    /// Whether git calls a hook after what made this entry, and the hook.
    ///
    /// Only what git itself writes for it counts: an entry with other words (a fetch, a reset, the steps and the end of a
    /// rebase, a branch made or renamed) is none.
    pub fn hook(&self) -> Option<crate::event::Hook> {
        use crate::event::Hook;
        let (action, rest) = self.what.split_once(':')?;
        match action {
            "commit" | "commit (initial)" | "commit (amend)" | "commit (merge)" | "commit (cherry-pick)" | "revert" => {
                return Some(Hook::PostCommit);
            }
            // A cherry-pick that only moves the branch calls none.
            "cherry-pick" => return (rest.trim() != "fast-forward").then_some(Hook::PostCommit),
            "am" => return Some(Hook::PostApplypatch),
            _ => {}
        }
        // What was merged stands in the middle, and may be a URL.
        let merges = self.what.starts_with("merge ") || action.split(' ').next() == Some("pull");
        let ends = self.what.ends_with(": Fast-forward") || self.what.contains(": Merge made by the '");
        (merges && ends && !action.ends_with(')')).then_some(Hook::PostMerge)
    }
}

impl Repository {
    /// The newest entry of each local branch that stands where that entry put it, among the newest `limit` entries of
    /// all. Empty where no reflog is kept, as in most bare repositories.
    pub fn branch_moves(&self, limit: usize, environment: &Environment) -> Result<Vec<Entry>> {
        let git = Git::new(environment)?.within(DEADLINE);
        let keys = git.configured_keys(self.git_directory())?;
        let limit = format!("-n{limit}");
        let arguments = [
            "log",
            "--walk-reflogs",
            "--branches",
            "--date=unix",
            "-z",
            "--format=%H%x1f%gD%x1f%gs",
            "--no-patch",
            &limit,
        ]
        .map(OsStr::new);
        let listed = git.run(self.git_directory(), None, &keys, &arguments)?;
        let mut newest: Vec<Entry> = Vec::new();
        for entry in listed.split(|byte| *byte == 0).filter_map(parse) {
            if !newest.iter().any(|known| known.branch == entry.branch) {
                newest.push(entry);
            }
        }
        newest.retain(|entry| self.branches_at(&entry.new).contains(&entry.branch));
        Ok(newest)
    }

    /// What the reflog says moved HEAD last, such as `checkout: moving from main to topic`. For a hook: read
    /// from the file, `None` where refs are kept elsewhere.
    pub fn last_move_of_head(&self) -> Option<String> {
        let mut file = files::open(&self.git_directory().join("logs/HEAD")).ok()??;
        let end = file.seek(SeekFrom::End(0)).ok()?;
        file.seek(SeekFrom::Start(end.saturating_sub(TAIL_BYTES))).ok()?;
        let mut tail = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut tail).ok()?;
        let entry = tail.trim_ascii_end().rsplit(|byte| *byte == b'\n').next()?;
        let at = entry.iter().position(|byte| *byte == b'\t')?;
        Some(text::bytes_line(entry.get(at + 1..)?))
    }
}

/// `id US name@{seconds} US words`.
fn parse(line: &[u8]) -> Option<Entry> {
    let mut fields = line.splitn(3, |byte| *byte == 0x1f);
    let new = String::from_utf8_lossy(fields.next()?).trim().parse().ok()?;
    let place = fields.next()?;
    let at = place.windows(2).rposition(|pair| pair == b"@{")?;
    let (name, rest) = place.split_at(at);
    let seconds: u64 = std::str::from_utf8(rest).ok()?.strip_prefix("@{")?.strip_suffix('}')?.parse().ok()?;
    let name = name.strip_prefix(b"refs/heads/").or_else(|| name.strip_prefix(b"heads/")).unwrap_or(name);
    Some(Entry {
        branch: text::bytes_line(name),
        new,
        at: Timestamp::from_millis(seconds.saturating_mul(1000)),
        what: String::from_utf8_lossy(fields.next()?).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Hook;

    #[test]
    fn what_calls_a_hook_is_told_from_what_calls_none() {
        let hook = |what: &str| {
            let line = format!("{}\x1fmain@{{7}}\x1f{what}", "1".repeat(40));
            parse(line.as_bytes()).unwrap().hook()
        };
        for what in
            ["commit: a: b", "commit (initial): a", "commit (amend): a", "cherry-pick: a", "revert: Revert \"a\""]
        {
            assert_eq!(hook(what), Some(Hook::PostCommit), "{what}");
        }
        for what in [
            "merge topic: Fast-forward",
            "pull: Fast-forward",
            "pull -q https://x/y main: Merge made by the 'ort' strategy.",
        ] {
            assert_eq!(hook(what), Some(Hook::PostMerge), "{what}");
        }
        assert_eq!(hook("am: a"), Some(Hook::PostApplypatch));
        for what in [
            "rebase (finish): refs/heads/main onto 1",
            "rebase (pick): a",
            "pull --rebase (pick): Fast-forward",
            "pull --rebase (finish): returning to refs/heads/main",
            "reset: moving to HEAD~1",
            "branch: Created from HEAD",
            "checkout: moving from a to b",
            "clone: from /x",
            "fetch: fast-forward",
            "cherry-pick: fast-forward",
            "push",
            "",
        ] {
            assert_eq!(hook(what), None, "{what}");
        }
    }

    #[test]
    fn odd_names_are_read_and_damage_is_passed_over() {
        let id = "2".repeat(40);
        let entry = parse(format!("\n{id}\x1frefs/heads/a@{{b@{{1700000000}}\x1fcommit: x\x1fy").as_bytes()).unwrap();
        assert_eq!((entry.branch.as_str(), entry.what.as_str()), ("a@{b", "commit: x\x1fy"));
        assert_eq!(entry.at.millis(), 1_700_000_000_000);
        for wrong in ["", "x", "\x1f\x1f", &format!("{id}\x1fmain@{{x}}\x1fcommit: x"), &format!("{id}\x1fmain\x1f")] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
