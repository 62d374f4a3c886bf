//! The page people review: what came out, why, what to type; then the answer; then what it rests on.
//!
//! The first lines are the verdict. An inconclusive result says so there and never shows the role's own verdict as if
//! it stood. Everything of the answer goes through [`markdown`](super::markdown).

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::markdown::{block, code, inline, paragraph, plural};
use super::{Conclusion, Envelope, Evidence, Judgement};
use crate::error::{Context as _, Error, Result};
use crate::ids::Digest;
use crate::role::Role;
use crate::role::answer::{ArchitectAnswer, ArchitectVerdict, Level, PlannerAnswer, TesterAnswer, TesterVerdict};
use crate::text;

/// How many names one line lists.
const NAMES: usize = 12;

/// How many of the lines that went beyond the list are shown.
const BEYOND: usize = 5;

/// How many characters of a command's line are shown; the artifact's JSON holds all of it.
const LINE: usize = 70;

/// The answer of one role, read back.
enum Answer {
    Planner(PlannerAnswer),
    Architect(ArchitectAnswer),
    Tester(TesterAnswer),
}

impl Answer {
    fn read(role: &str, value: &Value) -> Result<Self> {
        let unfit = || format!("the answer does not fit the role `{}`", text::one_line(role));
        match role {
            "planner" => serde_json::from_value(value.clone()).map(Self::Planner).context(unfit),
            "architect" => serde_json::from_value(value.clone()).map(Self::Architect).context(unfit),
            "tester" => serde_json::from_value(value.clone()).map(Self::Tester).context(unfit),
            _ => Err(Error::failed(unfit())),
        }
    }

    fn verdict(&self) -> String {
        match self {
            Self::Planner(plan) if plan.blocking_questions.is_empty() => "planned".to_owned(),
            Self::Planner(_) => "asks".to_owned(),
            Self::Architect(check) => check.verdict.as_str().to_owned(),
            Self::Tester(report) => report.verdict.as_str().to_owned(),
        }
    }

    /// How many questions it asks before anything can follow.
    fn asks(&self) -> usize {
        if let Self::Planner(plan) = self { plan.blocking_questions.len() } else { 0 }
    }

    fn summary(&self) -> &str {
        match self {
            Self::Planner(plan) => &plan.summary,
            Self::Architect(check) => &check.summary,
            Self::Tester(report) => &report.summary,
        }
    }

    /// What the verdict comes with, in numbers.
    fn counts(&self) -> String {
        match self {
            Self::Planner(plan) => {
                let steps = plural(plan.steps.len(), "step");
                match plan.blocking_questions.len() {
                    0 => steps,
                    asked => format!("{} to answer, {steps}", plural(asked, "question")),
                }
            }
            Self::Architect(check) => {
                let high = check.findings.iter().filter(|finding| finding.severity == Level::High).count();
                match (check.findings.len(), high) {
                    (0, _) => "no findings".to_owned(),
                    (all, 0) => plural(all, "finding"),
                    (1, _) => "1 finding, high".to_owned(),
                    (all, high) if all == high => format!("{all} findings, all high"),
                    (all, high) => format!("{}, {high} of them high", plural(all, "finding")),
                }
            }
            Self::Tester(report) => {
                let ran = plural(report.ran.len(), "test command");
                let failures = plural(report.failures.len(), "failure");
                format!("{ran}, {failures}, {}", plural(report.gaps.len(), "gap"))
            }
        }
    }

    /// What a person does next, with a command.
    fn next(&self, envelope: &Envelope, evidence: &Evidence) -> String {
        let run = envelope.run.short();
        let commit = envelope.commit.short();
        let show = format!("`git show {commit}`");
        match self {
            Self::Planner(plan) if plan.blocking_questions.is_empty() => {
                format!("read the steps, then carry out the first; all about the run: `git orchestrator show {run}`")
            }
            Self::Planner(_) => {
                "write the answers into the task document and commit it: that makes a new plan".to_owned()
            }
            Self::Architect(check) => match check.verdict {
                ArchitectVerdict::Approve => format!("look at the change yourself before you merge it: {show}"),
                ArchitectVerdict::Revise | ArchitectVerdict::Reject => {
                    format!("go through the findings with {show} beside them, mend what holds, and commit")
                }
            },
            Self::Tester(report) => {
                // As typed by the model, but executed under the run's allow-list.
                let failed = evidence
                    .commands
                    .iter()
                    .rev()
                    .find(|done| {
                        done.exit_code.is_some_and(|exit| exit != 0)
                            && report.ran.iter().any(|run| same_words(&run.command, &done.command))
                    })
                    .filter(|_| report.verdict == TesterVerdict::Fail);
                match failed {
                    Some(failed) => format!("see it fail: {}", code(&failed.command)),
                    None if report.gaps.is_empty() => {
                        format!("nothing; everything about the run: `git orchestrator show {run}`")
                    }
                    None => format!("look at the gaps with {show} beside them"),
                }
            }
        }
    }
}

/// The whole page.
pub(super) fn page(envelope: &Envelope, judgement: &Judgement) -> Result<String> {
    let answer = Answer::read(&envelope.role, &judgement.answer)?;
    let role = Role::find(&envelope.role)?;
    let mut page = Page { out: String::new() };
    page.head(role, envelope, judgement, &answer);
    match &answer {
        Answer::Planner(plan) => page.plan(plan),
        Answer::Architect(check) => page.check(check),
        Answer::Tester(report) => page.report(report, &judgement.evidence),
    }
    page.evidence(&judgement.evidence);
    page.redactions(envelope);
    page.origin(envelope);
    Ok(page.out)
}

struct Page {
    out: String,
}

impl Page {
    /// One line of our own making, in which foreign text is escaped already.
    fn line(&mut self, line: impl AsRef<str>) {
        self.out.push_str(line.as_ref());
        self.out.push('\n');
    }

    fn heading(&mut self, title: &str) {
        self.line(format!("\n## {title}\n"));
    }

    fn list(&mut self, title: &str, items: &[String]) {
        if !items.is_empty() {
            self.heading(title);
            for item in items {
                self.line(format!("- {}", paragraph(item)));
            }
        }
    }

    fn head(&mut self, role: &Role, envelope: &Envelope, judgement: &Judgement, answer: &Answer) {
        let branch = envelope.branch.as_deref().map_or(String::new(), |branch| format!(" on {}", code(branch)));
        self.line(format!("# {} of `{}`{branch}\n", role.title, envelope.commit.short()));
        if envelope.rehearsal {
            self.line("> **Rehearsal.** Written by a scripted model, not by an agent.\n");
        }
        let verdict = answer.verdict();
        match &judgement.conclusion {
            Conclusion::Conclusive => {
                self.line(format!("- **Verdict: {verdict}** ({})", answer.counts()));
                self.line(format!("- **Why:** {}", inline(answer.summary())));
                self.line(format!("- **Next:** {}", answer.next(envelope, &judgement.evidence)));
            }
            Conclusion::Inconclusive { reasons } if answer.asks() == reasons.len() => {
                let counts = answer.counts();
                self.line(format!("- **Verdict: inconclusive** ({counts}). Nothing follows without answers."));
                self.line(format!("- **Why:** {}", inline(answer.summary())));
                self.line(format!("- **Next:** {}", answer.next(envelope, &judgement.evidence)));
            }
            Conclusion::Inconclusive { reasons } => {
                let reasons: Vec<String> = reasons.iter().map(|reason| inline(reason)).collect();
                self.line("- **Verdict: inconclusive.** This is not a pass: what is below rests on too little.");
                self.line(format!("- **Why:** {}", reasons.join("; ")));
                let next = if has_text(&judgement.evidence) {
                    format!("try again: `git orchestrator retry {}`", envelope.run.short())
                } else {
                    format!("nothing here could be read; look yourself: `git show {}`", envelope.commit.short())
                };
                self.line(format!("- **Next:** {next}"));
                self.heading("What the role said");
                let stands = if verdict == "inconclusive" { "" } else { ", which does not stand" };
                self.line(format!("It said \"{verdict}\"{stands}: {}", inline(answer.summary())));
            }
        }
    }

    fn plan(&mut self, plan: &PlannerAnswer) {
        if !plan.blocking_questions.is_empty() {
            self.heading("Questions to answer");
            for (i, question) in plan.blocking_questions.iter().enumerate() {
                self.line(format!("{}. **{}** {}", i + 1, inline(&question.question), inline(&question.why)));
                question.options.iter().for_each(|option| self.line(format!("   - {}", paragraph(option))));
            }
        }
        self.list("Goals", &plan.goals);
        if !plan.steps.is_empty() {
            self.heading("Steps");
        }
        for (i, step) in plan.steps.iter().enumerate() {
            let gap = if i == 0 { "" } else { "\n" };
            self.line(format!("{gap}### {}. {}\n", i + 1, inline(&step.title)));
            if !step.files.is_empty() {
                let files: Vec<String> = step.files.iter().map(|file| code(file)).collect();
                self.line(format!("- Files: {}", files.join(", ")));
            }
            step.acceptance.iter().for_each(|check| self.line(format!("- Done when: {}", inline(check))));
            self.line(format!("- Risk: {}. {}", step.risk.as_str(), inline(&step.risk_why)));
        }
        self.list("Assumptions", &plan.assumptions);
        self.list("Out of scope", &plan.out_of_scope);
    }

    fn check(&mut self, check: &ArchitectAnswer) {
        if !check.findings.is_empty() {
            self.heading("Findings");
        }
        for (i, finding) in check.findings.iter().enumerate() {
            let gap = if i == 0 { "" } else { "\n" };
            let place = match (finding.line_start, finding.line_end) {
                (first, last) if first == last => format!("{}:{first}", finding.file),
                (first, last) => format!("{}:{first}-{last}", finding.file),
            };
            self.line(format!("{gap}### {}. {} ({})\n", i + 1, inline(&finding.title), finding.severity.as_str()));
            self.line(format!("{}\n", code(&place)));
            self.line(block("", &finding.quote));
            self.line(format!("- **Harm:** {}", inline(&finding.harm)));
            self.line(format!("- **Instead:** {}", inline(&finding.suggestion)));
        }
        if !check.decisions.is_empty() {
            self.heading("Decisions this change makes");
        }
        for (i, decision) in check.decisions.iter().enumerate() {
            let gap = if i == 0 { "" } else { "\n" };
            self.line(format!("{gap}### {}\n", inline(&decision.title)));
            self.line(format!("- **Context:** {}", inline(&decision.context)));
            self.line(format!("- **Decision:** {}", inline(&decision.decision)));
            self.line(format!("- **Consequences:** {}", inline(&decision.consequences)));
        }
        if !check.risks.is_empty() {
            self.heading("Risks");
        }
        for risk in &check.risks {
            let (what, mitigation) = (inline(&risk.what), inline(&risk.mitigation));
            self.line(format!("- **{}:** {what} *Against it:* {mitigation}", risk.level.as_str()));
        }
    }

    fn report(&mut self, report: &TesterAnswer, evidence: &Evidence) {
        if !report.failures.is_empty() {
            self.heading("Failures");
        }
        for (i, failure) in report.failures.iter().enumerate() {
            let gap = if i == 0 { "" } else { "\n" };
            self.line(format!("{gap}### {}. {}\n", i + 1, inline(&failure.test)));
            self.line(format!("{}\n", code(&format!("{}:{}", failure.file, failure.line))));
            self.line(block("", &failure.quote));
            self.line(paragraph(&failure.why));
        }
        if !report.ran.is_empty() {
            self.heading("Tests");
        }
        for run in &report.ran {
            let recorded = evidence.commands.iter().any(|done| same_words(&done.command, &run.command));
            let (command, showed) = (code(&run.command), inline(&run.showed));
            if recorded {
                self.line(format!("- {command} {}: {showed}", exit(run.exit_code)));
            } else {
                self.line(format!("- {command} **is not in the record of the run.** Claimed: {showed}"));
            }
        }
        if !report.gaps.is_empty() {
            self.heading("Not covered");
        }
        for gap in &report.gaps {
            self.line(format!("- {}: {} *If it is wrong:* {}", code(&gap.file), inline(&gap.what), inline(&gap.harm)));
        }
        if let Some(patch) = &report.proposed_tests_patch {
            self.heading("Proposed tests");
            self.line("Not applied and not executed. Save it to a file, read it, then `git apply FILE`.\n");
            self.out.push_str(&block("diff", patch));
        }
    }

    fn evidence(&mut self, evidence: &Evidence) {
        self.heading("What this rests on");
        let files = evidence.files;
        self.line(format!("- Read {} of {}.", files.read, plural(files.changed, "changed file")));
        if files.not_read > 0 {
            self.line(format!("- **Not read:** {}.", names_of(&evidence.files_not_read, files.not_read)));
        }
        if files.skipped > 0 {
            let (count, were) = match files.skipped {
                1 => ("1 generated or binary file".to_owned(), "was"),
                count => (format!("{count} generated or binary files"), "were"),
            };
            self.line(format!("- {count} {were} not read: {}.", names_of(&evidence.files_skipped, files.skipped)));
        }
        if !evidence.changed_in_checkout.is_empty() {
            self.line(format!("- **Changed in the checkout:** {}.", names(&evidence.changed_in_checkout)));
        }
        if !evidence.new_in_checkout.is_empty() {
            self.line(format!("- Left in the checkout: {}.", names(&evidence.new_in_checkout)));
        }
        if evidence.quotes_found > 0 {
            let found = usize::try_from(evidence.quotes_found).unwrap_or(usize::MAX);
            self.line(format!("- {} of the code looked up and found.", plural(found, "quote")));
        }
        if !evidence.quotes_missing.is_empty() {
            let missing = plural(evidence.quotes_missing.len(), "quote");
            let places = names(&evidence.quotes_missing);
            self.line(format!("- **{missing} not found, and taken out with what rested on them:** {places}."));
        }
        for claim in &evidence.claims_unproven {
            self.line(format!("- **Claimed, but:** {}.", inline(claim)));
        }
        if !evidence.unlisted.is_empty() {
            self.line("- **Executed beyond `commands`:**");
            for line in evidence.unlisted.iter().take(BEYOND) {
                self.line(format!("  - {}", code(&text::clipped(line, LINE))));
            }
            if let more @ 1.. = evidence.unlisted.len().saturating_sub(BEYOND) {
                self.line(format!("  - and {more} more"));
            }
        }
        for line in &evidence.allowed_by_a_person {
            self.line(format!("- A person allowed {}, once.", code(&text::clipped(line, LINE))));
        }
        self.refused(evidence);
        if evidence.commands.is_empty() {
            self.line("- No command was executed.");
            return;
        }
        self.line(format!("- {}:", plural(evidence.commands.len(), "command")));
        for command in &evidence.commands {
            let took = text::duration(Duration::from_millis(command.millis));
            let line = text::clipped(&command.command, LINE);
            self.line(format!("  - {} {}, {took}", code(&line), exit(command.exit_code)));
        }
    }

    fn refused(&mut self, evidence: &Evidence) {
        if evidence.refused.is_empty() {
            return;
        }
        self.line(format!("- **Refused by the policy:** {}.", plural(evidence.refused.len(), "action")));
        for refused in evidence.refused.iter().take(BEYOND) {
            let times = if refused.times > 1 { format!(", {} times", refused.times) } else { String::new() };
            let what = code(&text::clipped(&refused.what, LINE));
            self.line(format!("  - {what} ({}{times})", inline(&refused.rule)));
        }
        if let more @ 1.. = evidence.refused.len().saturating_sub(BEYOND) {
            self.line(format!("  - and {more} more"));
        }
    }

    fn redactions(&mut self, envelope: &Envelope) {
        if envelope.redacted.is_empty() {
            return;
        }
        let kinds: Vec<String> =
            envelope.redacted.iter().map(|(kind, count)| format!("{} ({count})", inline(kind))).collect();
        self.line(format!(
            "- Left out of the prompt and of this page, taken for secrets: {}. What is one should not be in \
             the repository.",
            kinds.join(", ")
        ));
    }

    fn origin(&mut self, envelope: &Envelope) {
        let model = envelope.model.as_deref().map_or("its own choice of model".to_owned(), code);
        let short = |digest: &Digest| text::prefix_bytes(digest.as_str(), 12).to_owned();
        let took = text::duration(envelope.finished_at.since(envelope.started_at));
        let version = inline(&envelope.runtime_version);
        let runtime = inline(&envelope.runtime);
        let usage = &envelope.usage;
        self.line("\n---\n");
        writeln!(
            self.out,
            "<sub>Run `{}`, attempt {}, started by {} at {}, took {took}. {runtime} {version} with {model}, {} tokens in \
             ({} cached) and {} out. Commit `{}`. Policy `{}`, prompt `{}`, skill `{}`.</sub>",
            envelope.run,
            envelope.attempt,
            code(&envelope.trigger),
            envelope.started_at,
            text::count(usage.input_tokens),
            text::count(usage.cached_input_tokens),
            text::count(usage.output_tokens),
            envelope.commit,
            short(&envelope.policy),
            short(&envelope.prompt),
            short(&envelope.skill),
        )
        .ok();
    }
}

/// Whether there was anything for a model to read.
fn has_text(evidence: &Evidence) -> bool {
    !(evidence.files_read.is_empty() && evidence.files_not_read.is_empty())
}

/// Whether two command lines are the same but for blanks and quotes.
fn same_words(one: &str, other: &str) -> bool {
    one.trim() == other.trim() || shlex::split(one).is_some_and(|words| Some(words) == shlex::split(other))
}

fn exit(code: Option<i32>) -> String {
    code.map_or("did not end by itself".to_owned(), |code| format!("→ exit {code}"))
}

fn names(names: &[String]) -> String {
    names_of(names, names.len())
}

/// Some names out of `total`.
fn names_of(names: &[String], total: usize) -> String {
    let shown: Vec<String> = names.iter().take(NAMES).map(|name| code(name)).collect();
    match total.saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more if shown.is_empty() => format!("{more} without a name here"),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
