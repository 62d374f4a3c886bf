//! Whether a turn can be run here, and whether it would be asked about everything: the probe of `codex-exec`, and a real
//! handshake without a model.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, BufReader};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;

use super::{server, session, wall};
use crate::runtime::codex_exec::classify::died;
use crate::runtime::codex_exec::command_line::{Call, rehearsal};
use crate::runtime::codex_exec::config::{self, Config};
use crate::runtime::codex_exec::probe::{Ready, described, ready};
use crate::runtime::codex_exec::profile::Confinement;
use crate::runtime::codex_exec::program::{SHORT_CALL, Version};
use crate::runtime::codex_exec::turn::{LINE_BYTES, read_line};
use crate::runtime::{Capabilities, Class, Environment, Failure, SandboxProfile};
use crate::text;

/// What to do where this Codex does not ask: the other runtime does not need it to.
const OTHER: &str = "set `runtime: codex-exec`";

pub(super) async fn probe(
    environment: &Environment,
    sandbox: &SandboxProfile,
    directory: &Path,
) -> Result<Capabilities, Failure> {
    let Ready { program, version, environment, confinement } = ready(environment, sandbox, directory).await?;
    let profile = can_ask(version, &confinement, &environment)?;
    let config = Config::read(&environment)?;
    let call = Call {
        version,
        workspace: directory,
        schema: None,
        sandbox,
        mcp_servers: config.mcp_servers(),
        skills: BTreeSet::new(),
        resume: None,
        rehearsal: rehearsal(&environment)?,
        confinement: &confinement,
        guard: &server::no_hooks(),
    };
    let mut server = server::Server::start(None, &program, &call, &environment)?;
    let shaken = timeout(SHORT_CALL, shake_hands(&mut server, &call, profile)).await;
    let ended = server.end(false).await;
    let shaken = shaken.unwrap_or_else(|_| {
        let limit = text::duration(SHORT_CALL);
        Err(Failure::new(Class::Stalled, format!("`codex app-server` did not answer within {limit}")))
    });
    let status = ended?;
    if !shaken? {
        let (code, signal) = (status.and_then(|s| s.code()), status.and_then(|s| s.signal()));
        return Err(died(code, signal, "", None));
    }
    Ok(Capabilities {
        version: version.to_string(),
        resumes: true,
        asks: true,
        sandbox: format!("{}; each command and patch asked for", described(&confinement, sandbox)),
        hides: true,
    })
}

/// Whether this Codex, with what the person gave it, asks about every command. The name of the profile that keeps what is
/// allowed inside.
pub(super) fn can_ask<'a>(
    version: Version,
    confinement: &'a Confinement,
    environment: &Environment,
) -> Result<&'a str, Failure> {
    if !version.asks_for_every_command() {
        let message = format!("Codex {version} does not ask before every command");
        return Err(Failure::new(Class::Missing, message).fix(crate::runtime::codex_exec::INSTALL));
    }
    match wall::own_rules(config::home(environment).as_deref()) {
        None => confinement.profile().ok_or_else(|| {
            // In a plain mode what was allowed is executed once more outside when the sandbox stops it.
            let message =
                format!("Codex {version} knows no permission profile here, which what is allowed has to stay in");
            Failure::new(Class::Missing, message).fix(OTHER)
        }),
        Some(rules) => {
            let rules = text::one_line(&rules.display().to_string());
            let message = format!("by the rules in `{rules}` Codex executes commands without asking");
            Err(Failure::new(Class::Missing, message).fix(OTHER))
        }
    }
}

/// Begins a thread that leaves nothing behind, and looks at what it would do. `false`: the server ended before it said.
async fn shake_hands(server: &mut server::Server, call: &Call<'_>, profile: &str) -> Result<bool, Failure> {
    let Some(mut stdout) = server.stdout.take() else {
        return Err(Failure::new(Class::Internal, "Codex has no output to read"));
    };
    let workspace = call.workspace.to_str().unwrap_or_default();
    let (method, mut thread) = session::thread(workspace, None, call.rehearsal.is_some());
    if let Some(thread) = thread.as_object_mut() {
        thread.insert("ephemeral".to_owned(), true.into());
    }
    let (out, messages) = unbounded_channel();
    let all = [
        json!({"id": 1, "method": "initialize", "params": session::initialize()}),
        json!({"method": "initialized"}),
        json!({"id": 2, "method": method, "params": thread}),
    ];
    for message in all {
        out.send(message).ok();
    }
    let feed = server::feed(server.stdin.take(), messages);
    let answered = answer(&mut stdout, 2);
    tokio::pin!(feed, answered);
    let answer = tokio::select! {
        answer = &mut answered => answer,
        // The channel is open until here, so this is a server that is gone: its output ends as well.
        () = &mut feed => answered.await,
    };
    drop(out);
    let Some(answer) = answer else { return Ok(false) };
    if let Some(error) = answer.get("error") {
        let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
        let message = text::clipped(&text::one_line(message), 240).into_owned();
        return Err(
            Failure::new(Class::Missing, format!("Codex does not begin a thread that asks: {message}")).fix(OTHER)
        );
    }
    wall::check(answer.get("result").unwrap_or(&Value::Null), call.sandbox, profile)?;
    Ok(true)
}

/// The answer to the request of this id, if the server lives to give it.
async fn answer(stdout: &mut BufReader<impl AsyncRead + Unpin>, id: u64) -> Option<Value> {
    let mut line = Vec::new();
    loop {
        let room = LINE_BYTES.saturating_sub(line.len() as u64);
        let count = read_line(stdout, room, &mut line).await.unwrap_or(0);
        if count == 0 {
            return None;
        }
        if line.ends_with(b"\n") {
            let message: Value = serde_json::from_slice(&line).unwrap_or_default();
            if message.get("id").and_then(Value::as_u64) == Some(id) && message.get("method").is_none() {
                return Some(message);
            }
            line.clear();
        }
    }
}
