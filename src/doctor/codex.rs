//! Codex: there, of a version that works, with a sandbox and somebody logged in. Asked through the runtime's own probe,
//! so that what is said here is what a run would meet.

use std::collections::BTreeMap;

use super::{Finding, Level, Place, Section};
use crate::policy::SandboxMode;
use crate::runtime::codex_app_server::CodexAppServer;
use crate::runtime::codex_exec::{CodexExec, Program, Version};
use crate::runtime::registry::{self, Chosen};
use crate::runtime::{Class, Failure, SandboxProfile};
use crate::triggers::{RowAction, Table};

const SECTION: Section = Section::Codex;

pub(super) fn look(place: &Place<'_>, table: Option<&Table>) -> Vec<Finding> {
    // A table that starts nothing through Codex does not need it.
    let worst = if table.is_none_or(needs_codex) { Level::Problem } else { Level::Note };
    let found = match Program::find(place.environment) {
        Ok(program) => program,
        Err(failure) => return vec![of_failure(worst, "codex-missing", &failure)],
    };
    let runtimes = registry::candidates(registry::CODEX, place.own_program);
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (Ok(runtimes), Ok(executor)) = (runtimes, executor) else {
        return vec![
            Finding::new(SECTION, worst, "codex-unknown", "Codex could not be asked: nothing can be started here")
                .command("codex doctor"),
        ];
    };
    let sandbox = SandboxProfile {
        mode: SandboxMode::ReadOnly,
        network: false,
        temporary: place.directory.to_owned(),
        readable: Vec::new(),
        command_environment: BTreeMap::new(),
    };
    // Each call it makes has a limit of its own, after which it is killed with all it started.
    let probed = executor.block_on(registry::choose(runtimes, place.environment, &sandbox, place.directory));
    match probed {
        Ok(Chosen { capabilities, passed_over, .. }) => {
            let is_rehearsal = registry::is_rehearsal(place.environment);
            let login = if is_rehearsal { "it asks a scripted model" } else { "login or key is there" };
            let message = format!("Codex {} at {}, the sandbox works, {login}", capabilities.version, shown(&found));
            let mut findings = vec![Finding::new(SECTION, Level::Ok, "codex-works", message)];
            if !capabilities.hides {
                // A person who only has this Codex has to know what they let in for.
                let message = format!(
                    "Codex {} hides nothing from the commands of a run: they can read every file that you can, your keys \
                     and Codex's own login (auth.json) included, and what they print goes to the model",
                    capabilities.version
                );
                findings.push(
                    Finding::new(SECTION, Level::Warning, "codex-hides-nothing", message)
                        .action("use Codex 0.169 or newer on Linux, or let runs start in a container"),
                );
            }
            if let Some(why_not) = passed_over.values().next() {
                let message = format!("runs use codex-exec, which cannot ask before each command: {why_not}");
                findings.push(
                    Finding::new(SECTION, Level::Note, "codex-does-not-ask", message)
                        .action("update Codex, or move its own rules away, to have each command asked for"),
                );
            }
            if Version::parse(&capabilities.version).is_some_and(Version::is_unmeasured) {
                let (found, newest) = (&capabilities.version, Version::NEWEST_MEASURED);
                let message =
                    format!("Codex {found} is newer than {newest}, the newest that this version was tried with");
                findings.push(
                    Finding::new(SECTION, Level::Note, "codex-newer", message)
                        .action("look at the first runs; a newer git-orchestrator may know more of it"),
                );
            }
            findings
        }
        Err(failure) => vec![of_failure(worst, code(failure.class), &failure)],
    }
}

fn needs_codex(table: &Table) -> bool {
    let is_codex = |runtime: &str| [registry::CODEX, CodexAppServer::NAME, CodexExec::NAME].contains(&runtime);
    let rows = table.triggers.iter().filter(|row| matches!(row.action, RowAction::Role(_)));
    let mut runtimes = rows.map(|row| row.runtime.as_deref().unwrap_or(&table.runtime)).peekable();
    runtimes.peek().is_none() || runtimes.any(is_codex)
}

fn code(class: Class) -> &'static str {
    match class {
        // It is there: `Program::find` said so before.
        Class::Missing => "codex-version",
        Class::Auth => "codex-login",
        Class::Sandbox => "codex-sandbox",
        Class::Stalled | Class::Timeout => "codex-slow",
        Class::Protocol | Class::Internal => "codex-setup",
        Class::Quota
        | Class::RateLimited
        | Class::Overloaded
        | Class::ContextTooLarge
        | Class::Network
        | Class::Output
        | Class::Crashed
        | Class::Cancelled => "codex-broken",
    }
}

fn of_failure(level: Level, code: &'static str, failure: &Failure) -> Finding {
    let finding = Finding::new(SECTION, level, code, failure.message.clone());
    match &failure.fix {
        Some(fix) => finding.command(fix.clone()),
        None => finding.command("codex doctor"),
    }
}

fn shown(program: &Program) -> String {
    crate::git::shown(&program.path)
}
