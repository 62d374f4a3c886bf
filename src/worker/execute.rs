//! One attempt of one run, from its claim to the state it ends in.
//!
//! The steps are: probe the runtime, prepare the workspace, make the package, run the turn, judge the answer (and ask
//! once more if it does not fit), publish. Each is recorded before the next begins. What can go wrong for a reason a
//! person should read becomes a transition; only a store that cannot be written to ends the worker.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::escalation::{self, Permissions};
use super::record::Record;
use super::{LOOK_INTERVAL, Worker, choice};
use crate::artifact::{self, Conclusion, Envelope, Judgement, Submission};
use crate::clock::Timestamp;
use crate::context::{self, Context, Handoff, Inputs, Package};
use crate::error::Error;
use crate::event::Event;
use crate::files;
use crate::git::readable;
use crate::git::workspace::{self, Workspace};
use crate::ids::Digest;
use crate::policy::gatekeeper::AllowList;
use crate::policy::{Checkout, Limits};
use crate::process;
use crate::role::Role;
use crate::run::{Happening, State};
use crate::runtime::refusals::described;
use crate::runtime::registry::{self, Chosen};
use crate::runtime::{Activity, Capabilities, Class, Failure, Outcome, Runtime, SandboxProfile, Turn, Usage};
use crate::secrets::{self, Counts};
use crate::store::ledger::Ledger;
use crate::store::question::Question;
use crate::store::{Claim, Run, Store, StoreError, Transition, spool};
use crate::trust::hook::Copies;

/// The largest artifact that is kept and handed over, in bytes.
const ARTIFACT_BYTES_MAX: u64 = 4 << 20;

/// Variables that say which toolchain is meant, beside those that say where each lies.
const TOOLCHAINS_CHOSEN: &[&str] = &["PYENV_VERSION", "RUSTUP_TOOLCHAIN"];

/// How many faults of an answer a run's reason names: it is one line.
const PROBLEMS_TOLD: usize = 3;

/// The longest wait for a provider that says when to come back: a worker is no resident program.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// How many rows of the history a chain of handoffs may be long: rows cannot form a cycle, so a longer one is damage.
const CHAIN_MAX: usize = 16;

/// Why an attempt did not end in an artifact.
enum Ended {
    /// The run has a new state for this reason.
    With(Box<Transition>),
    /// Our own side failed: the run says so, and the next one begins.
    Own(Error),
    /// The store refused.
    Store(StoreError),
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        match error {
            // A file of the run, not the ledger: the run can still be told what became of it.
            StoreError::Files(error) => error.into(),
            StoreError::StaleClaim { .. }
            | StoreError::Impossible { .. }
            | StoreError::NoSuchRun(_)
            | StoreError::NoSuchQuestion(_)
            | StoreError::NotOpen { .. }
            | StoreError::NothingToAsk(_)
            | StoreError::Newer { .. }
            | StoreError::Database { .. }
            | StoreError::Damaged { .. } => Self::Store(error),
        }
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Own(error)
    }
}

/// What is ready when a turn begins.
struct Prepared {
    role: &'static Role,
    runtime: Box<dyn Runtime>,
    capabilities: Capabilities,
    workspace: Workspace,
    sandbox: SandboxProfile,
    package: Package,
    schema: Value,
    /// When the attempt began: its wall limit counts from here.
    begun: Instant,
}

impl Worker {
    /// Carries out one attempt and returns the state it ended in.
    pub(super) async fn execute(&mut self, claim: &Claim, run: Run, copies: &Copies) -> Result<State, StoreError> {
        let directory = self.layout.run(run.id, run.created_at);
        let steps = u32::try_from(self.ledger.steps(run.id)?.len()).unwrap_or(u32::MAX);
        let ended = match Record::open(&self.layout, &directory, run.attempt, steps) {
            Ok(mut record) => self.attempt(claim, &run, copies, &mut record).await,
            Err(error) => Err(error.into()),
        };
        // Whatever the turn left behind is gone before the run's state says that it is over.
        let left = process::end_descendants(Duration::from_secs(5));
        if left > 0 {
            tracing::error!(run = %run.id, left, "processes of the run could not be ended");
        }
        let state = match ended {
            Ok(state) => state,
            Err(Ended::With(transition)) => self.ledger.advance(claim, *transition)?,
            Err(Ended::Own(error)) => {
                let next = error.hints().first().cloned().or_else(|| next_step(Class::Internal, &run));
                let reason = format!("{} · {}", error.chain(), next.unwrap_or_default());
                self.ledger.advance(claim, Transition::of(Happening::Failed, reason))?
            }
            Err(Ended::Store(error)) => return Err(error),
        };
        artifact::refresh_inbox(&self.layout, &self.ledger)?;
        Ok(state)
    }

    async fn attempt(
        &mut self,
        claim: &Claim,
        run: &Run,
        copies: &Copies,
        record: &mut Record,
    ) -> Result<State, Ended> {
        let run = &self.settled(claim, run.clone())?;
        let prepared = self.prepare(claim, run, copies, record).await?;
        let rehearsal = registry::is_rehearsal(&self.environment);
        let begun = Transition { rehearsal: Some(rehearsal), ..Transition::of(Happening::Prepared, "") };
        self.ledger.advance(claim, begun)?;

        let questions = self.ledger.questions(run.id)?;
        let mut last = if questions.iter().any(|question| question.answer.is_some()) {
            self.go_on(claim, run, record, &prepared, &questions).await?
        } else {
            self.turn(claim, run, record, &prepared, &prepared.package.prompt, None).await?
        };
        let mut spent = last.usage;
        self.ledger.advance(claim, used(Happening::Answered, spent))?;
        let mut judged = self.judge(claim, run, record, &prepared, &last)?;

        let mut why_no_more = "";
        if let Err(problems) = &judged
            && let Some(thread) = last.thread.clone()
        {
            if run.usage.plus(spent).total() < run.job.policy().limits.tokens {
                let reason = format!("the answer did not fit: {}", problems.first().map_or("", String::as_str));
                self.ledger.advance(claim, Transition::of(Happening::Repaired, reason))?;
                let prompt = repair_prompt(problems);
                let resume = Some(Resume { thread: &thread, thread_usage: last.thread_usage, spent });
                last = self.turn(claim, run, record, &prepared, &prompt, resume).await?;
                spent = spent.plus(last.usage);
                self.ledger.advance(claim, used(Happening::Answered, last.usage))?;
                judged = self.judge(claim, run, record, &prepared, &last)?;
                why_no_more = ", though it was asked twice";
            } else {
                why_no_more = " and the run's tokens are used up (`limits.tokens`)";
            }
        }
        let asked = escalation::asked(record.activities(), run.attempt, &judged, &last.answer);
        if !asked.is_empty() && run.usage.plus(spent).total() < run.job.policy().limits.tokens {
            self.last_look(run)?;
            let lines: Vec<_> = asked.iter().map(|asked| described(&asked.action)).collect();
            let note = escalation::reason(run, &asked);
            record.step(&mut self.ledger, claim, "wait", &note, &json!({ "asked": lines }))?;
            return Ok(self.ledger.ask(claim, &asked, Transition::of(Happening::Questioned, note))?);
        }
        let judgement = match judged {
            Ok(judgement) => judgement,
            Err(problems) => {
                let told: Vec<_> = problems.iter().take(PROBLEMS_TOLD).map(String::as_str).collect();
                let told = told.join("; ");
                let more = problems.len().saturating_sub(PROBLEMS_TOLD);
                let more = if more == 0 { String::new() } else { format!("; and {more} more") };
                let next = format!("git orchestrator log {}", run.id.short());
                let reason = format!("no usable answer{why_no_more}: {told}{more} · {next}");
                return Err(Ended::With(Box::new(Transition::of(Happening::Rejected, reason))));
            }
        };
        self.last_look(run)?;
        self.ledger.advance(claim, Transition::of(Happening::Validated, ""))?;
        let envelope = envelope(run, &prepared, &last, rehearsal, run.usage.plus(spent));
        self.layout.track_artifacts(run.job.artifacts.track)?;
        let paths = artifact::publish(&self.layout, &envelope, &judgement)?;
        self.keep_copies(record, &paths)?;
        record.step(&mut self.ledger, claim, "publish", &paths.join(", "), &json!({ "artifacts": paths }))?;
        let happening = match &judgement.conclusion {
            Conclusion::Conclusive => Happening::Published,
            Conclusion::Inconclusive { .. } => Happening::PublishedInconclusive,
        };
        let favourable = Some(judgement.favourable);
        let published =
            Transition { artifacts: Some(paths), favourable, ..Transition::of(happening, judgement.headline) };
        Ok(self.ledger.advance(claim, published)?)
    }

    /// The last look: of a run that somebody stopped, or whose commit was replaced meanwhile, nothing is published and
    /// nobody is asked.
    fn last_look(&mut self, run: &Run) -> Result<(), Ended> {
        if let Err(error) = self.take_in() {
            tracing::error!(%error, "cannot take events in");
        }
        choice::give_way(&self.repository, &mut self.ledger, run)?;
        self.stop_wanted(run)?.map_or(Ok(()), |stop| Err(Ended::With(Box::new(stop))))
    }

    /// The first turn of an attempt that goes on after a person answered: on the thread that asked, where the runtime
    /// still has it, and otherwise from the beginning, with the answers.
    async fn go_on(
        &mut self,
        claim: &Claim,
        run: &Run,
        record: &mut Record,
        prepared: &Prepared,
        questions: &[Question],
    ) -> Result<Outcome, Ended> {
        let now = Timestamp::now();
        let told = escalation::told(questions, run, now);
        let left = escalation::thread_left(&self.ledger.steps(run.id)?, record.directory());
        let mut why = "the runtime keeps no thread";
        if let Some((thread, thread_usage)) = left.filter(|_| prepared.capabilities.resumes) {
            // What the thread has seen counts: its earlier attempts are part of the record that judges it.
            record.recall()?;
            let prompt = escalation::note(questions, run, now, false);
            let note = format!("goes on with its thread: {told}");
            record.step(&mut self.ledger, claim, "resume", &note, &json!({ "thread": thread, "prompt": prompt }))?;
            let before = record.activities().len();
            let resume = Resume { thread: &thread, thread_usage, spent: Usage::default() };
            let failure = match self.try_turn(claim, run, record, prepared, &prompt, Some(resume)).await? {
                Ok(outcome) => return Ok(outcome),
                Err(failure) => failure,
            };
            let new = record.activities().get(before..).unwrap_or_default();
            let was_asked = new.iter().any(|recorded| recorded.activity == Activity::TurnStarted);
            if was_asked || failure.class != Class::Protocol {
                return Err(self.ended_by(run, &failure, Usage::default()));
            }
            why = "its thread could not be continued";
            record.activity(Activity::Warning { message: format!("{why}, so that it begins anew: {failure}") });
        }
        let prompt = format!("{}\n{}", prepared.package.prompt, escalation::note(questions, run, now, true));
        let note = format!("begins anew, since {why}: {told}");
        record.step(&mut self.ledger, claim, "resume", &note, &json!({ "thread": null, "prompt": prompt }))?;
        self.turn(claim, run, record, prepared, &prompt, None).await
    }

    /// Keeps what was published beside the record. A later run of the same role and commit replaces what lies under
    /// `artifacts/`; what this run found, and hands over, stays as it was.
    fn keep_copies(&self, record: &Record, paths: &[String]) -> Result<(), Error> {
        for path in paths {
            let published = Path::new(path);
            let bytes = files::read_beneath(self.layout.home(), published, ARTIFACT_BYTES_MAX)?
                .ok_or_else(|| Error::failed(format!("{path} is gone as soon as it was written")))?;
            let extension = published.extension().and_then(OsStr::to_str).unwrap_or_default();
            record.write(&format!("artifact.{extension}"), &bytes)?;
        }
        Ok(())
    }

    /// Settles what the run is about: see [`Self::whole_change`].
    fn settled(&mut self, claim: &Claim, mut run: Run) -> Result<Run, Ended> {
        if !run.job.took_up.is_empty() {
            let change = self.whole_change(&run);
            let tree = self.repository.commit(&change.head)?.tree;
            self.ledger.settle(claim, &change, &tree)?;
            run.job = self.ledger.run(run.id)?.job;
        }
        Ok(run)
    }

    /// How the run ends if somebody wants it to stop.
    fn stop_wanted(&self, run: &Run) -> Result<Option<Transition>, StoreError> {
        let now = self.ledger.run(run.id)?;
        Ok(match now.superseded_by {
            Some(by) => Some(Transition::of(Happening::Superseded, now.superseded_reason(&self.ledger.run(by)?))),
            None => now.cancel_requested.then(|| Transition::of(Happening::Cancelled, "cancelled by a person")),
        })
    }

    /// Everything before the model is asked.
    async fn prepare(
        &mut self,
        claim: &Claim,
        run: &Run,
        copies: &Copies,
        record: &mut Record,
    ) -> Result<Prepared, Ended> {
        let begun = Instant::now();
        let job = &run.job;
        let policy = job.policy();
        let role = Role::find(&job.row.role)?;
        let workspace = workspace::prepare(&self.repository, role.name, &job.change.head, &self.environment)?;
        let sandbox = SandboxProfile {
            mode: policy.sandbox,
            network: policy.network,
            temporary: workspace.temporary.clone(),
            readable: readable::readable(&self.repository, &workspace, &self.environment)?,
            command_environment: self.command_environment()?,
        };
        let candidates = registry::candidates(&job.row.runtime, &self.own_program)?;
        let chosen = registry::choose(candidates, &self.environment, &sandbox, &workspace.path).await;
        let Chosen { runtime, capabilities, passed_over } =
            chosen.map_err(|failure| self.ended_by(run, &failure, Usage::default()))?;
        let place = workspace.path.display().to_string();
        let runtime_name = runtime.name();
        record.step(
            &mut self.ledger,
            claim,
            "workspace",
            &format!("{runtime_name} {}", capabilities.version),
            &json!({ "workspace": place, "commit": job.change.head, "runtime": runtime_name, "capabilities": capabilities,
                "passed_over": passed_over }),
        )?;

        let event = self.event_of(run)?;
        let handoffs = self.handoffs(run)?;
        let inputs = Inputs {
            role,
            job,
            event: &event,
            repository: &self.repository,
            handoffs: &handoffs,
            skill: copies.skill(role.name),
            guidance: copies.instructions.as_deref(),
        };
        let package = context::package(inputs)?;
        let schema = role.schema_value();
        record.write("prompt.md", package.prompt.as_bytes())?;
        record.write("context.json", &pretty(&package.context)?)?;
        record.write("schema.json", &pretty(&schema)?)?;
        let note = format!("{} of prompt", crate::text::bytes(package.prompt.len() as u64));
        record.step(&mut self.ledger, claim, "package", &note, &json!({ "prompt": package.context.prompt }))?;
        Ok(Prepared { role, runtime, capabilities, workspace, sandbox, package, schema, begun })
    }

    /// What a run's commands find in their environment beside the core: git kept from executing the repository's
    /// configuration, and where toolchains lie.
    fn command_environment(&self) -> Result<BTreeMap<String, String>, Error> {
        let mut out: BTreeMap<_, _> = workspace::neutral_configuration(&self.repository)?.into_iter().collect();
        // Without them a build tool that is not in its usual place fails in every run.
        for name in process::TOOLCHAIN_PLACES.iter().chain(TOOLCHAINS_CHOSEN) {
            if let Some(value) = self.environment.get(OsStr::new(name)).and_then(|value| value.to_str()) {
                out.insert((*name).to_owned(), value.to_owned());
            }
        }
        Ok(out)
    }

    fn event_of(&self, run: &Run) -> Result<Event, Ended> {
        let missing = || Error::failed(format!("the event of run {} is not in the ledger", run.id));
        Ok(self.ledger.event(&run.job.event)?.ok_or_else(missing)?)
    }

    /// What the runs found whose ends led to this one, first to last.
    fn handoffs(&self, run: &Run) -> Result<Vec<Handoff>, Ended> {
        let mut handoffs = Vec::new();
        let mut cause = run.job.caused_by;
        while let Some(id) = cause.filter(|_| handoffs.len() < CHAIN_MAX) {
            let earlier = self.ledger.run(id)?;
            cause = earlier.job.caused_by;
            let Some(path) = earlier.artifact("json") else { continue };
            let kept = self.layout.run(id, earlier.created_at).join("artifact.json");
            let Some(bytes) = self.layout.read(&kept, ARTIFACT_BYTES_MAX)? else {
                return Err(Error::failed(format!("the artifact of run {} is gone", id.short())).into());
            };
            let artifact: Value = serde_json::from_slice(&bytes).map_err(|error| {
                Error::failed(format!("the artifact of run {} does not read back", id.short())).because(error)
            })?;
            handoffs.push(Handoff {
                role: earlier.job.row.role.clone(),
                path: path.to_owned(),
                answer: artifact.get("answer").map(Value::to_string).unwrap_or_default(),
                digest: Digest::of(&bytes),
            });
        }
        handoffs.reverse();
        Ok(handoffs)
    }

    /// Runs one turn; one that fails ends the attempt.
    async fn turn(
        &mut self,
        claim: &Claim,
        run: &Run,
        record: &mut Record,
        prepared: &Prepared,
        prompt: &str,
        resume: Option<Resume<'_>>,
    ) -> Result<Outcome, Ended> {
        let spent = resume.map_or_else(Usage::default, |resume| resume.spent);
        let done = self.try_turn(claim, run, record, prepared, prompt, resume).await?;
        done.map_err(|failure| self.ended_by(run, &failure, spent))
    }

    /// Runs one turn, with an eye on the queue and on whoever wants it to stop.
    async fn try_turn(
        &mut self,
        claim: &Claim,
        run: &Run,
        record: &mut Record,
        prepared: &Prepared,
        prompt: &str,
        resume: Option<Resume<'_>>,
    ) -> Result<Result<Outcome, Failure>, Ended> {
        let policy = run.job.policy();
        let top = &prepared.workspace.path;
        let submodules = workspace::submodules(&self.repository, &prepared.workspace, &self.environment)?;
        let rules = AllowList::of(policy).within(top).looking_at(Checkout::new(top, submodules));
        let gatekeeper = Permissions::new(&rules, *claim, self.permissions(run)?);
        // What is left of the attempt's time: the second turn does not begin it anew.
        let wall = policy.limits.wall.saturating_sub(prepared.begun.elapsed());
        let limits = Limits { wall, ..policy.limits.clone() };
        let (cancel, cancelled) = watch::channel(false);
        let directory = record.directory().to_owned();
        let begun = Instant::now();
        let result = {
            let mut sink = |activity| record.activity(activity);
            let turn = prepared.runtime.turn(Turn {
                workspace: &prepared.workspace.path,
                run_directory: &directory,
                prompt,
                schema: &prepared.schema,
                sandbox: &prepared.sandbox,
                resume: resume.map(|resume| (resume.thread, resume.thread_usage)),
                limits: &limits,
                gatekeeper: &gatekeeper,
                sink: &mut sink,
                cancel: cancelled,
                environment: &self.environment,
            });
            tokio::pin!(turn);
            let mut look = tokio::time::interval(LOOK_INTERVAL);
            let mut stop_wanted = false;
            // Beside what it takes in itself, commands may take events in.
            let mut version = None;
            loop {
                tokio::select! {
                    result = &mut turn => break result,
                    _ = look.tick() => {
                        let taken = spool::drain(&self.layout, &mut self.ledger).unwrap_or_else(|error| {
                            tracing::error!(%error, "cannot take events in");
                            0
                        });
                        let seen = self.ledger.version().ok();
                        if (taken > 0 || seen != version)
                            && let Err(error) = choice::give_way(&self.repository, &mut self.ledger, run)
                        {
                            tracing::error!(%error, "cannot tell whether the commit was replaced");
                        }
                        version = seen;
                        let asked = self.ledger.run(claim.run).is_ok_and(|run| run.cancel_requested);
                        if asked && !cancel.send_replace(true) {
                            tracing::info!(run = %claim.run, "it is to stop");
                        }
                    }
                    () = self.signals.stop(), if !stop_wanted => {
                        stop_wanted = true;
                        cancel.send_replace(true);
                    }
                }
            }
        };
        let result = result.map_err(|mut failure| {
            if failure.class == Class::Timeout {
                let wall = crate::text::duration(policy.limits.wall);
                failure.message = format!("the attempt took longer than {wall}");
            }
            record.activity(Activity::TurnFailed { message: failure.message.clone() });
            failure
        });
        let recorded = record.flush();
        // Why the turn failed says more than that it could not be written down.
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(failure) => return Ok(Err(failure)),
        };
        recorded?;
        record.write("answer.json", answer_without_secrets(&outcome.answer).as_bytes())?;
        let note = format!(
            "{} · {} in, {} out",
            crate::text::duration(begun.elapsed()),
            crate::text::count(outcome.usage.input_tokens),
            crate::text::count(outcome.usage.output_tokens)
        );
        record.step(&mut self.ledger, claim, "turn", &note, &outcome)?;
        Ok(Ok(outcome))
    }

    /// Where a turn looks up what persons allowed the run; nowhere, if nobody ever answered it.
    fn permissions(&self, run: &Run) -> Result<Option<Box<dyn Store>>, StoreError> {
        if self.ledger.questions(run.id)?.iter().all(|question| question.answer.is_none()) {
            return Ok(None);
        }
        Ok(Some(Box::new(Ledger::open(&self.layout.ledger())?)))
    }

    /// What becomes of a run whose turn or probe failed. `spent` is what earlier turns of the attempt used, which the
    /// ledger has already.
    fn ended_by(&self, run: &Run, failure: &Failure, spent: Usage) -> Ended {
        let limits = &run.job.policy().limits;
        let usage = failure.usage;
        let reason = match failure.fix.clone().or_else(|| next_step(failure.class, run)) {
            Some(fix) => format!("{} · {fix}", failure.message),
            None => failure.message.clone(),
        };
        let transition = |happening, reason| Transition { usage, ..Transition::of(happening, reason) };
        // Also where it failed before it could be stopped: it must not be tried again.
        let may_stop = failure.class == Class::Cancelled || failure.class.is_retryable();
        let stop = self.stop_wanted(run).ok().flatten().filter(|_| may_stop);
        Ended::With(Box::new(if let Some(stop) = stop {
            Transition { usage, ..stop }
        } else if failure.class == Class::Cancelled {
            transition(Happening::Recovered, "the worker was told to end; it begins again".to_owned())
        } else if !failure.class.is_retryable() {
            transition(Happening::Failed, reason)
        } else if run.tries() >= limits.attempts {
            let tries = if run.tries() == 1 { "1 attempt".to_owned() } else { format!("{} attempts", run.tries()) };
            transition(Happening::Failed, format!("gave up after {tries}: {reason}"))
        } else if run.usage.plus(spent).plus(usage).total() >= limits.tokens {
            let tokens = "not tried again, the run's tokens are used up (`limits.tokens`)";
            transition(Happening::Failed, format!("{tokens}: {reason}"))
        } else if let Some(asked_for) = failure.retry_after.filter(|wait| *wait > WAIT_MAX) {
            let asked_for = crate::text::duration(asked_for);
            transition(Happening::Failed, format!("{reason} · not tried again by itself: not before {asked_for}"))
        } else {
            let wait = backoff(run.tries()).max(failure.retry_after.unwrap_or_default());
            let (next, wait_shown) = (run.tries() + 1, crate::text::duration(wait));
            let reason = format!("{} · attempt {next} of {} in {wait_shown}", failure.message, limits.attempts);
            let not_before = Some(Timestamp::now().plus(wait));
            Transition { not_before, ..transition(Happening::AttemptFailed, reason) }
        }))
    }

    fn judge(
        &mut self,
        claim: &Claim,
        run: &Run,
        record: &mut Record,
        prepared: &Prepared,
        outcome: &Outcome,
    ) -> Result<Result<Judgement, Vec<String>>, Ended> {
        let context: &Context = &prepared.package.context;
        let change = &run.job.change;
        let checkout = workspace::changes(&self.repository, &prepared.workspace, &change.head, &self.environment)?;
        let judged = artifact::judge(&Submission {
            role: prepared.role,
            answer: &outcome.answer,
            context,
            activities: record.activities(),
            repository: &self.repository,
            change,
            checkout: &checkout,
        });
        let (note, payload) = match &judged {
            Ok(judgement) => (judgement.headline.clone(), json!({ "evidence": judgement.evidence })),
            Err(problems) => ("the answer does not fit".to_owned(), json!({ "problems": problems })),
        };
        record.step(&mut self.ledger, claim, "validate", &note, &payload)?;
        Ok(judged)
    }
}

/// The thread that a repair turn continues.
#[derive(Clone, Copy)]
struct Resume<'a> {
    thread: &'a str,
    /// The thread's counter when it was left.
    thread_usage: Usage,
    /// What the attempt has used so far.
    spent: Usage,
}

/// What a person types after a failure whose runtime named nothing to mend.
fn next_step(class: Class, run: &Run) -> Option<String> {
    let raise = |limit: &str| Some(format!("raise `limits.{limit}` of {} in triggers.yaml", run.job.row.role));
    match class {
        Class::Timeout => raise("wall"),
        Class::Output => raise("output"),
        Class::ContextTooLarge => Some("set a `model` with more room, or commit in smaller steps".to_owned()),
        Class::RateLimited
        | Class::Overloaded
        | Class::Network
        | Class::Stalled
        | Class::Crashed
        | Class::Quota
        | Class::Internal => Some(format!("git orchestrator retry {}", run.id.short())),
        Class::Protocol => Some(format!("git orchestrator log {}", run.id.short())),
        Class::Missing | Class::Auth | Class::Sandbox | Class::Cancelled => None,
    }
}

/// How long a failed attempt waits for the next one: min(10 s · 2^(n-1), 300 s) (DESIGN: a run's states).
fn backoff(attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(8);
    Duration::from_secs((10_u64 << doublings).min(300))
}

fn used(happening: Happening, usage: Usage) -> Transition {
    Transition { usage, ..Transition::of(happening, "") }
}

/// As JSON for the record, without secrets.
fn pretty(value: &impl serde::Serialize) -> Result<Vec<u8>, Error> {
    let clean = secrets::redacted_value(value, &mut Counts::new());
    clean
        .and_then(|clean| serde_json::to_vec_pretty(&clean))
        .map_err(|error| Error::failed("cannot write a record of the run").because(error))
}

/// The answer as it came, but for secrets: what is JSON stays JSON.
fn answer_without_secrets(answer: &str) -> String {
    let mut counts = Counts::new();
    let mut value = serde_json::from_str::<Value>(answer).unwrap_or_default();
    secrets::redact_value(&mut value, &mut counts);
    let text = if counts.is_empty() { answer.to_owned() } else { value.to_string() };
    // Once more as text: of what is no JSON there was no value.
    secrets::redacted(&text).into_owned()
}

/// What the model is told when its answer does not fit. The problems are our own sentences.
fn repair_prompt(problems: &[String]) -> String {
    let mut prompt = String::from("Your last message is not usable as the answer:\n");
    for problem in problems.iter().take(20) {
        prompt.push_str("- ");
        prompt.push_str(&crate::text::one_line(problem));
        prompt.push('\n');
    }
    prompt.push_str("Answer again with exactly one JSON object that fits the schema, and nothing else.\n");
    prompt
}

fn envelope(run: &Run, prepared: &Prepared, outcome: &Outcome, rehearsal: bool, usage: Usage) -> Envelope {
    let job = &run.job;
    let policy = serde_json::to_vec(job.policy()).unwrap_or_default();
    Envelope {
        schema: 1,
        run: run.id,
        role: prepared.role.name.to_owned(),
        trigger: job.row.trigger.clone(),
        event: job.event.clone(),
        commit: job.change.head.clone(),
        tree: job.tree.clone(),
        branch: job.branch.clone(),
        runtime: prepared.runtime.name().to_owned(),
        runtime_version: prepared.capabilities.version.clone(),
        model: outcome.model.clone(),
        rehearsal,
        policy: Digest::of(&policy),
        prompt: prepared.package.context.prompt.clone(),
        skill: prepared.package.context.skill.clone(),
        attempt: run.attempt,
        redacted: prepared.package.context.redacted.clone(),
        usage,
        started_at: run.started_at.unwrap_or(run.created_at),
        finished_at: Timestamp::now(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_five_minutes() {
        let seconds: Vec<_> = (1..8).map(|attempt| backoff(attempt).as_secs()).collect();
        assert_eq!(seconds, [10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(backoff(u32::MAX).as_secs(), 300);
    }
}
