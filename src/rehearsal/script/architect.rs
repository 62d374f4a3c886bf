//! The architect's part: reads the commit's summary and the changed files the prompt does not hold, looks in the added
//! lines for a few things a script can recognise, and compares the change with the plan it was handed.

use serde_json::{Value, json};

use super::facts::{Added, Changed, Facts};
use super::history::History;
use super::planner::plural;
use super::{MARK, Step, word};

/// How many files are opened: enough to show how, without reading a whole repository.
const OPENED: usize = 4;

/// How many findings are reported.
const FINDINGS: usize = 5;

/// What a script can see in a line, with its weight, title, harm and suggestion.
const SIGNS: &[(&str, &str, &str, &str, &str)] = &[
    (
        "todo!(",
        "high",
        "unfinished code is committed",
        "Whoever reaches this line gets a panic instead of a result.",
        "Finish it, or return an error that says what is missing.",
    ),
    (
        "panic!(",
        "medium",
        "a panic ends the program",
        "An input that reaches this line ends the whole process.",
        "Return an error to the caller.",
    ),
    (
        ".unwrap()",
        "medium",
        "an absent value or an error panics",
        "The first input for which the value is absent ends the process without a reason.",
        "Return the error, or say in `expect` why it cannot happen.",
    ),
    (
        "TODO",
        "low",
        "a note of unfinished work",
        "The note is forgotten and the gap stays.",
        "Do it, or file it as a task.",
    ),
    ("FIXME", "low", "a note of a known fault", "The fault is known and stays.", "Mend it, or file it as a task."),
];

/// What the architect does next.
pub(super) fn next(facts: &Facts, history: &History) -> Step {
    let summary = "git show --stat HEAD";
    if history.of(summary).is_none() {
        return Step::run(summary, "Looking at what the commit changes.");
    }
    for path in to_open(facts) {
        let read = format!("cat {path}");
        if history.of(&read).is_none() {
            return Step::run(read, format!("Reading {path}."));
        }
    }
    Step::Answer(answer(facts, history))
}

/// The files to open: those whose diff the prompt does not hold, or not whole, come first.
fn to_open(facts: &Facts) -> Vec<&str> {
    let readable = |file: &&Changed| !file.deleted && !file.unreadable && word(&file.path).is_some();
    let (missing, held): (Vec<_>, Vec<_>) =
        facts.changed.iter().filter(readable).partition(|file| file.is_missing(facts));
    let missing = missing.into_iter().take(OPENED - 1);
    missing.chain(held.into_iter().take(1)).map(|file| file.path.as_str()).collect()
}

fn findings(facts: &Facts) -> Vec<(u8, Value)> {
    let is_code = |added: &&Added| !is_document(&added.path) && !is_test(&added.path);
    let mut findings: Vec<(u8, Value)> = facts
        .added
        .iter()
        .filter(is_code)
        .filter_map(|added| {
            let (_, severity, title, harm, suggestion) = SIGNS.iter().find(|(sign, ..)| added.text.contains(sign))?;
            let weight = match *severity {
                "high" => 0,
                "medium" => 1,
                _ => 2,
            };
            let finding = json!({
                "severity": severity, "title": title, "file": added.path, "line_start": added.line,
                "line_end": added.line, "quote": added.text, "harm": harm, "suggestion": suggestion,
            });
            Some((weight, finding))
        })
        .collect();
    findings.sort_by_key(|(weight, _)| *weight);
    findings.truncate(FINDINGS);
    findings
}

/// Whether a path is text for people.
pub(super) fn is_document(path: &str) -> bool {
    [".md", ".txt", ".rst", ".adoc"].iter().any(|end| path.ends_with(end))
}

/// Whether a path is a test's, by the names that tests go by.
pub(super) fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path.split('/').any(|part| part == "tests" || part == "test")
        || name.starts_with("test_")
        || ["_test.", ".test.", ".spec."].iter().any(|mark| name.contains(mark))
}

fn answer(facts: &Facts, history: &History) -> Value {
    let found = findings(facts);
    let weighty = found.iter().filter(|(weight, _)| *weight < 2).count();
    let read = history.all().iter().filter(|done| done.command.starts_with("cat ") && done.success().is_some()).count();
    let (verdict, result) = match (found.len(), weighty) {
        (0, _) => ("approve", "it found none of the few signs of trouble it knows".to_owned()),
        (n, 0) => ("approve", format!("it found {} of little weight", plural(n, "sign"))),
        (n, _) => ("revise", format!("it found {} of trouble", plural(n, "sign"))),
    };
    let looked = format!(
        "It looked through {} of {} and opened {}; that is no review.",
        plural(facts.added.len(), "added line"),
        facts.commit_name(),
        plural(read, "file"),
    );
    json!({
        "verdict": verdict,
        "summary": format!("{MARK}: {result}. {looked}"),
        "findings": found.into_iter().map(|(_, finding)| finding).collect::<Vec<_>>(),
        "decisions": decisions(facts),
        "risks": risks(facts),
    })
}

/// A new file is the one decision a script can see.
fn decisions(facts: &Facts) -> Vec<Value> {
    let mut new: Vec<&str> = Vec::new();
    for added in facts.added.iter().filter(|added| added.line == 1) {
        if word(&added.path).is_some() && !new.contains(&added.path.as_str()) {
            new.push(&added.path);
        }
    }
    new.into_iter()
        .take(2)
        .map(|path| {
            json!({
                "title": format!("What {path} begins with"),
                "context": format!("The change writes the first line of {path}."),
                "decision": format!("{path} holds it."),
                "consequences": "Later changes find it there, and have to move it if that was the wrong place.",
            })
        })
        .collect()
}

fn risks(facts: &Facts) -> Vec<Value> {
    let mut risks = Vec::new();
    let planned: Vec<&str> = facts
        .plan
        .iter()
        .filter_map(|plan| plan.get("steps")?.as_array())
        .flatten()
        .filter_map(|step| step.get("files")?.as_array())
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if facts.plan.is_some() {
        let unplanned: Vec<&str> =
            facts.present().filter(|path| !planned.contains(path) && !is_document(path)).take(5).collect();
        let open = planned.iter().any(|path| !facts.present().any(|changed| changed == *path));
        if !unplanned.is_empty() {
            risks.push(json!({
                "level": "low",
                "what": format!("The plan does not name {}, which the commit changes.", unplanned.join(", ")),
                "mitigation": "Compare the change with the plan before the next step.",
            }));
        } else if open {
            risks.push(json!({
                "level": "low",
                "what": "The plan names files that this commit does not change, so it is not carried out yet.",
                "mitigation": "The next commits show whether the steps follow.",
            }));
        }
    }
    let code = facts.present().any(|path| !is_document(path) && !is_test(path));
    let tests = facts.present().any(is_test) || facts.added.iter().any(|added| added.text.contains("#[test]"));
    if code && !tests {
        risks.push(json!({
            "level": "medium",
            "what": "The commit changes code and no test, so a mistake in it may go unnoticed.",
            "mitigation": "Run the tests that are there, and add one for what is new.",
        }));
    }
    risks
}
