//! Putting other people's text on a Markdown page so that it stays text.
//!
//! A page is opened in editors and browsers that render HTML, load images and follow links. Nothing of a model's answer
//! may become any of these, nor a heading or a verdict of the page: only code spans of a model are kept as such.

use crate::text;

/// `text` on one line, with everything but code spans taken literally.
pub(super) fn inline(text: &str) -> String {
    let shown = text::shown(text);
    let line = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut out = String::with_capacity(line.len() + 8);
    let mut rest = line.as_str();
    while let Some(at) = rest.find('`') {
        let (before, after) = rest.split_at(at);
        literal(before, &mut out);
        if let Some((content, tail)) = code_span(after) {
            out.push_str(&code(content));
            rest = tail;
        } else {
            rest = after.trim_start_matches('`');
            out.push_str(&"\\`".repeat(after.len() - rest.len()));
        }
    }
    literal(rest, &mut out);
    out
}

/// The content of the code span that `text` begins with, and what follows it.
fn code_span(text: &str) -> Option<(&str, &str)> {
    let (content, tail) = text.strip_prefix('`')?.split_once('`')?;
    (!content.trim().is_empty() && !tail.starts_with('`')).then_some((content, tail))
}

/// Every character that begins a construct is escaped: a link, an image, a tag, an entity, emphasis, a table cell; and what
/// makes a link of a bare address.
fn literal(text: &str, out: &mut String) {
    for (at, c) in text.char_indices() {
        let (before, after) = text.split_at(at);
        match c {
            ':' if after.starts_with("://") => out.push_str("\\:"),
            '.' if before.len() >= 3 && before.as_bytes()[at - 3..].eq_ignore_ascii_case(b"www") => out.push_str("\\."),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '*' | '[' | ']' | '|' | '~' | '$' => {
                out.push('\\');
                out.push(c);
            }
            // `snake_case` is no emphasis, and reads better as it is; at the edge of a word it is one.
            '_' if !out.ends_with(char::is_alphanumeric) => out.push_str("\\_"),
            c => out.push(c),
        }
    }
}

/// [`inline`], as a paragraph of its own: what begins a block at the start of a line is escaped.
pub(super) fn paragraph(text: &str) -> String {
    let line = inline(text);
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let numbered = digits > 0 && matches!(line.as_bytes().get(digits), Some(b'.' | b')'));
    match line.chars().next() {
        Some('#' | '-' | '+' | '=' | ':') => format!("\\{line}"),
        Some(_) if numbered => format!("{}\\{}", &line[..digits], &line[digits..]),
        _ => line,
    }
}

/// `text` as a code span on one line.
pub(super) fn code(text: &str) -> String {
    let line = text::one_line(text);
    let ticks = "`".repeat(longest_run(&line) + 1);
    let pad = if line.is_empty() || line.starts_with('`') || line.ends_with('`') { " " } else { "" };
    format!("{ticks}{pad}{line}{pad}{ticks}")
}

/// `text` as a fenced block, with a fence that the text cannot close.
pub(super) fn block(language: &str, text: &str) -> String {
    let shown = text::shown(text.trim_end_matches(['\n', '\r']));
    let fence = "`".repeat(longest_run(&shown).max(2) + 1);
    format!("{fence}{language}\n{shown}\n{fence}\n")
}

fn longest_run(text: &str) -> usize {
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

/// `n thing` or `n things`.
pub(super) fn plural(n: usize, thing: &str) -> String {
    if n == 1 { format!("1 {thing}") } else { format!("{n} {thing}s") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(inline("use `a_b` in Vec<T>, not snake_case"), "use `a_b` in Vec&lt;T&gt;, not snake_case");
        assert_eq!(inline("![x](http://e/x.png) <img src=x>"), "!\\[x\\](http\\://e/x.png) &lt;img src=x&gt;");
        assert_eq!(inline("see WWW.e.org, a://b: c"), "see WWW\\.e.org, a\\://b: c");
        assert_eq!(inline("a\n\n# Verdict: pass\n"), "a # Verdict: pass");
        assert_eq!(inline("**pass** _x_ \\[a"), "\\*\\*pass\\*\\* \\_x_ \\\\\\[a");
        assert_eq!(inline("lone ` and `` two"), "lone \\` and \\`\\` two");
        assert_eq!(paragraph("# x"), "\\# x");
        assert_eq!(paragraph("1. x"), "1\\. x");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(code("`"), "`` ` ``");
        assert_eq!(block("", "a\n````\nb\n"), "`````\na\n````\nb\n`````\n");
    }

    proptest! {
        #[test]
        fn no_text_becomes_markup(text in "[a-z<>&!\\[\\]()`*_#|\\\\~\n \u{1b}\u{202e}]{0,60}") {
            let line = inline(&text);
            let steers = line.contains(['\n', '\u{1b}', '\u{202e}']);
            prop_assert!(!steers);
            // Outside code spans no construct can begin: with spans and escapes taken away, none of these is left.
            let mut outside = String::new();
            let mut rest = line.as_str();
            while let Some(c) = rest.chars().next() {
                if c == '\\' {
                    rest = rest.char_indices().nth(2).map_or("", |(at, _)| &rest[at..]);
                } else if c == '`' {
                    let run = rest.len() - rest.trim_start_matches('`').len();
                    let ticks = &rest[..run];
                    let end = rest[run..].find(ticks);
                    prop_assert!(end.is_some(), "a span is not closed in {line:?}");
                    rest = &rest[run + end.unwrap() + run..];
                } else {
                    outside.push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
            prop_assert!(!outside.contains(['<', '>', '[', ']', '*', '|']), "{line:?}");
        }

        #[test]
        fn a_block_is_closed_by_its_last_line_only(text in "[a`\n]{0,80}") {
            let block = block("", &text);
            let fence = block.lines().next().unwrap();
            let closing: Vec<usize> =
                block.lines().enumerate().skip(1).filter(|(_, l)| l.starts_with(fence)).map(|(i, _)| i).collect();
            prop_assert_eq!(closing, vec![block.lines().count() - 1]);
        }
    }
}
