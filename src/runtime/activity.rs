//! What happens during a turn, in our own words: the lines of a run's `events.jsonl`.
//!
//! One closed type for every runtime. The screen, the record and the evidence read the same stream.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Usage;
use crate::clock::Timestamp;
use crate::{secrets, text};

/// How a command, a patch or a tool call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Still going.
    InProgress,
    /// Done.
    Completed,
    /// Done, without success.
    Failed,
    /// Not done: somebody said no.
    Declined,
}

/// When something ran that was told of later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// When it was asked for.
    pub began: Timestamp,
    /// When its end was known.
    pub ended: Timestamp,
}

/// One file that a patch touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// The path, as the runtime gave it.
    pub path: String,
    /// `add`, `update` or `delete`.
    pub kind: String,
}

/// One entry of a model's own to-do list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Todo {
    /// What is to be done.
    pub text: String,
    /// Whether it is.
    pub completed: bool,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Activity {
    /// A thread began or was taken up again.
    ThreadStarted {
        /// Its id.
        thread: String,
    },
    /// The model was asked.
    TurnStarted,
    /// The model said something.
    Message {
        /// What.
        text: String,
    },
    /// A summary of what the model thought.
    Reasoning {
        /// The summary.
        text: String,
    },
    /// A command began.
    CommandStarted {
        /// Tells commands of one turn apart.
        id: String,
        /// The line, without the shell it is handed to.
        command: String,
    },
    /// A command ended.
    CommandFinished {
        /// As in [`Activity::CommandStarted`].
        id: String,
        /// The line.
        command: String,
        /// Its exit code, where it has one.
        exit_code: Option<i32>,
        /// How it ended.
        status: Status,
        /// What it printed on both streams, cut at [`OUTPUT_KEPT`] bytes.
        output: String,
        /// How much it printed.
        output_bytes: u64,
        /// When it ran, where the runtime told of it only afterwards; otherwise the lines are recorded as it goes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ran: Option<Ran>,
    },
    /// A patch began.
    PatchStarted {
        /// Tells patches of one turn apart.
        id: String,
        /// The files.
        changes: Vec<FileChange>,
    },
    /// A patch ended.
    PatchFinished {
        /// As in [`Activity::PatchStarted`].
        id: String,
        /// The files.
        changes: Vec<FileChange>,
        /// How it ended.
        status: Status,
    },
    /// A tool of a server was called.
    ToolStarted {
        /// Tells calls of one turn apart.
        id: String,
        /// The server.
        server: String,
        /// The tool.
        tool: String,
    },
    /// A tool call ended.
    ToolFinished {
        /// As in [`Activity::ToolStarted`].
        id: String,
        /// The server.
        server: String,
        /// The tool.
        tool: String,
        /// How it ended.
        status: Status,
        /// What went wrong.
        error: Option<String>,
    },
    /// The web was searched.
    Searched {
        /// For what.
        query: String,
        /// How it stands.
        status: Status,
    },
    /// Another agent was started or waited for.
    SubAgent {
        /// Tells calls of one turn apart.
        id: String,
        /// What was done.
        tool: String,
        /// How it stands.
        status: Status,
    },
    /// The model's own to-do list.
    Todos {
        /// Its entries.
        items: Vec<Todo>,
    },
    /// The gatekeeper decided.
    Decided {
        /// About what.
        action: crate::policy::Action,
        /// What.
        decision: crate::policy::Decision,
    },
    /// Something is not as it should be; the turn goes on.
    Warning {
        /// What.
        message: String,
    },
    /// The connection failed and is tried again.
    Retrying {
        /// What the provider said.
        message: String,
    },
    /// The model answered.
    TurnFinished {
        /// The counter the provider reported: of the thread, or of the turn.
        usage: Usage,
    },
    /// The turn failed.
    TurnFailed {
        /// What the provider said.
        message: String,
    },
    /// Something this version does not know; kept as it came.
    Unknown {
        /// The line, or what could be read of it.
        raw: Value,
    },
}

/// How much of a command's output is kept in the record, in bytes: its beginning and its end.
pub const OUTPUT_KEPT: usize = 16 * 1024;

/// What the record keeps of a command's output. Secrets go first: half of one, at the cut, would not be known for one.
pub fn kept(output: &str) -> String {
    text::ends_bytes(&secrets::redacted(output), OUTPUT_KEPT).into_owned()
}

/// A line of `events.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// When it was seen.
    pub at: Timestamp,
    /// Which attempt of the run.
    pub attempt: u32,
    /// What happened.
    pub activity: Activity,
}
