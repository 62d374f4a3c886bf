//! Planted secrets of every kind, wherever a repository, a person's surroundings or a model can put one: none of them is
//! found in a prompt, a record, an artifact, the ledger, a log or on a screen.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use orchestrator::rehearsal::{Item, Model, Reply, Request, Server};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Scene, codex, wait_for};

#[derive(Deserialize)]
struct File {
    kind: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    name: String,
    finds: Vec<Vec<String>>,
}

/// A text with a secret in it, and the part that may not be found.
#[derive(Clone)]
pub(crate) struct Canary {
    pub(crate) kind: String,
    pub(crate) text: String,
    pub(crate) secret: String,
}

/// The digits of a key of nobody's.
const KEY: &str = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\nMzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtCSuYEvu\n";

/// The cases of every shape that is known, and those that are no shape.
pub(crate) fn canaries() -> Vec<Canary> {
    let file = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/secrets/kinds.toml")).unwrap();
    let file: File = toml::from_str(&file).unwrap();
    let mut out = Vec::new();
    for kind in file.kind {
        for parts in kind.finds {
            out.push(Canary { kind: kind.name.clone(), text: parts.concat(), secret: parts[1].clone() });
        }
    }
    for title in ["RSA", "EC", "OPENSSH", "ENCRYPTED"] {
        let text = format!("-----BEGIN {title} {0}-----\n{KEY}-----END {title} {0}-----", "PRIVATE KEY");
        for secret in ["C7VJTUt9Us8cKj", "MzEfYyjiWA4R4"] {
            out.push(Canary { kind: format!("{title} key"), text: text.clone(), secret: secret.to_owned() });
        }
    }
    for (text, secret) in [
        ("password = \"Tr0ub4dor&3xyz\"", "Tr0ub4dor&3xyz"),
        ("DB_PASSWORD=kJ8mN2pQ9xW4", "kJ8mN2pQ9xW4"),
        ("client_secret: zX9yW8vU7tS6rQ5p", "zX9yW8vU7tS6rQ5p"),
        ("curl https://host/q7Lr2XkV9bTz4NcY8mWd3HsJ6fPg1Re5", "q7Lr2XkV9bTz4NcY8mWd3HsJ6fPg1Re5"),
    ] {
        out.push(Canary { kind: "by name or at random".to_owned(), text: text.to_owned(), secret: secret.to_owned() });
    }
    out
}

/// Values that only the surroundings tell to be secret: no shape, no randomness.
const KNOWN: [(&str, &str); 5] = [
    ("the provider's key", "correct-horse-battery"),
    ("a variable", "staple staple staple \"x\""),
    ("Codex's login", "plain words of a login"),
    ("a remote's password", "sunny-day-password"),
    ("a header of git", "opaque-header-words"),
];

/// A model that repeats every secret it can think of, everywhere it can.
struct Parrot {
    all: String,
    turns: BTreeMap<String, usize>,
}

impl Parrot {
    fn answer(&self, role: &str) -> Value {
        let all = &self.all;
        match role {
            "planner" => json!({
                "summary": format!("Plan. {all}"), "goals": [all], "assumptions": [all],
                "steps": [{ "title": "one", "files": ["a"], "acceptance": [all], "risk": "low", "risk_why": all }],
                "out_of_scope": [all], "blocking_questions": [],
            }),
            "architect" => json!({
                "verdict": "approve", "summary": all, "findings": [],
                "decisions": [], "risks": [],
            }),
            _ => json!({
                "verdict": "pass", "summary": format!("Passed. {all}"),
                "ran": [{ "command": "make test", "exit_code": 0, "showed": all }],
                "failures": [], "gaps": [{ "file": "a", "what": all, "harm": all }], "proposed_tests_patch": null,
            }),
        }
    }
}

impl Model for Parrot {
    fn reply(&mut self, request: &Request) -> Reply {
        let prompt = request
            .messages()
            .into_iter()
            .map(|(_, text)| text)
            .find(|text| text.contains("\nrole: ") || text.starts_with("role: "));
        let prompt = prompt.unwrap_or_default();
        let role =
            ["planner", "architect", "tester"].into_iter().find(|role| prompt.contains(&format!("role: {role}\n")));
        let role = role.unwrap_or("tester");
        let turn = self.turns.entry(role.to_owned()).or_default();
        *turn += 1;
        match (role, *turn) {
            (_, 1) => Reply::items(vec![
                Item::reasoning(format!("I think of {}", self.all)),
                Item::message(format!("I say {}", self.all)),
                Item::command("make test"),
            ]),
            ("tester", 2) => Reply::command("cat secrets.env; echo \"$ODD_TOKEN\" >&2"),
            // What does not fit is told, and asked for once more.
            ("tester", 3) => Reply::message(json!({ "verdict": self.all }).to_string()),
            _ => Reply::message(self.answer(role).to_string()),
        }
    }
}

const TABLE: &str = "\
version: 1
triggers:
  - name: plan
    on: post-commit
    when: { paths: [\"docs/tasks/**\"] }
    role: planner
    debounce: 0s
  - name: check
    on: { run: plan, state: succeeded }
    role: architect
  - name: test
    on: post-commit
    role: tester
    debounce: 0s
policy:
  roles:
    planner: { commands: [make test], limits: { attempts: 1 } }
    architect: { commands: [make test], limits: { attempts: 1 } }
    tester: { sandbox: workspace-write, commands: [cat, echo, make test], limits: { attempts: 1 } }
";

/// Every file below a directory with its bytes.
pub(crate) fn files(directory: &Path, out: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), out);
        } else {
            out.push((entry.path(), fs::read(entry.path()).unwrap()));
        }
    }
}

pub(crate) fn holds(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|window| window == part.as_bytes())
}

#[test]
fn planted_secrets_are_found_nowhere() {
    let Some(codex) = codex() else { return };
    let canaries = canaries();
    let kinds: std::collections::BTreeSet<_> = canaries.iter().map(|canary| canary.kind.as_str()).collect();
    assert!(kinds.len() >= 40, "{kinds:?}");
    let known = KNOWN.map(|(_, value)| value).join("\n");
    let all: String = canaries.iter().map(|canary| format!("{}\n", canary.text)).chain([known.clone()]).collect();

    let server = Server::in_background(Parrot { all: all.clone(), turns: BTreeMap::new() }).unwrap();
    let mut scene = Scene::new().with_codex(&codex, server.url());
    scene.set("SCRIPT_KEY", KNOWN[0].1);
    scene.set("ODD_TOKEN", KNOWN[1].1);
    let login = json!({ "auth_mode": "apikey", "OPENAI_API_KEY": KNOWN[2].1 });
    fs::write(scene.path("codex").join("auth.json"), login.to_string()).unwrap();
    scene.git(&["remote", "add", "origin", &format!("https://ada:{}@host.invalid/x", KNOWN[3].1)]);
    scene.git(&["config", "http.https://host.invalid/.extraHeader", &format!("Authorization: custom {}", KNOWN[4].1)]);
    scene.write("triggers.yaml", TABLE);
    scene.write("Makefile", "test:\n\t@cat secrets.env printed.txt; cat secrets.env >&2; echo one passed\n");
    scene.write("printed.txt", &all);
    scene.write("AGENTS.md", &format!("Use these: {all}"));
    scene.write("secrets.env", "nothing yet\n");
    scene.git(&["add", "."]);
    scene.git(&["commit", "--quiet", "-m", "start"]);
    scene.install();
    scene.ok(&["validate"]);

    scene.write("secrets.env", &format!("{all}\n"));
    scene.write("docs/tasks/one.md", &format!("# One\n\n{all}\n"));
    scene.git(&["add", "."]);
    // Only a comment line of git's own is a line that a message cannot hold.
    let message = scene.path("message");
    fs::write(&message, format!("feat: one {}\n\n{all}", canaries[0].text)).unwrap();
    scene.git(&["commit", "--quiet", "--cleanup=verbatim", "-F", message.to_str().unwrap()]);
    scene.wait();
    wait_for("every process to end", || scene.processes().is_empty().then_some(()));

    let status = scene.status();
    let runs = status["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 3, "{status}");
    for run in runs {
        assert!(!run["artifacts"].as_array().unwrap().is_empty(), "{run}");
        let artifact: Value = serde_json::from_str(&scene.read(run["artifacts"][1].as_str().unwrap())).unwrap();
        let redacted = artifact["envelope"]["redacted"].as_object().unwrap();
        assert!(redacted.len() > 20 && redacted.contains_key("known secret"), "{redacted:?}");
        let context = scene.read(&format!("{}/context.json", run["directory"].as_str().unwrap()));
        let context: Value = serde_json::from_str(&context).unwrap();
        assert!(context["redacted"].as_object().unwrap().len() > 20, "{context}");
        let page = scene.read(run["artifacts"][0].as_str().unwrap());
        assert!(page.contains("taken for secrets"), "{page}");
    }

    let mut looked_at = Vec::new();
    files(&scene.top.join(".orchestrator"), &mut looked_at);
    let names: Vec<_> = looked_at.iter().filter_map(|(path, _)| path.file_name()?.to_str()).collect();
    for name in [
        "ledger.db",
        "worker.log",
        "INBOX.md",
        "prompt.md",
        "context.json",
        "events.jsonl",
        "answer.json",
        "stderr.log",
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    // What each turn was asked: the prompt, and whatever Codex sends around it. What the model itself read goes back to
    // it by Codex's own hand and is in later requests.
    let mut first = Vec::new();
    for request in server.requests().iter().filter(|request| request.path.ends_with("/responses")) {
        let body = request.body.to_string();
        if !body.contains("function_call_output") {
            first.push(body.clone());
        }
        looked_at.push((PathBuf::from("the headers of a request"), format!("{:?}", request.headers).into_bytes()));
    }
    assert_eq!(first.len(), 3);
    looked_at.extend(first.into_iter().map(|body| (PathBuf::from("a prompt as it was sent"), body.into_bytes())));
    let ids: Vec<&str> = runs.iter().map(|run| run["id"].as_str().unwrap()).collect();
    let mut screens: Vec<Vec<&str>> =
        vec![vec!["status"], vec!["status", "--json"], vec!["log"], vec!["doctor"], vec!["explain", "post-commit"]];
    for id in &ids {
        screens.extend([
            vec!["show", id],
            vec!["show", id, "--json"],
            vec!["show", id, "--prompt"],
            vec!["log", id],
            vec!["log", id, "--json"],
        ]);
    }
    for screen in screens {
        let output = scene.run(&screen);
        looked_at.push((PathBuf::from(screen.join(" ")), [output.stdout, output.stderr].concat()));
    }

    let mut found = Vec::new();
    let secrets = canaries.iter().map(|canary| (canary.kind.as_str(), canary.secret.as_str()));
    for (kind, secret) in secrets.chain(KNOWN) {
        let as_json = serde_json::to_string(secret).unwrap();
        for (place, bytes) in &looked_at {
            if holds(bytes, secret) || holds(bytes, as_json.trim_matches('"')) {
                found.push(format!("{kind}: `{secret}` in {}", place.display()));
            }
        }
    }
    assert!(found.is_empty(), "{} places: {:#?}", found.len(), &found[..found.len().min(40)]);
}
