//! What is handed to the queue.

use orchestrator::error::Kind;
use orchestrator::event::{Event, Hook};
use orchestrator::policy::SandboxMode;
use orchestrator::policy::admission::Admission;
use orchestrator::run::State;
use orchestrator::triggers::plan::{Plan, Starts};
use orchestrator::triggers::{Coalesce, STARTER};

use crate::matching::{event, paths};
use crate::{SAMPLE, VOCABULARY, load};

fn plan(text: &str, hook: Hook, changed: &[&str]) -> Option<Plan> {
    Plan::of(&load(text), event(hook), &VOCABULARY, &mut paths(changed)).expect("known paths")
}

/// Row, whether it is admitted, and what it waits for.
type Outline<'p> = (&'p str, bool, Vec<(String, State)>);

fn outline(plan: &Plan) -> Vec<Outline<'_>> {
    plan.rows
        .iter()
        .map(|row| {
            let after = match &row.starts {
                Starts::Now => Vec::new(),
                Starts::After { runs } => runs.clone(),
            };
            (row.trigger.as_str(), row.admission == Admission::Admitted, after)
        })
        .collect()
}

#[test]
fn a_plan_holds_what_starts_now_and_what_follows() {
    let plan = plan(STARTER, Hook::PostCommit, &["docs/tasks/a.md", "src/a"]).unwrap();
    let after_plan = vec![("plan".to_owned(), State::Succeeded)];
    assert_eq!(outline(&plan), [("plan", true, vec![]), ("test", true, vec![]), ("design-check", true, after_plan)]);
    assert_eq!(plan.budget.runs_per_day, Some(50));
    assert_eq!(serde_json::from_value::<Plan>(serde_json::to_value(&plan).unwrap()).unwrap(), plan);
    assert!(self::plan(STARTER, Hook::PostCommit, &["README.md"]).is_none());
    assert!(self::plan(STARTER, Hook::PrePush, &["src/a"]).is_none());
}

#[test]
fn a_role_that_is_not_listed_is_held_not_dropped() {
    let plan = plan(SAMPLE, Hook::PostCommit, &["docs/tasks/a.md"]).unwrap();
    assert_eq!(
        outline(&plan).iter().map(|row| (row.0, row.1)).collect::<Vec<_>>(),
        [("plan", false), ("design-check", false)]
    );
}

#[test]
fn a_row_lays_its_limits_over_those_of_the_role_and_may_start_twice() {
    let text = "version: 1\ntriggers:\n\
        - {name: a, on: post-commit, role: planner, runtime: rehearsal}\n\
        - {name: b, on: [post-commit, {run: a, state: succeeded}, {run: a, state: failed}], role: tester, limits: {wall: 5s}, coalesce: none}\n\
        - {name: c, on: {run: b, state: succeeded}, role: tester, when: {paths: x}}\n\
        - {name: d, on: {run: c, state: succeeded}, role: tester}\n\
        policy: {autonomy: suggest, roles: {planner: {}, tester: {limits: {wall: 1m, idle: 7s}}}}\n";
    let plan = plan(text, Hook::PostCommit, &["y"]).unwrap();
    let twice = vec![("a".to_owned(), State::Succeeded), ("a".to_owned(), State::Failed)];
    assert_eq!(outline(&plan), [("a", true, vec![]), ("b", true, vec![]), ("b", true, twice)]);
    let row = &plan.rows[1];
    assert_eq!((row.policy.limits.wall.as_secs(), row.policy.limits.idle.as_secs()), (5, 7));
    assert_eq!(
        (row.runtime.as_str(), row.coalesce, row.policy.sandbox),
        ("codex-exec", Coalesce::None, SandboxMode::ReadOnly)
    );
    assert_eq!(plan.rows[0].runtime, "rehearsal");
}

#[test]
fn a_person_asks_for_a_row_or_a_role() {
    let table = load(&SAMPLE.replace("autonomy: draft", "autonomy: observe"));
    let manual = || event(Hook::Manual);
    let by_name = |name: &str| Plan::for_person(&table, manual(), name, &VOCABULARY);
    let row = by_name("test").unwrap();
    assert_eq!(outline(&row), [("test", true, vec![])], "a person's own request is not held by `observe`");
    assert_eq!((row.rows[0].coalesce, row.rows[0].policy.sandbox), (Coalesce::None, SandboxMode::ReadOnly));
    assert_eq!(row.rows[0].policy.commands.len(), 11);
    let followed = by_name("plan").unwrap();
    assert_eq!(
        outline(&followed).iter().map(|row| (row.0, row.1)).collect::<Vec<_>>(),
        [("plan", false), ("design-check", false)]
    );
    let role = by_name("tester").unwrap();
    assert_eq!((role.rows[0].trigger.as_str(), role.rows[0].role.as_str(), role.rows.len()), ("tester", "tester", 1));
    let unknown = by_name("tset").unwrap_err();
    assert_eq!((unknown.kind(), unknown.hints()), (Kind::NotFound, &["did you mean `test`?".to_owned()][..]));
    assert_eq!(by_name("xyz").unwrap_err().hints().len(), 2);
    assert_eq!(by_name("before-main").unwrap_err().kind(), Kind::Usage);
    let nothing = Event { change: None, ..manual() };
    assert_eq!(Plan::for_person(&table, nothing, "test", &VOCABULARY).unwrap_err().kind(), Kind::Usage);
}

#[test]
fn a_row_waits_for_quiet_only_where_git_starts_it() {
    let text = "version: 1\ntriggers:\n\
        - {name: usual, on: post-commit, role: tester}\n\
        - {name: slow, on: [post-commit, {run: usual, state: failed}], role: tester, debounce: 1m30s}\n\
        - {name: at-once, on: post-commit, role: tester, debounce: 0s}\n\
        - {name: each, on: post-commit, role: tester, coalesce: commit}\n\
        - {name: after, on: {run: usual, state: succeeded}, role: tester}\n";
    let plan = plan(text, Hook::PostCommit, &["a"]).unwrap();
    let quiet: Vec<_> = plan.rows.iter().map(|row| (row.trigger.as_str(), row.debounce.as_secs())).collect();
    assert_eq!(quiet, [("usual", 1), ("slow", 90), ("at-once", 0), ("each", 0), ("slow", 0), ("after", 0)]);
    let by_hand = Plan::for_person(&load(text), event(Hook::Manual), "slow", &VOCABULARY).unwrap();
    assert!(by_hand.rows.iter().all(|row| row.debounce.is_zero()));
}
