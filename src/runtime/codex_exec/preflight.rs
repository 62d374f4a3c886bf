//! Proof, before a run and without a model, that the sandbox holds: a shell in it tries what must fail and does what
//! must work, under the settings that the run's commands get.
//!
//! One call of `codex sandbox`, a tenth of a second. What the shell says is not believed where this side can look: a
//! file outside is looked for here, a connection is waited for here, a secret is a word that nobody could guess.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::Path;

use super::classify::{shown, telling_line};
use super::command_line::quoted;
use super::probe::{SANDBOX_FIX, unanswered};
use super::profile::{self, Confinement};
use super::program::{Program, SHORT_CALL, Version};
use crate::policy::SandboxMode;
use crate::process;
use crate::runtime::{Class, Environment, Failure, SandboxProfile};

/// `$1` a path outside to write to, `$2` a file with a secret, `$3` the port of a listener of ours, `$4` what the role
/// may write, `$5` its temporary directory, `$6` whether what is not listed is hidden; the rest: the person's credentials. Says `read:…` and `wrote:…` where it
/// should not be able to, and `works` at the end.
const SCRIPT: &str = r#"
PATH=/usr/bin:/bin:/run/current-system/sw/bin
outside=$1 secret=$2 port=$3 mode=$4 temporary=$5 hides=$6
shift 6
{ echo x > "$outside"; } 2>/dev/null
cat "$secret" 2>/dev/null
echo
if [ -x /bin/bash ]; then /bin/bash -c ": > /dev/tcp/127.0.0.1/$port" 2>/dev/null; fi
for file in "$@"; do
  if [ -d "$file" ]; then ls "$file"/* >/dev/null 2>&1 && echo "read:$file"
  else cat "$file" >/dev/null 2>&1 && echo "read:$file"; fi
done
{ true >> .git; } 2>/dev/null && [ -f .git ] && echo "wrote:.git"
[ -d .git ] && mkdir .git/orchestrator-preflight 2>/dev/null && rmdir .git/orchestrator-preflight && echo "wrote:.git"
ls . >/dev/null || exit 3
if [ "$mode" = workspace-write ]; then
  [ "$hides" = yes ] && { true >> triggers.yaml; } 2>/dev/null && echo "wrote:triggers.yaml"
  mkdir "$temporary/orchestrator-preflight" && rmdir "$temporary/orchestrator-preflight" || exit 4
  mkdir .orchestrator-preflight && rmdir .orchestrator-preflight || exit 5
else
  mkdir .orchestrator-preflight 2>/dev/null && rmdir .orchestrator-preflight && echo "wrote:."
fi
echo works
"#;

/// Tries the sandbox out in `directory`. The confinement returned is the one that was proved.
pub(super) async fn prove(
    program: &Program,
    version: Version,
    environment: &Environment,
    sandbox: &SandboxProfile,
    directory: &Path,
) -> Result<Confinement, Failure> {
    let confinement = Confinement::of(version, program, directory, sandbox, environment)?;
    match attempt(&confinement, program, version, environment, sandbox, directory).await? {
        Ok(()) => Ok(confinement),
        // A wrapper started another program, which has to be shown too.
        Err(said) if profile::learn(program, &said) => {
            let confinement = Confinement::of(version, program, directory, sandbox, environment)?;
            let again = attempt(&confinement, program, version, environment, sandbox, directory).await?;
            again.map(|()| confinement).map_err(|said| unusable(&said))
        }
        Err(said) => Err(unusable(&said)),
    }
}

fn unusable(said: &str) -> Failure {
    let said = shown(telling_line(said));
    let system = if cfg!(target_os = "linux") { " (it needs unprivileged user namespaces)" } else { "" };
    Failure::new(Class::Sandbox, format!("Codex's sandbox does not work here{system}: {said}")).fix(SANDBOX_FIX)
}

/// What it said where it could not be used at all.
async fn attempt(
    confinement: &Confinement,
    program: &Program,
    version: Version,
    environment: &Environment,
    sandbox: &SandboxProfile,
    directory: &Path,
) -> Result<Result<(), String>, Failure> {
    let internal = |what: &str, error: &std::io::Error| {
        Failure::new(Class::Internal, format!("the sandbox cannot be tried out: {what}: {error}"))
    };
    // Where a run may write nothing: neither below its workspace nor below its own temporary directory.
    let canary = tempfile::tempdir().map_err(|error| internal("no temporary directory", &error))?;
    let word = uuid::Uuid::now_v7().simple().to_string();
    let (outside, secret) = (canary.path().join("outside"), canary.path().join("secret"));
    crate::files::write(&secret, word.as_bytes()).map_err(|error| Failure::new(Class::Internal, error.chain()))?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| internal("no port", &error))?;
    listener.set_nonblocking(true).map_err(|error| internal("no port", &error))?;
    let port = listener.local_addr().map_err(|error| internal("no port", &error))?.port().to_string();

    let mut own: Vec<OsString> = vec!["--".into(), "/bin/sh".into(), "-c".into(), SCRIPT.into(), "sh".into()];
    own.extend([outside.clone().into(), secret.into(), port.into()]);
    own.extend([sandbox.mode.as_str().into(), sandbox.temporary.clone().into()]);
    let hides = confinement.profile().is_some();
    own.push(if hides { "yes" } else { "no" }.into());
    own.extend(confinement.secrets().map(OsString::from));
    let mut said = String::new();
    for form in version.sandbox_forms() {
        let mut arguments: Vec<OsString> = vec!["sandbox".into()];
        arguments.extend(form.iter().map(OsString::from));
        let mode = confinement.mode().map(|mode| format!("sandbox_mode={}", quoted(mode.as_str())));
        for setting in confinement.settings().iter().cloned().chain(mode) {
            arguments.extend(["-c".into(), setting.into()]);
        }
        arguments.extend(own.iter().cloned());
        let answer = process::capture(&program.path, &arguments, directory, environment, SHORT_CALL).await;
        let answer = answer.map_err(|error| unanswered("codex sandbox", &error))?;
        let output = String::from_utf8_lossy(&answer.stdout);
        if outside.exists() {
            return Err(leaks("write outside of its workspace"));
        }
        if let Some(file) = output.lines().find_map(|line| line.strip_prefix("wrote:")) {
            return Err(leaks(&format!("change {}", shown(file))));
        }
        if hides && output.contains(&word) {
            return Err(leaks("read a file that is not listed"));
        }
        if let Some(file) = output.lines().find_map(|line| line.strip_prefix("read:")) {
            return Err(leaks(&format!("read {}", shown(file))));
        }
        if !sandbox.network && listener.accept().is_ok() {
            return Err(leaks("reach the network"));
        }
        if answer.status.success() && output.lines().any(|line| line == "works") {
            return Ok(Ok(()));
        }
        said = String::from_utf8_lossy(&answer.stderr).into_owned();
        if said.trim().is_empty() {
            let what = if sandbox.mode == SandboxMode::WorkspaceWrite { "read and write" } else { "read" };
            said = format!("a command in it cannot {what} where it should");
        }
    }
    Ok(Err(said))
}

fn leaks(what: &str) -> Failure {
    let message = format!("Codex's sandbox does not hold here: a command in it can {what}");
    Failure::new(Class::Sandbox, message).fix("codex doctor")
}
