//! `doctor`: what is wrong here, and what to type.

use std::env;
use std::process::ExitCode;

use serde::Serialize;

use super::ui::{BOLD, CYAN, DIM, GREEN, RED, Ui, YELLOW};
use super::world;
use crate::doctor::{self, Deed, Finding, Fix, Level, Place, Report};
use crate::error::{Context as _, Result};
use crate::git::Repository;
use crate::{process, text};

/// Look for what is wrong: git, hooks, triggers.yaml, Codex, the queue
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Mend what can be mended without touching anything you wrote
    #[arg(long)]
    fix: bool,
    /// Print JSON of a fixed shape
    #[arg(long)]
    json: bool,
}

/// `doctor --json`. Keys may be added, never changed.
#[derive(Serialize)]
struct Shape<'a> {
    schema: u32,
    findings: &'a [Finding],
    deeds: &'a [Deed],
}

/// How wide the names of sections are.
const NAME_WIDTH: usize = 13;

/// Looks, and mends if asked to.
pub fn execute(ui: &mut Ui, args: &Args) -> Result<ExitCode> {
    let directory = env::current_dir().context(|| "cannot tell the current directory")?;
    let (own_program, environment) = (world::own_program()?, process::clean_environment());
    let place = Place {
        repository: Repository::discover(&directory, true),
        directory: &directory,
        own_program: &own_program,
        environment: &environment,
    };
    let report = if args.fix { doctor::mend(&place) } else { doctor::examine(&place) };
    if args.json {
        ui.json(&Shape { schema: super::json::SCHEMA, findings: &report.findings, deeds: &report.deeds })?;
    } else {
        print(ui, &report, args.fix)?;
    }
    Ok(if report.count(Level::Problem) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(ui: &mut Ui, report: &Report, fixing: bool) -> Result<()> {
    let mut last = None;
    for finding in &report.findings {
        let name = if last == Some(finding.section) { "" } else { finding.section.as_str() };
        last = Some(finding.section);
        line(ui, name, finding)?;
    }
    for deed in &report.deeds {
        let what = text::one_line(&deed.what);
        match &deed.error {
            None => ui.line(format!("{GREEN}did{GREEN:#}: {what}"))?,
            Some(error) => ui.line(format!("{RED}could not{RED:#}: {}", text::one_line(error)))?,
        }
    }
    ui.line(summary(report, fixing))
}

fn line(ui: &mut Ui, name: &str, finding: &Finding) -> Result<()> {
    let (style, word) = match finding.level {
        _ if finding.fixed => (GREEN, "fixed"),
        Level::Ok => (GREEN, ""),
        Level::Note => (CYAN, "note"),
        Level::Warning => (YELLOW, "warning"),
        Level::Problem => (RED, "problem"),
    };
    let margin = " ".repeat(NAME_WIDTH);
    let label = if word.is_empty() { String::new() } else { format!("{word}: ") };
    let lines = broken(ui, &format!("{margin}{label}{}", text::one_line(&finding.message)));
    for (number, line) in lines.iter().enumerate() {
        if number > 0 {
            ui.line(line)?;
            continue;
        }
        let rest = line.get(NAME_WIDTH + word.len()..).unwrap_or_default();
        ui.line(format!("{BOLD}{name:<NAME_WIDTH$}{BOLD:#}{style}{word}{style:#}{rest}"))?;
    }
    match finding.fix.as_ref().filter(|_| !finding.fixed) {
        None => Ok(()),
        // Whole, so that it can be copied.
        Some(Fix::Command(command)) => ui.line(format!("{margin}{DIM}fix:{DIM:#} {}", text::one_line(command))),
        Some(Fix::Action(words)) => {
            for line in broken(ui, &format!("{margin}fix: {}", text::one_line(words))) {
                ui.line(line)?;
            }
            Ok(())
        }
    }
}

fn broken(ui: &Ui, line: &str) -> Vec<String> {
    match ui.width() {
        Some(width) => text::wrapped(line, width.max(NAME_WIDTH + 20)),
        None => vec![line.to_owned()],
    }
}

fn summary(report: &Report, fixing: bool) -> String {
    let counts: Vec<String> = [(Level::Problem, RED), (Level::Warning, YELLOW), (Level::Note, CYAN)]
        .into_iter()
        .filter_map(|(level, style)| match report.count(level) {
            0 => None,
            1 => Some(format!("{style}1 {}{style:#}", level.as_str())),
            n => Some(format!("{style}{n} {}s{style:#}", level.as_str())),
        })
        .collect();
    if counts.is_empty() {
        return format!("{GREEN}nothing is wrong{GREEN:#}");
    }
    let counts = counts.join(", ");
    match report.fixable() {
        0 => counts,
        n if fixing => format!("{counts} · {n} could not be mended"),
        n => format!("{counts} · `git orchestrator doctor --fix` mends {n}"),
    }
}
