//! How a tool's options are read, and what they may be given: names, clusters, attached values, values as words of their
//! own. What is read otherwise than the tool reads it is a hole, so that wherever versions of a tool differ, or where a
//! word could be a value as well as an option, it is not allowed.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::line::Word;
use super::schema::{Objection, outside};

/// What an option takes. In the data files, behind `=`: first where it stands (`?` [`Place::Optional`], `+`
/// [`Place::Attached`], `^` [`Place::Last`], otherwise [`Place::Needed`]), then what it may be (see [`Kind`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    place: Place,
    pub(super) kind: Kind,
}

/// Where an option's value stands. A mistake here is a hole: a word that is taken for a value is not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It takes none.
    None,
    /// Attached or the next word.
    Needed,
    /// Attached, and never the next word.
    Attached,
    /// Attached, or it has none.
    Optional,
    /// Attached, else the next word if there is one (for a number: if that is one).
    Last,
}

/// What a value may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any text, but as a word of its own none that looks like an option.
    Any,
    /// `DASH`: any text, whatever it looks like.
    Dashed,
    /// `N`: a whole number.
    Number,
    /// `FORMAT`: git's, without what checks a signature, which starts a program.
    Format,
    /// `NAME`: letters, digits, `-`, `_` and `.`, and no file.
    Name,
    /// `INSIDE`: a path that stays below where the command runs.
    Inside,
    /// `a|b|c`
    OneOf(Vec<String>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Style {
    /// `-abc`, `--long`, `--long=value`.
    #[default]
    Gnu,
    /// `-long`, `-long=value`, and the same with two dashes.
    Go,
    /// Every word is an operand.
    Words,
}

/// One option for each line: its names, and what it takes.
pub(super) fn options(text: &str) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for line in text.lines() {
        let mut value = Value::NONE;
        let mut names = Vec::new();
        for part in line.split_whitespace() {
            match part.strip_prefix('=') {
                Some(form) => value = Value::of(form),
                None => names.push(part.to_owned()),
            }
        }
        all.extend(names.into_iter().map(|name| (name, value.clone())));
    }
    all
}

/// `-o --output: writes a file`, one for each line.
pub(super) fn refusals(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.split_once(": "));
    lines
        .flat_map(|(names, why)| names.split_whitespace().map(move |name| (name.to_owned(), why.trim().to_owned())))
        .collect()
}

impl Value {
    const NONE: Self = Self { place: Place::None, kind: Kind::Any };

    fn of(form: &str) -> Self {
        let (place, kind) = match form.split_at_checked(1) {
            Some(("?", kind)) => (Place::Optional, kind),
            Some(("+", kind)) => (Place::Attached, kind),
            Some(("^", kind)) => (Place::Last, kind),
            _ => (Place::Needed, form),
        };
        let kind = match kind {
            "" => Kind::Any,
            "DASH" => Kind::Dashed,
            "N" => Kind::Number,
            "FORMAT" => Kind::Format,
            "NAME" => Kind::Name,
            "INSIDE" => Kind::Inside,
            choices => Kind::OneOf(choices.split('|').map(str::to_owned).collect()),
        };
        Self { place, kind }
    }
}

impl Kind {
    /// Whether this may be given; `open` where its end is not known.
    fn takes(&self, text: &str, open: bool) -> bool {
        match self {
            Self::Any | Self::Dashed => true,
            Self::Format => !open && !shows_signature(text),
            Self::Number => {
                let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
                !open && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
            }
            Self::Name => {
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
                !open && !text.is_empty() && text.chars().all(plain) && !text.to_ascii_lowercase().ends_with(".json")
            }
            Self::Inside => !open && is_inside(text),
            Self::OneOf(choices) => !open && choices.iter().any(|choice| choice == text),
        }
    }
}

/// Whether a path stays below where the command runs, as far as its text says.
pub(super) fn is_inside(path: &str) -> bool {
    !path.is_empty() && !path.starts_with(['/', '~', '-']) && !path.split(['/', '\\']).any(|part| part == "..")
}

/// Whether one of git's formats has a signature checked: `%G?`, `%+GS`, `%(signature:grade)`.
fn shows_signature(format: &str) -> bool {
    let in_letters = format.split('%').skip(1).any(|field| field.trim_start_matches(['+', '-', ' ']).starts_with('G'));
    in_letters || format.contains("signature")
}

/// Whether a word looks like an option. A negative number, `-` and `->` do not.
fn looks_like_option(word: &Word) -> bool {
    word.fixed().strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c == '-' || c.is_alphabetic()))
}

/// How one tool's options are read.
pub(super) struct Reading<'a> {
    pub(super) options: &'a BTreeMap<String, Value>,
    pub(super) refused: &'a BTreeMap<String, String>,
    pub(super) style: Style,
    pub(super) numeric: bool,
    /// See [`Schema::harmless`].
    pub(super) harmless: bool,
    /// See [`Schema::separate`].
    pub(super) separate: bool,
    pub(super) tool: &'a str,
}

/// One option that is allowed.
pub(super) struct Taken {
    /// Its names as they were typed.
    pub(super) names: Vec<String>,
    /// How many words it took.
    pub(super) words: usize,
}

impl Reading<'_> {
    pub(super) fn unknown(&self, option: &str) -> Objection {
        Objection::Escalate(
            "option-not-listed",
            format!("`{option}` is not among the options of {} that are known to be harmless", self.tool),
        )
    }

    pub(super) fn undecidable(&self, word: &Word) -> Objection {
        Objection::Deny("glob-as-option", format!("`{}` may become an option of {}", word.text, self.tool))
    }

    fn refusal(&self, option: &str) -> Option<Objection> {
        let why = self.refused.get(option)?;
        Some(Objection::Deny("refused-option", format!("{} {option} {why}", self.tool)))
    }

    /// Reads the option at `word`, whose value may be `next`.
    pub(super) fn option(&self, word: &Word, next: Option<&Word>) -> Result<Taken, Objection> {
        let text = word.text.as_str();
        if text.starts_with("--") || self.style == Style::Go {
            return self.long(word, next);
        }
        if self.numeric && word.open.is_none() && text.len() > 1 && text.bytes().skip(1).all(|b| b.is_ascii_digit()) {
            return Ok(Taken { names: Vec::new(), words: 1 });
        }
        // A few tools have long options behind one dash.
        if let Some(value) = self.options.get(text)
            && text.chars().count() > 2
            && word.open.is_none()
        {
            return self.with_value(text.to_owned(), value, None, word, next);
        }
        if !self.options.contains_key(text)
            && let Some(objection) = self.refusal(text)
        {
            return Err(objection);
        }
        self.cluster(word, next)
    }

    fn long(&self, word: &Word, next: Option<&Word>) -> Result<Taken, Objection> {
        let (typed, attached) = match word.fixed().split_once('=') {
            Some((name, _)) => (name, word.text.split_once('=').map(|(_, value)| value)),
            None if word.open.is_some() => return Err(self.undecidable(word)),
            None => (word.text.as_str(), None),
        };
        let name = match self.style {
            Style::Go => format!("-{}", typed.trim_start_matches('-')),
            Style::Gnu | Style::Words => typed.to_owned(),
        };
        let Some(value) = self.options.get(&name) else {
            if let Some(objection) = self.refusal(&name) {
                return Err(objection);
            }
            // The beginning of a refused option's name means that option to many tools.
            let meant = self.refused.keys().find(|refused| name.len() > 2 && refused.starts_with(&name));
            return Err(meant.and_then(|refused| self.refusal(refused)).unwrap_or_else(|| self.unknown(&name)));
        };
        self.with_value(name, value, attached, word, next)
    }

    fn with_value(
        &self,
        name: String,
        value: &Value,
        attached: Option<&str>,
        word: &Word,
        next: Option<&Word>,
    ) -> Result<Taken, Objection> {
        let one = Ok(Taken { names: vec![name.clone()], words: 1 });
        if let Some(text) = attached {
            let taken = value.place != Place::None && value.kind.takes(text, word.open.is_some());
            return if taken { one } else { Err(self.not_taken(&name, value, &word.text)) };
        }
        match (value.place, next) {
            (Place::None | Place::Optional, _) | (Place::Last, None) => return one,
            (Place::Attached, _) | (Place::Needed, None) => return Err(self.unknown(&name)),
            (Place::Last, Some(next)) if value.kind == Kind::Number && !value.kind.takes(&next.text, false) => {
                return one;
            }
            (Place::Last | Place::Needed, Some(_)) => {}
        }
        let Some(next) = next else { return one };
        if next.open.is_some() {
            return Err(self.undecidable(next));
        }
        if next.home {
            return Err(outside(next));
        }
        let dashed = self.harmless || value.kind == Kind::Dashed;
        let shown = format!("{name} {}", next.text);
        if looks_like_option(next) && !dashed {
            // It is one if this option takes no value after all, be it in another version of the tool.
            let meant = self.option(next, None).err().filter(|meant| matches!(meant, Objection::Deny(..)));
            return Err(meant.unwrap_or_else(|| self.unknown(&shown)));
        }
        if !value.kind.takes(&next.text, false) {
            return Err(self.not_taken(&name, value, &shown));
        }
        Ok(Taken { names: vec![name], words: 2 })
    }

    /// The objection to a value.
    fn not_taken(&self, name: &str, value: &Value, shown: &str) -> Objection {
        match value.kind {
            Kind::Format => Objection::Deny(
                "refused-option",
                format!("{} {name} can start a program that checks signatures", self.tool),
            ),
            Kind::Any | Kind::Dashed | Kind::Number | Kind::Name | Kind::Inside | Kind::OneOf(_) => {
                self.refusal(name).unwrap_or_else(|| self.unknown(shown))
            }
        }
    }

    fn cluster(&self, word: &Word, next: Option<&Word>) -> Result<Taken, Objection> {
        let mut names = Vec::new();
        let mut letters = word.text.char_indices().skip(1).peekable();
        while let Some((at, letter)) = letters.next() {
            if word.open.is_some_and(|open| at >= open) {
                return Err(self.undecidable(word));
            }
            let name = format!("-{letter}");
            let Some(value) = self.options.get(&name) else {
                return Err(self.refusal(&name).unwrap_or_else(|| self.unknown(&name)));
            };
            names.push(name.clone());
            if value.place == Place::None {
                continue;
            }
            // What is left of the word is its value. If that is open it has to begin with something certain: a file that
            // is called like the option alone would make the next word the value.
            let rest = letters.peek().and_then(|(at, _)| word.text.get(*at..));
            if let (Some(open), Some((from, _))) = (word.open, letters.peek())
                && open <= *from
            {
                return Err(self.undecidable(word));
            }
            if self.separate && value.kind != Kind::Number && (rest.is_some() || at > 1) {
                return Err(self.unknown(&word.text));
            }
            let taken = self.with_value(name, value, rest, word, next)?;
            return Ok(Taken { names, words: taken.words });
        }
        Ok(Taken { names, words: 1 })
    }
}
