//! The settings by which Codex runs our hooks, and nobody else's.
//!
//! A hook runs only if its state names the hash of what it is: that is how Codex knows that a person looked at it. We
//! compute it for our two; for those of the person the state says that they are off, since a hook of theirs would run
//! outside the sandbox, and could change a command after it was allowed. Hooks of a repository are off because its
//! configuration is not trusted in a run. Those of an administrator (`/etc/codex`) cannot be switched off.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::ask::ASK_COMMAND;
use crate::files;
use crate::runtime::codex_exec::command_line::{path, quoted};
use crate::runtime::codex_exec::config::{self, Config, SYSTEM_DIRECTORY};
use crate::runtime::{Class, Environment, Failure};
use crate::text;

/// When Codex takes a hook that does not answer for one that agrees, in seconds. Ours gives up long before.
const TIMEOUT: u64 = 24 * 60 * 60;

/// What `-c` settings are called where states name their hooks.
const SESSION: &str = "/<session-flags>/config.toml";

/// How many hooks of the person's can be switched off: the kernel takes 128 KiB for one argument.
const OTHERS_MAX: usize = 400;

/// The largest file of hooks that is read, in bytes.
const FILE_BYTES: u64 = 1 << 20;

/// Our hooks: the event as settings and as states spell it, and the tools it is about.
const OURS: [(&str, &str, Option<&str>); 2] =
    [("UserPromptSubmit", "user_prompt_submit", None), ("PreToolUse", "pre_tool_use", Some("*"))];

/// The settings. `others` are the states' names of the hooks to switch off.
pub(super) fn settings(
    own_program: &Path,
    directory: &Path,
    others: &BTreeSet<String>,
) -> Result<Vec<String>, Failure> {
    let command = command(own_program, directory)?;
    let mut states: Vec<String> = others.iter().map(|key| format!("{}={{enabled=false}}", quoted(key))).collect();
    let mut out = vec!["features.hooks=true".to_owned()];
    for (event, label, matcher) in OURS {
        let about = matcher.map_or_else(String::new, |matcher| format!("matcher={},", quoted(matcher)));
        out.push(format!(
            "hooks.{event}=[{{{about}hooks=[{{type=\"command\",command={},timeout={TIMEOUT}}}]}}]",
            quoted(&command)
        ));
        let key = quoted(&format!("{SESSION}:{label}:0:0"));
        let hash = quoted(&trusted_hash(label, &command, matcher));
        states.push(format!("{key}={{enabled=true,trusted_hash={hash}}}"));
    }
    out.push(format!("hooks.state={{{}}}", states.join(",")));
    Ok(out)
}

/// The line for the shell that Codex runs its hooks by. Only a success of our program is one: whatever else happens, the
/// line ends with the code and the words on standard error that together mean no.
fn command(own_program: &Path, directory: &Path) -> Result<String, Failure> {
    let word = |file: &Path| {
        // The same refusal as for any other path that Codex cannot be told.
        path(file)?;
        let text = file.to_string_lossy();
        shlex::try_quote(&text).map(std::borrow::Cow::into_owned).map_err(|_| {
            Failure::new(Class::Internal, format!("no shell can be told about the path `{}`", text::one_line(&text)))
        })
    };
    let (program, directory) = (word(own_program)?, word(directory)?);
    Ok(format!("{program} {ASK_COMMAND} {directory} || {{ echo 'It was not executed.' >&2; exit 2; }}"))
}

/// What Codex computes of a hook, over its own canonical form: JSON with sorted keys and no spaces.
fn trusted_hash(label: &str, command: &str, matcher: Option<&str>) -> String {
    // Fields stand in the order of the alphabet.
    #[derive(Serialize)]
    struct Hook<'a> {
        r#async: bool,
        command: &'a str,
        timeout: u64,
        r#type: &'a str,
    }
    #[derive(Serialize)]
    struct Identity<'a> {
        event_name: &'a str,
        hooks: [Hook<'a>; 1],
        #[serde(skip_serializing_if = "Option::is_none")]
        matcher: Option<&'a str>,
    }
    let hook = Hook { r#async: false, command, timeout: TIMEOUT, r#type: "command" };
    let identity = Identity { event_name: label, hooks: [hook], matcher };
    // Strings and numbers always become JSON; an empty hash would not be trusted, which the canary sees.
    let canonical = serde_json::to_vec(&identity).unwrap_or_default();
    let digest = Sha256::digest(&canonical);
    digest.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// The states' names of the person's own hooks, in `hooks.json` and `config.toml` of Codex's directory.
pub(super) fn others(config: &Config, environment: &Environment) -> Result<BTreeSet<String>, Failure> {
    let mut found = BTreeSet::new();
    for (file, table) in config.layers() {
        if let Some(hooks) = table.get("hooks").and_then(|hooks| serde_json::to_value(hooks).ok()) {
            add(&names_of(file), &hooks, &mut found);
        }
    }
    if let Some(file) = config::home(environment).map(|home| home.join("hooks.json"))
        && let Some(hooks) = hooks_file(&file)?
    {
        add(&names_of(&file), &hooks, &mut found);
    }
    if found.len() > OTHERS_MAX {
        let message = format!("there are more than {OTHERS_MAX} Codex hooks here, more than can be switched off");
        return Err(Failure::new(Class::Protocol, message));
    }
    Ok(found)
}

fn hooks_file(file: &Path) -> Result<Option<Value>, Failure> {
    // People link it from where they keep their settings; the reader follows no link, so we do.
    let Ok(real) = file.canonicalize() else { return Ok(None) };
    let refused = |why: String| Failure::new(Class::Protocol, format!("Codex's hooks cannot be read: {why}"));
    let bytes = files::read(&real, FILE_BYTES).map_err(|error| refused(error.chain()))?.unwrap_or_default();
    // Codex leaves out a file that it cannot parse; what it would make of one that only we cannot, nobody knows.
    let parsed: Value = serde_json::from_slice(&bytes)
        .map_err(|error| refused(format!("{} is no JSON: {error}", text::one_line(&real.display().to_string()))))?;
    Ok(parsed.get("hooks").cloned())
}

/// The names a file may go by: as it is called, and without links, in its directory or by itself.
fn names_of(file: &Path) -> BTreeSet<PathBuf> {
    let beside = file.parent().and_then(|parent| parent.canonicalize().ok()).zip(file.file_name());
    [Some(file.to_owned()), beside.map(|(parent, name)| parent.join(name)), file.canonicalize().ok()]
        .into_iter()
        .flatten()
        .collect()
}

/// Adds the names of these hooks: the file, the event, and the places of the group and of the hook in it.
fn add(files: &BTreeSet<PathBuf>, hooks: &Value, found: &mut BTreeSet<String>) {
    for (event, groups) in hooks.as_object().into_iter().flatten() {
        let groups = groups.as_array().into_iter().flatten();
        for (at, group) in groups.enumerate() {
            let count = group.get("hooks").and_then(Value::as_array).map_or(0, Vec::len);
            for place in 0..count {
                let label = label(event);
                found.extend(files.iter().map(|file| format!("{}:{label}:{at}:{place}", file.display())));
            }
        }
    }
}

/// `PreToolUse` as states spell it: `pre_tool_use`.
fn label(event: &str) -> String {
    let mut out = String::with_capacity(event.len() + 4);
    for c in event.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// The file of an administrator that brings hooks, if there is one.
pub(super) fn managed(config: &Config) -> Option<PathBuf> {
    let directory = Path::new(SYSTEM_DIRECTORY);
    let in_config = config.layers().find(|(file, table)| file.starts_with(directory) && table.contains_key("hooks"));
    let own = in_config.map(|(file, _)| file.to_owned());
    own.or_else(|| {
        ["hooks.json", "requirements.toml", "managed_config.toml"].iter().map(|n| directory.join(n)).find(|file| {
            let read = files::read(file, FILE_BYTES).ok().flatten().unwrap_or_default();
            String::from_utf8_lossy(&read).contains("hooks")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_that_codex_computes() {
        // Taken from `currentHash` in the answer of Codex 0.169's app server to `hooks/list`.
        for (label, command, matcher, hash) in MEASURED {
            assert_eq!(trusted_hash(label, command, *matcher), *hash, "{label}");
        }
    }

    const ODD: &str = "'/a b/x' ask /r/ask-1 || { echo 'It was not executed.' >&2; exit 2; } # é \"q\" \\";

    const MEASURED: &[(&str, &str, Option<&str>, &str)] = &[
        ("pre_tool_use", ODD, Some("*"), "sha256:08ab3cbd14b54cb8834249298baa0f1735ba08afc049a1ddfb41b1e68d2af13b"),
        ("user_prompt_submit", ODD, None, "sha256:1737a3758205142c4de0d16b1f94196833e4f2cc91c6d8d6554a7c6e0f42a729"),
    ];

    #[test]
    fn events_are_spelt_as_states_spell_them() {
        for (event, expected) in
            [("PreToolUse", "pre_tool_use"), ("UserPromptSubmit", "user_prompt_submit"), ("Stop", "stop"), ("", "")]
        {
            assert_eq!(label(event), expected);
        }
        for (event, expected, _) in OURS {
            assert_eq!(label(event), expected);
        }
    }

    #[test]
    fn the_persons_hooks_are_named_by_file_and_place() {
        let home = tempfile::tempdir().unwrap();
        let real = home.path().canonicalize().unwrap().join("real");
        let link = real.with_file_name("link");
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let hooks = r#"{"hooks": {"Stop": [{"hooks": [{}]}, {"hooks": [{}, {}]}], "PreToolUse": 3, "x": [1]}}"#;
        files::write(&real.join("hooks.json"), hooks.as_bytes()).unwrap();
        let environment = Environment::from([("CODEX_HOME".into(), link.clone().into())]);
        let found = others(&Config::default(), &environment).unwrap();
        let name = |directory: &Path, at: &str| format!("{}/hooks.json:stop:{at}", directory.display());
        let expected: BTreeSet<_> =
            ["0:0", "1:0", "1:1"].iter().flat_map(|at| [name(&real, at), name(&link, at)]).collect();
        assert_eq!(found, expected);

        files::write(&real.join("hooks.json"), b"{").unwrap();
        assert_eq!(others(&Config::default(), &environment).unwrap_err().class, Class::Protocol);
    }

    #[test]
    fn the_line_says_no_whatever_becomes_of_our_program() {
        let odd = Path::new("/a 'b' \"c\" $(d)/`e`");
        let line = command(odd, Path::new("/dir")).unwrap();
        assert_eq!(shlex::split(&line).unwrap()[..3], [odd.to_str().unwrap(), ASK_COMMAND, "/dir"]);
        for program in [odd, Path::new("/bin/false"), Path::new("/")] {
            for shell in ["sh", "bash"] {
                let line = command(program, Path::new("/x")).unwrap();
                let output = duct::cmd(shell, ["-c", &line]).stderr_capture().unchecked().run().unwrap();
                assert_eq!(output.status.code(), Some(2), "{shell} {line}");
                assert!(!output.stderr.is_empty());
            }
        }
        let line = command(Path::new("/bin/true"), Path::new("/x")).unwrap();
        assert!(duct::cmd("sh", ["-c", &line]).run().is_ok());
    }
}
