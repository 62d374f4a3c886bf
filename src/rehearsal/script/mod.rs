//! The scripted model: plays a role by rules, with the tools and the schema the client offers.
//!
//! It keeps no state: each reply follows from the request alone, as a real model's would, so that it can be asked by
//! any number of clients, in any order, and asked again. It finds the role and the facts of the change in the prompt,
//! calls real commands one after the other, and answers from what it read in their output. It knows what it cannot
//! know: every summary says that a script wrote it.

mod architect;
mod conform;
mod facts;
mod history;
mod planner;
mod tester;

use std::time::Duration;

use serde_json::{Value, json};

use self::facts::RoleName;
use self::history::{History, Outcome};
use super::model::{Item, Model, Reply, Request};

/// What every summary begins with.
const MARK: &str = "Rehearsal by a scripted model";

/// How long one call waits for a command before it is polled, in milliseconds. Codex waits 10 s by default and at most
/// 30 s (its tool's own description, 0.169).
const YIELD_MILLISECONDS: u64 = 30_000;

/// How often a command that goes on is polled before it is given up: with [`YIELD_MILLISECONDS`], two hours, longer
/// than any run may take.
const POLLS: usize = 240;

/// What a role does next.
enum Step {
    /// A command to execute, with the reason a person reads.
    Run {
        /// The line: plain words.
        command: String,
        /// Why.
        why: String,
    },
    /// The answer.
    Answer(Value),
}

impl Step {
    fn run(command: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Run { command: command.into(), why: why.into() }
    }
}

/// The scripted model.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scripted {
    pace: Duration,
}

impl Scripted {
    /// The model, answering at once.
    pub fn new() -> Self {
        Self::default()
    }

    /// The model, waiting this long before each reply: for a demonstration that people can follow.
    #[must_use]
    pub fn paced(self, pace: Duration) -> Self {
        Self { pace }
    }
}

impl Model for Scripted {
    fn reply(&mut self, request: &Request) -> Reply {
        let reply = Reply::items(next(request));
        if self.pace.is_zero() { reply } else { reply.delayed(self.pace) }
    }
}

/// The items of the next reply.
fn next(request: &Request) -> Vec<Item> {
    let answer = |draft: &Value| {
        let fitted = match request.schema() {
            Some(schema) => conform::conform(draft, schema),
            None => draft.clone(),
        };
        vec![Item::message(fitted.to_string())]
    };
    let Some((at, facts)) = facts::find(request) else {
        return answer(&json!({
            "summary": format!("{MARK}: the prompt has no line `role: planner`, `architect` or `tester`."),
            "verdict": "inconclusive",
        }));
    };
    let history = History::since(request, at);
    if let Some(poll) = poll(request, &history) {
        return vec![poll];
    }
    let step = match facts.role {
        RoleName::Planner => planner::next(&facts, &history),
        RoleName::Architect => architect::next(&facts, &history),
        RoleName::Tester => tester::next(&facts, &history),
    };
    match step {
        Step::Answer(draft) => answer(&draft),
        Step::Run { command, why } => match request.tool("exec_command") {
            Some(parameters) => {
                let mut arguments = json!({ "cmd": command });
                if parameters.pointer("/properties/yield_time_ms").is_some() {
                    arguments["yield_time_ms"] = json!(YIELD_MILLISECONDS);
                }
                let call = Item::Call { name: "exec_command".to_owned(), arguments };
                vec![Item::reasoning(why), call]
            }
            None => answer(&json!({
                "summary": format!("{MARK}: the client offers no tool `exec_command`, so nothing was read or run."),
                "verdict": "inconclusive",
            })),
        },
    }
}

/// The call that waits for a command that has not ended, if there is one and it can be polled.
fn poll(request: &Request, history: &History) -> Option<Item> {
    let last = history.last()?;
    let Outcome::Running { session } = last.outcome else { return None };
    request.tool("write_stdin")?;
    if last.polls >= POLLS {
        return None;
    }
    let arguments = json!({ "session_id": session, "chars": "", "yield_time_ms": YIELD_MILLISECONDS });
    Some(Item::Call { name: "write_stdin".to_owned(), arguments })
}

/// The path as one word of a command line, or `None` where it could be read as something else: only letters, digits
/// and `_ - . / + @ ,` pass, no leading dash, no step upwards.
fn word(path: &str) -> Option<&str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./+@,".contains(c);
    let fits = !path.is_empty()
        && path.chars().all(plain)
        && !path.starts_with(['-', '/'])
        && path.split('/').all(|part| part != ".." && part != ".git");
    fits.then_some(path)
}

#[cfg(test)]
mod tests;
