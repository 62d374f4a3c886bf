//! The notifications and questions of `codex app-server`, as the same [`Activity`] that `codex exec` leaves.
//!
//! The shapes are those of Codex 0.163 and 0.169, recorded in `tests/fixtures/codex`. Nothing here fails: what says
//! nothing about the turn (deltas, states, rate limits) becomes no activity, and a kind of item that is not known
//! becomes a [`Message::Other`], for somebody to decide about.

use std::collections::BTreeMap;

use serde_json::Value;

use super::questions::{self, Question};
use crate::runtime::Usage;
use crate::runtime::activity::{Activity, FileChange, Status, kept};
use crate::runtime::codex_exec::stream::{connection, owned, status_word, string, unwrapped};

/// Kinds of items that are the conversation itself, or the model's own: nothing acts in them.
const QUIET_ITEMS: &[&str] = &[
    "userMessage",
    "hookPrompt",
    "agentMessage",
    "functionCallOutput",
    "plan",
    "reasoning",
    "sleep",
    "contextCompaction",
];

/// What one message of the server means.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Something happened.
    Activity(Activity),
    /// A command or a patch was announced; its question is to follow.
    Announced {
        /// The item.
        item: String,
        /// Whether the server says that it goes ahead without a question: a command that is asked about comes from
        /// the `agent`, one that is not from the process that executes it (0.163, 0.169).
        is_under_way: bool,
        /// The announcement.
        activity: Activity,
    },
    /// Something wrote into a command that is running.
    Wrote {
        /// What.
        text: String,
    },
    /// A tool that no question is asked about began.
    Other {
        /// Its name, as a table or a record would have it.
        name: String,
        /// What it is, where that is known.
        activity: Option<Activity>,
    },
    /// A command printed something.
    Printed {
        /// The item.
        item: String,
    },
    /// A response of the model is over, and so is what it asked for, but for commands that go on beside it.
    Counted,
    /// The turn is over.
    Ended(End),
    /// The server waits for a decision.
    Asked {
        /// The JSON-RPC id to answer to.
        request: Value,
        /// The question's method.
        method: String,
        /// The question.
        question: Question,
    },
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// With an answer.
    Completed,
    /// Because somebody stopped it.
    Interrupted,
    /// For this reason.
    Failed {
        /// The sentence.
        message: String,
        /// The code behind it.
        info: Value,
    },
}

/// Reads the messages of one connection in order. It remembers what a later message leaves out.
#[derive(Debug, Default)]
pub struct Stream {
    usage: Option<Usage>,
    patches: BTreeMap<String, Vec<String>>,
}

impl Stream {
    /// The counter of the thread as it was told last.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// What a message from the server means; `None` where it says nothing about the turn.
    pub fn read(&mut self, message: &Value) -> Option<Message> {
        let method = string(message, "method")?;
        let null = Value::Null;
        let params = message.get("params").unwrap_or(&null);
        if let Some(request) = message.get("id") {
            let question = questions::read(method, params, |item| self.patches.get(item).cloned());
            return Some(Message::Asked { request: request.clone(), method: method.to_owned(), question });
        }
        match method {
            "turn/started" => Some(Message::Activity(Activity::TurnStarted)),
            "item/started" => self.started(params.get("item")?),
            "item/completed" => self.completed(params.get("item")?).map(Message::Activity),
            "item/commandExecution/outputDelta" => Some(Message::Printed { item: owned(params, "itemId")? }),
            "item/commandExecution/terminalInteraction" => {
                // An empty text waits for output, and the third character interrupts.
                let text = string(params, "stdin").filter(|text| !matches!(*text, "" | "\u{3}"))?;
                Some(Message::Wrote { text: text.to_owned() })
            }
            "thread/tokenUsage/updated" => {
                self.usage = Some(usage(params.get("tokenUsage")?.get("total")?));
                Some(Message::Counted)
            }
            "error" => {
                let message = owned(params.get("error")?, "message")?;
                let again = params.get("willRetry").and_then(Value::as_bool) == Some(true);
                Some(Message::Activity(if again { Activity::Retrying { message } } else { connection(message) }))
            }
            "warning" | "guardianWarning" => {
                Some(Message::Activity(Activity::Warning { message: owned(params, "message")? }))
            }
            "turn/completed" => ended(params.get("turn")?).map(Message::Ended),
            _ => None,
        }
    }

    fn started(&mut self, item: &Value) -> Option<Message> {
        let kind = string(item, "type")?;
        if QUIET_ITEMS.contains(&kind) {
            return None;
        }
        let known = self.known_start(kind, item);
        match (kind, known) {
            ("commandExecution" | "fileChange", Some(activity)) => Some(Message::Announced {
                item: owned(item, "id")?,
                is_under_way: string(item, "source").is_some_and(|source| source != "agent"),
                activity,
            }),
            // The provider searched by itself: nothing was executed here.
            ("webSearch", Some(activity)) => Some(Message::Activity(activity)),
            ("mcpToolCall", Some(activity)) => {
                let name = format!("mcp/{}/{}", string(item, "server")?, string(item, "tool")?);
                Some(Message::Other { name, activity: Some(activity) })
            }
            ("imageView", activity) => Some(Message::Other { name: "view_image".to_owned(), activity }),
            (_, activity) => Some(Message::Other { name: string(item, "tool").unwrap_or(kind).to_owned(), activity }),
        }
    }

    fn known_start(&mut self, kind: &str, item: &Value) -> Option<Activity> {
        let id = || owned(item, "id");
        match kind {
            "commandExecution" => {
                Some(Activity::CommandStarted { id: id()?, command: unwrapped(string(item, "command")?) })
            }
            "fileChange" => {
                let (id, changes) = (id()?, changes(item)?);
                self.patches.insert(id.clone(), paths(item)?);
                Some(Activity::PatchStarted { id, changes })
            }
            "mcpToolCall" => {
                Some(Activity::ToolStarted { id: id()?, server: owned(item, "server")?, tool: owned(item, "tool")? })
            }
            "webSearch" => {
                let query = owned(item, "query").unwrap_or_default();
                Some(Activity::Searched { query, status: Status::InProgress })
            }
            "collabAgentToolCall" => {
                Some(Activity::SubAgent { id: id()?, tool: owned(item, "tool")?, status: Status::InProgress })
            }
            _ => None,
        }
    }

    fn completed(&mut self, item: &Value) -> Option<Activity> {
        let id = || owned(item, "id");
        match string(item, "type")? {
            "agentMessage" => Some(Activity::Message { text: owned(item, "text")? }),
            "reasoning" => {
                let summary = item.get("summary")?.as_array()?;
                let text = summary.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n");
                (!text.is_empty()).then_some(Activity::Reasoning { text })
            }
            "commandExecution" => {
                let output = string(item, "aggregatedOutput").unwrap_or_default();
                Some(Activity::CommandFinished {
                    id: id()?,
                    command: unwrapped(string(item, "command")?),
                    exit_code: item.get("exitCode").and_then(Value::as_i64).and_then(|code| i32::try_from(code).ok()),
                    status: status_word(string(item, "status")?)?,
                    output: kept(output),
                    output_bytes: output.len() as u64,
                    ran: None,
                })
            }
            "fileChange" => {
                let id = id()?;
                self.patches.remove(&id);
                Some(Activity::PatchFinished {
                    id,
                    changes: changes(item)?,
                    status: status_word(string(item, "status")?)?,
                })
            }
            "mcpToolCall" => Some(Activity::ToolFinished {
                id: id()?,
                server: owned(item, "server")?,
                tool: owned(item, "tool")?,
                status: status_word(string(item, "status")?)?,
                error: item.get("error").and_then(|error| owned(error, "message")),
            }),
            "webSearch" => {
                Some(Activity::Searched { query: owned(item, "query").unwrap_or_default(), status: Status::Completed })
            }
            "collabAgentToolCall" => Some(Activity::SubAgent {
                id: id()?,
                tool: owned(item, "tool")?,
                status: string(item, "status").and_then(status_word).unwrap_or(Status::Completed),
            }),
            _ => None,
        }
    }
}

fn ended(turn: &Value) -> Option<End> {
    Some(match string(turn, "status")? {
        "completed" => End::Completed,
        "interrupted" => End::Interrupted,
        "inProgress" => return None,
        status => {
            let error = turn.get("error");
            let message = error.and_then(|error| owned(error, "message")).unwrap_or_else(|| status.to_owned());
            let info = error.and_then(|error| error.get("codexErrorInfo")).cloned().unwrap_or_default();
            End::Failed { message, info }
        }
    })
}

fn usage(total: &Value) -> Usage {
    let count = |key| total.get(key).and_then(Value::as_u64).unwrap_or(0);
    Usage {
        input_tokens: count("inputTokens"),
        cached_input_tokens: count("cachedInputTokens"),
        output_tokens: count("outputTokens"),
    }
}

fn changes(item: &Value) -> Option<Vec<FileChange>> {
    let change =
        |change: &Value| Some(FileChange { path: owned(change, "path")?, kind: owned(change.get("kind")?, "type")? });
    item.get("changes")?.as_array()?.iter().map(change).collect()
}

/// Every path of a patch, also those that files are moved to. Nothing where one of them cannot be read.
fn paths(item: &Value) -> Option<Vec<String>> {
    let mut found = Vec::new();
    for change in item.get("changes")?.as_array()? {
        found.push(owned(change, "path")?);
        match change.get("kind")?.get("move_path") {
            None | Some(Value::Null) => {}
            Some(to) => found.push(to.as_str()?.to_owned()),
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::Action;

    fn started(item: &Value) -> Option<Message> {
        Stream::default().read(&json!({"method": "item/started", "params": {"item": item}}))
    }

    #[test]
    fn a_patch_names_where_files_are_moved_to() {
        let mut stream = Stream::default();
        let change = json!({"path": "/w/a", "kind": {"type": "update", "move_path": "/etc/b"}, "diff": ""});
        stream.read(&json!({"method": "item/started", "params": {"item":
            {"type": "fileChange", "id": "c1", "changes": [change], "status": "inProgress"}}}));
        let ask = json!({"method": "item/fileChange/requestApproval", "id": 7, "params": {"itemId": "c1"}});
        let Some(Message::Asked { question: Question::Judged { action, .. }, .. }) = stream.read(&ask) else {
            panic!("the patch was not understood");
        };
        assert_eq!(action, Action::Patch { paths: vec!["/w/a".into(), "/etc/b".into()] });
    }

    #[test]
    fn what_nobody_is_asked_about_is_told_apart() {
        let command = |source: &str| {
            json!({"type": "commandExecution", "id": "c1", "source": source,
            "command": "/bin/bash -c ls", "status": "inProgress"})
        };
        for (source, expected) in [("agent", false), ("unifiedExecStartup", true), ("userShell", true)] {
            let Some(Message::Announced { is_under_way, .. }) = started(&command(source)) else { panic!("{source}") };
            assert_eq!(is_under_way, expected, "{source}");
        }
        for (item, name) in [
            (json!({"type": "mcpToolCall", "id": "x", "server": "s", "tool": "t"}), "mcp/s/t"),
            (json!({"type": "collabAgentToolCall", "id": "x", "tool": "spawnAgent"}), "spawnAgent"),
            (json!({"type": "imageView", "id": "x", "path": "/w/a.png"}), "view_image"),
            (json!({"type": "hologram", "id": "x"}), "hologram"),
            // A command that cannot be read is none that could be asked about.
            (json!({"type": "commandExecution", "id": "x"}), "commandExecution"),
        ] {
            let Some(Message::Other { name: found, .. }) = started(&item) else { panic!("{item}") };
            assert_eq!(found, name);
        }
        assert_eq!(started(&json!({"type": "reasoning", "id": "x"})), None);
    }

    #[test]
    fn input_to_a_running_command_is_seen_and_waiting_is_none() {
        let wrote = |text: &str| {
            Stream::default().read(&json!({"method": "item/commandExecution/terminalInteraction",
                "params": {"itemId": "c1", "processId": "1", "stdin": text}}))
        };
        assert_eq!(wrote("rm -rf x\n"), Some(Message::Wrote { text: "rm -rf x\n".into() }));
        assert_eq!((wrote(""), wrote("\u{3}")), (None, None));
    }
}
