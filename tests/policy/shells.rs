//! What [`line::split`] reads, real shells read too: lines are given to bash, dash and zsh, which run programs that write
//! down what they were called with.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use orchestrator::policy::command::{grammar, line};
use proptest::prelude::*;

const SHELLS: &[&str] = &["/bin/bash", "/bin/dash", "/usr/bin/zsh"];

/// Each writes its name and its words to the file `OUT`, a NUL behind each, and a byte 1 as the last: all at once, since
/// the commands of a pipeline write at the same time.
const PROGRAM: &str = "#!/bin/sh\nprintf '%s\\0' \"${0##*/}\" \"$@\" '\u{1}' >> \"$OUT\"\n";

const PIECES: &[&str] = &[
    "a",
    "b",
    "c",
    "a ",
    "b ",
    "c ",
    " ",
    " ",
    " ",
    "'",
    "\"",
    "\\",
    "$",
    "`",
    "&&",
    "||",
    "|",
    ";",
    "\n",
    "\t",
    "#",
    "x",
    "-n",
    "=",
    "==",
    "{",
    "}",
    ",",
    "..",
    "~",
    "/",
    "2",
    ">",
    "&1",
    ">/dev/null",
    "2>&1",
    "!",
    "(",
    ")",
    "[",
    "]",
    "*",
    "?",
    "<",
    "é",
    "à",
    "a b",
    "'q r'",
    "\"s t\"",
    "\\ ",
    "^",
    "%",
    "@{1}",
    "+",
    "1",
    "$'",
    "[[",
    "$\"",
    "if",
    "do",
    "&>",
    "/dev/null",
    "<<",
    "|&",
    "\\\n",
    "''",
    "\"\"",
    "--",
    ":",
    "in",
    "{a",
    "b}",
    "'..'",
    "','",
    "$)\"",
    "$/",
    "time ",
    "{x}",
    "\"$",
    "x=",
    "%1",
    "-",
    "\u{c5}",
    "\u{201a}",
    "\\}",
    "\\{",
    "'{'",
    "'}'",
    "set -e;",
    "cd .;",
];

/// A directory with the programs, and an empty one to run in.
fn scene() -> tempfile::TempDir {
    let scene = tempfile::tempdir().expect("a directory");
    for name in ["bin", "cwd"] {
        fs::create_dir(scene.path().join(name)).expect("a directory");
    }
    for name in ["a", "b", "c"] {
        let path = scene.path().join("bin").join(name);
        fs::write(&path, PROGRAM).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
    }
    scene
}

/// What was called, as the words of each call.
fn calls(shell: &str, line: &str, scene: &Path) -> Vec<Vec<String>> {
    let out = scene.join("out");
    fs::remove_file(&out).ok();
    let mut command = Command::new(shell);
    if shell.ends_with("zsh") {
        command.arg("-f");
    }
    command
        .args(["-c", line])
        .current_dir(scene.join("cwd"))
        .env_clear()
        .env("PATH", scene.join("bin"))
        .env("OUT", &out);
    command.env("HOME", "/home/x").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("the shell runs");
    let bytes = fs::read(&out).unwrap_or_default();
    let mut words: Vec<String> =
        bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    words.pop();
    let mut calls: Vec<_> = words.split(|word| word == "\u{1}").map(<[_]>::to_vec).collect();
    calls.pop();
    calls
}

fn cases() -> u32 {
    std::env::var("SHELL_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1500)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_shell_calls_what_was_not_read(parts in prop::collection::vec(prop::sample::select(PIECES), 1..14)) {
        let line = parts.concat();
        let Ok(commands) = line::split(&line) else { return Ok(()) };
        let certain = commands.iter().flat_map(|command| &command.words).all(|word| word.open.is_none() && !word.home);
        if !certain || grammar::confirm(&line, &commands).is_err() {
            return Ok(());
        }
        let scene = scene();
        // A keyword to some shells, a program to others: the policy judges what stands behind it.
        let read: Vec<Vec<String>> = commands.iter().map(|command| {
            let words = command.words.iter().map(|word| word.text.clone());
            words.skip_while(|word| word == "time").collect()
        }).collect();
        for shell in SHELLS.iter().filter(|shell| Path::new(shell).exists()) {
            for call in calls(shell, &line, scene.path()) {
                prop_assert!(read.contains(&call), "{shell} {line:?}: {call:?} is not in {read:?}");
            }
        }
        let left = fs::read_dir(scene.path().join("cwd")).expect("the directory is there").count();
        prop_assert_eq!(left, 0, "{:?} made a file", line);
    }
}
