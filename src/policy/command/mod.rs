//! Whether a shell line may run: parsed, split into its commands, each compared with the allow-list and judged by what
//! is known of the tool.
//!
//! A line is allowed only if it is fully static ([`mod@line`], confirmed by [`grammar`]) and every command in it is allowed:
//! its words begin with a listed prefix, and the rest is an argument list that `schema` knows to be harmless. A tool
//! without a schema is allowed with exactly the listed words. Commands that run another one (`timeout`, `bash -c`) are
//! judged by that one. What cannot be decided is denied; what is visible and only not listed is escalated.

mod awk;
pub mod grammar;
mod interpreters;
pub mod line;
mod options;
pub(in crate::policy) mod paths;
mod schema;
mod scripts;
mod sed;
mod wrappers;

use std::sync::Arc;

use self::interpreters::{INTERPRETERS, base_name, interpreter};
use self::line::{Simple, Undecidable, Word};
use self::paths::Places;
use self::schema::{Objection, Schemas, built_in};
use super::checkout::Checkout;
use super::gatekeeper::{Decision, Verdict};
use crate::text;

/// Commands that change nothing but where the next one runs, or nothing at all: these need no entry.
const ALWAYS: &[&str] = &["cd", "true", "false", ":", "set", "exit"];

/// Commands that change the shell which runs the next one, or hide what runs.
const SHELL_STATE: &[&str] = &[
    ".",
    "source",
    "eval",
    "exec",
    "export",
    "declare",
    "typeset",
    "local",
    "readonly",
    "unset",
    "setopt",
    "shopt",
    "alias",
    "unalias",
    "trap",
    "enable",
    "builtin",
    "hash",
    "bind",
    "let",
    "read",
    "mapfile",
    "readarray",
    "getopts",
    "ulimit",
    "umask",
    "wait",
    "kill",
    "jobs",
    "fg",
    "bg",
    "disown",
    "logout",
    "return",
    "break",
    "continue",
    "shift",
    "float",
    "integer",
    "zmodload",
    "autoload",
    "emulate",
    "functions",
    "fc",
    "history",
    "compgen",
    "complete",
    "pushd",
    "popd",
];

/// The command prefixes a role may run.
#[derive(Clone, Debug, Default)]
pub struct Commands {
    entries: Vec<Vec<String>>,
    /// The absolute path of the workspace, where it is known.
    root: Option<String>,
    /// What lies there, where that may be looked at.
    checkout: Option<Arc<Checkout>>,
}

/// What became of one command: the entry it rests on.
type Judged = Result<String, Objection>;

/// What is known while a line is judged.
#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about where a command stands")]
struct Frame<'a> {
    depth: usize,
    /// The directories in one of which it runs; `None` where the workspace is not known.
    directories: Option<&'a [String]>,
    /// It reads what another command writes.
    piped: bool,
    /// It may run in another directory than the line began in.
    moved: bool,
    /// It runs in a directory where anybody may write.
    foreign: bool,
    /// Words will be added to it (`xargs`), so that it is not what it looks like.
    grows: bool,
}

impl Commands {
    /// The prefixes as they stand in a policy; one that is not plain words allows nothing.
    pub fn new<S: AsRef<str>>(prefixes: impl IntoIterator<Item = S>) -> Self {
        let words = |prefix: S| {
            let mut commands = line::split(prefix.as_ref()).ok()?.into_iter();
            let words = commands.next().filter(|_| commands.next().is_none())?.words;
            words
                .iter()
                .all(|word| word.open.is_none() && !word.home)
                .then(|| words.into_iter().map(|w| w.text).collect())
        };
        Self { entries: prefixes.into_iter().filter_map(words).collect(), root: None, checkout: None }
    }

    /// The same for a workspace at this absolute path: what leads out of it is not allowed.
    #[must_use]
    pub fn within(self, root: &str) -> Self {
        Self { root: Some(root.to_owned()), ..self }
    }

    /// The same where the disk shows which repository git would work in: in none but the checkout's own.
    #[must_use]
    pub fn looking_at(self, checkout: Checkout) -> Self {
        Self { checkout: Some(Arc::new(checkout)), ..self }
    }

    /// What may happen with this line at the top of the workspace.
    pub fn judge(&self, line: &str) -> Decision {
        self.judge_in(line, None)
    }

    /// What may happen with this line in this directory, absolute. Without a workspace it says nothing.
    pub fn judge_in(&self, line: &str, directory: Option<&str>) -> Decision {
        let judged = match (self.root.as_deref(), directory) {
            (Some(root), directory) => {
                let directory = directory.unwrap_or(root);
                match paths::resolved(directory, "") {
                    Some(absolute) if paths::is_below(root, &absolute) => {
                        self.line(line, Frame { directories: Some(&[absolute]), ..Frame::default() })
                    }
                    // Whatever else is wrong with the line goes first.
                    _ => self.line(line, Frame::default()).and_then(|_| {
                        let reason = format!("it would run in `{directory}`, which is not in the workspace");
                        Err(escalate("outside", &reason))
                    }),
                }
            }
            (None, _) => self.line(line, Frame::default()),
        };
        match judged {
            Ok(entries) => Decision {
                verdict: Verdict::Allow,
                rule: entries.join(", "),
                reason: "every command in it is listed, and its options are known to be harmless".to_owned(),
            },
            Err(Objection::Deny(rule, reason)) => decision(Verdict::Deny, rule, &reason),
            Err(Objection::Escalate(rule, reason)) => decision(Verdict::Escalate, rule, &reason),
        }
    }

    fn line(&self, line: &str, outer: Frame<'_>) -> Result<Vec<String>, Objection> {
        let undecidable = |why: Undecidable| Objection::Deny(why.rule(), why.to_string());
        let commands = line::split(line).map_err(undecidable)?;
        grammar::confirm(line, &commands).map_err(undecidable)?;
        let mut entries: Vec<String> = Vec::new();
        let mut worst = None;
        let Frame { mut moved, mut foreign, .. } = outer;
        let mut places = outer.directories.map(Places::at);
        for (number, Simple { join, words }) in commands.iter().enumerate() {
            let here = places.as_mut().map(|places| places.before(*join)).unwrap_or_default();
            let piped = outer.piped || *join == line::Join::Pipe;
            let directories = outer.directories.map(|_| here.as_slice());
            let frame = Frame { directories, piped, moved, foreign, ..outer };
            if words.first().is_some_and(|name| name.is("cd")) {
                moved = true;
                let target = words.last().map_or("", |word| word.text.as_str());
                let in_pipeline = *join == line::Join::Pipe
                    || commands.get(number + 1).is_some_and(|next| next.join == line::Join::Pipe);
                match &mut places {
                    Some(places) => places.change(target, in_pipeline)?,
                    None => foreign |= words.iter().any(|word| in_shared_directory(&word.text)),
                }
            }
            match self.command(words, frame) {
                Ok(entry) if entries.contains(&entry) => {}
                Ok(entry) => entries.push(entry),
                // One that may not run at all outweighs one that somebody could let run.
                Err(objection @ Objection::Deny(..)) => return Err(objection),
                Err(objection) => worst = worst.or(Some(objection)),
            }
        }
        worst.map_or(Ok(entries), Err)
    }

    fn command(&self, words: &[Word], frame: Frame<'_>) -> Judged {
        let entry = self.by_words(words, frame)?;
        match self.other_repository(words, frame) {
            None => Ok(entry),
            Some(place) => Err(escalate(
                "other-repository",
                &format!("git would execute what the repository in `{place}` names in its own configuration"),
            )),
        }
    }

    fn other_repository(&self, words: &[Word], frame: Frame<'_>) -> Option<String> {
        let (name, arguments) = words.split_first()?;
        if base_name(&name.text) != "git" {
            return None;
        }
        let arguments: Vec<&str> = arguments.iter().map(|word| word.text.as_str()).collect();
        self.checkout.as_ref()?.other_repository(frame.directories?, &arguments)
    }

    fn by_words(&self, words: &[Word], frame: Frame<'_>) -> Judged {
        let Some(name) = words.first() else { return Err(deny("empty", "there is no command in it")) };
        if name.open.is_some() || name.home || name.text.is_empty() {
            return Err(deny("program", "the program's name is not spelled out"));
        }
        if let Some(secret) = words.iter().find(|word| names_secrets(word.fixed())) {
            return Err(deny("secrets", &format!("`{}` is a place where secrets are kept", secret.text)));
        }
        let name = name.text.as_str();
        if SHELL_STATE.contains(&name) {
            return Err(deny("shell-state", &format!("`{name}` changes what the shell does next, or hides it")));
        }
        if let Some(judged) = self.wrapped(name, words, frame) {
            return judged;
        }
        let schemas = built_in();
        let exact = self.exact(words, frame)?;
        let inside = match (self.root.as_deref(), frame.directories, &exact) {
            (Some(root), Some(directories), None) => Some(paths::inside(root, directories, words)?),
            _ => None,
        };
        let words = inside.as_deref().unwrap_or(words);
        interpreter(words, frame, exact.is_some() || schemas.of(words).is_some())?;
        if let Some(entry) = exact {
            return Ok(entry);
        }
        let plain = schemas.without_global_options(words)?;
        let listed = if ALWAYS.contains(&name) { Some((name.to_owned(), 1)) } else { self.prefix_of(words, &plain) };
        let Some(schema) = schemas.of(&plain) else {
            return Err(match listed {
                Some((entry, _)) => escalate(
                    "exact-arguments",
                    &format!("`{entry}` is allowed with exactly these words: nothing is known of its arguments"),
                ),
                None => not_listed(name),
            });
        };
        // Git runs what the configuration there names.
        let runs = schema.runs || name == "git";
        let elsewhere =
            name == "git" && words.iter().skip(1).any(|word| in_shared_directory(word.text.trim_start_matches("-C")));
        if runs && (frame.foreign || elsewhere) {
            return Err(in_foreign_directory(name));
        }
        match (schema.judge(&plain, listed.as_ref().map_or(0, |(_, words)| *words)), listed) {
            (Ok(()), Some((entry, _))) => Ok(entry),
            (Err(Objection::Deny(rule, reason)), _) => Err(Objection::Deny(rule, reason)),
            (Err(objection), Some(_)) => Err(objection),
            (_, None) => Err(not_listed(name)),
        }
    }

    /// The entry that is exactly these words, where that is enough: nothing is known of the tool, or the entry spells out
    /// its arguments.
    fn exact(&self, words: &[Word], frame: Frame<'_>) -> Result<Option<String>, Objection> {
        let same = |entry: &&Vec<String>| {
            entry.len() == words.len() && entry.iter().zip(words).all(|(listed, word)| word.is(listed))
        };
        let schema = built_in().of(words);
        let spelled = schema.is_none_or(|schema| schema.name.len() < words.len());
        let Some(entry) = self.entries.iter().find(same).filter(|_| spelled && !frame.grows) else { return Ok(None) };
        let runs_file = schema.is_none()
            && (entry.iter().any(|word| word.contains('/') && !word.starts_with('/'))
                || entry.first().is_some_and(|name| INTERPRETERS.contains(&base_name(name))));
        if frame.foreign && schema.is_none_or(|schema| schema.runs) {
            return Err(in_foreign_directory(&entry.join(" ")));
        }
        if frame.moved && runs_file {
            return Err(escalate(
                "moved",
                &format!("behind `cd`, `{}` can be another file than the one listed", entry.join(" ")),
            ));
        }
        Ok(Some(entry.join(" ")))
    }

    /// The longest entry that the words begin with, and how many of the `plain` ones (without global options) it holds.
    fn prefix_of(&self, words: &[Word], plain: &[Word]) -> Option<(String, usize)> {
        let skipped = words.len() - plain.len();
        let held = |entry: &Vec<String>| {
            let begins = |words: &[Word]| {
                entry.len() <= words.len() && entry.iter().zip(words).all(|(listed, word)| word.is(listed))
            };
            let whole = begins(words).then(|| entry.len().checked_sub(skipped)).flatten().filter(|held| *held > 0);
            whole.or_else(|| begins(plain).then_some(entry.len()))
        };
        let found = self.entries.iter().filter_map(|entry| Some((entry, held(entry)?)));
        found.max_by_key(|(_, held)| *held).map(|(entry, held)| (entry.join(" "), held))
    }
}

/// Whether a path leads to where anybody may write. One that climbs is taken to reach the root.
fn in_shared_directory(path: &str) -> bool {
    let mut parts: Vec<&str> = Vec::new();
    let mut at_root = path.starts_with('/');
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => at_root |= parts.pop().is_none(),
            name => parts.push(name),
        }
    }
    at_root && matches!(parts.as_slice(), ["tmp", ..] | ["var", "tmp", ..] | ["dev", "shm", ..])
}

/// Places that hold keys and passwords, by their names.
fn names_secrets(text: &str) -> bool {
    const DIRECTORIES: &[&str] =
        &[".ssh", ".gnupg", ".aws", ".kube", ".docker", ".azure", ".gcloud", ".password-store"];
    const FILES: &[&str] = &[".netrc", ".git-credentials", ".pypirc", ".pgpass", "shadow", "gshadow"];
    // In a repository these can be anything; at home and in the system they are what they are called.
    const AT_HOME: &[&str] = &[
        ".npmrc",
        "auth.json",
        "credentials",
        "credentials.toml",
        "credentials.json",
        "hosts.yml",
        "id_rsa",
        "id_ed25519",
        "id_ecdsa",
    ];
    let path = text.rsplit_once('=').map_or(text, |(_, path)| path);
    if !path.starts_with(['/', '~', '.']) {
        return false;
    }
    let last = path.rsplit('/').next().unwrap_or_default();
    if path.starts_with(['/', '~']) && AT_HOME.contains(&last) {
        return true;
    }
    path.split('/').any(|part| DIRECTORIES.contains(&part))
        || (FILES.contains(&last) && path.contains('/'))
        || (path.starts_with("/proc/") && (last == "environ" || last == "mem" || last == "cmdline"))
}

fn deny(rule: &'static str, reason: &str) -> Objection {
    Objection::Deny(rule, reason.to_owned())
}

fn escalate(rule: &'static str, reason: &str) -> Objection {
    Objection::Escalate(rule, reason.to_owned())
}

fn in_foreign_directory(name: &str) -> Objection {
    escalate("outside", &format!("`{name}` would run what lies in a directory where anybody may write"))
}

fn not_listed(name: &str) -> Objection {
    escalate("not-listed", &format!("no entry of `commands` covers this use of `{name}`"))
}

fn decision(verdict: Verdict, rule: &str, reason: &str) -> Decision {
    Decision { verdict, rule: rule.to_owned(), reason: text::one_line(reason) }
}

/// Reads all the data files.
pub fn schemas() -> &'static Schemas {
    built_in()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cases_of_the_data_files_hold() {
        let mut wrong = Vec::new();
        for (names, line, verdict) in &built_in().cases {
            let decided = Commands::new(names).judge(line);
            if format!("{:?}", decided.verdict).to_lowercase() != *verdict {
                wrong.push(format!("{line}: {decided:?}, not {verdict}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
