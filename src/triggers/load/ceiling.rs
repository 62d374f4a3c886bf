//! The person's own ceiling, `policy.yaml`: the keys of a table's policy, read as strictly, with a word for all roles.

use std::collections::BTreeMap;

use super::policy::{BUDGET_KEYS, LIMIT_KEYS, ROLE_KEYS, budget, limits};
use super::reader::{Reader, Word};
use super::rows::word_of;
use super::tree::{Node, Value};
use super::{VERSION, values};
use crate::diagnostic::Diagnostic;
use crate::policy::ceiling::{Ceiling, RoleCeiling};
use crate::policy::{Autonomy, SandboxMode};
use crate::triggers::Vocabulary;

const KEYS: &[&str] = &["version", "autonomy", "sandbox", "network", "commands", "limits", "roles", "budget"];

/// The whole file.
pub(super) fn document(reader: &mut Reader<'_>, root: &Node, vocabulary: &Vocabulary<'_>) -> Option<Ceiling> {
    let below: &[(&str, &[&str])] = &[("limits", LIMIT_KEYS), ("budget", BUDGET_KEYS)];
    let fields = reader.fields_beside(root, "the ceiling", KEYS, below)?;
    let version = reader.required(&fields, "version", "the ceiling", "begin the file with `version: 1`");
    if let Some(node) = version
        && reader.integer(node, "`version`", "write `version: 1`").is_some_and(|version| version != VERSION)
    {
        reader.problem(Diagnostic::new(node.span.clone(), "not a version it knows", "this program reads version 1"));
    }
    let levels = Autonomy::ALL.map(|level| (level.as_str(), level));
    let autonomy =
        fields.get("autonomy").and_then(|node| reader.choice(node, "`autonomy`", "level of autonomy", &levels));
    let every = role(reader, &|key| fields.get(key));
    let roles = fields.get("roles").map(|node| {
        let help = "write a line for each role that may run, such as `tester: {}`";
        let mut roles = BTreeMap::new();
        for (key, value) in reader.named(node, "`roles`", help) {
            let word = Word { text: &key.name, span: key.span.clone() };
            let Some(name) = word_of(reader, &word, "role", vocabulary.roles) else { continue };
            let Some(own) =
                reader.fields_beside(value, &format!("`roles.{name}`"), ROLE_KEYS, &[("limits", LIMIT_KEYS)])
            else {
                continue;
            };
            roles.insert(name, role(reader, &|key| own.get(key)));
        }
        roles
    });
    let budget = fields.get("budget").map(|node| budget(reader, node)).unwrap_or_default();
    Some(Ceiling { autonomy, every, roles, budget })
}

fn role<'n>(reader: &mut Reader<'_>, get: &dyn Fn(&str) -> Option<&'n Node>) -> RoleCeiling {
    let modes = [SandboxMode::ReadOnly, SandboxMode::WorkspaceWrite].map(|mode| (mode.as_str(), mode));
    RoleCeiling {
        sandbox: get("sandbox").and_then(|node| reader.choice(node, "`sandbox`", "sandbox", &modes)),
        network: get("network").and_then(|node| reader.boolean(node, "`network`")),
        commands: get("commands").map(|node| {
            let help = "write the first words of each command: `commands: [\"git diff\", \"cargo test\"]`";
            let words = reader.list(node, "`commands`", help);
            words.into_iter().filter_map(|word| reader.accept(&word.span, values::command(word.text))).collect()
        }),
        limits: get("limits").map(|node| limits(reader, node)).unwrap_or_default(),
    }
}

/// Where each value of a file stands, by the keys that lead to it (`policy.roles.tester.sandbox`), as lines from 1. A list
/// has a place for each of its texts, behind a colon (`policy.roles.tester.commands:ls`).
pub(super) fn places(text: &str, root: &Node) -> BTreeMap<String, usize> {
    let newlines: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line_of = |at: usize| newlines.partition_point(|newline| *newline < at) + 1;
    let mut out = BTreeMap::new();
    let mut open = vec![(String::new(), root)];
    while let Some((path, node)) = open.pop() {
        match &node.value {
            Value::Map(entries) => {
                for (key, value) in entries {
                    let path = if path.is_empty() { key.name.clone() } else { format!("{path}.{}", key.name) };
                    out.insert(path.clone(), line_of(key.span.start));
                    open.push((path, value));
                }
            }
            Value::List(items) => {
                for item in items {
                    if let Value::Text(text) = &item.value {
                        out.insert(format!("{path}:{text}"), line_of(item.span.start));
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number | Value::Text(_) => {}
        }
    }
    out
}
