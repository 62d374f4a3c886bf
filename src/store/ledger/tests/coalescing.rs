//! Which events become one run, and what takes the place of what.

use super::*;
use crate::event::Rewritten;
use crate::store::TAKEN_UP_MAX;

const BRANCH: Coalesce = Coalesce::Branch;

fn change(from: u32, to: u32) -> Change {
    Change { base: Some(oid(from)), head: oid(to) }
}

/// An event of this hook about the change from commit `from` to commit `to`.
fn event(hook: Hook, from: u32, to: u32, rows: Vec<PlannedRow>) -> Plan {
    let mut plan = plan_for(to, hook, rows);
    plan.event.change = Some(change(from, to));
    let detail = Detail::Manual { request: format!("{hook} {from} {to}") };
    plan.event.key = Event::key_of(hook, &detail, &[], plan.event.change.as_ref(), b"here");
    plan
}

/// An amend or a rebase that put `new` in the place of `old`.
fn rewrite(old: u32, new: u32, base: u32, rows: Vec<PlannedRow>) -> Plan {
    let mut plan = event(Hook::PostRewrite, base, new, rows);
    let rewritten = vec![Rewritten { old: oid(old), new: oid(new) }];
    plan.event.detail = Detail::Rewrite { command: "amend".to_owned(), rewritten };
    plan
}

fn test_row(coalesce: Coalesce) -> Vec<PlannedRow> {
    vec![row("test", coalesce, Starts::Now)]
}

fn all(ledger: &Ledger) -> Vec<Run> {
    let mut runs = ledger.runs(&Filter::default()).unwrap();
    runs.reverse();
    runs
}

#[test]
fn quiet_is_waited_for_anew_but_not_for_ever() {
    let (_dir, mut ledger) = ledger();
    let rows = || vec![PlannedRow { debounce: Duration::from_secs(10), ..row("test", BRANCH, Starts::Now) }];
    let begun = Timestamp::now();
    let mut commit = |n: u32, after: u64| {
        let mut plan = plan_for(n, Hook::PostCommit, rows());
        plan.event.at = Timestamp::from_millis(begun.millis() + after).min(Timestamp::now());
        ledger.take_in(&plan).unwrap();
        all(&ledger)[0].clone()
    };
    let first = commit(1, 0);
    assert_eq!(first.not_before, Some(begun.plus(Duration::from_secs(10))));
    let second = commit(2, 5);
    assert!(second.not_before >= first.not_before, "the quiet time begins anew");
    // An event of a clock that was set back since does not lie in the future.
    assert!(second.not_before.unwrap() <= Timestamp::now().plus(Duration::from_secs(10)));
    assert!(ledger.due(Timestamp::now(), 1).unwrap().is_empty());
    assert_eq!(ledger.next_due(Timestamp::now()).unwrap(), second.not_before);
    assert_eq!(ledger.due(second.not_before.unwrap(), 9).unwrap().len(), 1);

    // The run was queued long ago, as far as it knows, and was never left in peace.
    let long_ago = signed(begun.millis() - 95_000);
    ledger.connection.execute("UPDATE runs SET created_at = ?1", [long_ago]).unwrap();
    let mut steady = plan_for(3, Hook::PostCommit, rows());
    steady.event.at = Timestamp::now();
    ledger.take_in(&steady).unwrap();
    let third = all(&ledger)[0].clone();
    assert_eq!(third.not_before, Some(third.created_at.plus(Duration::from_secs(100))));

    // What a person asks for again does not wait.
    ledger.decide(third.id, Transition::of(Happening::Cancelled, "")).unwrap();
    let again = ledger.enqueue_again(third.id).unwrap();
    assert_eq!(ledger.run(again).unwrap().not_before, None);
}

#[test]
fn each_way_to_coalesce_does_what_it_says_for_each_hook() {
    for (coalesce, runs) in [(BRANCH, 1), (Coalesce::Commit, 3), (Coalesce::None, 6)] {
        let (_dir, mut ledger) = ledger();
        for plan in [
            event(Hook::PostCommit, 0, 1, test_row(coalesce)),
            event(Hook::PostApplypatch, 1, 2, test_row(coalesce)),
            event(Hook::PostMerge, 1, 2, test_row(coalesce)),
            event(Hook::PostCommit, 2, 3, test_row(coalesce)),
            event(Hook::PostRewrite, 2, 3, test_row(coalesce)),
            event(Hook::PrePush, 2, 3, test_row(coalesce)),
        ] {
            ledger.take_in(&plan).unwrap();
        }
        let heads: Vec<_> = all(&ledger).into_iter().map(|run| run.job.change.head).collect();
        assert_eq!(heads.len(), runs, "{coalesce:?}");
        assert_eq!(heads.last(), Some(&oid(3)), "{coalesce:?}");
    }
}

#[test]
fn one_run_for_a_commit_stands_for_the_widest_change_that_names_it() {
    let (_dir, mut ledger) = ledger();
    ledger.take_in(&event(Hook::PostCommit, 4, 5, test_row(Coalesce::Commit))).unwrap();
    ledger.take_in(&event(Hook::PostMerge, 1, 5, test_row(Coalesce::Commit))).unwrap();
    let runs = all(&ledger);
    assert_eq!(runs.len(), 1);
    assert_eq!((&runs[0].job.change, &runs[0].job.took_up), (&change(1, 5), &vec![change(4, 5)]));
}

#[test]
fn a_push_of_what_runs_have_handled_one_after_another_makes_none() {
    let (_dir, mut ledger) = ledger();
    for (from, to) in [(0, 1), (1, 2), (2, 3)] {
        ledger.take_in(&event(Hook::PostCommit, from, to, test_row(BRANCH))).unwrap();
        let (claim, _) = claim_next(&mut ledger).unwrap();
        happen(&mut ledger, &claim, TO_SUCCESS);
    }
    let push = event(Hook::PrePush, 0, 3, test_row(BRANCH));
    assert!(ledger.take_in(&push).unwrap().is_empty());
    assert!(ledger.take_in(&event(Hook::PostMerge, 1, 3, test_row(BRANCH))).unwrap().is_empty());
    assert_eq!(linked(&ledger, &push).len(), 3, "it is known which runs did it");
    // Nobody has handled what comes before.
    let mut wide = plan_for(3, Hook::PrePush, test_row(BRANCH));
    wide.event.change = Some(Change { base: None, head: oid(3) });
    assert_eq!(ledger.take_in(&wide).unwrap().len(), 1);
}

#[test]
fn a_push_asks_again_for_what_failed_and_not_for_what_waits() {
    let (_dir, mut ledger) = ledger();
    ledger.take_in(&event(Hook::PostCommit, 0, 1, test_row(BRANCH))).unwrap();
    assert!(ledger.take_in(&event(Hook::PrePush, 0, 1, test_row(BRANCH))).unwrap().is_empty());
    let (claim, _) = claim_next(&mut ledger).unwrap();
    happen(&mut ledger, &claim, &[Happening::Failed]);
    assert!(ledger.take_in(&event(Hook::PostMerge, 0, 1, test_row(BRANCH))).unwrap().is_empty());
    let mut again = event(Hook::PrePush, 0, 1, test_row(BRANCH));
    again.event.key = Digest::of(b"another push");
    assert_eq!(ledger.take_in(&again).unwrap().len(), 1);
}

#[test]
fn what_happens_anew_after_its_run_ended_is_asked_again_and_what_is_delivered_twice_is_not() {
    for (hook, coalesce, ended_as, new_runs) in [
        (Hook::PrePush, BRANCH, Happening::Failed, 1),
        (Hook::PrePush, BRANCH, Happening::Cancelled, 1),
        (Hook::PostReceive, BRANCH, Happening::Failed, 1),
        (Hook::PostCheckout, BRANCH, Happening::Failed, 0),
        (Hook::PostCheckout, Coalesce::None, Happening::Failed, 1),
        (Hook::PostCommit, Coalesce::None, Happening::Failed, 0),
    ] {
        let (_dir, mut ledger) = ledger();
        let first = event(hook, 0, 1, test_row(coalesce));
        let mut again = first.clone();
        again.event.at = Timestamp::now().plus(Duration::from_secs(60));
        ledger.take_in(&first).unwrap();
        assert!(ledger.take_in(&again).unwrap().is_empty(), "{hook}: it waits still");
        let (claim, _) = claim_next(&mut ledger).unwrap();
        assert!(ledger.take_in(&again).unwrap().is_empty(), "{hook}: it is under way");
        happen(&mut ledger, &claim, &[ended_as]);
        assert!(ledger.take_in(&first).unwrap().is_empty(), "{hook}: the spool's file, a second time");
        assert_eq!(ledger.take_in(&again).unwrap().len(), new_runs, "{hook} {coalesce:?}");
        assert!(ledger.take_in(&again).unwrap().is_empty(), "{hook}: and that one a second time");
    }
}

#[test]
fn what_waits_for_a_rewritten_commit_gives_way() {
    let (_dir, mut ledger) = ledger();
    ledger.take_in(&event(Hook::PostCommit, 0, 1, test_row(Coalesce::Commit))).unwrap();
    ledger.take_in(&event(Hook::PostCommit, 0, 10, test_row(Coalesce::Commit))).unwrap();
    ledger.take_in(&rewrite(1, 10, 0, test_row(Coalesce::Commit))).unwrap();
    let runs = all(&ledger);
    assert_eq!(runs.iter().map(|run| run.state).collect::<Vec<_>>(), [State::Superseded, State::Queued]);
    let expected =
        format!("{} replaced {}: run {} takes its place", oid(10).short(), oid(1).short(), runs[1].id.short());
    assert_eq!(runs[0].reason, expected);
}

#[test]
fn who_works_on_a_rewritten_commit_is_asked_to_stop_and_the_newer_run_stands_for_it() {
    let (_dir, mut ledger) = ledger();
    // Three commits as one run, under way.
    for n in 1..=3 {
        ledger.take_in(&event(Hook::PostCommit, n - 1, n, test_row(BRANCH))).unwrap();
    }
    let (claim, old) = claim_next(&mut ledger).unwrap();
    ledger.advance(&claim, Transition::of(Happening::Prepared, "")).unwrap();
    ledger.take_in(&event(Hook::PostCommit, 2, 30, test_row(BRANCH))).unwrap();
    ledger.take_in(&rewrite(3, 30, 2, test_row(BRANCH))).unwrap();
    let runs = all(&ledger);
    assert_eq!((runs[0].state, runs[0].superseded_by), (State::Running, Some(runs[1].id)));
    assert_eq!(runs[1].job.took_up, [change(0, 3)], "the two commits before it are not forgotten");
    // Also if the worker dies over it.
    ledger.recover().unwrap();
    assert_eq!(ledger.run(old.id).unwrap().state, State::Superseded);
}

#[test]
fn a_run_that_stands_for_another_branch_too_does_not_give_way() {
    for coalesce in [BRANCH, Coalesce::Commit] {
        let (_dir, mut ledger) = ledger();
        ledger.take_in(&event(Hook::PostCommit, 0, 1, test_row(coalesce))).unwrap();
        if coalesce == BRANCH {
            claim_next(&mut ledger).unwrap();
        }
        // Brought into another branch by a fast-forward, and amended in its own.
        let mut merged = event(Hook::PostMerge, 0, 1, test_row(coalesce));
        merged.event.branch = Some("release".to_owned());
        ledger.take_in(&merged).unwrap();
        assert_eq!(all(&ledger).len(), 1, "{coalesce:?}: one run for both");
        ledger.take_in(&event(Hook::PostCommit, 0, 10, test_row(coalesce))).unwrap();
        ledger.take_in(&rewrite(1, 10, 0, test_row(coalesce))).unwrap();
        let runs = all(&ledger);
        assert_eq!(runs.len(), 2);
        assert!(!runs[0].state.is_terminal() && runs[0].superseded_by.is_none(), "{coalesce:?}: {:?}", runs[0].state);
    }
}

#[test]
fn what_a_person_asked_for_gives_way_to_nothing() {
    let (_dir, mut ledger) = ledger();
    let rows = || vec![PlannedRow { coalesce: Coalesce::None, ..row("test", BRANCH, Starts::Now) }];
    ledger.take_in(&event(Hook::Manual, 0, 1, rows())).unwrap();
    ledger.take_in(&event(Hook::PostCommit, 0, 10, test_row(BRANCH))).unwrap();
    ledger.take_in(&rewrite(1, 10, 0, test_row(BRANCH))).unwrap();
    let runs = all(&ledger);
    assert_eq!(runs.iter().map(|run| run.state).collect::<Vec<_>>(), [State::Queued, State::Queued]);
    assert!(ledger.is_by_hand(&runs[0]).unwrap() && !ledger.is_by_hand(&runs[1]).unwrap());
    assert_eq!(ledger.successor(&runs[0]).unwrap(), None);
}

#[test]
fn a_long_queue_remembers_the_first_change_and_stays_small() {
    let (_dir, mut ledger) = ledger();
    // Every other commit matched nothing, so that no two changes touch.
    for n in 0..200 {
        ledger.take_in(&event(Hook::PostCommit, 2 * n, 2 * n + 1, test_row(BRANCH))).unwrap();
    }
    let run = all(&ledger).remove(0);
    assert_eq!(run.job.took_up.len(), TAKEN_UP_MAX);
    assert_eq!((&run.job.took_up[0], &run.job.change), (&change(0, 1), &change(398, 399)));
}

/// The runs that an event is linked to.
fn linked(ledger: &Ledger, plan: &Plan) -> Vec<String> {
    let mut statement = ledger.connection.prepare("SELECT run FROM run_events WHERE event = ?1").unwrap();
    let rows = statement.query_map([plan.event.key.as_str()], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// What is tried on a ledger.
#[derive(Clone, Debug)]
enum Deed {
    /// A commit on top.
    Commit,
    /// The tip made anew; both hooks report it.
    Amend,
    /// A merge that brings the last so many commits.
    Merge(u32),
    /// A push of all but the last so many commits, to where so many before are known.
    Push(u32, u32),
    /// The oldest run that is due begins.
    Begin,
    /// The run that is under way ends, well or not.
    End(bool),
    /// An earlier event is reported once more.
    Again(usize),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        4 => Just(Deed::Commit),
        2 => Just(Deed::Amend),
        1 => (1..6_u32).prop_map(Deed::Merge),
        2 => (0..3_u32, 1..6_u32).prop_map(|(back, count)| Deed::Push(back, count)),
        2 => Just(Deed::Begin),
        2 => any::<bool>().prop_map(Deed::End),
        1 => (0..100_usize).prop_map(Deed::Again),
    ];
    prop::collection::vec(deed, 1..TAKEN_UP_MAX)
}

/// A straight history, in which an amended commit keeps its place.
struct History {
    /// The commit at each place; the first is never matched.
    places: Vec<u32>,
    place_of: BTreeMap<Oid, usize>,
    made: u32,
}

impl History {
    fn new() -> Self {
        Self { places: vec![0], place_of: BTreeMap::from([(oid(0), 0)]), made: 0 }
    }

    fn make(&mut self) -> u32 {
        self.made += 1;
        self.place_of.insert(oid(self.made), self.places.len());
        self.places.push(self.made);
        self.made
    }

    fn at(&self, place: usize) -> u32 {
        self.places[place]
    }

    /// The places between the two ends.
    fn covered(&self, change: &Change) -> std::ops::Range<usize> {
        let place = |oid: &Oid| self.place_of[oid] + 1;
        change.base.as_ref().map_or(0, place)..place(&change.head)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever git reports in which order, and whatever the worker does meanwhile: one queued run for each key, no event
    /// without a run, nothing by a second report, and every commit that was reported is part of what some run is about.
    #[test]
    fn events_become_runs_once_and_none_is_lost(deeds in deeds()) {
        let (_dir, mut ledger) = ledger();
        let rows = || vec![
            row("by-branch", BRANCH, Starts::Now),
            row("by-commit", Coalesce::Commit, Starts::Now),
            row("by-event", Coalesce::None, Starts::Now),
        ];
        let mut history = History::new();
        let mut told: Vec<Plan> = Vec::new();
        let mut under_way: Option<Claim> = None;
        for deed in deeds {
            let tip = history.places.len() - 1;
            let mut new = Vec::new();
            match deed {
                Deed::Commit => {
                    let made = history.make();
                    new.push(event(Hook::PostCommit, history.at(tip), made, rows()));
                }
                Deed::Amend if tip > 0 => {
                    let old = history.places.pop().unwrap();
                    let (made, base) = (history.make(), history.at(tip - 1));
                    new.push(event(Hook::PostCommit, base, made, rows()));
                    new.push(rewrite(old, made, base, rows()));
                }
                Deed::Merge(count) => {
                    for _ in 0..count {
                        history.make();
                    }
                    new.push(event(Hook::PostMerge, history.at(tip), history.made, rows()));
                }
                Deed::Push(back, count) => {
                    let to = tip.saturating_sub(back as usize);
                    let from = to.saturating_sub(count as usize);
                    if from < to {
                        new.push(event(Hook::PrePush, history.at(from), history.at(to), rows()));
                    }
                }
                Deed::Begin if under_way.is_none() => under_way = claim_next(&mut ledger).map(|(claim, _)| claim),
                Deed::End(well) => if let Some(claim) = under_way.take() {
                    let stop = ledger.run(claim.run).unwrap().superseded_by.is_some();
                    let way = match (stop, well) {
                        (true, _) => &[Happening::Superseded][..],
                        (false, true) => TO_SUCCESS,
                        (false, false) => &[Happening::Failed],
                    };
                    happen(&mut ledger, &claim, way);
                },
                Deed::Again(which) => if !told.is_empty() {
                    let before = (all(&ledger), ledger.history(None, 1000).unwrap());
                    let again = &told[which % told.len()];
                    prop_assert!(ledger.take_in(again).unwrap().is_empty());
                    prop_assert_eq!(before, (all(&ledger), ledger.history(None, 1000).unwrap()));
                },
                Deed::Amend | Deed::Begin => {}
            }
            for plan in new {
                // The same push twice is the same event.
                ledger.take_in(&plan).unwrap();
                told.push(plan);
            }
            let doubled: i64 = ledger.connection.query_row(
                "SELECT count(*) FROM (SELECT 1 FROM runs WHERE state = 'queued' AND attempt = 0 AND coalesce_key IS NOT NULL
                 GROUP BY coalesce_key HAVING count(*) > 1)", [], |row| row.get(0)).unwrap();
            prop_assert_eq!(doubled, 0);
            let runs = all(&ledger);
            for plan in &told {
                let linked = linked(&ledger, plan);
                let wanted = history.covered(plan.event.change.as_ref().unwrap());
                for row in &plan.rows {
                    let of_row = || runs.iter().filter(|run| run.job.row.trigger == row.trigger);
                    prop_assert!(of_row().any(|run| linked.contains(&run.id.to_string())), "{} has no run", row.trigger);
                    let covering: Vec<_> = of_row()
                        .filter(|run| run.state != State::Superseded)
                        .flat_map(|run| run.job.took_up.iter().chain([&run.job.change]))
                        .map(|change| history.covered(change))
                        .collect();
                    for place in wanted.clone() {
                        prop_assert!(covering.iter().any(|range| range.contains(&place)), "{} at {place}", row.trigger);
                    }
                }
            }
        }
    }
}
