//! What Codex tells a hook, as a question to the gatekeeper.
//!
//! The form is that of Codex 0.166 to 0.169 (`codex-rs/hooks/schema`). Nested calls of a model's scripts come in the same
//! form as calls of its own. What is not understood is refused.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::patch::{self, Top};
use super::socket::{Asked, Body};
use crate::policy::Action;
use crate::runtime::codex_exec::stream::{owned, string};
use crate::text;

/// How much of a tool's name is kept, in characters.
const NAME_KEPT: usize = 200;

/// A question.
#[derive(Debug, PartialEq)]
pub(super) enum Question {
    /// The prompt is about to be sent: there is nothing to decide, but the hooks are in force.
    Prompt,
    /// A tool is about to be called.
    Tool(Action),
    /// It cannot be told what is about to happen.
    Unreadable {
        /// The tool, as far as it is known.
        tool: String,
        /// Why not.
        reason: String,
    },
    /// It did not come from Codex.
    Stranger,
}

impl Question {
    /// Reads it.
    pub(super) fn of(asked: &Asked, top: &Top) -> Self {
        match &asked.body {
            Body::Whole(bytes) => Self::read(bytes, top),
            Body::Broken => unreadable("?", "the call is too large to be judged, or was not told whole"),
            Body::Stranger => Self::Stranger,
        }
    }

    fn read(bytes: &[u8], top: &Top) -> Self {
        let Ok(told) = serde_json::from_slice::<Value>(bytes) else {
            return unreadable("?", "what Codex told its hook is no JSON");
        };
        match string(&told, "hook_event_name") {
            Some("UserPromptSubmit") => return Self::Prompt,
            Some("PreToolUse") => {}
            Some(_) | None => return unreadable("?", "Codex told its hook of something else than a tool call"),
        }
        let Some(tool) = string(&told, "tool_name") else {
            return unreadable("?", "Codex did not tell its hook which tool is called");
        };
        // None is started, so none may act.
        if told.get("agent_id").is_some_and(|agent| !agent.is_null()) {
            return unreadable(tool, "another agent than that of the run calls it");
        }
        let directory = string(&told, "cwd").map(PathBuf::from).filter(|directory| directory.is_absolute());
        let command = told.get("tool_input").and_then(|input| owned(input, "command"));
        match (tool, command, directory) {
            ("Bash", Some(line), Some(directory)) => {
                Self::Tool(Action::Command { line, directory: Some(top.named(&directory)) })
            }
            ("apply_patch", Some(patch), Some(directory)) => of_patch(&patch, &directory, top),
            ("Bash" | "apply_patch", ..) => {
                unreadable(tool, "Codex did not tell its hook what would be executed, and where")
            }
            _ => Self::Tool(Action::Tool { name: text::clipped(tool, NAME_KEPT).into_owned() }),
        }
    }
}

fn of_patch(patch: &str, directory: &Path, top: &Top) -> Question {
    match patch::paths(patch, directory, top) {
        Some(paths) => Question::Tool(Action::Patch { paths }),
        None => unreadable("apply_patch", "it cannot be told which files the patch changes"),
    }
}

fn unreadable(tool: &str, reason: &str) -> Question {
    Question::Unreadable { tool: text::clipped(tool, NAME_KEPT).into_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(told: &Value) -> Question {
        Question::read(told.to_string().as_bytes(), &Top::of(Path::new("/w")))
    }

    fn call(tool: &str, input: &Value) -> Value {
        json!({ "hook_event_name": "PreToolUse", "tool_name": tool, "tool_input": input, "cwd": "/w", "agent_id": null })
    }

    #[test]
    fn calls_are_told_apart() {
        assert_eq!(read(&json!({ "hook_event_name": "UserPromptSubmit", "prompt": "go" })), Question::Prompt);
        let command = Action::Command { line: "ls\n\u{7}".into(), directory: Some("/w".into()) };
        assert_eq!(read(&call("Bash", &json!({ "command": "ls\n\u{7}" }))), Question::Tool(command));
        let patch = json!({ "command": "*** Begin Patch\n*** Add File: a\n+x\n*** End Patch" });
        let Question::Tool(Action::Patch { paths }) = read(&call("apply_patch", &patch)) else { panic!("no patch") };
        assert_eq!(paths, ["/w/a"]);
        for tool in ["mcp__a__b", "spawn_agent", "view_image", "bash", "Bash ", ""] {
            let question = read(&call(tool, &json!({ "command": "ls" })));
            assert_eq!(question, Question::Tool(Action::Tool { name: tool.into() }));
        }
    }

    #[test]
    fn what_is_not_understood_has_no_action() {
        let mut of_another = call("Bash", &json!({ "command": "ls" }));
        of_another["agent_id"] = json!("a");
        let mut nowhere = call("Bash", &json!({ "command": "ls" }));
        nowhere["cwd"] = json!("relative");
        for told in [
            of_another,
            nowhere,
            call("Bash", &json!({ "command": ["ls"] })),
            call("Bash", &json!({ "cmd": "ls" })),
            call("apply_patch", &json!({ "command": "rm -rf /" })),
            json!({ "hook_event_name": "PreToolUse", "tool_name": 1 }),
            json!({ "hook_event_name": "SessionStart" }),
            json!([]),
        ] {
            assert!(matches!(read(&told), Question::Unreadable { .. }), "{told}");
        }
        assert!(matches!(Question::read(b"\xff", &Top::of(Path::new("/w"))), Question::Unreadable { .. }));
    }
}
