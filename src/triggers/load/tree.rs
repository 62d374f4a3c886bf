//! YAML text as a tree that knows where each of its values stands.
//!
//! Owns the parser's limits and the translation of what it says into sentences. It knows no key of the table. Anchors,
//! aliases, tags and second documents are not part of the format and are refused here, so that what a person reads is
//! what the program does.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::budget::BudgetBreach;
use serde_yaml::options::MergeKeyPolicy;
use serde_yaml::{DuplicateKeyPolicy, Location, NonFiniteFloatPolicy, Options, Spanned};

use crate::diagnostic::Diagnostic;

/// How deep lists and mappings may nest. The format needs six levels.
const MAX_DEPTH: usize = 16;

/// How many values a file may hold: far beyond what people write, little enough to be read within milliseconds.
const MAX_NODES: usize = 20_000;

/// A value and its place.
#[derive(Debug)]
pub(super) struct Node {
    /// Bytes of the file.
    pub(super) span: Range<usize>,
    pub(super) value: Value,
}

/// What YAML knows.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// Any number; what was written is taken from the span.
    Number,
    Text(String),
    List(Vec<Node>),
    /// In the order of the file; a key may stand twice.
    Map(Vec<(Key, Node)>),
}

impl Value {
    /// What it is, for the mark below it.
    pub(super) fn is(&self) -> &'static str {
        match self {
            Self::Null => "no value",
            Self::Bool(_) => "this is true or false",
            Self::Number => "this is a number",
            Self::Text(_) => "this is text",
            Self::List(_) => "this is a list",
            Self::Map(_) => "this is a mapping",
        }
    }
}

/// A key and its place.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) span: Range<usize>,
}

/// The value a text holds; `Err` is the one thing that keeps it from being YAML of this format.
pub(super) fn parse(text: &str) -> Result<Node, Box<Diagnostic>> {
    serde_yaml::from_str_with_options::<Spanned<Raw>>(text, options())
        .map(|root| node(root, text))
        .map_err(|error| Box::new(translate(text, &error)))
}

fn options() -> Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_anchors: 0,
            max_aliases: 0,
            max_documents: 1,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 3 * MAX_NODES,
        },
        // Both places of a duplicate are needed, so the keys come through and are compared here.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        reject_unsupported_tags: true,
        strict_booleans: true,
        with_snippet: false,
    }
}

/// The tree as the parser hands it over.
enum Raw {
    Null,
    Bool(bool),
    Number,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

fn node(raw: Spanned<Raw>, text: &str) -> Node {
    let span = span(raw.referenced, text);
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Bool(value) => Value::Bool(value),
        Raw::Number => Value::Number,
        Raw::Text(text) => Value::Text(text),
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(item, text)).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    (Key { span: self::span(key.referenced, text), name: key.value }, node(value, text))
                })
                .collect(),
        ),
    };
    Node { span, value }
}

/// The bytes at a location. The parser leaves out byte offsets in some of its errors; line and column are always there.
fn span(location: Location, text: &str) -> Range<usize> {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    if let (Some(start), Some(len)) = (location.span().byte_offset(), location.span().byte_len()) {
        let start = number(start).min(text.len());
        return start..start.saturating_add(number(len)).min(text.len());
    }
    let (line, column) = (number(location.line()), number(location.column()));
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let in_line = text.get(start..).unwrap_or_default().chars().take(column.saturating_sub(1)).map(char::len_utf8);
    let at = start + in_line.sum::<usize>();
    at..at
}

/// What the parser says, in terms of what the person wrote.
#[expect(clippy::wildcard_enum_match_arm, reason = "most of the parser's errors cannot happen in this format")]
fn translate(text: &str, error: &serde_yaml::Error) -> Diagnostic {
    use serde_yaml::Error as E;
    let at = error.location().map_or(0..0, |location| span(location, text));
    match error.without_snippet() {
        E::UnknownAnchor { .. } | E::AliasError { .. } => alias(text, at.start),
        E::Budget { breach, .. } => match breach {
            BudgetBreach::Anchors { .. } | BudgetBreach::Aliases { .. } => alias(text, at.start),
            BudgetBreach::Documents { .. } => {
                Diagnostic::new(at, "a second YAML document", "the first one ends above this line")
                    .help("keep one document in the file: remove this line and what follows")
            }
            BudgetBreach::Depth { .. } => too_deep(at),
            BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. } => {
                Diagnostic::new(at, format!("more than {MAX_NODES} values"), "the limit is reached here")
                    .help("a table of a few dozen rows does: gather patterns with globs")
            }
            _ => syntax(text, at, &sentence(error)),
        },
        E::NullIntoString { .. } | E::Unexpected { .. } => {
            Diagnostic::new(at, "a key has to be a plain word", "this is not one").help("each line is `key: value`")
        }
        E::UnsupportedTag { .. } => tag(text, at),
        _ => syntax(text, at, &sentence(error)),
    }
}

/// What only the sentence of the parser and the character it stopped at tell apart.
fn syntax(text: &str, at: Range<usize>, message: &str) -> Diagnostic {
    if message.contains("recursion limit") || message.contains("nesting") {
        return too_deep(at);
    }
    let found = text.get(at.start..).and_then(|rest| rest.chars().next());
    match found {
        Some(c @ ('@' | '`' | '%')) => {
            Diagnostic::new(at, format!("a value cannot begin with `{c}`"), "YAML reserves this character")
                .help("put the value in quotes")
        }
        Some(open @ ('{' | '[' | '"' | '\'')) if message.contains("unclosed") => {
            let close = match open {
                '{' => '}',
                '[' => ']',
                quote => quote,
            };
            Diagnostic::new(at, format!("this `{open}` is not closed"), "opened here")
                .help(format!("close it with `{close}`"))
        }
        Some(c) if c.is_control() && c != '\n' && c != '\r' => {
            Diagnostic::new(at, "a control character", "not text").help("remove it")
        }
        Some('*' | '&') if message.contains("anchor or alias") => alias(text, at.start),
        _ => match SLIPS.iter().find(|(said, ..)| message.contains(said)) {
            Some((_, problem, label, help)) => Diagnostic::new(at, *problem, *label).help(*help),
            None => Diagnostic::new(at, format!("this is not YAML: {message}"), "the parser stopped here").help(
                "look at the indentation, and for a quote or a bracket that is not closed, at this line and above it",
            ),
        },
    }
}

/// Common slips: what the parser's sentence contains, and what is told instead (sentence, mark, what to do). A parser
/// that words it otherwise some day is quoted as it is.
const SLIPS: &[(&str, &str, &str, &str)] = &[
    (
        "mapping values are not allowed",
        "this `:` cannot stand here",
        "a key where none is expected",
        "keys of one mapping begin in the same column, each with `: ` behind it; quote a value that holds `: `",
    ),
    (
        "simple key expected",
        "this line has no `: `",
        "neither a key nor a value",
        "write `key: value`, with a space behind the colon",
    ),
    (
        "did not find expected '-'",
        "this line does not belong to the row above it",
        "begins in another column",
        "indent it as deep as the first key of the row, which stands behind the `- `",
    ),
    (
        "block sequence entries are not allowed",
        "a list cannot begin here",
        "behind a colon",
        "begin it on the next line, one `- ` for each entry, or write `[\"a\", \"b\"]`",
    ),
    (
        "trailing content",
        "something stands behind the closing quote",
        "not part of the text",
        "remove it; inside single quotes write `''` for `'`; put several texts in brackets: [\"a\", \"b\"]",
    ),
    (
        "unknown escape",
        "a `\\` that YAML does not know",
        "in this text",
        "put it in single quotes, where `\\` means itself: '\\d+'",
    ),
];

/// A tag (`!name`), which is what an unquoted pattern that takes out looks like to YAML. The parser points behind it.
fn tag(text: &str, near: Range<usize>) -> Diagnostic {
    let at = token_before(text, near.start).unwrap_or(near);
    let word = text.get(at.clone()).unwrap_or_default();
    Diagnostic::new(at.clone(), format!("`{word}` is a YAML tag, not text"), "begins with `!`")
        .help(format!("put it in quotes: \"{word}\""))
}

fn too_deep(at: Range<usize>) -> Diagnostic {
    Diagnostic::new(at, format!("nested deeper than {MAX_DEPTH} levels"), "one level too many")
        .help("the format needs six levels: look for a bracket too many")
}

/// An anchor (`&name`) or an alias (`*name`), which is what an unquoted glob looks like to YAML.
fn alias(text: &str, near: usize) -> Diagnostic {
    let line_start = text.get(..near).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
    let here = text.get(near..).is_some_and(|rest| rest.starts_with('*'));
    let at = if here {
        near
    } else {
        // The parser points at the value behind the anchor.
        text.get(line_start..near).and_then(|before| before.rfind(['&', '*'])).map_or(near, |found| line_start + found)
    };
    let rest = text.get(at..).unwrap_or_default();
    let end = rest.find([' ', ',', ']', '}', '\n', '\r', '\t']).unwrap_or(rest.len());
    let word = rest.get(..end).unwrap_or_default();
    if word.starts_with('*') {
        Diagnostic::new(at..at + end, format!("`{word}` is a YAML alias, not text"), "begins with `*`")
            .help(format!("put the pattern in quotes: \"{word}\""))
    } else {
        Diagnostic::new(at..at + end, "anchors and aliases are not used in this file", "an anchor")
            .help("write the value out where it is needed")
    }
}

/// The word that ends at `at`, or before blanks and a closing bracket there.
fn token_before(text: &str, at: usize) -> Option<Range<usize>> {
    let line_start = text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text.get(line_start..at)?.trim_end();
    let start = line.rfind([' ', '[', '{', ',']).map_or(0, |separator| separator + 1);
    (start < line.len()).then(|| line_start + start..line_start + line.len())
}

/// The parser's sentence without its place, which the excerpt shows.
fn sentence(error: &serde_yaml::Error) -> String {
    let text = error.without_snippet().to_string();
    match text.rfind(" at line ") {
        Some(end) => text.get(..end).unwrap_or_default().to_owned(),
        None => text,
    }
}
