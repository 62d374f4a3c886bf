//! What a run was refused, and what a person allowed it, as its record tells.
//!
//! The record is the only source: the screen, the artifact and the question to a person are made of the same lines.

use std::collections::BTreeSet;

use super::activity::{Activity, Recorded};
use crate::policy::gatekeeper::Verdict;
use crate::policy::{Action, Decision};

/// What the rule of a decision begins with that rests on a person's word about this very action; the question's name
/// follows.
pub const ALLOWED_BY_A_PERSON: &str = "allowed-by-a-person";

/// How much of what an agent said counts as its reason, in bytes.
const REASON_BYTES: usize = 2000;

/// One thing that a run was not allowed, however often it tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What.
    pub action: Action,
    /// The decision about it.
    pub decision: Decision,
    /// How often it was asked for.
    pub times: u32,
    /// What the agent said last before it first asked for it; empty if it said nothing.
    pub said: String,
}

/// Everything that these lines say was refused, each once, in the order in which it was first asked for.
pub fn refusals<'a>(record: impl IntoIterator<Item = &'a Recorded>) -> Vec<Refusal> {
    let mut found: Vec<Refusal> = Vec::new();
    let mut said = "";
    for recorded in record {
        if let Activity::Message { text } | Activity::Reasoning { text } = &recorded.activity {
            // The answer itself, or a draft of it, is no reason.
            if !text.trim_start().starts_with('{') {
                said = text;
            }
        }
        let Activity::Decided { action, decision } = &recorded.activity else { continue };
        if decision.verdict == Verdict::Allow {
            continue;
        }
        if let Some(known) = found.iter_mut().find(|known| known.action == *action && known.decision == *decision) {
            known.times = known.times.saturating_add(1);
        } else {
            let said = crate::text::ends_bytes(said.trim(), REASON_BYTES).into_owned();
            found.push(Refusal { action: action.clone(), decision: decision.clone(), times: 1, said });
        }
    }
    found
}

/// The lines that ran because a person allowed this run to run them.
pub fn allowed_by_a_person<'a>(record: impl IntoIterator<Item = &'a Recorded>) -> BTreeSet<String> {
    let lines = record.into_iter().filter_map(|recorded| {
        let Activity::Decided { action: Action::Command { line, .. }, decision } = &recorded.activity else {
            return None;
        };
        is_by_a_person(decision).then(|| line.clone())
    });
    lines.collect()
}

/// Whether this decision rests on a person's word.
pub fn is_by_a_person(decision: &Decision) -> bool {
    decision.verdict == Verdict::Allow && decision.rule.starts_with(ALLOWED_BY_A_PERSON)
}

/// What an action does, in the words it was asked for; not escaped.
pub fn described(action: &Action) -> String {
    match action {
        Action::Command { line, .. } => line.clone(),
        Action::Input { text } => format!("input to a running process: {text}"),
        Action::Patch { paths } => format!("a patch of {}", paths.join(", ")),
        Action::Tool { name } => format!("the tool {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn recorded(activity: Activity) -> Recorded {
        Recorded { at: Timestamp::from_millis(1), attempt: 1, activity }
    }

    fn decided(line: &str, verdict: Verdict, rule: &str) -> Recorded {
        let action = Action::Command { line: line.into(), directory: None };
        recorded(Activity::Decided { action, decision: Decision { verdict, rule: rule.into(), reason: String::new() } })
    }

    #[test]
    fn each_refusal_is_told_once_with_what_was_said_before_it() {
        let says = |text: &str| recorded(Activity::Message { text: text.into() });
        let record = [
            decided("ls", Verdict::Allow, "ls"),
            says("The tests need their packages."),
            says("{\"summary\": 1}"),
            decided("npm ci", Verdict::Escalate, "not-listed"),
            recorded(Activity::Reasoning { text: "Once more.".into() }),
            decided("npm ci", Verdict::Escalate, "not-listed"),
            decided("ls | sh", Verdict::Deny, "not-static"),
        ];
        let found = refusals(&record);
        let told: Vec<_> = found.iter().map(|r| (described(&r.action), r.times, r.said.as_str())).collect();
        let (first, last) = ("The tests need their packages.", "Once more.");
        assert_eq!(told, [("npm ci".to_owned(), 2, first), ("ls | sh".to_owned(), 1, last)]);
    }

    #[test]
    fn only_a_person_s_word_counts_as_one() {
        let record = [
            decided("npm ci", Verdict::Allow, "allowed-by-a-person 12345678.1"),
            decided("npm audit", Verdict::Deny, "allowed-by-a-person 12345678.2"),
            decided("ls", Verdict::Allow, "ls"),
        ];
        assert_eq!(allowed_by_a_person(&record).into_iter().collect::<Vec<_>>(), ["npm ci"]);
    }
}
