//! Whether a turn can be run here: Codex is there, its sandbox works, and somebody is logged in.
//!
//! Three short calls without a model, a few hundredths of a second together. Codex itself finds out about each of these
//! only in the middle of a turn: without a sandbox every command fails and the turn still succeeds, without a login
//! requests are sent and refused for twelve seconds.

use std::io;
use std::path::Path;

use super::command_line::rehearsal;
use super::config::{Config, Login, home, variable};
use super::preflight;
use super::profile::Confinement;
use super::program::{Program, SHORT_CALL, Version};
use super::surroundings;
use crate::process;
use crate::process::bounds::holders;
use crate::runtime::{Capabilities, Class, Environment, Failure, SandboxProfile};
use crate::text;

/// What to install where Codex's sandbox finds no user namespaces.
pub(super) const SANDBOX_FIX: &str = if cfg!(target_os = "linux") {
    "sudo sysctl -w kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0 user.max_user_namespaces=15000"
} else {
    "codex doctor"
};

pub(super) async fn probe(
    environment: &Environment,
    sandbox: &SandboxProfile,
    directory: &Path,
) -> Result<Capabilities, Failure> {
    let Ready { version, confinement, .. } = ready(environment, sandbox, directory).await?;
    version.check_guarded()?;
    Ok(Capabilities {
        version: version.to_string(),
        resumes: true,
        asks: true,
        sandbox: described(&confinement, sandbox),
        hides: confinement.profile().is_some(),
    })
}

/// What confines commands, and what holds their limits, in a few words.
pub(in crate::runtime) fn described(confinement: &Confinement, sandbox: &SandboxProfile) -> String {
    format!("{}; {}", confinement.described(sandbox.mode), holders().described())
}

/// A Codex that was looked at.
pub(in crate::runtime) struct Ready {
    /// The program.
    pub(in crate::runtime) program: Program,
    /// Its version.
    pub(in crate::runtime) version: Version,
    /// The environment to start it with.
    pub(in crate::runtime) environment: Environment,
    /// What was proved to confine its commands.
    pub(in crate::runtime) confinement: Confinement,
}

/// Looks at everything.
pub(in crate::runtime) async fn ready(
    environment: &Environment,
    sandbox: &SandboxProfile,
    directory: &Path,
) -> Result<Ready, Failure> {
    let program = Program::find(environment)?;
    let environment = program.environment(environment);
    let version = program.version(&surroundings::allowed(&environment, None), directory).await?;
    check_home(&environment)?;
    let config = Config::read(&environment)?;
    let environment = surroundings::allowed(&environment, Some(&config));
    let (sandboxed, logged_in) = tokio::join!(
        preflight::prove(&program, version, &environment, sandbox, directory),
        check_login(&program, &config, &environment, directory)
    );
    let confinement = sandboxed?;
    logged_in?;
    Ok(Ready { program, version, environment, confinement })
}

/// Codex refuses a directory of its own that is not there, and its sandbox cannot start a command where that directory
/// lies below the temporary one.
fn check_home(environment: &Environment) -> Result<(), Failure> {
    let Some(home) = home(environment) else {
        return Err(Failure::new(Class::Internal, "neither HOME nor CODEX_HOME is set, so Codex finds no home"));
    };
    let shown = text::one_line(&home.display().to_string());
    let Ok(real) = home.canonicalize() else {
        if variable(environment, "CODEX_HOME").is_none() {
            // Codex creates its usual place itself.
            return Ok(());
        }
        let missing = Failure::new(Class::Protocol, format!("CODEX_HOME names `{shown}`, which does not exist"));
        return Err(missing.fix(match shlex::try_quote(&shown) {
            Ok(quoted) => format!("mkdir -p {quoted}"),
            Err(_) => "unset CODEX_HOME".to_owned(),
        }));
    };
    let temporary = variable(environment, "TMPDIR").map_or(Path::new("/tmp"), Path::new);
    if temporary.canonicalize().is_ok_and(|temporary| real.starts_with(temporary)) {
        let message = format!("CODEX_HOME `{shown}` lies below the temporary directory, where Codex's sandbox fails");
        return Err(Failure::new(Class::Sandbox, message).fix("unset CODEX_HOME"));
    }
    Ok(())
}

async fn check_login(
    program: &Program,
    config: &Config,
    environment: &Environment,
    directory: &Path,
) -> Result<(), Failure> {
    if rehearsal(environment)?.is_some() {
        return Ok(());
    }
    match config.login() {
        Login::None => Ok(()),
        Login::Variable(name) if variable(environment, name).is_some() => Ok(()),
        Login::Variable(name) => {
            let name = text::one_line(name);
            Err(Failure::new(Class::Auth, format!("the model provider wants its key in {name}, which is not set"))
                .fix(format!("export {name}=…")))
        }
        Login::OpenAi if variable(environment, "CODEX_API_KEY").is_some() => Ok(()),
        Login::OpenAi => {
            let arguments = ["login".into(), "status".into()];
            match process::capture(&program.path, &arguments, directory, environment, SHORT_CALL).await {
                Ok(answer) if answer.status.success() => Ok(()),
                Ok(_) => Err(Failure::new(Class::Auth, "nobody is logged in to Codex").fix(super::LOGIN)),
                Err(error) => Err(unanswered("codex login status", &error)),
            }
        }
    }
}

pub(super) fn unanswered(call: &str, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::TimedOut {
        let limit = text::duration(SHORT_CALL);
        return Failure::new(Class::Stalled, format!("`{call}` did not answer within {limit}"));
    }
    Failure::new(Class::Crashed, format!("`{call}` cannot be run: {error}"))
}
