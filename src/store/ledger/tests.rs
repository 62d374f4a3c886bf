//! The promises of the store: once by key, in order, nothing by a stale claim, and only what the table of transitions
//! allows.

mod coalescing;
mod questions;

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::event::{Actor, Detail, SCHEMA};
use crate::policy::{Budget, Limits, RolePolicy, SandboxMode};
use crate::run;
use crate::store::layout::Layout;
use crate::store::spool;
use crate::triggers::plan;
use crate::triggers::{ArtifactRules, Coalesce, When};

fn oid(n: u32) -> Oid {
    format!("{n:040x}").replacen('0', "a", 1).parse().unwrap()
}

fn row(trigger: &str, coalesce: Coalesce, starts: Starts) -> PlannedRow {
    PlannedRow {
        trigger: trigger.to_owned(),
        role: "tester".to_owned(),
        runtime: "codex-exec".to_owned(),
        coalesce,
        debounce: Duration::ZERO,
        when: When::default(),
        policy: RolePolicy {
            sandbox: SandboxMode::ReadOnly,
            network: false,
            commands: Vec::new(),
            limits: Limits::default(),
        },
        starts,
        admission: Admission::Admitted,
    }
}

/// An event for commit `n`, whose parent is commit `n - 1`.
fn plan_for(n: u32, hook: Hook, rows: Vec<PlannedRow>) -> Plan {
    let change = Change { base: n.checked_sub(1).map(oid), head: oid(n) };
    let detail = Detail::Commit;
    Plan {
        schema: plan::SCHEMA,
        event: Event {
            schema: SCHEMA,
            key: Event::key_of(hook, &detail, &[], Some(&change), b"here"),
            hook,
            detail,
            refs: Vec::new(),
            branch: Some("main".to_owned()),
            change: Some(change),
            tree: None,
            message: String::new(),
            author: Actor::default(),
            worktree: PathBuf::from("/somewhere"),
            at: Timestamp::from_millis(u64::from(n)),
        },
        rows,
        budget: Budget::default(),
        artifacts: ArtifactRules::default(),
        table: Digest::of(b"table"),
    }
}

fn ledger() -> (tempfile::TempDir, Ledger) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&dir.path().join("ledger.db")).unwrap();
    (dir, ledger)
}

fn happen(ledger: &mut Ledger, claim: &Claim, way: &[Happening]) -> State {
    let mut state = State::Queued;
    for happening in way {
        state = ledger.advance(claim, Transition::of(*happening, "")).unwrap();
    }
    state
}

fn claim_next(ledger: &mut Ledger) -> Option<(Claim, Run)> {
    let now = Timestamp::now();
    let run = ledger.due(now, 1).unwrap().into_iter().next()?;
    Some(ledger.claim(run.id, now).unwrap())
}

const TO_SUCCESS: &[Happening] =
    &[Happening::Prepared, Happening::Answered, Happening::Validated, Happening::Published];

#[test]
fn an_event_is_taken_in_once() {
    let (_dir, mut ledger) = ledger();
    let plan = plan_for(1, Hook::PostCommit, vec![row("test", Coalesce::None, Starts::Now)]);
    assert_eq!(ledger.take_in(&plan).unwrap().len(), 1);
    assert_eq!(ledger.take_in(&plan).unwrap().len(), 0);
    assert_eq!(ledger.event(&plan.event.key).unwrap().unwrap(), plan.event);
}

#[test]
fn waiting_runs_of_a_branch_become_one_for_the_newest_commit_and_the_whole_change() {
    let (_dir, mut ledger) = ledger();
    for n in 1..=5 {
        let plan = plan_for(n, Hook::PostCommit, vec![row("test", Coalesce::Branch, Starts::Now)]);
        ledger.take_in(&plan).unwrap();
    }
    let runs = ledger.runs(&Filter::default()).unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].job.change, Change { base: Some(oid(0)), head: oid(5) });
    assert!(runs[0].reason.contains(oid(5).short()), "{}", runs[0].reason);
}

#[test]
fn a_run_that_has_begun_takes_nothing_up() {
    let (_dir, mut ledger) = ledger();
    let rows = || vec![row("test", Coalesce::Branch, Starts::Now)];
    ledger.take_in(&plan_for(1, Hook::PostCommit, rows())).unwrap();
    let (_, first) = claim_next(&mut ledger).unwrap();
    ledger.take_in(&plan_for(2, Hook::PostCommit, rows())).unwrap();
    assert_eq!(ledger.run(first.id).unwrap().job.change.head, oid(1));
    assert_eq!(ledger.runs(&Filter::default()).unwrap().len(), 2);
}

#[test]
fn an_amend_that_fires_two_hooks_is_one_run() {
    let (_dir, mut ledger) = ledger();
    let rows = || vec![row("test", Coalesce::Branch, Starts::Now)];
    ledger.take_in(&plan_for(7, Hook::PostCommit, rows())).unwrap();
    let (claim, _) = claim_next(&mut ledger).unwrap();
    happen(&mut ledger, &claim, TO_SUCCESS);
    ledger.take_in(&plan_for(7, Hook::PostRewrite, rows())).unwrap();
    assert_eq!(ledger.runs(&Filter::default()).unwrap().len(), 1);
    // A person who asks gets a run all the same.
    ledger.take_in(&plan_for(7, Hook::Manual, rows())).unwrap();
    assert_eq!(ledger.runs(&Filter::default()).unwrap().len(), 2);
}

#[test]
fn the_end_of_a_run_queues_what_follows_it_once() {
    let (_dir, mut ledger) = ledger();
    let after = Starts::After { runs: vec![("plan".to_owned(), State::Succeeded)] };
    let rows = vec![row("plan", Coalesce::Branch, Starts::Now), row("design", Coalesce::Branch, after)];
    ledger.take_in(&plan_for(1, Hook::PostCommit, rows)).unwrap();
    let (claim, plan) = claim_next(&mut ledger).unwrap();
    assert_eq!(happen(&mut ledger, &claim, TO_SUCCESS), State::Succeeded);
    let (claim, design) = claim_next(&mut ledger).unwrap();
    assert_eq!((design.job.row.trigger.as_str(), design.job.caused_by), ("design", Some(plan.id)));
    happen(&mut ledger, &claim, &[Happening::Failed]);
    assert!(claim_next(&mut ledger).is_none());
}

#[test]
fn a_stale_claim_writes_nothing() {
    let (_dir, mut ledger) = ledger();
    ledger.take_in(&plan_for(1, Hook::PostCommit, vec![row("test", Coalesce::Branch, Starts::Now)])).unwrap();
    let (stale, run) = claim_next(&mut ledger).unwrap();
    assert_eq!(ledger.recover().unwrap(), [run.id]);
    let (fresh, _) = claim_next(&mut ledger).unwrap();
    assert!(fresh.token > stale.token);
    let refused = ledger.advance(&stale, Transition::of(Happening::Prepared, ""));
    assert!(matches!(refused, Err(StoreError::StaleClaim { .. })));
    let step = Step {
        attempt: 1,
        name: "turn".to_owned(),
        at: Timestamp::now(),
        file: None,
        digest: None,
        note: String::new(),
    };
    assert!(matches!(ledger.record_step(&stale, &step), Err(StoreError::StaleClaim { .. })));
    ledger.record_step(&fresh, &step).unwrap();
    assert_eq!(ledger.steps(run.id).unwrap(), [step]);
}

#[test]
fn a_run_that_kills_its_worker_is_given_up() {
    let (_dir, mut ledger) = ledger();
    ledger.take_in(&plan_for(1, Hook::PostCommit, vec![row("test", Coalesce::Branch, Starts::Now)])).unwrap();
    for _ in 0..Limits::default().attempts {
        claim_next(&mut ledger).unwrap();
        ledger.recover().unwrap();
    }
    assert!(claim_next(&mut ledger).is_none());
    assert_eq!(ledger.runs(&Filter::default()).unwrap()[0].state, State::Failed);
}

#[test]
fn a_retry_waits_for_its_time_and_lets_others_pass() {
    let (_dir, mut ledger) = ledger();
    ledger.take_in(&plan_for(1, Hook::PostCommit, vec![row("a", Coalesce::Branch, Starts::Now)])).unwrap();
    let (claim, first) = claim_next(&mut ledger).unwrap();
    let later = Timestamp::now().plus(Duration::from_secs(3600));
    let failed = Transition { not_before: Some(later), ..Transition::of(Happening::AttemptFailed, "the network") };
    ledger.advance(&claim, failed).unwrap();
    assert_eq!(ledger.next_due(Timestamp::now()).unwrap(), Some(later));
    ledger.take_in(&plan_for(2, Hook::PostCommit, vec![row("b", Coalesce::Branch, Starts::Now)])).unwrap();
    let (_, second) = claim_next(&mut ledger).unwrap();
    assert_ne!(second.id, first.id);
    assert!(ledger.due(Timestamp::now(), 1).unwrap().is_empty());
    assert_eq!(ledger.due(later, 1).unwrap()[0].id, first.id);
}

#[test]
fn a_held_run_waits_for_a_person_and_pausing_stops_all() {
    let (_dir, mut ledger) = ledger();
    let mut held = row("test", Coalesce::Branch, Starts::Now);
    held.admission = Admission::Held { reason: "not listed".to_owned() };
    ledger.take_in(&plan_for(1, Hook::PostCommit, vec![held.clone()])).unwrap();
    ledger.take_in(&plan_for(2, Hook::PostCommit, vec![held])).unwrap();
    let runs = ledger.runs(&Filter::default()).unwrap();
    assert_eq!((runs.len(), runs[0].state, runs[0].reason.as_str()), (1, State::Held, "not listed"));
    assert!(claim_next(&mut ledger).is_none());
    ledger.decide(runs[0].id, Transition::of(Happening::Released, "")).unwrap();
    ledger.set_paused(Some("lunch")).unwrap();
    assert!(claim_next(&mut ledger).is_none());
    ledger.set_paused(None).unwrap();
    let (claim, _) = claim_next(&mut ledger).unwrap();
    let refused = ledger.decide(claim.run, Transition::of(Happening::Cancelled, ""));
    assert!(matches!(refused, Err(StoreError::Impossible { .. })), "an active run belongs to the worker");
    ledger.request_cancel(claim.run, "a person").unwrap();
    assert!(ledger.run(claim.run).unwrap().cancel_requested);
}

#[test]
fn what_was_held_and_what_is_admitted_are_not_taken_for_each_other() {
    let (_dir, mut ledger) = ledger();
    let admitted = || vec![row("test", Coalesce::Branch, Starts::Now)];
    let held = || {
        let mut row = row("test", Coalesce::Branch, Starts::Now);
        row.admission = Admission::Held { reason: "observe".to_owned() };
        vec![row]
    };
    // A waiting run that takes up an event which today's rules hold is held.
    ledger.take_in(&plan_for(1, Hook::PostCommit, admitted())).unwrap();
    ledger.take_in(&plan_for(2, Hook::PostCommit, held())).unwrap();
    let runs = ledger.runs(&Filter::default()).unwrap();
    assert_eq!((runs.len(), runs[0].state, runs[0].job.change.head.clone()), (1, State::Held, oid(2)));
    assert!(claim_next(&mut ledger).is_none());
    // A held run does not swallow an event that today's rules admit.
    ledger.take_in(&plan_for(3, Hook::PostCommit, admitted())).unwrap();
    let runs = ledger.runs(&Filter::default()).unwrap();
    assert_eq!(runs.iter().map(|run| run.state).collect::<Vec<_>>(), [State::Queued, State::Held]);
    assert_eq!(runs[0].job.change.head, oid(3));
}

#[test]
fn a_merge_that_brings_more_than_its_tip_is_another_change() {
    let (_dir, mut ledger) = ledger();
    let rows = || vec![row("test", Coalesce::Branch, Starts::Now)];
    ledger.take_in(&plan_for(7, Hook::PostCommit, rows())).unwrap();
    let (claim, first) = claim_next(&mut ledger).unwrap();
    happen(&mut ledger, &claim, TO_SUCCESS);
    let mut merge = plan_for(7, Hook::PostMerge, rows());
    merge.event.change = Some(Change { base: Some(oid(3)), head: oid(7) });
    ledger.take_in(&merge).unwrap();
    assert_eq!(ledger.runs(&Filter::default()).unwrap().len(), 2);
    // A run that a person cancelled has handled nothing.
    let again = ledger.enqueue_again(first.id).unwrap();
    ledger.decide(again, Transition::of(Happening::Cancelled, "")).unwrap();
    assert_eq!(ledger.runs(&Filter::default()).unwrap().len(), 3);
}

#[test]
fn runs_are_found_by_what_people_type() {
    let (_dir, mut ledger) = ledger();
    let ids = ledger.take_in(&plan_for(1, Hook::PostCommit, vec![row("test", Coalesce::Branch, Starts::Now)])).unwrap();
    for typed in [ids[0].short(), ids[0].to_string(), ids[0].to_string()[..8].to_owned()] {
        assert_eq!(ledger.find(&typed, 2).unwrap(), ids, "{typed}");
    }
    for typed in ["", "%", "ab", "main", "' OR 1=1 --"] {
        assert!(ledger.find(typed, 2).unwrap().is_empty(), "{typed}");
    }
}

#[test]
fn a_newer_format_is_refused_and_nothing_is_changed() {
    let (dir, ledger) = ledger();
    ledger.connection.pragma_update(None, "user_version", FORMAT + 1).unwrap();
    drop(ledger);
    let path = dir.path().join("ledger.db");
    assert!(matches!(Ledger::open(&path), Err(StoreError::Newer { .. })));
}

#[test]
fn a_damaged_spool_file_is_set_aside_and_the_next_one_taken_in() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    layout.create().unwrap();
    let mut ledger = Ledger::open(&layout.ledger()).unwrap();
    crate::files::write(&layout.spool().join("0.json"), b"{ half").unwrap();
    let plan = plan_for(1, Hook::PostCommit, vec![row("test", Coalesce::Branch, Starts::Now)]);
    spool::write(&layout, &plan).unwrap();
    assert_eq!(spool::drain(&layout, &mut ledger).unwrap(), 1);
    assert!(spool::is_empty(&layout).unwrap());
    assert!(layout.spool().join("0.damaged").exists());
    assert_eq!(ledger.runs(&Filter::default()).unwrap().len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is tried, the state in the ledger is what its own history folds to.
    #[test]
    fn the_state_is_what_the_history_folds_to(tried in prop::collection::vec(0..Happening::ALL.len(), 0..40)) {
        let (_dir, mut ledger) = ledger();
        ledger.take_in(&plan_for(1, Hook::PostCommit, vec![row("test", Coalesce::Branch, Starts::Now)])).unwrap();
        let run = ledger.runs(&Filter::default()).unwrap().remove(0);
        for i in tried {
            let claim = Claim { run: run.id, token: 0 };
            let before = ledger.run(run.id).unwrap().state;
            let after = ledger.advance(&claim, Transition::of(Happening::ALL[i], "x"));
            prop_assert_eq!(after.ok(), run::after(before, Happening::ALL[i]));
        }
        let history = ledger.history(Some(run.id), 1000).unwrap();
        let folded = run::fold(history.iter().filter_map(|line| line.happening));
        prop_assert_eq!(folded, Ok(ledger.run(run.id).unwrap().state));
    }
}
