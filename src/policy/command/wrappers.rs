//! Commands that run another one: opened, and judged by what they run. A wrapper's option that is not known here could
//! be one that takes a value, so that nobody can tell where the other command begins: it is denied.

use super::line::{self, Word};
use super::{Commands, Frame, Judged, deny, not_listed};

/// How deep a line may hold another (`bash -c "bash -c …"`).
const DEPTH_MAX: usize = 3;

/// The shells whose `-c` is opened.
const SHELLS: &[&str] = &[
    "sh",
    "bash",
    "zsh",
    "dash",
    "/bin/sh",
    "/bin/bash",
    "/bin/zsh",
    "/bin/dash",
    "/usr/bin/bash",
    "/usr/bin/zsh",
    "/usr/bin/sh",
];

impl Commands {
    /// A command that runs another one is judged by that one. `None`: it is none of these.
    pub(super) fn wrapped(&self, name: &str, words: &[Word], frame: Frame<'_>) -> Option<Judged> {
        let rest = words.get(1..).unwrap_or_default();
        if SHELLS.contains(&name) {
            return self.shell(rest, frame);
        }
        let inner = match name {
            "env" => skip_options(rest, &["-i", "--ignore-environment", "-"], &[], 0),
            "nice" => skip_options(rest, &[], &["-n", "--adjustment"], 0),
            "time" => skip_options(rest, &["-p"], &[], 0),
            "timeout" => skip_options(
                rest,
                &["--preserve-status", "--foreground", "-v", "--verbose"],
                &["-k", "--kill-after", "-s", "--signal"],
                1,
            )
            .filter(|inner| rest.get(rest.len() - inner.len() - 1).is_none_or(|time| is_duration(&time.text))),
            "xargs" => return Some(self.xargs(rest, frame)),
            _ => return None,
        };
        if frame.depth >= DEPTH_MAX {
            return Some(Err(deny("too-deep", "commands run commands that run commands")));
        }
        Some(match inner {
            Some([]) => Err(not_listed(name)),
            Some(inner)
                if name == "time" && inner.iter().take(1).any(|word| line::RESERVED.contains(&word.text.as_str())) =>
            {
                Err(deny("control-flow", "conditions and loops are not judged"))
            }
            Some(inner) if inner.iter().take(1).any(|word| word.text.contains('=')) => {
                Err(deny("assignment", "an assignment can change what the command does"))
            }
            Some(inner) => self.command(inner, Frame { depth: frame.depth + 1, ..frame }),
            None => Err(deny("wrapper-option", &format!("an option of `{name}` is not judged"))),
        })
    }

    /// `bash -lc LINE`.
    fn shell(&self, rest: &[Word], frame: Frame<'_>) -> Option<Judged> {
        let mut rest = rest.iter();
        let mut opens = false;
        let text = loop {
            // Without a line it reads one, or a file.
            let word = rest.next()?;
            if opens && !word.fixed().starts_with('-') {
                break word;
            }
            let letters = word.text.strip_prefix('-').filter(|letters| !letters.is_empty() && word.open.is_none())?;
            let named = letters.ends_with('o');
            if !letters.chars().all(|letter| matches!(letter, 'l' | 'c' | 'e' | 'u' | 'o')) || letters.contains("oo") {
                return Some(Err(deny("wrapper-option", "an option of the shell is not judged")));
            }
            if letters.contains('o') && !(named && rest.next().is_some_and(|name| name.is("pipefail"))) {
                return Some(Err(deny("wrapper-option", "an option of the shell is not judged")));
            }
            opens |= letters.contains('c');
        };
        Some(if rest.next().is_some() || text.open.is_some() || text.home || frame.grows {
            Err(deny("wrapper-option", "only one line, spelled out, is judged"))
        } else if frame.depth >= DEPTH_MAX {
            Err(deny("too-deep", "lines in lines in lines"))
        } else {
            self.line(&text.text, Frame { depth: frame.depth + 1, ..frame }).map(|entries| entries.join(", "))
        })
    }

    /// `xargs COMMAND`: a command that gets words nobody sees. It may become anything at the end.
    fn xargs(&self, rest: &[Word], frame: Frame<'_>) -> Judged {
        let flags = ["-0", "--null", "-r", "--no-run-if-empty", "-t", "--verbose", "-x", "--exit"];
        let values = ["-I", "-n", "--max-args", "-L", "-P", "--max-procs", "-s", "--max-chars", "-d", "--delimiter"];
        let Some(inner) = skip_options(rest, &flags, &values, 0) else {
            return Err(deny("wrapper-option", "an option of `xargs` is not judged"));
        };
        if frame.depth >= DEPTH_MAX || inner.is_empty() {
            return Err(not_listed("xargs"));
        }
        let own = rest.get(..rest.len() - inner.len()).unwrap_or_default();
        let mut inner = inner.to_vec();
        match replaced_by_xargs(own) {
            // What looks like a pattern of file names would be judged as if it could only become one.
            Some(mark) if mark.is_empty() || mark.contains(['*', '?', '[']) => {
                return Err(deny("wrapper-option", "what `xargs -I` replaces is not to be told apart"));
            }
            Some(mark) => inner.iter_mut().for_each(|word| open_at(word, mark)),
            None => {}
        }
        // Some versions forget `-I` when they are told how many words or lines to take.
        let counts = own.iter().any(|word| ["-n", "-L", "--max-args"].iter().any(|name| word.text.starts_with(name)));
        if counts || replaced_by_xargs(own).is_none() {
            let end = inner.last().map_or(0, |word| word.span.end);
            inner.push(Word { text: "*".to_owned(), open: Some(0), home: false, span: end..end });
        }
        self.command(&inner, Frame { depth: frame.depth + 1, grows: true, ..frame })
    }
}

/// What `xargs -I MARK` replaces; the last one counts.
fn replaced_by_xargs(options: &[Word]) -> Option<&str> {
    let at = options.iter().rposition(|word| word.text.starts_with("-I"))?;
    match options.get(at)?.text.strip_prefix("-I")? {
        "" => Some(options.get(at + 1).map_or("", |word| word.text.as_str())),
        mark => Some(mark),
    }
}

/// From `mark` on nobody knows what the word will be.
fn open_at(word: &mut Word, mark: &str) {
    let found = word.text.find(mark);
    word.open = match (word.open, found) {
        (Some(open), Some(at)) => Some(open.min(at)),
        (open, found) => open.or(found),
    };
}

/// What is left behind the options of a wrapper and `operands` words of its own. `None`: one of them is not known.
fn skip_options<'a>(words: &'a [Word], flags: &[&str], values: &[&str], operands: usize) -> Option<&'a [Word]> {
    let mut at = 0;
    let mut left = operands;
    loop {
        let Some(word) = words.get(at) else { return (left == 0).then_some(&[]) };
        if word.open.is_some() || word.home {
            return None;
        }
        let text = word.text.as_str();
        if flags.contains(&text) {
            at += 1;
        } else if values.contains(&text) {
            words.get(at + 1).filter(|value| value.open.is_none())?;
            at += 2;
        } else if values.iter().any(|name| attached(text, name)) {
            at += 1;
        } else if text.starts_with('-') {
            return None;
        } else if left > 0 {
            left -= 1;
            at += 1;
        } else {
            return words.get(at..);
        }
    }
}

/// `-n5`, `--max-args=5`.
fn attached(text: &str, name: &str) -> bool {
    text.strip_prefix(name)
        .is_some_and(|rest| if name.starts_with("--") { rest.starts_with('=') } else { !rest.is_empty() })
}

/// `10`, `2.5`, `1m`.
fn is_duration(text: &str) -> bool {
    let number = text.strip_suffix(['s', 'm', 'h', 'd']).unwrap_or(text);
    number.starts_with(|c: char| c.is_ascii_digit()) && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}
