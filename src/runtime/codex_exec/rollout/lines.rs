//! Single lines of a rollout file, and the text with which Codex tells a model how a command ended.
//!
//! Pure, and without errors: a line that is not understood says nothing. Everything in the file was written by a program
//! we do not own about things a model did, so no number is trusted to be small and no text to be short.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;

use crate::clock::Timestamp;
use crate::runtime::Usage;
use crate::runtime::activity::kept;
use crate::runtime::codex_exec::stream::{self, string};
use crate::text;

/// How many calls of one turn are compared. A turn of that many costs more than any limit lets through.
const CALLS_MAX: usize = 4_096;

/// How many warnings one turn adds.
const WARNINGS_MAX: usize = 100;

/// How many scripts of one turn are kept, to tell those apart that came to nothing.
const SCRIPTS_MAX: usize = 500;

/// What ends a command when it is typed.
const INTERRUPT: &str = "\u{3}";

/// How much of a tool's name is shown, with its arguments where they could not be read, in characters.
const TOOL_KEPT: usize = 200;

/// How much of a refusal is shown, in characters.
const REFUSAL_KEPT: usize = 400;

/// How a command ended, as the model was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was not told: the turn was over before.
    Unknown,
    /// It was told that it goes on.
    Running,
    /// With this exit code.
    Exited(i32),
    /// It was not executed.
    Refused,
    /// It was a patch in the shape of a command: the stream has events of its own for that.
    Patch,
}

/// A command that the model asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// The line, as the stream has it.
    pub(super) line: String,
    /// When it was asked for.
    pub(super) asked: Option<Timestamp>,
    /// How it ended.
    pub(super) end: End,
    /// Where in the record, counted in lines, and when that was written.
    pub(super) ended: Option<(usize, Option<Timestamp>)>,
    /// What the model saw of its output.
    pub(super) output: String,
    /// How much it printed, as far as it can be told.
    pub(super) output_bytes: u64,
    /// Codex noted an event for it that the stream gets too, with this exit code. 0.130 notes none.
    pub(super) noted: Option<i32>,
}

impl Call {
    fn append(&mut self, report: &Report<'_>) {
        self.output.push_str(&report.body);
        self.output = kept(&self.output);
        self.output_bytes = self.output_bytes.saturating_add(report.printed());
    }
}

/// What a call id stands for.
#[derive(Clone, Debug)]
enum Asked {
    Command(usize),
    /// A look at the command that runs in this session, or input to it where there is text.
    Poll(Option<usize>, Option<String>),
    /// JavaScript that calls tools itself; its beginning.
    Script(String),
    /// Any other tool, by name.
    Other(String),
}

/// Text that the model wanted typed into a process that was running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::runtime::codex_exec) struct Input {
    pub(in crate::runtime::codex_exec) text: String,
    /// It was not refused.
    pub(in crate::runtime::codex_exec) has_reached: bool,
}

/// What the record says of one turn.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The commands, in the order in which they were asked for.
    pub(super) calls: Vec<Call>,
    /// What else did not happen as it was asked for, with its place.
    pub(super) warnings: Vec<(usize, String)>,
    /// Input to running processes.
    pub(super) inputs: Vec<Input>,
    /// How often scripts of the model's name the tool that executes commands.
    pub(super) scripted: usize,
    /// Those scripts, as far as they are kept.
    pub(super) scripts: Vec<String>,
    asked: HashMap<String, Asked>,
    sessions: HashMap<String, usize>,
    thread_usage: Option<Usage>,
    profile: Option<String>,
    line: usize,
}

impl Told {
    /// The profile of the last turn in the record.
    pub(super) fn profile(&self) -> Option<&str> {
        self.profile.as_deref()
    }

    /// Takes the next line.
    pub(super) fn take(&mut self, line: &[u8]) {
        self.line = self.line.saturating_add(1);
        let Ok(event) = serde_json::from_slice::<Value>(line) else { return };
        let at = event.get("timestamp").and_then(|at| serde_json::from_value(at.clone()).ok());
        let Some(payload) = event.get("payload") else { return };
        match (string(&event, "type"), string(payload, "type")) {
            (Some("turn_context"), _) => {
                let active = payload.get("active_permission_profile").and_then(|active| string(active, "id"));
                // 0.130 and 0.163 know no such field.
                if payload.get("permission_profile").is_some() {
                    self.profile = Some(active.unwrap_or_default().to_owned());
                }
            }
            (Some("response_item"), Some("function_call")) => self.function(payload, at),
            (Some("response_item"), Some("custom_tool_call")) => self.custom_tool(payload),
            (Some("response_item"), Some("local_shell_call")) => {
                let line = payload.get("action").and_then(|action| joined(action.get("command")?));
                self.ask(payload, Asked::Other("local_shell".to_owned()), line, at);
            }
            (Some("response_item"), Some("function_call_output" | "custom_tool_call_output")) => {
                self.answer(payload, at);
            }
            (Some("event_msg"), Some("item_completed")) => self.note(payload),
            (Some("event_msg"), Some("token_count")) => {
                self.count(payload.get("info").and_then(|info| info.get("total_token_usage")));
            }
            (Some("token_usage_record"), _) => self.count(payload.get("thread_token_usage")),
            _ => {}
        }
    }

    /// The thread's counter as it stood last.
    pub(super) fn thread_usage(&self) -> Option<Usage> {
        self.thread_usage
    }

    /// Notes something that a person should know.
    pub(super) fn warn(&mut self, message: String) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push((self.line, message));
        }
    }

    fn count(&mut self, usage: Option<&Value>) {
        // Some lines repeat an older state; the counter of a thread only grows.
        if let Some(usage) = usage.filter(|usage| usage.is_object()).map(stream::usage)
            && self.thread_usage.is_none_or(|known| usage.total() >= known.total())
        {
            self.thread_usage = Some(usage);
        }
    }

    fn function(&mut self, payload: &Value, at: Option<Timestamp>) {
        let Some(name) = string(payload, "name") else { return };
        let arguments: Option<Value> =
            string(payload, "arguments").and_then(|arguments| serde_json::from_str(arguments).ok());
        let argument = |key: &str| arguments.as_ref().and_then(|arguments| arguments.get(key));
        let other = Asked::Other(name.to_owned());
        // Codex reads more than an object: what it makes of such arguments, its answer tells.
        let unread = || Asked::Other(format!("{name} {}", string(payload, "arguments").unwrap_or_default()));
        match name {
            "exec_command" => {
                let line = argument("cmd").and_then(Value::as_str).map(str::to_owned);
                self.ask(payload, unread(), line, at);
            }
            "shell" | "shell_command" | "container.exec" => {
                let line = argument("command").and_then(joined);
                self.ask(payload, unread(), line, at);
            }
            "write_stdin" => {
                let session = argument("session_id").map(Value::to_string);
                let call = session.and_then(|session| self.sessions.get(&session).copied());
                let text = argument("chars").and_then(Value::as_str).filter(|text| !text.is_empty());
                self.ask(payload, Asked::Poll(call, text.map(str::to_owned)), None, at);
            }
            _ => self.ask(payload, other, None, at),
        }
    }

    fn custom_tool(&mut self, payload: &Value) {
        let Some(name) = string(payload, "name") else { return };
        let asked = if name == "exec" {
            let script = string(payload, "input").unwrap_or_default();
            let named = script.matches("exec_command").count();
            self.scripted = self.scripted.saturating_add(named);
            if named > 0 && self.scripts.len() < SCRIPTS_MAX {
                self.scripts.push(kept(script));
            }
            // Codex notes nothing of what a script calls in vain.
            if script.contains("write_stdin") && script.contains("chars") {
                self.warn(format!("a script of the model's types into a running process: {}", shown(script)));
            } else if !calls_known_tools(script) {
                self.warn(format!("a script of the model's calls other tools than it has: {}", shown(script)));
            }
            Asked::Script(shown(script))
        } else {
            Asked::Other(name.to_owned())
        };
        self.ask(payload, asked, None, None);
    }

    /// Notes a call: a command where there is a line, and `asked` where there is none.
    fn ask(&mut self, payload: &Value, asked: Asked, line: Option<String>, at: Option<Timestamp>) {
        let Some(id) = string(payload, "call_id") else { return };
        if self.asked.len() >= CALLS_MAX {
            if self.asked.len() == CALLS_MAX {
                self.warn(format!("the turn has more than {CALLS_MAX} calls: the rest was not looked at"));
                // One more entry, so that it is said once.
                self.asked.insert(String::new(), asked);
            }
            return;
        }
        let asked = match line {
            Some(line) => {
                self.calls.push(Call {
                    line,
                    asked: at,
                    end: End::Unknown,
                    ended: None,
                    output: String::new(),
                    output_bytes: 0,
                    noted: None,
                });
                Asked::Command(self.calls.len() - 1)
            }
            None => asked,
        };
        self.asked.insert(id.to_owned(), asked);
    }

    /// What a model was told of its call.
    fn answer(&mut self, payload: &Value, at: Option<Timestamp>) {
        let Some(asked) = string(payload, "call_id").and_then(|id| self.asked.get(id)).cloned() else { return };
        let Some(said) = payload.get("output").map(said) else { return };
        let report = report(&said);
        let ended = Some((self.line, at));
        if let Asked::Poll(_, Some(text)) = &asked
            && self.inputs.len() < WARNINGS_MAX
        {
            // Where there is no terminal, an interrupt is taken for one and nothing is typed.
            let has_reached = report.is_some() && text != INTERRUPT;
            self.inputs.push(Input { text: text.clone(), has_reached });
        }
        match (asked, report) {
            (Asked::Command(index), Some(report)) => {
                let Some(call) = self.calls.get_mut(index) else { return };
                call.append(&report);
                call.ended = ended;
                if is_patch(&call.line) && report.is_of_patch() {
                    call.end = End::Patch;
                } else if let Some(code) = report.exit_code {
                    call.end = End::Exited(code);
                } else {
                    call.end = End::Running;
                    if let Some(session) = report.session {
                        self.sessions.insert(session, index);
                    }
                }
            }
            (Asked::Command(index), None) => {
                let Some(call) = self.calls.get_mut(index) else { return };
                call.end = End::Refused;
                call.ended = ended;
                call.output_bytes = said.len() as u64;
                call.output = kept(&said);
            }
            (Asked::Poll(Some(index), _), Some(report)) => {
                let Some(call) = self.calls.get_mut(index) else { return };
                call.append(&report);
                call.ended = ended;
                if let Some(code) = report.exit_code {
                    call.end = End::Exited(code);
                }
            }
            (Asked::Poll(None, _) | Asked::Other(_), Some(_)) => {}
            (Asked::Poll(..), None) => self.refused("write_stdin", &said),
            (Asked::Script(script), _) => {
                if said.starts_with("Script failed") {
                    self.warn(format!("a script of the model's failed: {} · {script}", shown(&said)));
                }
            }
            (Asked::Other(name), None) => {
                if !is_quiet_success(&name, payload, &said) {
                    self.refused(&name, &said);
                }
            }
        }
    }

    fn refused(&mut self, tool: &str, said: &str) {
        let tool = text::clipped(tool, TOOL_KEPT);
        self.warn(format!("a call of `{tool}` came to nothing: {}", shown(said)));
    }

    /// The note of an event: 0.169 keeps those of the stream, under the id of the call.
    fn note(&mut self, payload: &Value) {
        let Some(item) = payload.get("item") else { return };
        let Some(id) = string(item, "id") else { return };
        match (string(item, "type"), self.asked.get(id)) {
            (Some("CommandExecution"), Some(Asked::Command(index))) => {
                if let Some(call) = self.calls.get_mut(*index) {
                    let code = item.get("exit_code").and_then(Value::as_i64);
                    call.noted = code.and_then(|code| i32::try_from(code).ok());
                }
            }
            // The stream tells of these itself, under whatever name the model called them.
            (Some("McpToolCall" | "FileChange" | "CollabAgentToolCall"), Some(Asked::Other(_))) => {
                self.asked.remove(id);
            }
            _ => {}
        }
    }
}

/// Codex executes `apply_patch`, alone or after a `cd`, itself.
fn is_patch(line: &str) -> bool {
    line.trim_start().starts_with("apply_patch") || line.contains("&& apply_patch")
}

/// Tools whose answer is no report and no refusal: the stream either tells of them or leaves them out because they do
/// nothing outside of the model.
fn is_quiet_success(tool: &str, payload: &Value, said: &str) -> bool {
    match tool {
        "update_plan" => said == "Plan updated",
        // A picture, not a sentence.
        "view_image" => payload.get("output").is_some_and(Value::is_array),
        // Where a server's tool fails, the stream has that too; where there is no such tool, it has nothing.
        _ => tool.starts_with("mcp__") && !said.starts_with("unsupported call"),
    }
}

/// Whether every tool that a script takes is one of those it is offered, called by its name. Of what a script calls in
/// vain, and catches, Codex notes nothing.
fn calls_known_tools(script: &str) -> bool {
    const KNOWN: &[&str] = &["exec_command", "apply_patch", "update_plan", "write_stdin"];
    let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
    script.match_indices("tools").all(|(at, word)| {
        let (before, rest) = script.split_at(at);
        let rest = rest.get(word.len()..).unwrap_or_default();
        // Part of another word.
        if before.ends_with(is_of_name) || rest.starts_with(is_of_name) {
            return true;
        }
        let quoted = |quote: &str| rest.strip_prefix('[')?.strip_prefix(quote)?.split_once(quote).map(|(name, _)| name);
        let named = rest.strip_prefix('.').map(|rest| rest.split(|c| !is_of_name(c)).next().unwrap_or_default());
        named.or_else(|| quoted("\"")).or_else(|| quoted("'")).is_some_and(|name| KNOWN.contains(&name))
    })
}

pub(super) fn shown(said: &str) -> String {
    text::clipped(said.trim(), REFUSAL_KEPT).into_owned()
}

/// The line of a command that is given as text or as its words.
fn joined(command: &Value) -> Option<String> {
    if let Some(line) = command.as_str() {
        return Some(line.to_owned());
    }
    let words: Vec<&str> = command.as_array()?.iter().map(Value::as_str).collect::<Option<_>>()?;
    Some(stream::unwrapped(&shlex::try_join(words).ok()?))
}

/// The text of an answer: plain, or in parts.
fn said(output: &Value) -> Cow<'_, str> {
    match output {
        Value::String(text) => Cow::Borrowed(text),
        Value::Array(parts) => parts.iter().filter_map(|part| string(part, "text")).collect::<String>().into(),
        Value::Object(_) => output.get("content").map_or(Cow::Borrowed(""), said),
        Value::Null | Value::Bool(_) | Value::Number(_) => Cow::Borrowed(""),
    }
}

/// What Codex says of a command that it executed.
#[derive(Debug, PartialEq)]
pub(super) struct Report<'a> {
    pub(super) exit_code: Option<i32>,
    /// The name of the session in which it goes on.
    pub(super) session: Option<String>,
    /// How much it printed, in tokens that Codex takes for four bytes each.
    tokens: Option<u64>,
    pub(super) body: Cow<'a, str>,
    /// It has the form that a command has which ran in no session.
    is_plain: bool,
}

impl Report<'_> {
    fn printed(&self) -> u64 {
        let shown = self.body.len() as u64;
        let whole = self.tokens.unwrap_or(0).saturating_mul(4);
        // The count is rounded up to whole tokens.
        if whole > shown.saturating_add(3) { whole } else { shown }
    }

    fn is_of_patch(&self) -> bool {
        self.is_plain || (self.exit_code.is_none() && self.session.is_none())
    }
}

/// Reads such a report; `None` for any other sentence. Three forms: lines before `Output:` as `exec_command` and, with
/// fewer of them, `shell_command` have it, and an object as `shell` has it.
///
/// Only the first line decides whether it is a report: a refusal may quote the command, and the command is the model's.
pub(super) fn report(said: &str) -> Option<Report<'_>> {
    if said.starts_with('{') {
        let object: Value = serde_json::from_str(said).ok()?;
        let code = object.get("metadata")?.get("exit_code")?.as_i64()?;
        let body = string(&object, "output")?.to_owned().into();
        let exit_code = Some(i32::try_from(code).ok()?);
        return Some(Report { exit_code, session: None, tokens: None, body, is_plain: true });
    }
    if !["Chunk ID: ", "Wall time: ", "Exit code: "].iter().any(|first| said.starts_with(first)) {
        return None;
    }
    let is_plain = said.starts_with("Exit code: ");
    let mut report = Report { exit_code: None, session: None, tokens: None, body: Cow::Borrowed(""), is_plain };
    let mut rest = said;
    while let Some((line, after)) = rest.split_once('\n') {
        rest = after;
        if line == "Output:" {
            report.body = Cow::Borrowed(rest);
            return Some(report);
        }
        let code = line.strip_prefix("Process exited with code ").or(line.strip_prefix("Exit code: "));
        if let Some(code) = code {
            report.exit_code = code.parse().ok();
        } else if let Some(session) = line.strip_prefix("Process running with session ID ") {
            report.session = Some(session.to_owned());
        } else if let Some(tokens) = line.strip_prefix("Original token count: ") {
            report.tokens = tokens.parse().ok();
        }
    }
    None
}
