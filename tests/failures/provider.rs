//! The model provider misbehaves.

use std::time::Duration;

use orchestrator::rehearsal::{Item, Reply, Server};
use serde_json::{Value, json};

use crate::support::wait_for;
use crate::{First, LIMITS, Trial, answer, asked, counted, ends, serve, table};

/// Each of these is asked once, ends its run with the sentence, and the next job runs.
fn each_fails(cases: Vec<(Reply, &str)>) {
    let Some(trial) = Trial::new(&table(LIMITS)) else { return };
    for (reply, sentence) in cases {
        let server = serve([reply]);
        trial.asks(&server);
        let run = trial.run();
        ends(&run, "failed", sentence);
        assert_eq!((asked(&server), &run["attempt"]), (1, &json!(1)), "{sentence}");
        trial.next_runs();
    }
}

fn status(code: u16, body: &Value) -> Reply {
    Reply::Status { code, headers: Vec::new(), body: body.to_string() }
}

#[test]
fn it_refuses() {
    each_fails(vec![
        (
            Reply::error(401, "invalid_api_key", "Incorrect API key provided"),
            "the model provider refused the login: 401 Unauthorized: Incorrect API key provided · export SCRIPT_KEY=…",
        ),
        (
            Reply::error(403, "unsupported_country", "Country not supported"),
            "the model provider refused access: 403 Forbidden: Country not supported · export SCRIPT_KEY=…",
        ),
        (
            Reply::error(404, "model_not_found", "The model `script-1` does not exist"),
            "the model provider does not have the model: *The model `script-1` does not exist · set `model` in Codex's \
             config.toml",
        ),
        (
            Reply::error(400, "invalid_request_error", "Invalid value: \u{1b}[31m'x'"),
            "the model provider refused the request: Invalid value: \\u{1b}[31m'x' · git orchestrator log RUN",
        ),
        (
            status(
                429,
                &json!({ "error": { "type": "insufficient_quota", "code": "insufficient_quota",
                "message": "You exceeded your current quota" } }),
            ),
            "the account at the model provider is used up: * · git orchestrator retry RUN",
        ),
        (
            status(
                429,
                &json!({ "error": { "type": "usage_limit_reached", "message": "Used up", "plan_type": "plus" } }),
            ),
            "the account at the model provider is used up: *usage limit* · git orchestrator retry RUN",
        ),
        (
            Reply::Failed { code: "context_length_exceeded".into(), message: "too long".into() },
            "the prompt does not fit the model's context window · set a `model` with more room, or commit in smaller \
             steps",
        ),
        (
            Reply::Incomplete { reason: "max_output_tokens".into() },
            "the model provider broke the answer off: max_output_tokens · git orchestrator log RUN",
        ),
        (
            Reply::Incomplete { reason: "content_filter".into() },
            "the model provider broke the answer off: content_filter · git orchestrator log RUN",
        ),
    ]);
}

#[test]
fn it_is_overloaded_or_breaks() {
    let limited = "gave up after 1 attempt: the model provider asks to slow down: * · git orchestrator retry RUN";
    let busy = "gave up after 1 attempt: the model provider is overloaded or failed: * · git orchestrator retry RUN";
    let cut = "gave up after 1 attempt: the connection to the model provider failed: stream disconnected before completion* · \
         git orchestrator retry RUN";
    each_fails(vec![
        (Reply::error(429, "rate_limit_exceeded", "Slow down"), limited),
        (Reply::Failed { code: "rate_limit_exceeded".into(), message: "Rate limit reached.".into() }, limited),
        (Reply::error(500, "server_error", "The server had an error"), busy),
        (Reply::error(503, "unavailable", "busy"), busy),
        (Reply::Failed { code: "server_is_overloaded".into(), message: "busy".into() }, busy),
        (Reply::CutStream { after: vec![Item::message("{\"verdict\":")] }, cut),
        (Reply::Garbage(b"<html>502 Bad Gateway</html>".to_vec()), cut),
        (Reply::Garbage(b"event: response.created\ndata: {\"type\":\n\n".to_vec()), cut),
    ]);
}

#[test]
fn it_is_not_there() {
    let Some(trial) = Trial::new(&table(LIMITS)) else { return };
    // A port that was free a moment ago.
    let url = serve([]).url().to_owned();
    trial.scene.provider(&url);
    let sentence =
        "gave up after 1 attempt: the connection to the model provider failed: * · git orchestrator retry RUN";
    ends(&trial.run(), "failed", sentence);
    trial.next_runs();
}

#[test]
fn codex_itself_waits_as_long_as_the_provider_asks() {
    let Some(trial) = Trial::new(&table(LIMITS)) else { return };
    let limited = Reply::error(429, "rate_limit_exceeded", "Slow down").header("retry-after", "1");
    let server = Server::in_background(First::new([limited])).unwrap();
    trial.asks(&server);
    let config = trial.scene.path("codex/config.toml");
    let text = std::fs::read_to_string(&config).unwrap().replace("stream_max_retries = 0", "stream_max_retries = 2");
    orchestrator::files::write(&config, text.as_bytes()).unwrap();
    let run = trial.run();
    assert_eq!((&run["state"], &run["attempt"]), (&json!("succeeded"), &json!(1)), "{run}");
    let requests = server.requests();
    assert!(requests[1].at.since(requests[0].at) >= Duration::from_secs(1));
}

#[test]
fn a_second_attempt_comes_after_its_time_and_not_before() {
    let table = table(LIMITS).replace("attempts: 1", "attempts: 2");
    let Some(trial) = Trial::new(&table) else { return };
    let server = Server::in_background(First::new([Reply::error(429, "rate_limit_exceeded", "Slow down")])).unwrap();
    trial.asks(&server);
    trial.commit();
    let waiting = wait_for("the first attempt to fail", || {
        let run = trial.scene.newest();
        (run["state"] == "queued" && run["attempt"] == 1).then_some(run)
    });
    let reason = waiting["reason"].as_str().unwrap();
    assert!(reason.starts_with("the model provider asks to slow down: 429"), "{reason}");
    assert!(reason.ends_with(" · attempt 2 of 2 in 10s"), "{reason}");
    assert!(waiting["not_before"].is_string());

    let run = trial.ended();
    assert_eq!((&run["state"], &run["attempt"]), (&json!("succeeded"), &json!(2)), "{run}");
    let requests = server.requests();
    assert!(requests[1].at.since(requests[0].at) >= Duration::from_secs(10));
    assert_eq!(trial.scene.status()["runs"].as_array().unwrap().len(), 1);
}

#[test]
fn an_answer_that_does_not_fit_is_asked_for_once_more() {
    let Some(trial) = Trial::new(&table(LIMITS)) else { return };
    // The tokens tell whether the thread's counter was taken for the turn's.
    let tested = || counted(Item::command("make test"));
    let usage =
        |turns: u64| json!({ "input_tokens": 100 * turns, "cached_input_tokens": 0, "output_tokens": 10 * turns });
    let wrong = [
        counted(Item::message("All tests pass.")),
        counted(Item::message("{\"verdict\":\"pass\"}")),
        counted(Item::message("")),
        Reply::Items {
            items: Vec::new(),
            usage: Some(orchestrator::runtime::Usage { input_tokens: 100, cached_input_tokens: 0, output_tokens: 10 }),
        },
    ];
    for wrong in wrong {
        let server = serve([tested(), wrong, counted(Item::message(answer()))]);
        trial.asks(&server);
        let run = trial.run();
        assert_eq!(run["state"], "succeeded", "{run}");
        assert_eq!((asked(&server), &run["usage"], &run["attempt"]), (3, &usage(3), &json!(1)));
        let requests = server.requests();
        let (first, last) = (&requests[0].body, &requests[2].body);
        assert_eq!(first["prompt_cache_key"], last["prompt_cache_key"], "the same thread");
        let said = last["input"].to_string();
        assert!(said.contains("Your last message is not usable as the answer:"), "{said}");
        assert_eq!(last["text"]["format"]["strict"], true);
    }
    trial.next_runs();
}

#[test]
fn a_second_answer_that_does_not_fit_is_the_last() {
    let Some(trial) = Trial::new(&table(LIMITS)) else { return };
    let asked_twice = "no usable answer, though it was asked twice: ";
    for (wrong, words) in [
        (Reply::Empty, "the answer is empty*"),
        (Reply::message(" \n"), "the answer is empty*"),
        (Reply::message("All tests pass."), "the answer is not one JSON object that fits the schema: *"),
        (Reply::message("{\"verdict\":\"pass\"}"), "the answer is not one JSON object that fits the schema: missing *"),
    ] {
        let server = serve([wrong]);
        trial.asks(&server);
        let run = trial.run();
        ends(&run, "inconclusive", &format!("{asked_twice}{words} · git orchestrator log RUN"));
        assert_eq!(asked(&server), 2);
        trial.next_runs();
    }
    let server = serve([counted(Item::message("no")), Reply::error(401, "invalid_api_key", "Expired")]);
    trial.asks(&server);
    let run = trial.run();
    ends(&run, "failed", "the model provider refused the login: 401 Unauthorized: Expired · export SCRIPT_KEY=…");
    assert_eq!((asked(&server), &run["usage"]["input_tokens"]), (2, &json!(100)));
}

#[test]
fn the_same_worker_goes_on_with_the_next_run() {
    let table = table(LIMITS).replace("    role: tester\n", "    role: tester\n    coalesce: none\n");
    let Some(trial) = Trial::new(&table) else { return };
    let refused = Reply::error(401, "invalid_api_key", "Expired");
    let server = Server::in_background(First::new([refused.clone(), refused])).unwrap();
    trial.asks(&server);
    trial.scene.ok(&["pause"]);
    for _ in 0..3 {
        trial.commit();
    }
    trial.scene.ok(&["resume"]);
    assert_eq!(trial.scene.wait(), 1);
    let runs = trial.scene.status()["runs"].as_array().unwrap().clone();
    let states: Vec<_> = runs.iter().map(|run| run["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["succeeded", "failed", "failed"]);
    trial.untouched();
}
