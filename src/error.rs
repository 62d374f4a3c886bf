//! What goes wrong, as a sentence with a place and a next step.
//!
//! One error type carries who has to act (the [`Kind`], which also decides the exit code), what happened, what caused
//! it and what to type next. A type of its own exists only where some code branches on the cause: a runtime's
//! [`Failure`](crate::runtime::Failure) and the store's [`StoreError`](crate::store::StoreError).

use std::error::Error as StdError;
use std::fmt;

/// The program's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who has to act, and the exit code that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something did not work. Exit code 1.
    Failed,
    /// The command line or a file a person wrote is wrong. Exit code 2.
    Usage,
    /// A gate or the policy said no. Exit code 3.
    Refused,
    /// The repository's rules are not accepted. Exit code 4.
    Untrusted,
    /// What was asked for does not exist. Exit code 5.
    NotFound,
    /// Waiting took longer than allowed. Exit code 124, as `timeout(1)` has it.
    TimedOut,
}

impl Kind {
    /// The process's exit code (DESIGN: the command line).
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Untrusted => 4,
            Self::NotFound => 5,
            Self::TimedOut => 124,
        }
    }
}

/// An error for a person: kind, sentence, optional ready-made diagnostic, causes, hints.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    /// A rendered excerpt of the file the error points into, shown instead of `message` where there is one.
    excerpt: Option<String>,
    hints: Vec<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), excerpt: None, hints: Vec::new(), source: None }
    }

    /// Something did not work.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// The command line or a file a person wrote is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// A gate or the policy said no.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// The repository's rules are not accepted.
    pub fn untrusted(message: impl Into<String>) -> Self {
        Self::new(Kind::Untrusted, message)
    }

    /// What was asked for does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// Waiting took longer than allowed.
    pub fn timed_out(message: impl Into<String>) -> Self {
        Self::new(Kind::TimedOut, message)
    }

    /// Adds a next step, shown as `hint: …`.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Names the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds a rendered excerpt of the file in question, with the place marked.
    #[must_use]
    pub fn excerpt(mut self, excerpt: impl Into<String>) -> Self {
        self.excerpt = Some(excerpt.into());
        self
    }

    /// Who has to act.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The excerpt to show instead of the sentence, if the error points into a file.
    pub fn rendered_excerpt(&self) -> Option<&str> {
        self.excerpt.as_deref()
    }

    /// The next steps.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The sentence and all causes, joined by `: `.
    pub fn chain(&self) -> String {
        let mut out = self.message.clone();
        let mut cause: Option<&(dyn StdError + 'static)> = self.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !out.contains(&text) {
                out.push_str(": ");
                out.push_str(&text);
            }
            cause = error.source();
        }
        out
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn StdError + 'static))
    }
}

/// Adds the sentence to a foreign error, where it happens.
pub trait Context<T> {
    /// Turns the error into a [`Kind::Failed`] with this sentence and the original as its cause.
    fn context<S: Into<String>>(self, message: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Context<T> for std::result::Result<T, E> {
    fn context<S: Into<String>>(self, message: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| Error::failed(message()).because(error))
    }
}
