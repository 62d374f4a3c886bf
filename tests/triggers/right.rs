//! Tables that are right, and the schema that says so too.

use orchestrator::triggers::load::table;
use orchestrator::triggers::{RowAction, SCHEMA_JSON, STARTER};

use crate::{SAMPLE, VOCABULARY, load};

#[test]
fn the_sample_of_the_design_loads() {
    let table = load(SAMPLE);
    assert_eq!(table.runtime, "codex-exec");
    assert_eq!(
        table.triggers.iter().map(|row| (row.name.as_str(), row.line)).collect::<Vec<_>>(),
        [("plan", 4), ("design-check", 8), ("test", 11), ("before-main", 16)]
    );
    let tester = &table.policy.roles.as_ref().unwrap()["tester"];
    assert_eq!((tester.limits.wall.as_secs(), tester.limits.output_bytes, tester.limits.attempts), (1200, 4 << 20, 3));
    assert_eq!(table.policy.budget.tokens_per_day, Some(5_000_000));
    assert_eq!((table.artifacts.track, table.artifacts.keep_seconds), (false, 30 * 24 * 3600));
    assert_eq!(table.triggers[3].action, RowAction::Gate { requires: vec!["tester".into(), "architect".into()] });
}

#[test]
fn what_is_left_out_comes_from_the_contract_and_one_string_is_a_list_of_one() {
    let table = load(
        "version: 1\ntriggers:\n- {name: a, on: post-commit, role: tester, when: {paths: src}, limits: {wall: 90s, attempts: 1}}\n\
         - {name: b, on: pre-push, gate: review, requires: tester}\n\
         policy: {roles: {tester: {network: true}, planner: {}}}\n",
    );
    let contract = orchestrator::role::contract("tester");
    let tester = &table.policy.roles.as_ref().unwrap()["tester"];
    assert_eq!((&tester.commands, tester.network, contract.network), (&contract.commands, true, false));
    assert_eq!(table.policy.roles.as_ref().unwrap()["planner"], orchestrator::role::contract("planner"));
    assert_eq!(table.triggers[0].when.paths, ["src"]);
    assert_eq!(table.triggers[0].limits.wall.unwrap().as_secs(), 90);
    assert_eq!(load("version: 1\r\ntriggers: []\r\n").runtime, "codex-exec");
}

#[test]
fn the_starter_says_what_the_contracts_say() {
    let table = load(STARTER);
    assert_eq!(
        table.triggers.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(),
        ["plan", "design-check", "test"]
    );
    for (role, policy) in table.policy.roles.as_ref().unwrap() {
        assert_eq!(*policy, orchestrator::role::contract(role), "{role}");
    }
    let gate = STARTER.replace("  # - name: before-main", "  - name: before-main").replace("  #   ", "    ");
    assert_eq!(load(&gate).triggers.len(), 4, "the row that is commented out is right too");
}

#[test]
fn the_schema_names_the_roles() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA_JSON).unwrap();
    assert_eq!(schema["$defs"]["role"]["enum"], serde_json::json!(orchestrator::role::NAMES));
    let listed = schema["$defs"]["policy"]["properties"]["roles"]["properties"].as_object().unwrap();
    assert!(orchestrator::role::NAMES.iter().all(|role| listed.contains_key(*role)));
    assert_eq!(listed.len(), orchestrator::role::NAMES.len());
}

/// Whether the published schema takes the file.
fn fits_schema(text: &str) -> bool {
    let options = serde_yaml::options! { strict_booleans: true };
    let value: serde_json::Value = serde_yaml::from_str_with_options(text, options).expect("YAML");
    let schema = serde_json::from_str(SCHEMA_JSON).expect("JSON");
    jsonschema::draft202012::new(&schema).expect("a schema").is_valid(&value)
}

#[test]
fn the_schema_and_the_loader_agree() {
    assert!(jsonschema::meta::is_valid(&serde_json::from_str(SCHEMA_JSON).expect("JSON")));
    let row = |rest: &str| format!("version: 1\ntriggers:\n- {{name: a, {rest}}}\n");
    let role = |rest: &str| format!("version: 1\ntriggers: []\npolicy: {{roles: {{tester: {{{rest}}}}}}}\n");
    let right = [
        SAMPLE.to_owned(),
        STARTER.to_owned(),
        row("on: post-commit, role: tester"),
        row("on: [post-commit, {run: b, state: failed}], role: tester}\n- {name: b, on: post-merge, role: planner"),
        row("on: pre-push, gate: review, requires: tester"),
        row("on: [pre-push], gate: review, requires: [tester, planner]"),
        row("on: pre-push, role: tester, when: {refs: ['!refs/tags/**', '**'], author: '*@a>', branches: main}"),
        role(
            "limits: {wall: 1h30m, idle: 90s, output: 512KiB, tokens: 5, attempts: 10, memory: 2GiB, processes: 2k, file_size: 64MiB}",
        ),
        role("commands: []"),
        "version: 1\ntriggers: []\nartifacts: {track: true}\n".to_owned(),
    ];
    for text in &right {
        load(text);
        assert!(fits_schema(text), "{text}");
    }
    let wrong = [
        "version: 2\ntriggers: []\n".to_owned(),
        "version: 1\n".to_owned(),
        "version: 1\ntriggers: []\nextra: 1\n".to_owned(),
        row("on: post-commit"),
        row("role: tester"),
        row("on: post-commit, role: tester, gate: review, requires: tester"),
        row("on: post-commit, role: tester, requires: tester"),
        row("on: pre-push, gate: review"),
        row("on: pre-push, gate: review, requires: []"),
        row("on: post-commit, gate: review, requires: tester"),
        row("on: pre-push, gate: review, requires: tester, runtime: codex-exec"),
        row("on: pre-commit, role: tester"),
        row("on: {run: b, state: running}, role: tester"),
        row("on: {run: b}, role: tester"),
        row("on: [], role: tester"),
        row("on: [post-commit, post-commit], role: tester"),
        row("on: post-commit, role: reviewer"),
        row("on: post-commit, role: tester, coalesce: all"),
        row("on: post-commit, role: tester, debounce: 5"),
        row("on: pre-push, gate: review, requires: tester, debounce: 5s"),
        "version: 1\ntriggers: []\nhook: {loud: true}\n".to_owned(),
        row("on: post-commit, role: tester, when: {paths: []}"),
        row("on: post-commit, role: tester, when: {paths: '/src'}"),
        row("on: post-commit, role: tester, when: {branches: refs/heads/a}"),
        row("on: post-commit, role: tester, when: {refs: main}"),
        row("on: post-commit, role: tester, when: {message: [a]}"),
        row("on: post-commit, role: tester, limits: {wall: 20}"),
        row("on: post-commit, role: tester, limits: {wall: 0s}"),
        row("on: post-commit, role: tester, limits: {wall: 5m1h}"),
        row("on: post-commit, role: tester, limits: {output: 4MB}"),
        row("on: post-commit, role: tester, limits: {tokens: 5K}"),
        row("on: post-commit, role: tester, limits: {tokens: 0}"),
        row("on: post-commit, role: tester, limits: {attempts: 11}"),
        row("on: post-commit, role: tester, limits: {memory: 8GB}"),
        row("on: post-commit, role: tester, limits: {processes: none}"),
        row("on: post-commit, role: tester, limits: {file_size: 0MiB}"),
        role("commands: ['ls | wc']"),
        role("commands: ['']"),
        role("network: no"),
        role("sandbox: none"),
        "version: 1\ntriggers: []\npolicy: {roles: {developer: {}}}\n".to_owned(),
        "version: 1\ntriggers: []\npolicy: {autonomy: all}\n".to_owned(),
    ];
    for text in &wrong {
        assert!(table(text.as_bytes(), "t", &VOCABULARY).is_err(), "{text}");
        assert!(!fits_schema(text), "{text}");
    }
}
