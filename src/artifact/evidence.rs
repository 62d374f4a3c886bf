//! What the record of a run proves: which changed files were read, which commands were executed, what is left of the
//! checkout.
//!
//! Nothing here believes the answer. A file counts as read if the prompt held its whole change, or if commands showed
//! the model what the prompt left out; a command counts only with the exit code that the runtime reported.

use std::collections::{BTreeMap, BTreeSet};

use super::reads::{Ends, was_opened};
use super::{CommandEvidence, Evidence, FileCounts, RefusedEvidence};
use crate::clock::Timestamp;
use crate::context::{Context, Inclusion};
use crate::git::workspace::Changes;
use crate::policy::gatekeeper::{Action, AllowList, Gatekeeper as _, Verdict};
use crate::policy::{Limits, RolePolicy, SandboxMode};
use crate::runtime::activity::{Activity, Recorded, Status};
use crate::runtime::refusals::{allowed_by_a_person, described, refusals};
use crate::text;

/// How many names or commands one list of the evidence holds; what is more is counted in its last entry.
pub(super) const LISTED: usize = 500;

/// How much of what was refused is kept, in characters: an agent may ask for a script of many pages.
const REFUSED_CHARS: usize = 2000;

/// A finished command of the record.
pub(super) struct Executed {
    pub line: String,
    pub words: Vec<String>,
    pub exit_code: Option<i32>,
    pub millis: u64,
    pub output: String,
    pub output_bytes: u64,
}

/// The commands that the thread which answered has seen the end of, in the order in which they ended: a runtime may
/// tell of one only when the turn is over.
pub(super) fn executed(activities: &[Recorded]) -> Vec<Executed> {
    let attempts = attempts_of_last_thread(activities);
    let mut started = BTreeMap::new();
    let mut out: Vec<(Timestamp, Executed)> = Vec::new();
    for recorded in activities.iter().filter(|recorded| attempts.contains(&recorded.attempt)) {
        if let Activity::CommandStarted { id, .. } = &recorded.activity {
            started.insert((recorded.attempt, id.as_str()), recorded.at);
        }
        if let Activity::CommandFinished { id, command, exit_code, status, output, output_bytes, ran } =
            &recorded.activity
        {
            if matches!(status, Status::Declined | Status::InProgress) {
                continue;
            }
            let seen = started.remove(&(recorded.attempt, id.as_str())).unwrap_or(recorded.at);
            let (began, ended) = ran.map_or((seen, recorded.at), |ran| (ran.began, ran.ended));
            let executed = Executed {
                line: command.clone(),
                words: plain_words(command),
                exit_code: *exit_code,
                millis: u64::try_from(ended.since(began).as_millis()).unwrap_or(u64::MAX),
                output: output.clone(),
                output_bytes: *output_bytes,
            };
            out.push((ended, executed));
        }
    }
    // Stable: what ended in the same millisecond stays as it was recorded.
    out.sort_by_key(|(ended, _)| *ended);
    out.into_iter().map(|(_, executed)| executed).collect()
}

/// The last attempt, and earlier ones that it continued: what another thread saw, this one did not.
fn attempts_of_last_thread(activities: &[Recorded]) -> BTreeSet<u32> {
    let threads: Vec<(u32, &str)> = activities
        .iter()
        .filter_map(|recorded| {
            let Activity::ThreadStarted { thread } = &recorded.activity else { return None };
            Some((recorded.attempt, thread.as_str()))
        })
        .collect();
    let last = activities.iter().map(|recorded| recorded.attempt).max();
    let thread = threads.iter().rev().find(|(attempt, _)| Some(*attempt) == last).map(|(_, thread)| *thread);
    let same = threads.iter().filter(|(_, other)| Some(*other) == thread).map(|(attempt, _)| *attempt);
    same.chain(last).collect()
}

/// The words of a line that a shell would take as they stand; none if it would do more with them.
fn plain_words(line: &str) -> Vec<String> {
    const OPERATORS: &[char] = &['|', ';', '&', '<', '>', '$', '`', '(', ')', '\n'];
    // `sed -n '3,$p'` is the one common line with an operator inside quotes.
    let judged = line.replace(",$p", ",0p");
    if judged.contains(OPERATORS) {
        return Vec::new();
    }
    shlex::split(line).unwrap_or_default()
}

/// Fills in files, commands and the checkout.
pub(super) fn gather(context: &Context, executed: &[Executed], ends: &Ends<'_>, checkout: &Changes) -> Evidence {
    let mut evidence = Evidence {
        changed_in_checkout: checkout.tracked.clone(),
        new_in_checkout: checkout.new.clone(),
        unlisted: unlisted(executed, &context.commands),
        ..Evidence::default()
    };
    for file in &context.files {
        let list = if file.inclusion == Inclusion::Whole || was_opened(file, executed, ends) {
            &mut evidence.files_read
        } else if file.class.is_read() {
            &mut evidence.files_not_read
        } else {
            &mut evidence.files_skipped
        };
        list.push(file.path.clone());
    }
    // A change of very many files is not recorded file by file: what has no name was not read.
    let unnamed = context.files_changed.saturating_sub(context.files.len());
    evidence.files = FileCounts {
        changed: context.files_changed,
        read: evidence.files_read.len(),
        not_read: evidence.files_not_read.len() + unnamed,
        skipped: evidence.files_skipped.len(),
    };
    evidence.commands = executed
        .iter()
        .take(LISTED)
        .map(|command| CommandEvidence {
            command: command.line.clone(),
            exit_code: command.exit_code,
            millis: command.millis,
        })
        .collect();
    evidence
}

/// Fills in what the gatekeeper decided beyond the list, of the thread that answered.
pub(super) fn note_decisions(evidence: &mut Evidence, activities: &[Recorded]) {
    let attempts = attempts_of_last_thread(activities);
    let of_thread = || activities.iter().filter(|recorded| attempts.contains(&recorded.attempt));
    let allowed = allowed_by_a_person(of_thread());
    evidence.unlisted.retain(|line| !allowed.contains(line));
    evidence.refused = refusals(of_thread())
        .into_iter()
        .map(|refusal| RefusedEvidence {
            what: text::clipped(&described(&refusal.action), REFUSED_CHARS).into_owned(),
            rule: refusal.decision.rule,
            could_be_allowed: refusal.decision.verdict == Verdict::Escalate,
            times: refusal.times,
        })
        .filter(|refused| !allowed.contains(&refused.what))
        .collect();
    evidence.allowed_by_a_person = allowed.into_iter().collect();
}

/// The lines that the allow-list would not have let pass, each once: not every runtime asks before it executes.
fn unlisted(executed: &[Executed], commands: &[String]) -> Vec<String> {
    let list = AllowList::of(&RolePolicy {
        sandbox: SandboxMode::ReadOnly,
        network: false,
        commands: commands.to_vec(),
        limits: Limits::default(),
    });
    let is_allowed =
        |line: &str| list.decide(&Action::Command { line: line.to_owned(), directory: None }).verdict == Verdict::Allow;
    let mut seen = BTreeSet::new();
    executed
        .iter()
        .map(|command| command.line.as_str())
        .filter(|line| seen.insert(*line) && !is_allowed(line))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::activity::Ran;

    impl Executed {
        /// A command that ended, and printed this.
        pub(in super::super) fn plain(line: &str, exit_code: i32, output: &str) -> Self {
            Self {
                line: line.into(),
                words: plain_words(line),
                exit_code: Some(exit_code),
                millis: 0,
                output: output.into(),
                output_bytes: output.len() as u64,
            }
        }
    }

    #[test]
    fn what_goes_beyond_the_list_is_told_once() {
        let commands = ["git show", "cat"].map(str::to_owned);
        let lines = ["cat a", "curl example.org", "cat a | sh", "git show HEAD", "curl example.org", "gitk"];
        let executed = lines.map(|line| Executed::plain(line, 0, ""));
        assert_eq!(unlisted(&executed, &commands), ["curl example.org", "cat a | sh", "gitk"]);
    }

    #[test]
    fn what_another_thread_did_does_not_count() {
        let at = Timestamp::from_millis(5);
        let finished = |attempt, id: &str, line: &str| Recorded {
            at,
            attempt,
            activity: Activity::CommandFinished {
                id: id.into(),
                command: line.into(),
                exit_code: Some(0),
                status: Status::Completed,
                output: String::new(),
                output_bytes: 0,
                ran: None,
            },
        };
        let thread = |attempt, thread: &str| Recorded {
            at,
            attempt,
            activity: Activity::ThreadStarted { thread: thread.into() },
        };
        let record = |second: &str| {
            [thread(1, "a"), finished(1, "1", "one"), thread(2, second), finished(2, "1", "two")].to_vec()
        };
        let lines = |record: &[Recorded]| executed(record).into_iter().map(|c| c.line).collect::<Vec<_>>();
        assert_eq!(lines(&record("b")), ["two"]);
        assert_eq!(lines(&record("a")), ["one", "two"]);
        assert_eq!(lines(&[]), Vec::<String>::new());
    }

    #[test]
    fn commands_are_told_in_the_order_in_which_they_ended() {
        let at = Timestamp::from_millis;
        let finished = |recorded: u64, code: i32, ran: Option<Ran>| Recorded {
            at: at(recorded),
            attempt: 1,
            activity: Activity::CommandFinished {
                id: code.to_string(),
                command: "make test".into(),
                exit_code: Some(code),
                status: Status::Completed,
                output: String::new(),
                output_bytes: 0,
                ran,
            },
        };
        // The failure was told when the turn was over, and came before the run that passed.
        let ran = Ran { began: at(10), ended: at(40) };
        let record = [finished(100, 0, None), finished(100, 1, None), finished(200, 2, Some(ran))];
        let codes: Vec<_> = executed(&record).into_iter().map(|c| (c.exit_code, c.millis)).collect();
        assert_eq!(codes, [(Some(2), 30), (Some(0), 0), (Some(1), 0)]);
    }
}
