//! `hook NAME …`: what the shims call.
//!
//! Nothing on standard output, at most one line on standard error, exit code 0 whatever is wrong inside; but a closed
//! gate refuses, and says why.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use super::{notice, world};
use crate::dispatch::{self, Outcome};
use crate::error::{Error, Kind};
use crate::event::Hook;
use crate::git;
use crate::install::shim::FROM_TEMPLATE;
use crate::trust;

/// Dispatch one call of a git hook (called by the installed hooks)
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The hook's name and the arguments git gave it
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "NAME")]
    pub call: Vec<OsString>,
}

/// Dispatches; `call` is the hook's name and its arguments.
pub fn main(call: &[OsString]) -> ExitCode {
    if dispatch::is_silenced() {
        return ExitCode::SUCCESS;
    }
    // A gate is asked all the same: no variable that something left in the environment opens one.
    let hook = call.first().and_then(|name| dispatch::hook_named(name));
    if dispatch::is_inside_a_run() && hook != Some(Hook::PrePush) {
        if let Some((hook, arguments)) = hook.zip(call.get(1..)) {
            // It may not be possible there, and nobody is to hear of it.
            dispatch::remember(hook, arguments, &mut io::stdin().lock()).ok();
        }
        return ExitCode::SUCCESS;
    }
    if let Some((first, call)) = call.split_first()
        && first == FROM_TEMPLATE
    {
        return from_template(call);
    }
    let Some((name, arguments)) = call.split_first() else {
        say("git-orchestrator: `hook` needs the name of a git hook");
        return ExitCode::from(2);
    };
    let Some(hook) = dispatch::hook_named(name) else {
        if name == "--help" || name == "-h" {
            say("usage: git orchestrator hook NAME [ARGUMENTS]… (called by the installed hooks)");
            return ExitCode::SUCCESS;
        }
        // A shim of another version may name a hook that this one does not know: git goes on.
        say(&format!("git-orchestrator: the hook `{}` is not known", crate::text::one_line(&name.to_string_lossy())));
        return ExitCode::SUCCESS;
    };
    // Not where a gate decides, nor where a history is walked, which asks for one commit twice.
    if hook == Hook::PostCommit {
        git::read_once();
    }
    let outcome = world::own_program()
        .and_then(|own_program| dispatch::dispatch(hook, arguments, &mut io::stdin().lock(), &own_program));
    match outcome {
        Ok(Outcome::Nothing) => {}
        Ok(Outcome::Queued(notice)) => notice::say(&notice),
        Ok(Outcome::Refused(lines)) => {
            // Said whatever `GIT_ORCHESTRATOR_QUIET` holds: a push that fails without a word helps nobody.
            for line in lines {
                writeln!(io::stderr(), "{line}").ok();
            }
            return ExitCode::from(Kind::Refused.exit_code());
        }
        Err(error) if hook == Hook::PrePush && (error.kind() == Kind::Refused || has_gate()) => {
            writeln!(io::stderr(), "{}", complaint(&error)).ok();
            writeln!(io::stderr(), "git-orchestrator: a gate that cannot be asked is closed").ok();
            return ExitCode::from(Kind::Refused.exit_code());
        }
        Err(error) => say(&complaint(&error)),
    }
    ExitCode::SUCCESS
}

/// A hook that came with a new repository out of the person's template: nobody has installed here, so nothing starts.
/// Where there is a table, what to type is said, but not a hundred times in one rebase.
fn from_template(call: &[OsString]) -> ExitCode {
    if let Ok(repository) = world::repository_here()
        && let Ok(Some(_)) = dispatch::table_bytes(&repository)
        && git::sequence::replay_in(repository.git_directory()).is_none()
        && !call.is_empty()
    {
        say("git-orchestrator: there is a triggers.yaml here, and nothing starts by it · git orchestrator install");
    }
    ExitCode::SUCCESS
}

/// Whether one of the tables that are asked here may hold a gate, as far as can be told without reading them as YAML: it
/// may be what is broken. A table that is there and cannot be read may hold one.
fn has_gate() -> bool {
    let Ok(repository) = world::repository_here() else { return false };
    let speaks_of_gate = |line: &str| line.split('#').next().unwrap_or_default().contains("gate");
    let speaks = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().any(speaks_of_gate);
    let committed = || match repository.head()?.commit {
        Some(commit) => repository.blob_at(&commit, dispatch::TABLE.as_bytes(), dispatch::TABLE_BYTES_MAX),
        None => Ok(None),
    };
    let may = |table: crate::error::Result<Option<Vec<u8>>>| match table {
        Ok(bytes) => bytes.is_some_and(|bytes| speaks(&bytes)),
        Err(_) => true,
    };
    may(dispatch::table_bytes(&repository)) || may(Ok(trust::hook::accepted_table(&repository))) || may(committed())
}

/// The error on one line, with what to type.
fn complaint(error: &Error) -> String {
    let next = if error.rendered_excerpt().is_some() {
        "git orchestrator validate"
    } else {
        error.hints().first().map_or("git orchestrator status", String::as_str)
    };
    format!("git-orchestrator: {} · {}", crate::text::one_line(&error.chain()), crate::text::one_line(next))
}

fn say(line: &str) {
    if !notice::is_quiet() {
        writeln!(io::stderr(), "{line}").ok();
    }
}
