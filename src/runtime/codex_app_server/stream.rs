//! The notifications and questions of `codex app-server`, as the same [`Activity`] that `codex exec` leaves.
//!
//! The shapes are those of Codex 0.169, recorded in `tests/fixtures/codex`. Nothing here fails: what is not known, and
//! what says nothing about the turn (deltas, states, rate limits), becomes no activity.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::policy::Action;
use crate::runtime::Usage;
use crate::runtime::activity::{Activity, FileChange, OUTPUT_KEPT};
use crate::runtime::codex_exec::stream::{connection, owned, status_word, string, unwrapped};
use crate::text;

/// What one message of the server means.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Something happened.
    Activity(Activity),
    /// The server waits for a decision: the answer goes to this request id.
    Approval {
        /// The JSON-RPC id to answer to.
        request: Value,
        /// What is about to happen.
        action: Action,
    },
}

/// Reads the messages of one connection in order. It remembers what a later message leaves out.
#[derive(Debug, Default)]
pub struct Stream {
    usage: Usage,
    patches: BTreeMap<String, Vec<FileChange>>,
}

impl Stream {
    /// What a message from the server means; `None` where it says nothing about the turn.
    pub fn read(&mut self, message: &Value) -> Option<Message> {
        let (method, params) = (string(message, "method")?, message.get("params")?);
        if let Some(request) = message.get("id") {
            return self.approval(method, params).map(|action| Message::Approval { request: request.clone(), action });
        }
        self.activity(method, params).map(Message::Activity)
    }

    fn approval(&self, method: &str, params: &Value) -> Option<Action> {
        match method {
            "item/commandExecution/requestApproval" => Some(Action::Command {
                line: unwrapped(string(params, "command")?),
                directory: string(params, "cwd").map(PathBuf::from),
            }),
            // The question names no file; the item it is about did.
            "item/fileChange/requestApproval" => {
                let changes = self.patches.get(string(params, "itemId")?)?;
                Some(Action::Patch { paths: changes.iter().map(|change| change.path.clone()).collect() })
            }
            _ => None,
        }
    }

    fn activity(&mut self, method: &str, params: &Value) -> Option<Activity> {
        match method {
            "thread/started" => Some(Activity::ThreadStarted { thread: owned(params.get("thread")?, "id")? }),
            "turn/started" => Some(Activity::TurnStarted),
            "item/started" => self.item(params.get("item")?, false),
            "item/completed" => self.item(params.get("item")?, true),
            "thread/tokenUsage/updated" => {
                let total = params.get("tokenUsage")?.get("total")?;
                let count = |key| total.get(key).and_then(Value::as_u64).unwrap_or(0);
                self.usage = Usage {
                    input_tokens: count("inputTokens"),
                    cached_input_tokens: count("cachedInputTokens"),
                    output_tokens: count("outputTokens"),
                };
                None
            }
            "error" => {
                let message = owned(params.get("error")?, "message")?;
                let again = params.get("willRetry").and_then(Value::as_bool) == Some(true);
                Some(if again { Activity::Retrying { message } } else { connection(message) })
            }
            "turn/completed" => {
                let turn = params.get("turn")?;
                match string(turn, "status")? {
                    "completed" => Some(Activity::TurnFinished { usage: self.usage }),
                    status => {
                        let message = turn.get("error").and_then(|error| owned(error, "message"));
                        Some(Activity::TurnFailed { message: message.unwrap_or_else(|| status.to_owned()) })
                    }
                }
            }
            _ => None,
        }
    }

    fn item(&mut self, item: &Value, completed: bool) -> Option<Activity> {
        let id = || owned(item, "id");
        match (string(item, "type")?, completed) {
            ("agentMessage", true) => Some(Activity::Message { text: owned(item, "text")? }),
            ("commandExecution", false) => {
                Some(Activity::CommandStarted { id: id()?, command: unwrapped(string(item, "command")?) })
            }
            ("commandExecution", true) => {
                let output = string(item, "aggregatedOutput").unwrap_or_default();
                Some(Activity::CommandFinished {
                    id: id()?,
                    command: unwrapped(string(item, "command")?),
                    exit_code: item.get("exitCode").and_then(Value::as_i64).and_then(|code| i32::try_from(code).ok()),
                    status: status_word(string(item, "status")?)?,
                    output: text::ends_bytes(output, OUTPUT_KEPT).into_owned(),
                    output_bytes: output.len() as u64,
                    ran: None,
                })
            }
            ("fileChange", false) => {
                let (id, changes) = (id()?, changes(item)?);
                self.patches.insert(id.clone(), changes.clone());
                Some(Activity::PatchStarted { id, changes })
            }
            ("fileChange", true) => {
                let id = id()?;
                self.patches.remove(&id);
                Some(Activity::PatchFinished {
                    id,
                    changes: changes(item)?,
                    status: status_word(string(item, "status")?)?,
                })
            }
            ("mcpToolCall", false) => {
                Some(Activity::ToolStarted { id: id()?, server: owned(item, "server")?, tool: owned(item, "tool")? })
            }
            ("mcpToolCall", true) => Some(Activity::ToolFinished {
                id: id()?,
                server: owned(item, "server")?,
                tool: owned(item, "tool")?,
                status: status_word(string(item, "status")?)?,
                error: item.get("error").and_then(|error| owned(error, "message")),
            }),
            _ => None,
        }
    }
}

fn changes(item: &Value) -> Option<Vec<FileChange>> {
    let change =
        |change: &Value| Some(FileChange { path: owned(change, "path")?, kind: owned(change.get("kind")?, "type")? });
    item.get("changes")?.as_array()?.iter().map(change).collect()
}
