//! What is started through the hidden command `contain` dies as a family, and only that family does.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use orchestrator::process::{Family, contained};

/// A shell that starts children in every way that loses sight of them, says so, and stays.
const SHELL: &str = "setsid sleep 1000 & (setsid sh -c 'trap \"\" TERM INT HUP; sleep 1000 & sleep 1000' &) ; \
                     nohup sleep 1000 >/dev/null 2>&1 & echo ready; sleep 1000";

/// One whose members all have their parents: an orphan could be anybody's, and is not spared.
const PLAIN_SHELL: &str = "setsid sleep 1000 & sleep 1000 & echo ready; sleep 1000";

fn start(marker: &str, shell: &str) -> (duct::ReaderHandle, u32) {
    let argv: Vec<OsString> = ["/bin/sh", "-c", shell].map(OsString::from).to_vec();
    let argv = contained(Path::new(env!("CARGO_BIN_EXE_git-orchestrator")), &argv);
    let reader = duct::cmd(&argv[0], &argv[1..]).env("FAMILY_TEST", marker).stderr_null().unchecked().reader().unwrap();
    let leader = reader.pids()[0];
    let mut line = String::new();
    BufReader::new(&reader).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (reader, leader)
}

fn alive(marker: &str) -> usize {
    let wanted = format!("FAMILY_TEST={marker}");
    let has_it = |path: &Path| {
        let environment = std::fs::read(path.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| has_it(&entry.path())).count()
}

/// Waits until a condition holds, at most a minute.
#[track_caller]
fn wait_until(mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < until, "waited for a minute");
        std::thread::yield_now();
    }
}

#[test]
fn a_family_dies_whole_and_alone() {
    let (one, two) = (format!("{}-one", std::process::id()), format!("{}-two", std::process::id()));
    let (first, first_leader) = start(&one, SHELL);
    let first_family = Family::of(first_leader);
    let (second, second_leader) = start(&two, PLAIN_SHELL);
    let second_family = Family::of(second_leader);
    wait_until(|| alive(&one) >= 5 && alive(&two) == 4);
    let before = alive(&two);

    assert_eq!(first_family.end(Duration::from_secs(60)), 0);
    assert_eq!((alive(&one), alive(&two)), (0, before));
    // What is dropped, as by a future that nobody waits for any more, goes the same way.
    drop(second_family);
    assert_eq!(alive(&two), 0);
    drop((first, second));
}

/// `docker exec` and `unshare --pid` start processes whose session began outside their namespace: its id reads as 0.
#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn a_session_from_outside_the_namespace_is_no_trouble() {
    let own = std::env::current_exe().unwrap();
    let namespace = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
    let possible = duct::cmd("unshare", namespace.iter().chain(&["true"])).stderr_null().unchecked().run();
    if !possible.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: `unshare --user --pid` is not possible here (util-linux, user namespaces)");
        return;
    }
    let again = [own.to_str().unwrap(), "--exact", "a_family_dies_whole_and_alone"];
    let output = duct::cmd("unshare", namespace.iter().chain(&again))
        .stderr_to_stdout()
        .stdout_capture()
        .unchecked()
        .run()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
