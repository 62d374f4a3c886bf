//! What each runtime costs: run by hand, on a quiet machine, for the tables in docs/PERFORMANCE.md.
//!
//! `cargo test --test conformance measure -- --ignored --nocapture --test-threads=1`

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use orchestrator::clock::Timestamp;
use orchestrator::rehearsal::Handle;
use orchestrator::runtime::codex_exec::Program;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::world::{ANSWER, Kind, World, executes, says, serve};

const ROUNDS: usize = 7;

fn median(mut values: Vec<u128>) -> u128 {
    values.sort_unstable();
    values[values.len() / 2]
}

#[tokio::test]
#[ignore = "a measurement, not a check"]
async fn measure() {
    eprintln!("runtime           commands  probe  first request  whole turn  request bytes (first, last)");
    for kind in [Kind::Exec, Kind::AppServer] {
        for commands in [0_usize, 1, 10] {
            let (mut probes, mut firsts, mut wholes, mut sizes) = (Vec::new(), Vec::new(), Vec::new(), (0, 0));
            for _ in 0..ROUNDS {
                let replies = (0..commands).map(|n| executes(&format!("echo {n}"))).chain([says(ANSWER)]);
                let server = serve(replies);
                let Some(world) = World::new(kind, server.url()) else { return };
                let begun = Instant::now();
                world.probe().await.unwrap();
                probes.push(begun.elapsed().as_millis());
                let (at, begun) = (Timestamp::now(), Instant::now());
                world.run("go", None, &mut |_| {}, watch::channel(false).1).await.unwrap();
                wholes.push(begun.elapsed().as_millis());
                let asked = server.requests().into_iter().filter(|request| request.path.ends_with("/responses"));
                let asked: Vec<_> = asked.collect();
                firsts.push(u128::from(asked[0].at.millis() - at.millis()));
                let bytes = |at: usize| asked[at].body.to_string().len();
                sizes = (bytes(0), bytes(asked.len() - 1));
            }
            let name = kind.runtime().name();
            let (probe, first, whole) = (median(probes), median(firsts), median(wholes));
            eprintln!("{name:16}  {commands:8}  {probe:5}  {first:13}  {whole:10}  {}, {}", sizes.0, sizes.1);
        }
    }
}

/// How many commands each turn of [`questions`] has, and how many pairs of turns there are.
const COMMANDS: usize = 20;
const PAIRS: usize = 5;

/// What being asked costs each command: the same call of Codex in turn with the question and without, and the time
/// between one request of the model's and the next, in which nothing but the command happens.
#[tokio::test]
#[ignore = "a measurement, not a check"]
async fn questions() {
    eprintln!("runtime           pairs  without, ms  with, ms  added, ms (median, quartiles; at the fastest tenth)");
    for kind in [Kind::Exec, Kind::AppServer] {
        let (mut without, mut with, mut added) = (Vec::new(), Vec::new(), Vec::new());
        let Some(world) = World::new(kind, "http://127.0.0.1:9/v1") else { return };
        let real = Program::find(&world.environment).unwrap().path;
        // Leaves what the turn called it with.
        let note = format!(
            "#!/bin/sh\ncase $1 in exec|app-server) printf '%s\\0' \"$@\" > '{0}/argv'; env -0 > '{0}/env';; esac\nexec '{1}' \"$@\"\n",
            world.root.path().display(),
            real.display()
        );
        let wrapper = world.script("codex-noted", &note);
        let world = world.with("GIT_ORCHESTRATOR_CODEX", wrapper);
        let own = fs::read_to_string(world.path("home/config.toml")).unwrap();
        let replies = || (0..COMMANDS).map(|_| executes("true")).chain([says(ANSWER)]);
        // The first pair warms up.
        for pair in 0..=PAIRS {
            let server = serve(replies());
            world.configure(&own.replace("http://127.0.0.1:9/v1", server.url()));
            world.run("go", None, &mut |_| {}, watch::channel(false).1).await.unwrap();
            let asked = each(&server);
            let server = serve(replies());
            world.configure(&own.replace("http://127.0.0.1:9/v1", server.url()));
            unasked(&world, kind, &real);
            let plain = each(&server);
            if pair > 0 {
                added.extend(asked.iter().zip(&plain).map(|(asked, plain)| asked - plain));
                with.extend(asked);
                without.extend(plain);
            }
        }
        let at = |values: &mut Vec<i128>, percent: usize| {
            values.sort_unstable();
            values[values.len() * percent / 100]
        };
        // What disturbs a command makes it slower only: its fastest times are nearest to what it takes.
        let fastest = at(&mut with, 10) - at(&mut without, 10);
        eprintln!(
            "{:16}  {PAIRS:5}  {:11}  {:8}  {} ({} to {}; {fastest})",
            kind.runtime().name(),
            at(&mut without, 50),
            at(&mut with, 50),
            at(&mut added, 50),
            at(&mut added, 25),
            at(&mut added, 75)
        );
    }
}

/// The milliseconds from each request to the next.
fn each(server: &Handle) -> Vec<i128> {
    let asked = server.requests().into_iter().filter(|request| request.path.ends_with("/responses"));
    let at: Vec<i128> = asked.map(|request| i128::from(request.at.millis())).collect();
    assert_eq!(at.len(), COMMANDS + 1);
    at.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// The noted call again, with the same sandbox, without anybody who is asked.
fn unasked(world: &World, kind: Kind, real: &std::path::Path) {
    let words = |name: &str| {
        let noted = fs::read(world.path(name)).unwrap();
        let words = noted.split(|byte| *byte == 0).filter(|word| !word.is_empty());
        words.map(|word| std::ffi::OsString::from_vec(word.to_vec())).collect::<Vec<_>>()
    };
    let arguments = words("argv").into_iter().map(|word| {
        let is_hook = word.to_str().is_some_and(|word| word.starts_with("hooks."));
        if is_hook { "unknown.setting=1".into() } else { word }
    });
    let environment = words("env").into_iter().filter_map(|pair| {
        let pair = pair.into_string().ok()?;
        pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
    });
    #[expect(clippy::disallowed_methods, reason = "measured is what this program would not do")]
    let mut command = Command::new(real);
    let mut child = command
        .args(arguments)
        .env_clear()
        .envs(environment)
        .current_dir(world.path("workspace"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    if kind == Kind::Exec {
        input.write_all(b"go").unwrap();
        drop(input);
        assert!(lines.map_while(Result::ok).last().unwrap().contains("turn.completed"));
    } else {
        let mut send = |message: Value| writeln!(input, "{message}").unwrap();
        let client = json!({"clientInfo": {"name": "measure", "title": "measure", "version": "0"}});
        send(json!({"id": 1, "method": "initialize", "params": client}));
        send(json!({"method": "initialized"}));
        let thread = json!({"cwd": world.path("workspace"), "approvalPolicy": "never"});
        send(json!({"id": 2, "method": "thread/start", "params": thread}));
        for line in lines.map_while(Result::ok) {
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["id"] == 2 {
                let input = json!([{"type": "text", "text": "go"}]);
                let turn = json!({"threadId": message["result"]["thread"]["id"], "input": input});
                send(json!({"id": 3, "method": "turn/start", "params": turn}));
            }
            assert!(!message["method"].as_str().is_some_and(|method| method.contains("requestApproval")), "{message}");
            if message["method"] == "turn/completed" {
                break;
            }
        }
        drop(input);
    }
    child.wait().unwrap();
}
