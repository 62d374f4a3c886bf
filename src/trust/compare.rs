//! What is here against what was accepted, as cheaply as it can be told: by what the system says of each file, and by its
//! bytes only where that differs. Nothing is parsed.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::closure::open_followed;
use super::record::{Accepted, Kind, Part, Seen};
use super::rules::{FILE_BYTES_MAX, Rules, is_executable};
use super::version;
use crate::error::{Context as _, Result};
use crate::event::path_text;
use crate::files;
use crate::git::shown;
use crate::ids::Digest;
use crate::triggers::load;

/// What differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// In what.
    pub kind: Kind,
    /// Where.
    #[serde(with = "path_text")]
    pub path: PathBuf,
    /// How.
    pub change: Change,
    /// Of a program: its versions, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub versions: Option<String>,
}

/// How a file differs from the accepted one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It was not there.
    Added,
    /// It is gone.
    Removed,
    /// Other bytes.
    Content,
    /// It may be executed now, or not any more.
    Mode,
    /// It cannot be read: why.
    Unreadable(String),
}

/// What differs in the files that the repository brings and in the hooks. `table` are the table's bytes, where the caller
/// has read them already.
///
/// A table that is gone starts nothing, and a hook file that is gone calls nobody: neither is a difference here.
pub fn differences(accepted: &Accepted, rules: &Rules<'_>, table: Option<&[u8]>) -> Vec<Difference> {
    let mut found = Vec::new();
    for (kind, path) in rules.listed() {
        let part = accepted.part(kind, &path);
        let change = match table.filter(|_| kind == Kind::Table) {
            Some(bytes) => match part {
                None => Some(Change::Added),
                Some(part) => (part.digest != Digest::of(bytes)).then_some(Change::Content),
            },
            None => of_repository(part, rules, kind, &path),
        };
        let change = change.filter(|change| kind != Kind::Table || *change != Change::Removed);
        found.extend(change.map(|change| Difference { kind, path, change, versions: None }));
    }
    for part in accepted.of_kind(Kind::Shim) {
        let change = outside(part, |path| {
            let Some(file) = open_followed(path)? else { return Ok(None) };
            files::read_open(file, path, FILE_BYTES_MAX).map(|bytes| Some(Digest::of(&bytes)))
        });
        let change = change.filter(|change| *change != Change::Removed);
        let (kind, path, versions) = (Kind::Shim, part.path.clone(), None);
        found.extend(change.map(|change| Difference { kind, path, change, versions }));
    }
    found
}

/// What differs in the programs that runs start. One that is gone starts nothing.
pub fn tools(accepted: &Accepted, now: &[PathBuf]) -> Vec<Difference> {
    let one = |path: &PathBuf| {
        let change = match accepted.part(Kind::Tool, path) {
            None => Some(Change::Added),
            Some(part) => outside(part, |path| {
                let Some(file) = open_followed(path)? else { return Ok(None) };
                let (digest, _) = Digest::of_reader(file).context(|| format!("cannot read {}", shown(path)))?;
                Ok(Some(digest))
            }),
        };
        let change = change.filter(|change| *change != Change::Removed)?;
        // One that was moved by an update lies elsewhere: there is one program, and it was another one.
        let before = accepted.part(Kind::Tool, path).or_else(|| accepted.of_kind(Kind::Tool).next());
        let versions = versions(before, version::of_program(path).as_deref());
        Some(Difference { kind: Kind::Tool, path: path.clone(), change, versions })
    };
    now.iter().filter_map(one).collect()
}

fn of_repository(part: Option<&Part>, rules: &Rules<'_>, kind: Kind, path: &Path) -> Option<Change> {
    match (rules.look(path), part) {
        (Some(Ok(meta)), Some(part)) if part.seen.as_ref() == Some(&Seen::of(&meta)) => return None,
        (Some(Ok(_)), None) => return Some(Change::Added),
        (Some(Err(error)), part) if error.kind() == ErrorKind::NotFound => return part.map(|_| Change::Removed),
        _ => {}
    }
    match (rules.read(kind, path), part) {
        (Err(error), _) => Some(Change::Unreadable(error.chain())),
        (Ok(None), None) => None,
        (Ok(Some(_)), None) => Some(Change::Added),
        (Ok(None), Some(_)) => Some(Change::Removed),
        (Ok(Some(read)), Some(part)) => changed(part, &Digest::of(&read.bytes), read.is_executable()),
    }
}

/// A file outside of the repository's rules, links followed as the system does when it runs it.
fn outside(part: &Part, hashed: impl Fn(&Path) -> Result<Option<Digest>>) -> Option<Change> {
    let meta = part.path.metadata();
    if let (Ok(meta), Some(seen)) = (&meta, &part.seen)
        && *seen == Seen::of(meta)
    {
        return None;
    }
    match hashed(&part.path) {
        Err(error) => Some(Change::Unreadable(error.chain())),
        Ok(None) => Some(Change::Removed),
        Ok(Some(digest)) => changed(part, &digest, meta.is_ok_and(|meta| is_executable(&meta))),
    }
}

fn changed(part: &Part, digest: &Digest, is_executable: bool) -> Option<Change> {
    if part.digest != *digest {
        return Some(Change::Content);
    }
    (part.is_executable != is_executable).then_some(Change::Mode)
}

/// The versions of a program in words, as far as they are known; `None` where the new one is not.
pub(super) fn versions(before: Option<&Part>, now: Option<&str>) -> Option<String> {
    let now = now?;
    match before.and_then(|part| part.version.as_deref()) {
        Some(before) if before == now => Some(format!("still called {now}")),
        Some(before) => Some(format!("{before} to {now}")),
        None => Some(format!("now {now}")),
    }
}

/// Whether nothing but programs differs: what the repository brings, and its hooks, are as they were accepted.
pub fn only_programs(differences: &[Difference]) -> bool {
    !differences.is_empty() && differences.iter().all(|found| found.kind == Kind::Tool)
}

/// What differs, as a sentence for one line.
pub fn sentence(differences: &[Difference]) -> String {
    let Some(first) = differences.first() else { return String::new() };
    let kind = if first.kind == Kind::Tool { "the program " } else { "" };
    let name = format!("{kind}{}", shown(&first.path));
    let what = match &first.change {
        Change::Added => format!("{name} is new"),
        Change::Removed => format!("{name} is gone"),
        Change::Content => format!("{name} changed"),
        Change::Mode => format!("the mode of {name} changed"),
        Change::Unreadable(why) => format!("{name} does not read: {why}"),
    };
    let more = match differences.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let versions = first.versions.as_ref().map_or_else(String::new, |versions| format!(" ({versions})"));
    let alone = if only_programs(differences) { "; nothing else changed" } else { "" };
    format!("{what}{versions}{more}, and nobody has accepted it{alone}")
}

/// Whether the table itself is among them.
pub fn has_table(differences: &[Difference]) -> bool {
    differences.iter().any(|found| found.kind == Kind::Table && found.path == Path::new(load::FILE_NAME))
}
