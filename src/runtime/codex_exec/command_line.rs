//! The arguments of one `codex exec`.
//!
//! The person's login, provider and model stay theirs; everything else that could act in a run is switched off or
//! pinned, because a later default, a project's file or a line in the person's configuration would decide it otherwise.
//! Measured with 0.169.0 (`tests/codex_exec.rs` holds it): `notify`, MCP servers, apps, plugins, project instructions,
//! project configuration and rules do not act, nor do hooks beside the two of the `guard`. What cannot be switched off: the person's own
//! `$CODEX_HOME/AGENTS.md` and `developer_instructions` reach the model, and so do managed settings of an organisation.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::config::variable;
use super::profile::Confinement;
use super::program::Version;
use crate::process;
use crate::runtime::{Class, Environment, Failure, REHEARSAL, REHEARSAL_VARIABLE, SandboxProfile};
use crate::text;

/// The core variables of `shell_environment_policy.inherit = "core"` that commands keep.
const CORE_VARIABLES: &[&str] = &["HOME", "LOGNAME", "PATH", "SHELL", "USER"];

/// Features that act beside the model or offer it tools that a run has no use for. Unknown names are ignored by every
/// version.
const FEATURES_OFF: &[&str] = &[
    "apps",
    "browser_use",
    "browser_use_external",
    "computer_use",
    "goals",
    "image_generation",
    "in_app_browser",
    "memories",
    "multi_agent",
    "multi_agent_v2",
    "plugins",
    "shell_snapshot",
    "skill_search",
    "tool_suggest",
    // Retries for ever while the provider cannot be reached.
    "unbounded_connection_retries",
    // With a terminal the model could type into a process that is already running, which nobody is asked about.
    "unified_exec_tty",
    "view_image",
];

/// Other settings, as `key=value` with the value in TOML.
const SETTINGS: &[&str] = &[
    "approval_policy=\"never\"",
    "allow_login_shell=false",
    "analytics.enabled=false",
    "check_for_update_on_startup=false",
    "notify=[]",
    "project_doc_max_bytes=0",
    "shell_environment_policy.exclude=[]",
    "shell_environment_policy.inherit=\"core\"",
    "skills.bundled.enabled=false",
    "skills.include_instructions=false",
    "tools.experimental_request_user_input.enabled=false",
];

/// What one call depends on.
pub(in crate::runtime) struct Call<'a> {
    /// The version that is called.
    pub(in crate::runtime) version: Version,
    /// The checkout.
    pub(in crate::runtime) workspace: &'a Path,
    /// The file with the answer's schema, where it is handed over as a file.
    pub(in crate::runtime) schema: Option<&'a Path>,
    /// What the commands find and may do.
    pub(in crate::runtime) sandbox: &'a SandboxProfile,
    /// What confines them.
    pub(in crate::runtime) confinement: &'a Confinement,
    /// The MCP servers to switch off.
    pub(in crate::runtime) mcp_servers: BTreeSet<&'a str>,
    /// The skill files to switch off.
    pub(in crate::runtime) skills: BTreeSet<PathBuf>,
    /// The thread to continue.
    pub(in crate::runtime) resume: Option<&'a str>,
    /// The rehearsal server to ask instead of the person's provider.
    pub(in crate::runtime) rehearsal: Option<&'a str>,
    /// What puts each tool call to the gatekeeper.
    pub(in crate::runtime) guard: &'a [String],
}

impl Call<'_> {
    /// The arguments; the prompt follows on standard input.
    pub(super) fn arguments(&self) -> Result<Vec<OsString>, Failure> {
        let mut out: Vec<OsString> = vec!["exec".into(), "--json".into(), "--color".into(), "never".into()];
        out.extend(["--skip-git-repo-check".into(), "--ignore-rules".into()]);
        if let Some(mode) = self.confinement.mode() {
            out.extend(["-s".into(), mode.as_str().into()]);
        }
        out.extend(["-C".into(), self.workspace.into()]);
        if let Some(schema) = self.schema {
            out.extend(["--output-schema".into(), schema.into()]);
        }
        for setting in self.settings()? {
            out.extend(["-c".into(), setting.into()]);
        }
        if self.rehearsal.is_some() {
            out.extend(["-m".into(), REHEARSAL.into()]);
        }
        if let Some(thread) = self.resume {
            // Codex takes anything else for a name and starts a new thread without a word.
            check_thread(thread)?;
            out.extend(["resume".into(), thread.into()]);
        }
        out.push("-".into());
        Ok(out)
    }

    /// What is switched off or pinned, each as `key=value` for `-c`.
    pub(in crate::runtime) fn settings(&self) -> Result<Vec<String>, Failure> {
        let mut out: Vec<String> = SETTINGS.iter().map(|setting| (*setting).to_owned()).collect();
        out.extend(FEATURES_OFF.iter().map(|feature| format!("features.{feature}=false")));
        if self.version.has_agents_switch() {
            out.push("agents.enabled=false".to_owned());
        }
        // With network the person's own setting decides.
        if !self.sandbox.network {
            out.push("web_search=\"disabled\"".to_owned());
        }
        out.push(format!("projects={{{}={{trust_level=\"untrusted\"}}}}", path(self.workspace)?));
        out.extend(self.guard.iter().cloned());
        out.extend(self.environment_settings()?);
        out.extend(self.confinement.settings().iter().cloned());
        // `-c` splits its key at every dot, quoted or not, so names travel in a table that is laid over the person's.
        let off = |key: String| format!("{key}={{enabled=false}}");
        if !self.mcp_servers.is_empty() {
            let servers: Vec<String> = self.mcp_servers.iter().map(|name| off(quoted(name))).collect();
            out.push(format!("mcp_servers={{{}}}", servers.join(",")));
        }
        if !self.skills.is_empty() {
            let skill = |file: &PathBuf| Ok(format!("{{path={},enabled=false}}", path(file)?));
            let skills = self.skills.iter().map(skill).collect::<Result<Vec<_>, Failure>>()?;
            out.push(format!("skills.config=[{}]", skills.join(",")));
        }
        if let Some(url) = self.rehearsal {
            out.push(format!("model_provider={}", quoted(REHEARSAL)));
            out.push(format!(
                "model_providers.{REHEARSAL}={{name={name},base_url={url},wire_api=\"responses\",\
                 request_max_retries=1,stream_max_retries=1}}",
                name = quoted(REHEARSAL),
                url = quoted(url),
            ));
        }
        Ok(out)
    }

    fn environment_settings(&self) -> Result<Vec<String>, Failure> {
        let temporary = path(&self.sandbox.temporary)?;
        let mut variables: BTreeMap<&str, String> = BTreeMap::new();
        for (name, value) in &self.sandbox.command_environment {
            // The name also becomes a pattern, where a star would let more through than was asked for.
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                let name = text::one_line(name);
                return Err(Failure::new(Class::Internal, format!("`{name}` is no name for an environment variable")));
            }
            variables.insert(name, quoted(value));
        }
        variables.insert("TMPDIR", temporary.clone());
        // A hook that git runs inside a command sees it and does nothing.
        variables.insert(process::RUN_MARKER, quoted("1"));
        // Without it bash takes itself for a remote shell and reads the person's start-up files.
        variables.insert("SHLVL", quoted("2"));
        let names = CORE_VARIABLES.iter().copied().chain(variables.keys().copied());
        let names: Vec<String> = names.collect::<BTreeSet<_>>().into_iter().map(quoted).collect();
        let set: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Ok(vec![
            format!("shell_environment_policy.set={{{}}}", set.join(",")),
            // Applied last, so it also removes what the person's own `set` adds.
            format!("shell_environment_policy.include_only=[{}]", names.join(",")),
        ])
    }
}

/// That this is the id of a thread, and no name or option.
pub(in crate::runtime) fn check_thread(thread: &str) -> Result<(), Failure> {
    uuid::Uuid::try_parse(thread).map(drop).map_err(|_| {
        let thread = text::one_line(thread);
        Failure::new(Class::Protocol, format!("`{thread}` is not the id of a Codex thread"))
    })
}

/// The base URL of the rehearsal server, where one is set. Only this machine is accepted: the prompt goes there.
pub(in crate::runtime) fn rehearsal(environment: &Environment) -> Result<Option<&str>, Failure> {
    let Some(value) = variable(environment, REHEARSAL_VARIABLE) else { return Ok(None) };
    let wrong = || {
        let shown = text::one_line(&value.to_string_lossy());
        Failure::new(Class::Internal, format!("{REHEARSAL_VARIABLE} is `{shown}`, not http://127.0.0.1:PORT/v1"))
            .fix(format!("unset {REHEARSAL_VARIABLE}"))
    };
    let url = value.to_str().ok_or_else(wrong)?;
    let rest = ["http://127.0.0.1:", "http://localhost:", "http://[::1]:"].iter().find_map(|p| url.strip_prefix(p));
    let (port, path) = rest.and_then(|rest| rest.split_once('/')).ok_or_else(wrong)?;
    let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.'));
    if port.parse::<u16>().is_ok_and(|port| port > 0) && plain { Ok(Some(url)) } else { Err(wrong()) }
}

/// A path as a TOML string. Codex takes its settings as text, so a path that is none cannot be told.
pub(in crate::runtime) fn path(path: &Path) -> Result<String, Failure> {
    path.to_str().map(quoted).ok_or_else(|| {
        use std::os::unix::ffi::OsStrExt as _;
        let shown = text::bytes_line(path.as_os_str().as_bytes());
        Failure::new(Class::Internal, format!("Codex cannot be told about the path `{shown}`: it is not UTF-8"))
    })
}

/// A TOML basic string: on one line, whatever `text` holds.
pub(in crate::runtime) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            // Every control character lies below U+00A0, and TOML wants four digits.
            c if c.is_control() => out.extend(["\\u00".to_owned(), format!("{:02X}", u32::from(c))]),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::super::program::{PROGRAM_VARIABLE, Program};
    use super::*;
    use crate::policy::SandboxMode;

    /// An older version's, which is told no paths of this machine.
    fn confinement(sandbox: &SandboxProfile) -> Confinement {
        let version = Version::parse("0.130.0").unwrap();
        let program = Program::find(&Environment::from([(PROGRAM_VARIABLE.into(), "/bin/sh".into())])).unwrap();
        Confinement::of(version, &program, Path::new("/w"), sandbox, &Environment::new()).unwrap()
    }

    fn call<'a>(sandbox: &'a SandboxProfile, confinement: &'a Confinement, version: &str) -> Call<'a> {
        Call {
            confinement,
            version: Version::parse(version).unwrap(),
            workspace: Path::new("/w \"x\"\n"),
            schema: Some(Path::new("/run/schema.json")),
            sandbox,
            mcp_servers: BTreeSet::from(["a.b \"c\""]),
            skills: BTreeSet::from([PathBuf::from("/s/SKILL.md")]),
            resume: None,
            rehearsal: None,
            guard: &[],
        }
    }

    fn profile(mode: SandboxMode) -> SandboxProfile {
        SandboxProfile {
            mode,
            network: false,
            temporary: "/t".into(),
            readable: Vec::new(),
            command_environment: BTreeMap::new(),
        }
    }

    #[test]
    fn every_setting_is_one_line_of_toml_that_says_what_was_meant() {
        let sandbox = profile(SandboxMode::WorkspaceWrite);
        let confinement = confinement(&sandbox);
        let settings = call(&sandbox, &confinement, "0.169.0").settings().unwrap();
        let mut keys = BTreeSet::new();
        for setting in &settings {
            let (key, value) = setting.split_once('=').unwrap();
            assert!(!setting.contains('\n') && keys.insert(key), "{setting}");
            let table: toml::Table = format!("x = {value}").parse().unwrap_or_else(|e| panic!("{setting}: {e}"));
            let value = &table["x"];
            match key {
                "projects" => assert_eq!(value["/w \"x\"\n"]["trust_level"].as_str(), Some("untrusted")),
                "mcp_servers" => assert_eq!(value["a.b \"c\""]["enabled"].as_bool(), Some(false)),
                "skills.config" => assert_eq!(value[0]["path"].as_str(), Some("/s/SKILL.md")),
                "sandbox_workspace_write.writable_roots" => assert_eq!(value[0].as_str(), Some("/t")),
                _ => {}
            }
        }
        assert!(keys.contains("agents.enabled") && keys.contains("web_search"));
        let older = call(&sandbox, &confinement, "0.130.0").settings().unwrap();
        assert!(!older.iter().any(|setting| setting.starts_with("agents.")));
    }

    #[test]
    fn quoting_is_what_toml_reads_back() {
        for text in ["", "a\"b\\c", "\0\t\n\r\u{1b}\u{7f}\u{85}", "ü 𝄞 'x'", "${HOME}"] {
            let table: toml::Table = format!("x = {}", quoted(text)).parse().unwrap();
            assert_eq!(table["x"].as_str(), Some(text));
        }
    }

    #[test]
    fn what_cannot_be_told_is_refused() {
        let mut sandbox = profile(SandboxMode::ReadOnly);
        let confinement = confinement(&sandbox);
        let mut wrong = call(&sandbox, &confinement, "0.169.0");
        wrong.resume = Some("--last");
        assert_eq!(wrong.arguments().unwrap_err().class, Class::Protocol);
        sandbox.command_environment.insert("A*".into(), "x".into());
        assert_eq!(call(&sandbox, &confinement, "0.169.0").arguments().unwrap_err().class, Class::Internal);
    }

    #[test]
    fn a_rehearsal_stays_on_this_machine() {
        let at = |url: &str| {
            let environment = Environment::from([(REHEARSAL_VARIABLE.into(), url.into())]);
            rehearsal(&environment).map(|url| url.map(str::to_owned)).ok().flatten()
        };
        for url in ["http://127.0.0.1:8080/v1", "http://localhost:1/v1", "http://[::1]:65535/v1"] {
            assert_eq!(at(url).as_deref(), Some(url));
        }
        for url in [
            "https://127.0.0.1:80/v1",
            "http://127.0.0.1:80@example.org/v1",
            "http://127.0.0.1.example.org:80/v1",
            "http://127.0.0.1:0/v1",
            "http://127.0.0.1:99999/v1",
            "http://127.0.0.1:80",
            "http://127.0.0.1:80/v1?x=\"",
            "",
        ] {
            assert_eq!(at(url), None, "{url}");
        }
    }
}
