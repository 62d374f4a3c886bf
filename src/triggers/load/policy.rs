//! The `policy`, `artifacts` and `hook` sections, and `limits` wherever they stand.
//!
//! Owns their keys. What a role's entry leaves out comes from that role's contract, which the caller's vocabulary
//! knows.

use std::collections::BTreeMap;

use super::reader::{Reader, Word};
use super::rows::word_of;
use super::tree::Node;
use super::values;
use crate::diagnostic::Diagnostic;
use crate::policy::{Autonomy, Budget, LimitOverrides, Policy, RolePolicy, SandboxMode};
use crate::triggers::{ArtifactRules, HookRules, Vocabulary};

/// The keys of `policy`.
pub(super) const KEYS: &[&str] = &["autonomy", "roles", "budget", "from"];
/// The keys of a role's entry.
pub(super) const ROLE_KEYS: &[&str] = &["sandbox", "network", "commands", "limits"];
/// The keys of `limits`.
pub(super) const LIMIT_KEYS: &[&str] =
    &["wall", "idle", "output", "tokens", "attempts", "memory", "processes", "file_size"];
/// The keys of `budget`.
pub(super) const BUDGET_KEYS: &[&str] = &["runs_per_day", "tokens_per_day"];
/// The keys of `artifacts`.
pub(super) const ARTIFACT_KEYS: &[&str] = &["track", "keep"];
/// The keys of `hook`.
pub(super) const HOOK_KEYS: &[&str] = &["quiet"];

/// The most attempts a run may have: each costs a whole turn.
const MAX_ATTEMPTS: u32 = 10;

/// The `policy` section, and the ref that the table is to be read from.
pub(super) fn policy(reader: &mut Reader<'_>, node: &Node, vocabulary: &Vocabulary<'_>) -> (Policy, Option<String>) {
    let Some(fields) = reader.fields(node, "`policy`", KEYS) else { return (Policy::default(), None) };
    let levels = Autonomy::ALL.map(|level| (level.as_str(), level));
    let autonomy =
        fields.get("autonomy").and_then(|node| reader.choice(node, "`autonomy`", "level of autonomy", &levels));
    let roles = fields.get("roles").map(|node| roles(reader, node, vocabulary));
    let budget = fields.get("budget").map(|node| budget(reader, node)).unwrap_or_default();
    let from = fields.get("from").and_then(|node| reader.parsed(node, "`from`", values::reference));
    (Policy { autonomy: autonomy.unwrap_or_default(), roles, budget }, from)
}

fn roles(reader: &mut Reader<'_>, node: &Node, vocabulary: &Vocabulary<'_>) -> BTreeMap<String, RolePolicy> {
    let mut roles = BTreeMap::new();
    for (key, value) in reader.named(node, "`roles`", "write a line for each role that may run, such as `tester: {}`") {
        let word = Word { text: &key.name, span: key.span.clone() };
        let Some(name) = word_of(reader, &word, "role", vocabulary.roles) else { continue };
        let policy = role(reader, value, &name, (vocabulary.contract)(&name));
        roles.insert(name, policy);
    }
    roles
}

fn role(reader: &mut Reader<'_>, node: &Node, name: &str, contract: RolePolicy) -> RolePolicy {
    if matches!(node.value, super::tree::Value::Null) {
        reader.problem(
            Diagnostic::new(node.span.clone(), format!("`roles.{name}` has to be a mapping"), "no value")
                .help(format!("for the role's own defaults write `{name}: {{}}`")),
        );
        return contract;
    }
    let Some(fields) = reader.fields_beside(node, &format!("`roles.{name}`"), ROLE_KEYS, &[("limits", LIMIT_KEYS)])
    else {
        return contract;
    };
    let modes = [SandboxMode::ReadOnly, SandboxMode::WorkspaceWrite].map(|mode| (mode.as_str(), mode));
    let sandbox = fields.get("sandbox").and_then(|node| reader.choice(node, "`sandbox`", "sandbox", &modes));
    let network = fields.get("network").and_then(|node| reader.boolean(node, "`network`"));
    let commands = fields.get("commands").map(|node| {
        let help = "write the first words of each command: `commands: [\"git diff\", \"cargo test\"]`";
        let words = reader.list(node, "`commands`", help);
        words.into_iter().filter_map(|word| reader.accept(&word.span, values::command(word.text))).collect()
    });
    let limits = fields.get("limits").map(|node| limits(reader, node)).unwrap_or_default();
    let sandbox = sandbox.unwrap_or(contract.sandbox);
    if let Some(node) = fields.get("network")
        && network == Some(true)
        && sandbox == SandboxMode::ReadOnly
    {
        // No sandbox gives it: better said here than found out in the middle of a run.
        let message = format!("`roles.{name}` cannot reach the network from a read-only sandbox");
        reader.problem(
            Diagnostic::new(node.span.clone(), message, "not with `sandbox: read-only`")
                .help("remove it, or write `sandbox: workspace-write`"),
        );
    }
    RolePolicy {
        sandbox,
        network: network.unwrap_or(contract.network),
        commands: commands.unwrap_or(contract.commands),
        limits: limits.over(&contract.limits),
    }
}

/// A `limits` mapping.
pub(super) fn limits(reader: &mut Reader<'_>, node: &Node) -> LimitOverrides {
    let Some(fields) = reader.fields(node, "`limits`", LIMIT_KEYS) else { return LimitOverrides::default() };
    LimitOverrides {
        wall: fields.get("wall").and_then(|node| reader.parsed(node, "`wall`", values::duration)),
        idle: fields.get("idle").and_then(|node| reader.parsed(node, "`idle`", values::duration)),
        output_bytes: fields.get("output").and_then(|node| reader.parsed(node, "`output`", values::size)),
        tokens: fields.get("tokens").and_then(|node| reader.parsed(node, "`tokens`", values::count)),
        attempts: fields.get("attempts").and_then(|node| attempts(reader, node)),
        memory_bytes: fields.get("memory").and_then(|node| reader.parsed(node, "`memory`", values::memory)),
        processes: fields.get("processes").and_then(|node| reader.parsed(node, "`processes`", values::processes)),
        file_bytes: fields.get("file_size").and_then(|node| reader.parsed(node, "`file_size`", values::file_size)),
    }
}

fn attempts(reader: &mut Reader<'_>, node: &Node) -> Option<u32> {
    let help = format!("write a number from 1 to {MAX_ATTEMPTS}");
    let number = reader.integer(node, "`attempts`", &help)?;
    let attempts = u32::try_from(number).ok().filter(|n| (1..=MAX_ATTEMPTS).contains(n));
    if attempts.is_none() {
        let message = format!("`attempts` cannot be {number}");
        reader.problem(Diagnostic::new(node.span.clone(), message, "out of range").help(help));
    }
    attempts
}

pub(super) fn budget(reader: &mut Reader<'_>, node: &Node) -> Budget {
    let Some(fields) = reader.fields(node, "`budget`", BUDGET_KEYS) else { return Budget::default() };
    let mut count =
        |key: &str| fields.get(key).and_then(|node| reader.parsed(node, &format!("`{key}`"), values::count));
    Budget { runs_per_day: count("runs_per_day"), tokens_per_day: count("tokens_per_day") }
}

/// The `artifacts` section.
pub(super) fn artifacts(reader: &mut Reader<'_>, node: &Node) -> ArtifactRules {
    let default = ArtifactRules::default();
    let Some(fields) = reader.fields(node, "`artifacts`", ARTIFACT_KEYS) else { return default };
    let track = fields.get("track").and_then(|node| reader.boolean(node, "`track`"));
    let keep = fields.get("keep").and_then(|node| reader.parsed(node, "`keep`", values::duration));
    ArtifactRules {
        track: track.unwrap_or(default.track),
        keep_seconds: keep.map_or(default.keep_seconds, |keep| keep.as_secs()),
    }
}

/// The `hook` section.
pub(super) fn hook(reader: &mut Reader<'_>, node: &Node) -> HookRules {
    let Some(fields) = reader.fields(node, "`hook`", HOOK_KEYS) else { return HookRules::default() };
    let quiet = fields.get("quiet").and_then(|node| reader.boolean(node, "`quiet`"));
    HookRules { quiet: quiet.unwrap_or_default() }
}
