//! The planner's part: reads the commit's summary and the task's document, and makes a step of each of its points.

use serde_json::{Value, json};

use super::architect::is_document;
use super::facts::Facts;
use super::history::{Execution, History};
use super::{MARK, Step, word};

/// How many points of a document become steps.
const STEPS: usize = 8;

/// How many documents are opened.
const OPENED: usize = 4;

/// What the planner does next.
pub(super) fn next(facts: &Facts, history: &History) -> Step {
    let summary = "git show --stat HEAD";
    if history.of(summary).is_none() {
        return Step::run(summary, "Looking at what the commit changes.");
    }
    let Some(path) = document(facts) else {
        return Step::Answer(answer(facts, None, history));
    };
    let others = facts.changed.iter();
    let others = others.filter(|file| file.is_missing(facts) && file.path != path && is_document(&file.path));
    let others = others.filter_map(|file| word(&file.path)).take(OPENED - 1);
    for path in std::iter::once(path).chain(others) {
        let read = format!("cat {path}");
        if history.of(&read).is_none() {
            return Step::run(read, format!("Reading {path}."));
        }
    }
    let text = history.of(&format!("cat {path}")).and_then(Execution::success);
    Step::Answer(answer(facts, text.map(|text| (path, text)), history))
}

/// The changed file that describes a task: one under a directory `tasks`, else any document, else any file.
fn document(facts: &Facts) -> Option<&str> {
    let usable: Vec<&str> = facts.present().filter_map(word).collect();
    let in_tasks = usable.iter().find(|path| path.split('/').rev().skip(1).any(|part| part == "tasks"));
    let documents = || usable.iter().find(|path| is_document(path));
    in_tasks.or_else(documents).or(usable.first()).copied()
}

/// What a document says, by its Markdown.
#[derive(Default)]
struct Task {
    title: Option<String>,
    points: Vec<String>,
    questions: Vec<String>,
    files: Vec<String>,
}

fn task(text: &str) -> Task {
    let mut task = Task::default();
    for line in text.lines().map(str::trim) {
        let lower = line.to_ascii_lowercase();
        let worded = |text: &&str| text.chars().any(char::is_alphanumeric);
        let point = ["- [ ] ", "- [x] ", "- ", "* "].iter().find_map(|mark| line.strip_prefix(mark));
        let point = point.or_else(|| {
            let (number, rest) = line.split_once(". ")?;
            (!number.is_empty() && number.chars().all(|c| c.is_ascii_digit())).then_some(rest)
        });
        if let Some(title) = line.strip_prefix("# ") {
            task.title.get_or_insert_with(|| title.trim().to_owned());
        } else if lower.starts_with("question:") || lower.starts_with("open question:") {
            let question = line.split_once(':').map(|(_, question)| question.trim()).filter(worded);
            task.questions.extend(question.map(str::to_owned));
        } else if let Some(point) = point.filter(worded) {
            task.points.push(point.trim().to_owned());
        }
        // Paths are named in backticks: every second piece between them.
        let named = line.split('`').skip(1).step_by(2).filter(|piece| piece.contains(['/', '.']));
        for path in named.filter_map(word) {
            if !task.files.iter().any(|known| known == path) {
                task.files.push(path.to_owned());
            }
        }
    }
    task
}

fn answer(facts: &Facts, document: Option<(&str, &str)>, history: &History) -> Value {
    let Some((path, text)) = document else {
        let read = history.all().len();
        return json!({
            "summary": format!(
                "{MARK}: {} holds no document that could be read ({read} commands were tried), so there is no plan.",
                facts.commit_name()
            ),
            "goals": [], "assumptions": [], "steps": [], "out_of_scope": [],
            "blocking_questions": [{
                "question": "Which file describes the task?",
                "why": "Without it there is no step to plan.",
                "options": [],
            }],
        });
    };
    let task = task(text);
    let title = task.title.clone().unwrap_or_else(|| path.to_owned());
    let left = task.points.len().saturating_sub(STEPS);
    let steps: Vec<Value> = task.points.iter().take(STEPS).map(|point| step(point, &task, path)).collect();
    let steps = if steps.is_empty() { vec![step(&title, &task, path)] } else { steps };
    let mut out_of_scope = vec!["Anything that the document does not list: a script takes it literally.".to_owned()];
    if left > 0 {
        out_of_scope.push(format!("{left} more points of {path}: a rehearsal plans the first {STEPS}."));
    }
    let questions: Vec<Value> = task
        .questions
        .iter()
        .map(|question| {
            json!({ "question": question, "why": format!("{path} asks it, so its answer decides the steps."), "options": [] })
        })
        .collect();
    json!({
        "summary": format!(
            "{MARK}: {} from {path}. It took the document of {} literally; that is no plan to rely on.",
            plural(steps.len(), "step"),
            facts.commit_name(),
        ),
        "goals": [title],
        "assumptions": ["The points of the document are complete and in the order in which they are to be done."],
        "steps": steps,
        "out_of_scope": out_of_scope,
        "blocking_questions": questions,
    })
}

fn step(point: &str, task: &Task, document: &str) -> Value {
    let plain = point.replace('`', "");
    let named: Vec<&String> = task.files.iter().filter(|path| point.contains(&format!("`{path}`"))).collect();
    let tested = plain.to_ascii_lowercase().contains("test");
    json!({
        "title": crate::text::clipped(&plain, 100),
        "files": if named.is_empty() { task.files.iter().collect() } else { named },
        "acceptance": [format!("{document} says: {}", crate::text::clipped(&plain, 200))],
        "risk": if tested { "low" } else { "medium" },
        "risk_why": if tested {
            "The step adds a check, which harms nobody by itself."
        } else {
            "A script cannot weigh it; a step that changes code counts as medium."
        },
    })
}

/// `1 step`, `2 steps`.
pub(super) fn plural(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
