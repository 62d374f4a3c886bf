//! `worker` and the hidden `contain` and `ask`: what the program starts of itself.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;

use super::world;
use crate::error::{Context as _, Result};
use crate::process::bounds::Restrictions;
use crate::runtime::codex_exec;
use crate::secrets::Writer;
use crate::store::layout::Layout;
use crate::{files, process};

/// The log is begun anew beyond this size, in bytes; the last one is kept beside it.
const LOG_BYTES_MAX: u64 = 1 << 20;

/// Work on the queue until it is empty (started by the hooks)
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The directory that holds `.orchestrator`; by default that of the repository here
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
}

/// Works.
pub fn execute(args: &Args) -> Result<ExitCode> {
    process::lead_session();
    let home = match &args.home {
        Some(home) => home.clone(),
        None => world::repository_here()?.home(),
    };
    let layout = Layout::new(&home);
    // Before the log, too: a commit may have put a link in the place of a directory of ours.
    layout.refuse_links()?;
    if layout.state().is_dir() {
        log_to(&layout)?;
    }
    let result = crate::worker::run(&home, &world::own_program()?);
    if let Err(error) = &result {
        tracing::error!(error = %error.chain(), "the worker ends");
    }
    result.map(|()| ExitCode::SUCCESS)
}

fn log_to(layout: &Layout) -> Result<()> {
    let path = layout.worker_log();
    if path.metadata().is_ok_and(|meta| meta.len() > LOG_BYTES_MAX) {
        fs::rename(&path, path.with_extension("log.1")).context(|| format!("cannot rotate {}", path.display()))?;
    }
    let file = files::append(&path)?;
    let subscriber = tracing_subscriber::fmt()
        .with_writer(Mutex::new(Writer::new(file)))
        .with_ansi(false)
        .with_target(false)
        .with_max_level(tracing::Level::INFO)
        .finish();
    tracing::subscriber::set_global_default(subscriber).context(|| "cannot begin the log")
}

/// Run a program that dies with the process that started it
#[derive(Debug, clap::Args)]
pub struct ContainArgs {
    /// The process that started this one
    parent: i32,
    /// A control group to join first
    #[arg(long, value_name = "DIR")]
    group: Vec<PathBuf>,
    /// The largest file that it may write, in bytes
    #[arg(long, value_name = "BYTES")]
    file_size: Option<u64>,
    /// How many processes and threads it may have beside those that the user has
    #[arg(long, value_name = "NUMBER")]
    processes: Option<u64>,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    argv: Vec<OsString>,
}

/// Becomes the program.
pub fn contain(args: &ContainArgs) -> Result<ExitCode> {
    let restrictions =
        Restrictions { groups: args.group.clone(), file_bytes: args.file_size, processes: args.processes };
    Err(process::contain(args.parent, &restrictions, &args.argv))
}

/// The exit code that stands for a refusal where a runtime calls a hook.
const REFUSED: u8 = 2;

/// Puts the question that stands on standard input to the gatekeeper of the turn whose socket lies in `directory`, and
/// ends as the answer says. Hooks of the runtime call this.
pub fn ask(directory: &Path) -> ExitCode {
    match codex_exec::ask(directory, io::stdin().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            // For the model, not for a screen. Where it cannot be written, the line that called us says no by itself.
            writeln!(io::stderr(), "{reason}").ok();
            ExitCode::from(REFUSED)
        }
    }
}
