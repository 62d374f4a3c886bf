//! Recorded streams of real Codex CLIs (0.100 to 0.169), and what each of their lines means.

#![expect(clippy::unwrap_used, reason = "a fixture that cannot be read is a failed test")]

use std::path::Path;

use orchestrator::policy::Action;
use orchestrator::runtime::activity::{FileChange, Status, Todo};
use orchestrator::runtime::codex_app_server::questions::Question;
use orchestrator::runtime::codex_app_server::stream::{End, Message, Stream};
use orchestrator::runtime::codex_exec::parse;
use orchestrator::runtime::{Activity, Usage};
use proptest::prelude::*;
use serde_json::Value;

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/codex").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[track_caller]
fn check(name: &str, expected: &[Activity]) {
    let found: Vec<Activity> = fixture(name).lines().filter_map(|line| parse(line.as_bytes())).collect();
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found, expected, "{name}, line {}", at + 1);
    }
    assert_eq!(found.len(), expected.len(), "{name}");
}

fn thread(id: &str) -> Activity {
    Activity::ThreadStarted { thread: id.into() }
}

fn said(text: &str) -> Activity {
    Activity::Message { text: text.into() }
}

fn thought(text: &str) -> Activity {
    Activity::Reasoning { text: text.into() }
}

fn warning(message: &str) -> Activity {
    Activity::Warning { message: message.into() }
}

fn failed(message: &str) -> Activity {
    Activity::TurnFailed { message: message.into() }
}

fn started(id: &str, command: &str) -> Activity {
    Activity::CommandStarted { id: id.into(), command: command.into() }
}

fn ended(id: &str, command: &str, exit_code: i32, output: &str) -> Activity {
    Activity::CommandFinished {
        id: id.into(),
        command: command.into(),
        exit_code: Some(exit_code),
        status: if exit_code == 0 { Status::Completed } else { Status::Failed },
        output: output.into(),
        output_bytes: output.len() as u64,
        ran: None,
    }
}

fn finished(input_tokens: u64, cached_input_tokens: u64, output_tokens: u64) -> Activity {
    Activity::TurnFinished { usage: Usage { input_tokens, cached_input_tokens, output_tokens } }
}

fn files(changes: &[(&str, &str)]) -> Vec<FileChange> {
    changes.iter().map(|(path, kind)| FileChange { path: (*path).into(), kind: (*kind).into() }).collect()
}

fn todos(items: &[(&str, bool)]) -> Activity {
    Activity::Todos {
        items: items.iter().map(|(text, done)| Todo { text: (*text).into(), completed: *done }).collect(),
    }
}

const TURN: Activity = Activity::TurnStarted;
const PYENV: &str = "pyenv: cannot rehash: /home/dev/.pyenv isn't writable\n";
const NO_METADATA: &str = "Model metadata for `mock-model` not found. Defaulting to fallback metadata; this can degrade \
                           performance and cause issues.";

#[test]
fn a_plain_answer() {
    check(
        "exec_01_plain.jsonl",
        &[
            thread("01a20208-5e51-7440-9fb9-2fff4e4e2409"),
            warning(NO_METADATA),
            TURN,
            said("Hello from mock"),
            finished(100, 20, 10),
        ],
    );
    check(
        "exec_03e_reasoning.jsonl",
        &[
            thread("01a20209-45e9-76a0-a491-c48e3af7e3b7"),
            TURN,
            thought("**Thinking** about it"),
            said("ok"),
            finished(100, 20, 10),
        ],
    );
    check("exec_05k_empty.jsonl", &[thread("01a2020b-fcee-7372-a3c0-fe2ec9e999a4"), TURN, finished(100, 20, 10)]);
}

#[test]
fn commands_that_succeed_and_fail() {
    check(
        "exec_03a_shell_ok.jsonl",
        &[
            thread("01a20209-34b7-7301-8c74-15b65c0728ef"),
            TURN,
            said("I will list files"),
            started("item_1", "echo hi; ls"),
            ended("item_1", "echo hi; ls", 0, &format!("{PYENV}hi\nREADME.md\n")),
            said("All good"),
            finished(200, 40, 20),
        ],
    );
    check(
        "exec_03b_shell_fail.jsonl",
        &[
            thread("01a20209-3943-7320-bf54-51fc19be5077"),
            TURN,
            started("item_0", "echo oops >&2; exit 3"),
            ended("item_0", "echo oops >&2; exit 3", 3, &format!("{PYENV}oops\n")),
            said("It failed"),
            finished(200, 40, 20),
        ],
    );
}

#[test]
fn parallel_commands_end_in_another_order() {
    check(
        "exec_03j_parallel.jsonl",
        &[
            thread("01a20209-594a-7c43-b66a-559335154cf8"),
            TURN,
            started("item_0", "sleep 1; echo a"),
            started("item_1", "sleep 0.5; echo b"),
            ended("item_1", "sleep 0.5; echo b", 0, &format!("{PYENV}b\n")),
            ended("item_0", "sleep 1; echo a", 0, &format!("{PYENV}a\n")),
            said("ok"),
            finished(200, 40, 20),
        ],
    );
}

#[test]
fn a_command_may_never_end() {
    check(
        "exec_08a_bg_at_turn_end.jsonl",
        &[
            thread("01a2020f-66c7-7e90-88e2-9038a3b7b5d1"),
            TURN,
            started(
                "item_0",
                "echo $$ > pid.txt; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo $i >> prog.txt; sleep 1; done; echo \
                 finished >> prog.txt",
            ),
            said("ok"),
            finished(200, 40, 20),
        ],
    );
    check(
        "exec_12a_SIGINT_during_cmd.jsonl",
        &[
            thread("01a20211-9fae-7d43-9743-6de6eace28aa"),
            TURN,
            started("item_0", "echo started; sleep 311; echo after >> after.txt"),
        ],
    );
}

#[test]
fn a_patch() {
    let changes = files(&[("/repo/README.md", "update"), ("/repo/new.txt", "add")]);
    check(
        "exec_03c_patch_ok.jsonl",
        &[
            thread("01a20209-3e45-7501-92dc-28d1c809ae1e"),
            TURN,
            Activity::PatchStarted { id: "item_0".into(), changes: changes.clone() },
            Activity::PatchFinished { id: "item_0".into(), changes, status: Status::Completed },
            said("patched"),
            finished(200, 40, 20),
        ],
    );
}

#[test]
fn a_search_holds_the_key_id_twice() {
    let search = |status| Activity::Searched { query: "rust".into(), status };
    check(
        "exec_03g_websearch.jsonl",
        &[
            thread("01a20209-4c87-77b1-b9a1-0732625bf0bd"),
            TURN,
            search(Status::InProgress),
            search(Status::Completed),
            said("ok"),
            finished(100, 20, 10),
        ],
    );
}

#[test]
fn the_models_own_list() {
    check(
        "exec_04a_plan_enabled.jsonl",
        &[
            thread("01a2020a-898e-7dc1-9842-a97e943fcca9"),
            TURN,
            todos(&[("one", false), ("two", false)]),
            todos(&[("one", true), ("two", true)]),
            said("ok"),
            todos(&[("one", true), ("two", true)]),
            finished(300, 60, 30),
        ],
    );
}

#[test]
fn refused_requests() {
    let refused = "unexpected status 401 Unauthorized: Incorrect API key provided: sk-mock., url: \
                   http://127.0.0.1:42507/v1/responses";
    let mut expected = vec![thread("01a2020a-8cff-7661-8316-6ea5a0f334e5"), TURN];
    expected.extend((1..=5).map(|n| Activity::Retrying { message: format!("Reconnecting... {n}/5 ({refused})") }));
    expected.extend([warning(refused), failed(refused)]);
    check("exec_04b_http401.jsonl", &expected);

    for (name, id, sentence) in [
        (
            "exec_04g_429_quota.jsonl",
            "01a2020b-3c54-7510-a552-ee860e234c46",
            "Quota exceeded. Check your plan and billing details.",
        ),
        (
            "exec_05d_failed_context_length_exceeded.jsonl",
            "01a2020b-b84d-7173-8c06-d18087e2ca59",
            "Codex ran out of room in the model's context window. Start a new thread or clear earlier history before \
             retrying.",
        ),
        (
            "exec_05d_failed_server_is_overloaded.jsonl",
            "01a2020b-c3a4-76c0-919a-e38dd706aa80",
            "Selected model is at capacity. Please try a different model.",
        ),
        (
            "exec_07b_missing_env_key.jsonl",
            "01a2020e-c72f-77c2-88d4-3876c84cf7f3",
            "Missing environment variable: `MOCK_KEY_X`.",
        ),
    ] {
        check(name, &[thread(id), TURN, warning(sentence), failed(sentence)]);
    }
}

#[test]
fn broken_connections() {
    for (name, id, sentence) in [
        (
            "exec_05a_cut_mid.jsonl",
            "01a2020b-abe7-73d3-a534-63cfe90202f5",
            "stream disconnected before completion: stream closed before response.completed",
        ),
        (
            "exec_06c_refused_disable_unbounded.jsonl",
            "01a2020e-11c2-7b81-bef5-23d6474956c1",
            "Connection failed: error sending request",
        ),
    ] {
        let again = Activity::Retrying { message: format!("Reconnecting... 1/1 ({sentence})") };
        check(name, &[thread(id), TURN, again, warning(sentence), failed(sentence)]);
    }
}

#[test]
fn a_continued_thread_keeps_its_id_and_its_counter() {
    let id = "01a20210-fead-7041-80d9-d1ba9c2c4908";
    check(
        "exec_11a_first.jsonl",
        &[
            thread(id),
            TURN,
            thought("hm"),
            started("item_1", "echo one"),
            ended("item_1", "echo one", 0, &format!("{PYENV}one\n")),
            said("first answer"),
            finished(200, 40, 20),
        ],
    );
    check("exec_11b_resume.jsonl", &[thread(id), TURN, said("second answer"), finished(300, 60, 30)]);
}

#[test]
fn warnings_come_before_the_turn() {
    let bypass = "`--dangerously-bypass-hook-trust` is enabled. Enabled hooks may run without review for this \
                  invocation.";
    check(
        "exec_20c_hook_deny.jsonl",
        &[
            thread("01a20217-647d-7163-841e-f348f07c4936"),
            warning(bypass),
            warning(bypass),
            TURN,
            said("done"),
            finished(200, 40, 20),
        ],
    );
}

#[test]
fn tools_and_other_agents() {
    let (id, server, tool) = ("item_1".to_owned(), "echo".to_owned(), "say".to_owned());
    check(
        "exec_21a_mcp.jsonl",
        &[
            thread("01a20218-2f1f-7881-bbd4-f8cc2de082e7"),
            warning(NO_METADATA),
            TURN,
            Activity::ToolStarted { id: id.clone(), server: server.clone(), tool: tool.clone() },
            Activity::ToolFinished { id, server, tool, status: Status::Completed, error: None },
            said("done"),
            finished(200, 40, 20),
        ],
    );
    let agent = |id: &str, tool: &str, status| Activity::SubAgent { id: id.into(), tool: tool.into(), status };
    check(
        "exec_38a_subagent.jsonl",
        &[
            thread("01a20222-98a4-7e51-a2e2-b28c803ead81"),
            warning(NO_METADATA),
            TURN,
            agent("item_1", "spawn_agent", Status::InProgress),
            agent("item_1", "spawn_agent", Status::Completed),
            agent("item_2", "wait", Status::InProgress),
            agent("item_2", "wait", Status::Completed),
            said("all done"),
            finished(300, 60, 30),
        ],
    );
}

#[test]
fn older_versions() {
    let new_file = files(&[("/repo/new.txt", "add")]);
    let patched = Activity::PatchFinished { id: "item_5".into(), changes: new_file.clone(), status: Status::Completed };
    let search = |query: &str, status| Activity::Searched { query: query.into(), status };
    check(
        "exec_45_100_shell.jsonl",
        &[
            thread("01a20227-27a8-7643-8850-48b6b0670340"),
            TURN,
            thought("hmm"),
            said("I will"),
            started("item_2", "echo hi; false"),
            ended("item_2", "echo hi; false", 1, "hi\n"),
            todos(&[("one", false)]),
            search("", Status::InProgress),
            search("rust", Status::Completed),
            patched.clone(),
            said("x"),
            todos(&[("one", false)]),
            finished(400, 80, 40),
        ],
    );
    check(
        "exec_45_130_shell.jsonl",
        &[
            thread("01a20227-556c-7b41-b704-02efcbc625df"),
            TURN,
            thought("hmm"),
            said("I will"),
            started("item_2", "echo hi; false"),
            todos(&[("one", false)]),
            ended("item_2", "echo hi; false", 1, &format!("{PYENV}hi\n")),
            search("rust", Status::InProgress),
            search("rust", Status::Completed),
            Activity::PatchStarted { id: "item_5".into(), changes: new_file },
            patched,
            said("x"),
            todos(&[("one", false)]),
            finished(400, 80, 40),
        ],
    );
}

#[test]
fn every_recorded_stream_is_checked_above() {
    let source = include_str!("codex_streams.rs");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/codex");
    for entry in std::fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(source.contains(&format!("\"{name}\"")), "nothing checks {name}");
    }
}

/// What the server's side of a recorded transcript means: lines are `-> ` to the server and `<- ` from it.
fn transcript(name: &str) -> Vec<Message> {
    let mut stream = Stream::default();
    let text = fixture(name);
    let server = text.lines().filter_map(|line| line.strip_prefix("<- "));
    server.filter_map(|line| stream.read(&serde_json::from_str(line).unwrap())).collect()
}

#[track_caller]
fn check_transcript(name: &str, expected: &[Message]) {
    let found = transcript(name);
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found, expected, "{name}, message {}", at + 1);
    }
    assert_eq!(found.len(), expected.len(), "{name}");
}

fn happened(activity: Activity) -> Message {
    Message::Activity(activity)
}

fn announced(item: &str, activity: Activity) -> Message {
    Message::Announced { item: item.into(), is_under_way: false, activity }
}

/// The recorded servers were started with login shells, which this program switches off: a line behind one is not read.
fn asked(request: u64, item: &str, line: &str) -> Message {
    let words = ["/bin/bash", "-lc", line];
    let line = shlex::try_join(words).unwrap();
    Message::Asked {
        request: Value::from(request),
        method: "item/commandExecution/requestApproval".into(),
        question: Question::Refused {
            action: Action::Command { line, directory: None },
            item: Some(item.into()),
            rule: "unreadable",
            reason: "the command line cannot be told with certainty".into(),
        },
    }
}

#[test]
fn the_app_server_asks_about_a_command() {
    let line = "touch /home/dev/approved_by_app.txt && echo yes";
    check_transcript(
        "appserver_32a_approval_accept.txt",
        &[
            happened(TURN),
            announced("call_1", started("call_1", line)),
            asked(0, "call_1", line),
            Message::Printed { item: "call_1".into() },
            happened(ended("call_1", line, 0, "yes\n")),
            Message::Counted,
            happened(said("done")),
            Message::Counted,
            Message::Ended(End::Completed),
        ],
    );
}

#[test]
fn the_app_server_asks_about_a_patch() {
    let changes = files(&[("/repo/n2.txt", "add")]);
    check_transcript(
        "appserver_33f_patch.txt",
        &[
            happened(TURN),
            announced("call_1", Activity::PatchStarted { id: "call_1".into(), changes: changes.clone() }),
            Message::Asked {
                request: Value::from(0),
                method: "item/fileChange/requestApproval".into(),
                question: Question::Judged {
                    action: Action::Patch { paths: vec!["/repo/n2.txt".into()] },
                    item: "call_1".into(),
                },
            },
            happened(Activity::PatchFinished { id: "call_1".into(), changes, status: Status::Declined }),
            Message::Counted,
            happened(said("done")),
            Message::Counted,
            Message::Ended(End::Completed),
        ],
    );
}

#[test]
fn the_app_server_asks_even_about_a_harmless_command() {
    let commands = [
        ("c2", "cat README.md | head -1"),
        ("c1", "ls"),
        ("c3", "git status"),
        ("c3b", "git log --output=pwn.txt"),
        ("c4", "python3 -c 'print(1)'"),
    ];
    let declined = |(id, command): &(&str, &str)| {
        happened(Activity::CommandFinished {
            id: (*id).into(),
            command: (*command).into(),
            exit_code: None,
            status: Status::Declined,
            output: String::new(),
            output_bytes: 0,
            ran: None,
        })
    };
    let mut expected = vec![happened(TURN)];
    let (parallel, last) = commands.split_at(4);
    for (first, commands) in [(0, parallel), (4, last)] {
        for (request, (id, line)) in (first..).zip(commands) {
            expected.push(announced(id, started(id, line)));
            expected.push(asked(request, id, line));
        }
        expected.extend(commands.iter().map(declined));
    }
    expected.extend([Message::Counted, happened(said("done")), Message::Counted, Message::Ended(End::Completed)]);
    check_transcript("appserver_33a_untrusted_safe.txt", &expected);
}

#[test]
fn the_app_server_says_why_a_turn_failed() {
    let sentence = "exceeded retry limit, last status: 429 Too Many Requests";
    let info = serde_json::json!({"responseTooManyFailedAttempts": {"httpStatusCode": 429}});
    check_transcript(
        "appserver_34_429.txt",
        &[happened(TURN), happened(warning(sentence)), Message::Ended(End::Failed { message: sentence.into(), info })],
    );
}

/// A recorded line with some of its bytes replaced.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let lines: Vec<Vec<u8>> = ["exec_21a_mcp.jsonl", "exec_45_130_shell.jsonl", "exec_38a_subagent.jsonl"]
        .iter()
        .flat_map(|name| fixture(name).lines().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>())
        .collect();
    (prop::sample::select(lines), prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8)).prop_map(
        |(mut line, changes)| {
            for (at, byte) in changes {
                let at = at.index(line.len());
                line[at] = byte;
            }
            line
        },
    )
}

/// Any JSON, with the words that the parser looks for.
fn json() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "type",
        "item",
        "item.completed",
        "item.started",
        "command_execution",
        "file_change",
        "id",
        "command",
        "status",
        "completed",
        "changes",
        "path",
        "kind",
        "usage",
        "error",
        "message",
        "turn.failed",
        "turn.completed",
        "method",
        "params",
        "item/completed",
        "commandExecution",
        "web_search",
        "query",
        "todo_list",
        "items",
    ]);
    let leaf = prop_oneof![
        words.clone().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(words.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| Value::from(map.into_iter().collect::<serde_json::Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_panic(line in prop::collection::vec(any::<u8>(), 0..400)) {
        let blank = line.trim_ascii().is_empty();
        prop_assert_eq!(parse(&line).is_none(), blank);
    }

    #[test]
    fn no_damaged_line_panics(line in mutated()) {
        let blank = line.trim_ascii().is_empty();
        prop_assert_eq!(parse(&line).is_none(), blank);
    }

    #[test]
    fn no_json_panics(value in json()) {
        prop_assert!(parse(value.to_string().as_bytes()).is_some());
        Stream::default().read(&value);
    }
}
