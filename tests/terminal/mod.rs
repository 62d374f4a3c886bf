//! A pseudo-terminal with somebody at it: the only way to give trust, for a test as for a person.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "this is a test's")]

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::path::Path;

use pty_process::blocking::{Command, open};

/// What stands around the word that accepts.
const QUESTION: (&str, &str) = ("accept exactly this? type ", " and enter: ");

/// What a command on a terminal left.
pub(crate) struct Said {
    /// Its exit code; -1 for a signal.
    pub(crate) code: i32,
    /// Everything that the terminal was sent, without carriage returns.
    pub(crate) text: String,
}

/// Runs a program on a terminal of its own. `answer` is asked with everything that was said so far, once for each
/// question, and gives the line that is typed; it is given the word that accepts.
pub(crate) fn on_terminal(
    program: &Path,
    arguments: &[&str],
    directory: &Path,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    mut answer: impl FnMut(&str, &str) -> String,
) -> Said {
    let (mut pty, pts) = open().unwrap();
    let command = Command::new(program).args(arguments).current_dir(directory).env_clear().envs(environment);
    let mut child = command.spawn(pts).unwrap();
    let (mut said, mut asked) = (Vec::new(), 0);
    let mut buffer = [0; 4096];
    // Linux ends with EIO when the last process has closed the terminal.
    while let Ok(read) = pty.read(&mut buffer) {
        if read == 0 {
            break;
        }
        said.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&said).into_owned();
        let word = text.rsplit_once(QUESTION.0).and_then(|(_, rest)| rest.split_once(QUESTION.1));
        if let Some((word, _)) = word
            && text.matches(QUESTION.1).count() > asked
        {
            asked += 1;
            let line = answer(&text, word);
            pty.write_all(format!("{line}\n").as_bytes()).unwrap();
        }
    }
    let code = child.wait().unwrap().code().unwrap_or(-1);
    Said { code, text: String::from_utf8_lossy(&said).replace('\r', "") }
}

/// Types the word that was asked for.
pub(crate) fn yes(_said: &str, word: &str) -> String {
    word.to_owned()
}
