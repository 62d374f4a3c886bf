//! The table's little languages: durations, sizes, counts, names, commands, expressions.
//!
//! Each function takes the text of one value and gives what it means, or a [`Complaint`] that says what to write
//! instead. They know nothing of places; the caller adds those.

use std::ops::RangeInclusive;
use std::time::Duration;

use regex::{Regex, RegexBuilder};

use crate::text;

/// What is wrong with one value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    /// The sentence.
    pub(super) message: String,
    /// A few words beside the mark.
    pub(super) label: String,
    /// What to write instead.
    pub(super) help: String,
}

impl Complaint {
    fn new(message: impl Into<String>, label: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), label: label.into(), help: help.into() }
    }
}

/// Ten years: longer means a slip of the finger, and sums of it stay far from any overflow.
const MAX_SECONDS: u64 = 3650 * 86_400;

/// The longest name of a row.
const MAX_NAME: usize = 64;

/// The memory an expression may take once compiled. A word of Unicode letters takes about a tenth of it.
const MAX_EXPRESSION_BYTES: usize = 1 << 20;

/// `90s`, `20m`, `1h30m`, `30d`: whole numbers with a unit, the largest first, one second at least.
pub(super) fn duration(text: &str) -> Result<Duration, Complaint> {
    const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
    let shown = text::one_line(text);
    let wrong = |label: &str| {
        Complaint::new(
            format!("`{shown}` is not a duration"),
            label,
            "write a number and a unit (s, m, h, d), such as `90s`, `20m`, `1h30m` or `30d`",
        )
    };
    let mut units = UNITS.iter();
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number =
            rest.get(..digits).filter(|number| !number.is_empty()).ok_or_else(|| wrong("a number is missing"))?;
        let Some(unit) = rest.get(digits..).and_then(|tail| tail.chars().next()) else {
            return Err(Complaint {
                help: format!("did you mean `{text}s` or `{text}m`?"),
                ..wrong("a unit is missing")
            });
        };
        let (_, factor) = units.find(|(name, _)| *name == unit).ok_or_else(|| {
            wrong(if UNITS.iter().any(|(name, _)| *name == unit) {
                "the larger unit comes first, each once"
            } else {
                "not one of the units s, m, h, d"
            })
        })?;
        seconds = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*factor))
            .and_then(|part| seconds.checked_add(part))
            .filter(|sum| *sum <= MAX_SECONDS)
            .ok_or_else(|| {
                Complaint::new(format!("`{shown}` is too long"), "over ten years", "write less than `3650d`")
            })?;
        rest = rest.get(digits + unit.len_utf8()..).unwrap_or_default();
    }
    match seconds {
        0 if text.is_empty() => Err(wrong("empty")),
        0 => Err(Complaint::new(format!("`{shown}` is too short"), "less than a second", "write `1s` or more")),
        _ => Ok(Duration::from_secs(seconds)),
    }
}

/// The longest name of a ref that a table may hold.
const MAX_REFERENCE: usize = 200;

/// The full name of a ref, as git allows it: `refs/heads/main`.
pub(super) fn reference(text: &str) -> Result<String, Complaint> {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && !part.ends_with(['.'])
            && part.strip_suffix(".lock").is_none()
            && !part.contains("..")
            && part.chars().all(|c| !c.is_control() && !c.is_whitespace() && !"~^:?*[\\@{".contains(c))
    };
    let is_full = text.starts_with("refs/") && text.split('/').count() >= 3 && text.split('/').all(is_part);
    if is_full && text.len() <= MAX_REFERENCE {
        return Ok(text.to_owned());
    }
    let help = match text.strip_prefix("refs/") {
        None if !text.is_empty() && text.split('/').all(is_part) => format!("did you mean `refs/heads/{text}`?"),
        _ => "write the full name of a branch or another ref, such as `refs/heads/main`".to_owned(),
    };
    Err(Complaint::new(format!("`{}` is not the full name of a ref", text::one_line(text)), "not a ref", help))
}

/// The longest quiet time: the worker lives while it waits, up to ten times as long.
const MAX_QUIET: Duration = Duration::from_secs(600);

/// A duration of at most ten minutes, or `0s` for none.
pub(super) fn quiet_time(text: &str) -> Result<Duration, Complaint> {
    if text == "0s" {
        return Ok(Duration::ZERO);
    }
    let quiet = duration(text).map_err(|complaint| match text {
        "0" => Complaint { help: "did you mean `0s`?".to_owned(), ..complaint },
        _ => complaint,
    })?;
    if quiet > MAX_QUIET {
        let message = format!("`{}` is too long to wait for quiet", text::one_line(text));
        return Err(Complaint::new(message, "over ten minutes", "write `10m` or less, such as `10s`"));
    }
    Ok(quiet)
}

/// `4MiB`, `512KiB`, `1GiB`, `4096B`: a whole number of bytes with a unit, from 1 KiB to 1 GiB.
pub(super) fn size(text: &str) -> Result<u64, Complaint> {
    bytes_within(text, 1 << 10..=1 << 30, "write a size between `1KiB` and `1GiB`, such as `4MiB`")
}

/// A size of what a run may hold in memory, from 512 MiB to 1 TiB. With less, a runtime does not start.
pub(super) fn memory(text: &str) -> Result<u64, Complaint> {
    bytes_within(text, 512 << 20..=1 << 40, "write a size between `512MiB` and `1024GiB`, such as `8GiB`")
}

/// A size of one file, from 16 MiB to 1 TiB. With less, a runtime cannot keep its own record.
pub(super) fn file_size(text: &str) -> Result<u64, Complaint> {
    bytes_within(text, 16 << 20..=1 << 40, "write a size between `16MiB` and `1024GiB`, such as `1GiB`")
}

/// A number of processes and threads, from 128 to a million. With fewer, a runtime does not start.
pub(super) fn processes(text: &str) -> Result<u64, Complaint> {
    let number = count(text)?;
    if !(128..=1_000_000).contains(&number) {
        let message = format!("`{}` is not a number of processes this can be", text::one_line(text));
        let help = "write a number from `128` to `1M`, such as `1024`: threads count, and the runtime has some itself";
        return Err(Complaint::new(message, "out of range", help));
    }
    Ok(number)
}

fn bytes_within(text: &str, range: RangeInclusive<u64>, help_range: &str) -> Result<u64, Complaint> {
    let shown = text::one_line(text);
    let (number, unit) = split_number(text);
    let factor = match unit {
        "B" => 1_u64,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => {
            let help = match unit.chars().next().map(|c| c.to_ascii_uppercase()) {
                Some(letter @ ('K' | 'M' | 'G')) if !number.is_empty() => {
                    format!("did you mean `{number}{letter}iB`?")
                }
                None if !number.is_empty() => format!("did you mean `{number}MiB` or `{number}KiB`?"),
                _ => "write a number and a unit (B, KiB, MiB, GiB), such as `4MiB`".to_owned(),
            };
            let label = if unit.is_empty() { "a unit is missing" } else { "not one of the units B, KiB, MiB, GiB" };
            return Err(Complaint::new(format!("`{shown}` is not a size"), label, help));
        }
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    bytes.filter(|bytes| range.contains(bytes)).ok_or_else(|| {
        Complaint::new(
            format!("`{shown}` is not a size this can be"),
            if number.is_empty() { "a number is missing" } else { "out of range" },
            help_range,
        )
    })
}

/// `500k`, `5M`, `50`: a whole number, in thousands or millions with a letter, at least 1.
pub(super) fn count(text: &str) -> Result<u64, Complaint> {
    let shown = text::one_line(text);
    let (number, unit) = split_number(text);
    let factor = match unit {
        "" => 1_u64,
        "k" => 1_000,
        "M" => 1_000_000,
        _ => {
            let help = match unit {
                "K" if !number.is_empty() => format!("did you mean `{number}k`?"),
                "m" if !number.is_empty() => format!("did you mean `{number}M`?"),
                _ => "write a whole number, such as `50`, `500k` or `5M`".to_owned(),
            };
            return Err(Complaint::new(format!("`{shown}` is not a count"), "neither digits nor `k` or `M`", help));
        }
    };
    // The ledger and JSON hold signed 64-bit numbers.
    let count = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    count.filter(|count| (1..=i64::MAX.unsigned_abs()).contains(count)).ok_or_else(|| {
        Complaint::new(
            format!("`{shown}` is not a count this can be"),
            "out of range",
            "write a whole number from 1, such as `50`, `500k` or `5M`",
        )
    })
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len())
}

/// A row's name: lower-case letters, digits and hyphens, since it becomes part of a file name and of a command line.
pub(super) fn name(text: &str) -> Result<String, Complaint> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !text.is_empty() && text.len() <= MAX_NAME && text.chars().all(allowed) && !text.starts_with('-') {
        return Ok(text.to_owned());
    }
    let mut suggestion = String::new();
    for c in text.to_lowercase().chars().take(MAX_NAME) {
        if c.is_ascii_alphanumeric() {
            suggestion.push(c);
        } else if !suggestion.is_empty() && !suggestion.ends_with('-') {
            suggestion.push('-');
        }
    }
    let suggestion = suggestion.trim_end_matches('-');
    let label = match text {
        "" => "empty",
        _ if text.len() > MAX_NAME => "longer than 64 characters",
        _ if text.starts_with('-') => "begins with a hyphen",
        _ => "holds other characters than a-z, 0-9 and `-`",
    };
    let help = if suggestion.is_empty() {
        "write a name such as `test` or `design-check`".to_owned()
    } else {
        format!("did you mean `{suggestion}`?")
    };
    Err(Complaint::new(format!("`{}` cannot be the name of a row", text::one_line(text)), label, help))
}

/// A command prefix: plain words.
pub(super) fn command(text: &str) -> Result<String, Complaint> {
    let message = format!("`{}` is not a command prefix", text::one_line(text));
    let wrong = |label: &str, help: &str| Err(Complaint::new(message.clone(), label, help));
    let prefix = "an entry is the first words of a command: `cargo test` allows `cargo test --lib`";
    if text.trim().is_empty() {
        return wrong("empty", "write the first words of a command, or remove the entry");
    }
    if text.chars().any(char::is_control) {
        return wrong("holds a control character", prefix);
    }
    if let Some(c) = text.chars().find(|c| matches!(c, '*' | '?')) {
        return wrong(&format!("`{c}` is no wildcard here"), prefix);
    }
    if let Some(c) = text.chars().find(|c| matches!(c, '|' | '&' | ';' | '<' | '>' | '(' | ')' | '$' | '`')) {
        return wrong(&format!("`{c}` belongs to a shell, and there is none"), prefix);
    }
    match shlex::split(text) {
        None => wrong("a quote is not closed", "close the quote; entries are split into words as a shell does"),
        Some(words) if words.iter().all(String::is_empty) => wrong("empty", prefix),
        Some(_) => Ok(text.to_owned()),
    }
}

/// A regular expression for commit messages: `^` and `$` match at each line, the compiled size is bounded. The engine
/// needs time linear in the message for every expression it accepts.
pub(in crate::triggers) fn expression(text: &str) -> Result<Regex, Box<regex::Error>> {
    RegexBuilder::new(text)
        .multi_line(true)
        .size_limit(MAX_EXPRESSION_BYTES)
        .dfa_size_limit(MAX_EXPRESSION_BYTES)
        .build()
        .map_err(Box::new)
}

/// An expression a table may hold.
pub(super) fn message(text: &str) -> Result<String, Complaint> {
    let Err(error) = expression(text) else { return Ok(text.to_owned()) };
    let shown = text::one_line(text);
    if matches!(*error, regex::Error::CompiledTooBig(_)) {
        let message = format!("`{shown}` is too large an expression");
        return Err(Complaint::new(message, "over 1 MiB once compiled", "use smaller repetitions"));
    }
    // The engine draws the expression over several lines; the last one says what is wrong.
    let drawn = error.to_string();
    let reason = drawn.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
    Err(Complaint::new(
        format!("`{shown}` is not a regular expression"),
        reason,
        "put `\\` before a character that stands for itself, in single quotes: '\\(wip\\)'",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_the_largest_first() {
        for (text, seconds) in [("20m", 1200), ("5m", 300), ("30d", 2_592_000), ("1h30m", 5400), ("1s", 1), ("0h5s", 5)]
        {
            assert_eq!(duration(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for text in
            ["", "20", "m", "30m1h", "5m5m", "0s", "-5m", "5 m", "1.5h", "20M", "99999999999999999999d", "4000d", "1ü"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(duration("20").unwrap_err().help, "did you mean `20s` or `20m`?");
    }

    #[test]
    fn quiet_times_may_be_none_and_have_an_end() {
        assert_eq!(quiet_time("0s").unwrap(), Duration::ZERO);
        assert_eq!(quiet_time("10m").unwrap(), MAX_QUIET);
        for text in ["", "0", "10", "0m", "10m1s", "1d"] {
            assert!(quiet_time(text).is_err(), "{text}");
        }
        assert_eq!(quiet_time("0").unwrap_err().help, "did you mean `0s`?");
    }

    #[test]
    fn sizes_and_counts_have_one_way_to_be_written() {
        assert_eq!((size("4MiB").unwrap(), size("1GiB").unwrap(), size("2048B").unwrap()), (4 << 20, 1 << 30, 2048));
        assert_eq!((count("500k").unwrap(), count("5M").unwrap(), count("50").unwrap()), (500_000, 5_000_000, 50));
        for text in ["", "4", "4MB", "MiB", "2GiB", "0KiB", "1B", "4.5MiB", "99999999999999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert_eq!((memory("8GiB").unwrap(), file_size("16MiB").unwrap()), (8 << 30, 16 << 20));
        assert_eq!((processes("128").unwrap(), processes("1M").unwrap()), (128, 1_000_000));
        assert!(memory("64MiB").is_err() && file_size("1MiB").is_err() && memory("2048GiB").is_err());
        assert!(processes("127").is_err() && processes("2M").is_err() && processes("many").is_err());
        for text in ["", "k", "0", "5K", "1.5M", "-1", "9999999999999999999", "99999999999999999999", "1_000"] {
            assert!(count(text).is_err(), "{text}");
        }
        assert_eq!(size("4MB").unwrap_err().help, "did you mean `4MiB`?");
        assert_eq!(count("500K").unwrap_err().help, "did you mean `500k`?");
    }

    #[test]
    fn names_are_plain_and_a_better_one_is_proposed() {
        assert!(name("design-check2").is_ok());
        assert_eq!(name("Design Check").unwrap_err().help, "did you mean `design-check`?");
        for text in ["", "-a", "ä", "a_b", "a/b", &"a".repeat(65)] {
            assert!(name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn commands_are_plain_words() {
        assert!(command("python -m pytest").is_ok());
        for text in ["", " ", "''", "a 'b", "ls | wc", "rm *", "a\nb", "echo $HOME"] {
            assert!(command(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn expressions_are_bounded() {
        assert!(message("^(feat|task)").is_ok());
        assert_eq!(message("(").unwrap_err().label, "unclosed group");
        assert_eq!(message(r"(\w{200}){200}").unwrap_err().label, "over 1 MiB once compiled");
        assert!(expression("^b$").unwrap().is_match("a\nb\nc"));
    }
}
