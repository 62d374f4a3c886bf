//! Configuration under which git executes nothing that a repository's configuration names.
//!
//! A setting of the environment wins over every file, so what is always dangerous is set once, and what has a name of
//! its own (a filter, a diff driver, a hook) is overridden by that name. Most cannot be switched off, only replaced by
//! something harmless: an empty command is an error to git, not an absence.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

/// Shows two files as git would have, for where a driver's own command cannot be switched off. Git appends the path and
/// then the old file, its id and mode, and the new file, its id and mode.
const PLAIN_DIFF: &str = r#"sh -c 'diff -u --label "a/$1" --label "b/$1" -- "$2" "$5" || test $? -eq 1' diff"#;

/// The person's and the system's files are not read at all; nothing asks, nothing pages, `git status` writes nothing;
/// an object that a partial clone has left with its remote is missing, and one that was replaced reads as it was written.
pub(super) const VARIABLES: [(&str, &str); 7] = [
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_NO_REPLACE_OBJECTS", "1"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_PAGER", "cat"),
    ("GIT_TERMINAL_PROMPT", "0"),
];

/// Set whatever the repository says.
const SETTINGS: [(&str, &str); 34] = [
    // What would execute something.
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.pager", "cat"),
    ("core.editor", "false"),
    ("core.askPass", "false"),
    ("sequence.editor", "false"),
    ("credential.helper", ""),
    ("protocol.ext.allow", "never"),
    ("log.showSignature", "false"),
    ("format.pretty", "medium"),
    ("gpg.program", "false"),
    ("commit.gpgSign", "false"),
    ("tag.gpgSign", "false"),
    ("tag.forceSignAnnotated", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("init.templateDir", ""),
    ("safe.bareRepository", "explicit"),
    // It writes the index whether optional locks are taken or not.
    ("diff.autoRefreshIndex", "false"),
    // What would reach into other repositories.
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("status.submoduleSummary", "false"),
    ("diff.submodule", "short"),
    // What would make the files differ from what the commit holds, or a change go unnoticed.
    ("core.autocrlf", "false"),
    ("core.checkStat", "default"),
    ("core.ignoreStat", "false"),
    ("core.sparseCheckout", "false"),
    ("core.splitIndex", "false"),
    ("core.trustctime", "true"),
    ("core.untrackedCache", "false"),
    ("index.sparse", "false"),
    ("index.skipHash", "false"),
    // Noise.
    ("advice.detachedHead", "false"),
    ("color.ui", "false"),
];

/// Overridden only where it is set, under the name it is set by: section, last word, value.
const NAMED: [(&str, &str, &str); 22] = [
    ("core", "sshcommand", "ssh"),
    ("core", "gitproxy", "none"),
    ("core", "alternaterefscommand", "true"),
    ("credential", "helper", ""),
    ("diff", "external", PLAIN_DIFF),
    ("diff", "command", PLAIN_DIFF),
    ("diff", "textconv", "cat"),
    ("difftool", "cmd", "false"),
    ("filter", "clean", ""),
    ("filter", "smudge", ""),
    ("filter", "process", ""),
    ("filter", "required", "false"),
    ("gpg", "program", "false"),
    ("gpg", "defaultkeycommand", "false"),
    ("interactive", "difffilter", "cat"),
    ("merge", "driver", "false"),
    ("mergetool", "cmd", "false"),
    ("remote", "uploadpack", "git-upload-pack"),
    ("remote", "receivepack", "git-receive-pack"),
    ("submodule", "update", "none"),
    ("trailer", "cmd", "true"),
    ("trailer", "command", "true"),
];

/// The settings for a repository in which these keys are configured.
pub(super) fn settings(configured: &BTreeSet<Vec<u8>>) -> BTreeMap<Vec<u8>, &'static str> {
    let mut out: BTreeMap<Vec<u8>, &'static str> =
        SETTINGS.iter().map(|(key, value)| (key.as_bytes().to_vec(), *value)).collect();
    for key in configured {
        let Some(first) = key.iter().position(|byte| *byte == b'.') else { continue };
        let last = key.iter().rposition(|byte| *byte == b'.').unwrap_or(first);
        let (section, word) = (key[..first].to_ascii_lowercase(), key[last + 1..].to_ascii_lowercase());
        let sibling = |word: &str| [&key[..=last], word.as_bytes()].concat();
        for (_, _, value) in NAMED.iter().filter(|(s, w, _)| s.as_bytes() == section && w.as_bytes() == word) {
            out.insert(key.clone(), value);
        }
        match section.as_slice() {
            // A hook in the configuration (git 2.54) is not reached by `core.hooksPath`.
            b"hook" if first != last => {
                out.insert(sibling("enabled"), "false");
                out.insert(sibling("command"), "true");
            }
            // `required` without a command makes git refuse the file.
            b"filter" if first != last => {
                out.insert(sibling("required"), "false");
            }
            b"pager" => {
                out.insert(key.clone(), "false");
            }
            _ => {}
        }
    }
    out
}

/// These settings as environment variables, [`VARIABLES`] included.
pub(super) fn variables(configured: &BTreeSet<Vec<u8>>) -> Vec<(OsString, OsString)> {
    let settings = settings(configured);
    let mut out: Vec<(OsString, OsString)> =
        VARIABLES.iter().map(|(name, value)| (name.into(), value.into())).collect();
    out.push(("GIT_CONFIG_COUNT".into(), settings.len().to_string().into()));
    for (number, (key, value)) in settings.into_iter().enumerate() {
        out.push((format!("GIT_CONFIG_KEY_{number}").into(), OsString::from_vec(key)));
        out.push((format!("GIT_CONFIG_VALUE_{number}").into(), value.into()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_name_of_its_own_is_overridden_by_that_name() {
        let keys = ["filter.a.b.Clean", "diff.X.textconv", "hook.lint.event", "user.name", "pager.diff", "nodot"];
        let out = settings(&keys.iter().map(|key| key.as_bytes().to_vec()).collect());
        let get = |key: &str| out.get(key.as_bytes()).copied();
        assert_eq!(get("filter.a.b.Clean"), Some(""));
        assert_eq!(get("filter.a.b.required"), Some("false"));
        assert_eq!(get("diff.X.textconv"), Some("cat"));
        assert_eq!(get("hook.lint.enabled"), Some("false"));
        assert_eq!(get("pager.diff"), Some("false"));
        assert_eq!(get("user.name"), None);
        assert_eq!(get("core.hooksPath"), Some("/dev/null"));
    }
}
