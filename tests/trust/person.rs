//! Who can accept: a person at a terminal, what was shown, and nobody else.

use std::fs;

use crate::support::terminal::yes;
use crate::support::{PROGRAM, text};
use crate::{accepted, store, table, unaccepted};

#[test]
fn a_pipe_a_redirection_and_a_run_accept_nothing() {
    let scene = unaccepted();
    scene.ok(&["install"]);
    let program = PROGRAM;
    for line in [
        format!("yes | '{program}' trust"),
        format!("echo | '{program}' trust"),
        format!("'{program}' trust </dev/null"),
        format!("setsid '{program}' trust </dev/null"),
    ] {
        let output = scene.command("sh").args(["-c", &line]).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{line}: {}{}", text(&output.stdout), text(&output.stderr));
    }
    // On a terminal, but with something else in the place of the person.
    let never = |_: &str, _: &str| -> String { unreachable!("nobody is asked") };
    for line in [
        format!("yes | '{program}' trust"),
        format!("'{program}' trust 2>/dev/null"),
        format!("GIT_ORCHESTRATOR_RUN=1 '{program}' trust"),
        // The mark is taken off: what it descends from still says it.
        format!("GIT_ORCHESTRATOR_RUN=1 sh -c \"env -u GIT_ORCHESTRATOR_RUN '{program}' trust; exit \\$?\"; exit $?"),
        format!(
            "GIT_ORCHESTRATOR_RUN=1 sh -c \"env -u GIT_ORCHESTRATOR_RUN setsid -w -c '{program}' trust; exit \\$?\"; exit $?"
        ),
    ] {
        let said = crate::support::terminal::on_terminal(
            std::path::Path::new("/bin/sh"),
            &["-c", &line],
            &scene.top,
            environment(&scene),
            never,
        );
        assert_eq!(said.code, 3, "{line}: {}", said.text);
    }
    assert!(!accepts(&scene));
    // `install` asks the same person.
    scene.ok(&["install"]);
    assert!(!accepts(&scene));
    let said = scene.at_terminal(&scene.top, &["trust"], yes);
    assert!(said.code == 0 && accepts(&scene), "{}", said.text);
}

fn environment(scene: &crate::support::Scene) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    let command = scene.command("true");
    command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect()
}

fn accepts(scene: &crate::support::Scene) -> bool {
    store(scene).is_some_and(|store| store.join("accepted.json").exists())
}

#[test]
fn another_word_accepts_nothing() {
    let scene = unaccepted();
    scene.ok(&["install"]);
    for word in ["", "y", "yes", "accept", "00000000"] {
        let said = scene.at_terminal(&scene.top, &["trust"], |_, _| word.to_owned());
        assert!(said.code == 3 && said.text.contains("not accepted"), "{word}: {}", said.text);
        assert!(!accepts(&scene));
    }
}

#[test]
fn what_was_shown_is_what_is_accepted() {
    let scene = accepted();
    scene.write("AGENTS.md", "Shown.\n");
    let said = scene.at_terminal(&scene.top, &["trust"], |said, word| {
        assert!(said.contains("-Run make.") && said.contains("+Shown."), "{said}");
        // While the person reads.
        scene.write("AGENTS.md", "Not shown.\n");
        word.to_owned()
    });
    assert_eq!(said.code, 0, "{}", said.text);
    let copies: Vec<_> = fs::read_dir(store(&scene).unwrap().join("files"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    assert!(copies.contains(&"Shown.\n".to_owned()) && !copies.contains(&"Not shown.\n".to_owned()));
    scene.commit("a", "1", "one");
    assert_eq!(scene.newest()["state"], "held");
}

#[test]
fn what_a_person_reads_steers_no_terminal() {
    let scene = unaccepted();
    let hostile = "a\u{1b}]52;c;aGk=\u{7}b\u{202e}c\u{1b}[2Kd\rsafe\u{9b}e\u{e0041}\n";
    scene.write("AGENTS.md", hostile);
    scene.write(
        "triggers.yaml",
        &table().replace("version: 1\n", &format!("version: 1 # {}", hostile.replace('\r', ""))),
    );
    scene.ok(&["install"]);
    let output = scene.run(&["trust", "--diff"]);
    assert_eq!(output.status.code(), Some(4));
    for text in [text(&output.stdout), text(&output.stderr)] {
        let wrong = |c: char| c.is_control() && c != '\n' && c != '\t' || "\u{202e}\u{e0041}".contains(c);
        assert!(!text.contains(wrong), "{text:?}");
    }
    let said = text(&scene.run(&["trust", "--diff", "--json"]).stdout);
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((json["schema"].as_u64(), json["state"].as_str()), (Some(1), Some("unknown")));
    let file = json["files"].as_array().unwrap().iter().find(|file| file["path"] == "AGENTS.md").unwrap();
    assert_eq!((file["kind"].as_str(), file["change"].as_str()), (Some("instructions"), Some("added")), "{file}");
}

#[test]
fn revoking_stops_everything() {
    let scene = accepted();
    scene.ok(&["pause"]);
    scene.commit("a", "1", "one");
    scene.ok(&["trust", "--revoke"]);
    scene.ok(&["resume"]);
    crate::support::wait_for("it to be held", || (scene.newest()["state"] == "held").then_some(()));
    let (_, said) = scene.commit("b", "1", "two");
    assert!(said.contains("git orchestrator trust"), "{said}");
    assert_eq!(scene.status()["trust"]["state"], "unknown");
    assert_eq!(text(&scene.run(&["doctor", "--json"]).stdout).matches("trust-unknown").count(), 1);
}
