//! `schema NAME`: the formats, as JSON Schema.

use std::process::ExitCode;

use super::Ui;
use crate::error::{Error, Result};
use crate::{role, triggers};

/// Print the JSON Schema of a format
#[derive(Debug, clap::Args)]
pub struct Args {
    /// triggers, planner, architect, tester or envelope
    name: String,
}

/// Prints it.
pub fn execute(ui: &mut Ui, args: &Args) -> Result<ExitCode> {
    let schema = if args.name == "triggers" { Some(triggers::SCHEMA_JSON) } else { role::schema(&args.name) };
    let Some(schema) = schema else {
        let mut known: Vec<_> = role::NAMES.to_vec();
        known.extend(["envelope", "triggers"]);
        let mut error = Error::not_found(format!("there is no schema `{}`", crate::text::one_line(&args.name)))
            .hint(format!("the schemas are {}", known.join(", ")));
        if let Some(near) = crate::text::nearest(&args.name, known) {
            error = error.hint(format!("did you mean `{near}`?"));
        }
        return Err(error);
    };
    ui.raw(schema)?;
    if !schema.ends_with('\n') {
        ui.line("")?;
    }
    Ok(ExitCode::SUCCESS)
}
