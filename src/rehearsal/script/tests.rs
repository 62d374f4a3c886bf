//! Conversations with a client that answers each command from a table, checked against the roles' own schemas.

use super::*;
use crate::role::Role;

const DIFF: &str = "diff --git a/src/lib.rs b/src/lib.rs\n--- a/src/lib.rs\n+++ b/src/lib.rs\n@@ -1,2 +1,5 @@\n \
    pub fn add() {}\n+pub fn half(n: u32) -> u32 {\n+    n.checked_div(2).unwrap()\n+}\n // end\n";

fn prompt(role: &str, files: &str, more: &str) -> String {
    format!(
        "# Role: {role}\n\ncommit: 0123456789abcdef0123456789abcdef01234567\n\n## Changed files\n\n{files}\n{more}\n\
         ## Diff\n\n{DIFF}"
    )
}

/// The tools as Codex 0.169 offers them, as far as they matter.
fn tools() -> Value {
    json!([
        {"type": "function", "name": "exec_command", "parameters": {"properties": {"cmd": {}, "yield_time_ms": {}}}},
        {"type": "function", "name": "write_stdin", "parameters": {"properties": {"session_id": {}}}},
    ])
}

/// Plays the client until the model answers; returns the answer and the commands. A command that is not in the table
/// is refused.
fn play(role: &str, prompt: &str, outputs: &[(&str, i32, &str)]) -> (Value, Vec<String>) {
    let schema = Role::find(role).unwrap().schema_value();
    let mut input = vec![
        json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "<environment_context>"}]}),
        json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": prompt}]}),
    ];
    let mut commands = Vec::new();
    for _ in 0..20 {
        let body = json!({"input": input, "tools": tools(), "text": {"format": {"schema": schema}}});
        let Reply::Items { items, .. } = Scripted::new().reply(&Request::new(body)) else { panic!("a reply is items") };
        for item in items {
            match item {
                Item::Message { text } => {
                    let answer: Value = serde_json::from_str(&text).unwrap();
                    let errors: Vec<String> = jsonschema::validator_for(&schema)
                        .unwrap()
                        .iter_errors(&answer)
                        .map(|error| error.to_string())
                        .collect();
                    assert_eq!(errors, [""; 0], "{answer}");
                    assert!(answer["summary"].as_str().unwrap().starts_with(MARK), "{answer}");
                    return (answer, commands);
                }
                Item::Call { arguments, .. } => {
                    let command = arguments["cmd"].as_str().unwrap().to_owned();
                    assert_eq!(arguments["yield_time_ms"], YIELD_MILLISECONDS);
                    let id = format!("call_{}", commands.len());
                    let output = outputs.iter().find(|(line, ..)| *line == command).map_or_else(
                        || format!("exec_command failed: `{command}` rejected: not listed"),
                        |(_, code, text)| format!("Chunk ID: 1\nProcess exited with code {code}\nOutput:\n{text}"),
                    );
                    input.push(json!({"type": "function_call", "call_id": id, "name": "exec_command",
                        "arguments": arguments.to_string()}));
                    input.push(json!({"type": "function_call_output", "call_id": id, "output": output}));
                    commands.push(command);
                }
                Item::Reasoning { .. } | Item::Other(_) => {}
            }
        }
    }
    panic!("the model did not answer");
}

#[test]
fn a_plan_follows_the_document() {
    let files = "- A docs/tasks/half.md (+9 -0)\n- M src/lib.rs (+3 -0)\n";
    let document = "# Halve numbers\n\nQuestion: round up or down?\n\n1. Add `half` to `src/lib.rs`\n- [ ] Test it in \
        `tests/half.rs`\n";
    let outputs = [("git show --stat HEAD", 0, "x"), ("cat docs/tasks/half.md", 0, document)];
    let (answer, commands) = play("planner", &prompt("planner", files, ""), &outputs);
    assert_eq!(commands, ["git show --stat HEAD", "cat docs/tasks/half.md"]);
    assert_eq!(answer["goals"], json!(["Halve numbers"]));
    assert_eq!(answer["steps"][0]["title"], "Add half to src/lib.rs");
    assert_eq!(answer["steps"][0]["files"], json!(["src/lib.rs"]));
    assert_eq!(answer["steps"][1]["files"], json!(["tests/half.rs"]));
    assert_eq!(answer["blocking_questions"][0]["question"], "round up or down?");
}

#[test]
fn without_a_document_there_is_a_question_and_no_plan() {
    let files = "- M a$(id).md (+1 -0)\n- M --output=x.md (+1 -0)\n- M ../up.md (+1 -0)\n";
    let (answer, commands) = play("planner", &prompt("planner", files, ""), &[]);
    assert_eq!(commands, ["git show --stat HEAD"]);
    assert_eq!(answer["steps"], json!([]));
    assert_eq!(answer["blocking_questions"].as_array().unwrap().len(), 1);
}

#[test]
fn a_design_check_quotes_added_lines_and_reads_the_plan() {
    let files = "- M src/lib.rs (+3 -0)\n- M src/big.rs (+900 -0)\n";
    let plan = "-----BEGIN UNTRUSTED artifact 00-----\n{\"steps\": [{\"files\": [\"src/lib.rs\"]}]}\n-----END UNTRUSTED artifact 00-----\n";
    let outputs = [("git show --stat HEAD", 0, "x"), ("cat src/lib.rs", 0, "y"), ("cat src/big.rs", 0, "z")];
    let (answer, commands) = play("architect", &prompt("architect", files, plan), &outputs);
    assert_eq!(commands, ["git show --stat HEAD", "cat src/big.rs", "cat src/lib.rs"]);
    assert_eq!(answer["verdict"], "revise");
    assert_eq!(answer["findings"][0]["line_start"], 3);
    assert_eq!(answer["findings"][0]["quote"], "    n.checked_div(2).unwrap()");
    assert!(answer["risks"][0]["what"].as_str().unwrap().contains("src/big.rs"));
}

#[test]
fn a_test_report_rests_on_what_ran() {
    let prompt = prompt("tester", "- M src/lib.rs (+3 -0)\n", "");
    let failing = "test t::halves ... FAILED\n\nthread 't::halves' (7) panicked at src/lib.rs:3:22:\ncalled on None\n\n\
        test result: FAILED. 1 passed; 1 failed; 0 ignored\n";
    let outputs = [
        ("ls", 0, "a shell's noise\nCargo.toml\nsrc\n"),
        ("cargo test", 101, failing),
        ("head -n 3 src/lib.rs", 0, "noise\npub fn add() {}\npub fn half(n: u32) -> u32 {\n    n.unwrap()\n"),
    ];
    let (answer, commands) = play("tester", &prompt, &outputs);
    assert_eq!(commands, ["ls", "cargo test", "head -n 3 src/lib.rs"]);
    assert_eq!(answer["verdict"], "fail");
    assert_eq!(answer["ran"][0]["exit_code"], 101);
    assert_eq!(
        answer["failures"][0],
        json!({"test": "t::halves", "file": "src/lib.rs", "line": 3, "quote": "    n.unwrap()", "why": "called on None"})
    );
    assert_eq!(answer["gaps"][0]["file"], "src/lib.rs");

    let passing = "test result: ok. 2 passed; 0 failed; 0 ignored\n";
    for (ls, cargo, verdict) in [
        (("ls", 0, "Cargo.toml\n"), ("cargo test", 0, passing), "pass"),
        (("ls", 0, "Cargo.toml\n"), ("cargo test", 0, "test result: ok. 0 passed; 0 failed;"), "inconclusive"),
        (("ls", 0, "Cargo.toml\n"), ("cargo test", 127, "cargo: command not found"), "inconclusive"),
        (("ls", 0, "Cargo.toml\n"), ("cargo test", 101, "error: failed to download"), "inconclusive"),
        (("ls", 0, "Cargo.toml\n"), ("other", 0, ""), "inconclusive"),
        (("ls", 0, "README.md\n"), ("other", 0, ""), "inconclusive"),
        (("ls", 2, "denied\n"), ("other", 0, ""), "inconclusive"),
    ] {
        let (answer, _) = play("tester", &prompt, &[ls, cargo]);
        assert_eq!(answer["verdict"], verdict, "{ls:?} {cargo:?}");
    }
}

#[test]
fn a_command_that_goes_on_is_polled() {
    let mut input = vec![
        json!({"type": "message", "role": "user", "content": "role: tester"}),
        json!({"type": "function_call", "call_id": "a", "name": "exec_command", "arguments": "{\"cmd\":\"ls\"}"}),
        json!({"type": "function_call_output", "call_id": "a", "output": "Process running with session ID 77\nOutput:\n"}),
    ];
    let ask = |input: &[Value]| {
        let reply = Scripted::new().reply(&Request::new(json!({"input": input, "tools": tools()})));
        let Reply::Items { items, .. } = reply else { panic!("{reply:?}") };
        items
    };
    let expected = json!({"session_id": 77, "chars": "", "yield_time_ms": YIELD_MILLISECONDS});
    assert_eq!(ask(&input), [Item::Call { name: "write_stdin".into(), arguments: expected }]);
    input.push(json!({"type": "function_call", "call_id": "b", "name": "write_stdin", "arguments": "{}"}));
    input.push(json!({"type": "function_call_output", "call_id": "b",
        "output": [{"type": "input_text", "text": "Process exited with code 0\nOutput:\nCargo.toml\n"}]}));
    assert!(matches!(&ask(&input)[1], Item::Call { arguments, .. } if arguments["cmd"] == "cargo test"));
}

#[test]
fn a_prompt_without_a_role_or_a_client_without_tools_gets_an_honest_answer() {
    for body in [json!({"input": "hello"}), json!({"input": "role: tester"})] {
        let Reply::Items { items, .. } = Scripted::new().reply(&Request::new(body)) else { panic!("a reply is items") };
        let [Item::Message { text }] = items.as_slice() else { panic!("{items:?}") };
        let answer: Value = serde_json::from_str(text).unwrap();
        assert_eq!(answer["verdict"], "inconclusive");
        assert!(answer["summary"].as_str().unwrap().starts_with(MARK));
    }
}
