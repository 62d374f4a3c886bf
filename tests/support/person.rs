//! A person at a terminal of their own.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdout, Stdio};

use super::{PROGRAM, Scene, text};

/// Whether these tests can play a person: inside a run nobody can, whatever terminal there is.
pub(crate) fn can_play_a_person() -> bool {
    let why = orchestrator::ancestry::inside_a_run(&orchestrator::process::clean_environment());
    if let Some(why) = &why {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{why}");
        eprintln!("SKIPPED: {why}");
    }
    why.is_none()
}

/// The program at a terminal, waiting for an answer.
pub(crate) struct Terminal {
    child: Child,
    said: ChildStdout,
    heard: String,
}

impl Terminal {
    /// Runs the program at a terminal of its own.
    pub(crate) fn open(scene: &Scene, arguments: &[&str]) -> Self {
        let line = shlex::try_join(std::iter::once(PROGRAM).chain(arguments.iter().copied())).unwrap();
        Self::shell(scene, &line)
    }

    /// Runs this line of a shell at a terminal of its own.
    pub(crate) fn shell(scene: &Scene, line: &str) -> Self {
        // script(1) gives a command a terminal without any code of ours that could be wrong about one.
        let mut child = scene
            .command("script")
            .args(["--quiet", "--return", "--command", line, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = child.stdout.take().unwrap();
        Self { child, said, heard: String::new() }
    }

    /// The word that it asks for; none, if it ends without asking.
    pub(crate) fn word(&mut self) -> Option<String> {
        let mut bytes = [0; 4096];
        loop {
            if let Some((_, rest)) = self.heard.split_once("type `")
                && rest.contains("leave it: ")
            {
                return Some(rest.split('`').next().unwrap().to_owned());
            }
            match self.said.read(&mut bytes).unwrap() {
                0 => return None,
                count => self.heard.push_str(&text(&bytes[..count])),
            }
        }
    }

    /// Types it, and returns the exit code and everything that stood on the terminal.
    pub(crate) fn types(mut self, answer: &str) -> (i32, String) {
        let mut keyboard = self.child.stdin.take().unwrap();
        keyboard.write_all(answer.as_bytes()).and_then(|()| keyboard.write_all(b"\n")).ok();
        self.end()
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> (i32, String) {
        let mut rest = Vec::new();
        self.said.read_to_end(&mut rest).unwrap();
        self.heard.push_str(&text(&rest));
        let status = self.child.wait().unwrap();
        (status.code().unwrap_or(-1), self.heard)
    }
}

/// Runs the program at a terminal and types the word that it asks for.
pub(crate) fn agreed(scene: &Scene, arguments: &[&str]) -> (i32, String) {
    let mut terminal = Terminal::open(scene, arguments);
    match terminal.word() {
        Some(word) => terminal.types(&word),
        None => terminal.end(),
    }
}
