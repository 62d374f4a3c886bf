//! What a run may do because a person said so, what it asks a person for, and what it is told when it goes on.
//!
//! The rules decide first: what they deny stays denied, whatever a person said. Only what they would ask a person about
//! is looked up in the ledger, and a permission is used up there before the runtime is told yes.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::path::Path;

use serde::Deserialize;

use crate::artifact::{Conclusion, Judgement};
use crate::clock::Timestamp;
use crate::files;
use crate::ids::Digest;
use crate::policy::gatekeeper::Verdict;
use crate::policy::{Action, Decision, Gatekeeper};
use crate::runtime::activity::Recorded;
use crate::runtime::refusals::{ALLOWED_BY_A_PERSON, described, refusals};
use crate::runtime::{Outcome, Usage};
use crate::secrets;
use crate::store::question::{Asked, Question, Standing, Word};
use crate::store::{Claim, Run, Step, Store};
use crate::text;

/// The largest checkpoint of a turn that is read back, in bytes: an answer, and a few numbers.
const CHECKPOINT_BYTES_MAX: u64 = 8 << 20;

/// How much of what an agent said is kept with its question, in characters: a person reads it before they answer.
const SAID_CHARS: usize = 600;

/// How much of an action a run's reason repeats, in characters: it is one line of a terminal.
const ACTION_CHARS: usize = 60;

/// The rule of a decision that a person took before.
const REJECTED_BY_A_PERSON: &str = "rejected-by-a-person";

/// The rule of a decision that nobody is asked about because the question would tell a secret.
const HOLDS_A_SECRET: &str = "holds-a-secret";

/// The rules of a role, and what persons allowed this run beyond them.
pub(super) struct Permissions<'a> {
    rules: &'a dyn Gatekeeper,
    claim: Claim,
    /// Where permissions stand; `None` where nobody ever answered a question of the run. One of its own, since the worker
    /// writes to the ledger while a turn goes on.
    store: Option<RefCell<Box<dyn Store>>>,
}

impl<'a> Permissions<'a> {
    pub(super) fn new(rules: &'a dyn Gatekeeper, claim: Claim, store: Option<Box<dyn Store>>) -> Self {
        Self { rules, claim, store: store.map(RefCell::new) }
    }
}

impl Gatekeeper for Permissions<'_> {
    fn decide(&self, action: &Action) -> Decision {
        let decision = self.rules.decide(action);
        // A person would have to be shown it, and the ledger to keep it, word for word.
        if decision.verdict == Verdict::Escalate && holds_secret(action) {
            let reason = "it holds what looks like a secret, so that nobody can be asked about it".to_owned();
            return Decision { verdict: Verdict::Deny, rule: HOLDS_A_SECRET.to_owned(), reason };
        }
        let (Verdict::Escalate, Some(store)) = (decision.verdict, &self.store) else { return decision };
        let deny = |rule: String, reason: String| Decision { verdict: Verdict::Deny, rule, reason };
        // A runtime that asks while it is being answered gets no answer, which is a no.
        let Ok(mut store) = store.try_borrow_mut() else {
            return deny("no-answer".to_owned(), "whether a person allowed it could not be looked up".to_owned());
        };
        match store.redeem(&self.claim, action, Timestamp::now()) {
            Ok(Word::None) => decision,
            Ok(Word::Allowed(question)) => {
                let who = question.answer.as_ref().map_or("a person", |answer| answer.who.as_str());
                Decision {
                    verdict: Verdict::Allow,
                    rule: format!("{ALLOWED_BY_A_PERSON} {}", question.id()),
                    reason: format!("{} allowed it, once", text::one_line(who)),
                }
            }
            Ok(Word::Rejected(question)) => {
                deny(format!("{REJECTED_BY_A_PERSON} {}", question.id()), format!("refused by {}", whose(&question)))
            }
            Err(error) => {
                tracing::error!(%error, "whether a person allowed it cannot be looked up");
                deny("no-answer".to_owned(), "whether a person allowed it could not be looked up".to_owned())
            }
        }
    }
}

fn holds_secret(action: &Action) -> bool {
    let line = described(action);
    secrets::redacted(&line) != line
}

/// Who answered, and why, in a few words.
fn whose(question: &Question) -> String {
    let Some(answer) = &question.answer else { return "nobody".to_owned() };
    let why = if answer.why.is_empty() { String::new() } else { format!(": {}", text::one_line(&answer.why)) };
    format!("{}{why}", text::one_line(&answer.who))
}

/// What this attempt asks a person for; empty if it did without. It did if its answer stands, or asks questions of its
/// own: those are answered elsewhere.
pub(super) fn asked(
    record: &[Recorded],
    attempt: u32,
    judged: &Result<Judgement, Vec<String>>,
    answer: &str,
) -> Vec<Asked> {
    let summary = match judged {
        Ok(judgement) => {
            if judgement.conclusion == Conclusion::Conclusive || !judgement.questions.is_empty() {
                return Vec::new();
            }
            judgement.answer.get("summary").and_then(|summary| summary.as_str()).unwrap_or_default()
        }
        Err(_) => answer,
    };
    refusals(record.iter().filter(|recorded| recorded.attempt == attempt))
        .into_iter()
        .filter(|refusal| refusal.decision.verdict == Verdict::Escalate)
        // What cannot be written down exactly cannot be allowed exactly.
        .filter(|refusal| serde_json::to_string(&refusal.action).is_ok())
        .map(|refusal| {
            let said = if refusal.said.is_empty() { summary } else { &refusal.said };
            Asked {
                action: refusal.action,
                rule: refusal.decision.rule,
                why: secrets::redacted(&refusal.decision.reason).into_owned(),
                said: text::clipped(&secrets::redacted(said), SAID_CHARS).into_owned(),
                times: refusal.times,
            }
        })
        .collect()
}

/// Why a run waits, as one line with what to type.
pub(super) fn reason(run: &Run, asked: &[Asked]) -> String {
    let first = asked.first().map(|asked| described(&asked.action)).unwrap_or_default();
    let first = text::clipped(&text::one_line(&first), ACTION_CHARS).into_owned();
    let more = asked.len().saturating_sub(1);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("asks to be allowed `{first}`{more} · git orchestrator review {}", run.id.short())
}

/// What was answered, in a few words for the record.
pub(super) fn told(questions: &[Question], run: &Run, now: Timestamp) -> String {
    let count = |wanted| questions.iter().filter(|question| question.standing(run.state, now) == wanted).count();
    let (allowed, rejected) = (count(Standing::Allowed), count(Standing::Rejected));
    format!("{allowed} allowed, {rejected} refused by a person")
}

/// What the agent is told when its run goes on. The lines are its own; the reasons are a person's.
pub(super) fn note(questions: &[Question], run: &Run, now: Timestamp, is_new_thread: bool) -> String {
    let mut note = String::from(if is_new_thread {
        "An earlier attempt of this task asked a person to allow some actions, and the person has answered.\n"
    } else {
        "You asked to be allowed some actions, and a person has answered.\n"
    });
    for question in questions {
        let (what, place) = (text::one_line(&described(&question.action)), place(&question.action));
        match question.standing(run.state, now) {
            Standing::Allowed => {
                writeln!(note, "- allowed, exactly as it stands here and once: `{what}`{place}").ok();
            }
            Standing::Rejected => {
                writeln!(note, "- refused by {}: `{what}`{place}", whose(question)).ok();
            }
            Standing::Used if is_new_thread => {
                writeln!(note, "- allowed once, and done by the earlier attempt: `{what}`{place}").ok();
            }
            Standing::Open | Standing::Expired | Standing::Closed | Standing::Used => {}
        }
    }
    note.push_str(
        "The checkout holds the same commit as before; what is not committed may be gone. What was refused stays refused: \
         do without it. Go on with the task, and end with your answer as it was asked for.\n",
    );
    note
}

fn place(action: &Action) -> String {
    match action {
        Action::Command { directory: Some(directory), .. } => {
            format!(" in `{}`", text::one_line(&directory.to_string_lossy()))
        }
        Action::Command { directory: None, .. } | Action::Input { .. } | Action::Patch { .. } | Action::Tool { .. } => {
            String::new()
        }
    }
}

/// The thread that the run's last finished turn left, with its counter, from its checkpoint. `None` where there is none,
/// or where the checkpoint is not what was recorded.
pub(super) fn thread_left(steps: &[Step], directory: &Path) -> Option<(String, Usage)> {
    #[derive(Deserialize)]
    struct Checkpoint {
        payload: Outcome,
    }
    let step = steps.iter().rev().find(|step| step.name == "turn")?;
    let bytes = files::read(&directory.join(step.file.as_ref()?), CHECKPOINT_BYTES_MAX).ok()??;
    if Some(Digest::of(&bytes)) != step.digest {
        return None;
    }
    let Checkpoint { payload } = serde_json::from_slice(&bytes).ok()?;
    Some((payload.thread?, payload.thread_usage))
}

#[cfg(test)]
mod tests;
