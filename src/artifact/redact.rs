//! Keeping secrets out of what is published: text that has the shape of a key or a token is replaced.
//!
//! Only shapes that mean nothing else are listed, so that an artifact is not riddled with false alarms.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

/// Name and shape. The shapes are those that the issuers document.
const SHAPES: &[(&str, &str)] = &[
    ("private key", r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)"),
    ("AWS access key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("GitHub token", r"\bgh[pousr]_[A-Za-z0-9]{36,}\b"),
    ("GitHub token", r"\bgithub_pat_[A-Za-z0-9_]{50,}\b"),
    ("GitLab token", r"\bglpat-[A-Za-z0-9_-]{20,}"),
    ("Slack token", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("Google key", r"\bAIza[0-9A-Za-z_-]{35}"),
    ("API key", r"\bsk-[A-Za-z0-9_-]{20,}"),
    ("npm token", r"\bnpm_[A-Za-z0-9]{36}\b"),
    ("signed token", r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    ("password in a URL", r"\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/:@]+@"),
];

static COMPILED: LazyLock<Vec<(&str, Regex)>> =
    LazyLock::new(|| SHAPES.iter().filter_map(|(name, shape)| Some((*name, Regex::new(shape).ok()?))).collect());

/// `text` with every secret replaced by `(redacted: kind)`.
pub fn redacted(text: &str) -> Cow<'_, str> {
    let mut out = Cow::Borrowed(text);
    for (name, shape) in COMPILED.iter() {
        if shape.is_match(&out) {
            let replacement = format!("(redacted: {name})");
            out = Cow::Owned(shape.replace_all(&out, regex::NoExpand(&replacement)).into_owned());
        }
    }
    out
}

/// [`redacted`], in every string of `value`.
pub(super) fn redact_value(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(clean) = redacted(text) {
                *text = clean;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact_value),
        Value::Object(map) => map.values_mut().for_each(redact_value),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_compiles_and_keys_go() {
        assert_eq!(COMPILED.len(), SHAPES.len());
        let secrets = [
            format!("AKIA{}", "ABCDEFGH12345678"),
            format!("ghp_{}", "a".repeat(36)),
            format!("sk-{}", "a1".repeat(12)),
            format!("-----BEGIN RSA {}-----\nMIIE\n-----END RSA PRIVATE KEY-----", "PRIVATE KEY"),
            format!("-----BEGIN {}-----\nMIIE", "PRIVATE KEY"),
            format!("https://user:{}@host/", "hunter2"),
        ];
        for secret in secrets {
            let text = redacted(&format!("before {secret} after")).into_owned();
            assert!(text.starts_with("before (redacted: "), "{text}");
            assert!(!text.contains("MIIE") && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn ordinary_text_stays() {
        for text in ["task-list-of-things", "https://host/path?a=b@c", "src/keys.rs:12", "sk-short", "AKIA is a prefix"]
        {
            assert_eq!(redacted(text), text);
        }
    }
}
