//! `policy check`: what the allow-list says of a command line, without running anything.

use std::io::{self, BufRead as _, Read as _};
use std::path::Path;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::effective::Sources;
use crate::cli::ui::{DIM, GREEN, RED, Ui, YELLOW};
use crate::cli::world;
use crate::error::{Context as _, Error, Kind, Result};
use crate::policy::Commands;
use crate::policy::gatekeeper::{Decision, Verdict};
use crate::role::Role;
use crate::text;

/// Say whether a role may run a command line
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The role whose commands are asked
    #[arg(long, default_value = "tester", conflicts_with = "jsonl")]
    role: String,
    /// Read one JSON object a line, {"id", "cmd", "allow": ["git status", …]}, and write one decision for each
    #[arg(long)]
    jsonl: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "jsonl")]
    json: bool,
    /// The command line, as a shell would get it
    #[arg(value_name = "LINE", required_unless_present = "jsonl", conflicts_with = "jsonl", trailing_var_arg = true)]
    line: Vec<String>,
}

/// The longest line of JSON that is read, in bytes; a longer one is denied.
const JSON_LINE_BYTES_MAX: u64 = 1 << 20;

/// Asks.
pub(super) fn execute(ui: &mut Ui, args: &Args) -> Result<ExitCode> {
    if args.jsonl { check_lines(ui) } else { check(ui, args) }
}

/// Exit code 0 for what is allowed, 3 for everything else.
fn check(ui: &mut Ui, args: &Args) -> Result<ExitCode> {
    let [line] = args.line.as_slice() else {
        return Err(Error::usage("the command line has to be one word to this shell")
            .hint("git orchestrator policy check -- 'git log | head'"));
    };
    let decision = commands_of(&args.role)?.judge(line);
    if args.json {
        ui.json(&json!({
            "schema": 1,
            "role": args.role,
            "cmd": line,
            "decision": decision.verdict,
            "rule": decision.rule,
            "reason": decision.reason,
        }))?;
    } else {
        let (style, word) = match decision.verdict {
            Verdict::Allow => (GREEN, "allow"),
            Verdict::Deny => (RED, "deny"),
            Verdict::Escalate => (YELLOW, "escalate"),
        };
        let rule = text::one_line(&decision.rule);
        ui.line(format!("{style}{word}{style:#} · {rule}"))?;
        ui.line(format!("{DIM}{}{DIM:#}", text::one_line(&decision.reason)))?;
    }
    let refused = decision.verdict != Verdict::Allow;
    Ok(ExitCode::from(if refused { Kind::Refused.exit_code() } else { 0 }))
}

/// What this role may run here, in a workspace like this worktree.
fn commands_of(name: &str) -> Result<Commands> {
    let role = Role::find(name)?;
    let commands = Commands::new(&Sources::here()?.of(role).commands);
    let worktree = world::repository_here().ok().and_then(|repository| Some(repository.worktree()?.to_owned()));
    Ok(match worktree.as_deref().and_then(Path::to_str) {
        Some(root) => commands.within(root),
        None => commands,
    })
}

/// One question.
#[derive(Deserialize)]
struct Question {
    #[serde(default)]
    id: Value,
    cmd: String,
    allow: Vec<String>,
}

/// One answer, in the order of its keys.
#[derive(Serialize)]
struct Answer {
    id: Value,
    decision: Verdict,
    rule: String,
    reason: String,
}

/// One decision for each line read, in order, whatever the line holds.
fn check_lines(ui: &mut Ui) -> Result<ExitCode> {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    // Questions of one list come one after another.
    let mut last: Option<(Vec<String>, Commands)> = None;
    loop {
        line.clear();
        let read = input.by_ref().take(JSON_LINE_BYTES_MAX + 1).read_until(b'\n', &mut line);
        if read.context(|| "cannot read standard input")? == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        let is_cut = line.len() as u64 > JSON_LINE_BYTES_MAX && line.last() != Some(&b'\n');
        if is_cut {
            skip_line(&mut input)?;
        }
        let (id, decision) = match serde_json::from_slice::<Question>(&line) {
            Ok(question) if !is_cut => {
                if last.as_ref().is_none_or(|(allow, _)| *allow != question.allow) {
                    last = Some((question.allow.clone(), Commands::new(&question.allow)));
                }
                let decision = last.as_ref().map(|(_, commands)| commands.judge(&question.cmd));
                (question.id, decision.unwrap_or_else(unreadable))
            }
            // The id is given back where there is one, so that the answer can be told.
            _ => {
                let id = serde_json::from_slice::<Value>(&line).ok().and_then(|value| value.get("id").cloned());
                (id.unwrap_or(Value::Null), unreadable())
            }
        };
        let Decision { verdict, rule, reason } = decision;
        let answer = Answer { id, decision: verdict, rule, reason };
        ui.line(serde_json::to_string(&answer).context(|| "cannot write an answer")?)?;
    }
}

fn skip_line(input: &mut io::StdinLock<'_>) -> Result<()> {
    loop {
        let buffer = input.fill_buf().context(|| "cannot read standard input")?;
        let (used, ended) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(used);
        if ended {
            return Ok(());
        }
    }
}

fn unreadable() -> Decision {
    Decision {
        verdict: Verdict::Deny,
        rule: "unreadable".to_owned(),
        reason: "the line is no object with `cmd` and `allow`".to_owned(),
    }
}
