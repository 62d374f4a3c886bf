//! The command line: one file for each command, one shape: arguments in, output through [`ui::Ui`], an error or not.

pub mod completions;
pub mod demo;
pub mod doctor;
pub mod explain;
mod fault;
pub mod hook;
pub mod install;
pub mod json;
pub mod log;
pub mod notice;
pub mod policy;
pub mod person;
pub mod progress;
pub mod queue;
pub mod review;
pub mod run;
pub mod schema;
pub mod show;
pub mod status;
pub mod trust;
pub mod ui;
pub mod validate;
pub mod verdict;
pub mod wait;
pub mod worker;
pub mod world;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use self::ui::Ui;
use crate::error::{Error, Kind, Result};
use crate::text;

/// Sandboxed agents from git hooks, through a strict allow-list, with artifacts to review
#[derive(Debug, Parser)]
#[command(name = "git-orchestrator", bin_name = "git orchestrator", version, max_term_width = 100)]
#[command(after_help = "Start with `git orchestrator demo`, or `git orchestrator install` in a repository.\n\
    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused, 4 not trusted, 5 nothing found, 124 timed out.")]
struct Cli {
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    color: Color,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Install(install::InstallArgs),
    Uninstall(install::UninstallArgs),
    Doctor(doctor::Args),
    Status(status::Args),
    Show(show::Args),
    Log(log::Args),
    Wait(wait::Args),
    Run(run::Args),
    Cancel(queue::CancelArgs),
    Retry(queue::RetryArgs),
    Review(review::Args),
    Approve(verdict::ApproveArgs),
    Reject(verdict::RejectArgs),
    Trust(trust::Args),
    Pause(queue::PauseArgs),
    Resume(queue::ResumeArgs),
    Explain(explain::Args),
    Validate(validate::Args),
    Policy(policy::Args),
    Schema(schema::Args),
    Completions(completions::Args),
    Hook(hook::Args),
    Worker(worker::Args),
    #[command(name = crate::process::CONTAIN_COMMAND, hide = true)]
    Contain(worker::ContainArgs),
}

/// Runs the program on the process's own arguments.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    fault::end_on_panic(&arguments);
    // The hook is on its own path: nothing of it may cost a commit more than it must, or fail it.
    if let [_, command, rest @ ..] = arguments.as_slice()
        && command == "hook"
    {
        return hook::main(rest);
    }
    // Nor may it cost each command of a run more than the question itself.
    if let [_, command, directory] = arguments.as_slice()
        && command == crate::runtime::codex_exec::ASK_COMMAND
    {
        return worker::ask(Path::new(directory));
    }
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // What was typed is quoted: the same error, about what can be shown of it.
            let shown = arguments.iter().map(|word| OsString::from(text::bytes_line(word.as_bytes())));
            let error = if error.use_stderr() { Cli::try_parse_from(shown).err().unwrap_or(error) } else { error };
            // Help and version are data and go to standard output; clap knows which is which.
            error.print().ok();
            return ExitCode::from(if error.use_stderr() { Kind::Usage.exit_code() } else { 0 });
        }
    };
    match cli.color {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
    let mut ui = Ui::new();
    match execute(&mut ui, cli.command) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            ui.error(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

/// The reader of our output went away (`| head`): it has what it wanted.
fn is_broken_pipe(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn execute(ui: &mut Ui, command: Command) -> Result<ExitCode> {
    match command {
        Command::Demo(args) => demo::execute(ui, &args),
        Command::Install(args) => install::install(ui, &args),
        Command::Uninstall(args) => install::uninstall(ui, &args),
        Command::Doctor(args) => doctor::execute(ui, &args),
        Command::Status(args) => status::execute(ui, &args),
        Command::Show(args) => show::execute(ui, &args),
        Command::Log(args) => log::execute(ui, &args),
        Command::Wait(args) => wait::execute(ui, &args),
        Command::Run(args) => run::execute(ui, &args),
        Command::Cancel(args) => queue::cancel(ui, &args),
        Command::Retry(args) => queue::retry(ui, &args),
        Command::Review(args) => review::execute(ui, &args),
        Command::Approve(args) => verdict::approve(ui, &args),
        Command::Reject(args) => verdict::reject(ui, &args),
        Command::Trust(args) => trust::execute(ui, &args),
        Command::Pause(args) => queue::pause(ui, &args),
        Command::Resume(args) => queue::resume(ui, &args),
        Command::Explain(args) => explain::execute(ui, &args),
        Command::Validate(args) => validate::execute(ui, &args),
        Command::Policy(args) => policy::execute(ui, &args),
        Command::Schema(args) => schema::execute(ui, &args),
        Command::Completions(args) => completions::execute(ui, &args),
        Command::Hook(args) => Ok(hook::main(&args.call)),
        Command::Worker(args) => worker::execute(&args),
        Command::Contain(args) => worker::contain(&args),
    }
}
