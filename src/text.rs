//! Turning foreign text into something a terminal, a log line or a Markdown page can show.
//!
//! Branch names, messages, paths and model output are stored raw and shown through this module. It knows nothing of
//! what the text means; it only promises that nothing but printable characters, newline and tab leaves it.

use std::borrow::Cow;
use std::time::Duration;

/// Whether a character may reach a terminal as it is: no C0 or C1 control but newline and tab, no DEL, nothing that
/// reorders or hides text (bidirectional controls, zero-width and tag characters, line and paragraph separators).
fn is_shown(c: char) -> bool {
    match c {
        '\n' | '\t' => true,
        '\u{00ad}'
        | '\u{034f}'
        | '\u{061c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' => false,
        c => !c.is_control(),
    }
}

/// `text` with every character that could steer a terminal written as `\u{..}`. Newlines and tabs stay.
pub fn shown(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_shown) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_shown(c) {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
    }
    Cow::Owned(out)
}

/// [`shown`], of text with styles of ours: sequences that set colours stay. What everything passes on its way to a screen,
/// whoever forgot to escape what.
pub fn screen(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_shown) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = style(rest);
        let (this, next) = rest.split_at(if length > 0 { length } else { c.len_utf8() });
        if length > 0 || is_shown(c) {
            out.push_str(this);
        } else {
            out.extend(c.escape_unicode());
        }
        rest = next;
    }
    Cow::Owned(out)
}

/// The length of the sequence that sets a style, if `text` begins with one.
fn style(text: &str) -> usize {
    let Some(codes) = text.strip_prefix("\u{1b}[") else { return 0 };
    let length = codes.bytes().take(32).take_while(|byte| byte.is_ascii_digit() || *byte == b';').count();
    if codes.as_bytes().get(length) == Some(&b'm') { length + 3 } else { 0 }
}

/// Shown text as a word for the shell: for a line that a person copies and runs.
pub fn shell_word(shown: &str) -> String {
    // It fails for a NUL alone, which is not shown.
    shlex::try_quote(shown).map_or_else(|_| one_line(shown), Cow::into_owned)
}

/// [`shown`], on one line: newlines and tabs are written as `\n` and `\t`.
pub fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if is_shown(c) => out.push(c),
            c => out.extend(c.escape_unicode()),
        }
    }
    out
}

/// JSON, as a program wrote it, with every character that could steer a terminal written as `\uXXXX`. It says the same:
/// such a character can stand in strings only.
pub fn json(text: &str) -> Cow<'_, str> {
    use std::fmt::Write as _;
    if text.chars().all(is_shown) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_shown(c) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").ok();
            }
        }
    }
    Cow::Owned(out)
}

/// The bytes of a path or a ref as one line of text; bytes that are no UTF-8 become `\xNN`.
pub fn bytes_line(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(&one_line(chunk.valid()));
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}").ok();
        }
    }
    out
}

/// The first `max` characters of `text`, with `…` where something was left out.
pub fn clipped(text: &str, max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max) {
        None => Cow::Borrowed(text),
        Some(_) if max == 0 => Cow::Borrowed(""),
        Some(_) => {
            let end = text.char_indices().nth(max - 1).map_or(0, |(at, _)| at);
            Cow::Owned(format!("{}…", &text[..end]))
        }
    }
}

/// `line` broken between words into lines of at most `width` characters; the ones after the first are indented like the
/// first, and below the text of a list item. A word that is longer than a line stays whole.
pub fn wrapped(line: &str, width: usize) -> Vec<String> {
    if line.chars().count() <= width {
        return vec![line.to_owned()];
    }
    let lead: String = line.chars().take_while(|c| *c == ' ' || *c == '>').collect();
    let rest = &line[lead.len()..];
    let item = if rest.starts_with("- ") { 2 } else { 0 };
    let indent = format!("{lead}{}", " ".repeat(item));
    let mut lines = Vec::new();
    let mut current = lead.clone();
    let mut is_empty = true;
    for word in rest.split(' ') {
        let fits = current.chars().count() + 1 + word.chars().count() <= width;
        if !is_empty && !fits {
            lines.push(std::mem::replace(&mut current, indent.clone()));
            is_empty = true;
        }
        if !is_empty {
            current.push(' ');
        }
        current.push_str(word);
        is_empty = false;
    }
    lines.push(current);
    lines
}

/// The longest prefix of `text` that is at most `max_bytes` long and ends between two characters.
pub fn prefix_bytes(text: &str, max_bytes: usize) -> &str {
    if text.len() <= max_bytes {
        return text;
    }
    let mut end = max_bytes;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// `text`, or where it is longer than `max_bytes` its beginning and its end, between two characters, with a line between
/// them that says how much is left out. What a command printed first and last says most.
pub fn ends_bytes(text: &str, max_bytes: usize) -> Cow<'_, str> {
    if text.len() <= max_bytes {
        return Cow::Borrowed(text);
    }
    // Room for the line between, whose number has at most twenty digits.
    let half = max_bytes.saturating_sub(48) / 2;
    let beginning = prefix_bytes(text, half);
    let mut from = text.len() - half;
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let left_out = from - beginning.len();
    Cow::Owned(format!("{beginning}\n[… {left_out} bytes left out …]\n{}", &text[from..]))
}

/// A duration as people read it: `0.4s`, `12s`, `3m05s`, `1h02m`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1}s", duration.as_secs_f64()),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// A token count as people read it: `940`, `12.3k`, `1.2M`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown; a double holds fifteen")]
pub fn count(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{:.1}k", n as f64 / 1e3),
        _ => format!("{:.1}M", n as f64 / 1e6),
    }
}

/// A size as people read it: `12 B`, `3.4 KiB`, `1.2 MiB`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown; a double holds fifteen")]
pub fn bytes(n: u64) -> String {
    match n {
        0..1_024 => format!("{n} B"),
        1_024..1_048_576 => format!("{:.1} KiB", n as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", n as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", n as f64 / 1_073_741_824.0),
    }
}

/// The candidate that `word` was most likely meant to be, if one is near enough to be worth suggesting.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_reordering_characters_never_pass() {
        let hostile = "a\u{1b}[31mb\u{7}c\u{9b}d\u{202e}e\u{200b}f\u{2028}g\u{e0041}h\rk";
        for text in [shown(hostile).into_owned(), one_line(hostile), bytes_line(hostile.as_bytes())] {
            assert!(text.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{text:?}");
        }
        assert_eq!(shown("tab\tand\nline ünï"), "tab\tand\nline ünï");
        assert_eq!(one_line("a\nb"), "a\\nb");
        assert_eq!(bytes_line(b"caf\xe9/x"), "caf\\xe9/x");
    }

    #[test]
    fn only_styles_pass_to_a_screen() {
        let styled = "\u{1b}[1m\u{1b}[38;5;9mred\u{1b}[0m plain";
        assert_eq!(screen(styled), styled);
        let hostile = "\u{1b}]0;title\u{7}\u{1b}[2J\u{1b}[?25l\u{1b}c\u{9b}31m\u{202e}\r\u{1b}[";
        assert!(screen(hostile).bytes().all(|byte| byte.is_ascii_graphic()), "{}", screen(hostile));
    }

    #[test]
    fn json_says_the_same_without_them() {
        let hostile = "a\u{1b}b\u{7f}c\u{9b}d\u{202e}e\u{e0041}f\u{1f600}\n";
        let plain = serde_json::to_string(hostile).unwrap();
        let clean = json(&plain);
        assert!(clean.chars().all(|c| c.is_ascii_graphic() || c == '\u{1f600}'), "{clean}");
        assert_eq!(serde_json::from_str::<String>(&clean).unwrap(), hostile);
    }

    #[test]
    fn a_word_for_the_shell_stays_one_word() {
        assert_eq!(shell_word("/a/b-c"), "/a/b-c");
        for hostile in ["/a b", "/a;rm -rf ~", "/$(id)", "/`id`", "/it's", "", "~", "/a\0b"] {
            let words = shlex::split(&shell_word(hostile)).unwrap();
            assert_eq!(words.len(), 1, "{hostile}: {words:?}");
        }
    }

    #[test]
    fn cuts_fall_between_characters() {
        assert_eq!(clipped("grün", 3), "gr…");
        assert_eq!(clipped("grün", 4), "grün");
        assert_eq!(prefix_bytes("grün", 3), "gr");
        let cut = ends_bytes(&"ü".repeat(500), 200).into_owned();
        assert!(
            cut.len() <= 200 && cut.starts_with("üü") && cut.ends_with("üü") && cut.contains("bytes left out"),
            "{cut}"
        );
        assert_eq!(ends_bytes("short", 200), "short");
    }

    #[test]
    fn lines_break_between_words_and_keep_their_indent() {
        assert_eq!(wrapped("  - one two three", 11), ["  - one two", "    three"]);
        assert_eq!(wrapped("> a bb ccc", 6), ["> a bb", "> ccc"]);
        assert_eq!(wrapped("averyveryverylongword b", 5), ["averyveryverylongword", "b"]);
        assert_eq!(wrapped("", 5), [""]);
    }

    #[test]
    fn figures_read_well() {
        assert_eq!(duration(Duration::from_millis(412)), "0.4s");
        assert_eq!(duration(Duration::from_secs(185)), "3m05s");
        assert_eq!(count(12_340), "12.3k");
        assert_eq!(bytes(3_500), "3.4 KiB");
    }

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        assert_eq!(nearest("plannr", ["planner", "tester"]), Some("planner"));
        assert_eq!(nearest("zzz", ["planner", "tester"]), None);
    }
}
