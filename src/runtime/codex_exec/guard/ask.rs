//! The hook's program: puts what Codex tells a hook on the turn's socket and ends as the answer says.
//!
//! Codex goes on wherever a hook fails in a way it does not expect, so every way out but one is the same: a reason on
//! standard error and the exit code that means no. The deadline lies far below the one at which Codex would give up
//! waiting and go on.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::socket;

/// The hidden command that Codex's hooks are.
pub const ASK_COMMAND: &str = "ask";

/// How long an answer may take. The decision itself takes less than a millisecond; the rest is for a machine that does
/// something else.
const DEADLINE: Duration = Duration::from_secs(30);

/// Asks about what stands on `input`, of the turn whose socket lies in `directory`. `Ok` is a yes; the error is why
/// not, for the model.
pub fn ask(directory: &Path, input: impl Read) -> Result<(), String> {
    let mut answer = Vec::new();
    exchange(directory, input, &mut answer).map_err(|error| format!("The policy could not be asked: {error}."))?;
    let text = String::from_utf8_lossy(&answer);
    match text.split_at_checked(1) {
        Some((socket::YES, "")) => Ok(()),
        Some((socket::NO, reason)) if !reason.trim().is_empty() => Err(reason.to_owned()),
        Some(_) | None => Err("The policy gave no answer.".to_owned()),
    }
}

fn exchange(directory: &Path, mut input: impl Read, answer: &mut Vec<u8>) -> io::Result<()> {
    let mut question = Vec::new();
    (&mut input).take(socket::QUESTION_BYTES + 1).read_to_end(&mut question)?;
    let place = socket::Place::in_directory(directory)?;
    let mut stream = UnixStream::connect(place.path())?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    stream.write_all(&question)?;
    stream.shutdown(Shutdown::Write)?;
    stream.take(socket::ANSWER_BYTES).read_to_end(answer)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_there_is_a_no() {
        let empty = tempfile::tempdir().unwrap();
        for directory in [empty.path(), Path::new("/nowhere"), Path::new("")] {
            assert!(ask(directory, &b"{}"[..]).unwrap_err().starts_with("The policy could not be asked"));
        }
    }
}
