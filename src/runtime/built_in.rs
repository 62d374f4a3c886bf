//! A minimal agent loop for the rehearsal server alone: what the demo falls back to where no other runtime is installed.
//!
//! It has no OS sandbox, which no run with a real model may lack. It therefore talks to nothing but a server on this
//! machine that says it is the rehearsal's, whose scripted model asks for plain commands only, and each of those is
//! asked of the gatekeeper first. It executes words, never a shell line. It owns no policy and keeps no thread: a
//! conversation lives as long as the turn.

mod commands;
mod endpoint;

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use self::endpoint::{Endpoint, Response};
use super::{
    Activity, BoxFuture, Capabilities, Class, Environment, Failure, Outcome, REHEARSAL, REHEARSAL_VARIABLE, Runtime,
    SandboxProfile, Turn, Usage,
};
use crate::policy::gatekeeper::Verdict;
use crate::policy::{Action, Limits};

/// The tool it offers: the name that Codex gives its own, so that one script drives both.
const TOOL: &str = "exec_command";

/// How often a model may ask for commands before it has to answer. A scripted role needs fewer than ten rounds.
const ROUNDS: usize = 100;

/// How long the server may take to say what it is.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// The built-in runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct BuiltIn;

impl BuiltIn {
    /// Its name in a table.
    pub const NAME: &'static str = "built-in";
}

impl Runtime for BuiltIn {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn probe<'a>(
        &'a self,
        environment: &'a Environment,
        _sandbox: &'a SandboxProfile,
        _directory: &'a Path,
    ) -> BoxFuture<'a, Result<Capabilities, Failure>> {
        Box::pin(async move {
            let endpoint = endpoint_of(environment)?;
            match tokio::time::timeout(PROBE_LIMIT, endpoint.verify()).await {
                Ok(verified) => verified?,
                Err(_) => return Err(Failure::new(Class::Network, "the rehearsal server does not answer")),
            }
            Ok(Capabilities {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                resumes: false,
                asks: true,
                sandbox: "none: scripted commands only, each checked against the allow-list".to_owned(),
                hides: false,
            })
        })
    }

    fn turn<'a>(&'a self, mut turn: Turn<'a>) -> BoxFuture<'a, Result<Outcome, Failure>> {
        Box::pin(async move {
            let mut conversation = Conversation::default();
            let done = conversation.run(&mut turn).await;
            let usage = conversation.usage;
            match done {
                Ok(answer) => {
                    (turn.sink)(Activity::TurnFinished { usage });
                    Ok(Outcome { thread: None, answer, usage, thread_usage: usage, model: Some(REHEARSAL.to_owned()) })
                }
                Err(mut failure) => {
                    failure.usage = usage;
                    (turn.sink)(Activity::TurnFailed { message: failure.message.clone() });
                    Err(failure)
                }
            }
        })
    }
}

fn endpoint_of(environment: &Environment) -> Result<Endpoint, Failure> {
    let url = environment.get(OsStr::new(REHEARSAL_VARIABLE)).ok_or_else(|| {
        Failure::new(Class::Missing, "the built-in runtime works with the rehearsal server only, and none is running")
            .fix("git orchestrator demo")
    })?;
    Endpoint::parse(&url.to_string_lossy())
}

/// When a turn has to end, and why.
struct Bounds {
    deadline: Instant,
    wall: Duration,
    idle: Duration,
    output_bytes: u64,
    received: u64,
    cancel: watch::Receiver<bool>,
}

impl Bounds {
    fn new(limits: &Limits, cancel: watch::Receiver<bool>) -> Self {
        // A wall limit beyond what a clock can hold is none.
        let far = Duration::from_secs(60 * 60 * 24 * 365);
        Self {
            deadline: Instant::now() + limits.wall.min(far),
            wall: limits.wall,
            idle: limits.idle,
            output_bytes: limits.output_bytes,
            received: 0,
            cancel,
        }
    }

    /// Resolves when the turn has to end.
    async fn stopped(&mut self) -> Failure {
        tokio::select! {
            () = tokio::time::sleep_until(self.deadline) => {
                let wall = crate::text::duration(self.wall);
                Failure::new(Class::Timeout, format!("the run took longer than its wall limit of {wall}"))
            }
            () = cancelled(&mut self.cancel) => Failure::new(Class::Cancelled, "the run was cancelled"),
        }
    }

    /// Counts what was written, and says when it is too much.
    fn count(&mut self, bytes: u64) -> Result<(), Failure> {
        self.received = self.received.saturating_add(bytes);
        if self.received > self.output_bytes {
            let limit = crate::text::bytes(self.output_bytes);
            return Err(Failure::new(Class::Output, format!("the run wrote more than its output limit of {limit}")));
        }
        Ok(())
    }
}

/// Resolves once the value is true; never, if whoever could set it is gone.
async fn cancelled(cancel: &mut watch::Receiver<bool>) {
    if cancel.wait_for(|cancelled| *cancelled).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[derive(Default)]
struct Conversation {
    input: Vec<Value>,
    usage: Usage,
}

impl Conversation {
    /// Asks, executes and asks again until the model answers.
    async fn run(&mut self, turn: &mut Turn<'_>) -> Result<String, Failure> {
        if turn.resume.is_some() {
            return Err(Failure::new(Class::Protocol, "the built-in runtime cannot continue a thread"));
        }
        let endpoint = endpoint_of(turn.environment)?;
        let mut bounds = Bounds::new(turn.limits, turn.cancel.clone());
        tokio::select! {
            verified = tokio::time::timeout(turn.limits.idle, endpoint.verify()) => match verified {
                Ok(verified) => verified?,
                Err(_) => return Err(stalled(turn.limits.idle)),
            },
            stop = bounds.stopped() => return Err(stop),
        }
        let prompt = json!({ "type": "input_text", "text": turn.prompt });
        self.input.push(json!({ "type": "message", "role": "user", "content": [prompt] }));
        (turn.sink)(Activity::TurnStarted);
        for _ in 0..ROUNDS {
            let response = self.ask(&endpoint, turn, &mut bounds).await?;
            self.usage = self.usage.plus(response.usage);
            let mut answer = None;
            let mut calls = Vec::new();
            for item in &response.items {
                match item.get("type").and_then(Value::as_str) {
                    Some("message") => {
                        let text = texts(item, "content");
                        (turn.sink)(Activity::Message { text: text.clone() });
                        answer = Some(text);
                    }
                    Some("reasoning") => (turn.sink)(Activity::Reasoning { text: texts(item, "summary") }),
                    Some("function_call") => calls.push(item.clone()),
                    _ => (turn.sink)(Activity::Unknown { raw: item.clone() }),
                }
            }
            self.input.extend(response.items);
            if calls.is_empty() {
                return Ok(answer.unwrap_or_default());
            }
            for call in calls {
                let output = execute(&call, turn, &mut bounds).await?;
                let id = call.get("call_id").cloned().unwrap_or(Value::Null);
                self.input.push(json!({ "type": "function_call_output", "call_id": id, "output": output }));
            }
        }
        Err(Failure::new(
            Class::Protocol,
            format!("the model asked for commands in {ROUNDS} rounds and did not answer"),
        ))
    }

    async fn ask(&self, endpoint: &Endpoint, turn: &Turn<'_>, bounds: &mut Bounds) -> Result<Response, Failure> {
        let body = json!({
            "model": REHEARSAL,
            "stream": true,
            "store": false,
            "input": self.input,
            "tools": [tool()],
            "tool_choice": "auto",
            "parallel_tool_calls": false,
            "text": { "format": { "type": "json_schema", "name": "answer", "strict": true, "schema": turn.schema } },
        });
        let mut received = 0;
        let left = bounds.output_bytes.saturating_sub(bounds.received);
        let idle = bounds.idle;
        let response = tokio::select! {
            response = endpoint.respond(&body, idle, left, &mut received) => response,
            stop = bounds.stopped() => Err(stop),
        };
        bounds.count(received)?;
        response
    }
}

fn stalled(idle: Duration) -> Failure {
    let idle = crate::text::duration(idle);
    Failure::new(Class::Stalled, format!("the model gave no sign of life for {idle}"))
}

fn tool() -> Value {
    json!({
        "type": "function",
        "name": TOOL,
        "description": "Runs one plain command (words only, no shell syntax) in the workspace and returns its output.",
        "strict": true,
        "parameters": {
            "type": "object",
            "properties": { "cmd": { "type": "string", "description": "The command line." } },
            "required": ["cmd"],
            "additionalProperties": false,
        },
    })
}

fn texts(item: &Value, key: &str) -> String {
    let parts = item.get(key).and_then(Value::as_array);
    let parts = parts.into_iter().flatten().filter_map(|part| part.get("text").and_then(Value::as_str));
    parts.collect::<Vec<_>>().join("\n")
}

/// Does what a call asks for, if it may, and returns what the model is told.
async fn execute(call: &Value, turn: &mut Turn<'_>, bounds: &mut Bounds) -> Result<String, Failure> {
    let text = |key: &str| call.get(key).and_then(Value::as_str).unwrap_or_default();
    let arguments: Value = serde_json::from_str(text("arguments")).unwrap_or(Value::Null);
    let line = match (text("name"), arguments.as_object(), arguments.get("cmd").and_then(Value::as_str)) {
        (TOOL, Some(all), Some(line)) if all.len() == 1 => line,
        (TOOL, ..) => return Ok(format!("{TOOL} failed: the arguments are `cmd`, a string, and nothing else")),
        (name, ..) => {
            let action = Action::Tool { name: name.to_owned() };
            let decision = turn.gatekeeper.decide(&action);
            (turn.sink)(Activity::Decided { action, decision });
            return Ok("unsupported call: there is only exec_command".to_owned());
        }
    };
    let action = Action::Command { line: line.to_owned(), directory: Some(turn.workspace.to_owned()) };
    let decision = turn.gatekeeper.decide(&action);
    (turn.sink)(Activity::Decided { action, decision: decision.clone() });
    if decision.verdict == Verdict::Escalate {
        return Ok(format!(
            "{TOOL} failed: refused by the policy ({}) for now: {}. A person is asked; go on without it, or end your \
             answer saying what you needed.",
            decision.rule, decision.reason
        ));
    }
    if decision.verdict != Verdict::Allow {
        return Ok(format!("{TOOL} failed: refused by the policy ({}): {}", decision.rule, decision.reason));
    }
    commands::run(text("call_id"), line, turn, bounds).await
}
