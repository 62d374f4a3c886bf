//! A shell line as plain words, or the reason why it is none.
//!
//! This is the strict half of the parsing: a scanner that knows only what is fully static, in one pass, and refuses the
//! rest. What it accepts is parsed once more by a real grammar ([`super::grammar`]), and both have to agree on every
//! word. So an accepted line means the same to bash, dash and zsh, which are the shells that runtimes hand lines to.

use std::fmt;
use std::ops::Range;

/// The longest line that is judged, in bytes. No person reads more before saying yes.
pub const LINE_BYTES_MAX: usize = 8 * 1024;

/// The most simple commands in one line.
pub const COMMANDS_MAX: usize = 50;

/// The most words of equals signs: the grammar that confirms what is read here takes ever longer for more of them.
const COMPARISONS_MAX: usize = 50;

/// One word of a command, as the command will get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Its text without quotes. Where [`Word::open`] is set, only the bytes before that are certain.
    pub text: String,
    /// From this byte of `text` on the shell puts in names of files: none, one or several words.
    pub open: Option<usize>,
    /// It begins with an unquoted `~`: a path below the home directory.
    pub home: bool,
    /// Where it stands in the line.
    pub span: Range<usize>,
}

impl Word {
    /// The part that is certain.
    pub fn fixed(&self) -> &str {
        self.open.and_then(|at| self.text.get(..at)).unwrap_or(&self.text)
    }

    /// Whether it is exactly this text.
    pub fn is(&self, text: &str) -> bool {
        self.open.is_none() && !self.home && self.text == text
    }
}

/// How a command is joined to the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// It is the first, or follows `;` or a line break.
    Then,
    /// `&&`
    And,
    /// `||`
    Or,
    /// `|` or `|&`: it reads what the one before writes.
    Pipe,
}

/// One simple command; `words` is never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simple {
    /// How it is joined to the one before it.
    pub join: Join,
    /// The program's name and its arguments.
    pub words: Vec<Word>,
}

/// Why a line cannot be judged: all of these are refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecidable {
    /// There is nothing in it.
    Empty,
    /// More than [`LINE_BYTES_MAX`].
    TooLong,
    /// More than [`COMMANDS_MAX`] commands.
    TooMany,
    /// A control character, a direction mark, an invisible or odd white space.
    Character,
    /// `$…`, a backtick: the text is known only when it runs.
    Expansion,
    /// `{a,b}` or `{1..9}`.
    Braces,
    /// `~name`, `~+`, `=name`.
    Tilde,
    /// `NAME=value` before a command, or instead of one.
    Assignment,
    /// `>` or `<` with a file, a here-document, a process substitution.
    Redirection,
    /// `&`.
    Background,
    /// Parentheses, braces, `if`, `for`, `[[`, `!` …
    ControlFlow,
    /// It does not parse, or two parsers read it differently.
    Syntax,
}

impl Undecidable {
    /// The rule's name, as records hold it.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong => "too-long",
            Self::TooMany => "too-many-commands",
            Self::Character => "odd-character",
            Self::Expansion => "expansion",
            Self::Braces => "brace-expansion",
            Self::Tilde => "tilde-expansion",
            Self::Assignment => "assignment",
            Self::Redirection => "redirection",
            Self::Background => "background",
            Self::ControlFlow => "control-flow",
            Self::Syntax => "syntax",
        }
    }
}

impl fmt::Display for Undecidable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "there is no command in it",
            Self::TooLong => "it is longer than 8 KiB",
            Self::TooMany => "it holds more than 50 commands",
            Self::Character => "it holds a control character, an invisible one or an odd white space",
            Self::Expansion => "what `$` or a backtick stands for is known only when it runs",
            Self::Braces => "braces become several words",
            Self::Tilde => "what `~` or `=` stands for is known only when it runs",
            Self::Assignment => "an assignment can change what the command does",
            Self::Redirection => "only redirections between descriptors and to /dev/null are judged",
            Self::Background => "a command in the background outlives the line",
            Self::ControlFlow => "subshells, groups, conditions and loops are not judged",
            Self::Syntax => "it cannot be read as plain commands",
        })
    }
}

/// Words that begin or end something other than a simple command, where a command's name is expected.
pub const RESERVED: &[&str] = &[
    "!",
    "{",
    "}",
    "[[",
    "]]",
    "if",
    "then",
    "elif",
    "else",
    "fi",
    "for",
    "foreach",
    "while",
    "until",
    "repeat",
    "do",
    "done",
    "case",
    "esac",
    "select",
    "function",
    "coproc",
    "in",
    "end",
    "nocorrect",
    "noglob",
    "-",
];

/// Splits a line into its commands, or says why it is not plain.
pub fn split(line: &str) -> Result<Vec<Simple>, Undecidable> {
    if line.len() > LINE_BYTES_MAX {
        return Err(Undecidable::TooLong);
    }
    if line.chars().any(is_odd) {
        return Err(Undecidable::Character);
    }
    let scanner = Scanner {
        line,
        at: 0,
        commands: Vec::new(),
        words: Vec::new(),
        join: Join::Then,
        pending: false,
        ended: false,
        comparisons: 0,
    };
    scanner.run()
}

/// Characters that hide something from a reader or mean different things to different shells.
pub fn is_odd(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        c if c.is_control() => true,
        ' ' => false,
        c if c.is_whitespace() => true,
        // Soft hyphen, Arabic letter mark, Mongolian separators, Hangul fillers, zero width and direction marks, word
        // joiners, interlinear marks, variation selectors, byte order mark, tags, private use, noncharacters.
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{ffa0}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{fff0}'..='\u{ffff}'
        | '\u{e000}'..='\u{f8ff}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{10ffff}' => true,
        _ => false,
    }
}

struct Scanner<'a> {
    line: &'a str,
    at: usize,
    commands: Vec<Simple>,
    words: Vec<Word>,
    join: Join,
    /// An operator waits for the command after it.
    pending: bool,
    /// `&>` was read: to a shell that does not know it, the command ended there.
    ended: bool,
    /// How many words of equals signs were read.
    comparisons: usize,
}

/// A word that is being read.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about the text so far")]
struct Draft {
    text: String,
    start: usize,
    open: Option<usize>,
    home: bool,
    /// Some of it was quoted: it is a word even if it is empty, and none of a shell's own.
    quoted: bool,
    /// How many unquoted `{` are open, and where in `text` the first of them stands.
    braces: usize,
    brace_at: usize,
    /// An unquoted `,` stands within braces.
    listed: bool,
    /// Up to here `text` was looked at for the next two: a `{`, and the last `..`.
    scanned: usize,
    brace_seen: bool,
    range_at: Option<usize>,
    /// An unquoted `=` stands after what can be a variable's name.
    assigns: bool,
    any: bool,
}

impl Draft {
    /// Takes an unquoted `{`, `}` or `,`. Braces with a list or a range in them become several words; some shells see the
    /// range even where its dots are quoted, and shells differ in what a brace too many closes.
    fn brace(&mut self, next: char) -> Result<(), Undecidable> {
        match next {
            '{' => {
                if self.braces == 0 {
                    self.brace_at = self.text.len();
                }
                self.braces += 1;
            }
            '}' => {
                self.scan();
                let from = if self.braces == 0 { 0 } else { self.brace_at };
                let range = self.range_at.is_some_and(|at| at >= from);
                if self.listed || (range && self.brace_seen) {
                    return Err(Undecidable::Braces);
                }
                self.braces = self.braces.saturating_sub(1);
            }
            // Behind braces that were closed it counts too: see above.
            _ => {
                self.scan();
                self.listed |= self.brace_seen;
            }
        }
        self.text.push(next);
        Ok(())
    }

    /// Looks at what was not looked at yet.
    fn scan(&mut self) {
        // Two dots can stand on both sides of where the last look ended.
        let from = self.scanned.saturating_sub(1);
        let new = self.text.as_bytes().get(from..).unwrap_or_default();
        self.brace_seen |= new.contains(&b'{');
        self.range_at = new.windows(2).rposition(|pair| pair == b"..").map(|at| from + at).or(self.range_at);
        self.scanned = self.text.len();
    }
}

impl Scanner<'_> {
    fn peek(&self) -> Option<char> {
        self.line.get(self.at..)?.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.line.get(self.at..).is_some_and(|rest| rest.starts_with(text));
        if found {
            self.at += text.len();
        }
        found
    }

    fn run(mut self) -> Result<Vec<Simple>, Undecidable> {
        loop {
            self.blanks();
            let Some(next) = self.peek() else { break };
            match next {
                '\n' => {
                    self.at += 1;
                    // After an operator the line goes on.
                    if !self.words.is_empty() {
                        self.end_command(Join::Then)?;
                        self.pending = false;
                    }
                }
                '#' => self.comment(),
                ';' => {
                    self.at += 1;
                    if self.peek() == Some(';') || self.peek() == Some('&') {
                        return Err(Undecidable::ControlFlow);
                    }
                    self.end_command(Join::Then)?;
                    self.pending = false;
                }
                '&' => self.ampersand()?,
                '|' => {
                    self.at += 1;
                    let join = if self.eat("|") { Join::Or } else { Join::Pipe };
                    // `|&` sends both outputs.
                    if join == Join::Pipe && self.peek() == Some('&') {
                        self.at += 1;
                    }
                    self.end_command(join)?;
                    self.pending = true;
                }
                '<' | '>' => self.redirection(None)?,
                '(' | ')' => return Err(Undecidable::ControlFlow),
                _ => self.word()?,
            }
        }
        if self.words.is_empty() && self.pending {
            return Err(Undecidable::Syntax);
        }
        if !self.words.is_empty() {
            self.end_command(Join::Then)?;
        }
        if self.commands.is_empty() { Err(Undecidable::Empty) } else { Ok(self.commands) }
    }

    /// White space, and a line break behind a backslash, which is none.
    fn blanks(&mut self) {
        while self.eat(" ") || self.eat("\t") || self.eat("\\\n") {}
    }

    fn comment(&mut self) {
        while self.peek().is_some_and(|c| c != '\n') {
            self.bump();
        }
    }

    fn end_command(&mut self, next: Join) -> Result<(), Undecidable> {
        if self.words.is_empty() {
            return Err(Undecidable::Syntax);
        }
        if self.commands.len() >= COMMANDS_MAX {
            return Err(Undecidable::TooMany);
        }
        let words = std::mem::take(&mut self.words);
        self.commands.push(Simple { join: self.join, words });
        self.join = next;
        self.ended = false;
        Ok(())
    }

    fn ampersand(&mut self) -> Result<(), Undecidable> {
        if self.eat("&&") {
            self.end_command(Join::And)?;
            self.pending = true;
            return Ok(());
        }
        if self.line.get(self.at..).is_some_and(|rest| rest.starts_with("&>")) {
            self.at += 1;
            // `&>` and `&>>` take a file only; a shell without them runs this in the background, to the same end, and
            // would take further words for another command.
            self.at += 1;
            self.eat(">");
            self.ended = true;
            return self.null_device();
        }
        Err(Undecidable::Background)
    }

    /// At `<` or `>`. A descriptor's number may have stood before it.
    fn redirection(&mut self, _descriptor: Option<&str>) -> Result<(), Undecidable> {
        if self.words.is_empty() {
            // `>/dev/null ls` means what `ls >/dev/null` does, and nobody writes it.
            return Err(Undecidable::Redirection);
        }
        if self.eat("<") {
            return match self.peek() {
                Some('<' | '>' | '(' | '&') => Err(Undecidable::Redirection),
                _ => self.null_device(),
            };
        }
        self.at += 1;
        match self.peek() {
            Some('&') => {
                self.at += 1;
                let from = self.at;
                while self.peek().is_some_and(|c| c.is_ascii_digit()) {
                    self.at += 1;
                }
                // One digit: more would be a descriptor that bash keeps for itself.
                let single = self.at == from + 1;
                if single && self.peek().is_none_or(ends_word) { Ok(()) } else { Err(Undecidable::Redirection) }
            }
            Some('(' | '|' | '!') => Err(Undecidable::Redirection),
            Some('>') => {
                self.at += 1;
                self.null_device()
            }
            _ => self.null_device(),
        }
    }

    /// The target of a redirection, which has to be `/dev/null` in so many letters.
    fn null_device(&mut self) -> Result<(), Undecidable> {
        while self.eat(" ") || self.eat("\t") {}
        if self.eat("/dev/null") && self.peek().is_none_or(ends_word) { Ok(()) } else { Err(Undecidable::Redirection) }
    }

    fn word(&mut self) -> Result<(), Undecidable> {
        if self.ended {
            return Err(Undecidable::Redirection);
        }
        let mut draft = Draft { start: self.at, ..Draft::default() };
        while let Some(next) = self.peek() {
            match next {
                ' ' | '\t' | '\n' | ';' | '&' | '|' => break,
                '(' | ')' => return Err(Undecidable::ControlFlow),
                '<' | '>' => {
                    // `2>&1`: the number is no argument. Only one digit, unquoted, by itself.
                    let number = !draft.quoted && draft.text.len() == 1 && draft.text.as_bytes()[0].is_ascii_digit();
                    if number && draft.open.is_none() {
                        return self.redirection(Some(&draft.text));
                    }
                    // More digits are a descriptor, `{name}` becomes one: neither is an argument.
                    let names_one = draft.text.bytes().all(|b| b.is_ascii_digit()) || draft.text.ends_with('}');
                    if !draft.quoted && draft.any && names_one {
                        return Err(Undecidable::Redirection);
                    }
                    break;
                }
                '\'' => {
                    self.at += 1;
                    self.single_quoted(&mut draft)?;
                }
                '"' => {
                    self.at += 1;
                    self.double_quoted(&mut draft)?;
                }
                '\\' => {
                    self.at += 1;
                    match self.bump() {
                        None => return Err(Undecidable::Syntax),
                        Some('\n') => continue,
                        Some(escaped) => {
                            draft.text.push(escaped);
                            draft.quoted = true;
                        }
                    }
                }
                '$' => {
                    self.at += 1;
                    // By itself at the end of a word it is a dollar.
                    if self.peek().is_none_or(|c| matches!(c, ' ' | '\t' | '\n' | ';' | '|' | '&')) && draft.any {
                        draft.text.push('$');
                    } else {
                        return Err(Undecidable::Expansion);
                    }
                }
                '`' => return Err(Undecidable::Expansion),
                '~' if !draft.any => {
                    self.at += 1;
                    if self.peek().is_none_or(|c| c == '/' || ends_word(c)) {
                        draft.home = true;
                        draft.text.push('~');
                    } else {
                        return Err(Undecidable::Tilde);
                    }
                }
                // After `=` or `:` some shells expand it too.
                '~' if draft.text.ends_with(['=', ':']) => return Err(Undecidable::Tilde),
                // `=name` is a path to one shell; `=` and `==` by themselves compare.
                '=' if draft.text.is_empty() && !self.is_comparison(&draft) => return Err(Undecidable::Tilde),
                '*' | '?' | '[' => {
                    self.at += 1;
                    draft.open = draft.open.or(Some(draft.text.len()));
                    draft.text.push(next);
                }
                '{' | '}' | ',' => {
                    self.at += 1;
                    draft.brace(next)?;
                }
                '=' => {
                    self.at += 1;
                    draft.assigns |= !draft.quoted && is_variable(&draft.text);
                    draft.text.push('=');
                }
                _ => {
                    self.at += 1;
                    self.at += next.len_utf8() - 1;
                    draft.text.push(next);
                }
            }
            draft.any = true;
        }
        if !draft.any {
            return Err(Undecidable::Syntax);
        }
        if self.words.is_empty() {
            if draft.assigns {
                return Err(Undecidable::Assignment);
            }
            if !draft.quoted && RESERVED.contains(&draft.text.as_str()) {
                return Err(Undecidable::ControlFlow);
            }
        }
        let Draft { text, start, mut open, home, .. } = draft;
        // `[` by itself is a command, and no pattern.
        if text == "[" {
            open = None;
        }
        self.words.push(Word { text, open, home, span: start..self.at });
        Ok(())
    }

    /// Whether `=` or `==` stands here as a word.
    fn is_comparison(&mut self, draft: &Draft) -> bool {
        self.comparisons += 1;
        let rest = self.line.get(self.at..).unwrap_or_default();
        !draft.any
            && !self.words.is_empty()
            && self.comparisons <= COMPARISONS_MAX
            && rest.trim_start_matches('=').chars().next().is_none_or(ends_word)
    }

    fn single_quoted(&mut self, draft: &mut Draft) -> Result<(), Undecidable> {
        draft.quoted = true;
        loop {
            match self.bump() {
                None => return Err(Undecidable::Syntax),
                Some('\'') => return Ok(()),
                Some(other) => draft.text.push(other),
            }
        }
    }

    fn double_quoted(&mut self, draft: &mut Draft) -> Result<(), Undecidable> {
        draft.quoted = true;
        loop {
            match self.bump() {
                None => return Err(Undecidable::Syntax),
                Some('"') => return Ok(()),
                Some('`') => return Err(Undecidable::Expansion),
                // A dollar before these is a dollar, in every shell.
                Some('$') => match self.peek() {
                    Some('"' | ' ' | '|' | ')' | '/' | '.' | ',' | ';' | '%' | '\'' | '\\') => draft.text.push('$'),
                    _ => return Err(Undecidable::Expansion),
                },
                Some('\\') => match self.peek() {
                    Some(escaped @ ('"' | '\\' | '$' | '`')) => {
                        self.at += 1;
                        draft.text.push(escaped);
                    }
                    Some('\n') => self.at += 1,
                    _ => draft.text.push('\\'),
                },
                Some(other) => draft.text.push(other),
            }
        }
    }
}

fn ends_word(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')')
}

/// Whether a shell takes `text=` for an assignment: a name, `name+`, `name[…]`.
fn is_variable(text: &str) -> bool {
    let text = text.strip_suffix('+').unwrap_or(text);
    let name = text.split_once('[').map_or(text, |(name, _)| name);
    let mut letters = name.chars();
    letters.next().is_some_and(|c| c.is_alphabetic() || c == '_') && letters.all(|c| c.is_alphanumeric() || c == '_')
}

/// Writes words so that [`split`] reads them back.
pub fn quote(words: &[Word]) -> String {
    let quoted = words.iter().map(|word| {
        let (fixed, open) = word.text.split_at(word.fixed().len());
        let (home, fixed) = if word.home { fixed.split_at(1) } else { ("", fixed) };
        // What stands open has to stay so: everything else in it is quoted.
        let mut out = home.to_owned();
        if !fixed.is_empty() || (home.is_empty() && open.is_empty()) {
            out.push_str(&quoted_text(fixed));
        }
        for letter in open.chars() {
            if matches!(letter, '*' | '?' | '[' | ']') {
                out.push(letter);
            } else {
                out.push_str(&quoted_text(letter.encode_utf8(&mut [0; 4])));
            }
        }
        out
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn quoted_text(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | ':' | ',' | '+' | '@' | '%');
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
