//! `demo`: the main job, from `install` to three artifacts, in a scratch repository and without an account.
//!
//! Real git, the real hooks and the real Codex CLI in its sandbox; only the model is a script, served by this process
//! on loopback. Where Codex is not installed, a minimal built-in runtime takes its place and the screen says so. What
//! people see here is what they get in their own repository, with `rehearsal` written on all of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::ui::{BOLD, CYAN, DIM, GREEN, Ui, YELLOW, state_style};
use super::world;
use crate::error::{Context as _, Error, Result};
use crate::files;
use crate::git::Repository;
use crate::install;
use crate::policy::SandboxMode;
use crate::process;
use crate::rehearsal::{Scripted, Server};
use crate::run::State;
use crate::runtime::registry;
use crate::runtime::{Environment, Failure, REHEARSAL_VARIABLE, SandboxProfile};
use crate::store::layout::Layout;
use crate::store::ledger::Ledger;
use crate::store::{Filter, Run, Store as _};
use crate::text;
use crate::trust::Store;

/// See the main job in a scratch repository, without an account
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to make the scratch repository; it must not exist, or be a former demo
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Use this runtime (codex, codex-app-server, codex-exec, built-in); by default Codex where it is installed
    #[arg(long, value_name = "NAME")]
    runtime: Option<String>,
}

/// Marks a directory as a demo's, so that the next one may replace it.
const MARK: &str = ".git-orchestrator-demo";

/// How long the scripted model takes for each thing it says on a terminal.
const PACE: Duration = Duration::from_millis(400);

/// Lines of an artifact that are shown; the file has the rest.
const LINES_SHOWN: usize = 24;

/// Plays it.
pub fn execute(ui: &mut Ui, args: &Args) -> Result<ExitCode> {
    let environment = process::clean_environment();
    if environment.contains_key(std::ffi::OsStr::new(process::RUN_MARKER)) {
        return Err(Error::refused("a run cannot start a demo"));
    }
    let directory = directory(args, &environment)?;
    let own_program = world::own_program()?;
    fresh(&directory)?;
    // A person follows at their own pace; a pipe does not.
    let model = if ui.out_is_terminal { Scripted::new().paced(PACE) } else { Scripted::new() };
    let server = Server::in_background(model)?;
    let stage = Stage::new(&directory, own_program, server.url(), environment);
    let (runtime, note) = choose_runtime(args, &stage)?;

    ui.line(format!("{BOLD}git-orchestrator demo{BOLD:#} · {YELLOW}rehearsal{YELLOW:#}: the model is a script; no account, no network"))?;
    ui.line(note)?;
    ui.line(format!("{DIM}scratch repository: {}{DIM:#}", text::one_line(&directory.join("repo").to_string_lossy())))?;

    stage.first_commit(ui, &runtime)?;
    stage.orchestrator(ui, &["install"])?;

    stage.write("docs/tasks/greet-by-name.md", TASK)?;
    let mut runs = stage.commit_and_wait(ui, "feat: task to greet people by name", "a task: planned, then checked")?;
    for (path, content) in stage.project.change() {
        stage.write(path, content)?;
    }
    runs.extend(stage.commit_and_wait(ui, "feat: greet people by name", "code: tested")?);
    finish(ui, &stage, &runs, &runtime)
}

fn directory(args: &Args, environment: &Environment) -> Result<PathBuf> {
    if let Some(directory) = &args.dir {
        return std::path::absolute(directory).context(|| "cannot tell where the demo is to be");
    }
    let path = |name: &str| environment.get(std::ffi::OsStr::new(name)).map(PathBuf::from).filter(|p| p.is_absolute());
    // Not below the temporary directory: Codex refuses to keep its helpers there, and every command would fail.
    let base = path("XDG_STATE_HOME").or_else(|| path("HOME").map(|home| home.join(".local/state")));
    base.map(|base| base.join("git-orchestrator").join("demo")).ok_or_else(|| {
        Error::failed("cannot tell where the demo is to be: HOME is not set").hint("give it with `--dir`")
    })
}

fn fresh(directory: &Path) -> Result<()> {
    if directory.exists() {
        if !directory.join(MARK).exists() {
            return Err(Error::refused(format!("{} exists and is no former demo", directory.display()))
                .hint("give another directory with `--dir`"));
        }
        std::fs::remove_dir_all(directory).context(|| format!("cannot remove {}", directory.display()))?;
    }
    files::create_directories(&directory.join("repo"))?;
    files::create_directories(&directory.join("codex-home"))?;
    files::write(&directory.join(MARK), b"")
}

/// The runtime and the sentence that says what it is.
fn choose_runtime(args: &Args, stage: &Stage) -> Result<(String, String)> {
    match args.runtime.as_deref() {
        Some(name) if !registry::NAMES.contains(&name) => {
            Err(Error::usage(format!("there is no runtime `{}`", text::one_line(name)))
                .hint(format!("the runtimes are {}", registry::NAMES.join(", "))))
        }
        Some(name) => Ok((name.to_owned(), format!("runtime: {name}, as asked for"))),
        None => match probe(stage)? {
            Ok(version) => {
                let note =
                    format!("runtime: the real {GREEN}Codex CLI {version}{GREEN:#} in its sandbox, asking that model");
                Ok((registry::CODEX.to_owned(), note))
            }
            Err(failure) => {
                let fix = failure.fix.map_or_else(String::new, |fix| format!("\n  to see the real one: {fix}"));
                let note = format!(
                    "runtime: {YELLOW}built-in{YELLOW:#}, in place of the Codex CLI: {}{fix}",
                    text::one_line(&failure.message)
                );
                Ok(("built-in".to_owned(), note))
            }
        },
    }
}

/// The version of the Codex CLI that works here, or why none does.
fn probe(stage: &Stage) -> Result<Result<String, Failure>> {
    let runtimes = registry::candidates(registry::CODEX, &stage.own_program)?;
    let sandbox = SandboxProfile {
        mode: SandboxMode::ReadOnly,
        network: false,
        temporary: stage.repository.clone(),
        readable: Vec::new(),
        command_environment: BTreeMap::new(),
    };
    let executor =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context(|| "cannot look for a runtime")?;
    let chosen = registry::choose(runtimes, &stage.environment, &sandbox, &stage.repository);
    Ok(executor.block_on(chosen).map(|chosen| chosen.capabilities.version))
}

/// The scratch repository's project: one that can be tested with what is installed.
#[derive(Clone, Copy)]
enum Project {
    Cargo,
    Make,
}

impl Project {
    fn first(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Cargo => &[
                ("Cargo.toml", "[package]\nname = \"hello\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
                (".gitignore", "/target/\nCargo.lock\n"),
                ("src/lib.rs", "/// Greets.\npub fn greet() -> String {\n    \"hello\".to_string()\n}\n"),
            ],
            Self::Make => &[
                ("Makefile", "test:\n\t@sh tests/run.sh\n"),
                ("src/greet.sh", "echo hello\n"),
                ("tests/run.sh", "test \"$(sh src/greet.sh)\" = hello && echo ok: greets\n"),
            ],
        }
    }

    fn change(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Cargo => &[("src/lib.rs", CARGO_CHANGE)],
            Self::Make => &[
                ("src/greet.sh", "echo \"hello${1:+, $1}\"\n"),
                (
                    "tests/run.sh",
                    "test \"$(sh src/greet.sh)\" = hello && echo ok: greets &&\ntest \"$(sh src/greet.sh Ada)\" = \"hello, Ada\" && echo ok: greets by name\n",
                ),
            ],
        }
    }
}

const TASK: &str = "# Greet people by name\n\n\
`greet` says \"hello\" to nobody in particular. It should greet a person by name.\n\n\
- With a name: `hello, Ada`.\n- With an empty name: `hello`, as today.\n- A test for each.\n";

const CARGO_CHANGE: &str = "/// Greets a person by name; nobody in particular where the name is empty.
pub fn greet(name: &str) -> String {
    if name.is_empty() {
        return \"hello\".to_string();
    }
    format!(\"hello, {name}\")
}

#[cfg(test)]
mod tests {
    use super::greet;

    #[test]
    fn greets_by_name() {
        assert_eq!(greet(\"Ada\"), \"hello, Ada\");
    }

    #[test]
    fn greets_nobody_in_particular() {
        assert_eq!(greet(\"\"), \"hello\");
    }
}
";

/// The scratch repository and the environment everything in it runs with.
struct Stage {
    repository: PathBuf,
    own_program: PathBuf,
    environment: Environment,
    project: Project,
    state_home: PathBuf,
}

impl Stage {
    fn new(directory: &Path, own_program: PathBuf, url: &str, mut environment: Environment) -> Self {
        let project =
            if process::find_program("cargo", &environment).is_some() { Project::Cargo } else { Project::Make };
        let mut set = |name: &str, value: OsString| environment.insert(name.into(), value);
        set(REHEARSAL_VARIABLE, url.into());
        // The person's own Codex configuration has no part in a rehearsal.
        set("CODEX_HOME", directory.join("codex-home").into());
        // What is accepted here is accepted for the demo alone.
        let state_home = directory.join("state");
        set("XDG_STATE_HOME", state_home.clone().into());
        // Nor has their git configuration: a signing key or a template would make this another demo.
        set("GIT_CONFIG_GLOBAL", "/dev/null".into());
        set("GIT_CONFIG_NOSYSTEM", "1".into());
        for role in ["AUTHOR", "COMMITTER"] {
            set(&format!("GIT_{role}_NAME"), "Demo".into());
            set(&format!("GIT_{role}_EMAIL"), "demo@example.invalid".into());
        }
        Self { repository: directory.join("repo"), own_program, environment, project, state_home }
    }

    /// Runs a command of this program as a person would, in the scratch repository and its environment: a worker that
    /// it may have to start must get that environment too, and not the person's own Codex.
    fn orchestrator(&self, ui: &mut Ui, arguments: &[&str]) -> Result<()> {
        say_command(ui, &format!("git orchestrator {}", arguments.join(" ")))?;
        duct::cmd(&self.own_program, arguments)
            .dir(&self.repository)
            .full_env(self.environment.iter())
            .stdin_null()
            .unchecked()
            .run()
            .context(|| format!("cannot run `git orchestrator {}`", arguments.join(" ")))?;
        Ok(())
    }

    fn git(&self, arguments: &[&str]) -> Result<String> {
        let output = duct::cmd("git", arguments)
            .dir(&self.repository)
            .full_env(self.environment.iter())
            .stdin_null()
            .stdout_capture()
            .stderr_capture()
            .unchecked()
            .run()
            .context(|| "cannot run git")?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.success() {
            Ok(said)
        } else {
            Err(Error::failed(format!("`git {}` failed: {}", arguments.join(" "), text::one_line(&said))))
        }
    }

    fn write(&self, path: &str, content: &str) -> Result<()> {
        let path = self.repository.join(path);
        if let Some(parent) = path.parent() {
            files::create_directories(parent)?;
        }
        files::write(&path, content.as_bytes())
    }

    /// The project before anything happens, and the table the demo runs with.
    fn first_commit(&self, ui: &mut Ui, runtime: &str) -> Result<()> {
        self.git(&["init", "--quiet", "--initial-branch=main"])?;
        for (path, content) in self.project.first() {
            self.write(path, content)?;
        }
        let table = String::from_utf8_lossy(install::STARTER_TABLE).replacen(
            "runtime: codex",
            &format!("runtime: {runtime}"),
            1,
        );
        // The server goes with this process: if it is interrupted, nothing is tried again.
        let table = table.replace("attempts: 3", "attempts: 1");
        self.write(crate::dispatch::TABLE, &table)?;
        self.accept()?;
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message=start the project"])?;
        say_command(ui, "git init && git commit -m \"start the project\"")
    }

    /// Accepts the table, which was written here, for nobody but this demo: its state directory is its own.
    fn accept(&self) -> Result<()> {
        let repository = Repository::discover(&self.repository, false)?;
        let store = Store::below(&self.state_home, &repository)?;
        install::accept::own(&repository, &store, &self.own_program, &self.environment, true)?;
        Ok(())
    }

    /// Commits everything, shows how long git took and what the hook said, and follows the runs to their end.
    fn commit_and_wait(&self, ui: &mut Ui, message: &str, what: &str) -> Result<Vec<Run>> {
        self.git(&["add", "--all"])?;
        say_command(ui, &format!("git commit -m \"{message}\""))?;
        let before = self.runs()?.len();
        let begun = Instant::now();
        let said = self.git(&["commit", "--quiet", &format!("--message={message}")])?;
        let took = begun.elapsed();
        for line in said.lines() {
            ui.line(text::shown(line))?;
        }
        ui.line(format!("{DIM}git was back after {} ms ({what}){DIM:#}", took.as_millis()))?;
        self.orchestrator(ui, &["wait"])?;
        let mut runs = self.runs()?;
        runs.drain(..before.min(runs.len()));
        for run in &runs {
            self.show(ui, run)?;
        }
        Ok(runs)
    }

    /// All runs, oldest first.
    fn runs(&self) -> Result<Vec<Run>> {
        let ledger = Ledger::open(&Layout::new(&self.repository).ledger())?;
        let mut runs = ledger.runs(&Filter::default())?;
        runs.reverse();
        Ok(runs)
    }

    /// The beginning of a run's artifact.
    fn show(&self, ui: &mut Ui, run: &Run) -> Result<()> {
        let style = state_style(run.state);
        ui.line(format!("\n{BOLD}{}{BOLD:#} {style}{}{style:#}", run.job.row.role, run.state))?;
        let Some(page) = run.artifact("md") else {
            ui.prose(&format!("  {}", text::one_line(&run.reason)))?;
            return Ok(());
        };
        ui.line(format!("  {DIM}{}{DIM:#}", text::one_line(page)))?;
        let Some(bytes) = files::read(&self.repository.join(page), 1 << 20)? else { return Ok(()) };
        let markdown = String::from_utf8_lossy(&bytes);
        ui.markdown(text::shown(&markdown).lines().take(LINES_SHOWN), "  ")?;
        let left = markdown.lines().count().saturating_sub(LINES_SHOWN);
        if left > 0 {
            ui.line(format!("  {DIM}… {left} more lines{DIM:#}"))?;
        }
        Ok(())
    }
}

/// A command as a person would type it.
fn say_command(ui: &mut Ui, command: &str) -> Result<()> {
    ui.line(format!("\n{CYAN}${CYAN:#} {BOLD}{command}{BOLD:#}"))?;
    Ok(())
}

/// The closing words: what came out and where it lies.
fn finish(ui: &mut Ui, stage: &Stage, runs: &[Run], runtime: &str) -> Result<ExitCode> {
    let with_artifact: Vec<_> = runs.iter().filter(|run| !run.artifacts.is_empty()).collect();
    let all_well = ["planner", "architect", "tester"]
        .iter()
        .all(|role| with_artifact.iter().any(|run| run.job.row.role == *role && run.state == State::Succeeded));
    ui.line("")?;
    if all_well {
        let by = if runtime == "built-in" { "the built-in runtime" } else { "the real Codex CLI" };
        ui.line(format!(
            "{GREEN}{} artifacts{GREEN:#} from {by}, written in {YELLOW}rehearsal{YELLOW:#}:",
            with_artifact.len()
        ))?;
    } else {
        ui.line(format!("{YELLOW}not every role came to an artifact{YELLOW:#}:"))?;
    }
    for run in runs {
        super::progress::result(ui, run)?;
    }
    let place = text::one_line(&stage.repository.to_string_lossy());
    ui.line(format!("{DIM}look around: cd {place} && git orchestrator status{DIM:#}"))?;
    ui.line(format!("{DIM}for real: git orchestrator install, in a repository of yours{DIM:#}"))?;
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
