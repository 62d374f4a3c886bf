//! Paths as text: where they lead, and whether that is inside the workspace. Nothing here looks at the disk; what a link
//! does is for the sandbox.

use super::line::{Join, Word};
use super::schema::Objection;

/// Where `path` leads from `base`, without `.` and `..`; `None` where neither is absolute.
pub(in crate::policy) fn resolved(base: &str, path: &str) -> Option<String> {
    let begin = match (path.starts_with('/'), base.starts_with('/')) {
        (true, _) => "",
        (false, true) => base,
        (false, false) => return None,
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in begin.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    Some(format!("/{}", parts.join("/")))
}

/// What of an absolute path that was resolved stands behind `root`; `None`: it does not lie below it.
pub(in crate::policy) fn behind<'a>(root: &str, path: &'a str) -> Option<&'a str> {
    match path.strip_prefix(root.trim_end_matches('/'))? {
        "" => Some(""),
        rest => rest.strip_prefix('/'),
    }
}

/// Whether an absolute path that was resolved is `root` or lies below it.
pub(super) fn is_below(root: &str, path: &str) -> bool {
    behind(root, path).is_some()
}

/// In which directories a line may be, while it is read: a `cd` can fail, and then the line goes on where it was.
pub(super) struct Places {
    /// All that it may be in.
    all: Vec<String>,
    /// Where it is if everything since the last `;` or `||` was done.
    chain: Vec<String>,
    after_cd: bool,
}

/// The most directories that one line may be in. Who types so many `cd`?
const PLACES_MAX: usize = 8;

impl Places {
    pub(super) fn at(directories: &[String]) -> Self {
        Self { all: directories.to_vec(), chain: directories.to_vec(), after_cd: false }
    }

    /// Where the next command may run, which is joined like this.
    pub(super) fn before(&mut self, join: Join) -> Vec<String> {
        let certain = join == Join::And || (join == Join::Pipe && !self.after_cd);
        if !certain {
            self.chain.clone_from(&self.all);
        }
        self.after_cd = false;
        self.chain.clone()
    }

    /// `cd target`. In a pipeline it moves nobody but itself, in some shells.
    pub(super) fn change(&mut self, target: &str, in_pipeline: bool) -> Result<(), Objection> {
        let mut next: Vec<String> = Vec::new();
        let stayed = if in_pipeline { self.chain.clone() } else { Vec::new() };
        for place in stayed.into_iter().chain(self.chain.iter().filter_map(|from| resolved(from, target))) {
            if !next.contains(&place) {
                next.push(place);
            }
        }
        for place in &next {
            if !self.all.contains(place) {
                self.all.push(place.clone());
            }
        }
        self.chain = next;
        self.after_cd = true;
        if self.all.len() > PLACES_MAX {
            let reason = "after so many `cd` nobody can tell where the line is";
            return Err(Objection::Deny("moved", reason.to_owned()));
        }
        Ok(())
    }
}

/// The words of a command with the paths inside the workspace written as from its top; or the objection to one that leads
/// out of it.
pub(super) fn inside(root: &str, directories: &[String], words: &[Word]) -> Result<Vec<Word>, Objection> {
    let pattern = pattern_at(words);
    let mut out = Vec::with_capacity(words.len());
    for (at, word) in words.iter().enumerate() {
        let is_path = at > 0 && pattern != Some(at);
        if is_path && directories.iter().any(|base| leads_out(root, base, word)) {
            return Err(Objection::Escalate("outside", format!("`{}` leads out of the workspace", word.text)));
        }
        let from_top = directories.first().filter(|_| is_path).and_then(|base| from_top(root, base, word));
        out.push(from_top.unwrap_or_else(|| word.clone()));
    }
    Ok(out)
}

/// Which word is a pattern or a program and no path, for tools that take one first.
fn pattern_at(words: &[Word]) -> Option<usize> {
    const TOOLS: &[&str] = &["rg", "grep", "egrep", "fgrep", "sed", "awk", "gawk", "mawk", "jq", "fd", "fdfind"];
    let name = words.first()?;
    let from = if name.is("git") && words.get(1)?.is("grep") { 2 } else { 1 };
    if from == 1 && !TOOLS.iter().any(|tool| name.is(tool)) {
        return None;
    }
    for (at, word) in words.iter().enumerate().skip(from) {
        let text = word.fixed();
        let Some(option) = text.strip_prefix('-').filter(|rest| !rest.is_empty()) else { return Some(at) };
        // An option that gives the pattern, or says that there is none.
        let gives = match option.strip_prefix('-') {
            Some(long) => {
                ["regexp", "file", "expression", "type-list", "and"].iter().any(|name| long.starts_with(name))
            }
            None => option.contains(['e', 'f']),
        };
        if gives {
            return None;
        }
    }
    None
}

/// Whether this word, or the value in it, is a path that leads out of the workspace to where people's things lie.
fn leads_out(root: &str, base: &str, word: &Word) -> bool {
    candidates(&word.text).any(|path| {
        let climbs = path.split('/').any(|part| part == "..");
        if !(climbs || path.starts_with('/')) {
            return false;
        }
        let Some(target) = resolved(base, path) else { return true };
        !is_below(root, &target) && (!path.starts_with('/') || !is_shown(&target))
    })
}

/// What of a word can be a path: all of it, what is behind `=`, what is behind a letter of an option.
fn candidates(text: &str) -> impl Iterator<Item = &str> {
    let value = text.split_once('=').map(|(_, value)| value);
    let attached = text.strip_prefix('-').filter(|rest| !rest.starts_with('-')).and_then(|rest| {
        let mut letters = rest.chars();
        letters.next()?;
        Some(letters.as_str())
    });
    [Some(text), value, attached].into_iter().flatten()
}

/// Whether an absolute path shows what belongs to the system, or nothing that could exist: `/api/v1` is a route.
fn is_shown(path: &str) -> bool {
    const PRIVATE: &[&str] = &[
        "home", "root", "Users", "var", "tmp", "run", "mnt", "media", "srv", "proc", "sys", "dev", "private", "Volumes",
    ];
    const SHOWN: &[&str] = &["/dev/null", "/dev/stdin", "/proc/cpuinfo", "/proc/meminfo", "/proc/version"];
    let top = path.split('/').find(|part| !part.is_empty());
    SHOWN.contains(&path) || top.is_some_and(|top| !PRIVATE.contains(&top))
}

/// The word as it would stand at the top of the workspace, where it is a path inside that is spelled in full or climbs.
/// `None`: it stays as it is.
fn from_top(root: &str, base: &str, word: &Word) -> Option<Word> {
    let (option, path) = match word.text.split_once('=') {
        Some((name, path)) if name.starts_with("--") => (word.text.get(..=name.len())?, path),
        _ => ("", word.text.as_str()),
    };
    if word.home || word.open.is_some() || !(path.starts_with('/') || path.starts_with("../")) {
        return None;
    }
    let target = resolved(base, path)?;
    let text = format!("{option}./{}", behind(root, &target)?);
    Some(Word { text, open: None, home: false, span: word.span.clone() })
}
