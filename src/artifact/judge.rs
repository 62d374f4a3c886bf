//! From an answer to a judgement, role by role.
//!
//! Three kinds of fault are told apart. What does not fit the type or contradicts itself goes back to the model, once.
//! What the commit or the record does not bear out is taken out of the answer and listed. What is left but rests on too
//! little is inconclusive, with the reasons: it is published, and is never a pass.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::evidence::{self, Executed, LISTED};
use super::reads::Ends;
use super::{Conclusion, Evidence, FileCounts, Judgement, quotes, suites};
use crate::context::{Class, Context};
use crate::event::Change;
use crate::git::Repository;
use crate::git::workspace::Changes;
use crate::ids::Oid;
use crate::role::Role;
use crate::role::answer::{
    ArchitectAnswer, ArchitectVerdict, Level, PlannerAnswer, TestRun, TesterAnswer, TesterVerdict,
};
use crate::runtime::activity::Recorded;
use crate::secrets::redacted;
use crate::text;

/// The longest answer that is looked at, in bytes. Real ones have a few thousand.
const ANSWER_BYTES: usize = 512 * 1024;

/// The most findings or failures: each is looked up in the repository. More than a few dozen are noise to a person.
const LOOKED_UP: usize = 100;

/// How much is told of why an answer cannot be read, in characters.
const ERROR: usize = 300;

/// The longest headline, in characters: a line of a terminal beside the run's name.
const HEADLINE: usize = 120;

/// An answer, and what it is judged by.
#[derive(Clone, Copy)]
pub struct Submission<'a> {
    /// Who answered.
    pub role: &'a Role,
    /// What, as it came.
    pub answer: &'a str,
    /// What the prompt held.
    pub context: &'a Context,
    /// What happened until the answer came.
    pub activities: &'a [Recorded],
    /// Where the commits are.
    pub repository: &'a Repository,
    /// The change that the run is about.
    pub change: &'a Change,
    /// What was left of the checkout when the answer came.
    pub checkout: &'a Changes,
}

/// Checks an answer against the role's type and the record. `Err` lists what is wrong with it, for a repair turn.
pub fn judge(submission: &Submission<'_>) -> Result<Judgement, Vec<String>> {
    let Submission { role, answer, context, activities, repository, change, checkout } = *submission;
    let executed = evidence::executed(activities);
    let mut evidence = evidence::gather(context, &executed, &Ends::of(change, repository), checkout);
    evidence::note_decisions(&mut evidence, activities);
    let mut case = Case {
        context,
        // What a person allowed counts as if it were listed, for this run.
        commands: context.commands.iter().chain(&evidence.allowed_by_a_person).cloned().collect(),
        executed: &executed,
        repository,
        commit: &change.head,
        evidence,
        reasons: Vec::new(),
        problems: Vec::new(),
        in_favour: false,
    };
    if context.files_changed == 0 {
        case.reasons.push("the change is empty: there was nothing to look at".to_owned());
    }
    let (answer, verdict, summary, questions) = match role.name {
        "planner" => case.planner(parsed(answer)?),
        "architect" => case.architect(parsed(answer)?),
        "tester" => case.tester(parsed(answer)?),
        other => return Err(vec![format!("there is no answer type for the role `{other}`")]),
    };
    if !case.problems.is_empty() {
        return Err(case.problems);
    }
    let answer = answer.map_err(|error| vec![error])?;
    let headline = match case.reasons.first() {
        Some(reason) => format!("inconclusive: {reason}"),
        None => format!("{verdict}: {summary}"),
    };
    let favourable = case.in_favour && case.reasons.is_empty();
    let conclusion = match case.reasons {
        reasons if reasons.is_empty() => Conclusion::Conclusive,
        reasons => Conclusion::Inconclusive { reasons },
    };
    let headline = headline.split_whitespace().collect::<Vec<_>>().join(" ");
    // The headline and the questions are shown outside the artifact, which is cleaned when it is written.
    let headline = text::clipped(&text::one_line(&redacted(&headline)), HEADLINE).into_owned();
    let questions = questions.iter().map(|question| redacted(question).into_owned()).collect();
    let mut evidence = case.evidence;
    for list in [
        &mut evidence.files_read,
        &mut evidence.files_not_read,
        &mut evidence.files_skipped,
        &mut evidence.quotes_missing,
        &mut evidence.claims_unproven,
        &mut evidence.unlisted,
        &mut evidence.allowed_by_a_person,
    ] {
        list.truncate(LISTED);
    }
    evidence.refused.truncate(LISTED);
    Ok(Judgement { answer, conclusion, favourable, evidence, headline, questions })
}

/// The answer as its type. A single code fence around the object is taken off: models without strict output add it.
fn parsed<T: DeserializeOwned>(answer: &str) -> Result<T, Vec<String>> {
    if answer.len() > ANSWER_BYTES {
        let limit = text::bytes(ANSWER_BYTES as u64);
        return Err(vec![format!("the answer is longer than {limit}: answer more briefly")]);
    }
    let trimmed = answer.trim();
    if trimmed.is_empty() {
        return Err(vec!["the answer is empty: answer with one JSON object that fits the schema".to_owned()]);
    }
    let inner = trimmed
        .strip_prefix("```json")
        .or_else(|| trimmed.strip_prefix("```"))
        .and_then(|rest| rest.strip_suffix("```"))
        .unwrap_or(trimmed);
    serde_json::from_str(inner).map_err(|error| {
        // What does not fit is quoted, however long it is.
        let error = error.to_string();
        let (place, said) = (error.rfind(" at line ").map_or("", |at| &error[at..]), redacted(&error));
        let said = if said.chars().count() > ERROR {
            format!("{}{place}", text::clipped(&said, ERROR))
        } else {
            said.into_owned()
        };
        vec![format!("the answer is not one JSON object that fits the schema: {said}")]
    })
}

/// What a judgement gathers.
struct Case<'a> {
    context: &'a Context,
    commands: Vec<String>,
    executed: &'a [Executed],
    repository: &'a Repository,
    commit: &'a Oid,
    evidence: Evidence,
    reasons: Vec<String>,
    problems: Vec<String>,
    /// The answer is for the change, whatever it is worth.
    in_favour: bool,
}

/// The answer as JSON, the verdict as a word, the summary, and questions that block.
type Judged = (Result<Value, String>, String, String, Vec<String>);

fn to_value(answer: &impl Serialize) -> Result<Value, String> {
    serde_json::to_value(answer).map_err(|error| format!("the answer cannot be written as JSON: {error}"))
}

impl Case<'_> {
    fn planner(&mut self, answer: PlannerAnswer) -> Judged {
        self.require("summary", &answer.summary);
        if answer.steps.is_empty() && answer.blocking_questions.is_empty() {
            self.problems.push("`steps` is empty although no question blocks: plan, or ask what blocks".to_owned());
        }
        for (i, step) in answer.steps.iter().enumerate() {
            self.require(&format!("steps[{i}].title"), &step.title);
            if step.acceptance.iter().all(|line| line.trim().is_empty()) {
                self.problems.push(format!("`steps[{i}].acceptance` is empty: say how one can tell that it is done"));
            }
            for file in &step.files {
                self.require_path(&format!("steps[{i}].files"), file);
            }
        }
        for (i, question) in answer.blocking_questions.iter().enumerate() {
            self.require(&format!("blocking_questions[{i}].question"), &question.question);
        }
        let unread = self.context.files.iter().filter(|file| file.class == Class::Document);
        let unread: Vec<&str> =
            unread.map(|file| file.path.as_str()).filter(|path| self.is_unread(path)).take(3).collect();
        if !unread.is_empty() {
            let names = unread.join("`, `");
            self.reasons.push(format!("a document of the change was not read as a whole: `{names}`"));
        }
        let questions: Vec<String> = answer
            .blocking_questions
            .iter()
            .map(|question| {
                let options = match question.options.as_slice() {
                    [] => String::new(),
                    options => format!(" ({})", options.join(" / ")),
                };
                format!("{}{options}", question.question)
            })
            .collect();
        self.reasons.extend(questions.iter().map(|question| format!("a question is open: {question}")));
        self.in_favour = true;
        let verdict = match (answer.steps.len(), answer.blocking_questions.len()) {
            (steps, 0) => super::markdown::plural(steps, "step"),
            (steps, asked) => {
                format!("{}, {}", super::markdown::plural(asked, "question"), super::markdown::plural(steps, "step"))
            }
        };
        (to_value(&answer), verdict, answer.summary, questions)
    }

    fn architect(&mut self, mut answer: ArchitectAnswer) -> Judged {
        self.require("summary", &answer.summary);
        self.require_few("findings", &mut answer.findings);
        for (i, finding) in answer.findings.iter().enumerate() {
            self.require(&format!("findings[{i}].title"), &finding.title);
            self.require(&format!("findings[{i}].harm"), &finding.harm);
            self.require(&format!("findings[{i}].quote"), &finding.quote);
            self.require_path(&format!("findings[{i}].file"), &finding.file);
        }
        let approves = answer.verdict == ArchitectVerdict::Approve;
        self.in_favour = approves;
        if approves && answer.findings.iter().any(|finding| finding.severity == Level::High) {
            self.problems.push("`verdict` is `approve` although a finding has severity `high`".to_owned());
        }
        if !approves && answer.findings.is_empty() {
            self.problems.push(format!("`verdict` is `{}` without a finding", answer.verdict.as_str()));
        }
        answer.findings.retain_mut(|finding| {
            let place = self.look_up(&finding.file, finding.line_start, &finding.quote);
            if let Some((first, last)) = place {
                (finding.line_start, finding.line_end) = (first, last);
            }
            place.is_some()
        });
        answer.findings.sort_by_key(|finding| finding.severity);
        if approves {
            self.require_all_read();
            self.require_untouched();
        } else if answer.findings.is_empty() {
            self.reasons.push("no finding is left: none of the quoted text stands in the commit".to_owned());
        }
        (to_value(&answer), answer.verdict.as_str().to_owned(), answer.summary, Vec::new())
    }

    fn tester(&mut self, mut answer: TesterAnswer) -> Judged {
        self.require("summary", &answer.summary);
        self.require_few("failures", &mut answer.failures);
        for (i, failure) in answer.failures.iter().enumerate() {
            self.require(&format!("failures[{i}].test"), &failure.test);
            self.require(&format!("failures[{i}].quote"), &failure.quote);
            self.require_path(&format!("failures[{i}].file"), &failure.file);
        }
        if answer.verdict == TesterVerdict::Pass && !answer.failures.is_empty() {
            self.problems.push("`verdict` is `pass` although `failures` lists one".to_owned());
        }
        if let Some(patch) = &answer.proposed_tests_patch {
            let is_diff = ["--- ", "+++ ", "@@ "].iter().all(|mark| patch.lines().any(|line| line.starts_with(mark)));
            if !is_diff {
                self.problems.push("`proposed_tests_patch` is no unified diff: make it one, or null".to_owned());
            }
        }
        answer.failures.retain_mut(|failure| {
            let place = self.look_up(&failure.file, failure.line, &failure.quote);
            if let Some((first, _)) = place {
                failure.line = first;
            }
            place.is_some()
        });
        for run in &mut answer.ran {
            self.compare_claim(run);
        }
        self.in_favour = answer.verdict == TesterVerdict::Pass;
        match answer.verdict {
            TesterVerdict::Pass => {
                self.require_tests_passed();
                self.require_untouched();
            }
            TesterVerdict::Fail if !self.last_runs(suites::is_test).iter().any(|test| test.exit_code != Some(0)) => {
                self.reasons.push("the record shows no test command that failed".to_owned());
            }
            TesterVerdict::Fail => {}
            TesterVerdict::Inconclusive => {
                self.reasons.push(format!("the tester came to no verdict: {}", answer.summary.trim()));
            }
        }
        (to_value(&answer), answer.verdict.as_str().to_owned(), answer.summary, Vec::new())
    }

    fn require(&mut self, field: &str, text: &str) {
        if text.trim().is_empty() {
            self.problems.push(format!("`{field}` is empty"));
        }
    }

    /// Notes that a list is too long, and shortens it so that the rest can be checked.
    fn require_few<T>(&mut self, field: &str, list: &mut Vec<T>) {
        if list.len() > LOOKED_UP {
            self.problems.push(format!("`{field}` has {} entries: name the {LOOKED_UP} worst at most", list.len()));
            list.truncate(LOOKED_UP);
        }
    }

    fn require_path(&mut self, field: &str, path: &str) {
        let odd = path.is_empty() || path.starts_with('/') || path.split('/').any(|part| part == "..");
        if odd {
            let path = text::clipped(path, 80);
            self.problems.push(format!("`{field}` holds `{path}`: give paths relative to the top of the repository"));
        }
    }

    fn is_unread(&self, path: &str) -> bool {
        self.evidence.files_not_read.iter().any(|unread| unread == path)
    }

    /// Where the quote stands; notes what comes of it.
    fn look_up(&mut self, file: &str, line: u32, quote: &str) -> Option<quotes::Place> {
        let place = quotes::find(self.repository, self.commit, file, line, quote);
        match place {
            Some(_) => self.evidence.quotes_found += 1,
            None => self.evidence.quotes_missing.push(format!("{file}:{line}")),
        }
        place
    }

    fn require_all_read(&mut self) {
        let FileCounts { changed, read, not_read, skipped } = self.evidence.files;
        if not_read > 0 {
            let first = self.evidence.files_not_read.first();
            let among = first.map_or_else(String::new, |first| format!(", among them `{first}`"));
            let total = changed.saturating_sub(skipped);
            self.reasons.push(format!("{not_read} of {total} changed files were not read as a whole{among}"));
        } else if read == 0 && changed > 0 {
            self.reasons.push("nothing of the change is text that can be read".to_owned());
        }
        let hidden: Vec<&str> = self
            .context
            .files
            .iter()
            .filter(|file| file.program && self.evidence.files_skipped.contains(&file.path))
            .map(|file| file.path.as_str())
            .collect();
        if !hidden.is_empty() {
            let names = some_of(&hidden);
            self.reasons.push(format!("code that is generated or binary was not read: {names}"));
        }
    }

    /// What was tried or read has to be what the commit holds.
    fn require_untouched(&mut self) {
        let changed: Vec<&str> = self.evidence.changed_in_checkout.iter().map(String::as_str).collect();
        if !changed.is_empty() {
            self.reasons.push(format!("the checkout did not hold the commit any more: {} changed", some_of(&changed)));
        }
    }

    /// Gives a claimed command the exit code of the record; notes a claim that the record does not bear out.
    fn compare_claim(&mut self, run: &mut TestRun) {
        let words = shlex::split(&run.command).unwrap_or_default();
        let same = |executed: &&Executed| {
            executed.line.trim() == run.command.trim() || (!words.is_empty() && executed.words == words)
        };
        let recorded: Vec<&Executed> = self.executed.iter().filter(same).collect();
        let Some(last) = recorded.last() else {
            self.evidence.claims_unproven.push(format!("`{}` is not in the record", run.command));
            run.exit_code = None;
            return;
        };
        if !recorded.iter().any(|executed| executed.exit_code == run.exit_code) {
            let code = |code: Option<i32>| code.map_or("no exit code".to_owned(), |code| format!("exit code {code}"));
            let (ended, claimed) = (code(last.exit_code), code(run.exit_code));
            self.evidence.claims_unproven.push(format!("`{}` ended with {ended}, not with {claimed}", run.command));
            run.exit_code = last.exit_code;
        }
    }

    /// Of each command of this kind the last time it was executed.
    fn last_runs(&self, kind: fn(&Executed, &[String]) -> bool) -> Vec<&Executed> {
        let runs: Vec<&Executed> = self.executed.iter().filter(|executed| kind(executed, &self.commands)).collect();
        let is_last = |i: usize, run: &Executed| runs.iter().skip(i + 1).all(|later| later.words != run.words);
        runs.iter().enumerate().filter(|(i, run)| is_last(*i, run)).map(|(_, run)| *run).collect()
    }

    /// A failure counts whatever its command was told to do; a success, only if tests were executed.
    fn require_tests_passed(&mut self) {
        let mut reasons = Vec::new();
        let calls = self.last_runs(suites::calls_runner);
        let tests = self.last_runs(suites::is_test);
        if let Some(failed) = calls.iter().find(|call| call.exit_code != Some(0)) {
            let code = failed.exit_code.map_or("without an exit code".to_owned(), |code| format!("with {code}"));
            reasons.push(format!("`{}` ended {code}", failed.line));
        } else if let (true, Some(call)) = (tests.is_empty(), calls.last()) {
            reasons.push(format!(
                "the record shows no test command that was executed for certain: `{}` may have skipped them",
                call.line
            ));
        } else if tests.is_empty() {
            reasons.push("the record shows no test command that was executed".to_owned());
        } else if let Some(test) = tests.iter().find(|test| suites::shows_failure(test)) {
            reasons.push(format!("`{}` ended with exit code 0 and printed that tests failed", test.line));
        } else if tests.iter().all(|test| suites::shows_no_test(test, &self.commands)) {
            reasons.push("the output of the test commands shows no executed test".to_owned());
        }
        if let Some(claim) = self.evidence.claims_unproven.first() {
            reasons.push(format!("the report claims what the record does not show: {claim}"));
        }
        self.reasons.extend(reasons);
    }
}

/// The first few names, and how many there are beside them.
fn some_of(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(3).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(3) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
