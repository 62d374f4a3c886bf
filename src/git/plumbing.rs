//! The reader of repositories that libgit2 cannot read: the git program's own plumbing.
//!
//! Git gets an environment in which it executes nothing, fetches nothing and replaces nothing. What a commit holds is
//! taken from its bytes, so that grafts have no say either.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::cat_file::{Answer, CatFile};
use super::object::{Format, Id, Kind, Links, Object, Tip};
use super::program::Reading;
use super::reader::Reader;
use super::{Commit, Head, MESSAGE_BYTES_MAX};
use crate::error::{Error, Result};
use crate::event::Actor;
use crate::files;
use crate::ids::Oid;
use crate::process::Environment;
use crate::text;

/// How large a commit or tag may be whose bytes are looked at. Git itself sets no limit; a hook has to.
const HEADER_OBJECT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How many tags may stand between a name and its commit.
const TAGS_MAX: usize = 64;

/// How large the list of a shallow clone's edge may be: a million commits.
const SHALLOW_BYTES_MAX: u64 = 65 * 1024 * 1024;

/// How many bytes of trees are kept: a tree that names one subtree a million times must not ask git a million times.
const TREE_BYTES_KEPT: usize = 4 * 1024 * 1024;

pub(super) struct Plumbing {
    git: Reading,
    format: Format,
    common_directory: PathBuf,
    environment: Environment,
    contents: CatFile,
    headers: CatFile,
    trees: RefCell<Trees>,
}

/// The trees that were read last.
#[derive(Default)]
struct Trees {
    kept: HashMap<Id, Vec<u8>>,
    bytes: usize,
}

impl Trees {
    fn keep(&mut self, id: Id, tree: &[u8]) {
        if self.bytes + tree.len() > TREE_BYTES_KEPT {
            *self = Self::default();
        }
        self.bytes += tree.len();
        self.kept.insert(id, tree.to_vec());
    }
}

impl Plumbing {
    /// Reads the repository with this git directory, which git has accepted.
    pub(super) fn new(
        git_directory: &Path,
        common_directory: &Path,
        format: Format,
        environment: Environment,
    ) -> Result<Self> {
        Ok(Self {
            git: Reading::new(&environment, git_directory)?,
            format,
            common_directory: common_directory.to_path_buf(),
            environment,
            contents: CatFile::contents(),
            headers: CatFile::headers(),
            trees: RefCell::default(),
        })
    }

    /// The object under a name, with its content if it is a commit or a tag.
    fn look_up(&self, name: &str) -> Result<Option<Answer>> {
        let wanted = |kind, size| matches!(kind, Kind::Commit | Kind::Tag) && size <= HEADER_OBJECT_BYTES_MAX;
        self.contents.ask(&self.git, name, wanted)
    }

    /// The bytes of a commit.
    fn commit_bytes(&self, id: Id) -> Result<Option<Vec<u8>>> {
        let Some(answer) = self.look_up(&id.to_string())?.filter(|answer| answer.kind == Kind::Commit) else {
            return Ok(None);
        };
        let content = answer.content.ok_or_else(|| {
            Error::failed(format!("commit {id} is larger than {}", text::bytes(HEADER_OBJECT_BYTES_MAX)))
        })?;
        Ok(Some(content))
    }

    /// The commits at which a shallow clone ends.
    fn edge(&self) -> HashSet<Id> {
        let list = files::read(&self.common_directory.join("shallow"), SHALLOW_BYTES_MAX).ok().flatten();
        list.unwrap_or_default().split(|byte| *byte == b'\n').filter_map(Id::from_hex).collect()
    }

    fn parsed(&self, id: Id, bytes: &[u8]) -> Result<Parsed> {
        let mut parsed =
            parse(bytes, self.format).ok_or_else(|| Error::failed(format!("commit {id} does not read")))?;
        if !parsed.parents.is_empty() && self.edge().contains(&id) {
            parsed.parents.clear();
        }
        Ok(parsed)
    }

    /// The commit under a name of git's own, such as `HEAD`.
    fn named(&self, name: &str) -> Result<Option<Oid>> {
        let found = self.look_up(&format!("{name}^{{commit}}"))?;
        found.map(|answer| answer.id.oid()).transpose()
    }
}

impl Reader for Plumbing {
    fn format(&self) -> Format {
        self.format
    }

    fn is_shallow(&self) -> bool {
        !self.edge().is_empty()
    }

    fn head(&self) -> Result<Head> {
        let arguments = ["symbolic-ref", "--quiet", "HEAD"].map(OsStr::new);
        let (code, name) = self.git.ask(&arguments, &[0, 1])?;
        let name = name.strip_suffix(b"\n").unwrap_or(&name);
        let branch = (code == 0).then(|| text::bytes_line(name.strip_prefix(b"refs/heads/").unwrap_or(name)));
        let commit = self.named("HEAD")?;
        if branch.is_none() && commit.is_none() {
            return Err(Error::failed("cannot read HEAD").because(Error::failed("it names no commit")));
        }
        Ok(Head { branch, commit })
    }

    fn resolve(&self, revision: &str, shown: &str) -> Result<Oid> {
        if revision.contains('\0') {
            return Err(Error::usage(format!("`{shown}` is no revision")));
        }
        let arguments = ["rev-parse", "--verify", "--end-of-options", revision].map(OsStr::new);
        let printed = self.git.ask(&arguments, &[0]).map_err(|error| {
            if error.chain().contains("ambiguous") {
                super::ambiguous_revision(shown)
            } else {
                super::no_revision(shown).because(error)
            }
        })?;
        let id = Id::from_hex(printed.1.trim_ascii_end()).filter(|id| id.format() == self.format);
        let id = id.ok_or_else(|| super::names_no_commit(shown))?;
        if self.header(id)?.is_none() {
            return Err(super::no_revision(shown));
        }
        self.peeled(id).ok_or_else(|| super::names_no_commit(shown))?.oid()
    }

    fn commit(&self, id: Id) -> Result<Option<Commit>> {
        let Some(bytes) = self.commit_bytes(id)? else { return Ok(None) };
        let parsed = self.parsed(id, &bytes)?;
        // Git and libgit2 show no more than that either.
        let message = bytes[parsed.message..].split(|byte| *byte == 0).next().unwrap_or_default();
        // Cut before decoding: a replaced byte takes three.
        let message = String::from_utf8_lossy(&message[..message.len().min(MESSAGE_BYTES_MAX)]).into_owned();
        Ok(Some(Commit {
            id: id.oid()?,
            tree: parsed.tree.oid()?,
            parents: parsed.parents.iter().map(|parent| parent.oid()).collect::<Result<_>>()?,
            author: parsed.author,
            message: text::prefix_bytes(&message, MESSAGE_BYTES_MAX).to_owned(),
        }))
    }

    fn links(&self, id: Id) -> Option<Links> {
        let bytes = self.commit_bytes(id).ok()??;
        let parsed = self.parsed(id, &bytes).ok()?;
        Some(Links { time: parsed.time, parents: parsed.parents })
    }

    fn range(&self, head: Id, base: Option<Id>, max: usize) -> Result<Option<Vec<Id>>> {
        let (most, head) = (format!("--max-count={}", max.saturating_add(1)), head.to_string());
        let base = base.map(|base| format!("^{base}"));
        let mut arguments = vec![OsStr::new("rev-list"), OsStr::new(&most), OsStr::new(&head)];
        arguments.extend(base.as_ref().map(OsStr::new));
        arguments.push(OsStr::new("--"));
        let (_, listed) = self.git.ask(&arguments, &[0])?;
        let lines = listed.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let wrong = || Error::failed("git lists commits that are none");
        let commits = lines.map(|line| Id::from_hex(line).ok_or_else(wrong)).collect::<Result<Vec<_>>>()?;
        Ok((commits.len() <= max).then_some(commits))
    }

    fn peeled(&self, id: Id) -> Option<Id> {
        let mut id = id;
        for _ in 0..TAGS_MAX {
            let answer = self.look_up(&id.to_string()).ok()??;
            match answer.kind {
                Kind::Commit => return Some(id),
                Kind::Tag => {
                    let content = answer.content?;
                    let line = content.split(|byte| *byte == b'\n').next()?;
                    id = Id::from_hex(line.strip_prefix(b"object ")?).filter(|id| id.format() == self.format)?;
                }
                Kind::Tree | Kind::Blob => return None,
            }
        }
        None
    }

    fn object(&self, id: Id) -> Result<Option<Object>> {
        if let Some(tree) = self.trees.borrow().kept.get(&id) {
            return Ok(Some(Object { kind: Kind::Tree, bytes: tree.clone() }));
        }
        let answer = self.contents.ask(&self.git, &id.to_string(), |_, _| true)?;
        let object = answer.and_then(|answer| Some(Object { kind: answer.kind, bytes: answer.content? }));
        if let Some(tree) = object.as_ref().filter(|object| object.kind == Kind::Tree) {
            self.trees.borrow_mut().keep(id, &tree.bytes);
        }
        Ok(object)
    }

    fn header(&self, id: Id) -> Result<Option<(Kind, u64)>> {
        let answer = self.headers.ask(&self.git, &id.to_string(), |_, _| false)?;
        Ok(answer.map(|answer| (answer.kind, answer.size)))
    }

    fn tips(&self, prefix: &str, max: usize) -> Vec<Tip> {
        // No format that would have to read the object: one that is not here would end the whole list.
        let max = format!("--count={max}");
        let arguments = ["for-each-ref", &max, "--format=%(objectname) %(symref) %(refname)", prefix].map(OsStr::new);
        let Ok((_, listed)) = self.git.ask(&arguments, &[0]) else { return Vec::new() };
        let tip = |line: &[u8]| {
            let mut words = line.splitn(3, |byte| *byte == b' ');
            let (id, target, name) = (Id::from_hex(words.next()?)?, words.next()?, words.next()?);
            target.is_empty().then(|| Tip { name: name.to_vec(), id })
        };
        listed.split(|byte| *byte == b'\n').filter_map(tip).collect()
    }

    fn pseudo_ref(&self, name: &str) -> Option<Oid> {
        self.named(name).ok().flatten()
    }

    fn user_name(&self) -> Option<String> {
        let git_directory = self.git.git_directory();
        super::program::setting(&self.environment, git_directory, git_directory, &["--get", "user.name"])
            .ok()
            .flatten()
            .map(|name| String::from_utf8_lossy(&name).into_owned())
    }
}

/// A commit's bytes, read.
struct Parsed {
    tree: Id,
    parents: Vec<Id>,
    author: Actor,
    time: i64,
    /// Where the message begins.
    message: usize,
}

fn parse(bytes: &[u8], format: Format) -> Option<Parsed> {
    let id = |digits: &[u8]| Id::from_hex(digits).filter(|id| id.format() == format);
    let mut parsed =
        Parsed { tree: Id::Sha1([0; 20]), parents: Vec::new(), author: Actor::default(), time: 0, message: 0 };
    let (mut has_tree, mut has_author) = (false, false);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        parsed.message += line.len();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        if let Some(digits) = line.strip_prefix(b"tree ").filter(|_| !has_tree) {
            (parsed.tree, has_tree) = (id(digits)?, true);
        } else if let Some(digits) = line.strip_prefix(b"parent ").filter(|_| !has_author) {
            parsed.parents.push(id(digits)?);
        } else if let Some(who) = line.strip_prefix(b"author ").filter(|_| !has_author) {
            (parsed.author, has_author) = (actor(who), true);
        } else if let Some(who) = line.strip_prefix(b"committer ") {
            parsed.time = time(who).unwrap_or_default();
        }
    }
    has_tree.then_some(parsed)
}

/// `name <email> seconds zone`.
fn actor(line: &[u8]) -> Actor {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes.trim_ascii()).into_owned();
    let end = line.iter().rposition(|byte| *byte == b'>').unwrap_or(line.len());
    let open = line.iter().position(|byte| *byte == b'<').filter(|open| *open < end);
    match open {
        Some(open) => Actor { name: text(&line[..open]), email: text(&line[open + 1..end]) },
        None => Actor { name: text(&line[..end]), email: String::new() },
    }
}

fn time(line: &[u8]) -> Option<i64> {
    let end = line.iter().rposition(|byte| *byte == b'>')?;
    let seconds = line[end + 1..].split(|byte| *byte == b' ').find(|word| !word.is_empty())?;
    std::str::from_utf8(seconds).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_read_or_refused() {
        let id = "a".repeat(40);
        let text = format!(
            "tree {id}\nparent {id}\nauthor A B <a@b> 1 +0000\ncommitter C <c> -7 +0100\ngpgsig x\n y\n\n\nhello\n"
        );
        let parsed = parse(text.as_bytes(), Format::Sha1).unwrap();
        assert_eq!((parsed.parents.len(), parsed.time), (1, -7));
        assert_eq!((parsed.author.name.as_str(), parsed.author.email.as_str()), ("A B", "a@b"));
        assert_eq!(&text[parsed.message..], "\nhello\n");
        assert!(parse(text.as_bytes(), Format::Sha256).is_none());
        for bad in ["", "\n", "tree x\n\n", "author A <a> 1 +0000\n\n"] {
            assert!(parse(bad.as_bytes(), Format::Sha1).is_none(), "{bad:?}");
        }
        for odd in ["author", "author ", "author <", "author >", "author > <", "author a <b", "committer >"] {
            let text = format!("tree {id}\n{odd}\n\nm");
            assert_eq!(&text[parse(text.as_bytes(), Format::Sha1).unwrap().message..], "m", "{odd}");
        }
    }
}
