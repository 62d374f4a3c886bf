//! From what git told a hook to an event.
//!
//! The two ends of the change are decided here, once, while the state that tells them is still there: `ORIG_HEAD`, the
//! directory of a rebase, the other side's ids. Git reports one thing through several hooks and several things through
//! one; what a later hook reports as a whole (a rebase, a series of patches) gives no event before. Whether an event
//! starts anything is decided elsewhere.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;

use crate::clock::Timestamp;
use crate::error::{Context as _, Error, Result};
use crate::event::{Actor, Change, Detail, Event, Hook, RefChange, Rewritten, SCHEMA};
use crate::files;
use crate::git::{Head, Repository};
use crate::ids::Oid;
use crate::text;

/// How much a hook reads from its standard input: 200,000 rewritten commits, or 80,000 pushed refs.
pub const INPUT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How large a file of a rebase's or a patch series' state may be.
const STATE_FILE_BYTES_MAX: u64 = 64 * 1024;

/// The event that `hook` reports, called in `repository` with these arguments and this input. `None` where there is
/// nothing to report: an empty push, a step of something that is reported as a whole when it ends.
pub fn observe(
    hook: Hook,
    arguments: &[OsString],
    stdin: &mut dyn Read,
    repository: &Repository,
    at: Timestamp,
) -> Result<Option<Event>> {
    check_count(hook, arguments)?;
    let observer = Observer { repository, hook, at };
    match hook {
        Hook::PostCommit => observer.commit(),
        Hook::PostMerge => observer.merge(arguments),
        Hook::PostRewrite => observer.rewrite(arguments, &read(stdin)?),
        Hook::PostApplypatch => observer.patch(),
        Hook::PrePush => observer.push(arguments, &read(stdin)?),
        Hook::Manual => Err(Error::usage("`manual` is no hook of git")),
    }
}

/// The event of a person's request for this commit: for what changed since `since`, or since its first parent.
pub fn manual(
    repository: &Repository,
    commit: &Oid,
    since: Option<&Oid>,
    request: &str,
    at: Timestamp,
) -> Result<Event> {
    let head = repository.head()?;
    // A branch that stands elsewhere is not the one this commit is on.
    let branch = head.branch.filter(|_| head.commit.as_ref() == Some(commit));
    let base = match since {
        Some(since) => Some(since.clone()),
        None => repository.first_parent(commit)?,
    };
    let change = Change { base, head: commit.clone() };
    let detail = Detail::Manual { request: request.to_owned() };
    Observer { repository, hook: Hook::Manual, at }.event(detail, Vec::new(), branch, Some(change))
}

/// The part of a push that concerns one of its refs: what a gate before that ref is asked about.
pub fn part_of_push(event: &Event, reference: &RefChange, repository: &Repository) -> Result<Event> {
    let observer = Observer { repository, hook: event.hook, at: event.at };
    let Detail::Push { remote, .. } = &event.detail else {
        return Err(Error::failed(format!("{} reports no push", event.hook)));
    };
    let head = reference.new.as_ref().and_then(|new| repository.commit_of(new));
    let change = head.map(|head| Change { base: observer.pushed_base(reference.old.as_ref(), &head, remote), head });
    let branch = reference.name.strip_prefix("refs/heads/").map(str::to_owned);
    observer.event(event.detail.clone(), vec![reference.clone()], branch, change)
}

/// How many arguments git gives its hooks (githooks(5)). More are accepted only where git says that there may be more.
fn check_count(hook: Hook, arguments: &[OsString]) -> Result<()> {
    let right = match hook {
        Hook::PostCommit | Hook::PostApplypatch | Hook::Manual => arguments.is_empty(),
        Hook::PostMerge => arguments.len() == 1,
        Hook::PostRewrite => !arguments.is_empty(),
        Hook::PrePush => arguments.len() == 2,
    };
    if right {
        return Ok(());
    }
    Err(Error::usage(format!("git does not call {hook} with {} arguments", arguments.len()))
        .hint("this command is meant to be called by a git hook"))
}

/// The whole input of a hook.
fn read(stdin: &mut dyn Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stdin
        .take(INPUT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .context(|| "cannot read what git says on standard input")?;
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        let limit = text::bytes(INPUT_BYTES_MAX);
        return Err(Error::failed(format!("git says more than {limit} on standard input")));
    }
    Ok(bytes)
}

struct Observer<'a> {
    repository: &'a Repository,
    hook: Hook,
    at: Timestamp,
}

impl Observer<'_> {
    fn commit(&self) -> Result<Option<Event>> {
        if self.is_rebasing() {
            return Ok(None);
        }
        self.last_commit(Detail::Commit)
    }

    /// HEAD against its first parent.
    fn last_commit(&self, detail: Detail) -> Result<Option<Event>> {
        let head = self.repository.head()?;
        let Some(commit) = head.commit.clone() else { return Ok(None) };
        let base = self.repository.first_parent(&commit)?;
        self.moved(detail, &head, base.clone(), base, commit)
    }

    fn merge(&self, arguments: &[OsString]) -> Result<Option<Event>> {
        let squash = match arguments.first().map(|flag| flag.as_bytes()) {
            Some(b"0") => false,
            Some(b"1") => true,
            flag => {
                let flag = text::bytes_line(flag.unwrap_or_default());
                return Err(Error::usage(format!("post-merge is called with 0 or 1, not with `{flag}`")));
            }
        };
        let detail = Detail::Merge { squash };
        let head = self.repository.head()?;
        if squash {
            return self.event(detail, Vec::new(), head.branch, None).map(Some);
        }
        let Some(commit) = head.commit.clone() else { return Ok(None) };
        // Every merge leaves where HEAD was in ORIG_HEAD. A fast-forward may end at somebody else's merge commit, whose
        // first parent says nothing.
        let before = match self.repository.pseudo_ref("ORIG_HEAD") {
            Some(before) if before != commit && self.repository.is_ancestor(&before, &commit) != Some(false) => {
                Some(before)
            }
            _ => self.repository.first_parent(&commit)?,
        };
        self.moved(detail, &head, before.clone(), before, commit)
    }

    fn rewrite(&self, arguments: &[OsString], input: &[u8]) -> Result<Option<Event>> {
        let command = text::bytes_line(arguments.first().map(|name| name.as_bytes()).unwrap_or_default());
        let rewritten = lines(input).map(|(number, line)| parse_rewritten(number, line)).collect::<Result<Vec<_>>>()?;
        let (Some(first), Some(last)) = (rewritten.first().cloned(), rewritten.last().cloned()) else {
            return Ok(None);
        };
        let mut head = self.repository.head()?;
        let Some(commit) = head.commit.clone() else { return Ok(None) };
        if command == "amend" {
            // A reworded or squashed step of a rebase.
            if self.is_rebasing() {
                return Ok(None);
            }
            let base = self.repository.first_parent(&commit)?;
            return self.moved(Detail::Rewrite { command, rewritten }, &head, Some(last.old), base, commit);
        }
        head.branch = head.branch.or_else(|| self.rebased_branch(&last.old));
        // The first commit that was made anew, unless a later step dropped it again.
        let mut base = self.repository.first_parent(&first.new)?;
        if base.as_ref().is_some_and(|base| self.repository.is_ancestor(base, &commit) == Some(false)) {
            base = self.repository.first_parent(&commit)?;
        }
        // The old tip: what the rebase began with.
        self.moved(Detail::Rewrite { command, rewritten }, &head, Some(last.old), base, commit)
    }

    fn patch(&self) -> Result<Option<Event>> {
        if self.is_rebasing() {
            return Ok(None);
        }
        let series = (self.state_number("rebase-apply/next"), self.state_number("rebase-apply/last"));
        let (Some(next), Some(last)) = series else { return self.last_commit(Detail::Patch) };
        if next < last {
            return Ok(None);
        }
        let head = self.repository.head()?;
        let Some(commit) = head.commit.clone() else { return Ok(None) };
        // `git am` leaves where it began in ORIG_HEAD, or removes that ref where it began with nothing.
        let base = match self.repository.pseudo_ref("ORIG_HEAD") {
            Some(before) if before != commit && self.repository.is_ancestor(&before, &commit) != Some(false) => {
                Some(before)
            }
            Some(_) => self.repository.first_parent(&commit)?,
            None => None,
        };
        self.moved(Detail::Patch, &head, base.clone(), base, commit)
    }

    fn push(&self, arguments: &[OsString], input: &[u8]) -> Result<Option<Event>> {
        let argument =
            |number: usize| text::bytes_line(arguments.get(number).map(|name| name.as_bytes()).unwrap_or_default());
        let remote = argument(0);
        let refs = lines(input).map(|(number, line)| parse_pushed(number, line)).collect::<Result<Vec<_>>>()?;
        if refs.is_empty() {
            return Ok(None);
        }
        let pushed = |prefix: &str| {
            refs.iter()
                .filter(|moved| moved.name.starts_with(prefix))
                .find_map(|moved| Some((moved, self.repository.commit_of(moved.new.as_ref()?)?)))
        };
        // A branch says more than a tag that is pushed along with it.
        let chosen = pushed("refs/heads/").or_else(|| pushed(""));
        let branch = chosen.as_ref().and_then(|(moved, _)| moved.name.strip_prefix("refs/heads/")).map(str::to_owned);
        let change =
            chosen.map(|(moved, head)| Change { base: self.pushed_base(moved.old.as_ref(), &head, &remote), head });
        let detail = Detail::Push { remote: without_credentials(&remote), url: without_credentials(&argument(1)) };
        self.event(detail, refs, branch, change).map(Some)
    }

    /// What the other side has of the history of `head`.
    fn pushed_base(&self, old: Option<&Oid>, head: &Oid, remote: &str) -> Option<Oid> {
        if let Some(old) = old.and_then(|old| self.repository.commit_of(old)) {
            return Some(self.repository.common_ancestor(head, std::slice::from_ref(&old)).unwrap_or(old));
        }
        // The branch is new there, or stands at a commit that was never fetched.
        let known = self.repository.tracking_branches(remote);
        if known.is_empty() { None } else { self.repository.common_ancestor(head, &known) }
    }

    /// HEAD, or the branch it is on, moved from `before` to `commit`.
    fn moved(
        &self,
        detail: Detail,
        head: &Head,
        before: Option<Oid>,
        base: Option<Oid>,
        commit: Oid,
    ) -> Result<Option<Event>> {
        let name = head.branch.as_ref().map_or_else(|| "HEAD".to_owned(), |branch| format!("refs/heads/{branch}"));
        let refs = vec![RefChange { name, old: before, new: Some(commit.clone()) }];
        self.event(detail, refs, head.branch.clone(), Some(Change { base, head: commit })).map(Some)
    }

    fn event(
        &self,
        detail: Detail,
        refs: Vec<RefChange>,
        branch: Option<String>,
        change: Option<Change>,
    ) -> Result<Event> {
        let commit = change.as_ref().map(|change| self.repository.commit(&change.head)).transpose()?;
        let place = self.repository.git_directory().as_os_str().as_bytes();
        let key = Event::key_of(self.hook, &detail, &refs, change.as_ref(), place);
        let (tree, message, author) = match commit {
            Some(commit) => (Some(commit.tree), commit.message, commit.author),
            None => (None, String::new(), Actor::default()),
        };
        Ok(Event {
            schema: SCHEMA,
            key,
            hook: self.hook,
            detail,
            refs,
            branch,
            change,
            tree,
            message,
            author,
            worktree: self.repository.place().to_path_buf(),
            at: self.at,
        })
    }

    /// Whether a rebase is under way: what its steps do is reported by the `post-rewrite` that ends it. `git am` uses
    /// the directory of one backend too, without the file `rebasing`.
    fn is_rebasing(&self) -> bool {
        let directory = self.repository.git_directory();
        directory.join("rebase-merge").is_dir() || directory.join("rebase-apply/rebasing").exists()
    }

    /// The branch that is being rebased: one backend puts HEAD back on it only after the hook, and writes its name down
    /// only when it stops on the way. Then it is the branch that still stands at the old tip, if it is the only one.
    fn rebased_branch(&self, old: &Oid) -> Option<String> {
        let names = ["rebase-apply/head-name", "rebase-merge/head-name"];
        if let Some(name) = names.into_iter().find_map(|name| self.state_file(name)) {
            return Some(text::bytes_line(name.trim_ascii_end().strip_prefix(b"refs/heads/")?));
        }
        let old = self.repository.pseudo_ref("ORIG_HEAD").unwrap_or_else(|| old.clone());
        let mut branches = self.repository.branches_at(&old);
        let branch = branches.pop();
        branch.filter(|_| branches.is_empty())
    }

    fn state_number(&self, name: &str) -> Option<u64> {
        std::str::from_utf8(&self.state_file(name)?).ok()?.trim().parse().ok()
    }

    /// A file of git's own state; one that does not read is as good as missing.
    fn state_file(&self, name: &str) -> Option<Vec<u8>> {
        files::read(&self.repository.git_directory().join(name), STATE_FILE_BYTES_MAX).ok().flatten()
    }
}

/// The lines of a hook's input with their numbers, from 1.
fn lines(input: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = input.split(|byte| *byte == b'\n');
    lines.enumerate().filter(|(_, line)| !line.is_empty()).map(|(index, line)| (index + 1, line))
}

fn parse_oid(field: &[u8]) -> Result<Option<Oid>> {
    Oid::parse(&String::from_utf8_lossy(field))
}

/// `old SP new [SP extra]`.
fn parse_rewritten(number: usize, line: &[u8]) -> Result<Rewritten> {
    let wrong = || Error::failed(format!("line {number} of git's list of rewritten commits reads `{}`", clipped(line)));
    let mut fields = line.split(|byte| *byte == b' ');
    let mut next = || fields.next().ok_or_else(wrong).and_then(parse_oid)?.ok_or_else(wrong);
    Ok(Rewritten { old: next()?, new: next()? })
}

/// `local-ref SP local-id SP remote-ref SP remote-id`. The first may hold spaces: it is what was typed, such as
/// `HEAD^{/fix it}`.
fn parse_pushed(number: usize, line: &[u8]) -> Result<RefChange> {
    let wrong = || Error::failed(format!("line {number} of git's list of pushed refs reads `{}`", clipped(line)));
    let mut fields = line.rsplitn(4, |byte| *byte == b' ');
    let mut next = || fields.next().ok_or_else(wrong);
    let (old, name, new, _typed) = (next()?, next()?, next()?, next()?);
    if name.is_empty() {
        return Err(wrong());
    }
    Ok(RefChange { name: text::bytes_line(name), old: parse_oid(old)?, new: parse_oid(new)? })
}

fn clipped(line: &[u8]) -> String {
    text::clipped(&text::bytes_line(line), 200).into_owned()
}

/// A URL without what it takes to log in: no password anywhere, no user either but for SSH, where it is the same for
/// everybody, and no query.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let Some((user, host)) = authority.rsplit_once('@') else { return format!("{scheme}://{authority}{path}") };
    let user = user.split(':').next().unwrap_or_default();
    if scheme.ends_with("ssh") && !user.is_empty() {
        return format!("{scheme}://{user}@{host}{path}");
    }
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_what_it_takes_to_log_in() {
        for (url, clean) in [
            ("https://ada:secret@example.org/a.git", "https://example.org/a.git"),
            ("https://token@example.org/a.git?private_token=x", "https://example.org/a.git"),
            ("https://a@b:secret@example.org", "https://example.org"),
            ("ssh://git:pw@example.org:22/a@b.git", "ssh://git@example.org:22/a@b.git"),
            ("helper::https://u:p@h/x", "helper::https://h/x"),
            ("git@example.org:a.git", "git@example.org:a.git"),
            ("../b.git", "../b.git"),
            ("origin", "origin"),
        ] {
            assert_eq!(without_credentials(url), clean);
        }
    }

    #[test]
    fn input_of_git_parses_and_other_input_is_refused() {
        let (one, two, zero) = ("1".repeat(40), "2".repeat(40), "0".repeat(40));
        let pushed = parse_pushed(1, format!("HEAD^{{/a b}} {one} refs/heads/x {zero}").as_bytes()).unwrap();
        assert_eq!((pushed.name.as_str(), pushed.old), ("refs/heads/x", None));
        let deleted = parse_pushed(1, format!("(delete) {zero} refs/heads/x {one}").as_bytes()).unwrap();
        assert!(deleted.new.is_none() && deleted.old.is_some());
        assert!(parse_rewritten(1, format!("{one} {two}").as_bytes()).is_ok());
        assert!(parse_rewritten(1, format!("{one} {two} extra words").as_bytes()).is_ok());
        for bad in ["", "x", &one, &format!("{one} {zero}"), &format!("{one}  {two}")] {
            assert!(parse_rewritten(1, bad.as_bytes()).is_err(), "{bad}");
            assert!(parse_pushed(1, bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_input_makes_the_parsers_panic(line: Vec<u8>, url: String) {
            parse_rewritten(1, &line).ok();
            parse_pushed(1, &line).ok();
            without_credentials(&url);
        }
    }
}
