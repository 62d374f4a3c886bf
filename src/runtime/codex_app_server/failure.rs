//! What a failed turn means for the one who has to act: the server gives a code beside the sentence.

use serde_json::Value;

use crate::runtime::codex_exec::classify::{told, turn_failed};
use crate::runtime::{Class, Failure};

/// The failure behind the sentence and the `codexErrorInfo` of a turn. The codes are those of 0.163 and 0.169.
pub(super) fn of_turn(sentence: &str, info: &Value) -> Failure {
    let by_sentence = turn_failed(sentence);
    match class(info) {
        // The sentence may know more: a code of the transport says nothing about an account that is used up.
        Some((class, is_exact)) if is_exact || by_sentence.class == Class::Protocol => {
            let failure = told(sentence, class);
            Failure { fix: failure.fix.or(by_sentence.fix), ..failure }
        }
        _ => by_sentence,
    }
}

/// The class, and whether the code alone decides it.
fn class(info: &Value) -> Option<(Class, bool)> {
    if let Some(word) = info.as_str() {
        return Some(match word {
            "unauthorized" => (Class::Auth, true),
            "usageLimitExceeded" | "sessionBudgetExceeded" => (Class::Quota, true),
            "rateLimitExceeded" | "flexUnavailable" => (Class::RateLimited, true),
            "serverOverloaded" | "policyCapacityUnavailable" => (Class::Overloaded, true),
            "internalServerError" => (Class::Overloaded, false),
            "contextWindowExceeded" => (Class::ContextTooLarge, true),
            "sandboxError" => (Class::Sandbox, true),
            _ => return None,
        });
    }
    let (name, details) = info.as_object()?.iter().next()?;
    let status = details.get("httpStatusCode").and_then(Value::as_u64);
    let class = match (name.as_str(), status) {
        (_, Some(401 | 403)) => Class::Auth,
        (_, Some(413)) => Class::ContextTooLarge,
        (_, Some(429)) => Class::RateLimited,
        (_, Some(500..=599)) => Class::Overloaded,
        ("httpConnectionFailed" | "responseStreamConnectionFailed" | "responseStreamDisconnected", None) => {
            Class::Network
        }
        _ => return None,
    };
    Some((class, false))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_code_decides_where_the_sentence_says_nothing() {
        for (info, sentence, class) in [
            (json!("unauthorized"), "it did not work", Class::Auth),
            (json!("usageLimitExceeded"), "it did not work", Class::Quota),
            (json!("rateLimitExceeded"), "it did not work", Class::RateLimited),
            (json!("serverOverloaded"), "it did not work", Class::Overloaded),
            (json!("contextWindowExceeded"), "it did not work", Class::ContextTooLarge),
            (json!("other"), "it did not work", Class::Protocol),
            (json!("somethingNew"), "unexpected status 401 Unauthorized: x", Class::Auth),
            (json!({"httpConnectionFailed": {"httpStatusCode": null}}), "it did not work", Class::Network),
            (json!({"httpConnectionFailed": {"httpStatusCode": 503}}), "it did not work", Class::Overloaded),
            (json!({"responseTooManyFailedAttempts": {"httpStatusCode": 429}}), "Quota exceeded.", Class::Quota),
            (json!(null), "stream disconnected before completion", Class::Network),
            (json!([1]), "it did not work", Class::Protocol),
            (json!({}), "it did not work", Class::Protocol),
        ] {
            assert_eq!(of_turn(sentence, &info).class, class, "{info} {sentence}");
        }
    }
}
