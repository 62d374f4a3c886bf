//! `policy check` and `policy show`, as scripts and people use them.

use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::support::{PROGRAM, Scene, TESTER_ON_COMMIT, text};

fn lines(scene: &Scene, input: &[u8]) -> Output {
    let mut command = scene.command(PROGRAM);
    command.args(["policy", "check", "--jsonl"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // Answers are read while questions are still being written.
    let writer = std::thread::spawn(move || stdin.write_all(&input).ok());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

#[test]
fn every_line_read_is_answered_in_order_whatever_it_holds() {
    let scene = Scene::new();
    let mut input = Vec::new();
    let mut put = |line: &[u8]| {
        input.extend_from_slice(line);
        input.push(b'\n');
    };
    put(br#"{"id":"a","cmd":"git status","allow":["git status"]}"#);
    put(br#"{"id":2,"cmd":"git status; rm -rf x","allow":["git status"]}"#);
    put(br#"{"id":"c","cmd":"cat \u0000","allow":["cat"]}"#);
    put(b"");
    put(b"\xff\xfe{}");
    put(br#"{"id":"d","cmd":"ls"}"#);
    put(br#"{"id":"e","cmd":["ls"],"allow":["ls"]}"#);
    put(br#"{"id":"f","cmd":"ls","allow":"ls"}"#);
    put(b"[1,2]");
    put(format!(r#"{{"id":"g","cmd":"{}","allow":["ls"]}}"#, "a".repeat(2 << 20)).as_bytes());
    put(format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)).as_bytes());
    put(br#"{"id":"h","cmd":"ls","cmd":"rm x","allow":["ls"]}"#);
    input.extend_from_slice(br#"{"id":null,"cmd":"ls","allow":["ls"],"note":"no line break behind it"}"#);
    let output = lines(&scene, &input);
    assert!(output.status.success());
    let answers: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<_> = answers.iter().map(|answer| (&answer["id"], answer["decision"].as_str().unwrap())).collect();
    assert_eq!(
        seen,
        [
            (&json!("a"), "allow"),
            (&json!(2), "escalate"),
            (&json!("c"), "deny"),
            (&json!(null), "deny"),
            (&json!(null), "deny"),
            (&json!("d"), "deny"),
            (&json!("e"), "deny"),
            (&json!("f"), "deny"),
            (&json!(null), "deny"),
            (&json!(null), "deny"),
            (&json!(null), "deny"),
            (&json!("h"), "deny"),
            (&json!(null), "allow"),
        ]
    );
    for answer in &answers {
        let keys: Vec<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["decision", "id", "reason", "rule"], "{answer}");
        assert!(answer["rule"].as_str().is_some_and(|rule| !rule.is_empty()), "{answer}");
    }
}

#[test]
fn a_person_asks_about_one_line() {
    let scene = Scene::installed(TESTER_ON_COMMIT);
    let ask = |line: &str| {
        let output = scene.run(&["policy", "check", "--", line]);
        (output.status.code().unwrap(), text(&output.stdout).lines().next().unwrap().to_owned())
    };
    assert_eq!(ask("git show --stat && ls"), (0, "allow · git show, ls".to_owned()));
    assert_eq!(ask("ls > x"), (3, "deny · redirection".to_owned()));
    assert_eq!(ask("git push"), (3, "escalate · not-listed".to_owned()));
    assert_eq!(ask("ls /home"), (3, "escalate · outside".to_owned()));
    assert_eq!(ask(&format!("ls {}", scene.top.display())), (0, "allow · ls".to_owned()));
    // The table lists what the tester may run, and no other role.
    let output = scene.run(&["policy", "check", "--role", "planner", "--json", "--", "rg -n foo | head"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["decision"], "allow");
    assert_eq!(scene.run(&["policy", "check", "--role", "nobody", "--", "ls"]).status.code(), Some(2));
    assert_eq!(scene.run(&["policy", "check", "--", "ls", "-la"]).status.code(), Some(2), "a line is one word");
    assert_eq!(scene.run(&["policy", "check"]).status.code(), Some(2));
}

#[test]
fn what_is_shown_has_no_control_byte() {
    let scene = Scene::new();
    for line in ["ls \u{1b}[31m", "\u{202e}ls", "ls\u{7}", "ls '\u{9b}31m'", "x\u{1b}]0;t\u{7}"] {
        let output = scene.run(&["policy", "check", "--", line]);
        assert_eq!(output.status.code(), Some(3), "{line:?}");
        let shown = text(&output.stdout).replace('\n', "");
        assert!(!shown.chars().any(|c| c.is_control() || c == '\u{202e}'), "{shown:?}");
    }
}
