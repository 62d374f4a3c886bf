//! What roles answer: one type for each, from which its strict schema is derived.
//!
//! The doc comments of the fields become the schema's descriptions, so they are part of what the model reads: they
//! speak to it. A unit test writes `skills/<role>/answer.schema.json` from these types and fails when a file is stale,
//! so that the type that reads an answer and the schema that was sent for it cannot differ. Checks that need more than
//! one field, the repository or the record are made by the artifact module.

use serde::{Deserialize, Serialize};

/// How much something weighs, by the harm it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Wrong results, lost data, a security hole or a broken build.
    High,
    /// Harm under conditions that are likely to occur.
    Medium,
    /// Harm that is small or rare.
    Low,
}

impl Level {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

/// A plan for the task that the commit describes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PlannerAnswer {
    /// The plan in one to three sentences, for a person who decides whether to go on.
    pub summary: String,
    /// What will be true for users when the task is done, one statement each.
    pub goals: Vec<String>,
    /// What the plan takes for granted without having found it in the repository or in the task.
    pub assumptions: Vec<String>,
    /// The steps, in the order in which they are carried out. Empty only if a blocking question prevents any plan.
    pub steps: Vec<PlanStep>,
    /// What a reader might expect but the task does not include.
    pub out_of_scope: Vec<String>,
    /// Only questions whose answer changes the steps and cannot be found in the repository. Usually empty.
    pub blocking_questions: Vec<Question>,
}

/// One step of a plan, small enough to be one commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PlanStep {
    /// What is done, in the imperative, in at most a dozen words.
    pub title: String,
    /// Paths that the step changes or creates, relative to the top of the repository.
    pub files: Vec<String>,
    /// How somebody else can tell that the step is done: checks with an observable outcome, at least one.
    pub acceptance: Vec<String>,
    /// How likely and how bad it is that this step goes wrong.
    pub risk: Level,
    /// Where the risk lies, in one sentence.
    pub risk_why: String,
}

/// A question that a person has to answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The question, answerable in one sentence.
    pub question: String,
    /// Which steps depend on the answer, and how.
    pub why: String,
    /// The answers you see, best first. Empty if the answer is free text.
    pub options: Vec<String>,
}

/// A design check of one change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ArchitectAnswer {
    /// The verdict on the change as it stands.
    pub verdict: ArchitectVerdict,
    /// What the change does and why the verdict follows, in one to three sentences.
    pub summary: String,
    /// Faults of the design or of the code that carries it, worst first. Each needs a quote.
    pub findings: Vec<Finding>,
    /// Decisions that this change makes, stated or not, which later changes will have to live with.
    pub decisions: Vec<DesignDecision>,
    /// What may go wrong later although nothing is wrong now.
    pub risks: Vec<Risk>,
}

/// What the architect thinks of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ArchitectVerdict {
    /// Every changed file was read and nothing has to change.
    Approve,
    /// Sound on the whole, but the findings have to be mended.
    Revise,
    /// The approach itself is wrong.
    Reject,
}

impl ArchitectVerdict {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Revise => "revise",
            Self::Reject => "reject",
        }
    }
}

/// A fault at a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// By the harm that you state, not by how easy the fault is to mend.
    pub severity: Level,
    /// The fault in at most a dozen words.
    pub title: String,
    /// The path, relative to the top of the repository, as the changed-files list has it.
    pub file: String,
    /// The line of the file at this commit, counted from 1, where the quote begins.
    pub line_start: u32,
    /// The line where the quote ends.
    pub line_end: u32,
    /// The text of those lines, copied character by character from the file: no diff markers, nothing left out.
    pub quote: String,
    /// Who is harmed, when, and how: input and outcome.
    pub harm: String,
    /// What to do instead.
    pub suggestion: String,
}

/// A decision in the form of an architecture decision record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DesignDecision {
    /// The decision as a title.
    pub title: String,
    /// What forced a decision.
    pub context: String,
    /// What was decided.
    pub decision: String,
    /// What becomes easier and what becomes harder.
    pub consequences: String,
}

/// Something that may go wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Risk {
    /// How much it weighs.
    pub level: Level,
    /// What may happen, and under which condition.
    pub what: String,
    /// How one would notice it, or what keeps it away.
    pub mitigation: String,
}

/// A report on the tests of one change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TesterAnswer {
    /// The verdict on the change as it stands.
    pub verdict: TesterVerdict,
    /// What was tested and what came out, in one to three sentences.
    pub summary: String,
    /// The test commands you executed in this run, each as you typed it. It is compared with the record of the run.
    pub ran: Vec<TestRun>,
    /// Tests that fail because of the change, worst first. Each needs a quote.
    pub failures: Vec<TestFailure>,
    /// Behaviour that this change adds or alters and that no test covers.
    pub gaps: Vec<Gap>,
    /// Tests that close the worst gaps, as one unified diff against this commit that `git apply` accepts; null if none.
    #[serde(deserialize_with = "Option::deserialize")]
    pub proposed_tests_patch: Option<String>,
}

/// What the tester thinks of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum TesterVerdict {
    /// Tests that reach the change were executed in this run and ended with exit code 0.
    Pass,
    /// A test failed because of the change.
    Fail,
    /// Tests could not be executed, do not reach the change, or failed for another reason.
    Inconclusive,
}

impl TesterVerdict {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// A test command that was executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TestRun {
    /// The command line, exactly as it was executed.
    pub command: String,
    /// Its exit code; null if it did not end by itself.
    #[serde(deserialize_with = "Option::deserialize")]
    pub exit_code: Option<i32>,
    /// What its output shows, in one sentence with the numbers that matter.
    pub showed: String,
}

/// A test that fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TestFailure {
    /// The name of the test, or of what does not build.
    pub test: String,
    /// The path of the code at fault, relative to the top of the repository.
    pub file: String,
    /// The line of the file at this commit, counted from 1, where the quote begins.
    pub line: u32,
    /// The text at that place, copied character by character from the file: no diff markers, nothing left out.
    pub quote: String,
    /// What is expected, what happens instead, and why.
    pub why: String,
}

/// Something no test covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// The path of the code, relative to the top of the repository.
    pub file: String,
    /// The behaviour that is not tested, with the input that would show it.
    pub what: String,
    /// What breaks unnoticed if it is wrong.
    pub harm: String,
}
