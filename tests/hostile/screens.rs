//! Every command, in a repository full of hostile names and with a model that answers in kind: no byte of what is
//! printed steers a terminal, hides text or turns it round.
//!
//! A command that is missing in [`SCREENS`] fails the first test: add a row.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::process::Output;

use orchestrator::rehearsal::{Item, Model, Reply, Request, Server};
use serde_json::{Value, json};

use crate::support::{PROGRAM, Scene, codex, text, wait_for};

/// What a name must not do to a terminal: colours, titles, cursors, C1, bidi, invisible letters, separators, backspaces.
const HOSTILE: &str = "x\u{1b}[31mR\u{1b}]0;t\u{7}\u{9b}2J\u{202e}oc\u{2066}\u{200b}\u{200d}\u{e0041}\u{2028}\u{feff}\u{fe0f}\u{ad}\u{3164}\rb\u{8}\u{7f}\u{85}y";

/// What of it git lets a branch be called, and a shell's own characters.
const BRANCH: &str = "f/\u{9b}31m\u{202e}oc\u{200b}\u{e0041}\u{2028}$(id)`id`;'\"&|<>#!{}%y";

/// The calls of one command. `{run}`, `{failed}`, `{commit}` stand for ids, `{hostile}` and `{branch}` for the names above.
struct Screen {
    command: &'static str,
    calls: &'static [&'static [&'static str]],
}

/// All commands but those that are left out with a reason. The order is the one in which they are called.
const SCREENS: &[Screen] = &[
    Screen { command: "status", calls: &[&[], &["--json"], &["--limit", "{hostile}"]] },
    Screen {
        command: "show",
        calls: &[
            &[],
            &["--json"],
            &["--prompt"],
            &["{run}"],
            &["{run}", "--json"],
            &["{run}", "--prompt"],
            &["{failed}"],
            &["{commit}"],
            &["{hostile}"],
        ],
    },
    Screen {
        command: "log",
        calls: &[
            &[],
            &["--json"],
            &["{run}"],
            &["{run}", "--json"],
            &["{failed}"],
            &["{run}", "--follow"],
            &["{hostile}"],
        ],
    },
    Screen { command: "wait", calls: &[&[], &["--json"], &["{run}"], &["{hostile}"], &["--timeout", "{hostile}"]] },
    Screen {
        command: "policy",
        calls: &[&["show"], &["show", "--json"], &["show", "{hostile}"], &["check", "--", "{hostile}"]],
    },
    Screen { command: "review", calls: &[&[], &["--json"], &["{run}"], &["{hostile}"]] },
    Screen { command: "trust", calls: &[&["--diff"], &["--diff", "--json"], &[], &["{hostile}"]] },
    Screen {
        command: "explain",
        calls: &[
            &["post-commit"],
            &["post-commit", "--json"],
            &["post-checkout"],
            &["pre-push"],
            &["{hostile}"],
            &["post-commit", "--commit", "{hostile}"],
        ],
    },
    Screen {
        command: "validate",
        calls: &[&[], &["--json"], &["{hostile}"], &["../broken.yaml"], &["../broken.yaml", "--json"]],
    },
    Screen { command: "doctor", calls: &[&[], &["--json"]] },
    Screen { command: "schema", calls: &[&["triggers"], &["{hostile}"]] },
    Screen { command: "completions", calls: &[&["bash"], &["{hostile}"]] },
    Screen { command: "pause", calls: &[&["--why", "{hostile}"], &["--json", "--why", "{hostile}"]] },
    Screen { command: "status", calls: &[&[], &["--json"]] },
    Screen {
        command: "run",
        calls: &[
            &["{hostile}"],
            &["tester", "--commit", "{hostile}"],
            &["tester", "--commit", "{branch}"],
            &["tester", "--json"],
        ],
    },
    Screen { command: "retry", calls: &[&["{hostile}"], &["{failed}"], &["{run}", "--json"]] },
    Screen { command: "cancel", calls: &[&["{hostile}"], &["{run}"], &["{run}", "--json"]] },
    Screen {
        command: "reject",
        calls: &[
            &["{commit}", "--why", "{hostile}"],
            &["{hostile}", "--why", "x"],
            &["--why", "{hostile}", "{branch}"],
        ],
    },
    Screen { command: "approve", calls: &[&["{commit}", "--why", "{hostile}"], &["{hostile}"]] },
    Screen { command: "resume", calls: &[&["{hostile}"]] },
    Screen {
        command: "hook",
        calls: &[
            &["{hostile}"],
            &["post-commit"],
            &["post-checkout", "{hostile}", "{hostile}", "1"],
            &["pre-push", "{hostile}", "https://a:b@{hostile}/x"],
            &["--help"],
        ],
    },
    Screen { command: "worker", calls: &[&["--home", "{hostile}"], &["{hostile}"]] },
    Screen { command: "contain", calls: &[&["{hostile}", "--", "true"], &["1", "--", "{hostile}"]] },
    Screen { command: "install", calls: &[&["--dry-run"], &["{hostile}"], &[]] },
    Screen { command: "uninstall", calls: &[&["--dry-run"], &["{hostile}"]] },
    Screen { command: "demo", calls: &[&["{hostile}"], &["--directory", "{hostile}/x"]] },
    Screen { command: "help", calls: &[&[], &["{hostile}"], &["status"]] },
    Screen { command: "{hostile}", calls: &[&[], &["{hostile}"]] },
];

/// The places of what must not be on a screen, with what stands around them.
fn faults(output: &[u8], coloured: bool) -> Vec<String> {
    let Ok(text) = std::str::from_utf8(output) else { return vec!["it is no UTF-8".to_owned()] };
    let mut out = Vec::new();
    for (at, c) in text.char_indices() {
        let hides = matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
        if !hides && (!c.is_control() || matches!(c, '\n' | '\t')) {
            continue;
        }
        let codes = text[at..]
            .strip_prefix("\u{1b}[")
            .map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';'));
        if !(coloured && codes.is_some_and(|rest| rest.starts_with('m'))) {
            let from = text[..at].char_indices().rev().nth(30).map_or(0, |(at, _)| at);
            let around: String = text[from..].chars().take(60).collect();
            out.push(format!("{c:?} in {around:?}"));
        }
    }
    // A name that sets a colour would end in the sequence that the hostile one has.
    if coloured && text.contains("x\u{1b}[31mR") {
        out.push("a name sets the colour".to_owned());
    }
    out
}

struct Parrot {
    asked: usize,
}

impl Model for Parrot {
    fn reply(&mut self, _: &Request) -> Reply {
        self.asked += 1;
        let markup = format!(
            "{HOSTILE} ![i](http://example.org/i.png) <img src=//example.org> <!-- [a](http://example.org) http://example.org\n# Title"
        );
        match self.asked {
            1 => Reply::Failed { code: HOSTILE.to_owned(), message: markup },
            2 => Reply::items(vec![
                Item::reasoning(&markup),
                Item::message(&markup),
                Item::command(format!("make test # {HOSTILE}")),
            ]),
            3 => Reply::items(vec![
                Item::command("cat 'p\u{1b}[31m\u{202e}\n x'"),
                Item::command("printf '\\033[31m\\342\\200\\256\\n'"),
            ]),
            4 => Reply::message(json!({ "verdict": markup, (HOSTILE): HOSTILE }).to_string()),
            _ => Reply::message(
                json!({
                    "verdict": "pass", "summary": markup,
                    "ran": [{ "command": format!("make {HOSTILE}"), "exit_code": 0, "showed": markup }],
                    "failures": [], "gaps": [{ "file": HOSTILE, "what": markup, "harm": markup }],
                    "proposed_tests_patch": format!("--- a\n+++ b\n@@ -1 +1 @@\n-{markup}\n+{HOSTILE}\n"),
                })
                .to_string(),
            ),
        }
    }
}

fn commit(scene: &Scene) -> String {
    let message = scene.path("message");
    fs::write(&message, format!("{HOSTILE}\n\n{HOSTILE} \u{1b}[2J <!-- ![x](http://example.org/x)\n")).unwrap();
    scene.git(&["add", "--all"]);
    let author = format!("{} <a\u{1b}[31m\u{202e}@x>", HOSTILE.replace(['\r', '\n'], ""));
    let output = scene
        .command("git")
        .args(["commit", "--quiet", "--cleanup=verbatim", "--author", &author, "-F"])
        .arg(&message)
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(faults(&output.stderr, false), Vec::<String>::new(), "the hook's line");
    scene.git(&["rev-parse", "HEAD"]).trim().to_owned()
}

fn commands(scene: &Scene) -> BTreeSet<String> {
    let help = scene.ok(&["--help"]);
    let list = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    list.lines().filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
}

#[test]
fn every_command_has_its_row() {
    let scene = Scene::new();
    let rows: BTreeSet<String> = SCREENS.iter().map(|screen| screen.command.to_owned()).collect();
    let missing: Vec<_> = commands(&scene).difference(&rows).cloned().collect();
    assert!(faults(HOSTILE.as_bytes(), false).len() > 15 && faults(HOSTILE.as_bytes(), true).len() > 15);
    assert!(missing.is_empty(), "add a row to SCREENS for {missing:?}");
}

#[test]
fn no_screen_is_steered() {
    let Some(codex) = codex() else { return };
    let server = Server::in_background(Parrot { asked: 0 }).unwrap();
    let scene = Scene::new().with_codex(&codex, server.url());
    scene.write(
        "triggers.yaml",
        "version: 1\ntriggers:\n  - name: test\n    on: [post-commit, pre-push]\n    role: tester\n    debounce: 0s\n\
         policy:\n  roles:\n    tester: { sandbox: workspace-write, commands: [make test, printf], limits: { attempts: 1, wall: 60s } }\n",
    );
    scene.write(
        "Makefile",
        "test:\n\t@printf '\\033[31m\\033]0;t\\007\\302\\233 \\342\\200\\256 one passed \\377\\n'\n",
    );
    fs::write(scene.path("broken.yaml"), format!("version: 1\ntriggers:\n  - name: \"{HOSTILE}\n    {HOSTILE}: [\n"))
        .unwrap();
    scene.git(&["add", "."]);
    scene.git(&["commit", "--quiet", "-m", "start"]);
    scene.git(&["remote", "add", "origin", "https://a:b@\u{202e}host\u{200b}/x"]);
    scene.git(&["update-ref", "refs/heads/-x", "HEAD"]);
    scene.git(&["update-ref", "refs/tags/--upload-pack=touch", "HEAD"]);
    scene.git(&["checkout", "--quiet", "-b", BRANCH]);
    // A hook that was there: the diff of `install` shows it.
    let hook = scene.top.join(".git/hooks/post-commit");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    Scene::script(&hook, &format!("#!/bin/sh\n# {HOSTILE}\nexec true # $0\n"));
    let dry = scene.run(&["install", "--dry-run"]);
    assert_eq!(faults(&[dry.stdout, dry.stderr].concat(), false), Vec::<String>::new(), "install --dry-run");
    scene.install();

    // One run fails with the provider's words, one is told its mistake and answers.
    let mut ids = Vec::new();
    for round in 0..2 {
        let name =
            OsString::from_vec([b"p\x1b[31m\xe2\x80\xae\n x\xff".as_slice(), round.to_string().as_bytes()].concat());
        fs::write(scene.top.join(name), format!("{HOSTILE}\n{round}\n")).unwrap();
        fs::write(scene.top.join("p\u{1b}[31m\u{202e}\n x"), format!("{HOSTILE}\n{round}\n")).unwrap();
        commit(&scene);
        scene.wait();
        ids.push(scene.newest()["id"].as_str().unwrap().to_owned());
    }
    let (failed, run) = (&ids[0], &ids[1]);
    let newest = scene.newest();
    assert_eq!(newest["artifacts"].as_array().unwrap().len(), 2, "{newest}");
    let head = scene.git(&["rev-parse", "HEAD"]).trim().to_owned();

    let filled = |word: &str| {
        let pairs = [
            ("{run}", run.as_str()),
            ("{failed}", failed),
            ("{commit}", &head),
            ("{hostile}", HOSTILE),
            ("{branch}", BRANCH),
        ];
        pairs.iter().fold(word.to_owned(), |word, (name, value)| word.replace(name, value))
    };
    let mut wrong = Vec::new();
    for screen in SCREENS {
        for call in screen.calls {
            for coloured in [false, true] {
                let mut arguments = vec![filled(screen.command)];
                arguments.extend(call.iter().map(|word| filled(word)));
                let mut command = scene.command(PROGRAM);
                if coloured {
                    command.env_remove("NO_COLOR").args(["--color", "always"]);
                }
                let Output { stdout, stderr, .. } = command.args(&arguments).output().unwrap();
                for (stream, bytes) in [("stdout", &stdout), ("stderr", &stderr)] {
                    // A script for a shell holds what shells need.
                    let faults = faults(bytes, coloured);
                    wrong.extend(faults.first().map(|fault| format!("{} {call:?} {stream}: {fault}", screen.command)));
                }
                if call.contains(&"--json") && stderr.is_empty() {
                    for line in text(&stdout).lines() {
                        assert!(
                            serde_json::from_str::<Value>(line).is_ok(),
                            "{screen} {call:?}: {line}",
                            screen = screen.command
                        );
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    pages_hold_no_markup(&scene, &newest);
    wait_for("every process to end", || scene.processes().is_empty().then_some(()));
}

/// What people open beside the program: artifacts, the inbox, the log, the prompt.
fn pages_hold_no_markup(scene: &Scene, run: &Value) {
    let directory = run["directory"].as_str().unwrap();
    let pages = [
        ".orchestrator/INBOX.md".to_owned(),
        ".orchestrator/state/worker.log".to_owned(),
        run["artifacts"][0].as_str().unwrap().to_owned(),
        format!("{directory}/artifact.md"),
    ];
    for page in pages {
        let bytes = fs::read(scene.top.join(&page)).unwrap();
        assert_eq!(faults(&bytes, false), Vec::<String>::new(), "{page}");
        let text = text(&bytes);
        if !page.contains("worker.log") {
            assert!(page.contains("INBOX") || text.contains("Title"), "{text}");
            for part in text_outside_code(&text) {
                let part = part.replace("\\]", "").replace("\\[", "");
                for markup in ["![", "](http", "<img", "<!--", "\n# Title"] {
                    assert!(!part.contains(markup), "{markup} in {page}:\n{part}");
                }
                // A bare address becomes a link where pages are rendered as GitHub does.
                assert!(!part.contains("http://"), "a link in {page}:\n{part}");
            }
        }
    }
}

/// The parts of a page that are no code: what is rendered.
fn text_outside_code(page: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut fence: Option<usize> = None;
    for line in page.lines() {
        let ticks = line.bytes().take_while(|byte| *byte == b'`').count();
        match fence {
            Some(open) if ticks >= open => fence = None,
            None if ticks >= 3 => fence = Some(ticks),
            Some(_) => {}
            None => {
                let mut rest = line;
                while let Some(at) = rest.find('`') {
                    out.last_mut().unwrap().push_str(&rest[..at]);
                    let after = &rest[at..];
                    let ticks = after.bytes().take_while(|byte| *byte == b'`').count();
                    let body = &after[ticks..];
                    let close = "`".repeat(ticks);
                    rest = body.find(&close).map_or("", |end| &body[end + ticks..]);
                }
                out.last_mut().unwrap().push_str(rest);
                out.last_mut().unwrap().push('\n');
            }
        }
    }
    out
}

#[test]
fn a_hostile_directory_is_only_a_name() {
    let mut scene = Scene::new();
    let place = OsStr::from_bytes(b"re\x1b[31mpo\xe2\x80\xae\xff\n;touch PWNED");
    let top = scene.path("repo").parent().unwrap().join(Path::new(place));
    fs::rename(&scene.top, &top).unwrap();
    scene.top = top;
    scene.write("triggers.yaml", "version: 1\ntriggers: []\n");
    let mut wrong = Vec::new();
    for call in [
        &["status"][..],
        &["install", "--dry-run"],
        &["install"],
        &["status"],
        &["status", "--json"],
        &["doctor"],
        &["doctor", "--json"],
        &["validate"],
        &["validate", "nowhere"],
        &["explain", "post-commit"],
        &["show"],
        &["log"],
        &["wait"],
        &["run", "tester"],
        &["uninstall", "--dry-run"],
        &["uninstall"],
        &["install", "--global", "--dry-run"],
        &["worker"],
        &["hook", "post-commit"],
    ] {
        let output = scene.run(call);
        for bytes in [&output.stdout, &output.stderr] {
            wrong.extend(faults(bytes, false).first().map(|fault| format!("{call:?}: {fault}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(!scene.top.join("PWNED").exists() && !scene.path("PWNED").exists());
}
