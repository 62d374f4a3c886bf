//! What may stand behind a listed tool's name: an allow-list of its options, read from the data files in `tools/`.
//!
//! A schema lists the options that only read or print. What it does not list is not allowed; the few that are listed
//! under `refused` are those of which it is known that they write a file or start a program, so that the answer can say
//! so. Names are compared as the tools do: clusters (`-ni`), attached values (`-A3`, `--color=always`) and abbreviations
//! (`--outp`), which are never allowed and recognised when they stand for something refused.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::line::Word;
use super::options::{Kind, Reading, Style, Value, options, refusals};
use super::scripts;

/// The data files, one for each family of tools.
const FILES: &[(&str, &str)] = &[
    ("text.toml", include_str!("tools/text.toml")),
    ("search.toml", include_str!("tools/search.toml")),
    ("files.toml", include_str!("tools/files.toml")),
    ("git.toml", include_str!("tools/git.toml")),
    ("build.toml", include_str!("tools/build.toml")),
    ("more.toml", include_str!("tools/more.toml")),
];

/// One tool, or one of its subcommands.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the data files")]
pub struct Schema {
    /// The words it begins with: `["git", "log"]`.
    pub name: Vec<String>,
    style: Style,
    numeric: bool,
    /// No option of it writes a file or starts a program, so that it does not matter what a word becomes.
    harmless: bool,
    /// Its short options read their values from the next words, however many stand in one cluster.
    separate: bool,
    /// An operand is what it does (`make test`): those of the entry do not count.
    targets: bool,
    /// What stands behind an operand is one too, whatever it looks like.
    options_first: bool,
    /// It runs what it finds where it is started.
    pub runs: bool,
    operands: usize,
    requires: Vec<String>,
    options: BTreeMap<String, Value>,
    refused: BTreeMap<String, String>,
    after: Option<BTreeMap<String, Value>>,
    check: Option<scripts::Check>,
}

/// Options that stand between a tool's name and its subcommand.
#[derive(Debug, Default)]
struct Family {
    options: BTreeMap<String, Value>,
    refused: BTreeMap<String, String>,
}

/// Why arguments are not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objection {
    /// Known to write or to run something, or not to be decided.
    Deny(&'static str, String),
    /// Visible, only not listed.
    Escalate(&'static str, String),
}

/// Everything that was read from the data files.
pub struct Schemas {
    tools: BTreeMap<String, Vec<Schema>>,
    families: BTreeMap<String, Family>,
    /// The lines the files give as examples: the tool's name, the line, and what becomes of it.
    #[cfg(test)]
    pub cases: Vec<(Vec<String>, String, &'static str)>,
}

/// The schemas that are built in.
pub(super) fn built_in() -> &'static Schemas {
    static SCHEMAS: LazyLock<Schemas> = LazyLock::new(Schemas::read);
    &SCHEMAS
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    group: BTreeMap<String, String>,
    #[serde(default)]
    family: BTreeMap<String, FamilyEntry>,
    #[serde(default)]
    tool: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FamilyEntry {
    #[serde(default)]
    options: String,
    #[serde(default)]
    refused: String,
}

/// One `[[tool]]` of a data file. The fields mean what they do in [`Schema`]; `include` names groups of options.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the data files")]
struct Entry {
    names: Vec<String>,
    #[serde(default)]
    style: Style,
    #[serde(default)]
    numeric: bool,
    #[serde(default)]
    harmless: bool,
    #[serde(default)]
    separate: bool,
    #[serde(default)]
    targets: bool,
    #[serde(default)]
    options_first: bool,
    #[serde(default)]
    runs: bool,
    operands: Option<usize>,
    #[serde(default)]
    requires: Vec<String>,
    #[serde(default)]
    include: Vec<String>,
    #[serde(default)]
    options: String,
    #[serde(default)]
    refused: String,
    after: Option<String>,
    check: Option<scripts::Check>,
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "the cases are for the tests"))]
    allow: Vec<String>,
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "the cases are for the tests"))]
    deny: Vec<String>,
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "the cases are for the tests"))]
    escalate: Vec<String>,
}

impl Schemas {
    fn read() -> Self {
        let mut all = Self {
            tools: BTreeMap::new(),
            families: BTreeMap::new(),
            #[cfg(test)]
            cases: Vec::new(),
        };
        for (name, text) in FILES {
            // A file that does not read allows nothing; the tests read them all.
            let Ok(file) = toml::from_str::<File>(text) else {
                debug_assert!(false, "{name} does not read: {:?}", toml::from_str::<File>(text).err());
                continue;
            };
            all.add(&file);
        }
        all
    }

    fn add(&mut self, file: &File) {
        for (name, family) in &file.family {
            let family = Family { options: options(&family.options), refused: refusals(&family.refused) };
            self.families.insert(name.clone(), family);
        }
        for entry in &file.tool {
            let mut allowed = BTreeMap::new();
            for group in &entry.include {
                allowed.extend(options(file.group.get(group).map_or("", String::as_str)));
            }
            // The tool's own meaning of a letter goes before the group's.
            allowed.extend(options(&entry.options));
            let refused = refusals(&entry.refused);
            // What is refused can still be allowed with the few values that are harmless.
            allowed.retain(|name, value| {
                !refused.contains_key(name) || matches!(value.kind, Kind::OneOf(_) | Kind::Inside)
            });
            #[cfg(test)]
            for (lines, verdict) in [(&entry.allow, "allow"), (&entry.deny, "deny"), (&entry.escalate, "escalate")] {
                self.cases.extend(lines.iter().map(|line| (entry.names.clone(), line.clone(), verdict)));
            }
            for name in &entry.names {
                let words: Vec<String> = name.split(' ').map(str::to_owned).collect();
                let schema = Schema {
                    name: words.clone(),
                    style: entry.style,
                    numeric: entry.numeric,
                    harmless: entry.harmless,
                    separate: entry.separate,
                    targets: entry.targets,
                    options_first: entry.options_first,
                    runs: entry.runs,
                    operands: entry.operands.unwrap_or(usize::MAX),
                    requires: entry.requires.clone(),
                    options: allowed.clone(),
                    refused: refused.clone(),
                    after: entry.after.as_deref().map(options),
                    check: entry.check,
                };
                if let Some(first) = words.into_iter().next() {
                    let of_tool = self.tools.entry(first).or_default();
                    of_tool.push(schema);
                    // The longest name that fits is the right one.
                    of_tool.sort_by_key(|schema| std::cmp::Reverse(schema.name.len()));
                }
            }
        }
    }

    /// The words without the options that stand before a subcommand.
    pub fn without_global_options(&self, words: &[Word]) -> Result<Vec<Word>, Objection> {
        let Some((name, rest)) = words.split_first() else { return Ok(Vec::new()) };
        let Some(family) = self.families.get(&name.text) else { return Ok(words.to_vec()) };
        let reading = Reading {
            options: &family.options,
            refused: &family.refused,
            style: Style::Gnu,
            numeric: false,
            harmless: false,
            separate: false,
            tool: &name.text,
        };
        let mut at = 0;
        while let Some(word) = rest.get(at) {
            if !word.fixed().starts_with('-') || word.is("--") {
                break;
            }
            match reading.option(word, rest.get(at + 1)) {
                Ok(taken) => at += taken.words,
                Err(denied @ Objection::Deny(..)) => return Err(denied),
                // It is the tool's own, or nobody's.
                Err(Objection::Escalate(..)) => break,
            }
        }
        let mut out = vec![name.clone()];
        out.extend(rest.iter().skip(at).cloned());
        Ok(out)
    }

    /// The schema whose name the words begin with.
    pub fn of(&self, words: &[Word]) -> Option<&Schema> {
        let fits = |schema: &&Schema| {
            schema.name.len() <= words.len() && schema.name.iter().zip(words).all(|(name, word)| word.is(name))
        };
        self.tools.get(&words.first()?.text)?.iter().find(fits)
    }
}

impl Schema {
    fn shown(&self) -> String {
        self.name.join(" ")
    }

    /// Judges the words behind the name. The first `listed` words stand in the allow-list as they are.
    pub fn judge(&self, words: &[Word], listed: usize) -> Result<(), Objection> {
        let rest = words.get(self.name.len()..).unwrap_or_default();
        let tool = self.shown();
        let mut reading = self.reading(&tool);
        let mut seen: Vec<String> = Vec::new();
        let mut operands: Vec<&Word> = Vec::new();
        let mut at = 0;
        let mut targets = 0;
        let mut ended = self.style == Style::Words || self.check.is_some_and(scripts::Check::reads_all);
        let mut after = self.after.as_ref();
        while let Some(word) = rest.get(at) {
            // How many words from here on stand in the entry.
            let spelled = listed.saturating_sub(self.name.len() + at);
            if !ended && word.is("--") {
                at += 1;
                match after.take() {
                    Some(options) => reading = Reading { options, style: Style::Gnu, ..reading },
                    // What Go's tools hand on behind it goes to the tests, and what comes behind a second one is handed on
                    // once more.
                    None if self.style == Style::Go || self.after.is_some() => return Err(reading.unknown("--")),
                    None => ended = true,
                }
                continue;
            }
            if !ended && word.fixed().starts_with('-') && !word.is("-") {
                match reading.option(word, rest.get(at + 1)) {
                    Ok(taken) => {
                        at += taken.words;
                        seen.extend(taken.names);
                    }
                    // A person listed it together with what can be its value.
                    Err(_) if spelled > 1 || (spelled == 1 && word.text.contains('=')) => at += 1,
                    Err(objection) => return Err(objection),
                }
                continue;
            }
            if word.home {
                return Err(outside(word));
            }
            if !ended && word.fixed().is_empty() && word.open.is_some() && !self.harmless {
                return Err(reading.undecidable(word));
            }
            targets += usize::from(spelled > 0 && self.targets);
            operands.push(word);
            ended |= self.options_first;
            at += 1;
        }
        if let Some(missing) = self.requires.first().filter(|_| !self.requires.iter().any(|name| seen.contains(name))) {
            return Err(Objection::Deny("writes", format!("{tool} changes files without {missing}")));
        }
        // What is open can be more than one.
        if operands.len() - targets > self.operands
            || (self.operands != usize::MAX && operands.iter().any(|w| w.open.is_some()))
        {
            // A target that is not listed is as visible as a command that is not; a variable may name a program.
            let named = operands.iter().find(|word| word.open.is_none() && !word.text.contains('='));
            if let Some(word) = named.filter(|_| self.targets && operands.iter().all(|w| !w.text.contains('='))) {
                return Err(Objection::Escalate(
                    "not-listed",
                    format!("no entry of `commands` covers `{tool} {}`", word.text),
                ));
            }
            return Err(Objection::Deny(
                "operands",
                format!("{tool} takes at most {} operands that only read", self.operands),
            ));
        }
        match self.check {
            Some(check) => check.judge(&operands, &seen),
            None => Ok(()),
        }
    }

    fn reading<'a>(&'a self, tool: &'a str) -> Reading<'a> {
        Reading {
            options: &self.options,
            refused: &self.refused,
            style: self.style,
            numeric: self.numeric,
            harmless: self.harmless,
            separate: self.separate,
            tool,
        }
    }
}

/// A path below the home directory.
pub(super) fn outside(word: &Word) -> Objection {
    Objection::Escalate("outside", format!("`{}` lies outside the workspace", word.text))
}
