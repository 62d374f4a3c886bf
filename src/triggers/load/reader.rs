//! Reading a [`Node`] as what a key wants, collecting every problem on the way.
//!
//! Owns the sentences for wrong types, unknown keys and keys that stand twice. It knows no key by itself. A problem
//! never ends the reading: the caller gets `None` and goes on, so that a person sees all of them at once.

use std::collections::BTreeMap;
use std::ops::Range;

use super::tree::{Key, Node, Value};
use super::values::Complaint;
use crate::diagnostic::Diagnostic;
use crate::text;

/// Reads values of one file.
pub(super) struct Reader<'a> {
    text: &'a str,
    /// What was found wrong so far.
    pub(super) problems: Vec<Diagnostic>,
}

/// The entries of a mapping whose keys are known.
pub(super) struct Fields<'n> {
    entries: Vec<(&'n Key, &'n Node)>,
    /// The place to point at where a key is missing.
    pub(super) span: Range<usize>,
    /// A key was not known. It may be the misspelt form of one that is missing, so that is not reported beside it.
    pub(super) guessed: bool,
}

impl<'n> Fields<'n> {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|(_, node)| node)
    }

    /// A key's place and value.
    pub(super) fn entry(&self, key: &str) -> Option<(&'n Key, &'n Node)> {
        self.entries.iter().find(|(name, _)| name.name == key).copied()
    }
}

/// A piece of text and its place.
pub(super) struct Word<'n> {
    pub(super) text: &'n str,
    pub(super) span: Range<usize>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, problems: Vec::new() }
    }

    /// Records a problem.
    pub(super) fn problem(&mut self, problem: Diagnostic) {
        self.problems.push(problem);
    }

    /// The entries of a mapping, whatever their keys; a key that stands twice is reported.
    pub(super) fn entries<'n>(&mut self, node: &'n Node, what: &str, help: &str) -> Option<Fields<'n>> {
        let Value::Map(map) = &node.value else {
            self.wrong_type(node, what, "a mapping", help);
            return None;
        };
        let mut entries: Vec<(&Key, &Node)> = Vec::with_capacity(map.len());
        let mut seen: BTreeMap<&str, &Key> = BTreeMap::new();
        for (key, value) in map {
            if let Some(first) = seen.insert(&key.name, key) {
                self.problems.push(
                    Diagnostic::new(key.span.clone(), format!("`{}` stands twice", key.name), "again here")
                        .also(first.span.clone(), "first here")
                        .help("keep one of the two"),
                );
                continue;
            }
            entries.push((key, value));
        }
        let span = entries.first().map_or(node.span.clone(), |(key, _)| key.span.clone());
        Some(Fields { entries, span, guessed: false })
    }

    /// The entries of a mapping that may hold these keys and no others.
    pub(super) fn fields<'n>(&mut self, node: &'n Node, what: &str, keys: &[&str]) -> Option<Fields<'n>> {
        self.fields_beside(node, what, keys, &[])
    }

    /// [`Self::fields`], where people also put keys that belong below one of these: each with the keys it has.
    pub(super) fn fields_beside<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        keys: &[&str],
        below: &[(&str, &[&str])],
    ) -> Option<Fields<'n>> {
        let mut fields = self.entries(node, what, &format!("the keys of {what} are {}", list(keys)))?;
        let all = fields.entries.len();
        fields.entries.retain(|(key, _)| {
            let known = keys.contains(&key.name.as_str());
            if !known {
                self.problems.push(unknown(key, what, keys, below));
            }
            known
        });
        fields.guessed = fields.entries.len() < all;
        Some(fields)
    }

    /// Keys and values of a mapping whose keys are names.
    pub(super) fn named<'n>(&mut self, node: &'n Node, what: &str, help: &str) -> Vec<(&'n Key, &'n Node)> {
        self.entries(node, what, help).map(|fields| fields.entries).unwrap_or_default()
    }

    /// The value of a key that has to be there.
    pub(super) fn required<'n>(&mut self, fields: &Fields<'n>, key: &str, what: &str, help: &str) -> Option<&'n Node> {
        let found = fields.get(key);
        if found.is_none() && !fields.guessed {
            let label = format!("`{key}` is missing");
            self.problem(Diagnostic::new(fields.span.clone(), format!("{what} has no `{key}`"), label).help(help));
        }
        found
    }

    /// Text. What YAML takes for something else is asked to be quoted.
    pub(super) fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        if let Value::Text(text) = &node.value {
            return Some(text);
        }
        let help = match &node.value {
            Value::Bool(_) | Value::Number => format!("put it in quotes: \"{}\"", self.written(node)),
            Value::Null => "write a value behind the colon, or remove the key".to_owned(),
            Value::Text(_) | Value::List(_) | Value::Map(_) => "write one word or one quoted text".to_owned(),
        };
        self.wrong_type(node, what, "text", &help);
        None
    }

    /// One text, or a list of them that is not empty.
    pub(super) fn words<'n>(&mut self, node: &'n Node, what: &str) -> Vec<Word<'n>> {
        match &node.value {
            Value::List(items) if items.is_empty() => {
                self.problem(
                    Diagnostic::new(node.span.clone(), format!("{what} is an empty list"), "nothing in it")
                        .help("write at least one entry, or remove the key"),
                );
                Vec::new()
            }
            Value::List(items) => self.items(items, &format!("an entry of {what}")),
            Value::Text(_) | Value::Bool(_) | Value::Number => {
                self.text(node, what).map(|text| Word { text, span: node.span.clone() }).into_iter().collect()
            }
            Value::Null | Value::Map(_) => {
                self.wrong_type(node, what, "text or a list of texts", "write `key: text` or `key: [text, text]`");
                Vec::new()
            }
        }
    }

    /// The texts of a list, which may be empty.
    pub(super) fn list<'n>(&mut self, node: &'n Node, what: &str, help: &str) -> Vec<Word<'n>> {
        let Value::List(items) = &node.value else {
            self.wrong_type(node, what, "a list", help);
            return Vec::new();
        };
        self.items(items, &format!("an entry of {what}"))
    }

    fn items<'n>(&mut self, items: &'n [Node], what: &str) -> Vec<Word<'n>> {
        let read = |item: &'n Node| self.text(item, what).map(|text| Word { text, span: item.span.clone() });
        items.iter().filter_map(read).collect()
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        if let Value::Bool(value) = node.value {
            return Some(value);
        }
        let help = match self.written(node).to_lowercase().as_str() {
            "yes" | "on" | "y" | "1" => "did you mean `true`?",
            "no" | "off" | "n" | "0" => "did you mean `false`?",
            _ => "write `true` or `false`, without quotes",
        };
        self.wrong_type(node, what, "true or false", help);
        None
    }

    /// A whole number, as it is written.
    pub(super) fn integer(&mut self, node: &Node, what: &str, help: &str) -> Option<u64> {
        let number = if matches!(node.value, Value::Number) { self.written(node).parse().ok() } else { None };
        if number.is_none() {
            self.wrong_type(node, what, "a whole number", help);
        }
        number
    }

    /// A value of one of the table's little languages, which may look like a number to YAML.
    pub(super) fn parsed<T>(
        &mut self,
        node: &Node,
        what: &str,
        parse: impl FnOnce(&str) -> Result<T, Complaint>,
    ) -> Option<T> {
        let text = match &node.value {
            Value::Number => self.written(node),
            Value::Text(text) => text,
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => {
                self.text(node, what)?;
                return None;
            }
        };
        self.accept(&node.span, parse(text))
    }

    /// What a value means; a complaint becomes a problem at its place.
    pub(super) fn accept<T>(&mut self, span: &Range<usize>, parsed: Result<T, Complaint>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(complaint) => {
                self.problem(Diagnostic::new(span.clone(), complaint.message, complaint.label).help(complaint.help));
                None
            }
        }
    }

    /// One of some words; `what` and `of` name the thing for the sentence: "unknown hook".
    pub(super) fn one_of<T: Copy>(&mut self, word: &Word<'_>, kind: &str, words: &[(&str, T)]) -> Option<T> {
        let found = words.iter().find(|(name, _)| *name == word.text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
            self.problem(unknown_word(word, kind, &names));
        }
        found
    }

    /// [`Self::one_of`], of a node.
    pub(super) fn choice<T: Copy>(&mut self, node: &Node, what: &str, kind: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(node, what)?;
        self.one_of(&Word { text, span: node.span.clone() }, kind, words)
    }

    /// What stands in the file at this value's place.
    pub(super) fn written(&self, node: &Node) -> &'a str {
        self.text.get(node.span.clone()).unwrap_or_default()
    }

    fn wrong_type(&mut self, node: &Node, what: &str, wanted: &str, help: &str) {
        let label = node.value.is();
        self.problem(Diagnostic::new(node.span.clone(), format!("{what} has to be {wanted}"), label).help(help));
    }
}

fn unknown(key: &Key, what: &str, keys: &[&str], below: &[(&str, &[&str])]) -> Diagnostic {
    let problem = Diagnostic::new(key.span.clone(), format!("{what} has no key `{}`", key.name), "unknown key");
    if let Some((home, _)) = below.iter().find(|(_, keys)| keys.contains(&key.name.as_str())) {
        return problem
            .help(format!("it belongs below `{home}`, indented or in braces: `{home}: {{ {}: … }}`", key.name));
    }
    match text::nearest(&key.name, keys.iter().copied()) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem.help(format!("the keys of {what} are {}", list(keys))),
    }
}

/// A problem: the word is none of those there are.
pub(super) fn unknown_word(word: &Word<'_>, kind: &str, names: &[&str]) -> Diagnostic {
    let problem = Diagnostic::new(
        word.span.clone(),
        format!("there is no {kind} `{}`", word.text),
        format!("no {kind} of this name"),
    );
    let longer = names.iter().copied().find(|name| word.text.len() > 2 && name.starts_with(word.text));
    match text::nearest(word.text, names.iter().copied()).or(longer) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None if names.is_empty() => problem.help(format!("there is no {kind} at all yet")),
        None => problem.help(format!("choose {}", one_of(names))),
    }
}

/// Names as a choice.
pub(super) fn one_of(names: &[&str]) -> String {
    list(names).replace(" and ", " or ")
}

/// Names as a sentence lists them.
pub(super) fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => "none".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}
