//! Redaction of what comes in pieces: a secret that is split between two of them is found all the same.

use std::io::{self, Write};

use super::{known, look, redacted};

/// What is held back at most while no line ends, or a key does not, in bytes.
const HELD_MAX: usize = 64 * 1024;

/// What is held back of a line that is longer, so that a secret at its end is whole, in bytes.
const OVERLAP: usize = 8 * 1024;

/// Takes pieces, gives text without secrets, line by line.
#[derive(Debug, Default)]
pub struct Stream {
    held: Vec<u8>,
}

impl Stream {
    /// Takes a piece and returns what can be told by now. Bytes that are no UTF-8 come out as `U+FFFD`.
    pub fn push(&mut self, piece: &[u8]) -> String {
        self.held.extend_from_slice(piece);
        // Only where a line ended, or too much is held, is there anything new to decide.
        if !piece.contains(&b'\n') && self.held.len() <= HELD_MAX {
            return String::new();
        }
        let ready = self.ready();
        let rest = self.held.split_off(ready);
        let told = std::mem::replace(&mut self.held, rest);
        redacted(&String::from_utf8_lossy(&told)).into_owned()
    }

    /// Returns the rest.
    pub fn finish(&mut self) -> String {
        let told = std::mem::take(&mut self.held);
        redacted(&String::from_utf8_lossy(&told)).into_owned()
    }

    /// How much of what is held cannot be a part of what is still to come.
    fn ready(&self) -> usize {
        let is_full = self.held.len() > HELD_MAX;
        let line = self.held.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        // The beginning of a key waits for its end.
        let open = find_last(&self.held, b"-----BEGIN ").filter(|begin| {
            let rest = self.held.get(*begin..).unwrap_or_default();
            find_last(rest.get(..128.min(rest.len())).unwrap_or_default(), b"PRIVATE KEY").is_some()
                && find_last(rest, b"-----END ").is_none()
        });
        let ready = open.map_or(line, |begin| begin.min(line));
        if ready > 0 || !is_full {
            return ready;
        }
        // A line without end: cut where no secret stands, at the beginning of a character.
        let mut cut = self.held.len() - OVERLAP;
        let text = String::from_utf8_lossy(&self.held);
        if text.len() == self.held.len() {
            let found = look(&text, known::current().as_deref());
            if let Some(across) = found.iter().find(|found| found.range.start < cut && cut < found.range.end) {
                // It may go on in what comes: all of it waits, or if that is everything, all of it goes.
                cut = if across.range.start == 0 { across.range.end } else { across.range.start };
            }
        }
        while cut < self.held.len() && self.held.get(cut).is_some_and(|byte| byte & 0xc0 == 0x80) {
            cut += 1;
        }
        cut
    }
}

fn find_last(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).rposition(|window| window == part)
}

/// A writer that takes whole lines, as a log's subscriber gives them, and writes them without secrets.
#[derive(Debug)]
pub struct Writer<W> {
    inner: W,
}

impl<W: Write> Writer<W> {
    /// Writes to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner }
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.inner.write_all(redacted(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
