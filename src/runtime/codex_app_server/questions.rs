//! What the server asks before something happens, and what it is answered.
//!
//! A question becomes an [`Action`] for the gatekeeper only where every word of it is understood. What is understood in
//! part, or asks for more than a plain command in the sandbox, is refused without asking anybody: a refusal costs the
//! model one call, and a wrong yes cannot be taken back.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::policy::Action;
use crate::runtime::codex_exec::stream::string;
use crate::text;

/// Where shells lie that are none of the workspace's.
const SHELL_DIRECTORIES: &[&str] =
    &["/bin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/run/current-system/sw/bin"];

/// The shells whose grammar the policy reads.
const SHELLS: &[&str] = &["bash", "dash", "sh", "zsh"];

/// A question, as far as it can be answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// A decision about something that is understood.
    Judged {
        /// What is about to happen.
        action: Action,
        /// The item it is about.
        item: String,
    },
    /// A refusal, whatever the policy says.
    Refused {
        /// What it was about, as far as that can be told.
        action: Action,
        /// The item it is about, where it names one.
        item: Option<String>,
        /// The name of the rule.
        rule: &'static str,
        /// Why.
        reason: String,
    },
    /// Nothing that an agent does: answered with an error.
    Unknown,
}

/// Reads a question. `paths` gives the files of a patch that was announced before.
pub fn read(method: &str, params: &Value, paths: impl Fn(&str) -> Option<Vec<String>>) -> Question {
    match method {
        "item/commandExecution/requestApproval" => command(params),
        "item/fileChange/requestApproval" => patch(params, paths),
        "item/permissions/requestApproval"
        | "item/tool/requestUserInput"
        | "item/tool/call"
        | "mcpServer/elicitation/request"
        | "execCommandApproval"
        | "applyPatchApproval" => Question::Refused {
            action: Action::Tool { name: string(params, "tool").unwrap_or(method).to_owned() },
            item: string(params, "itemId").map(str::to_owned),
            rule: "not-offered",
            reason: "runs have commands and patches, and nothing else".to_owned(),
        },
        _ => Question::Unknown,
    }
}

fn command(params: &Value) -> Question {
    let line = string(params, "command").unwrap_or_default();
    let item = string(params, "itemId").map(str::to_owned);
    let refused =
        |action, rule, reason: &str| Question::Refused { action, item: item.clone(), rule, reason: reason.to_owned() };
    let as_it_is = || Action::Command { line: line.to_owned(), directory: None };
    match params.get("kind").map(Value::as_str) {
        None | Some(Some("command")) => {}
        Some(Some("writeStdin")) => {
            let text = line.to_owned();
            return refused(
                Action::Input { text },
                "input-to-running-process",
                "input to a running command is refused",
            );
        }
        Some(_) => return refused(as_it_is(), "unreadable", "this kind of question is not known"),
    }
    if params.get("environmentId").is_some_and(|id| !id.is_null() && id != "local") {
        return refused(as_it_is(), "another-environment", "commands run on this machine only");
    }
    let asks_for_more = ["additionalPermissions", "networkApprovalContext", "reason"]
        .iter()
        .any(|key| params.get(*key).is_some_and(|value| !value.is_null()));
    let Some(line) = unwrapped(line) else {
        return refused(as_it_is(), "unreadable", "the command line cannot be told with certainty");
    };
    let directory = string(params, "cwd").map(PathBuf::from).filter(|directory| directory.is_absolute());
    let action = Action::Command { line, directory: directory.clone() };
    if asks_for_more {
        let reason = "commands run in the sandbox: try again without `sandbox_permissions` and `justification`";
        return refused(action, "outside-the-sandbox", reason);
    }
    match (directory, &item) {
        (Some(_), Some(item)) => Question::Judged { action, item: item.clone() },
        _ => refused(action, "unreadable", "the question does not say where the command would run"),
    }
}

fn patch(params: &Value, paths: impl Fn(&str) -> Option<Vec<String>>) -> Question {
    let item = string(params, "itemId").map(str::to_owned);
    let mut named = item.as_deref().and_then(paths);
    let refused = |paths: Option<Vec<String>>, rule, reason: &str| Question::Refused {
        action: Action::Patch { paths: paths.unwrap_or_default() },
        item: item.clone(),
        rule,
        reason: reason.to_owned(),
    };
    let is_set = |key: &str| params.get(key).is_some_and(|value| !value.is_null());
    if is_set("grantRoot") {
        if let (Some(paths), Some(root)) = (&mut named, string(params, "grantRoot")) {
            paths.push(root.to_owned());
        }
        return refused(named, "outside-the-sandbox", "no directory is granted for later patches");
    }
    if is_set("reason") {
        return refused(named, "outside-the-sandbox", "patches stay in the workspace");
    }
    match (named, &item) {
        (Some(paths), Some(item)) if !paths.is_empty() => {
            Question::Judged { action: Action::Patch { paths }, item: item.clone() }
        }
        (named, _) => refused(named, "unreadable", "the patch does not say which files it changes"),
    }
}

/// The line behind `/bin/bash -c '…'`, where it is certain that it is that: Codex joins the three words by the rules of
/// `shlex`, so splitting them and joining them again has to give the same text. A login shell would read the person's
/// files first; it is switched off, so it does not come, and is refused if it does.
pub(super) fn unwrapped(command: &str) -> Option<String> {
    let words = shlex::split(command)?;
    let [shell, flag, line] = words.as_slice() else { return None };
    let shell = Path::new(shell);
    let (directory, name) = (shell.parent()?.to_str()?, shell.file_name()?.to_str()?);
    let is_known = SHELL_DIRECTORIES.contains(&directory) && SHELLS.contains(&name);
    // zsh replaces a word that begins with `=` by a program's path.
    let is_bashs = name != "zsh" || !line.split('=').rev().skip(1).any(|before| !before.ends_with(is_of_a_word));
    let joined = shlex::try_join(words.iter().map(String::as_str)).ok()?;
    (is_known && is_bashs && flag == "-c" && joined == command).then(|| line.clone())
}

fn is_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-')
}

/// The answer to a question of this method.
pub fn answer(method: &str, is_allowed: bool) -> Value {
    match method {
        "item/commandExecution/requestApproval" | "item/fileChange/requestApproval" => {
            json!({"decision": if is_allowed { "accept" } else { "decline" }})
        }
        "item/permissions/requestApproval" => json!({"permissions": {}, "scope": "turn"}),
        "mcpServer/elicitation/request" => json!({"action": "decline", "content": null}),
        "item/tool/call" => {
            json!({"contentItems": [{"type": "inputText", "text": "this tool is not offered"}], "success": false})
        }
        "item/tool/requestUserInput" => json!({"answers": {}}),
        _ => json!({"decision": "denied"}),
    }
}

/// What the model reads about a refusal: Codex itself tells it only that there was one.
pub fn told(action: &Action, rule: &str, reason: &str, is_for_a_person: bool) -> String {
    let what = match action {
        Action::Command { line, .. } => format!("the command `{}`", text::clipped(&text::one_line(line), 200)),
        Action::Input { .. } => "input to a running command".to_owned(),
        Action::Patch { .. } => "the patch".to_owned(),
        Action::Tool { name } => format!("the tool `{}`", text::clipped(&text::one_line(name), 80)),
    };
    let more = if is_for_a_person {
        "; refused for now: a person is asked; go on without it or end your answer saying what you needed"
    } else {
        ""
    };
    format!("Policy of this run: {what} was refused ({}): {}{more}.", text::one_line(rule), text::one_line(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(more: &Value) -> Question {
        let mut params = json!({"kind": "command", "itemId": "c1", "environmentId": "local",
            "command": "/bin/bash -c 'ls src'", "cwd": "/w"});
        for (key, value) in more.as_object().unwrap() {
            params[key] = value.clone();
        }
        read("item/commandExecution/requestApproval", &params, |_| None)
    }

    #[test]
    fn a_plain_command_is_judged_by_its_line_and_directory() {
        let action = Action::Command { line: "ls src".into(), directory: Some("/w".into()) };
        assert_eq!(ask(&json!({})), Question::Judged { action, item: "c1".into() });
        let null = json!({"reason": null, "additionalPermissions": null, "networkApprovalContext": null});
        assert!(matches!(ask(&null), Question::Judged { .. }));
    }

    #[test]
    fn what_is_more_or_less_than_a_plain_command_is_refused() {
        for (more, expected) in [
            (json!({"reason": ""}), "outside-the-sandbox"),
            (json!({"reason": "command failed; retry without sandbox?"}), "outside-the-sandbox"),
            (json!({"additionalPermissions": {}}), "outside-the-sandbox"),
            (json!({"networkApprovalContext": {"host": "example.org"}}), "outside-the-sandbox"),
            (json!({"kind": "writeStdin"}), "input-to-running-process"),
            (json!({"kind": "humanCommand"}), "unreadable"),
            (json!({"kind": 1}), "unreadable"),
            (json!({"environmentId": "elsewhere"}), "another-environment"),
            (json!({"cwd": null}), "unreadable"),
            (json!({"cwd": "sub"}), "unreadable"),
            (json!({"command": null}), "unreadable"),
            (json!({"command": "/bin/bash -lc 'ls src'"}), "unreadable"),
            (json!({"command": "ls src"}), "unreadable"),
            (json!({"itemId": null}), "unreadable"),
        ] {
            let Question::Refused { rule, .. } = ask(&more) else { panic!("{more} was not refused") };
            assert_eq!(rule, expected, "{more}");
        }
    }

    #[test]
    fn a_line_is_read_only_where_it_is_certain() {
        let wrapped = "/bin/bash -c \"echo 'it'\\\"'\\\"'s' \\\"\"'$x\n`id`'";
        assert_eq!(unwrapped(wrapped).as_deref(), Some("echo 'it'\"'\"'s' \"$x\n`id`"));
        for line in ["ls", "a 'b' \"c\"", "x\ny", "$HOME `id` \\", "é 'ü'", "", " ", "!$", "~ # x"] {
            let command = shlex::try_join(["/bin/bash", "-c", line]).unwrap();
            assert_eq!(unwrapped(&command).as_deref(), Some(line), "{command}");
        }
        for command in [
            "/bin/bash -c ls -la",
            "/bin/bash -c 'ls",
            "/bin/bash  -c ls",
            "/bin/bash -c \"ls\"",
            "/bin/bash -c ls # x",
            "bash -c ls",
            "/w/bash -c ls",
            "./bash -c ls",
            "/bin/fish -c ls",
            "/bin/bash -ic ls",
            "/usr/bin/env -c ls",
            "",
        ] {
            assert_eq!(unwrapped(command), None, "{command}");
        }
        assert_eq!(unwrapped("/bin/zsh -c 'git status'").as_deref(), Some("git status"));
        assert!(unwrapped("/bin/zsh -c 'rg --color=never x'").is_some());
        for line in ["cat =ls", "=ls", "a=1 '=ls'", "x ==ls"] {
            assert_eq!(unwrapped(&shlex::try_join(["/bin/zsh", "-c", line]).unwrap()), None, "{line}");
        }
    }

    #[test]
    fn a_patch_needs_its_paths_and_asks_for_nothing_else() {
        let ask = |params: Value, paths: Option<Vec<String>>| {
            read("item/fileChange/requestApproval", &params, |_| paths.clone())
        };
        let paths = Some(vec!["/w/a".to_owned()]);
        let plain = ask(json!({"itemId": "c1", "reason": null, "grantRoot": null}), paths.clone());
        let action = Action::Patch { paths: vec!["/w/a".into()] };
        assert_eq!(plain, Question::Judged { action, item: "c1".into() });
        let Question::Refused { action, .. } = ask(json!({"itemId": "c1", "grantRoot": "/etc"}), paths.clone()) else {
            panic!("a root was granted");
        };
        assert_eq!(action, Action::Patch { paths: vec!["/w/a".into(), "/etc".into()] });
        for (params, paths) in [
            (json!({"itemId": "c1"}), None),
            (json!({"itemId": "c1"}), Some(Vec::new())),
            (json!({}), paths.clone()),
            (json!({"itemId": "c1", "reason": "retry without sandbox?"}), paths),
        ] {
            assert!(matches!(ask(params, paths), Question::Refused { .. }));
        }
    }

    #[test]
    fn no_other_question_is_ever_answered_with_yes() {
        for method in [
            "item/permissions/requestApproval",
            "item/tool/requestUserInput",
            "item/tool/call",
            "mcpServer/elicitation/request",
            "execCommandApproval",
            "applyPatchApproval",
        ] {
            let question = read(method, &json!({"itemId": "c1"}), |_| Some(vec!["/w/a".into()]));
            assert!(matches!(question, Question::Refused { .. }), "{method}");
            assert!(!answer(method, false).to_string().contains("accept"), "{method}");
        }
        assert_eq!(read("account/chatgptAuthTokens/refresh", &json!({}), |_| None), Question::Unknown);
    }
}
