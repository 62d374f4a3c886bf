//! Links, FIFOs, sockets and directories in the place of every file of ours, planted before anything runs and while a run
//! goes on: nothing is followed out, nothing hangs, what is outside is neither read nor changed.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use orchestrator::rehearsal::{Model, Reply, Request, Scripted, Server};

use crate::support::{PROGRAM, Scene, codex, text, wait_for};

/// What is outside, and must not be seen.
const OUTSIDE: &str = "what-only-the-person-may-read";

const TABLE: &str = "\
version: 1
triggers:
  - { name: test, on: post-commit, role: tester, debounce: 0s }
policy:
  roles:
    tester: { commands: [ls, make test], limits: { attempts: 1 } }
";

#[derive(Clone, Copy, Debug)]
enum Plant {
    LinkToFile,
    LinkToDirectory,
    LinkToNothing,
    Fifo,
    Socket,
    Directory,
}

const PLANTS: [Plant; 6] =
    [Plant::LinkToFile, Plant::LinkToDirectory, Plant::LinkToNothing, Plant::Fifo, Plant::Socket, Plant::Directory];

/// Files and directories of ours, relative to the top.
const PLACES: [&str; 14] = [
    "triggers.yaml",
    ".orchestrator",
    ".orchestrator/.gitignore",
    ".orchestrator/INBOX.md",
    ".orchestrator/artifacts",
    ".orchestrator/runs",
    ".orchestrator/runs/TODAY",
    ".orchestrator/state",
    ".orchestrator/state/spool",
    ".orchestrator/state/spool/0.json",
    ".orchestrator/state/ledger.db",
    ".orchestrator/state/ledger.db-wal",
    ".orchestrator/state/worker.lock",
    ".orchestrator/state/worker.log",
];

fn clear(path: &Path) {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

fn plant(plant: Plant, path: &Path, outside: &Path) {
    clear(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    match plant {
        Plant::LinkToFile => symlink(outside.join("file"), path).unwrap(),
        Plant::LinkToDirectory => symlink(outside, path).unwrap(),
        Plant::LinkToNothing => symlink(outside.join("nothing"), path).unwrap(),
        Plant::Fifo => rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap(),
        // A path that is too long for a socket's address is none that can be planted.
        Plant::Socket => {
            let short = tempfile::tempdir().unwrap();
            let bound = short.path().join("s");
            drop(UnixListener::bind(&bound).unwrap());
            if fs::rename(&bound, path).is_err() {
                symlink(outside.join("nothing"), path).unwrap();
            }
        }
        Plant::Directory => fs::create_dir(path).unwrap(),
    }
}

/// The bytes of everything outside.
fn seen(outside: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut out: Vec<_> = fs::read_dir(outside)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), if path.is_dir() { b"directory".to_vec() } else { fs::read(&path).unwrap() }))
        .collect();
    out.sort();
    out
}

/// Runs it to its end, which comes.
fn ends(scene: &Scene, program: &str, arguments: &[&str]) -> Output {
    let mut command = scene.command(program);
    let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&format!("{arguments:?} to end"), || child.try_wait().unwrap());
    child.wait_with_output().unwrap()
}

fn outside(scene: &Scene) -> PathBuf {
    let outside = scene.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), format!("{OUTSIDE}\n")).unwrap();
    outside
}

fn try_out(place: &str) {
    let scene = Scene::installed(TABLE);
    let outside = outside(&scene);
    let before = seen(&outside);
    let keep = scene.path("keep");
    let today = orchestrator::clock::Timestamp::now().date();
    let mut round = 0;
    scene.write("change", "0");
    scene.git(&["add", "change"]);
    // What is no link and no FIFO is refused in the same places: one file shows it.
    let kinds = if place.ends_with("worker.log") { &PLANTS[..] } else { &PLANTS[..4] };
    for kind in kinds.iter().copied() {
        let path = scene.top.join(place.replace("TODAY", &today));
        let was = path.symlink_metadata().is_ok();
        if was {
            fs::rename(&path, &keep).unwrap();
        }
        plant(kind, &path, &outside);
        let mut said = String::new();
        round += 1;
        scene.write("change", &round.to_string());
        for (program, arguments) in [
            ("git", &["commit", "--quiet", "-a", "-m", "change"][..]),
            (PROGRAM, &["wait", "--timeout", "1s"]),
            (PROGRAM, &["status", "--json"]),
            (PROGRAM, &["show"]),
            (PROGRAM, &["log"]),
            (PROGRAM, &["doctor"]),
            (PROGRAM, &["worker"]),
        ] {
            let output = ends(&scene, program, arguments);
            // An observing hook never stops git.
            assert!(program != "git" || output.status.success(), "{place} {kind:?}: {}", text(&output.stderr));
            said.push_str(&text(&output.stdout));
            said.push_str(&text(&output.stderr));
        }
        assert!(!said.contains(OUTSIDE), "{place} {kind:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("a fault of its own"), "{place} {kind:?}: {said}");
        assert_eq!(seen(&outside), before, "{place} {kind:?}: {said}");
        wait_for("every process to end", || scene.processes().is_empty().then_some(()));
        clear(&path);
        if was {
            fs::rename(&keep, &path).unwrap();
        }
    }
    // What was there is there again, and works.
    scene.ok(&["status"]);
}

macro_rules! places {
    ($($name:ident: $numbers:expr;)*) => {
        $(#[test] fn $name() { for number in $numbers { try_out(PLACES[number]); } })*
    };
}

// A few tests, so that they run beside each other.
places! {
    nothing_is_followed_at_the_top: 0..4;
    nothing_is_followed_in_the_directories: 4..7;
    nothing_is_followed_in_the_state: 7..10;
    nothing_is_followed_in_the_files_of_the_state: 10..14;
}

/// Plants when it is asked for the first time, and is the good scripted model then.
struct Planter {
    plants: Option<Box<dyn FnOnce() + Send>>,
    model: Scripted,
}

impl Model for Planter {
    fn reply(&mut self, request: &Request) -> Reply {
        if let Some(plants) = self.plants.take() {
            plants();
        }
        self.model.reply(request)
    }
}

#[test]
fn what_is_planted_while_a_run_goes_on_is_not_followed() {
    let Some(codex) = codex() else { return };
    for place in ["artifacts", "artifacts/COMMIT", "INBOX.md", "runs", "RUN"] {
        let scene = Scene::new();
        let outside = outside(&scene);
        let before = seen(&outside);
        let (own, target, place) = (scene.top.join(".orchestrator"), outside.clone(), place.to_owned());
        let top = scene.top.clone();
        let plants = move || {
            let head = fs::read_to_string(top.join(".git/refs/heads/main")).unwrap();
            let runs = own.join("runs").join(orchestrator::clock::Timestamp::now().date());
            let path = match place.as_str() {
                "RUN" => fs::read_dir(runs).unwrap().next().unwrap().unwrap().path(),
                place => own.join(place.replace("COMMIT", &head[..12])),
            };
            // What was there goes on to be there, under another name.
            if path.symlink_metadata().is_ok() {
                fs::rename(&path, path.with_extension("moved")).unwrap();
            }
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(&target, &path).unwrap();
        };
        let server = Server::in_background(Planter { plants: Some(Box::new(plants)), model: Scripted::new() }).unwrap();
        let scene = scene.with_codex(&codex, server.url());
        scene.write("triggers.yaml", TABLE);
        scene.write("Makefile", "test:\n\t@echo one passed\n");
        scene.git(&["add", "."]);
        scene.git(&["commit", "--quiet", "-m", "start"]);
        scene.install();
        scene.commit("change", "1", "change");
        scene.wait();
        assert_eq!(seen(&outside), before);
        wait_for("every process to end", || scene.processes().is_empty().then_some(()));
        for arguments in [&["show"][..], &["show", "--prompt"], &["log"], &["doctor"]] {
            let output = ends(&scene, PROGRAM, arguments);
            assert!(!text(&output.stdout).contains(OUTSIDE));
        }
        wait_for("every process to end", || scene.processes().is_empty().then_some(()));
    }
}
