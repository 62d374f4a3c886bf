//! Why a turn did not end in an answer, in classes that somebody acts on.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The class of a failure: decides whether another attempt makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The runtime is not installed, or too old.
    Missing,
    /// Not logged in, or the key was refused.
    Auth,
    /// The account is used up. `retry_after` says when it is worth asking again.
    Quota,
    /// The provider asks to slow down.
    RateLimited,
    /// The provider is overloaded or failed inside.
    Overloaded,
    /// The prompt does not fit the model.
    ContextTooLarge,
    /// The provider could not be reached, or the connection broke.
    Network,
    /// The provider or the runtime said something that makes no sense, or refused the request.
    Protocol,
    /// The sandbox does not work here.
    Sandbox,
    /// No sign of life for the idle limit.
    Stalled,
    /// The wall limit passed.
    Timeout,
    /// It wrote more than the output limit.
    Output,
    /// The runtime's process died.
    Crashed,
    /// Somebody cancelled it.
    Cancelled,
    /// Our own side failed: a full disk, a missing directory.
    Internal,
}

impl Class {
    /// Whether another attempt may end better.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::RateLimited | Self::Overloaded | Self::Network | Self::Stalled | Self::Crashed => true,
            Self::Missing
            | Self::Auth
            | Self::Quota
            | Self::ContextTooLarge
            | Self::Protocol
            | Self::Sandbox
            | Self::Timeout
            | Self::Output
            | Self::Cancelled
            | Self::Internal => false,
        }
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Auth => "auth",
            Self::Quota => "quota",
            Self::RateLimited => "rate-limited",
            Self::Overloaded => "overloaded",
            Self::ContextTooLarge => "context-too-large",
            Self::Network => "network",
            Self::Protocol => "protocol",
            Self::Sandbox => "sandbox",
            Self::Stalled => "stalled",
            Self::Timeout => "timeout",
            Self::Output => "output",
            Self::Crashed => "crashed",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

/// A classified failure with the sentence a person reads and, where there is one, the command that mends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The class.
    pub class: Class,
    /// What happened.
    pub message: String,
    /// What to type.
    pub fix: Option<String>,
    /// How long the provider asked to wait.
    pub retry_after: Option<Duration>,
    /// The thread, where one had begun.
    pub thread: Option<String>,
    /// Tokens that were used all the same, where they are known.
    pub usage: super::Usage,
}

impl Failure {
    /// A failure of this class.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            fix: None,
            retry_after: None,
            thread: None,
            usage: super::Usage::default(),
        }
    }

    /// Adds the command that mends it.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
