//! From what git told a hook to an event.
//!
//! The two ends of the change are decided here, once, while the state that tells them is still there: `ORIG_HEAD`, the
//! directory of a rebase, the other side's ids. Git reports one thing through several hooks and several things through
//! one; what a later hook reports as a whole (a rebase, a series of patches) gives no event before. Whether an event
//! starts anything is decided elsewhere.

mod lines;
mod push;

use std::env;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;

use crate::clock::Timestamp;
use crate::error::{Context as _, Error, Result};
use crate::event::{Actor, Change, Detail, Event, Hook, RefChange, SCHEMA};
use crate::files;
use crate::git::sequence::{self, Sequence};
use crate::git::{Head, Repository};
use crate::ids::Oid;
use crate::text;

use self::lines::{lines, parse_oid, parse_pushed, parse_received, parse_rewritten, without_credentials};
pub use self::push::{PARTS_MAX, Parts, Push};

/// How much a hook reads from its standard input: 200,000 rewritten commits, or 80,000 pushed refs.
pub const INPUT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How large a file of a rebase's or a patch series' state may be.
const STATE_FILE_BYTES_MAX: u64 = 64 * 1024;

/// How many commits of one merge are looked at: git itself gives up at 25 (`MAX_MERGE_STRATEGY` of an octopus).
const MERGED_MAX: usize = 25;

/// What a call of a hook says.
#[derive(Debug)]
pub enum Report {
    /// Nothing: an empty push, a step of something that is reported as a whole when it ends.
    Nothing,
    /// One thing.
    Event(Box<Event>),
    /// A push: as many events as refs that bring something. They are made when somebody asks for them.
    Push(Push),
}

/// What `hook` reports, called in `repository` with these arguments and this input.
pub fn observe(
    hook: Hook,
    arguments: &[OsString],
    stdin: &mut dyn Read,
    repository: &Repository,
    at: Timestamp,
) -> Result<Report> {
    check_count(hook, arguments)?;
    let observer = Observer { repository, hook, at };
    let event = match hook {
        Hook::PostCommit => observer.commit(),
        Hook::PostMerge => observer.merge(arguments),
        Hook::PostRewrite => observer.rewrite(arguments, &read(stdin)?),
        Hook::PostApplypatch => observer.patch(),
        Hook::PostCheckout => observer.checkout(arguments),
        Hook::PreMergeCommit => observer.merging(),
        Hook::PrePush => return observer.push(arguments, &read(stdin)?),
        Hook::PostReceive => return observer.receive(&read(stdin)?),
        Hook::Manual => Err(Error::usage("`manual` is no hook of git")),
    };
    Ok(event?.map_or(Report::Nothing, |event| Report::Event(Box::new(event))))
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

/// How many arguments git gives its hooks (githooks(5)). More are accepted only where git says that there may be more.
fn check_count(hook: Hook, arguments: &[OsString]) -> Result<()> {
    let right = match hook {
        Hook::PostCommit | Hook::PostApplypatch | Hook::PreMergeCommit | Hook::PostReceive | Hook::Manual => {
            arguments.is_empty()
        }
        Hook::PostMerge => arguments.len() == 1,
        Hook::PostRewrite => !arguments.is_empty(),
        Hook::PrePush => arguments.len() == 2,
        Hook::PostCheckout => arguments.len() == 3,
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
        // With another strategy a rebase has `git merge` make its merges.
        if self.is_rebasing() {
            return Ok(None);
        }
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
        // What the rebase began with: the list ends with it, unless steps were put into another order.
        let tip = self.state_oid(["rebase-merge/orig-head", "rebase-apply/orig-head"]).unwrap_or(last.old);
        // The list has commits that were split under one of their parts, and those that were skipped under the commit
        // before them. What was made anew is what neither the old tip has nor the commit that all was put onto.
        let onto = self.state_oid(["rebase-merge/onto", "rebase-apply/onto"]);
        let mut base = onto.and_then(|onto| self.repository.common_ancestor(&commit, &[onto, tip.clone()]));
        if base.as_ref() == Some(&commit) {
            return self.reset(Detail::Rewrite { command, rewritten }, &head, tip, commit).map(Some);
        }
        if base.is_none() {
            // One backend writes down only when it stops what all was put onto: then its list is plain.
            base = self.repository.first_parent(&first.new)?;
            if base.as_ref().is_some_and(|base| self.repository.is_ancestor(base, &commit) == Some(false)) {
                base = self.repository.first_parent(&commit)?;
            }
        }
        self.moved(Detail::Rewrite { command, rewritten }, &head, Some(tip), base, commit)
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

    fn checkout(&self, arguments: &[OsString]) -> Result<Option<Event>> {
        let argument = |number: usize| arguments.get(number).map(|value| value.as_bytes()).unwrap_or_default();
        match argument(2) {
            b"1" => {}
            // Files were taken out of a commit or the index, and HEAD is where it was.
            b"0" => return Ok(None),
            flag => {
                let flag = text::bytes_line(flag);
                return Err(Error::usage(format!("post-checkout is called with 0 or 1, not with `{flag}`")));
            }
        }
        let (old, new) = (parse_oid(argument(0))?, parse_oid(argument(1))?);
        let head = self.repository.head()?;
        if self.is_stepping(&head, old.as_ref()) {
            return Ok(None);
        }
        // Where HEAD stays (a new branch, the same one again) or has no commit yet, nothing changed.
        let change = new.clone().filter(|new| old.as_ref() != Some(new));
        let change = change.map(|head| Change { base: old.clone(), head });
        let refs = vec![RefChange { name: "HEAD".to_owned(), old, new }];
        self.event(Detail::Checkout, refs, head.branch, change).map(Some)
    }

    /// A merge that git is about to commit. Of the state that a merge leaves only the environment is there by now:
    /// `GITHEAD_<id>` for each commit that was named, with what it was called.
    fn merging(&self) -> Result<Option<Event>> {
        if self.is_rebasing() {
            return Ok(None);
        }
        let head = self.repository.head()?;
        // Into a branch without a commit git merges by setting it.
        let Some(into) = head.commit else { return Ok(None) };
        let mut merged = self.named_for_merge();
        let all: Vec<Oid> = merged.iter().map(|(id, _)| id.clone()).chain([into.clone()]).collect();
        // Git leaves out what is part of HEAD or of another one already.
        merged.retain(|(id, _)| {
            let others: Vec<Oid> = all.iter().filter(|other| *other != id).cloned().collect();
            self.repository.common_ancestor(id, &others).as_ref() != Some(id)
        });
        let Some((first, _)) = merged.first().cloned() else { return Ok(None) };
        let change = Change { base: self.repository.common_ancestor(&first, std::slice::from_ref(&into)), head: first };
        let (ids, names): (Vec<Oid>, Vec<String>) = merged.into_iter().unzip();
        let heads = ids.into_iter().map(|id| RefChange { name: "MERGE_HEAD".to_owned(), old: None, new: Some(id) });
        self.event(Detail::Merging { into, names }, heads.collect(), head.branch, Some(change)).map(Some)
    }

    /// The commits that git was told to merge and what they were called, in that order.
    fn named_for_merge(&self) -> Vec<(Oid, String)> {
        let named = env::vars_os().filter_map(|(variable, name)| {
            let id = variable.as_bytes().strip_prefix(b"GITHEAD_")?;
            let id = parse_oid(id).ok()??;
            // A merge in another repository may have started this one.
            self.repository.has_commit(&id).then_some((id, name))
        });
        let mut named: Vec<(Oid, OsString)> = named.take(MERGED_MAX).collect();
        // The environment has no order; what was typed has one, and so has what `git pull` fetched.
        let typed = env::var_os("GIT_REFLOG_ACTION").unwrap_or_default();
        let typed: Vec<&[u8]> = typed.as_bytes().split(|byte| *byte == b' ').collect();
        let fetched = self.state_file("FETCH_HEAD").unwrap_or_default();
        let fetched: Vec<&[u8]> = fetched.split(|byte| *byte == b'\n').collect();
        named.sort_by_cached_key(|(id, name)| {
            let typed = typed.iter().position(|word| *word == name.as_bytes()).unwrap_or(usize::MAX);
            let fetched = fetched.iter().position(|line| line.starts_with(id.as_str().as_bytes()));
            (typed, fetched.unwrap_or(usize::MAX), id.clone())
        });
        named.into_iter().map(|(id, name)| (id, text::bytes_line(name.as_bytes()))).collect()
    }

    fn push(&self, arguments: &[OsString], input: &[u8]) -> Result<Report> {
        let argument =
            |number: usize| text::bytes_line(arguments.get(number).map(|name| name.as_bytes()).unwrap_or_default());
        let refs = lines(input).map(|(number, line)| parse_pushed(number, line)).collect::<Result<Vec<_>>>()?;
        let remote = argument(0);
        let detail = Detail::Push { remote: without_credentials(&remote), url: without_credentials(&argument(1)) };
        Ok(self.pushed(detail, Some(remote), refs))
    }

    fn receive(&self, input: &[u8]) -> Result<Report> {
        let refs = lines(input).map(|(number, line)| parse_received(number, line)).collect::<Result<Vec<_>>>()?;
        Ok(self.pushed(Detail::Receive, None, refs))
    }

    fn pushed(&self, detail: Detail, remote: Option<String>, refs: Vec<RefChange>) -> Report {
        if refs.is_empty() {
            return Report::Nothing;
        }
        Report::Push(Push::new(self.hook, self.at, detail, remote, refs))
    }

    /// The branch is at another commit, and nothing was made for it.
    fn reset(&self, detail: Detail, head: &Head, before: Oid, commit: Oid) -> Result<Event> {
        let refs = vec![RefChange { name: moved_name(head), old: Some(before), new: Some(commit) }];
        self.event(detail, refs, head.branch.clone(), None)
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
        let refs = vec![RefChange { name: moved_name(head), old: before, new: Some(commit.clone()) }];
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

    /// Whether a rebase is under way: what its steps do is reported by the `post-rewrite` that ends it.
    fn is_rebasing(&self) -> bool {
        sequence::replay_in(self.repository.git_directory()) == Some(Sequence::Rebase)
    }

    /// Whether git goes to a commit on its own account: as a step of a rebase, of a series of patches or of a bisection.
    fn is_stepping(&self, head: &Head, old: Option<&Oid>) -> bool {
        let directory = self.repository.git_directory();
        if sequence::replay_in(directory).is_some() || directory.join("BISECT_LOG").exists() {
            return true;
        }
        if head.branch.is_some() {
            return false;
        }
        // One backend of rebase goes to where it begins before it leaves a trace, but for what it calls the step, and
        // for where it was.
        match self.repository.last_move_of_head() {
            Some(what) => what.contains("(start): checkout "),
            None => old.is_some() && self.repository.pseudo_ref("ORIG_HEAD").as_ref() == old,
        }
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

    /// The id in the first of these files that is there.
    fn state_oid<const N: usize>(&self, names: [&str; N]) -> Option<Oid> {
        let file = names.into_iter().find_map(|name| self.state_file(name))?;
        std::str::from_utf8(&file).ok()?.trim().parse().ok()
    }

    fn state_number(&self, name: &str) -> Option<u64> {
        std::str::from_utf8(&self.state_file(name)?).ok()?.trim().parse().ok()
    }

    /// A file of git's own state; one that does not read is as good as missing.
    fn state_file(&self, name: &str) -> Option<Vec<u8>> {
        files::read(&self.repository.git_directory().join(name), STATE_FILE_BYTES_MAX).ok().flatten()
    }
}

/// What HEAD's moving moves.
fn moved_name(head: &Head) -> String {
    head.branch.as_ref().map_or_else(|| "HEAD".to_owned(), |branch| format!("refs/heads/{branch}"))
}
