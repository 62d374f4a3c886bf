//! The `triggers` section: rows, and what holds between them.
//!
//! Owns the keys of a row and the checks that need all rows: names are unique, a followed row exists and can end, no
//! row follows itself. It knows neither the policy section nor how a file is parsed.

use std::ops::Range;
use std::time::Duration;

use super::policy::{LIMIT_KEYS, limits};
use super::reader::{Fields, Reader, Word, one_of, unknown_word};
use super::tree::{Node, Value};
use super::values::{self, Complaint};
use crate::diagnostic::Diagnostic;
use crate::event::Hook;
use crate::run::State;
use crate::triggers::glob::{self, Subject};
use crate::triggers::{Coalesce, RowAction, Source, Trigger, Vocabulary, When};

/// The keys of a row.
pub(super) const KEYS: &[&str] =
    &["name", "on", "when", "role", "gate", "requires", "coalesce", "debounce", "runtime", "limits"];
/// The keys of `when`.
pub(super) const WHEN_KEYS: &[&str] = &["paths", "branches", "refs", "message", "author"];
/// The keys of an entry of `on` that follows a row.
pub(super) const RUN_KEYS: &[&str] = &["run", "state"];
/// What a gate can be.
pub(super) const GATES: &[&str] = &["review"];
/// What `coalesce` can be.
pub(super) const COALESCE: &[(&str, Coalesce)] =
    &[("branch", Coalesce::Branch), ("commit", Coalesce::Commit), ("none", Coalesce::None)];

/// The most rows a table may have: far beyond what people write, and little enough to compare each with each.
const MAX_ROWS: usize = 200;

const ROWS_HELP: &str = "a row is `- name: …`, with `on`, `role` and what else it needs below";

/// A row and the places that the checks between rows point at.
struct Placed {
    row: Trigger,
    name: Range<usize>,
    /// For each followed row: its name's place in `on`.
    follows: Vec<(String, Range<usize>)>,
}

/// The rows of the `triggers` section.
pub(super) fn rows(
    reader: &mut Reader<'_>,
    node: &Node,
    vocabulary: &Vocabulary<'_>,
    line_of: impl Fn(usize) -> usize,
) -> Vec<Trigger> {
    let Value::List(items) = &node.value else {
        let wrong = if matches!(node.value, Value::Null) { "no value" } else { "not a list" };
        reader
            .problem(Diagnostic::new(node.span.clone(), "`triggers` has to be a list of rows", wrong).help(ROWS_HELP));
        return Vec::new();
    };
    if let Some(item) = items.get(MAX_ROWS) {
        let message = format!("{} rows are more than the {MAX_ROWS} a table may have", items.len());
        let problem = Diagnostic::new(item.span.clone(), message, "one too many");
        reader.problem(problem.help("one row can listen to several hooks and name several patterns"));
        return Vec::new();
    }
    let names: Vec<&str> = items.iter().filter_map(name_of).collect();
    let mut placed: Vec<Placed> = Vec::with_capacity(items.len());
    for item in items {
        if let Some(row) = row(reader, item, vocabulary, &names, &line_of) {
            placed.push(row);
        }
    }
    unique(reader, &placed);
    followed(reader, &placed, &names);
    cycle(reader, &placed);
    placed.into_iter().map(|placed| placed.row).collect()
}

/// The name of a row, however wrong the rest of it is: so that one mistake is not reported as two.
fn name_of(node: &Node) -> Option<&str> {
    let Value::Map(entries) = &node.value else { return None };
    let (_, value) = entries.iter().find(|(key, _)| key.name == "name")?;
    if let Value::Text(text) = &value.value { Some(text) } else { None }
}

fn row(
    reader: &mut Reader<'_>,
    node: &Node,
    vocabulary: &Vocabulary<'_>,
    names: &[&str],
    line_of: impl Fn(usize) -> usize,
) -> Option<Placed> {
    let called = name_of(node).map_or_else(|| "this row".to_owned(), |name| format!("row `{name}`"));
    let fields = reader.fields_beside(node, "a row", KEYS, &[("when", WHEN_KEYS), ("limits", LIMIT_KEYS)])?;
    let name = reader.required(&fields, "name", &called, "give it a name, such as `name: test`");
    let name = name.and_then(|node| {
        let text = reader.text(node, "`name`")?;
        reader.accept(&node.span, values::name(text)).map(|name| (name, node.span.clone()))
    });
    let on = reader.required(&fields, "on", &called, "say what starts it, such as `on: post-commit`");
    let (sources, follows) = on.map(|node| self::on(reader, node, names)).unwrap_or_default();
    let when = fields.get("when").map(|node| self::when(reader, node)).unwrap_or_default();
    let action = action(reader, &fields, &called, vocabulary);
    if matches!(action, Some(RowAction::Gate { .. })) {
        only_pre_push(reader, on, &sources);
        for key in ["coalesce", "debounce", "runtime", "limits"] {
            if let Some((key, _)) = fields.entry(key) {
                let message = format!("a gate has no `{}`", key.name);
                reader
                    .problem(Diagnostic::new(key.span.clone(), message, "a gate starts no run").help("remove the key"));
            }
        }
    }
    let coalesce =
        fields.get("coalesce").and_then(|node| reader.choice(node, "`coalesce`", "way to coalesce", COALESCE));
    let debounce = fields.get("debounce").and_then(|node| reader.parsed(node, "`debounce`", values::quiet_time));
    only_after_a_hook(reader, &fields, &called, &sources);
    let runtime = fields.get("runtime").and_then(|node| self::runtime(reader, node, vocabulary));
    let limits = fields.get("limits").map(|node| limits(reader, node)).unwrap_or_default();
    let (name, span) = name?;
    let line = line_of(span.start);
    let coalesce = coalesce.unwrap_or_default();
    let has_hook = sources.iter().any(|source| matches!(source, Source::Hook(_)));
    let debounce = debounce.unwrap_or_else(|| if has_hook { coalesce.debounce() } else { Duration::ZERO });
    let row = Trigger { name, line, on: sources, when, action: action?, coalesce, debounce, runtime, limits };
    Some(Placed { row, name: span, follows })
}

/// A runtime's name.
pub(super) fn runtime(reader: &mut Reader<'_>, node: &Node, vocabulary: &Vocabulary<'_>) -> Option<String> {
    let text = reader.text(node, "`runtime`")?;
    word_of(reader, &Word { text, span: node.span.clone() }, "runtime", vocabulary.runtimes)
}

/// One of the names there are.
pub(super) fn word_of(reader: &mut Reader<'_>, word: &Word<'_>, kind: &str, names: &[&str]) -> Option<String> {
    if names.contains(&word.text) {
        return Some(word.text.to_owned());
    }
    reader.problem(unknown_word(word, kind, names));
    None
}

type Follows = Vec<(String, Range<usize>)>;

/// `on`: a hook, `{run: NAME, state: STATE}`, or a list of these.
fn on(reader: &mut Reader<'_>, node: &Node, names: &[&str]) -> (Vec<Source>, Follows) {
    let one = std::slice::from_ref(node);
    let items = if let Value::List(items) = &node.value { items.as_slice() } else { one };
    if items.is_empty() {
        reader.problem(
            Diagnostic::new(node.span.clone(), "`on` is an empty list", "nothing starts this row")
                .help(format!("name a hook: {}", one_of(&hooks()))),
        );
    }
    let mut sources: Vec<Source> = Vec::new();
    let mut follows = Vec::new();
    for item in items {
        let source = match &item.value {
            Value::Text(text) => hook(reader, &Word { text, span: item.span.clone() }, names).map(Source::Hook),
            Value::Map(_) => {
                let (run, state) = run(reader, item);
                follows.extend(run.clone());
                run.zip(state).map(|((trigger, _), state)| Source::Run { trigger, state })
            }
            Value::Null | Value::Bool(_) | Value::Number | Value::List(_) => {
                reader.problem(
                    Diagnostic::new(item.span.clone(), "`on` has to name a hook or a run", item.value.is())
                        .help("write `on: post-commit`, or `on: { run: ROW, state: succeeded }`"),
                );
                None
            }
        };
        let Some(source) = source else { continue };
        if sources.contains(&source) {
            let problem = Diagnostic::new(item.span.clone(), "`on` names the same thing twice", "again here");
            reader.problem(problem.help("keep one of the two"));
        } else {
            sources.push(source);
        }
    }
    (sources, follows)
}

fn hooks() -> Vec<&'static str> {
    Hook::INSTALLED.into_iter().map(Hook::as_str).collect()
}

fn hook(reader: &mut Reader<'_>, word: &Word<'_>, names: &[&str]) -> Option<Hook> {
    let hook = Hook::parse(word.text);
    if hook.is_none() {
        let mut problem = unknown_word(word, "hook", &hooks());
        if names.contains(&word.text) {
            problem.help = vec![format!("to follow that row write `on: {{ run: {}, state: succeeded }}`", word.text)];
        }
        reader.problem(problem);
    }
    hook
}

fn run(reader: &mut Reader<'_>, node: &Node) -> (Option<(String, Range<usize>)>, Option<State>) {
    let Some(fields) = reader.fields(node, "an entry of `on`", RUN_KEYS) else { return (None, None) };
    let help = "write `on: { run: ROW, state: succeeded }`";
    let run = reader.required(&fields, "run", "an entry of `on`", help);
    let run = run.and_then(|node| reader.text(node, "`run`").map(|text| (text.to_owned(), node.span.clone())));
    let state = reader.required(&fields, "state", "an entry of `on`", help);
    let state = state.and_then(|node| {
        let text = reader.text(node, "`state`")?;
        let ends: Vec<(&str, State)> =
            State::ALL.into_iter().filter(|s| s.is_terminal()).map(|s| (s.as_str(), s)).collect();
        if State::parse(text).is_some_and(|state| !state.is_terminal()) {
            let names: Vec<&str> = ends.iter().map(|(name, _)| *name).collect();
            reader.problem(
                Diagnostic::new(node.span.clone(), format!("a run does not end in `{text}`"), "not an end")
                    .help(format!("a run ends in {}", one_of(&names))),
            );
            return None;
        }
        reader.one_of(&Word { text, span: node.span.clone() }, "state", &ends)
    });
    (run, state)
}

fn when(reader: &mut Reader<'_>, node: &Node) -> When {
    let Some(fields) = reader.fields(node, "`when`", WHEN_KEYS) else { return When::default() };
    let mut patterns = |key: &str, subject: Subject| {
        let Some(node) = fields.get(key) else { return Vec::new() };
        let mut patterns = Vec::new();
        for word in reader.words(node, &format!("`{key}`")) {
            let checked = glob::check(word.text, subject).map_err(|flaw| Complaint {
                message: format!("`{}` is not a pattern for `{key}`", word.text),
                label: flaw.label,
                help: flaw.help,
            });
            if reader.accept(&word.span, checked).is_some() {
                patterns.push(word.text.to_owned());
            }
        }
        patterns
    };
    let paths = patterns("paths", Subject::Path);
    let branches = patterns("branches", Subject::Branch);
    let refs = patterns("refs", Subject::Ref);
    let author = patterns("author", Subject::Person);
    let message = fields.get("message").and_then(|node| {
        if matches!(node.value, Value::List(_)) {
            reader.problem(
                Diagnostic::new(node.span.clone(), "`message` has to be one expression", "this is a list")
                    .help("join the alternatives with `|`: \"^(feat|task)\""),
            );
            return None;
        }
        let text = reader.text(node, "`message`")?;
        reader.accept(&node.span, values::message(text))
    });
    When { paths, branches, refs, message, author }
}

fn action(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    called: &str,
    vocabulary: &Vocabulary<'_>,
) -> Option<RowAction> {
    let requires = fields.entry("requires");
    match (fields.entry("role"), fields.entry("gate")) {
        (Some((role, _)), Some((gate, _))) => {
            reader.problem(
                Diagnostic::new(gate.span.clone(), format!("{called} has both `role` and `gate`"), "a gate blocks")
                    .also(role.span.clone(), "a role runs")
                    .help("make two rows of it: one that starts the role, one that is the gate"),
            );
            None
        }
        (None, None) if fields.guessed => None,
        (None, None) => {
            reader.problem(
                Diagnostic::new(fields.span.clone(), format!("{called} does nothing"), "neither `role` nor `gate`")
                    .help(format!("say which role it starts: {}", one_of(vocabulary.roles))),
            );
            None
        }
        (Some((_, role)), None) => {
            if let Some((key, _)) = requires {
                let problem =
                    Diagnostic::new(key.span.clone(), "`requires` belongs to a gate", "this row starts a role");
                reader.problem(problem.help("to run after another row write `on: { run: ROW, state: succeeded }`"));
            }
            let text = reader.text(role, "`role`")?;
            let word = Word { text, span: role.span.clone() };
            word_of(reader, &word, "role", vocabulary.roles).map(RowAction::Role)
        }
        (None, Some((key, gate))) => {
            let text = reader.text(gate, "`gate`");
            if let Some(text) = text {
                word_of(reader, &Word { text, span: gate.span.clone() }, "gate", GATES);
            }
            let Some((_, requires)) = requires else {
                reader.problem(
                    Diagnostic::new(key.span.clone(), format!("{called} has no `requires`"), "a gate for nothing")
                        .help("name the roles whose artifacts it needs, such as `requires: [tester]`"),
                );
                return Some(RowAction::Gate { requires: Vec::new() });
            };
            let mut roles: Vec<String> = Vec::new();
            for word in reader.words(requires, "`requires`") {
                let Some(role) = word_of(reader, &word, "role", vocabulary.roles) else { continue };
                if roles.contains(&role) {
                    let problem = Diagnostic::new(word.span, format!("`requires` names `{role}` twice"), "again here");
                    reader.problem(problem.help("keep one of the two"));
                } else {
                    roles.push(role);
                }
            }
            Some(RowAction::Gate { requires: roles })
        }
    }
}

fn only_pre_push(reader: &mut Reader<'_>, on: Option<&Node>, sources: &[Source]) {
    if let Some(node) = on
        && sources.iter().any(|source| *source != Source::Hook(Hook::PrePush))
    {
        reader.problem(
            Diagnostic::new(node.span.clone(), "a gate listens to `pre-push` only", "nothing to block here")
                .help("write `on: pre-push`: it is the hook that can say no"),
        );
    }
}

/// `debounce` waits for events of git: where none starts the row it would do nothing.
fn only_after_a_hook(reader: &mut Reader<'_>, fields: &Fields<'_>, called: &str, sources: &[Source]) {
    if let Some((key, _)) = fields.entry("debounce")
        && !sources.is_empty()
        && sources.iter().all(|source| matches!(source, Source::Run { .. }))
    {
        let message = format!("{called} has a `debounce`, but no hook starts it");
        reader.problem(
            Diagnostic::new(key.span.clone(), message, "nothing to wait for: the other run has ended by then")
                .help("put it on the row that is followed"),
        );
    }
}

fn unique(reader: &mut Reader<'_>, rows: &[Placed]) {
    for (at, placed) in rows.iter().enumerate() {
        if let Some(first) = rows.iter().take(at).find(|other| other.row.name == placed.row.name) {
            reader.problem(
                Diagnostic::new(
                    placed.name.clone(),
                    format!("two rows are named `{}`", placed.row.name),
                    "the second one",
                )
                .also(first.name.clone(), "the first one")
                .help("give one of them another name"),
            );
        }
    }
}

fn followed(reader: &mut Reader<'_>, rows: &[Placed], names: &[&str]) {
    for (name, span) in rows.iter().flat_map(|placed| &placed.follows) {
        match rows.iter().find(|other| other.row.name == *name) {
            Some(other) if matches!(other.row.action, RowAction::Gate { .. }) => reader.problem(
                Diagnostic::new(span.clone(), format!("`{name}` is a gate: it never runs"), "no run to follow")
                    .help("follow a row that starts a role"),
            ),
            // A row that is there but wrong has been reported already.
            None if !names.contains(&name.as_str()) => {
                reader.problem(unknown_word(&Word { text: name, span: span.clone() }, "row", names));
            }
            Some(_) | None => {}
        }
    }
}

/// Reports the first cycle: rows that start each other would never end.
fn cycle(reader: &mut Reader<'_>, rows: &[Placed]) {
    // From each row along what it follows. Rows are few; a path that comes back to its start is a cycle.
    for start in rows {
        let mut path: Vec<(&Placed, &Range<usize>)> = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        if comes_back(start, start, rows, &mut path, &mut seen) {
            let Some(((_, first), others)) = path.split_first() else { continue };
            let mut message = format!("row `{}` follows itself", start.row.name);
            if !others.is_empty() {
                message = format!("rows start each other in a circle: `{}`", start.row.name);
                for (row, _) in path.iter().rev() {
                    message.push_str(" → `");
                    message.push_str(&row.row.name);
                    message.push('`');
                }
            }
            let mut problem = Diagnostic::new((*first).clone(), message, "this closes the circle")
                .help("start one of them by a hook instead, such as `on: post-commit`");
            // The sentence names the whole way; more marks than these would fill screens.
            for (_, span) in others.iter().take(8) {
                problem = problem.also((*span).clone(), "which follows");
            }
            reader.problem(problem);
            return;
        }
    }
}

/// Whether following `at` leads back to `start`; `path` then holds the way, `at` first.
fn comes_back<'r>(
    at: &'r Placed,
    start: &Placed,
    rows: &'r [Placed],
    path: &mut Vec<(&'r Placed, &'r Range<usize>)>,
    seen: &mut Vec<&'r str>,
) -> bool {
    for (name, span) in &at.follows {
        path.push((at, span));
        if *name == start.row.name {
            return true;
        }
        if !seen.contains(&name.as_str()) {
            seen.push(name);
            if let Some(next) = rows.iter().find(|other| other.row.name == *name)
                && comes_back(next, start, rows, path, seen)
            {
                return true;
            }
        }
        path.pop();
    }
    false
}
