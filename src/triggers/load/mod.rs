//! From the bytes of a table to a [`Table`], or to an error that points into the file.
//!
//! The way is: bytes to text, text to a tree with places (`tree`), tree to rows and policy (`rows`, `policy`). What
//! keeps the text from being read at all is reported alone; what is wrong with its meaning is collected and reported
//! together. Nothing here reads a file, knows a role by itself, or can panic on any bytes.

mod ceiling;
mod policy;
mod reader;
mod rows;
mod tree;
pub(in crate::triggers) mod values;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use self::reader::Reader;
use self::tree::{Node, Value};
use super::{ArtifactRules, HookRules, Table, Vocabulary};
use crate::diagnostic::{Colour, Diagnostic, Source};
use crate::error::{Error, Result};
use crate::ids::Digest;
use crate::policy::Policy;
use crate::policy::ceiling::Ceiling;
use crate::text;

/// What a table is called, at the top of the worktree.
pub const FILE_NAME: &str = "triggers.yaml";

/// The largest table, in bytes. A hook reads it at every commit; a table of a hundred rows has 20 KiB.
pub const MAX_BYTES: u64 = 256 << 10;

/// The version of the format.
const VERSION: u64 = 1;

/// The keys at the top of the file.
const KEYS: &[&str] = &["version", "runtime", "triggers", "policy", "artifacts", "hook"];

/// What is wrong with a file, ready to be drawn. Never empty.
#[derive(Debug)]
pub struct Problems {
    file_name: String,
    hint: &'static str,
    text: String,
    list: Vec<Diagnostic>,
}

impl Problems {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// All of them as a screen shows them, without a trailing newline.
    pub fn render(&self, colour: Colour) -> String {
        self.source().render_all(&self.list, colour)
    }

    /// As an error: the first one with its place is the sentence, the excerpt shows all.
    pub fn into_error(self, colour: Colour) -> Error {
        let mut message = match self.list.first() {
            Some(first) => {
                let place = self.source().place(first.primary.span.start);
                format!("{place}: {}", text::one_line(&text::clipped(&first.message, 200)))
            }
            None => text::one_line(&self.file_name),
        };
        if self.list.len() > 1 {
            write!(message, " (and {} more)", self.list.len() - 1).ok();
        }
        Error::usage(message).excerpt(self.render(colour)).hint(self.hint)
    }

    fn source(&self) -> Source<'_> {
        Source { name: &self.file_name, text: &self.text }
    }
}

/// The table that these bytes hold, strictly checked. The error is of kind [`Usage`](crate::error::Kind::Usage), its
/// excerpt is plain text; `file_name` is what it calls the file.
pub fn table(bytes: &[u8], file_name: &str, vocabulary: &Vocabulary<'_>) -> Result<Table> {
    check(bytes, file_name, vocabulary).map_err(|problems| problems.into_error(Colour::Plain))
}

/// Whether a row of this table may listen to the hook of this name, as far as its characters tell: `false` is sure, and
/// costs a hundredth of loading it. It does not say whether the table is sound. YAML spells a word of letters and
/// hyphens as it is, or with an escape.
pub fn may_name(bytes: &[u8], hook: &str) -> bool {
    std::str::from_utf8(bytes).map_or(true, |text| text.contains(hook) || text.contains('\\'))
}

/// [`table`], for who wants to draw the problems itself.
pub fn check(bytes: &[u8], file_name: &str, vocabulary: &Vocabulary<'_>) -> Result<Table, Box<Problems>> {
    let hint = "`git orchestrator validate` checks the file, `git orchestrator schema triggers` describes it";
    strictly(bytes, file_name, hint, |reader, root, text| document(reader, root, vocabulary, text, Digest::of(bytes)))
}

/// A person's own ceiling, checked as strictly as a table.
pub fn ceiling(bytes: &[u8], file_name: &str, vocabulary: &Vocabulary<'_>) -> Result<Ceiling> {
    let hint = "it may hold version, autonomy, sandbox, network, commands, limits, roles and budget; \
                `git orchestrator policy show` says what holds";
    strictly(bytes, file_name, hint, |reader, root, _| ceiling::document(reader, root, vocabulary))
        .map_err(|problems| problems.into_error(Colour::Plain))
}

/// Where each value of a file stands, by the keys that lead to it (`policy.roles.tester.sandbox`), as lines from 1. A list
/// has a place for each of its texts, behind a colon (`policy.roles.tester.commands:ls`). Empty for what does not parse.
pub fn places(bytes: &[u8]) -> BTreeMap<String, usize> {
    let Ok(text) = decode(bytes) else { return BTreeMap::new() };
    tree::parse(text).map(|root| ceiling::places(text, &root)).unwrap_or_default()
}

fn strictly<T>(
    bytes: &[u8],
    file_name: &str,
    hint: &'static str,
    document: impl FnOnce(&mut Reader<'_>, &Node, &str) -> Option<T>,
) -> Result<T, Box<Problems>> {
    let problems = |text: &str, list: Vec<Diagnostic>| {
        Box::new(Problems { file_name: file_name.to_owned(), hint, text: text.to_owned(), list })
    };
    let text = decode(bytes).map_err(|refused| problems(&refused.text, vec![refused.problem]))?;
    if let Some(tab) = tab(text) {
        return Err(problems(text, vec![tab]));
    }
    let root = tree::parse(text).map_err(|problem| problems(text, vec![*problem]))?;
    let mut reader = Reader::new(text);
    match document(&mut reader, &root, text) {
        Some(value) if reader.problems.is_empty() => Ok(value),
        _ => {
            reader.problems.sort_by_key(|problem| problem.primary.span.start);
            Err(problems(text, reader.problems))
        }
    }
}

struct Undecodable {
    /// The file with what is no text made visible.
    text: String,
    problem: Diagnostic,
}

/// The bytes as text.
fn decode(bytes: &[u8]) -> Result<&str, Box<Undecodable>> {
    /// As much of a file that is no text as an excerpt may need.
    const SHOWN: usize = 64 << 10;
    let refuse = |text: &str, problem| Box::new(Undecodable { text: text.to_owned(), problem });
    if bytes.len() as u64 > MAX_BYTES {
        let message = format!("the file has {}, over the limit of {}", size(bytes.len()), text::bytes(MAX_BYTES));
        let start = bytes.get(..SHOWN).unwrap_or(bytes);
        let text = String::from_utf8_lossy(start);
        let first_line = text.lines().next().unwrap_or_default();
        let problem = Diagnostic::new(0..0, message, "this file").help("is it the right file? a table has a few KiB");
        return Err(refuse(text::prefix_bytes(first_line, 200), problem));
    }
    let error = match std::str::from_utf8(bytes) {
        Ok(text) => {
            if !text.starts_with('\u{feff}') {
                return Ok(text);
            }
            let problem = Diagnostic::new(0..3, "the file begins with a byte order mark", "three invisible bytes")
                .help("save it as UTF-8 without a byte order mark (BOM)");
            return Err(refuse(text, problem));
        }
        Err(error) => error,
    };
    let at = error.valid_up_to();
    let bad = bytes.get(at).copied().unwrap_or_default();
    let mark = format!("\\x{bad:02x}");
    let valid = String::from_utf8_lossy(bytes.get(..at).unwrap_or_default());
    let rest = String::from_utf8_lossy(bytes.get(at + 1..).unwrap_or_default());
    let text = format!("{valid}{mark}{}", text::prefix_bytes(&rest, 200));
    let wide = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    let help =
        if wide { "it looks like UTF-16: save it as UTF-8" } else { "save it as UTF-8: this byte looks like Latin-1" };
    let problem = Diagnostic::new(at..at + mark.len(), "the file is not UTF-8", format!("byte 0x{bad:02x}")).help(help);
    Err(refuse(&text, problem))
}

fn size(bytes: usize) -> String {
    text::bytes(bytes as u64)
}

/// A tab in the indentation. The parser finds most of them, but not always at the tab.
fn tab(text: &str) -> Option<Diagnostic> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let content = line.trim_start_matches([' ', '\t']);
        let indentation = line.get(..line.len() - content.len()).unwrap_or_default();
        if let Some(at) = indentation.find('\t')
            && !content.trim_end().is_empty()
            && !content.starts_with('#')
        {
            let tabs = indentation.get(at..).map_or(1, |rest| rest.len() - rest.trim_start_matches('\t').len());
            let span = start + at..start + at + tabs;
            return Some(
                Diagnostic::new(span, "a tab in the indentation", "a tab: YAML takes spaces only")
                    .help("indent with two spaces, and set your editor to do so in YAML files"),
            );
        }
        start += line.len();
    }
    None
}

fn document(
    reader: &mut Reader<'_>,
    root: &Node,
    vocabulary: &Vocabulary<'_>,
    text: &str,
    digest: Digest,
) -> Option<Table> {
    if matches!(root.value, Value::Null) {
        reader.problem(
            Diagnostic::new(0..0, "the file holds no table", "nothing but blanks and comments")
                .help("`git orchestrator install` writes a starter; the least is `version: 1` and `triggers: []`"),
        );
        return None;
    }
    let fields = reader.fields_beside(
        root,
        "the table",
        KEYS,
        &[("policy", policy::KEYS), ("artifacts", policy::ARTIFACT_KEYS), ("hook", policy::HOOK_KEYS)],
    )?;
    let help = "begin the file with `version: 1`";
    let version = reader.required(&fields, "version", "the table", help);
    if let Some(node) = version
        && let Some(version) = reader.integer(node, "`version`", "write `version: 1`")
        && version != VERSION
    {
        let help = if version > VERSION {
            "update git-orchestrator, or write the table in version 1"
        } else {
            "write `version: 1`"
        };
        let message = format!("this is version {version} of the format, this program reads version {VERSION}");
        // The rest follows rules that are not known here: saying more would be guessing.
        reader.problems = vec![Diagnostic::new(node.span.clone(), message, "not a version it knows").help(help)];
        return None;
    }
    let runtime = fields.get("runtime").and_then(|node| rows::runtime(reader, node, vocabulary));
    let newlines: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line_of = |at: usize| newlines.partition_point(|newline| *newline < at) + 1;
    let triggers =
        reader.required(&fields, "triggers", "the table", "add `triggers:` with a list of rows, or `triggers: []`");
    let triggers = triggers.map(|node| rows::rows(reader, node, vocabulary, line_of)).unwrap_or_default();
    let (policy, from) =
        fields.get("policy").map_or_else(|| (Policy::default(), None), |node| policy::policy(reader, node, vocabulary));
    let artifacts = fields.get("artifacts").map_or_else(ArtifactRules::default, |node| policy::artifacts(reader, node));
    let hook = fields.get("hook").map_or_else(HookRules::default, |node| policy::hook(reader, node));
    let default_runtime = || vocabulary.runtimes.first().map_or_else(String::new, |name| (*name).to_owned());
    Some(Table { from, runtime: runtime.unwrap_or_else(default_runtime), triggers, policy, artifacts, hook, digest })
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::{KEYS, Vocabulary, policy, rows};
    use crate::event::Hook;
    use crate::policy::Autonomy;
    use crate::run::State;
    use crate::triggers::SCHEMA_JSON;

    fn sorted<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_look_at_the_characters_denies_is_not_in_the_table() {
        let vocabulary = Vocabulary { roles: &["tester"], runtimes: &["codex-exec"], contract: |_| unreachable!() };
        let table = |on: &str| format!("version: 1\ntriggers:\n  - {{ name: a, role: tester, on: {on} }}\n");
        for hook in Hook::INSTALLED {
            let name = hook.as_str();
            let spelt = |from: &str, to: &str| name.replace(from, to);
            for (on, names) in [
                (name.to_owned(), true),
                (format!("'{name}'"), true),
                (format!("\"{}\"", spelt("-", "\\x2d")), true),
                (format!("\"{}\"", spelt("-", "-\\\n      ")), true),
                (format!("\"{}\"", spelt("-", "-\n      ")), false),
                (spelt("-", "-\n      "), false),
                (format!("\"{}\"", spelt("p", "\\u0070")), name.contains('p')),
            ] {
                let text = table(&on);
                let loaded = super::table(text.as_bytes(), "t", &vocabulary);
                let listens = |table: crate::triggers::Table| {
                    table.triggers.iter().any(|row| row.on.contains(&crate::triggers::Source::Hook(hook)))
                };
                assert_eq!(loaded.is_ok_and(listens), names, "{text}");
                assert_eq!(super::may_name(text.as_bytes(), name), names, "{text}");
            }
        }
        assert!(super::may_name(b"\xff", "post-commit"), "a table that does not read is told of");
    }

    /// The schema is written by hand, since the loader reads a tree and has no types to derive it from: it must name
    /// the same keys and words.
    #[test]
    fn the_schema_names_what_the_loader_knows() {
        let schema: Json = serde_json::from_str(SCHEMA_JSON).unwrap();
        let keys = |pointer: &str| {
            let properties = schema.pointer(&format!("{pointer}/properties")).unwrap().as_object().unwrap();
            assert_eq!(
                schema.pointer(&format!("{pointer}/additionalProperties")),
                Some(&Json::Bool(false)),
                "{pointer}"
            );
            sorted(properties.keys().map(String::as_str))
        };
        for (pointer, known) in [
            ("", KEYS),
            ("/$defs/row", rows::KEYS),
            ("/$defs/when", rows::WHEN_KEYS),
            ("/$defs/source/anyOf/1", rows::RUN_KEYS),
            ("/$defs/policy", policy::KEYS),
            ("/$defs/role-policy", policy::ROLE_KEYS),
            ("/$defs/limits", policy::LIMIT_KEYS),
            ("/$defs/budget", policy::BUDGET_KEYS),
            ("/$defs/artifacts", policy::ARTIFACT_KEYS),
            ("/$defs/hook", policy::HOOK_KEYS),
        ] {
            assert_eq!(keys(pointer), sorted(known.iter().copied()), "{pointer}");
        }
        let words = |pointer: &str| {
            let words = schema.pointer(pointer).unwrap().as_array().unwrap();
            sorted(words.iter().map(|word| word.as_str().unwrap()))
        };
        let ends = State::ALL.into_iter().filter(|state| state.is_terminal()).map(State::as_str);
        assert_eq!(words("/$defs/source/anyOf/1/properties/state/enum"), sorted(ends));
        assert_eq!(words("/$defs/source/anyOf/0/enum"), sorted(Hook::INSTALLED.into_iter().map(Hook::as_str)));
        assert_eq!(words("/$defs/row/properties/gate/enum"), sorted(rows::GATES.iter().copied()));
        assert_eq!(words("/$defs/row/properties/coalesce/enum"), sorted(rows::COALESCE.iter().map(|(name, _)| *name)));
        assert_eq!(
            words("/$defs/policy/properties/autonomy/enum"),
            sorted(Autonomy::ALL.into_iter().map(Autonomy::as_str))
        );
    }
}
