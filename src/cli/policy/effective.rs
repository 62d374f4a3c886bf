//! What holds for a role here, and where each part of it comes from: the role's own default, the table, the person's
//! ceiling.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::ceiling::{self, Found};
use crate::cli::world::{repository_here, table_bytes};
use crate::dispatch::{TABLE, vocabulary};
use crate::error::{Kind, Result};
use crate::policy::admission::{Admission, admit};
use crate::policy::{Budget, Limits, Policy, RolePolicy};
use crate::role::Role;
use crate::text;
use crate::triggers::{RowAction, Table, load};
use crate::trust;

/// A value and where it comes from.
#[derive(Debug, Serialize)]
pub(super) struct Part<T> {
    pub(super) value: T,
    pub(super) from: String,
}

/// What holds for one role.
#[derive(Debug, Serialize)]
pub(super) struct RoleView {
    pub(super) role: &'static str,
    /// Why it does not run by itself, if it does not.
    pub(super) held: Option<String>,
    pub(super) runtime: Part<String>,
    pub(super) sandbox: Part<&'static str>,
    pub(super) network: Part<bool>,
    pub(super) limits: BTreeMap<&'static str, Part<String>>,
    pub(super) commands: Vec<Part<String>>,
    /// Those that the ceiling takes away.
    pub(super) refused: Vec<Part<String>>,
    /// What single rows set for themselves.
    pub(super) rows: Vec<RowView>,
}

/// What a row sets for itself.
#[derive(Debug, Serialize)]
pub(super) struct RowView {
    pub(super) row: String,
    pub(super) key: &'static str,
    pub(super) value: String,
    pub(super) from: String,
}

/// The sources of a policy.
pub(super) struct Sources {
    is_accepted: bool,
    table: Option<Table>,
    lines: BTreeMap<String, usize>,
    ceiling: Option<Found>,
    ceiling_lines: BTreeMap<String, usize>,
}

const DEFAULT: &str = "the role's own default";
const BUILT_IN: &str = "the default";

impl Sources {
    /// Those that hold in the current directory. Outside of a repository, and where there is no table, there are the
    /// roles' defaults and the ceiling.
    pub(super) fn here() -> Result<Self> {
        let (bytes, accepted) = match repository_here() {
            Ok(repository) => match table_bytes(&repository) {
                Ok(bytes) => (Some(bytes), trust::hook::accepted_table(&repository)),
                Err(error) if error.kind() == Kind::NotFound => (None, None),
                Err(error) => return Err(error),
            },
            Err(_) => (None, None),
        };
        let table = bytes.as_deref().map(|bytes| load::table(bytes, TABLE, &vocabulary())).transpose()?;
        let ceiling = ceiling::read(&vocabulary())?;
        Ok(Self {
            is_accepted: accepted == bytes,
            table,
            lines: bytes.as_deref().map(load::places).unwrap_or_default(),
            ceiling_lines: ceiling.as_ref().map(Found::places).unwrap_or_default(),
            ceiling,
        })
    }

    fn policy(&self) -> Policy {
        self.table.as_ref().map(|table| table.policy.clone()).unwrap_or_default()
    }

    /// `triggers.yaml:12` for the first of these keys that stands there.
    fn in_table(&self, keys: &[String], otherwise: &str) -> String {
        keys.iter()
            .find_map(|key| self.lines.get(key))
            .map_or_else(|| otherwise.to_owned(), |line| format!("{TABLE}:{line}"))
    }

    fn in_ceiling(&self, keys: &[String]) -> String {
        let path = self.ceiling.as_ref().map(|found| text::one_line(&found.path.to_string_lossy())).unwrap_or_default();
        keys.iter().find_map(|key| self.ceiling_lines.get(key)).map_or(path.clone(), |line| format!("{path}:{line}"))
    }

    pub(super) fn autonomy(&self) -> Part<&'static str> {
        let asked = self.policy().autonomy;
        let most = self.ceiling.as_ref().and_then(|found| found.ceiling.autonomy);
        match most.filter(|most| *most < asked) {
            Some(most) => Part { value: most.as_str(), from: self.in_ceiling(&["autonomy".into()]) },
            None => Part { value: asked.as_str(), from: self.in_table(&["policy.autonomy".into()], BUILT_IN) },
        }
    }

    pub(super) fn budget(&self) -> BTreeMap<&'static str, Part<Option<u64>>> {
        let asked = self.policy().budget;
        let mut least = asked;
        if let Some(found) = &self.ceiling {
            found.ceiling.narrow_budget(&mut least);
        }
        let part = |key: &str, of: &dyn Fn(&Budget) -> Option<u64>| {
            let from = if of(&least) == of(&asked) {
                self.in_table(&[format!("policy.budget.{key}")], "not limited")
            } else {
                self.in_ceiling(&[format!("budget.{key}")])
            };
            Part { value: of(&least), from }
        };
        BTreeMap::from([
            ("runs_per_day", part("runs_per_day", &|budget| budget.runs_per_day)),
            ("tokens_per_day", part("tokens_per_day", &|budget| budget.tokens_per_day)),
        ])
    }

    /// What the role may do, narrowed.
    pub(super) fn of(&self, role: &Role) -> RolePolicy {
        let (_, mut policy) = admit(&self.policy(), role.name, &role.contract());
        if let Some(found) = &self.ceiling {
            found.ceiling.narrow(role.name, &mut policy);
        }
        policy
    }

    /// The same with its sources.
    pub(super) fn view(&self, role: &Role) -> RoleView {
        let name = role.name;
        let asked = self.policy();
        let listed = asked.roles.as_ref().and_then(|roles| roles.get(name)).cloned().unwrap_or_else(|| role.contract());
        let (admission, admitted) = admit(&asked, name, &role.contract());
        let narrowed = self.of(role);
        let key = |key: &str| format!("policy.roles.{name}.{key}");
        let own = |word: &str| [format!("roles.{name}.{word}"), word.to_owned(), "autonomy".to_owned()];
        // Each value comes from the last that changed it.
        let from = |word: &str, by_autonomy: bool, by_ceiling: bool| {
            if by_ceiling {
                // The nearest one that says something of it, in the order of what it is about.
                self.in_ceiling(&own(word))
            } else if by_autonomy {
                self.in_table(&["policy.autonomy".into()], BUILT_IN)
            } else {
                self.in_table(&[key(word)], DEFAULT)
            }
        };
        let commands = narrowed.commands.iter().map(|command| {
            let from = if admitted.commands.contains(command) {
                self.in_table(&[key(&format!("commands:{command}")), key("commands")], DEFAULT)
            } else {
                self.in_ceiling(&own(&format!("commands:{command}")))
            };
            Part { value: command.clone(), from }
        });
        let taken = admitted.commands.iter().filter(|command| !narrowed.commands.contains(*command));
        RoleView {
            role: name,
            held: self.held(name, &admission),
            runtime: self.runtime(),
            sandbox: Part {
                value: narrowed.sandbox.as_str(),
                from: from("sandbox", admitted.sandbox != listed.sandbox, narrowed.sandbox != admitted.sandbox),
            },
            network: Part {
                value: narrowed.network,
                from: from("network", admitted.network != listed.network, narrowed.network != admitted.network),
            },
            limits: limits(&narrowed.limits)
                .into_iter()
                .zip(limits(&admitted.limits))
                .map(|((word, value), (_, before))| {
                    let from = if value == before {
                        self.in_table(&[key(&format!("limits.{word}"))], DEFAULT)
                    } else {
                        self.in_ceiling(&own(&format!("limits.{word}"))[..2])
                    };
                    (word, Part { value, from })
                })
                .collect(),
            commands: commands.collect(),
            refused: taken
                .map(|command| Part { value: command.clone(), from: self.in_ceiling(&own("commands")[..2]) })
                .collect(),
            rows: self.rows(name),
        }
    }

    fn runtime(&self) -> Part<String> {
        let value = self.table.as_ref().map(|table| table.runtime.clone());
        let default = || vocabulary().runtimes.first().map_or_else(String::new, |name| (*name).to_owned());
        Part { value: value.unwrap_or_else(default), from: self.in_table(&["runtime".into()], BUILT_IN) }
    }

    fn held(&self, role: &str, admission: &Admission) -> Option<String> {
        if let Admission::Held { reason } = admission {
            return Some(reason.clone());
        }
        self.ceiling.as_ref()?.ceiling.holds(role)
    }

    fn rows(&self, role: &str) -> Vec<RowView> {
        let mut out = Vec::new();
        for row in self.table.iter().flat_map(|table| &table.triggers) {
            if !matches!(&row.action, RowAction::Role(name) if name == role) {
                continue;
            }
            let mut add = |key, value: Option<String>| {
                let view = |value| RowView { row: row.name.clone(), key, value, from: format!("{TABLE}:{}", row.line) };
                out.extend(value.map(view));
            };
            add("runtime", row.runtime.clone());
            add("wall", row.limits.wall.map(text::duration));
            add("idle", row.limits.idle.map(text::duration));
            add("output", row.limits.output_bytes.map(text::bytes));
            add("tokens", row.limits.tokens.map(text::count));
            add("attempts", row.limits.attempts.map(|attempts| attempts.to_string()));
            add("memory", row.limits.memory_bytes.map(text::bytes));
            add("processes", row.limits.processes.map(|processes| processes.to_string()));
            add("file_size", row.limits.file_bytes.map(text::bytes));
        }
        out
    }

    /// The ceiling's file, if there is one.
    pub(super) fn ceiling_path(&self) -> Option<String> {
        self.ceiling.as_ref().map(|found| found.path.to_string_lossy().into_owned())
    }

    /// Whether runs are held to this table: whether it is the one that a person accepted. So it is where there is none.
    pub(super) fn is_accepted(&self) -> bool {
        self.is_accepted
    }

    pub(super) fn has_table(&self) -> bool {
        self.table.is_some()
    }
}

fn limits(limits: &Limits) -> [(&'static str, String); 8] {
    [
        ("wall", text::duration(limits.wall)),
        ("idle", text::duration(limits.idle)),
        ("output", text::bytes(limits.output_bytes)),
        ("tokens", text::count(limits.tokens)),
        ("attempts", limits.attempts.to_string()),
        ("memory", text::bytes(limits.memory_bytes)),
        ("processes", limits.processes.to_string()),
        ("file_size", text::bytes(limits.file_bytes)),
    ]
}
