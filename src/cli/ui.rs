//! Everything a person sees goes through here: colour, width, pipes.
//!
//! Data goes to standard output, everything else to standard error. Colour is never the only carrier of a meaning.
//! Foreign text is escaped by whoever passes it in (`text::one_line`, `text::shown`), who knows whether it is a line; what
//! was forgotten is escaped here (`text::screen`).

use std::io::{self, IsTerminal as _, Write};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};

use crate::error::{Context as _, Error, Result};
use crate::run::State;
use crate::text::screen;

/// A heading.
pub const BOLD: Style = Style::new().bold();
/// Less important text.
pub const DIM: Style = Style::new().dimmed();
/// Something good.
pub const GREEN: Style = AnsiColor::Green.on_default();
/// Something to look at.
pub const YELLOW: Style = AnsiColor::Yellow.on_default();
/// Errors only.
pub const RED: Style = AnsiColor::Red.on_default().bold();
/// Something going on.
pub const CYAN: Style = AnsiColor::Cyan.on_default();

/// The width assumed where there is no terminal to ask.
pub const WIDTH_DEFAULT: usize = 80;

/// What is said when standard output is full or gone.
const CANNOT_WRITE: &str = "cannot write to standard output";

/// The two streams and what they can show.
pub struct Ui {
    out: AutoStream<io::Stdout>,
    err: AutoStream<io::Stderr>,
    /// Whether standard output is a terminal.
    pub out_is_terminal: bool,
    /// Whether standard error is a terminal.
    pub err_is_terminal: bool,
}

impl Ui {
    /// The streams of this process.
    pub fn new() -> Self {
        Self {
            out: anstream::stdout(),
            err: anstream::stderr(),
            out_is_terminal: io::stdout().is_terminal(),
            err_is_terminal: io::stderr().is_terminal(),
        }
    }

    /// A line of data. `Err` where the reader is gone: the command ends, quietly.
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<()> {
        writeln!(self.out, "{}", screen(text.as_ref())).context(|| CANNOT_WRITE)
    }

    /// A line of prose: broken between words to the terminal's width, and whole in a pipe. Holds no style.
    pub fn prose(&mut self, text: &str) -> Result<()> {
        match self.width() {
            Some(width) => crate::text::wrapped(text, width.max(20)).iter().try_for_each(|line| self.line(line)),
            None => self.line(text),
        }
    }

    /// A page of Markdown, a left margin before each line: headings bold, prose broken, code left as it is.
    pub fn markdown<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>, margin: &str) -> Result<()> {
        let mut in_code = false;
        for line in lines {
            let is_fence = line.trim_start().starts_with("```");
            if line.starts_with('#') && !in_code {
                self.line(format!("{margin}{BOLD}{line}{BOLD:#}"))?;
            } else if in_code || is_fence {
                self.line(format!("{margin}{line}"))?;
            } else {
                self.prose(&format!("{margin}{line}"))?;
            }
            in_code ^= is_fence;
        }
        Ok(())
    }

    /// Data without a line's end.
    pub fn raw(&mut self, text: &str) -> Result<()> {
        write!(self.out, "{}", screen(text)).and_then(|()| self.out.flush()).context(|| CANNOT_WRITE)
    }

    /// A line beside the data. Nobody reading it is no error.
    pub fn note(&mut self, text: impl AsRef<str>) {
        writeln!(self.err, "{}", screen(text.as_ref())).ok();
    }

    /// Rewrites the current line of the terminal (standard error).
    pub fn live(&mut self, text: &str) {
        write!(self.err, "\r\x1b[2K{}", screen(text)).and_then(|()| self.err.flush()).ok();
    }

    /// JSON, indented for people who pipe it nowhere, on one line for programs.
    pub fn json(&mut self, value: &impl serde::Serialize) -> Result<()> {
        let text =
            if self.out_is_terminal { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
        let text = text.context(|| "cannot write JSON")?;
        self.line(crate::text::json(&text))
    }

    /// The terminal's width in columns; a pipe has none.
    pub fn width(&self) -> Option<usize> {
        if !self.out_is_terminal {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
        Some(size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(WIDTH_DEFAULT))
    }

    /// Shows an error with its hints.
    pub fn error(&mut self, error: &Error) {
        match error.rendered_excerpt() {
            Some(excerpt) => self.note(excerpt.trim_end()),
            None => self.note(format!("{RED}error{RED:#}: {}", crate::text::shown(&error.chain()))),
        }
        for hint in error.hints() {
            self.note(format!("{CYAN}hint{CYAN:#}: {}", crate::text::shown(hint)));
        }
    }
}

impl Default for Ui {
    fn default() -> Self {
        Self::new()
    }
}

/// How a state is coloured.
pub fn state_style(state: State) -> Style {
    match state {
        State::Succeeded => GREEN,
        State::Failed => RED,
        State::Inconclusive | State::Held | State::Waiting => YELLOW,
        State::Preparing | State::Running | State::Validating | State::Publishing => CYAN,
        State::Queued => Style::new(),
        State::Cancelled | State::Superseded => DIM,
    }
}

/// `text` in `style`, padded to `width` first so that escape codes do not count.
pub fn cell(text: &str, width: usize, style: Style) -> String {
    format!("{style}{text:<width$}{style:#}")
}
