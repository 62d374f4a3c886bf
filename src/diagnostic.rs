//! A problem in a file a person wrote, drawn as a compiler draws it: sentence, place, the line, a mark, what to do.
//!
//! Owns how an excerpt looks and that nothing in it can steer a terminal. It knows neither YAML nor triggers: it gets
//! text, byte ranges and sentences. Everything here is pure; whoever prints decides about colour.

use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::text;

/// Whether a rendering holds ANSI colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// Text only.
    #[default]
    Plain,
    /// With ANSI escape sequences.
    Ansi,
}

/// A marked place: a byte range of the source, and what is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Bytes of the source. A range beyond its end is drawn at its end.
    pub span: Range<usize>,
    /// A few words beside the mark.
    pub text: String,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The sentence, lower case, without a full stop.
    pub message: String,
    /// Where it is.
    pub primary: Label,
    /// Another place that explains it, such as the first of two equal names.
    pub context: Vec<Label>,
    /// What to do, each a sentence.
    pub help: Vec<String>,
}

impl Diagnostic {
    /// A problem at one place.
    pub fn new(span: Range<usize>, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            primary: Label { span, text: label.into() },
            context: Vec::new(),
            help: Vec::new(),
        }
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Adds a place that explains the problem.
    #[must_use]
    pub fn also(mut self, span: Range<usize>, text: impl Into<String>) -> Self {
        self.context.push(Label { span, text: text.into() });
        self
    }
}

/// A file as the problems in it are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What the file is called. Untrusted.
    pub name: &'a str,
    /// Its text. Untrusted.
    pub text: &'a str,
}

impl Source<'_> {
    /// Line and column (in characters) of a byte, both from 1.
    pub fn line_and_column(&self, at: usize) -> (usize, usize) {
        let before = text::prefix_bytes(self.text, at);
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (line, before.get(start..).unwrap_or_default().chars().count() + 1)
    }

    /// The place as people write it: `triggers.yaml:7:11`.
    pub fn place(&self, at: usize) -> String {
        let (line, column) = self.line_and_column(at);
        format!("{}:{line}:{column}", text::one_line(self.name))
    }

    /// The problem as a screen shows it, several lines without a trailing newline.
    pub fn render(&self, diagnostic: &Diagnostic, colour: Colour) -> String {
        let labels: Vec<(Range<usize>, &Label, AnnotationKind)> =
            std::iter::once((&diagnostic.primary, AnnotationKind::Primary))
                .chain(diagnostic.context.iter().map(|label| (label, AnnotationKind::Context)))
                .map(|(label, kind)| (self.clamp(&label.span), label, kind))
                .collect();
        let first = labels.iter().map(|(span, ..)| span.start).min().unwrap_or(0);
        let last = labels.iter().map(|(span, ..)| span.end).max().unwrap_or(0);
        let window = self.lines_around(first..last);
        let shown = |range: Range<usize>| text::shown(self.text.get(range).unwrap_or_default()).into_owned();
        // Each character is escaped by itself, so the length of an escaped prefix is where the rest begins.
        let place = |at: usize| shown(window.start..at.max(window.start)).len();
        let snippet =
            Snippet::source(shown(window.clone()))
                .path(text::one_line(self.name))
                .line_start(self.line_and_column(window.start).0)
                .annotations(labels.iter().map(|(span, label, kind)| {
                    kind.span(place(span.start)..place(span.end)).label(words(&label.text))
                }));
        let mut report = vec![Level::ERROR.primary_title(words(&diagnostic.message)).element(snippet)];
        report.extend(diagnostic.help.iter().map(|help| Group::with_title(Level::HELP.secondary_title(words(help)))));
        let renderer = match colour {
            Colour::Plain => Renderer::plain(),
            Colour::Ansi => Renderer::styled(),
        };
        renderer.render(&report)
    }

    /// All problems up to a number people read, a blank line between them.
    pub fn render_all(&self, diagnostics: &[Diagnostic], colour: Colour) -> String {
        /// More than a screenful helps nobody.
        const SHOWN: usize = 10;
        let mut out = String::new();
        for diagnostic in diagnostics.iter().take(SHOWN) {
            if !out.is_empty() {
                out.push_str("\n\n");
            }
            out.push_str(&self.render(diagnostic, colour));
        }
        if let Some(more) = diagnostics.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            write!(out, "\n\nand {more} more").ok();
        }
        out
    }

    /// The part of `span` to mark: within the text, on character boundaries, on one line, without blanks at its end.
    fn clamp(&self, span: &Range<usize>) -> Range<usize> {
        let start = text::prefix_bytes(self.text, span.start).len();
        let end = text::prefix_bytes(self.text, span.end).len().max(start);
        let marked = self.text.get(start..end).unwrap_or_default();
        let line = marked.split(['\n', '\r']).next().unwrap_or_default().trim_end();
        if !line.is_empty() {
            return start..start + line.len();
        }
        let next = self.text.get(start..).and_then(|rest| rest.chars().next()).filter(|c| !matches!(c, '\n' | '\r'));
        start..start + next.map_or(0, char::len_utf8)
    }

    /// The whole lines that hold `range`, without the last line's end.
    fn lines_around(&self, range: Range<usize>) -> Range<usize> {
        let start = self.text.get(..range.start).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
        let rest = self.text.get(range.end..).unwrap_or_default();
        let end = range.end + rest.find('\n').unwrap_or(rest.len());
        let tail = self.text.get(range.end..end).unwrap_or_default();
        start..range.end + tail.trim_end_matches('\r').len()
    }
}

/// A sentence that may quote the file: on one line, harmless, not endless.
fn words(text: &str) -> String {
    text::one_line(&text::clipped(text, 300))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source<'_> {
        Source { name: "file.yaml", text }
    }

    #[test]
    fn the_mark_stands_below_the_value() {
        let text = "a: 1\nb: grün x\nc: 2\n";
        let at = text.find('x').unwrap();
        let problem = Diagnostic::new(at..at + 1, "no such `x`", "here").help("did you mean `y`?").also(0..1, "first");
        insta::assert_snapshot!(source(text).render(&problem, Colour::Plain), @r"
        error: no such `x`
         --> file.yaml:2:9
          |
        1 | a: 1
          | - first
        2 | b: grün x
          |         ^ here
          |
        help: did you mean `y`?
        ");
        assert!(source(text).render(&problem, Colour::Ansi).contains("\u{1b}["));
    }

    #[test]
    fn what_a_file_holds_cannot_steer_the_terminal() {
        let text = "a: \u{1b}[31m\u{202e}x\r\n";
        let at = text.find('x').unwrap();
        let drawn = source(text).render(&Diagnostic::new(at..at + 1, "bad \u{1b}[2J", "he\nre"), Colour::Plain);
        assert!(drawn.chars().all(|c| c == '\n' || !c.is_control()), "{drawn:?}");
        insta::assert_snapshot!(drawn, @r"
        error: bad \u{1b}[2J
         --> file.yaml:1:22
          |
        1 | a: \u{1b}[31m\u{202e}x
          |                      ^ he\nre
        ");
    }

    proptest::proptest! {
        #[test]
        fn any_place_can_be_drawn(text in "(\\PC|[\n\r\t\u{1b}]){0,60}", start in 0usize..200, len in 0usize..80) {
            let drawn = source(&text)
                .render(&Diagnostic::new(start..start + len, "m", "l").also(len..start, "c"), Colour::Plain);
            proptest::prop_assert!(drawn.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", drawn);
            source(&text).place(start);
        }
    }
}
