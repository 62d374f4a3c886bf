//! One turn's conversation with the server: what is asked of it, what it asks, and what it must not do.
//!
//! No I/O: messages go in, and what is to be sent comes out through a channel. What ends the turn is a [`Failure`]
//! returned by [`Session::take`], or the [`End`] it remembers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::questions::{self, Question};
use super::stream::{End, Message, Stream};
use super::wall;
use crate::clock::Timestamp;
use crate::policy::gatekeeper::Verdict;
use crate::policy::{Action, Decision};
use crate::runtime::activity::Status;
use crate::runtime::codex_exec::rollout::Streamed;
use crate::runtime::codex_exec::stream::string;
use crate::runtime::{Activity, Class, Failure, REHEARSAL, Turn};
use crate::text;

/// What one request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Initialize,
    Thread,
    Turn,
    Terminals,
    Other,
}

/// The conversation.
pub(super) struct Session<'s, 't> {
    /// The turn it carries out.
    pub(super) turn: &'s mut Turn<'t>,
    /// What was learned.
    pub(super) said: Said,
    out: Option<UnboundedSender<Value>>,
    workspace: String,
    /// The permission profile that has to be in force.
    profile: String,
    is_rehearsal: bool,
    stream: Stream,
    next: u64,
    sent: BTreeMap<u64, Sent>,
    turn_id: Option<String>,
    /// The items a decision was made about, and whether it was yes.
    answered: BTreeMap<String, bool>,
    /// The items whose question is to come, and since when.
    unasked: BTreeMap<String, Instant>,
    is_stopping: bool,
}

/// What the server said so far.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// The thread.
    pub(super) thread: Option<String>,
    /// The model's last message.
    pub(super) answer: Option<String>,
    /// The model, as the server names it.
    pub(super) model: Option<String>,
    /// How the turn ended.
    pub(super) end: Option<End>,
    /// The last words about the connection, if nothing came after them.
    pub(super) retrying: Option<String>,
    /// The items that are going on.
    pub(super) open: BTreeSet<String>,
    /// The commands.
    pub(super) commands: Vec<Streamed>,
    /// How much it wrote, in bytes.
    pub(super) bytes: u64,
}

impl<'s, 't> Session<'s, 't> {
    /// Begins the conversation.
    pub(super) fn begin(
        turn: &'s mut Turn<'t>,
        out: UnboundedSender<Value>,
        profile: &str,
        is_rehearsal: bool,
    ) -> Result<Self, Failure> {
        // Checked before, by the settings that hold it as well.
        let workspace = turn.workspace.to_str().map(str::to_owned);
        let workspace = workspace.ok_or_else(|| Failure::new(Class::Internal, "the workspace's path is not UTF-8"))?;
        let mut session = Self {
            turn,
            said: Said::default(),
            out: Some(out),
            workspace,
            profile: profile.to_owned(),
            is_rehearsal,
            stream: Stream::default(),
            next: 0,
            sent: BTreeMap::new(),
            turn_id: None,
            answered: BTreeMap::new(),
            unasked: BTreeMap::new(),
            is_stopping: false,
        };
        session.request(Sent::Initialize, "initialize", &initialize());
        Ok(session)
    }

    /// The counter of the thread as it was told last.
    pub(super) fn usage(&self) -> Option<crate::runtime::Usage> {
        self.stream.usage()
    }

    /// Since when the question is missing that is missing longest.
    pub(super) fn unasked_since(&self) -> Option<Instant> {
        self.unasked.values().min().copied()
    }

    /// The failure of a server that announced something and did not ask.
    pub(super) fn never_asked(&self) -> Failure {
        let item = self.unasked.iter().min_by_key(|(_, since)| **since).map(|(item, _)| item.as_str());
        self.unguarded(&self.line_of(item.unwrap_or_default()))
    }

    /// Stops the turn. Returns whether there is one to wait for.
    pub(super) fn stop(&mut self) -> bool {
        self.is_stopping = true;
        let (Some(thread), Some(turn)) = (self.said.thread.clone(), self.turn_id.clone()) else { return false };
        if self.said.end.is_some() {
            return false;
        }
        self.request(Sent::Other, "turn/interrupt", &json!({"threadId": thread, "turnId": turn}));
        true
    }

    /// Nothing more is sent: the server's input is closed.
    pub(super) fn close(&mut self) {
        self.out = None;
    }

    fn send(&self, message: Value) {
        if let Some(out) = &self.out {
            // Fails only where the server is gone, which its output says as well.
            out.send(message).ok();
        }
    }

    fn request(&mut self, what: Sent, method: &str, params: &Value) {
        self.next += 1;
        self.sent.insert(self.next, what);
        self.send(json!({"id": self.next, "method": method, "params": params}));
    }

    /// Takes one line in. A failure means that the turn must not go on.
    pub(super) fn take(&mut self, line: &[u8]) -> Option<Failure> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return None;
        }
        let Ok(message) = serde_json::from_slice::<Value>(line) else {
            let start = String::from_utf8_lossy(line);
            let start = text::clipped(&text::one_line(&start), 200).into_owned();
            (self.turn.sink)(Activity::Warning { message: format!("Codex wrote a line that is no JSON: {start}") });
            return None;
        };
        if message.get("method").is_none() {
            return self.response(&message);
        }
        if let Some(failure) = self.of_another_thread(&message) {
            return Some(failure);
        }
        let read = self.stream.read(&message)?;
        if !matches!(read, Message::Activity(Activity::Retrying { .. }) | Message::Counted) {
            self.said.retrying = None;
        }
        match read {
            Message::Activity(activity) => self.happened(activity),
            Message::Announced { item, is_under_way, activity } => self.announced(item, is_under_way, activity),
            Message::Printed { item } => (!self.is_allowed(&item)).then(|| self.unguarded(&self.line_of(&item))),
            Message::Wrote { text } => {
                let shown = format!("input to a running command: {text}");
                self.used(Action::Input { text }, &shown)
            }
            Message::Other { name, activity } => {
                if let Some(activity) = activity {
                    (self.turn.sink)(activity);
                }
                let shown = name.clone();
                self.used(Action::Tool { name }, &shown)
            }
            Message::Counted => {
                self.look_at_open();
                None
            }
            Message::Ended(end) => {
                self.said.end = Some(end);
                None
            }
            Message::Asked { request, method, question } => {
                self.asked(&request, &method, question, message.get("params").unwrap_or(&Value::Null));
                None
            }
        }
    }

    /// Sub-agents are off. One that appears all the same does what nobody is asked about.
    fn of_another_thread(&self, message: &Value) -> Option<Failure> {
        let other = string(message.get("params")?, "threadId")?;
        let is_ours = self.said.thread.as_deref().is_none_or(|own| own == other);
        let acts = string(message, "method").is_some_and(|method| method.starts_with("item/"));
        (acts && !is_ours).then(|| self.unguarded("another agent"))
    }

    fn response(&mut self, message: &Value) -> Option<Failure> {
        let what = self.sent.remove(&message.get("id")?.as_u64()?)?;
        if let Some(error) = message.get("error") {
            return refused(what, string(error, "message").unwrap_or_default());
        }
        let result = message.get("result").unwrap_or(&Value::Null);
        match what {
            Sent::Initialize => {
                self.send(json!({"method": "initialized"}));
                let resume = self.turn.resume.map(|(thread, _)| thread);
                let (method, params) = thread(&self.workspace, resume, self.is_rehearsal);
                self.request(Sent::Thread, method, &params);
                None
            }
            Sent::Thread => self.begun(result).err(),
            Sent::Turn => {
                self.turn_id = result.pointer("/turn/id").and_then(Value::as_str).map(str::to_owned);
                None
            }
            Sent::Terminals => {
                let terminals = result.get("data").and_then(Value::as_array);
                if let Some(terminals) = terminals.filter(|_| result.get("nextCursor").is_none_or(Value::is_null)) {
                    let alive: BTreeSet<&str> = terminals.iter().filter_map(|t| string(t, "itemId")).collect();
                    // What was announced since is not in the list yet.
                    let unasked = &self.unasked;
                    self.said.open.retain(|item| alive.contains(item.as_str()) || unasked.contains_key(item));
                }
                None
            }
            Sent::Other => None,
        }
    }

    /// The thread is there: the turn begins in it if it is what was asked for.
    fn begun(&mut self, result: &Value) -> Result<(), Failure> {
        let missing = || Failure::new(Class::Protocol, "Codex began a thread without an id");
        let thread = result.pointer("/thread/id").and_then(Value::as_str).ok_or_else(missing)?.to_owned();
        if let Some((wanted, _)) = self.turn.resume
            && wanted != thread
        {
            let message = format!("Codex was to continue thread {wanted} and began another one");
            return Err(Failure::new(Class::Protocol, message));
        }
        wall::check(result, self.turn.sandbox, &self.profile)?;
        self.said.model = string(result, "model").map(str::to_owned);
        self.said.thread = Some(thread.clone());
        (self.turn.sink)(Activity::ThreadStarted { thread: thread.clone() });
        let params = json!({
            "threadId": thread,
            "input": [{"type": "text", "text": self.turn.prompt}],
            "outputSchema": self.turn.schema,
        });
        self.request(Sent::Turn, "turn/start", &params);
        Ok(())
    }

    fn happened(&mut self, activity: Activity) -> Option<Failure> {
        let mut stop = None;
        let mut ended = None;
        match &activity {
            Activity::Message { text } => self.said.answer = Some(text.clone()),
            Activity::Retrying { message } => self.said.retrying = Some(message.clone()),
            Activity::CommandFinished { id, command, exit_code, status, .. } => {
                let known = self.said.commands.iter().rposition(|known| known.id == *id && known.end.is_none());
                let at = known.unwrap_or(self.said.commands.len());
                if known.is_none() {
                    self.said.commands.push(Streamed { id: id.clone(), line: command.clone(), end: None });
                }
                ended = Some((at, *exit_code));
                stop = self.over(id, *status, command);
            }
            Activity::PatchFinished { id, status, .. } => stop = self.over(id, *status, "a patch"),
            Activity::ToolFinished { id, .. } => {
                self.said.open.remove(id);
            }
            Activity::ThreadStarted { .. }
            | Activity::TurnStarted
            | Activity::Reasoning { .. }
            | Activity::CommandStarted { .. }
            | Activity::PatchStarted { .. }
            | Activity::ToolStarted { .. }
            | Activity::Searched { .. }
            | Activity::SubAgent { .. }
            | Activity::Todos { .. }
            | Activity::Decided { .. }
            | Activity::Warning { .. }
            | Activity::TurnFinished { .. }
            | Activity::TurnFailed { .. }
            | Activity::Unknown { .. } => {}
        }
        (self.turn.sink)(activity);
        // Not before it is recorded: what comes after it in Codex's own record has to come after it in ours.
        if let Some((at, exit_code)) = ended
            && let Some(command) = self.said.commands.get_mut(at)
        {
            command.end = Some((exit_code, Timestamp::now()));
        }
        stop
    }

    /// An item is over. One that did something had to be allowed.
    fn over(&mut self, item: &str, status: Status, what: &str) -> Option<Failure> {
        self.said.open.remove(item);
        self.unasked.remove(item);
        let did_something = matches!(status, Status::Completed | Status::Failed);
        (did_something && !self.is_allowed(item)).then(|| self.unguarded(what))
    }

    fn announced(&mut self, item: String, is_under_way: bool, activity: Activity) -> Option<Failure> {
        if let Activity::CommandStarted { command, .. } = &activity {
            self.said.commands.push(Streamed { id: item.clone(), line: command.clone(), end: None });
        }
        (self.turn.sink)(activity);
        self.said.open.insert(item.clone());
        let is_answered = self.answered.contains_key(&item);
        if is_under_way && !self.is_allowed(&item) {
            return Some(self.unguarded(&self.line_of(&item)));
        }
        if !is_answered {
            self.unasked.insert(item, Instant::now());
        }
        None
    }

    fn asked(&mut self, request: &Value, method: &str, question: Question, params: &Value) {
        let (action, item, decision) = match question {
            Question::Judged { action, item } => {
                let decision = self.decide(&action, &item);
                (action, Some(item), decision)
            }
            Question::Refused { action, item, rule, reason } => (action, item, denied(rule, &reason)),
            Question::Unknown => {
                let error = json!({"code": -32601, "message": "this client does not answer that"});
                self.send(json!({"id": request, "error": error}));
                return;
            }
        };
        let is_allowed = decision.verdict == Verdict::Allow;
        if let Some(item) = item {
            self.unasked.remove(&item);
            self.answered.insert(item, is_allowed);
        }
        self.send(json!({"id": request, "result": questions::answer(method, is_allowed)}));
        if !is_allowed && !self.is_stopping {
            self.explain(params, &action, &decision);
        }
        (self.turn.sink)(Activity::Decided { action, decision });
    }

    fn decide(&self, action: &Action, item: &str) -> Decision {
        if self.is_stopping {
            return denied("stopped", "the run is being stopped");
        }
        // The second question about one item is whether it may be tried again without a sandbox.
        if self.answered.contains_key(item) {
            return denied("outside-the-sandbox", "what was decided once is not decided again");
        }
        let decision = self.turn.gatekeeper.decide(action);
        let Action::Patch { paths } = action else { return decision };
        if decision.verdict != Verdict::Allow {
            return decision;
        }
        let running = self.said.open.iter().any(|open| open != item);
        match wall::objection(paths, self.turn.workspace, self.turn.sandbox.mode, running) {
            Some((rule, reason)) => denied(rule, &reason),
            None => decision,
        }
    }

    /// Tells the model why: the answer to a question has no room for it.
    fn explain(&mut self, params: &Value, action: &Action, decision: &Decision) {
        let (Some(thread), Some(turn)) = (self.said.thread.clone(), string(params, "turnId")) else { return };
        let is_for_a_person = decision.verdict == Verdict::Escalate;
        let told = questions::told(action, &decision.rule, &decision.reason, is_for_a_person);
        let input = json!([{"type": "text", "text": told}]);
        let params = json!({"threadId": thread, "expectedTurnId": turn, "input": input});
        self.request(Sent::Other, "turn/steer", &params);
    }

    /// Something was used that no question is asked about.
    fn used(&mut self, action: Action, shown: &str) -> Option<Failure> {
        let decision = self.turn.gatekeeper.decide(&action);
        let is_allowed = decision.verdict == Verdict::Allow;
        (self.turn.sink)(Activity::Decided { action, decision });
        (!is_allowed).then(|| self.unguarded(shown))
    }

    /// Asks which commands still run: 0.163 and 0.169 never tell the end of one that fails at once on its sandbox.
    fn look_at_open(&mut self) {
        if self.said.open.is_empty() || self.is_stopping {
            return;
        }
        if let Some(thread) = self.said.thread.clone() {
            self.request(Sent::Terminals, "thread/backgroundTerminals/list", &json!({"threadId": thread}));
        }
    }

    fn is_allowed(&self, item: &str) -> bool {
        self.answered.get(item).copied().unwrap_or(false)
    }

    fn line_of(&self, item: &str) -> String {
        let command = self.said.commands.iter().rfind(|command| command.id == item);
        command.map_or_else(|| "a patch".to_owned(), |command| command.line.clone())
    }

    fn unguarded(&self, what: &str) -> Failure {
        let what = text::clipped(&text::one_line(what), 120).into_owned();
        let asked = if self.answered.is_empty() { "" } else { ", though it asked before" };
        let message = format!("the wall is not in force: Codex went ahead without asking{asked}: `{what}`");
        Failure::new(Class::Sandbox, message).fix("set `runtime: codex-exec`")
    }
}

/// The first request. The extended protocol has the list of running commands.
pub(super) fn initialize() -> Value {
    json!({
        "clientInfo": {"name": "git-orchestrator", "title": "git-orchestrator", "version": env!("CARGO_PKG_VERSION")},
        "capabilities": {"experimentalApi": true},
    })
}

/// The request that begins or continues a thread.
pub(super) fn thread(workspace: &str, resume: Option<&str>, is_rehearsal: bool) -> (&'static str, Value) {
    let mut params = json!({"cwd": workspace, "approvalPolicy": wall::ASKS, "approvalsReviewer": "user"});
    if is_rehearsal && let Some(params) = params.as_object_mut() {
        params.insert("model".to_owned(), REHEARSAL.into());
        params.insert("modelProvider".to_owned(), REHEARSAL.into());
    }
    match (resume, params.as_object_mut()) {
        (Some(thread), Some(object)) => {
            object.insert("threadId".to_owned(), thread.into());
            object.insert("excludeTurns".to_owned(), true.into());
            ("thread/resume", params)
        }
        _ => ("thread/start", params),
    }
}

fn denied(rule: &str, reason: &str) -> Decision {
    Decision { verdict: Verdict::Deny, rule: rule.to_owned(), reason: reason.to_owned() }
}

fn refused(what: Sent, message: &str) -> Option<Failure> {
    let shown = text::clipped(&text::one_line(message), 240).into_owned();
    let begun = match what {
        // What is only told or looked up may come too late.
        Sent::Terminals | Sent::Other => return None,
        Sent::Thread if message.contains("no rollout found") => {
            return Some(Failure::new(Class::Protocol, "Codex no longer has the thread that was to be continued"));
        }
        Sent::Initialize => "the connection",
        Sent::Thread => "the thread",
        Sent::Turn => "the turn",
    };
    Some(Failure::new(Class::Protocol, format!("Codex refused to begin {begun}: {shown}")).fix("codex doctor"))
}
