//! What git takes longer with our hooks than with empty ones and with those of others, and what one call of the hook
//! costs. It prints the tables of docs/PERFORMANCE.md.
//!
//! A pair of repositories differs in its hooks alone: an empty shell script in the one, what `install` writes in the
//! other. Both do the same thing in turn, in one run (A B, B A, …), so that what else the machine does hits both; what
//! is reported is the median of the differences within the pairs. The built binary and the real git run, without any
//! configuration but the repositories' own. `cargo bench --bench hook`, or with `-- --quick` a short form; a word after
//! `--` runs only the rows whose name holds it. `GIT_ORCHESTRATOR_BENCH_PROGRAM` names another build to measure,
//! `GIT_ORCHESTRATOR_BENCH_LEFTHOOK` and `GIT_ORCHESTRATOR_BENCH_PREK` the managers to compare with.

#![expect(clippy::print_stdout, reason = "a report is what this program is for")]

mod calls;
mod figures;
mod machine;
mod managers;
mod peak;
mod scene;
mod scenarios;

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;

/// Whatever goes wrong ends the run: figures of half a benchmark are none.
type Outcome<T> = Result<T, Box<dyn Error>>;

/// The program that is measured: the one just built, or the one that is named.
fn program() -> OsString {
    env::var_os("GIT_ORCHESTRATOR_BENCH_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_git-orchestrator").into())
}

/// What the command line asks for.
struct Options {
    quick: bool,
    /// Rows whose name does not hold this word are left out.
    only: Option<String>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some(peak::COMMAND) => peak::answer(arguments.get(1..).unwrap_or_default()),
        // `cargo test --benches` only wants to know that it builds.
        _ if !arguments.iter().any(|argument| argument == "--bench") => Ok(()),
        _ => run(&Options {
            quick: arguments.iter().any(|argument| argument == "--quick"),
            only: arguments.iter().find(|argument| !argument.starts_with('-')).cloned(),
        }),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("the benchmark cannot go on: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Outcome<()> {
    machine::print()?;
    managers::print()?;
    let mut theirs = Vec::new();
    println!("\n{}", figures::HEAD);
    for files in [50, 20_000] {
        scenarios::commits(options, files, &mut theirs)?;
    }
    scenarios::many_paths(options, &mut theirs)?;
    scenarios::push(options, &mut theirs)?;
    scenarios::rebase(options, &mut theirs)?;
    let managers = managers::found();
    if !managers.is_empty() {
        let names: Vec<&str> = managers.iter().map(|manager| manager.kind.name()).collect();
        println!("\n{}", figures::theirs_head(&names));
        for row in &theirs {
            println!("{row}");
        }
    }
    println!("\n{}", figures::CALL_HEAD);
    for files in [50, 20_000] {
        calls::calls(options, files)?;
    }
    println!("\n{}", figures::LISTING_HEAD);
    calls::listing(options)
}
