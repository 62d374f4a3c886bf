//! Every tool call of a turn is put to the gatekeeper before Codex carries it out.
//!
//! `codex exec` does not ask anybody; its hooks do. Two hooks are given to it for this one call ([`hooks`]): before each
//! tool call, and before the prompt is sent, Codex runs our hidden command ([`ask`]), which puts what it was told on a
//! socket of the turn ([`socket`]) and waits. The answer comes from the turn's gatekeeper, and no answer is a refusal.
//!
//! Hooks let a command through wherever they fail, and a version that does not know them says nothing. So the guard
//! trusts nothing it has not seen: the question about the prompt has to arrive before the model says its first word, and
//! whatever Codex reports as begun must have been allowed before. Otherwise the turn ends at once.

mod ask;
mod hooks;
mod patch;
mod question;
mod socket;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

pub use self::ask::{ASK_COMMAND, ask};
use self::patch::Top;
use self::question::Question;
use self::socket::{Asked, Socket};
use super::config::Config;
use super::program::Version;
use super::rollout::Input;
use crate::policy::gatekeeper::Verdict;
use crate::policy::{Action, Decision};
use crate::runtime::{Activity, Class, Environment, Failure, Turn};
use crate::text;

/// The guard of one turn.
#[derive(Debug)]
pub(super) struct Guard {
    socket: Socket,
    version: Version,
    settings: Vec<String>,
    top: Top,
    /// Hooks that run beside ours and that nobody but the machine's administrator can switch off.
    managed: Option<PathBuf>,
    /// The question about the prompt came: hooks are in force.
    has_begun: bool,
    /// The lines that were allowed and have not begun.
    lines: Vec<String>,
    /// The files that patches were allowed to change.
    files: BTreeSet<PathBuf>,
    /// The other tools that were allowed.
    tools: BTreeSet<String>,
}

impl Guard {
    /// Begins to listen. Codex is to be started with [`Guard::settings`].
    pub(super) fn new(
        own_program: &Path,
        turn: &Turn<'_>,
        version: Version,
        config: &Config,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let socket = Socket::open(turn.run_directory)?;
        let others = hooks::others(config, environment)?;
        let settings = hooks::settings(own_program, socket.directory(), &others)?;
        Ok(Self {
            socket,
            version,
            settings,
            top: Top::of(turn.workspace),
            managed: hooks::managed(config),
            has_begun: false,
            lines: Vec::new(),
            files: BTreeSet::new(),
            tools: BTreeSet::new(),
        })
    }

    /// What Codex is to be told, as `key=value` with the value in TOML.
    pub(super) fn settings(&self) -> &[String] {
        &self.settings
    }

    /// What the record should say of hooks that cannot be switched off.
    pub(super) fn remark(&self) -> Option<Activity> {
        let path = text::one_line(&self.managed.as_ref()?.display().to_string());
        Some(Activity::Warning { message: format!("hooks of {path} run beside the gate: they cannot be switched off") })
    }

    /// Waits for the next question. Cancel-safe.
    pub(super) async fn next(&mut self) -> Asked {
        self.socket.next().await
    }

    /// Answers, and says how much was read. Whatever was decided is in the record before Codex learns of it.
    pub(super) fn answer(&mut self, asked: Asked, turn: &mut Turn<'_>) -> u64 {
        let size = asked.size();
        match Question::of(&asked, &self.top) {
            Question::Prompt => {
                self.has_begun = true;
                asked.allow();
            }
            Question::Stranger => {
                let message = "a process that is not Codex's asked for leave to run something: not answered".to_owned();
                (turn.sink)(Activity::Warning { message });
            }
            Question::Unreadable { tool, reason } => {
                let decision = Decision { verdict: Verdict::Deny, rule: "unreadable".to_owned(), reason };
                self.conclude(asked, Action::Tool { name: tool }, decision, turn);
            }
            Question::Tool(action) => {
                let decision = turn.gatekeeper.decide(&action);
                self.conclude(asked, action, decision, turn);
            }
        }
        size
    }

    fn conclude(&mut self, asked: Asked, action: Action, decision: Decision, turn: &mut Turn<'_>) {
        let answer = match decision.verdict {
            Verdict::Allow => None,
            Verdict::Deny => Some(format!("The policy does not allow this ({}): {}", decision.rule, decision.reason)),
            Verdict::Escalate => Some(format!(
                "Refused for now, a person is asked ({}): {}. Go on without it, or end your answer saying what you \
                 needed",
                decision.rule, decision.reason
            )),
        };
        if answer.is_none() {
            self.grant(&action);
        }
        (turn.sink)(Activity::Decided { action, decision });
        match answer {
            None => asked.allow(),
            Some(reason) => asked.deny(&reason),
        }
    }

    fn grant(&mut self, action: &Action) {
        match action {
            Action::Command { line, .. } => self.lines.push(line.clone()),
            Action::Patch { paths } => {
                self.files.extend(paths.iter().map(PathBuf::from));
            }
            Action::Tool { name } => {
                self.tools.insert(name.clone());
            }
            // There is no question about it, so nothing to let through.
            Action::Input { .. } => {}
        }
    }

    /// Whether what Codex reports could only happen behind the gate's back.
    pub(super) fn objection(&mut self, activity: &Activity) -> Option<Failure> {
        let acts = match activity {
            Activity::ThreadStarted { .. }
            | Activity::TurnStarted
            | Activity::Decided { .. }
            | Activity::Warning { .. }
            | Activity::Retrying { .. }
            | Activity::TurnFailed { .. }
            | Activity::Unknown { .. } => return None,
            Activity::CommandStarted { command, .. } if !self.take_line(command) => Some(format!("`{command}`")),
            Activity::PatchStarted { changes, .. } if !self.covers(changes.iter().map(|c| c.path.as_str())) => {
                Some("a patch".to_owned())
            }
            Activity::ToolStarted { server, tool, .. } if !self.tools.contains(&format!("mcp__{server}__{tool}")) => {
                Some(format!("the tool `{tool}` of `{server}`"))
            }
            Activity::SubAgent { tool, .. } if !self.tools.contains(tool) => Some(format!("`{tool}`")),
            Activity::Message { .. }
            | Activity::Reasoning { .. }
            | Activity::CommandStarted { .. }
            | Activity::CommandFinished { .. }
            | Activity::PatchStarted { .. }
            | Activity::PatchFinished { .. }
            | Activity::ToolStarted { .. }
            | Activity::ToolFinished { .. }
            | Activity::Searched { .. }
            | Activity::SubAgent { .. }
            | Activity::Todos { .. }
            | Activity::TurnFinished { .. } => None,
        };
        let version = self.version;
        let message = match acts {
            _ if !self.has_begun => format!(
                "the hook that holds commands to the policy is not in force in Codex {version} as it is set up here"
            ),
            Some(what) => {
                let what = super::classify::shown(&what);
                format!("Codex {version} began {what} without leave: the hook that holds it to the policy did not run")
            }
            None => return None,
        };
        Some(Failure::new(Class::Sandbox, message).fix(super::INSTALL))
    }

    /// Records what the model wanted typed into running processes. Nobody is asked about it beforehand: it is switched
    /// off, and a turn in which it went through all the same is worth nothing.
    pub(super) fn inputs(&self, inputs: Vec<Input>, turn: &mut Turn<'_>) -> Option<Failure> {
        let mut failure = None;
        for Input { text, has_reached } in inputs {
            let action = Action::Input { text };
            let decision = turn.gatekeeper.decide(&action);
            if has_reached && decision.verdict != Verdict::Allow {
                let message = format!("Codex {} let the model type into a running process", self.version);
                failure = Some(Failure::new(Class::Sandbox, message).fix(super::INSTALL));
            }
            (turn.sink)(Activity::Decided { action, decision });
        }
        failure
    }

    fn take_line(&mut self, line: &str) -> bool {
        let Some(at) = self.lines.iter().position(|allowed| allowed == line) else { return false };
        self.lines.swap_remove(at);
        true
    }

    fn covers<'a>(&mut self, mut paths: impl Iterator<Item = &'a str>) -> bool {
        let top = &self.top;
        if paths.all(|path| self.files.contains(&top.named(&patch::absolute(Path::new(path), &top.name)))) {
            return true;
        }
        // A patch in the shape of a command was put to the gatekeeper as that command.
        let applies = |line: &String| {
            let mut words = line.split_whitespace();
            let first = words.next().filter(|first| *first != "cd").or_else(|| words.nth(2));
            first.is_some_and(|word| ["apply_patch", "applypatch"].contains(&word))
        };
        let command = self.lines.iter().position(applies);
        command.map(|at| self.lines.swap_remove(at)).is_some()
    }
}

/// Whether a shell would do something else, because of this variable, before or instead of what it is told. No sandbox
/// holds the shell that runs hooks, and a hook that it does not run is one that agrees.
pub(super) fn misleads_shell(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    ["BASH_ENV", "BASHOPTS", "ENV", "SHELLOPTS", "ZDOTDIR"].contains(&name.as_ref()) || name.starts_with("BASH_FUNC_")
}

#[cfg(test)]
mod tests;
