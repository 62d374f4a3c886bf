//! Names that do not exist, exist twice or lead in a circle, and rows that make no sense.

use insta::assert_snapshot;
use orchestrator::event::Hook;

use crate::{refused_row, refused_tail};

#[test]
fn an_unknown_role_runtime_hook_state_or_row() {
    assert_snapshot!(refused_row("  - name: test\n    on: post-commit\n    role: testr\n"), @r###"
    error: there is no role `testr`
     --> triggers.yaml:5:11
      |
    5 |     role: testr
      |           ^^^^^ no role of this name
      |
    help: did you mean `tester`?
    "###);
    assert_snapshot!(refused_row("  - { name: test, on: pre-commit, role: reviewer, runtime: codez }\n"), @r###"
    error: there is no hook `pre-commit`
     --> triggers.yaml:3:23
      |
    3 |   - { name: test, on: pre-commit, role: reviewer, runtime: codez }
      |                       ^^^^^^^^^^ no hook of this name
      |
    help: did you mean `post-commit`?

    error: there is no role `reviewer`
     --> triggers.yaml:3:41
      |
    3 |   - { name: test, on: pre-commit, role: reviewer, runtime: codez }
      |                                         ^^^^^^^^ no role of this name
      |
    help: choose `planner`, `architect` or `tester`

    error: there is no runtime `codez`
     --> triggers.yaml:3:60
      |
    3 |   - { name: test, on: pre-commit, role: reviewer, runtime: codez }
      |                                                            ^^^^^ no runtime of this name
      |
    help: did you mean `codex`?
    "###);
    assert_snapshot!(refused_row("  - { name: plan, on: post-commit, role: planner }\n  - { name: check, on: { run: plna, state: done }, role: architect }\n"), @r###"
    error: there is no row `plna`
     --> triggers.yaml:4:31
      |
    4 |   - { name: check, on: { run: plna, state: done }, role: architect }
      |                               ^^^^ no row of this name
      |
    help: did you mean `plan`?

    error: there is no state `done`
     --> triggers.yaml:4:44
      |
    4 |   - { name: check, on: { run: plna, state: done }, role: architect }
      |                                            ^^^^ no state of this name
      |
    help: choose `succeeded`, `inconclusive`, `failed`, `cancelled` or `superseded`
    "###);
    assert_snapshot!(refused_row("  - { name: plan, on: post-commit, role: planner }\n  - { name: check, on: { run: plna, state: failed }, role: architect }\n"), @r###"
    error: there is no row `plna`
     --> triggers.yaml:4:31
      |
    4 |   - { name: check, on: { run: plna, state: failed }, role: architect }
      |                               ^^^^ no row of this name
      |
    help: did you mean `plan`?
    "###);
    assert_snapshot!(refused_row("  - { name: plan, on: post-commit, role: planner }\n  - { name: check, on: plan, role: architect }\n"), @r###"
    error: there is no hook `plan`
     --> triggers.yaml:4:24
      |
    4 |   - { name: check, on: plan, role: architect }
      |                        ^^^^ no hook of this name
      |
    help: to follow that row write `on: { run: plan, state: succeeded }`
    "###);
    assert_snapshot!(refused_row("  - { name: plan, on: post-commit, role: planner }\n  - { name: check, on: { run: plan, state: running }, role: architect }\n"), @r###"
    error: a run does not end in `running`
     --> triggers.yaml:4:44
      |
    4 |   - { name: check, on: { run: plan, state: running }, role: architect }
      |                                            ^^^^^^^ not an end
      |
    help: a run ends in `succeeded`, `inconclusive`, `failed`, `cancelled` or `superseded`
    "###);
    assert_snapshot!(refused_tail("policy: { autonomy: full, roles: { developer: {} } }\n"), @r###"
    error: there is no level of autonomy `full`
     --> triggers.yaml:3:21
      |
    3 | policy: { autonomy: full, roles: { developer: {} } }
      |                     ^^^^ no level of autonomy of this name
      |
    help: choose `observe`, `suggest`, `draft`, `isolated-write` or `propose`

    error: there is no role `developer`
     --> triggers.yaml:3:36
      |
    3 | policy: { autonomy: full, roles: { developer: {} } }
      |                                    ^^^^^^^^^ no role of this name
      |
    help: choose `planner`, `architect` or `tester`
    "###);
}

#[test]
fn two_rows_of_one_name() {
    assert_snapshot!(refused_row("  - name: test\n    on: post-commit\n    role: tester\n  - name: plan\n    on: post-commit\n    role: planner\n  - name: test\n    on: post-merge\n    role: tester\n"), @r###"
    error: two rows are named `test`
     --> triggers.yaml:9:11
      |
    3 |   - name: test
      |           ---- the first one
    ...
    9 |   - name: test
      |           ^^^^ the second one
      |
    help: give one of them another name
    "###);
    assert_snapshot!(refused_row("  - { name: Design Check, on: post-commit, role: architect }\n"), @r###"
    error: `Design Check` cannot be the name of a row
     --> triggers.yaml:3:13
      |
    3 |   - { name: Design Check, on: post-commit, role: architect }
      |             ^^^^^^^^^^^^ holds other characters than a-z, 0-9 and `-`
      |
    help: did you mean `design-check`?
    "###);
}

#[test]
fn rows_in_a_circle() {
    assert_snapshot!(refused_row("  - name: plan\n    on: { run: test, state: failed }\n    role: planner\n  - name: check\n    on: { run: plan, state: succeeded }\n    role: architect\n  - name: test\n    on: [post-commit, { run: check, state: succeeded }]\n    role: tester\n"), @r###"
    error: rows start each other in a circle: `plan` → `check` → `test` → `plan`
      --> triggers.yaml:4:16
       |
     4 |     on: { run: test, state: failed }
       |                ^^^^ this closes the circle
    ...
     7 |     on: { run: plan, state: succeeded }
       |                ---- which follows
    ...
    10 |     on: [post-commit, { run: check, state: succeeded }]
       |                              ----- which follows
       |
    help: start one of them by a hook instead, such as `on: post-commit`
    "###);
    assert_snapshot!(refused_row("  - name: plan\n    on: { run: plan, state: failed }\n    role: planner\n"), @r###"
    error: row `plan` follows itself
     --> triggers.yaml:4:16
      |
    4 |     on: { run: plan, state: failed }
      |                ^^^^ this closes the circle
      |
    help: start one of them by a hook instead, such as `on: post-commit`
    "###);
}

#[test]
fn a_gate_stands_before_a_push_only() {
    for hook in Hook::INSTALLED.into_iter().filter(|hook| *hook != Hook::PrePush) {
        let said = refused_row(&format!("  - name: main\n    on: {hook}\n    gate: review\n    requires: [tester]\n"));
        assert!(said.contains("a gate listens to `pre-push` only"), "{hook}: {said}");
    }
}

#[test]
fn a_row_that_does_nothing_or_too_much() {
    assert_snapshot!(refused_row("  - name: test\n    on: post-commit\n"), @r###"
    error: row `test` does nothing
     --> triggers.yaml:3:5
      |
    3 |   - name: test
      |     ^^^^ neither `role` nor `gate`
      |
    help: say which role it starts: `planner`, `architect` or `tester`
    "###);
    assert_snapshot!(refused_row("  - name: test\n    on: pre-push\n    role: tester\n    gate: review\n"), @r###"
    error: row `test` has both `role` and `gate`
     --> triggers.yaml:6:5
      |
    5 |     role: tester
      |     ---- a role runs
    6 |     gate: review
      |     ^^^^ a gate blocks
      |
    help: make two rows of it: one that starts the role, one that is the gate
    "###);
    assert_snapshot!(refused_row("  - name: main\n    on: [pre-push, post-commit]\n    gate: review\n    runtime: codex-exec\n"), @r###"
    error: a gate listens to `pre-push` only
     --> triggers.yaml:4:9
      |
    4 |     on: [pre-push, post-commit]
      |         ^ nothing to block here
      |
    help: write `on: pre-push`: it is the hook that can say no

    error: row `main` has no `requires`
     --> triggers.yaml:5:5
      |
    5 |     gate: review
      |     ^^^^ a gate for nothing
      |
    help: name the roles whose artifacts it needs, such as `requires: [tester]`

    error: a gate has no `runtime`
     --> triggers.yaml:6:5
      |
    6 |     runtime: codex-exec
      |     ^^^^^^^ a gate starts no run
      |
    help: remove the key
    "###);
    assert_snapshot!(refused_row("  - name: main\n    on: pre-push\n    gate: approval\n    requires: []\n"), @r###"
    error: there is no gate `approval`
     --> triggers.yaml:5:11
      |
    5 |     gate: approval
      |           ^^^^^^^^ no gate of this name
      |
    help: choose `review`

    error: `requires` is an empty list
     --> triggers.yaml:6:15
      |
    6 |     requires: []
      |               ^ nothing in it
      |
    help: write at least one entry, or remove the key
    "###);
    assert_snapshot!(refused_row("  - name: test\n    on: post-commit\n    role: tester\n    requires: planner\n"), @r###"
    error: `requires` belongs to a gate
     --> triggers.yaml:6:5
      |
    6 |     requires: planner
      |     ^^^^^^^^ this row starts a role
      |
    help: to run after another row write `on: { run: ROW, state: succeeded }`
    "###);
    assert_snapshot!(refused_row("  - role: tester\n"), @r###"
    error: this row has no `name`
     --> triggers.yaml:3:5
      |
    3 |   - role: tester
      |     ^^^^ `name` is missing
      |
    help: give it a name, such as `name: test`

    error: this row has no `on`
     --> triggers.yaml:3:5
      |
    3 |   - role: tester
      |     ^^^^ `on` is missing
      |
    help: say what starts it, such as `on: post-commit`
    "###);
    assert_snapshot!(refused_row("  - { name: main, on: pre-push, gate: review, requires: tester }\n  - { name: next, on: { run: main, state: succeeded }, role: tester }\n"), @r###"
    error: `main` is a gate: it never runs
     --> triggers.yaml:4:30
      |
    4 |   - { name: next, on: { run: main, state: succeeded }, role: tester }
      |                              ^^^^ no run to follow
      |
    help: follow a row that starts a role
    "###);
}

#[test]
fn a_network_that_no_sandbox_gives() {
    let table =
        "  - { name: test, on: post-commit, role: planner }\npolicy:\n  roles:\n    planner: { network: true }\n";
    assert_snapshot!(refused_row(table), @r###"
    error: `roles.planner` cannot reach the network from a read-only sandbox
     --> triggers.yaml:6:25
      |
    6 |     planner: { network: true }
      |                         ^^^^ not with `sandbox: read-only`
      |
    help: remove it, or write `sandbox: workspace-write`
    "###);
}
