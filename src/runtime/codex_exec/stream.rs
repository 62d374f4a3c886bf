//! The JSON lines of `codex exec --json`, in our own words.
//!
//! Every line becomes at most one [`Activity`]; what this version does not know is kept as it came, so that a newer
//! Codex loses nothing and breaks nothing. Nothing here fails: the lines are written by a program we do not own, about
//! things a model did. The shapes are those of Codex 0.100 to 0.169, recorded in `tests/fixtures/codex`.

use serde_json::Value;

use crate::runtime::Usage;
use crate::runtime::activity::{Activity, FileChange, Status, Todo, kept};
use crate::{secrets, text};

/// How much of a line that is no JSON is kept, in bytes.
const GARBAGE_KEPT: usize = 2 * 1024;

/// What a line says. `None` for an empty one.
///
/// A line is read as a [`Value`] first: `web_search` items hold the key `id` twice, which a derived type refuses.
pub fn parse(line: &[u8]) -> Option<Activity> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return None;
    }
    let Ok(event) = serde_json::from_slice::<Value>(line) else {
        let text = String::from_utf8_lossy(line);
        let text = secrets::redacted(&text);
        let start = text::prefix_bytes(&text, GARBAGE_KEPT);
        return Some(Activity::Warning { message: format!("Codex wrote a line that is no JSON: {start}") });
    };
    Some(understood(&event).unwrap_or(Activity::Unknown { raw: event }))
}

fn understood(event: &Value) -> Option<Activity> {
    match string(event, "type")? {
        "thread.started" => Some(Activity::ThreadStarted { thread: owned(event, "thread_id")? }),
        "turn.started" => Some(Activity::TurnStarted),
        "turn.completed" => Some(Activity::TurnFinished { usage: usage(event.get("usage")?) }),
        "turn.failed" => Some(Activity::TurnFailed { message: owned(event.get("error")?, "message")? }),
        "error" => Some(connection(owned(event, "message")?)),
        "item.started" => item(event.get("item")?, Phase::Started),
        "item.updated" => item(event.get("item")?, Phase::Updated),
        "item.completed" => item(event.get("item")?, Phase::Completed),
        _ => None,
    }
}

/// A top-level `error` ends nothing: a `turn.failed` says so if it was the last word.
pub(crate) fn connection(message: String) -> Activity {
    if message.starts_with("Reconnecting") { Activity::Retrying { message } } else { Activity::Warning { message } }
}

/// Where in its life an item is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Started,
    Updated,
    Completed,
}

fn item(item: &Value, phase: Phase) -> Option<Activity> {
    let kind = string(item, "type")?;
    match (kind, phase) {
        ("agent_message", Phase::Completed) => Some(Activity::Message { text: owned(item, "text")? }),
        ("reasoning", Phase::Completed) => Some(Activity::Reasoning { text: owned(item, "text")? }),
        ("error", Phase::Completed) => Some(Activity::Warning { message: owned(item, "message")? }),
        ("command_execution", Phase::Started) => {
            Some(Activity::CommandStarted { id: owned(item, "id")?, command: unwrapped(string(item, "command")?) })
        }
        ("command_execution", Phase::Completed) => {
            let output = string(item, "aggregated_output").unwrap_or_default();
            Some(Activity::CommandFinished {
                id: owned(item, "id")?,
                command: unwrapped(string(item, "command")?),
                exit_code: item.get("exit_code").and_then(Value::as_i64).and_then(|code| i32::try_from(code).ok()),
                status: status(item, phase)?,
                output: kept(output),
                output_bytes: output.len() as u64,
                ran: None,
            })
        }
        ("file_change", Phase::Started) => {
            Some(Activity::PatchStarted { id: owned(item, "id")?, changes: changes(item)? })
        }
        ("file_change", Phase::Completed) => Some(Activity::PatchFinished {
            id: owned(item, "id")?,
            changes: changes(item)?,
            status: status(item, phase)?,
        }),
        ("mcp_tool_call", Phase::Started) => Some(Activity::ToolStarted {
            id: owned(item, "id")?,
            server: owned(item, "server")?,
            tool: owned(item, "tool")?,
        }),
        ("mcp_tool_call", Phase::Completed) => Some(Activity::ToolFinished {
            id: owned(item, "id")?,
            server: owned(item, "server")?,
            tool: owned(item, "tool")?,
            status: status(item, phase)?,
            error: item.get("error").and_then(|error| owned(error, "message")),
        }),
        ("collab_tool_call", Phase::Started | Phase::Completed) => Some(Activity::SubAgent {
            id: owned(item, "id")?,
            tool: owned(item, "tool")?,
            status: status(item, phase)?,
        }),
        ("web_search", Phase::Started | Phase::Completed) => {
            Some(Activity::Searched { query: owned(item, "query")?, status: status(item, phase)? })
        }
        ("todo_list", _) => Some(Activity::Todos { items: todos(item)? }),
        _ => None,
    }
}

/// The status an item gives, or the one its phase implies where it gives none (web searches). A word that is not
/// known makes the line unknown rather than a success.
fn status(item: &Value, phase: Phase) -> Option<Status> {
    match item.get("status") {
        None if phase == Phase::Completed => Some(Status::Completed),
        None => Some(Status::InProgress),
        Some(word) => status_word(word.as_str()?),
    }
}

/// The four words, in the spelling of `exec` and of the app server.
pub(crate) fn status_word(word: &str) -> Option<Status> {
    match word {
        "in_progress" | "inProgress" => Some(Status::InProgress),
        "completed" => Some(Status::Completed),
        "failed" => Some(Status::Failed),
        "declined" => Some(Status::Declined),
        _ => None,
    }
}

fn changes(item: &Value) -> Option<Vec<FileChange>> {
    let change = |change: &Value| Some(FileChange { path: owned(change, "path")?, kind: owned(change, "kind")? });
    item.get("changes")?.as_array()?.iter().map(change).collect()
}

fn todos(item: &Value) -> Option<Vec<Todo>> {
    let todo = |todo: &Value| Some(Todo { text: owned(todo, "text")?, completed: todo.get("completed")?.as_bool()? });
    item.get("items")?.as_array()?.iter().map(todo).collect()
}

pub(super) fn usage(usage: &Value) -> Usage {
    let count = |key| usage.get(key).and_then(Value::as_u64).unwrap_or(0);
    Usage {
        input_tokens: count("input_tokens"),
        cached_input_tokens: count("cached_input_tokens"),
        output_tokens: count("output_tokens"),
    }
}

/// The line behind `/bin/bash -lc '…'` (`-c` without a login shell). Codex joins the three words by the rules that
/// `shlex` splits by, so the line is exact where the command has that shape, and the command as it is where not.
pub(crate) fn unwrapped(command: &str) -> String {
    let words = shlex::split(command).unwrap_or_default();
    if let [shell, flag, line] = words.as_slice()
        && matches!(flag.as_str(), "-c" | "-lc")
        && matches!(shell.rsplit('/').next(), Some("bash" | "dash" | "sh" | "zsh"))
    {
        return line.clone();
    }
    command.to_owned()
}

pub(crate) fn string<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

pub(crate) fn owned(value: &Value, key: &str) -> Option<String> {
    string(value, key).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::activity::OUTPUT_KEPT;

    #[test]
    fn a_shell_is_unwrapped_only_where_the_shape_is_exact() {
        for (command, line) in [
            ("/bin/bash -lc 'echo hi; ls'", "echo hi; ls"),
            ("/bin/bash -c ls", "ls"),
            ("/usr/bin/zsh -lc \"a 'b'\"", "a 'b'"),
            ("/bin/bash -lc 'a' b", "/bin/bash -lc 'a' b"),
            ("python -c 'x'", "python -c 'x'"),
            ("/bin/bash -lc 'open", "/bin/bash -lc 'open"),
            ("", ""),
        ] {
            assert_eq!(unwrapped(command), line);
        }
    }

    #[test]
    fn what_is_not_known_is_kept_and_never_a_success() {
        for line in [
            r#"{"type":"turn.paused"}"#,
            r#"{"type":"item.completed","item":{"id":"i","type":"hologram"}}"#,
            r#"{"type":"item.completed","item":{"id":"i","type":"command_execution","command":"ls","status":"odd"}}"#,
            r#"{"type":"turn.completed"}"#,
            "[1]",
            "null",
        ] {
            let raw = serde_json::from_str(line).unwrap();
            assert_eq!(parse(line.as_bytes()), Some(Activity::Unknown { raw }));
        }
        assert!(matches!(parse(b"\xff\xfe{"), Some(Activity::Warning { .. })));
        assert_eq!(parse(b" \r"), None);
    }

    #[test]
    fn long_output_is_cut_between_characters_and_counted_whole() {
        let output = "ü".repeat(OUTPUT_KEPT);
        let line = serde_json::json!({"type": "item.completed", "item": {"id": "i", "type": "command_execution",
            "command": "x", "aggregated_output": output, "exit_code": 0, "status": "completed"}});
        let Some(Activity::CommandFinished { output: kept, output_bytes, .. }) = parse(line.to_string().as_bytes())
        else {
            panic!("not a finished command");
        };
        assert!(kept.len() <= OUTPUT_KEPT && kept.ends_with('ü'), "{}", kept.len());
        assert_eq!(output_bytes, 2 * OUTPUT_KEPT as u64);
    }
}
