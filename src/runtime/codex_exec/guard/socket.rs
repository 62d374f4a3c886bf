//! The socket of one turn, on which its hooks ask.
//!
//! It lies in a directory of the run that nobody else may enter, outside of everything that a command may write. A
//! command of the run cannot answer in our place, since it cannot take the name; and it cannot ask in the hook's place:
//! Codex's sandbox gives commands a process namespace of their own, and who asks from another namespace than ours gets
//! no answer. (Without network they cannot open a socket at all.)

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::runtime::{Class, Failure};

/// The longest question that is read: a patch is told whole.
pub(super) const QUESTION_BYTES: u64 = 4 << 20;

/// The longest answer.
pub(super) const ANSWER_BYTES: u64 = 64 << 10;

/// What an answer begins with that lets a call through; nothing follows.
pub(super) const YES: &str = "y";

/// What an answer begins with that refuses; the reason follows.
pub(super) const NO: &str = "n";

/// The socket's name in its directory.
const NAME: &str = "s";

/// How long one question may take to arrive: the hook has it whole before it connects.
const ARRIVAL: Duration = Duration::from_secs(10);

/// The name of the socket for the kernel, which takes about a hundred bytes and no more.
pub(super) struct Place {
    path: PathBuf,
    /// The path leads through it.
    _directory: File,
}

impl Place {
    /// Of the socket in this directory, however long its path.
    pub(super) fn in_directory(directory: &Path) -> io::Result<Self> {
        let opened = File::open(directory)?;
        let path = if cfg!(target_os = "linux") {
            use std::os::fd::AsRawFd as _;
            Path::new("/proc/self/fd").join(opened.as_raw_fd().to_string()).join(NAME)
        } else {
            directory.join(NAME)
        };
        Ok(Self { path, _directory: opened })
    }

    /// The name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// One question, to be answered once. Dropping it is a refusal.
#[derive(Debug)]
pub(in crate::runtime::codex_exec) struct Asked {
    pub(super) body: Body,
    answer: oneshot::Sender<String>,
}

/// What was asked.
#[derive(Debug)]
pub(in crate::runtime::codex_exec) enum Body {
    /// What Codex told its hook.
    Whole(Vec<u8>),
    /// More than is read, or not all of it came.
    Broken,
    /// Who asked is not a hook of this turn.
    Stranger,
}

impl Asked {
    /// How much was read, in bytes.
    pub(super) fn size(&self) -> u64 {
        match &self.body {
            Body::Whole(bytes) => bytes.len() as u64,
            Body::Broken | Body::Stranger => 0,
        }
    }

    /// Yes.
    pub(super) fn allow(self) {
        // Nobody waits any more: then nothing happens, which is what a no would do.
        self.answer.send(YES.to_owned()).ok();
    }

    /// No, and why.
    pub(super) fn deny(self, reason: &str) {
        let reason = crate::text::prefix_bytes(reason, 8 << 10);
        self.answer.send(format!("{NO}{reason}")).ok();
    }
}

/// The listening end.
#[derive(Debug)]
pub(super) struct Socket {
    directory: TempDir,
    questions: mpsc::Receiver<Asked>,
    listening: JoinHandle<()>,
}

impl Socket {
    /// Begins to listen, in a directory of its own below the run's.
    pub(super) fn open(run_directory: &Path) -> Result<Self, Failure> {
        let cannot = |error| Failure::new(Class::Internal, format!("the policy's socket cannot be opened: {error}"));
        // Mode 0700, and gone with the turn.
        let directory = tempfile::Builder::new().prefix("ask-").tempdir_in(run_directory).map_err(cannot)?;
        let place = Place::in_directory(directory.path()).map_err(cannot)?;
        let listener = UnixListener::bind(place.path()).map_err(cannot)?;
        let (sender, questions) = mpsc::channel(16);
        let listening = tokio::spawn(listen(listener, sender));
        Ok(Self { directory, questions, listening })
    }

    /// The directory with the socket in it.
    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The next question. Cancel-safe.
    pub(super) async fn next(&mut self) -> Asked {
        match self.questions.recv().await {
            Some(asked) => asked,
            // The listener ended: whoever asks gets no answer, and Codex has to be told to stop by others.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: UnixListener, questions: mpsc::Sender<Asked>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, questions.clone()));
            }
            Err(error) => {
                // Out of descriptors, most likely: who is not answered does nothing, so waiting is safe.
                tracing::warn!(%error, "a question to the policy cannot be taken");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(mut stream: UnixStream, questions: mpsc::Sender<Asked>) {
    let body = if is_own(&stream) {
        let mut bytes = Vec::new();
        let mut limited = (&mut stream).take(QUESTION_BYTES + 1);
        match timeout(ARRIVAL, limited.read_to_end(&mut bytes)).await {
            Ok(Ok(_)) if bytes.len() as u64 <= QUESTION_BYTES => Body::Whole(bytes),
            Ok(_) | Err(_) => Body::Broken,
        }
    } else {
        Body::Stranger
    };
    let (answer, decided) = oneshot::channel();
    if questions.send(Asked { body, answer }).await.is_err() {
        return;
    }
    if let Ok(answer) = decided.await {
        // A hook that went away is its own refusal.
        stream.write_all(answer.as_bytes()).await.ok();
    }
}

/// Whether the other end is a process of this person's in our own process namespace.
fn is_own(stream: &UnixStream) -> bool {
    let Ok(peer) = stream.peer_cred() else { return false };
    if peer.uid() != rustix::process::geteuid().as_raw() {
        return false;
    }
    if !cfg!(target_os = "linux") {
        return true;
    }
    let space = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/pid")).ok();
    let theirs = peer.pid().filter(|pid| *pid > 0).and_then(|pid| space(&pid.to_string()));
    theirs.is_some() && theirs == space("self")
}
