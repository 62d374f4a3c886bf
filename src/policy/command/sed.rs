//! `sed` scripts that print, delete and replace in their output, and do nothing else.

use super::line::Word;
use super::schema::Objection;
use super::scripts::{certain, file, refused, unlisted};

/// The words behind `sed`.
pub(super) fn sed(words: &[&Word]) -> Result<(), Objection> {
    let mut scripts = Vec::new();
    let mut rest = words.iter();
    let mut files = Vec::new();
    let mut ended = false;
    while let Some(word) = rest.next() {
        let fixed = word.fixed();
        if ended || !fixed.starts_with('-') || fixed == "-" {
            files.push(*word);
            continue;
        }
        let text = certain(word)?;
        if text == "--" {
            ended = true;
            continue;
        }
        if let Some(long) = text.strip_prefix("--") {
            match long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value))) {
                ("quiet" | "silent" | "posix" | "regexp-extended" | "null-data" | "separate" | "unbuffered", None) => {}
                ("expression", Some(script)) => scripts.push(script),
                ("expression", None) => {
                    scripts.push(certain(rest.next().ok_or_else(|| unlisted("sed-option", word))?)?);
                }
                (name, _) if !name.is_empty() && "in-place".starts_with(name) => {
                    return Err(refused("refused-option", "sed -i changes files"));
                }
                (name, _) if !name.is_empty() && "file".starts_with(name) => {
                    return Err(refused("sed-script", "a script in a file is not judged"));
                }
                _ => return Err(unlisted("option-not-listed", word)),
            }
            continue;
        }
        for (at, letter) in text.char_indices().skip(1) {
            match letter {
                'n' | 'E' | 'r' | 's' | 'z' | 'u' => {}
                'e' => {
                    let attached = text.get(at + 1..).filter(|script| !script.is_empty());
                    scripts.push(match attached {
                        Some(script) => script,
                        None => certain(rest.next().ok_or_else(|| unlisted("sed-option", word))?)?,
                    });
                    break;
                }
                'i' => return Err(refused("refused-option", "sed -i changes files")),
                'f' => return Err(refused("sed-script", "a script in a file is not judged")),
                _ => return Err(unlisted("option-not-listed", word)),
            }
        }
    }
    let mut files = files.into_iter();
    if scripts.is_empty() {
        scripts.push(certain(files.next().ok_or_else(|| refused("sed-script", "sed has no script"))?)?);
    }
    for word in files {
        file(word)?;
    }
    for script in scripts {
        if !sed_only_prints(script) {
            return Err(refused(
                "sed-script",
                "a sed script may print, delete and replace in its output, and nothing else",
            ));
        }
    }
    Ok(())
}

/// How far a sed script was understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SedReading {
    /// It prints, deletes and replaces in its output.
    Harmless,
    /// Every sed refuses the whole script, before it runs anything.
    Invalid,
    /// Anything else.
    Unknown,
}

/// Versions differ in whether a delimiter within brackets ends a pattern: both readings have to be harmless, or an error.
fn sed_only_prints(script: &str) -> bool {
    sed_reading(script, true) == SedReading::Harmless && sed_reading(script, false) != SedReading::Unknown
}

/// `[address[,address]][!]command` with the commands that neither write nor run nor read another file.
fn sed_reading(script: &str, brackets: bool) -> SedReading {
    let mut rest = SedScript { bytes: script.as_bytes(), at: 0, brackets, past_bracket: false };
    let mut depth = 0_usize;
    loop {
        rest.skip(|byte| matches!(byte, b' ' | b';' | b'\n'));
        let Some(byte) = rest.peek() else {
            return if depth == 0 { SedReading::Harmless } else { SedReading::Unknown };
        };
        if byte == b'}' {
            let Some(less) = depth.checked_sub(1) else { return SedReading::Unknown };
            depth = less;
            rest.at += 1;
            rest.skip(|byte| byte == b' ');
            continue;
        }
        if !rest.addresses() {
            return SedReading::Unknown;
        }
        let Some(command) = rest.next() else { return SedReading::Unknown };
        let whole = match command {
            b'{' => {
                depth += 1;
                continue;
            }
            b'p' | b'd' | b'P' | b'D' | b'n' | b'N' | b'g' | b'G' | b'h' | b'H' | b'x' | b'=' | b'z' | b'F' => true,
            b'q' | b'Q' | b'l' => {
                rest.skip(|byte| byte == b' ');
                rest.skip(|byte| byte.is_ascii_digit());
                true
            }
            b's' => rest.substitution(),
            b'y' => rest.delimited(2, false),
            // No command is called like this.
            b']' if rest.past_bracket => return SedReading::Invalid,
            _ => false,
        };
        rest.skip(|byte| byte == b' ');
        match rest.peek() {
            _ if !whole => return SedReading::Unknown,
            // Nor is any flag.
            Some(byte) if rest.past_bracket && byte.is_ascii_punctuation() && !b";}{#".contains(&byte) => {
                return SedReading::Invalid;
            }
            Some(byte) if !matches!(byte, b';' | b'\n' | b'}') => return SedReading::Unknown,
            _ => {}
        }
    }
}

struct SedScript<'a> {
    bytes: &'a [u8],
    at: usize,
    /// A delimiter within brackets does not end a pattern.
    brackets: bool,
    /// One was read as an end.
    past_bracket: bool,
}

impl SedScript<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn skip(&mut self, of: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&of) {
            self.at += 1;
        }
    }

    /// None, one or two addresses, and `!`.
    fn addresses(&mut self) -> bool {
        for number in 0..2 {
            match self.peek() {
                Some(b'0'..=b'9') => self.skip(|byte| byte.is_ascii_digit()),
                Some(b'$') => self.at += 1,
                Some(b'+' | b'~') if number == 1 => {
                    self.at += 1;
                    self.skip(|byte| byte.is_ascii_digit());
                }
                Some(b'/') => {
                    if !self.delimited(1, true) {
                        return false;
                    }
                    self.skip(|byte| matches!(byte, b'I' | b'M'));
                }
                _ if number == 0 => break,
                _ => return false,
            }
            if self.peek() == Some(b'~') && number == 0 {
                self.at += 1;
                self.skip(|byte| byte.is_ascii_digit());
            }
            self.skip(|byte| byte == b' ');
            if self.peek() != Some(b',') || number == 1 {
                break;
            }
            self.at += 1;
            self.skip(|byte| byte == b' ');
        }
        self.skip(|byte| matches!(byte, b'!' | b' '));
        true
    }

    fn substitution(&mut self) -> bool {
        if !self.delimited(2, true) {
            return false;
        }
        self.skip(|byte| matches!(byte, b'g' | b'p' | b'i' | b'I' | b'm' | b'M') || byte.is_ascii_digit());
        true
    }

    /// At the delimiter: `count` parts, each ended by it, of which the first can be a pattern. A delimiter that is a letter
    /// or a backslash is only there to confuse.
    fn delimited(&mut self, count: usize, pattern: bool) -> bool {
        let Some(delimiter) = self.next() else { return false };
        if !delimiter.is_ascii_punctuation() || matches!(delimiter, b'\\' | b';' | b'[' | b']' | b'{' | b'}') {
            return false;
        }
        (0..count).all(|part| self.part(delimiter, pattern && part == 0))
    }

    /// Up to the next delimiter. Only a pattern has brackets.
    fn part(&mut self, delimiter: u8, pattern: bool) -> bool {
        loop {
            match self.next() {
                None | Some(b'\n') => return false,
                Some(b'\\') => {
                    if matches!(self.next(), None | Some(b'\n')) {
                        return false;
                    }
                }
                Some(byte) if byte == delimiter => return true,
                Some(b'[') if pattern => match self.bracket(delimiter) {
                    Bracket::Closed => {}
                    Bracket::Ended => {
                        self.past_bracket = true;
                        return true;
                    }
                    Bracket::Unclear => return false,
                },
                Some(_) => {}
            }
        }
    }

    /// Behind `[`, up to its `]`. A delimiter in it is only accepted where nobody can doubt that it is in it.
    fn bracket(&mut self, delimiter: u8) -> Bracket {
        let mut plain = true;
        self.skip_one(b'^');
        plain &= !self.skip_one(b']');
        loop {
            match self.next() {
                None | Some(b'\n') => return Bracket::Unclear,
                Some(b']') => return Bracket::Closed,
                Some(b'\\') => {
                    plain = false;
                    if matches!(self.next(), None | Some(b'\n' | b']')) {
                        return Bracket::Unclear;
                    }
                }
                // `[:alpha:]`
                Some(b'[') => {
                    plain = false;
                    if let Some(kind @ (b':' | b'.' | b'=')) = self.peek() {
                        self.at += 1;
                        self.skip(|byte| byte.is_ascii_alphabetic());
                        if !(self.skip_one(kind) && self.skip_one(b']')) {
                            return Bracket::Unclear;
                        }
                    }
                }
                Some(byte) if byte == delimiter => {
                    if !plain {
                        return Bracket::Unclear;
                    }
                    if !self.brackets {
                        return Bracket::Ended;
                    }
                }
                Some(_) => {}
            }
        }
    }

    fn skip_one(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }
}

/// How brackets in a pattern ended.
enum Bracket {
    Closed,
    /// The delimiter in them ended the pattern.
    Ended,
    Unclear,
}
