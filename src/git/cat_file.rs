//! One `git cat-file --batch` that answers for as long as its repository is open, so that a hook in a repository only
//! git can read starts it once and not for each object.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, PipeReader, PipeWriter, Read as _, Seek as _, Write as _};

use super::object::{Id, Kind};
use super::program::Reading;
use crate::error::{Context as _, Error, Result};
use crate::text;

/// How long the first line of an answer may be. Git repeats what it was asked, which is never longer than this.
const LINE_BYTES_MAX: u64 = 4096;

/// How much of what git says on standard error is shown.
const SAID_BYTES_MAX: u64 = 1000;

/// What git says of a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) id: Id,
    pub(super) kind: Kind,
    pub(super) size: u64,
    /// Unless it was not wanted.
    pub(super) content: Option<Vec<u8>>,
}

/// The child, started when it is first needed and again after it ended: an older git ends at an object that a partial
/// clone has not fetched.
pub(super) struct CatFile {
    mode: &'static str,
    child: RefCell<Option<Child>>,
}

struct Child {
    handle: duct::Handle,
    /// Taken away to let git end.
    input: Option<PipeWriter>,
    output: BufReader<PipeReader>,
    errors: File,
}

impl CatFile {
    /// Answers with type, size and content.
    pub(super) fn contents() -> Self {
        Self { mode: "--batch", child: RefCell::new(None) }
    }

    /// Answers with type and size.
    pub(super) fn headers() -> Self {
        Self { mode: "--batch-check", child: RefCell::new(None) }
    }

    /// What git has under this name, which holds no line break. The content is kept if `wanted` says so.
    pub(super) fn ask(&self, git: &Reading, name: &str, wanted: impl Fn(Kind, u64) -> bool) -> Result<Option<Answer>> {
        let mut place = self.child.borrow_mut();
        let child = match place.as_mut() {
            Some(child) => child,
            None => place.insert(Child::start(git, self.mode)?),
        };
        let answer = child.ask(name, self.mode == "--batch", wanted);
        if answer.is_err() {
            // Nobody can tell what it would answer next.
            let said = place.take().map(Child::last_words).unwrap_or_default();
            let failed = || format!("`git cat-file` does not say what `{}` is", text::one_line(name));
            return answer.context(failed).map_err(|error| match said.as_str() {
                "" => error,
                said => Error::failed(failed()).because(Error::failed(said.to_owned())),
            });
        }
        answer
    }
}

impl Child {
    fn start(git: &Reading, mode: &str) -> Result<Self> {
        let failed = || "cannot start `git cat-file`".to_owned();
        let (their_input, input) = io::pipe().context(failed)?;
        let (output, their_output) = io::pipe().context(failed)?;
        // A file, since a pipe that nobody empties would stop git.
        let errors = tempfile::tempfile().context(failed)?;
        let handle = git
            .command(&["cat-file", mode].map(std::ffi::OsStr::new))
            .stdin_file(their_input)
            .stdout_file(their_output)
            .stderr_file(errors.try_clone().context(failed)?)
            .unchecked()
            .start()
            .context(failed)?;
        Ok(Self { handle, input: Some(input), output: BufReader::new(output), errors })
    }

    fn ask(&mut self, name: &str, has_content: bool, wanted: impl Fn(Kind, u64) -> bool) -> Result<Option<Answer>> {
        let failed = || "it ended".to_owned();
        let input = self.input.as_mut().ok_or_else(|| Error::failed(failed()))?;
        input.write_all(format!("{name}\n").as_bytes()).context(failed)?;
        let mut line = Vec::new();
        self.output.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).context(failed)?;
        let Some(line) = line.strip_suffix(b"\n") else { return Err(Error::failed(failed())) };
        if line.ends_with(b" missing") {
            return Ok(None);
        }
        let (id, kind, size) =
            header(line).ok_or_else(|| Error::failed(format!("it says `{}`", text::bytes_line(line))))?;
        if !has_content {
            return Ok(Some(Answer { id, kind, size, content: None }));
        }
        let content = if wanted(kind, size) {
            let mut bytes = Vec::new();
            self.output.by_ref().take(size).read_to_end(&mut bytes).context(failed)?;
            (bytes.len() as u64 == size).then_some(bytes).map(Some).ok_or_else(|| Error::failed(failed()))?
        } else {
            let passed = io::copy(&mut self.output.by_ref().take(size), &mut io::sink()).context(failed)?;
            (passed == size).then_some(None).ok_or_else(|| Error::failed(failed()))?
        };
        let mut end = [0];
        self.output.read_exact(&mut end).context(failed)?;
        Ok(Some(Answer { id, kind, size, content }))
    }

    /// Ends it, and returns what it said on standard error.
    fn last_words(mut self) -> String {
        self.end();
        let mut said = Vec::new();
        let read = self.errors.rewind().and_then(|()| (&self.errors).take(SAID_BYTES_MAX).read_to_end(&mut said));
        read.map(|_| text::bytes_line(said.trim_ascii())).unwrap_or_default()
    }

    fn end(&mut self) {
        // It ends when its input does; the signal is for one that hangs in a file system. It writes nothing that could
        // be left half-written.
        self.input = None;
        self.handle.kill().ok();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}

/// `id SP type SP size`.
fn header(line: &[u8]) -> Option<(Id, Kind, u64)> {
    let mut words = line.split(|byte| *byte == b' ');
    let id = Id::from_hex(words.next()?)?;
    let kind = match words.next()? {
        b"commit" => Kind::Commit,
        b"tree" => Kind::Tree,
        b"blob" => Kind::Blob,
        b"tag" => Kind::Tag,
        _ => return None,
    };
    let size = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    words.next().is_none().then_some((id, kind, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_header_is_an_answer() {
        let id = "1".repeat(64);
        assert_eq!(header(format!("{id} tag 12").as_bytes()), Some((Id::Sha256([0x11; 32]), Kind::Tag, 12)));
        for bad in ["", "x ambiguous", &format!("{id} tag"), &format!("{id} tag -1"), &format!("{id} tag 1 2"), &id] {
            assert_eq!(header(bad.as_bytes()), None, "{bad}");
        }
    }
}
