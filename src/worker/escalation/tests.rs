//! The gatekeeper of a run over a real ledger, and what an attempt asks for.

use super::*;
use crate::policy::gatekeeper::AllowList;
use crate::policy::{Limits, RolePolicy, SandboxMode};
use crate::runtime::Activity;

fn command(line: &str) -> Action {
    Action::Command { line: line.to_owned(), directory: None }
}

fn rules() -> AllowList {
    AllowList::of(&RolePolicy {
        sandbox: SandboxMode::WorkspaceWrite,
        network: false,
        commands: vec!["ls".to_owned()],
        limits: Limits::default(),
    })
}

fn decided(attempt: u32, action: Action) -> Recorded {
    let decision = rules().decide(&action);
    Recorded { at: Timestamp::from_millis(1), attempt, activity: Activity::Decided { action, decision } }
}

fn judged(conclusion: Conclusion, questions: &[&str]) -> Judgement {
    Judgement {
        answer: serde_json::json!({ "summary": "It needs its packages." }),
        conclusion,
        favourable: false,
        evidence: crate::artifact::Evidence::default(),
        headline: String::new(),
        questions: questions.iter().map(|question| (*question).to_owned()).collect(),
    }
}

#[test]
fn a_person_is_asked_only_for_what_an_attempt_could_not_do_without() {
    let inconclusive = || Conclusion::Inconclusive { reasons: vec!["no test ran".to_owned()] };
    let record = [decided(1, command("npm audit")), decided(2, command("npm ci")), decided(2, command("ls | sh"))];
    let lines =
        |judged: &_| asked(&record, 2, judged, "").into_iter().map(|a| described(&a.action)).collect::<Vec<_>>();
    assert_eq!(lines(&Ok(judged(inconclusive(), &[]))), ["npm ci"], "of this attempt, and not what is denied");
    assert_eq!(lines(&Err(vec!["no JSON".to_owned()])), ["npm ci"]);
    assert!(lines(&Ok(judged(Conclusion::Conclusive, &[]))).is_empty());
    assert!(lines(&Ok(judged(inconclusive(), &["Which sign?"]))).is_empty(), "it asks something else");
    let said = &asked(&record, 2, &Ok(judged(inconclusive(), &[])), "")[0].said;
    assert_eq!(said, "It needs its packages.", "where it said nothing before");
}

#[test]
fn secrets_do_not_reach_a_question() {
    let message = Recorded {
        at: Timestamp::from_millis(1),
        attempt: 1,
        activity: Activity::Message { text: format!("with ghp_{}", "a".repeat(36)) },
    };
    let record = [message, decided(1, command("npm ci"))];
    let asked = asked(&record, 1, &Err(Vec::new()), "");
    assert_eq!(asked[0].said, "with [redacted: GitHub token]");
}

#[test]
fn without_a_word_of_a_person_the_rules_decide() {
    let rules = rules();
    let claim = Claim { run: crate::ids::RunId::new(), token: 1 };
    let gatekeeper = Permissions::new(&rules, claim, None);
    for (line, verdict) in [("ls", Verdict::Allow), ("npm ci", Verdict::Escalate), ("ls | sh", Verdict::Deny)] {
        assert_eq!(gatekeeper.decide(&command(line)).verdict, verdict, "{line}");
    }
}

#[test]
fn nobody_is_asked_about_a_line_with_a_secret() {
    let rules = rules();
    let claim = Claim { run: crate::ids::RunId::new(), token: 1 };
    let gatekeeper = Permissions::new(&rules, claim, None);
    let decide = |line: &str| {
        let decision = gatekeeper.decide(&command(line));
        (decision.verdict, decision.rule)
    };
    let denied = (Verdict::Deny, HOLDS_A_SECRET.to_owned());
    assert_eq!(decide(&format!("npm ci --token ghp_{}", "a".repeat(36))), denied);
    assert_ne!(decide("npm ci --token x"), denied);
    // What the rules allow or deny anyway stays as it is.
    assert_eq!(decide(&format!("ls ghp_{}", "a".repeat(36))).0, Verdict::Allow);
}

#[test]
fn a_ledger_that_does_not_answer_is_a_no() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = crate::store::ledger::Ledger::open(&dir.path().join("ledger.db")).unwrap();
    let rules = rules();
    let claim = Claim { run: crate::ids::RunId::new(), token: 1 };
    let gatekeeper = Permissions::new(&rules, claim, Some(Box::new(ledger)));
    let decision = gatekeeper.decide(&command("npm ci"));
    assert_eq!((decision.verdict, decision.rule.as_str()), (Verdict::Deny, "no-answer"));
    assert_eq!(gatekeeper.decide(&command("ls")).verdict, Verdict::Allow, "what is listed needs nobody");
}
