//! What the role has executed so far, read back from the conversation.
//!
//! A tool's output is text. Its head is the one Codex writes (observed in 0.169): lines `Chunk ID: …`, `Wall time: …`,
//! then `Process exited with code N` or `Process running with session ID N`, `Original token count: …`, `Output:`, and
//! after it what the command printed. Text without such a head means that the command did not run.

use serde_json::Value;

use crate::rehearsal::model::{Request, content};

/// How a command stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It ended.
    Exited {
        /// With this code.
        code: i32,
    },
    /// It goes on.
    Running {
        /// By this id it can be polled.
        session: u64,
    },
    /// It did not run; the output says why.
    Refused,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Execution {
    /// The line.
    pub(super) command: String,
    /// How it stands.
    pub(super) outcome: Outcome,
    /// What it printed, or why it did not run.
    pub(super) output: String,
    /// How often it was polled.
    pub(super) polls: usize,
}

impl Execution {
    /// The exit code, if it ended.
    pub(super) fn exit_code(&self) -> Option<i32> {
        match self.outcome {
            Outcome::Exited { code } => Some(code),
            Outcome::Running { .. } | Outcome::Refused => None,
        }
    }

    /// What it printed, if it ended well.
    pub(super) fn success(&self) -> Option<&str> {
        (self.exit_code() == Some(0)).then_some(self.output.as_str())
    }
}

/// The commands of this turn, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    executions: Vec<Execution>,
}

impl History {
    /// Those after the item number `prompt`.
    pub(super) fn since(request: &Request, prompt: usize) -> Self {
        let items = request.items().get(prompt..).unwrap_or_default();
        let text = |item: &Value, key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut history = Self::default();
        for call in items.iter().filter(|item| text(item, "type") == "function_call") {
            let id = text(call, "call_id");
            let output = items
                .iter()
                .find(|item| text(item, "type") == "function_call_output" && text(item, "call_id") == id)
                .map(content);
            let Some(output) = output else { continue };
            let arguments: Value = serde_json::from_str(&text(call, "arguments")).unwrap_or(Value::Null);
            let (outcome, printed) = read(&output);
            match text(call, "name").as_str() {
                "exec_command" => {
                    let command = text(&arguments, "cmd");
                    history.executions.push(Execution { command, outcome, output: printed.to_owned(), polls: 0 });
                }
                "write_stdin" => {
                    if let Some(last) = history.executions.last_mut() {
                        last.outcome = outcome;
                        last.output.push_str(printed);
                        last.polls += 1;
                    }
                }
                _ => {}
            }
        }
        history
    }

    /// The command that came last.
    pub(super) fn last(&self) -> Option<&Execution> {
        self.executions.last()
    }

    /// The command of this line.
    pub(super) fn of(&self, command: &str) -> Option<&Execution> {
        self.executions.iter().find(|execution| execution.command == command)
    }

    /// All of them.
    pub(super) fn all(&self) -> &[Execution] {
        &self.executions
    }
}

/// The outcome and what follows the head of a tool's output.
fn read(output: &str) -> (Outcome, &str) {
    let (head, printed) = match output.split_once("Output:\n") {
        Some(parts) => parts,
        None => (output.strip_suffix("Output:").unwrap_or(output), ""),
    };
    let number = |prefix: &str| {
        head.lines().find_map(|line| line.strip_prefix(prefix)).and_then(|number| number.trim().parse::<i64>().ok())
    };
    if let Some(code) = number("Process exited with code ").and_then(|code| i32::try_from(code).ok()) {
        return (Outcome::Exited { code }, printed);
    }
    if let Some(session) = number("Process running with session ID ").and_then(|id| u64::try_from(id).ok()) {
        return (Outcome::Running { session }, printed);
    }
    (Outcome::Refused, output)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(id: &str, name: &str, arguments: &Value) -> Value {
        json!({"type": "function_call", "call_id": id, "name": name, "arguments": arguments.to_string()})
    }

    fn output(id: &str, text: &str) -> Value {
        json!({"type": "function_call_output", "call_id": id, "output": text})
    }

    /// The outputs are Codex 0.169's own.
    #[test]
    fn the_outputs_of_codex_are_read() {
        let request = Request::new(json!({"input": [
            {"role": "user", "content": "role: tester"},
            call("c0", "exec_command", &json!({"cmd": "make -s"})),
            output("c0", "Chunk ID: d76be6\nWall time: 1.0019 seconds\nProcess running with session ID 32430\nOriginal token count: 15\nOutput:\none\n"),
            call("c1", "write_stdin", &json!({"session_id": 32430, "chars": ""})),
            output("c1", "Chunk ID: 34af3e\nWall time: 5.0007 seconds\nProcess running with session ID 32430\nOriginal token count: 0\nOutput:\n"),
            call("c2", "write_stdin", &json!({"session_id": 32430, "chars": ""})),
            output("c2", "Chunk ID: 3f226e\nWall time: 5.9075 seconds\nProcess exited with code 2\nOriginal token count: 10\nOutput:\ntwo\nOutput:\nProcess exited with code 0\n"),
            call("c3", "exec_command", &json!({"cmd": "git push"})),
            output("c3", "Command blocked by PreToolUse hook: not listed. Command: git push"),
            call("c4", "exec_command", &json!({"cmd": "ls"})),
        ]}));
        let history = History::since(&request, 0);
        assert_eq!(
            history.all(),
            [
                Execution {
                    command: "make -s".into(),
                    outcome: Outcome::Exited { code: 2 },
                    output: "one\ntwo\nOutput:\nProcess exited with code 0\n".into(),
                    polls: 2,
                },
                Execution {
                    command: "git push".into(),
                    outcome: Outcome::Refused,
                    output: "Command blocked by PreToolUse hook: not listed. Command: git push".into(),
                    polls: 0,
                },
            ]
        );
    }
}
