//! What a failed turn means for the one who has to act.
//!
//! Codex says why a turn failed in one sentence, which is all there is: `exec` gives no code. Only that sentence, the
//! exit status and Codex's own standard error are read here; never what the model wrote. The sentences are those of
//! Codex 0.130 to 0.169, measured against a server that misbehaved on purpose (`tests/codex_exec.rs` does it again).

use std::time::Duration;

use serde_json::Value;

use crate::runtime::{Class, Failure};
use crate::text;

/// How much of a provider's own words a message repeats, in characters.
const DETAIL_CHARS: usize = 240;

/// The failure behind the sentence of a `turn.failed`.
pub fn turn_failed(sentence: &str) -> Failure {
    told(sentence, class(sentence))
}

/// The failure of this class behind the sentence.
pub(in crate::runtime) fn told(sentence: &str, class: Class) -> Failure {
    if let Some(name) = between(sentence, "Missing environment variable: `", "`") {
        return Failure::new(
            Class::Auth,
            format!("the model provider wants its key in {}, which is not set", shown(name)),
        )
        .fix(format!("export {}=…", shown(name)));
    }
    let detail = detail(sentence);
    let failure = match class {
        Class::Auth if http_status(sentence) == Some(403) => {
            Failure::new(class, format!("the model provider refused access: {detail}")).fix(super::LOGIN)
        }
        Class::Auth => Failure::new(class, format!("the model provider refused the login: {detail}")).fix(super::LOGIN),
        Class::Quota => Failure::new(class, format!("the account at the model provider is used up: {detail}")),
        Class::RateLimited => Failure::new(class, format!("the model provider asks to slow down: {detail}")),
        // Codex puts the same words in place of whatever a provider says that failed inside.
        Class::Overloaded => Failure::new(class, format!("the model provider is overloaded or failed: {detail}")),
        // What Codex says of its own accord is advice for its own screen.
        Class::ContextTooLarge if detail.starts_with("Codex ran out of room") => {
            Failure::new(class, "the prompt does not fit the model's context window")
        }
        Class::ContextTooLarge => Failure::new(class, format!("the prompt does not fit the model: {detail}")),
        Class::Stalled => Failure::new(class, format!("the model provider went silent: {detail}")),
        Class::Network => Failure::new(class, format!("the connection to the model provider failed: {detail}")),
        Class::Protocol if sentence.contains(BROKEN_OFF) => {
            let why = sentence.split_once(BROKEN_OFF).map_or("", |(_, rest)| rest.trim_start_matches(", reason: "));
            let why = shown(why.trim_end_matches('.'));
            Failure::new(class, format!("the model provider broke the answer off: {why}"))
        }
        Class::Protocol if is_unknown_model(&detail) => {
            Failure::new(class, format!("the model provider does not have the model: {detail}"))
                .fix("set `model` in Codex's config.toml")
        }
        Class::Missing
        | Class::Protocol
        | Class::Sandbox
        | Class::Timeout
        | Class::Output
        | Class::Crashed
        | Class::Cancelled
        | Class::Internal => Failure::new(class, format!("the model provider refused the request: {detail}")),
    };
    Failure { retry_after: retry_after(sentence), ..failure }
}

/// How Codex begins to say that a provider ended a response before the model was done.
const BROKEN_OFF: &str = "Incomplete response returned";

fn is_unknown_model(detail: &str) -> bool {
    // The status names nothing: a wrong path is not found either.
    let lower = detail.to_lowercase().replace("404 not found", "");
    lower.contains("model") && ["does not exist", "not found", "not supported"].iter().any(|w| lower.contains(w))
}

fn class(sentence: &str) -> Class {
    let lower = sentence.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    // The same prompt meets the same limit or the same filter.
    if sentence.contains(BROKEN_OFF) {
        return Class::Protocol;
    }
    if says(&["quota exceeded", "insufficient_quota", "usage limit", "usage_limit_reached", "usage_not_included"]) {
        return Class::Quota;
    }
    if let Some(status) = http_status(sentence) {
        return match status {
            401 | 403 => Class::Auth,
            408 | 407 => Class::Network,
            413 => Class::ContextTooLarge,
            429 => Class::RateLimited,
            500..=599 => Class::Overloaded,
            _ => Class::Protocol,
        };
    }
    // A raw body of a refused request can quote anything, so it is told from Codex's own sentences first.
    if sentence.trim_start().starts_with(['{', '<']) {
        return if says(&["context_length_exceeded"]) { Class::ContextTooLarge } else { Class::Protocol };
    }
    if says(&["context window", "context length", "context_length_exceeded"]) {
        Class::ContextTooLarge
    } else if says(&["rate limit", "rate_limit", "too many requests", "try again in"]) {
        Class::RateLimited
    } else if says(&["at capacity", "high demand", "overloaded"]) {
        Class::Overloaded
    } else if says(&["idle timeout waiting"]) {
        Class::Stalled
    } else if says(&["stream disconnected", "connection", "error sending request", "dns error", "timed out", "timeout"])
    {
        Class::Network
    } else {
        Class::Protocol
    }
}

/// The status in `unexpected status 401 Unauthorized: …` and `… last status: 429 Too Many Requests`.
fn http_status(sentence: &str) -> Option<u16> {
    ["unexpected status ", "last status: "].iter().find_map(|prefix| {
        let (_, rest) = sentence.split_once(prefix)?;
        rest.get(..3)?.parse().ok()
    })
}

/// How long the provider asked to wait: `try again in 1.5s`, `in 300ms`, `in 2 hours 5 minutes`.
fn retry_after(sentence: &str) -> Option<Duration> {
    let lower = sentence.to_lowercase();
    let (_, rest) = lower.split_once("try again in ")?;
    let mut total = 0.0_f64;
    let mut rest = rest;
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        rest = rest.strip_prefix("and ").unwrap_or(rest);
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let Ok(number) = rest[..digits].parse::<f64>() else { break };
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let seconds = match &rest[..letters] {
            "ms" | "millisecond" | "milliseconds" => 0.001,
            "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
            "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
            "h" | "hour" | "hours" => 3600.0,
            "d" | "day" | "days" => 86_400.0,
            _ => break,
        };
        total += number * seconds;
        rest = &rest[letters..];
    }
    Duration::try_from_secs_f64(total).ok().filter(|wait| !wait.is_zero())
}

/// The provider's own words: the message inside an error body, without the URL that was asked.
fn detail(sentence: &str) -> String {
    let start = sentence.find('{');
    let body = start.and_then(|at| serde_json::Deserializer::from_str(&sentence[at..]).into_iter::<Value>().next());
    let inner = body.and_then(Result::ok).and_then(|body| {
        let error = body.get("error").unwrap_or(&body);
        error.get("message").or_else(|| error.get("detail"))?.as_str().map(str::to_owned)
    });
    let words = match (inner, start) {
        (Some(inner), Some(at)) if at > 0 => format!("{}{inner}", &sentence[..at]),
        (Some(inner), _) => inner,
        (None, _) => sentence.split(", url: ").next().unwrap_or(sentence).to_owned(),
    };
    let prefixes = ["unexpected status ", "exceeded retry limit, last status: "];
    let words = prefixes.iter().find_map(|prefix| words.strip_prefix(prefix)).unwrap_or(&words);
    shown(words.trim().trim_end_matches('.'))
}

/// The failure of a Codex that ended without saying how the turn ended: by its exit status and its standard error.
pub fn died(code: Option<i32>, signal: Option<i32>, last_error: &str, retrying: Option<&str>) -> Failure {
    let complaint = shown(last_error);
    if code == Some(2) {
        return Failure::new(
            Class::Protocol,
            format!("this version of Codex does not know how it was called: {complaint}"),
        )
        .fix(super::INSTALL);
    }
    if last_error.contains("no rollout found") {
        return Failure::new(Class::Protocol, "Codex no longer has the thread that was to be continued".to_owned());
    }
    if let Some(reason) = retrying {
        let reason = detail(reason);
        return Failure::new(
            Class::Network,
            format!("Codex ended while it tried to reach the model provider: {reason}"),
        );
    }
    if let Some(signal) = signal {
        return Failure::new(Class::Crashed, format!("Codex was ended by signal {signal}{}", after(&complaint)));
    }
    let code = code.map_or_else(|| "no exit code".to_owned(), |code| format!("exit code {code}"));
    // The same input meets the same refusal: another attempt would not end better.
    let refused = [
        "Error loading config",
        "Error parsing",
        "config.toml",
        "output schema",
        "failed to initialize",
        "Not inside a trusted directory",
    ];
    if refused.iter().any(|words| last_error.contains(words)) {
        return Failure::new(Class::Protocol, format!("Codex refused to start ({code}): {complaint}"))
            .fix("codex doctor");
    }
    Failure::new(Class::Crashed, format!("Codex ended in the middle of the turn ({code}){}", after(&complaint)))
}

fn after(complaint: &str) -> String {
    if complaint.is_empty() { String::new() } else { format!(": {complaint}") }
}

/// The line of Codex's standard error that says most: the last one that names an error, else the last one that is no
/// part of a stack trace. Without the time and the module that a log line begins with.
pub(in crate::runtime) fn telling_line(stderr: &str) -> &str {
    let useful = |line: &&str| {
        let line = line.trim();
        let frame = line.split_once(": ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
        let noise = ["Stack backtrace", "at ", "note: run with"].iter().any(|start| line.starts_with(start));
        !line.is_empty() && !frame && !noise
    };
    let is_error = |line: &&str| line.starts_with("Error") || line.starts_with("error:") || line.contains(" ERROR ");
    let lines = || stderr.lines().filter(useful);
    let line = lines().rfind(is_error).or_else(|| lines().next_back()).unwrap_or_default();
    let line = line.split_once(" ERROR ").map_or(line, |(_, rest)| rest);
    line.strip_prefix("Error: ").or_else(|| line.strip_prefix("error: ")).unwrap_or(line).trim()
}

/// Foreign words for a sentence of ours: on one line, nothing that steers a terminal, not too long.
pub(in crate::runtime) fn shown(words: &str) -> String {
    text::clipped(&text::one_line(words), DETAIL_CHARS).into_owned()
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split_once(end).map(|(inner, _)| inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_a_provider_asks_for() {
        for (sentence, wait) in [
            ("Rate limit reached. Please try again in 1.5s.", Some(1500)),
            ("try again in 300ms", Some(300)),
            ("You've hit your usage limit. Try again in 2 hours 5 minutes.", Some(7_500_000)),
            ("Try again in 1 day, 2 hours and 1 second", Some(93_601_000)),
            ("try again in a while", None),
            ("try again in 0s", None),
            ("try again in 999999999999999999999999999999d", None),
            ("later", None),
        ] {
            assert_eq!(retry_after(sentence), wait.map(Duration::from_millis), "{sentence}");
        }
    }

    #[test]
    fn sentences_that_no_scripted_server_brings_about() {
        for (sentence, class) in [
            ("You've hit your usage limit. Upgrade to Pro.", Class::Quota),
            ("stream disconnected before completion: idle timeout waiting for SSE", Class::Stalled),
            ("unexpected status 502 Bad Gateway: <html>", Class::Overloaded),
            ("unexpected status 999", Class::Protocol),
            ("request timed out", Class::Network),
            ("{\"detail\":\"the connection field is unknown\"}", Class::Protocol),
            ("Incomplete response returned, reason: max_output_tokens", Class::Protocol),
            ("", Class::Protocol),
        ] {
            assert_eq!(turn_failed(sentence).class, class, "{sentence}");
        }
        let failure = turn_failed("Missing environment variable: `A\u{1b}B`.");
        assert_eq!((failure.class, failure.fix.as_deref()), (Class::Auth, Some("export A\\u{1b}B=…")));
    }

    #[test]
    fn the_words_of_a_provider_are_found_and_made_harmless() {
        let body =
            r#"unexpected status 404 Not Found: {"error":{"message":"no \u001b[31mmodel","code":1}}, url: http://x"#;
        let failure = turn_failed(body);
        let said = "the model provider refused the request: 404 Not Found: no \\u{1b}[31mmodel";
        assert_eq!(failure.message, said);
        let unknown = turn_failed(r#"{"error":{"message":"The model `a` does not exist"}}"#);
        assert_eq!(unknown.message, "the model provider does not have the model: The model `a` does not exist");
        assert!(turn_failed(&"x".repeat(10_000)).message.chars().count() < 300);
    }

    #[test]
    fn the_line_that_says_most() {
        let trace =
            "warning: w\nError: thread/resume failed: no rollout found (code 1)\n\nStack backtrace:\n   0: <unknown>\n";
        assert_eq!(telling_line(trace), "thread/resume failed: no rollout found (code 1)");
        assert_eq!(telling_line("2026-11-22T13:16:49Z ERROR codex_core: it broke\n"), "codex_core: it broke");
        assert_eq!(telling_line("something\nelse\n"), "else");
        assert_eq!(telling_line(""), "");
    }

    #[test]
    fn ends_without_a_word() {
        assert_eq!(died(None, Some(9), "", None).message, "Codex was ended by signal 9");
        let unknown = died(Some(2), None, "unexpected argument '--x' found", None);
        assert_eq!(unknown.class, Class::Protocol);
        assert_eq!(died(Some(101), None, "panicked", None).class, Class::Crashed);
        assert_eq!(died(None, Some(15), "", Some("Reconnecting... waiting for network")).class, Class::Network);
        assert_eq!(died(Some(1), None, "Error loading config.toml:", None).class, Class::Protocol);
        assert!(died(None, None, "", None).message.contains("no exit code"));
    }
}
