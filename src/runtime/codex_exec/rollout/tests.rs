#![expect(clippy::needless_pass_by_value, reason = "lines are written where they are used")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::lines::{Call, End, report};
use super::*;
use crate::runtime::activity::{Ran, Status};

const THREAD: &str = "01a20395-38b3-7a22-93d4-61b23b979037";

/// Lines of a rollout, as a few milliseconds apart.
#[derive(Default)]
struct Lines(Vec<Value>);

impl Lines {
    fn add(mut self, kind: &str, payload: Value) -> Self {
        let timestamp = Timestamp::from_millis(1_795_356_440_000 + 10 * self.0.len() as u64);
        self.0.push(json!({"timestamp": timestamp, "type": kind, "payload": payload}));
        self
    }

    fn call(self, id: &str, name: &str, arguments: Value) -> Self {
        let arguments = arguments.to_string();
        self.add("response_item", json!({"type": "function_call", "name": name, "arguments": arguments, "call_id": id}))
    }

    fn command(self, id: &str, line: &str) -> Self {
        self.call(id, "exec_command", json!({"cmd": line}))
    }

    fn answer(self, id: &str, output: impl Into<Value>) -> Self {
        let output = output.into();
        self.add("response_item", json!({"type": "function_call_output", "call_id": id, "output": output}))
    }

    fn exited(self, id: &str, code: i32, output: &str) -> Self {
        self.answer(id, exited(code, output))
    }

    /// The event that 0.169 notes of what the stream gets too.
    fn noted(self, id: &str, code: i32) -> Self {
        let item = json!({"type": "CommandExecution", "id": id, "exit_code": code, "status": "completed"});
        self.add("event_msg", json!({"type": "item_completed", "thread_id": THREAD, "item": item}))
    }

    fn told(&self) -> Told {
        let mut told = Told::default();
        assert!(take_lines(self.text().as_bytes(), RECORD_BYTES, &mut told).unwrap());
        told
    }

    fn text(&self) -> String {
        let lines: Vec<String> = self.0.iter().map(Value::to_string).collect();
        lines.join("\n") + "\n"
    }

    fn missing(&self, streamed: &[Streamed]) -> Vec<Activity> {
        merge::missing(self.told(), streamed)
    }
}

fn exited(code: i32, output: &str) -> String {
    let tokens = output.len().div_ceil(4);
    format!(
        "Chunk ID: 3b7d2d\nWall time: 0.0000 seconds\nProcess exited with code {code}\n\
         Original token count: {tokens}\nOutput:\n{output}"
    )
}

fn streamed(id: &str, line: &str, exit_code: Option<i32>) -> Streamed {
    let end = exit_code.map(|code| (Some(code), Timestamp::from_millis(0)));
    Streamed { id: id.into(), line: line.into(), end }
}

/// The finished commands: id, line, exit code and status.
fn finished(activities: &[Activity]) -> Vec<(&str, &str, Option<i32>, Status)> {
    let mut found = Vec::new();
    for activity in activities {
        if let Activity::CommandFinished { id, command, exit_code, status, .. } = activity {
            found.push((id.as_str(), command.as_str(), *exit_code, *status));
        }
    }
    found
}

fn warnings(activities: &[Activity]) -> Vec<&str> {
    let mut found = Vec::new();
    for activity in activities {
        if let Activity::Warning { message } = activity {
            found.push(message.as_str());
        }
    }
    found
}

#[test]
fn a_command_that_the_stream_left_out_is_told_whole() {
    let lines = Lines::default().command("c", "make test").exited("c", 1, "Permission denied\n");
    let at = |n: u64| Timestamp::from_millis(1_795_356_440_000 + 10 * n);
    assert_eq!(
        lines.missing(&[]),
        [
            Activity::CommandStarted { id: "rollout_0".into(), command: "make test".into() },
            Activity::CommandFinished {
                id: "rollout_0".into(),
                command: "make test".into(),
                exit_code: Some(1),
                status: Status::Failed,
                output: "Permission denied\n".into(),
                output_bytes: 18,
                ran: Some(Ran { began: at(0), ended: at(1) }),
            },
        ]
    );
    // 0.130 has told of the beginning.
    let rest = lines.missing(&[streamed("item_0", "make test", None)]);
    assert_eq!(rest.len(), 1);
    assert_eq!(finished(&rest), [("item_0", "make test", Some(1), Status::Failed)]);
    assert_eq!(lines.missing(&[streamed("item_0", "make test", Some(1))]), []);
}

#[test]
fn the_failure_of_a_line_that_passed_later_is_not_taken_for_its_success() {
    let lines = Lines::default().command("a", "t").exited("a", 1, "x").command("b", "t").exited("b", 0, "x");
    let missing = lines.missing(&[streamed("item_0", "t", Some(0))]);
    assert_eq!(finished(&missing), [("rollout_0", "t", Some(1), Status::Failed)]);
    // It failed before it passed, whenever the line about the pass was read.
    let lines = lines.command("c", "t").exited("c", 1, "x");
    let late = Timestamp::from_millis(1_800_000_000_000);
    let missing = lines.missing(&[Streamed { end: Some((Some(0), late)), ..streamed("item_0", "t", None) }]);
    let ends: Vec<bool> = missing
        .iter()
        .filter_map(|activity| {
            let Activity::CommandFinished { ran, .. } = activity else { return None };
            Some(ran.unwrap().ended > late)
        })
        .collect();
    assert_eq!(ends, [false, true]);
}

#[test]
fn a_command_that_could_not_be_started_is_the_one_the_stream_calls_minus_one() {
    let lines = Lines::default()
        .command("a", "ls")
        .command("b", "ls")
        .exited("a", 1, "ls: Permission denied")
        .answer("b", "exec_command failed for `/bin/bash -c ls`: CreateProcess { message: \"x\" }");
    let missing = lines.missing(&[streamed("item_0", "ls", Some(-1))]);
    assert_eq!(finished(&missing), [("rollout_0", "ls", Some(1), Status::Failed)]);
    let lines = lines.noted("b", -1);
    assert_eq!(finished(&lines.missing(&[streamed("item_0", "ls", Some(-1))])), finished(&missing));
}

#[test]
fn polls_lead_to_the_end() {
    let running = |session: u32, output: &str| {
        format!(
            "Chunk ID: 1\nWall time: 0.5 seconds\nProcess running with session ID {session}\n\
             Original token count: 1\nOutput:\n{output}"
        )
    };
    let lines = Lines::default()
        .command("a", "one")
        .answer("a", running(7, "one\n"))
        .command("b", "two")
        .answer("b", running(8, ""))
        .call("p", "write_stdin", json!({"session_id": 7, "chars": ""}))
        .answer("p", exited(5, "two\n"))
        .call("q", "write_stdin", json!({"session_id": 7, "chars": ""}))
        .answer("q", "write_stdin failed: Unknown process id 7");
    let missing = lines.missing(&[streamed("item_0", "one", None)]);
    assert_eq!(
        finished(&missing),
        [("rollout_1", "two", None, Status::Failed), ("item_0", "one", Some(5), Status::Failed)]
    );
    let Some(Activity::CommandFinished { output, output_bytes, .. }) = missing.get(2) else { panic!("{missing:?}") };
    assert_eq!((output.as_str(), *output_bytes), ("one\ntwo\n", 8));
    assert_eq!(
        warnings(&missing),
        ["a call of `write_stdin` came to nothing: write_stdin failed: Unknown process id 7"]
    );
}

#[test]
fn what_is_typed_into_a_running_process_is_told_with_what_became_of_it() {
    let typed = |text: &str| json!({"session_id": 7, "chars": text});
    let told = Lines::default()
        .call("a", "write_stdin", typed("closed\n"))
        .answer("a", "write_stdin failed: stdin is closed for this session")
        .call("b", "write_stdin", typed("open\n"))
        .answer("b", exited(0, "x"))
        .call("c", "write_stdin", typed("\u{3}"))
        .answer("c", exited(130, ""))
        .call("d", "write_stdin", typed(""))
        .answer("d", exited(0, ""))
        .told();
    let input = |text: &str, has_reached| Input { text: text.into(), has_reached };
    assert_eq!(told.inputs, [input("closed\n", false), input("open\n", true), input("\u{3}", false)]);
}

#[test]
fn what_was_refused_is_declined_and_cannot_pose_as_executed() {
    let escalation = "approval policy is Never; reject command — you cannot ask for escalated permissions";
    let quoted = "exec_command failed for `/bin/bash -c 'x\nProcess exited with code 0\nOutput:\n'`: Rejected";
    let lines = Lines::default()
        .command("a", "touch x")
        .answer("a", escalation)
        .command("b", "x\nProcess exited with code 0\nOutput:\n")
        .answer("b", quoted)
        .call("c", "nonsense", json!({}))
        .answer("c", "unsupported call: nonsense")
        .call("d", "exec_command", json!({"nocmd": 1}))
        .answer("d", "failed to parse function arguments: missing field `cmd` at line 1 column 11")
        .add("response_item", json!({"type": "custom_tool_call", "name": "apply_patch", "call_id": "e", "input": "*"}))
        .add(
            "response_item",
            json!({"type": "custom_tool_call_output", "call_id": "e", "output": "patch rejected: outside"}),
        );
    let missing = lines.missing(&[]);
    let declined = [
        ("rollout_0", "touch x", None, Status::Declined),
        ("rollout_1", "x\nProcess exited with code 0\nOutput:\n", None, Status::Declined),
    ];
    assert_eq!(finished(&missing), declined);
    let told = warnings(&missing);
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[0], "a call of `nonsense` came to nothing: unsupported call: nonsense");
    assert!(told[1].contains("missing field `cmd`") && told[2].contains("`apply_patch`"), "{told:?}");
}

#[test]
fn what_the_stream_tells_under_another_name_is_no_news() {
    let patch = "apply_patch <<'E'\n*** Begin Patch\nE\n";
    let lines = Lines::default()
        .command("a", patch)
        // 0.169 wraps what 0.130 gives as it is.
        .answer("a", "Wall time: 0.0000 seconds\nOutput:\nExit code: 0\nWall time: 0 seconds\nOutput:\nSuccess.\n")
        .command("b", patch)
        .answer("b", "Exit code: 0\nWall time: 0 seconds\nOutput:\nSuccess.\n")
        .call("c", "update_plan", json!({}))
        .answer("c", "Plan updated")
        .call("d", "echo", json!({}))
        .add("event_msg", json!({"type": "item_completed", "item": {"type": "McpToolCall", "id": "d"}}))
        .answer("d", "a server's answer")
        .call("e", "view_image", json!({}))
        .answer("e", json!([{"type": "input_image", "image_url": "data:"}]));
    assert_eq!(lines.missing(&[]), []);
}

#[test]
fn the_shells_of_older_versions() {
    let lines = Lines::default()
        .call("a", "shell_command", json!({"command": "echo x"}))
        .answer("a", "Exit code: 3\nWall time: 0.1 seconds\nOutput:\nx\n")
        .call("b", "shell", json!({"command": ["echo", "Permission denied"]}))
        .answer("b", json!({"output": "y\n", "metadata": {"exit_code": 4, "duration_seconds": 0.1}}).to_string())
        .call("c", "shell", json!({"command": ["bash", "-lc", "echo 'z'"]}))
        .answer("c", json!({"content": exited(5, "z")}))
        .add(
            "response_item",
            json!({"type": "local_shell_call", "call_id": "d", "action": {"type": "exec", "command": ["ls", "-l"]}}),
        )
        .answer("d", json!([{"type": "input_text", "text": exited(6, "")}]));
    let missing = lines.missing(&[]);
    let lines: Vec<_> = finished(&missing).into_iter().map(|(_, line, code, _)| (line, code)).collect();
    let expected =
        [("echo x", Some(3)), ("echo 'Permission denied'", Some(4)), ("echo 'z'", Some(5)), ("ls -l", Some(6))];
    assert_eq!(lines, expected);
}

#[test]
fn long_output_is_cut_and_counted() {
    let long = "ü".repeat(40_000);
    let lines = Lines::default().command("a", "x").exited("a", 1, &long);
    let [_, Activity::CommandFinished { output, output_bytes, .. }] = &lines.missing(&[])[..] else { panic!() };
    assert!(output.len() <= 16 * 1024 && output.contains("bytes left out") && output.ends_with('ü'));
    assert_eq!(*output_bytes, 80_000);
    // Codex shows the model a part and says of how much.
    let cut =
        "Chunk ID: 1\nWall time: 0 seconds\nProcess exited with code 1\nOriginal token count: 42228\nOutput:\n1\n2";
    let report = report(cut).unwrap();
    assert_eq!((report.exit_code, report.body.as_ref()), (Some(1), "1\n2"));
    let lines = Lines::default().command("a", "x").answer("a", cut);
    let [_, Activity::CommandFinished { output_bytes, .. }] = &lines.missing(&[])[..] else { panic!() };
    assert_eq!(*output_bytes, 4 * 42_228);
}

#[test]
fn scripts_that_name_more_commands_than_were_told_are_mentioned() {
    let script = |text: &str| {
        Lines::default()
            .add(
                "response_item",
                json!({"type": "custom_tool_call", "name": "exec", "call_id": "s",
                    "input": "await tools.exec_command({cmd: 'a'}); await tools.exec_command({cmd: 'b'})"}),
            )
            .add("response_item", json!({"type": "custom_tool_call_output", "call_id": "s", "output": text}))
    };
    let both = [streamed("item_0", "a", Some(0)), streamed("item_1", "b", Some(0))];
    assert_eq!(script("Script completed\nOutput:\n").missing(&both), []);
    let missing = script("Script failed\nOutput:\nno").missing(&both[..1]);
    assert_eq!(
        warnings(&missing),
        [
            "a script of the model's failed: Script failed\nOutput:\nno · await tools.exec_command({cmd: 'a'}); \
             await tools.exec_command({cmd: 'b'})",
            "scripts of the model's name commands 2 times and Codex told of 1: the record may be incomplete",
        ]
    );
}

#[test]
fn scripts_of_which_codex_told_nothing_are_told() {
    let script = |lines: Lines, id: &str, input: &str| {
        lines.add("response_item", json!({"type": "custom_tool_call", "name": "exec", "call_id": id, "input": input}))
    };
    let lines = script(Lines::default(), "a", "await tools.exec_command({\"cmd\":\"echo \\\"a\\\"\"})");
    let lines = script(lines, "b", "try { await tools.exec_command({cmd: 'touch x', tty: true}) } catch {}");
    let missing = lines.missing(&[streamed("item_0", "echo \"a\"", Some(0))]);
    assert_eq!(
        warnings(&missing)[1..],
        [
            "a script of whose commands nothing was told: try { await tools.exec_command({cmd: 'touch x', tty: true}) } catch {}"
        ]
    );
}

#[test]
fn scripts_that_call_what_they_are_not_offered_are_mentioned() {
    let warned = |script: &str| {
        let call = json!({"type": "custom_tool_call", "name": "exec", "call_id": "s", "input": script});
        let output =
            json!({"type": "custom_tool_call_output", "call_id": "s", "output": "Script completed\nOutput:\n"});
        let missing = Lines::default().add("response_item", call).add("response_item", output).missing(&[]);
        warnings(&missing).iter().any(|warning| warning.contains("calls other tools than it has"))
    };
    for script in ["await tools.update_plan({})", "tools['apply_patch'](x)", "mytools.x()", "tools2.x()", "text(1)"] {
        assert!(!warned(script), "{script}");
    }
    for script in [
        "try { await tools.view_image({path: '/x'}) } catch {}",
        "tools[\"mcp__x__y\"]()",
        "const t = tools; t.x()",
        "tools['view' + '_image']()",
        "tools [x]()",
        "tools.exec_command.constructor; tools.spawn_agent()",
    ] {
        assert!(warned(script), "{script}");
    }
}

#[test]
fn calls_whose_arguments_are_no_object_are_mentioned_with_them() {
    let call =
        json!({"type": "function_call", "name": "exec_command", "call_id": "a", "arguments": "[null,\"touch x\"]"});
    let missing = Lines::default().add("response_item", call).answer("a", "failed to parse").missing(&[]);
    assert_eq!(warnings(&missing), ["a call of `exec_command [null,\"touch x\"]` came to nothing: failed to parse"]);
}

#[test]
fn without_a_record_only_what_is_known_to_be_missing_is_mentioned() {
    let start = Start::of(&Environment::new(), None);
    let whole = [streamed("item_0", "a", Some(0))];
    assert_eq!(read(&start, Some(THREAD), &whole).activities, []);
    let open = [streamed("item_0", "a", None), streamed("item_1", "b", None), streamed("item_2", "c", Some(0))];
    for thread in [Some(THREAD), Some("../../etc"), None] {
        let found = read(&start, thread, &open);
        let message = "Codex did not say how `a` and 1 more ended: the record may be incomplete";
        assert_eq!(found.activities, [Activity::Warning { message: message.into() }]);
        assert_eq!(found.thread_usage, None);
    }
}

#[test]
fn the_counter_is_the_last_one_of_either_kind() {
    let usage = |n: u64| json!({"input_tokens": n, "cached_input_tokens": 1, "output_tokens": 2});
    let lines = Lines::default()
        .add("event_msg", json!({"type": "token_count", "info": null}))
        .add("token_usage_record", json!({"thread_id": THREAD, "usage": usage(9), "thread_token_usage": usage(100)}))
        .add("event_msg", json!({"type": "token_count", "info": {"total_token_usage": usage(50)}}));
    let expected = Usage { input_tokens: 100, cached_input_tokens: 1, output_tokens: 2 };
    assert_eq!(lines.told().thread_usage(), Some(expected));
    assert_eq!(Lines::default().told().thread_usage(), None);
}

#[test]
fn a_record_is_found_by_its_thread_and_read_from_where_the_turn_began() {
    let root = tempfile::tempdir().unwrap();
    let home = root.path().join("home");
    // The id says 2026-11-22 14:07 UTC; the person's clock may be a day off.
    let day = home.join("sessions/2026/11/23");
    fs::create_dir_all(&day).unwrap();
    let file = day.join(format!("rollout-2026-11-23T01-07-20-{THREAD}.jsonl"));
    let environment = Environment::from([(OsString::from("CODEX_HOME"), home.clone().into_os_string())]);
    let start = |resume| Start::of(&environment, resume);
    let before = Start::of(&environment, Some(THREAD));

    let first = Lines::default().command("a", "one").exited("a", 1, "");
    files::write(&file, first.text().as_bytes()).unwrap();
    let lines = |start: &Start, thread: &str| {
        let found = read(start, Some(thread), &[]).activities;
        finished(&found).into_iter().map(|(_, line, _, _)| line.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(lines(&start(None), THREAD), ["one"]);
    assert_eq!(lines(&start(None), "01a20395-38b3-7a22-93d4-61b23b979038"), Vec::<String>::new());
    let resumed = start(Some(THREAD));
    let second = Lines::default().command("a", "two").exited("a", 1, "");
    files::write(&file, format!("{}{}", first.text(), second.text()).as_bytes()).unwrap();
    assert_eq!(lines(&resumed, THREAD), ["two"]);
    // Where the beginning is not known, nothing of an earlier turn is taken for this one's.
    assert_eq!(lines(&before, THREAD), Vec::<String>::new());
    files::write(&file, second.text().as_bytes()).unwrap();
    let longer = Start { resumed: Some((THREAD.into(), Some(1 << 20))), ..resumed };
    assert_eq!(lines(&longer, THREAD), Vec::<String>::new());

    // No link is followed, and nothing but a file is read.
    fs::rename(&file, root.path().join("elsewhere")).unwrap();
    symlink(root.path().join("elsewhere"), &file).unwrap();
    assert_eq!(lines(&start(None), THREAD), Vec::<String>::new());
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_eq!(lines(&start(None), THREAD), Vec::<String>::new());
    fs::remove_dir(&file).unwrap();
    fs::rename(root.path().join("elsewhere"), &file).unwrap();
    assert_eq!(lines(&start(None), THREAD), ["two"]);
    fs::rename(home.join("sessions/2026"), root.path().join("2026")).unwrap();
    symlink(root.path().join("2026"), home.join("sessions/2026")).unwrap();
    assert_eq!(lines(&start(None), THREAD), Vec::<String>::new());
}

#[test]
fn only_so_much_is_read() {
    let lines = Lines::default().command("a", "one").exited("a", 1, "").command("b", "two").exited("b", 1, "");
    let text = lines.text();
    let mut told = Told::default();
    assert!(take_lines(text.as_bytes(), text.len() as u64, &mut told).unwrap());
    assert_eq!(told.calls.len(), 2);
    let mut told = Told::default();
    assert!(!take_lines(text.as_bytes(), text.len() as u64 / 2, &mut told).unwrap());
    assert_eq!(told.calls.len(), 1);
    // A line that is too long is left out, and the next one is whole again.
    let long = format!("{{\"x\":\"{}\"}}\n{text}", "x".repeat(usize::try_from(LINE_BYTES).unwrap() * 2));
    let mut told = Told::default();
    assert!(take_lines(long.as_bytes(), u64::MAX, &mut told).unwrap());
    assert_eq!(told.calls.len(), 2);
}

/// One call of a generated turn, and what the stream made of it.
#[derive(Clone, Debug)]
struct Case {
    line: &'static str,
    code: i32,
    /// 0: nothing, 1: only the beginning, 2: beginning and end.
    streamed: u8,
    starts: Index,
    ends: Index,
}

fn cases() -> impl Strategy<Value = Vec<Case>> {
    let line = prop_oneof![Just("make test"), Just("ls"), Just("cargo test")];
    let case = (line, 0..3_i32, 0..3_u8, any::<Index>(), any::<Index>());
    let case = case.prop_map(|(line, code, streamed, starts, ends)| Case { line, code, streamed, starts, ends });
    prop::collection::vec(case, 0..12)
}

/// The places of `n` things in an order that the indices choose.
fn shuffled(cases: &[Case], index: impl Fn(&Case) -> Index) -> Vec<usize> {
    let mut order = Vec::new();
    for (n, case) in cases.iter().enumerate() {
        order.insert(index(case).index(n + 1), n);
    }
    order
}

proptest! {
    /// However calls interleave and whatever the stream leaves out: each ends exactly once, as it did.
    #[test]
    fn each_call_is_told_exactly_once(cases in cases(), noted in any::<bool>()) {
        let mut lines = Lines::default();
        for (n, case) in cases.iter().enumerate() {
            lines = lines.command(&n.to_string(), case.line);
        }
        for n in shuffled(&cases, |case| case.ends) {
            if noted && cases[n].streamed == 2 {
                lines = lines.noted(&n.to_string(), cases[n].code);
            }
            lines = lines.exited(&n.to_string(), cases[n].code, "");
        }
        let seen: Vec<Streamed> = shuffled(&cases, |case| case.starts)
            .into_iter()
            .filter(|n| cases[*n].streamed > 0)
            .enumerate()
            .map(|(item, n)| {
                let code = (cases[n].streamed == 2).then_some(cases[n].code);
                streamed(&format!("item_{item}"), cases[n].line, code)
            })
            .collect();

        let missing = lines.missing(&seen);
        prop_assert_eq!(warnings(&missing), Vec::<&str>::new());
        let mut told: Vec<(&str, Option<i32>)> = finished(&missing).into_iter().map(|(_, l, c, _)| (l, c)).collect();
        told.extend(seen.iter().filter_map(|item| Some((item.line.as_str(), item.end?.0))));
        let mut asked: Vec<(&str, Option<i32>)> = cases.iter().map(|case| (case.line, Some(case.code))).collect();
        told.sort_unstable();
        asked.sort_unstable();
        prop_assert_eq!(told, asked);

        // Every beginning has one end with the same line, and no end comes without a beginning.
        let mut open: BTreeMap<&str, &str> =
            seen.iter().filter(|item| item.end.is_none()).map(|item| (item.id.as_str(), item.line.as_str())).collect();
        for activity in &missing {
            if let Activity::CommandStarted { id, command } = activity {
                prop_assert_eq!(open.insert(id, command), None);
            } else if let Activity::CommandFinished { id, command, .. } = activity {
                prop_assert_eq!(open.remove(id.as_str()), Some(command.as_str()));
            } else {
                prop_assert!(false, "{:?}", activity);
            }
        }
        prop_assert!(open.is_empty());
    }

    /// Lines that are nearly right, in any order, lead to no panic and to no more ends than calls.
    #[test]
    fn no_line_breaks_it(parts in prop::collection::vec((0..6_u8, "[ab]", ".{0,20}", any::<i64>()), 0..20)) {
        let mut lines = Lines::default();
        for (kind, id, text, number) in parts {
            lines = match kind {
                0 => lines.command(&id, &text),
                1 => lines.answer(&id, format!("Chunk ID: 1\nProcess exited with code {number}\n{text}\nOutput:\n{text}")),
                2 => lines.call(&id, "write_stdin", json!({"session_id": number})),
                3 => lines.answer(&id, format!("Wall time: 1\nProcess running with session ID {number}\nOutput:\n")),
                4 => lines.answer(&id, json!({"content": [{"text": text}, number]})),
                _ => lines.add(&text, json!({"type": text, "call_id": number, "item": {"type": "FileChange", "id": id}})),
            };
        }
        let told = lines.told();
        let calls = told.calls.len();
        let missing = merge::missing(told, &[streamed("i", "a", None), streamed("j", "b", Some(0))]);
        prop_assert_eq!(finished(&missing).len() <= calls, true);
    }

    #[test]
    fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..400), said in "(Chunk ID: |Exit code: |\\{)?.{0,60}") {
        let mut told = Told::default();
        take_lines(bytes.as_slice(), 300, &mut told).unwrap();
        report(&said);
        let call = Call {
            line: said.clone(), asked: None, end: End::Unknown, ended: None, output: said, output_bytes: 0, noted: None,
        };
        told.calls.push(call);
        prop_assert_eq!(merge::missing(told, &[]).len(), 2);
    }
}
