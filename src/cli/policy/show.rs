//! `policy show`: what holds for each role, and where each line of it comes from.

use std::process::ExitCode;

use serde_json::json;

use super::effective::{Part, RoleView, Sources};
use crate::cli::ui::{BOLD, DIM, Ui, YELLOW};
use crate::dispatch::TABLE;
use crate::error::Result;
use crate::role::{ROLES, Role};
use crate::text;
use crate::trust;

/// Show what each role may do here, and which file says so
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// This role only
    role: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What holds for every role, and no file says.
const READABLE: [&str; 3] = [
    "what commands can read: with Codex 0.169 or newer on Linux, the checkout, its",
    "history, the system and toolchains; with any other, every file that you can,",
    "your keys and Codex's own login included (`git orchestrator doctor` says which)",
];

pub(super) fn execute(ui: &mut Ui, args: &Args) -> Result<ExitCode> {
    let only = args.role.as_deref().map(Role::find).transpose()?;
    let sources = Sources::here()?;
    let roles: Vec<RoleView> = ROLES
        .iter()
        .filter(|role| only.is_none_or(|only| only.name == role.name))
        .map(|role| sources.view(role))
        .collect();
    if args.json {
        ui.json(&json!({
            "schema": 1,
            "table": sources.has_table().then_some(TABLE),
            "accepted": sources.is_accepted(),
            "ceiling": sources.ceiling_path(),
            "autonomy": sources.autonomy(),
            "budget": sources.budget(),
            "roles": roles,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if !sources.is_accepted() {
        ui.line(format!("{YELLOW}note{YELLOW:#}: this {TABLE} is not the accepted one: nothing starts by it"))?;
        ui.line(format!("{DIM}next: {}{DIM:#}\n", trust::COMMAND))?;
    }
    let autonomy = sources.autonomy();
    line(ui, "autonomy", autonomy.value, &autonomy.from)?;
    for (key, Part { value, from }) in sources.budget() {
        line(ui, key, &value.map_or_else(|| "any".to_owned(), text::count), &from)?;
    }
    for role in &roles {
        show(ui, role)?;
    }
    ui.line("")?;
    for part in READABLE {
        ui.line(format!("{DIM}{part}{DIM:#}"))?;
    }
    if let Some(path) = sources.ceiling_path() {
        ui.line(format!("\n{DIM}your ceiling: {}{DIM:#}", text::one_line(&path)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show(ui: &mut Ui, role: &RoleView) -> Result<()> {
    ui.line(format!("\n{BOLD}{}{BOLD:#}", role.role))?;
    if let Some(reason) = &role.held {
        ui.line(format!("  {YELLOW}held{YELLOW:#}: {}", text::one_line(reason)))?;
    }
    line(ui, "  runtime", &role.runtime.value, &role.runtime.from)?;
    line(ui, "  sandbox", role.sandbox.value, &role.sandbox.from)?;
    line(ui, "  network", if role.network.value { "yes" } else { "no" }, &role.network.from)?;
    for (key, limit) in &role.limits {
        line(ui, &format!("  {key}"), &limit.value, &limit.from)?;
    }
    if role.commands.is_empty() {
        ui.line("  commands      none")?;
    }
    // Neighbours of one source stand together: a list on one line of the table is one line here.
    for group in role.commands.chunk_by(|one, other| one.from == other.from) {
        let names: Vec<&str> = group.iter().map(|part| part.value.as_str()).collect();
        line(ui, "  commands", &names.join(", "), group.first().map_or("", |part| &part.from))?;
    }
    for group in role.refused.chunk_by(|one, other| one.from == other.from) {
        let names: Vec<&str> = group.iter().map(|part| part.value.as_str()).collect();
        line(ui, "  not allowed", &names.join(", "), group.first().map_or("", |part| &part.from))?;
    }
    for row in &role.rows {
        line(ui, &format!("  row {}", row.row), &format!("{} {}", row.key, row.value), &row.from)?;
    }
    Ok(())
}

fn line(ui: &mut Ui, key: &str, value: &str, from: &str) -> Result<()> {
    let (key, value, from) = (text::one_line(key), text::one_line(value), text::one_line(from));
    // What is indented keeps its place: `one_line` leaves leading blanks alone.
    let mut lines =
        text::wrapped(&value, ui.width().map_or(usize::MAX, |width| width.saturating_sub(16).max(20))).into_iter();
    let first = lines.next().unwrap_or_default();
    let mut shown = format!("{key:<15} {first}");
    for more in lines {
        ui.line(&shown)?;
        shown = format!("{:<15} {more}", "");
    }
    let is_full = ui.width().is_some_and(|width| shown.chars().count() + from.chars().count() + 3 > width);
    if is_full {
        ui.line(&shown)?;
        shown = " ".repeat(15);
    }
    ui.line(format!("{shown} {DIM}· {from}{DIM:#}"))
}
