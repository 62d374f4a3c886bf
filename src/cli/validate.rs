//! `validate [FILE]`: check a table as the hooks read it.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::ui::{DIM, GREEN, Ui, YELLOW};
use super::world::{self, table_bytes};
use crate::diagnostic::Colour;
use crate::dispatch::{TABLE, TABLE_BYTES_MAX, vocabulary};
use crate::error::{Error, Result};
use crate::files;
use crate::triggers::load;
use crate::trust;

/// Check triggers.yaml
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file; by default that of this worktree
    file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Checks it.
pub fn execute(ui: &mut Ui, args: &Args) -> Result<ExitCode> {
    let (name, bytes) = match &args.file {
        Some(file) => {
            let bytes = files::read(file, TABLE_BYTES_MAX)?
                .ok_or_else(|| Error::not_found(format!("there is no {}", file.display())))?;
            (file.display().to_string(), bytes)
        }
        None => (TABLE.to_owned(), table_bytes(&world::repository_here()?)?),
    };
    // What a person named is not what the hooks go by.
    let accepted = match &args.file {
        Some(_) => None,
        None => Some(trust::hook::accepted_table(&world::repository_here()?).is_some_and(|table| table == bytes)),
    };
    match load::check(&bytes, &name, &vocabulary()) {
        Ok(table) => {
            let held = table.roles_not_listed();
            if args.json {
                ui.json(&json!({ "schema": 1, "valid": true, "rows": table.triggers.len(), "held": held, "accepted": accepted }))?;
            } else {
                let rows = if table.triggers.len() == 1 { "row" } else { "rows" };
                ui.line(format!("{GREEN}valid{GREEN:#}: {} {rows} in {name}", table.triggers.len()))?;
                for role in held {
                    ui.line(format!(
                        "{YELLOW}note{YELLOW:#}: `policy.roles` does not list `{role}`: its rows are held until a person \
                         releases them"
                    ))?;
                }
                if accepted == Some(false) {
                    ui.line(format!("{YELLOW}note{YELLOW:#}: it is not the accepted one: nothing starts by it"))?;
                    ui.line(format!("{DIM}next: {}{DIM:#}", trust::COMMAND))?;
                } else {
                    ui.line(format!("{DIM}next: git orchestrator explain post-commit{DIM:#}"))?;
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(problems) => {
            if args.json {
                let error = problems.render(Colour::Plain);
                ui.json(&json!({ "schema": 1, "valid": false, "problems": problems.count(), "text": error }))?;
                return Ok(ExitCode::from(2));
            }
            // The stream strips the colours where they are not wanted.
            Err(Error::usage(format!("{name} is not valid"))
                .excerpt(problems.render(Colour::Ansi))
                .hint("`git orchestrator schema triggers` describes the file, key by key"))
        }
    }
}
