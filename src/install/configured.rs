//! Hooks from configuration (git 2.54 and later): `hook.<name>.command` and `.event`.
//!
//! They run whatever `core.hooksPath` says, so they are the way where the hooks directory is not ours to write. An older
//! git does not know them and runs nothing. The command is one line of sh: git puts its arguments behind it, and a
//! program that is gone must not stop a push.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::shim::quoted;
use crate::event::Hook;
use crate::git::Setting;
use crate::text;

/// The first git that runs them.
pub const SINCE: (u32, u32) = (2, 54);

/// What our hooks are called in the configuration, before the name of git's hook.
const NAME: &str = "git-orchestrator-";

/// One hook in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// Its name there. Untrusted.
    pub name: String,
    /// The events it is for, in git's names. Untrusted.
    pub events: Vec<String>,
    /// What it runs. `None` makes git stop with exit code 128 when the event happens.
    pub command: Option<Vec<u8>>,
    /// Whether `hook.<name>.enabled` is not false.
    pub enabled: bool,
    /// The scope and file of the command, or of the event where there is no command.
    pub scope: String,
    /// That file.
    pub file: Option<PathBuf>,
}

impl Configured {
    /// The hook of git's that it is ours for.
    pub fn ours(&self) -> Option<Hook> {
        self.name.strip_prefix(NAME).and_then(Hook::parse)
    }
}

/// The command that git runs for this hook.
pub fn command(program: &Path, hook: Hook) -> Vec<u8> {
    let program = quoted(program.as_os_str().as_bytes());
    let hook_call = format!(" hook {hook} \"$@\"");
    let (begin, middle, end): (&[u8], &[u8], &[u8]) = if hook == Hook::PrePush {
        // A program that was killed, or is of another machine, has not said no.
        (b"f() { [ -x ", b" ] || return 0; ", b"; s=$?; [ $s -lt 126 ] || s=0; return $s; }; f")
    } else {
        (b"f() { [ ! -x ", b" ] || ", b" || :; }; f")
    };
    [begin, &program, middle, &program, hook_call.as_bytes(), end].concat()
}

/// The lines of the configuration file for these hooks. The command stands first: an event without one stops git.
pub fn lines(program: &Path, hooks: &[Hook]) -> Vec<u8> {
    let mut out = Vec::new();
    for hook in hooks {
        out.extend_from_slice(format!("[hook \"{NAME}{hook}\"]\n\tcommand = ").as_bytes());
        out.extend_from_slice(&value(&command(program, *hook)));
        out.extend_from_slice(format!("\n\tevent = {hook}\n").as_bytes());
    }
    out
}

/// A value as it is written in a configuration file.
pub(super) fn value(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![b'"'];
    for byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => out.push(*byte),
        }
    }
    out.push(b'"');
    out
}

/// The hooks that these settings make, in order of their first mention.
pub(super) fn read(settings: &[Setting]) -> Vec<Configured> {
    let mut out: Vec<Configured> = Vec::new();
    for setting in settings {
        let Some((name, word)) = setting.key.strip_prefix("hook.").and_then(|rest| rest.rsplit_once('.')) else {
            continue;
        };
        let place = out.iter().position(|known| known.name == name).unwrap_or_else(|| {
            out.push(Configured {
                name: name.to_owned(),
                events: Vec::new(),
                command: None,
                enabled: true,
                scope: setting.scope.clone(),
                file: setting.file.clone(),
            });
            out.len() - 1
        });
        let Some(hook) = out.get_mut(place) else { continue };
        match word {
            // An empty value takes back what was said before.
            "event" if setting.value.is_empty() => hook.events.clear(),
            "event" => hook.events.push(text::bytes_line(&setting.value)),
            "enabled" => hook.enabled = is_true(&setting.value),
            "command" => {
                hook.command = Some(setting.value.clone());
                hook.scope.clone_from(&setting.scope);
                hook.file.clone_from(&setting.file);
            }
            _ => {}
        }
    }
    out
}

/// Git's own words for no; anything else, and a name without a value, is yes.
fn is_true(value: &[u8]) -> bool {
    !["false", "no", "off", "0"].iter().any(|no| value.eq_ignore_ascii_case(no.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_configuration_is_read_as_git_reads_it() {
        let setting = |key: &str, value: &str| Setting {
            key: key.to_owned(),
            value: value.as_bytes().to_vec(),
            scope: "local".to_owned(),
            file: None,
        };
        let read = read(&[
            setting("hook.a.b.event", "post-commit"),
            setting("hook.a.b.event", ""),
            setting("hook.a.b.event", "pre-push"),
            setting("hook.a.b.enabled", "OFF"),
            setting("hook.git-orchestrator-pre-push.event", "pre-push"),
            setting("hook.git-orchestrator-pre-push.enabled", ""),
            setting("hook.odd", "x"),
        ]);
        assert_eq!(read.len(), 2);
        let (other, own) = (&read[0], &read[1]);
        assert!(other.name == "a.b" && other.events == ["pre-push"] && !other.enabled && other.ours().is_none());
        assert!(own.ours() == Some(Hook::PrePush) && own.enabled && own.command.is_none());
    }

    #[test]
    fn a_value_stands_for_exactly_its_bytes() {
        assert_eq!(value(b"a \"b\\c\nd\te;#\xff"), b"\"a \\\"b\\\\c\\nd\\te;#\xff\"");
    }
}
