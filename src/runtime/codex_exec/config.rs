//! What the person's own Codex configuration says that a run has to know: how to log in, and what would act beside the
//! model.
//!
//! The files belong to Codex; they are read, never written. Codex reads `/etc/codex/config.toml` and then
//! `$CODEX_HOME/config.toml`, the later one winning key by key.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::files;
use crate::runtime::{Class, Environment, Failure};
use crate::text;

/// Where the administrator of a machine configures Codex for everybody.
pub(super) const SYSTEM_DIRECTORY: &str = "/etc/codex";
const FILE_BYTES: u64 = 1 << 20;

/// The largest list of skills that one argument can hold: the kernel takes 128 KiB.
const SKILLS_MAX: usize = 400;

/// The parts of the configuration that matter here.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::runtime) struct Config {
    layers: Vec<(PathBuf, Table)>,
}

impl Config {
    /// Reads what is there.
    pub(in crate::runtime) fn read(environment: &Environment) -> Result<Self, Failure> {
        let own = home(environment).map(|home| home.join("config.toml"));
        let mut layers = Vec::new();
        for named in [Some(Path::new(SYSTEM_DIRECTORY).join("config.toml")), own].into_iter().flatten() {
            // People link the file from where they keep their settings; the reader follows no link, so we do.
            let Ok(path) = named.canonicalize() else { continue };
            let shown = text::one_line(&path.display().to_string());
            let bytes = files::read(&path, FILE_BYTES).map_err(|error| refused(&error.chain()))?.unwrap_or_default();
            let text = String::from_utf8(bytes).map_err(|_| refused(&format!("{shown} is not UTF-8")))?;
            let table = text.parse::<Table>().map_err(|error| {
                refused(&format!("{shown} is no TOML: {}", super::classify::shown(error.message())))
            })?;
            layers.push((named, table));
        }
        Ok(Self { layers })
    }

    /// The last layer's value at this path.
    fn get(&self, keys: &[&str]) -> Option<&Value> {
        self.layers.iter().rev().find_map(|(_, layer)| {
            let (first, rest) = keys.split_first()?;
            rest.iter().try_fold(layer.get(*first)?, |value, key| value.get(*key))
        })
    }

    /// The files with what they say, the later one winning.
    pub(super) fn layers(&self) -> impl Iterator<Item = (&Path, &Table)> {
        self.layers.iter().map(|(file, table)| (file.as_path(), table))
    }

    /// The model it names.
    pub(in crate::runtime) fn model(&self) -> Option<&str> {
        self.get(&["model"])?.as_str()
    }

    /// What to type when the provider refuses the credentials.
    pub(in crate::runtime) fn login_fix(&self, environment: &Environment) -> String {
        match self.login() {
            Login::Variable(name) => format!("export {}=…", text::one_line(name)),
            // It beats the login that Codex keeps.
            Login::OpenAi if variable(environment, "CODEX_API_KEY").is_some() => "export CODEX_API_KEY=…".to_owned(),
            Login::OpenAi => super::LOGIN.to_owned(),
            Login::None => {
                let provider = self.get(&["model_provider"]).and_then(Value::as_str).unwrap_or_default();
                format!("look at `[model_providers.{}]` in Codex's config.toml", text::one_line(provider))
            }
        }
    }

    /// The names of the MCP servers that Codex would start.
    pub(in crate::runtime) fn mcp_servers(&self) -> BTreeSet<&str> {
        let tables = self.layers.iter().filter_map(|(_, layer)| layer.get("mcp_servers")?.as_table());
        tables.flat_map(|table| table.keys().map(String::as_str)).collect()
    }

    /// The model provider's name.
    pub(super) fn provider(&self) -> &str {
        self.get(&["model_provider"]).and_then(Value::as_str).unwrap_or("openai")
    }

    /// The variables that the provider reads: its key, and those that become headers of its requests.
    pub(super) fn variables(&self) -> BTreeSet<&str> {
        let key = |name| self.get(&["model_providers", self.provider(), name]);
        let headers = key("env_http_headers").and_then(Value::as_table).into_iter().flat_map(Table::values);
        headers.chain(key("env_key")).filter_map(Value::as_str).collect()
    }

    /// What the model provider wants.
    pub(in crate::runtime) fn login(&self) -> Login<'_> {
        let provider = self.provider();
        let key = |name| self.get(&["model_providers", provider, name]);
        if let Some(variable) = key("env_key").and_then(Value::as_str) {
            return Login::Variable(variable);
        }
        let wants_openai = key("requires_openai_auth").and_then(Value::as_bool);
        if wants_openai.unwrap_or(provider == "openai") { Login::OpenAi } else { Login::None }
    }
}

/// How requests are authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum Login<'a> {
    /// With Codex's own login, or the key in `CODEX_API_KEY`.
    OpenAi,
    /// With the key in this variable.
    Variable(&'a str),
    /// In a way that Codex does not check beforehand, or not at all.
    None,
}

fn refused(message: &str) -> Failure {
    Failure::new(Class::Protocol, format!("Codex's configuration cannot be read: {message}")).fix("codex doctor")
}

/// The value of a variable that is set to something.
pub(in crate::runtime) fn variable<'a>(environment: &'a Environment, name: &str) -> Option<&'a OsString> {
    environment.get(OsStr::new(name)).filter(|value| !value.is_empty())
}

/// Codex's own directory.
pub(in crate::runtime) fn home(environment: &Environment) -> Option<PathBuf> {
    match variable(environment, "CODEX_HOME") {
        Some(home) => Some(PathBuf::from(home)),
        None => Some(Path::new(variable(environment, "HOME")?).join(".codex")),
    }
}

/// The skill files that a `$name` in the prompt would pull in. The prompt quotes the repository, so a commit message
/// could call them, and a repository can bring its own; there is no switch for all of them, only one for each file.
pub(in crate::runtime) fn skills(workspace: &Path, environment: &Environment) -> Result<BTreeSet<PathBuf>, Failure> {
    let person = variable(environment, "HOME").map(|home| Path::new(home).join(".agents/skills"));
    let roots = [
        Some(workspace.join(".agents/skills")),
        Some(workspace.join(".codex/skills")),
        person,
        home(environment).map(|home| home.join("skills")),
    ];
    let mut found = BTreeSet::new();
    let mut open: Vec<(PathBuf, u32)> = roots.into_iter().flatten().map(|root| (root, 0)).collect();
    let mut seen = BTreeSet::new();
    while let Some((directory, depth)) = open.pop() {
        // By its real path, so that a link that leads back ends the walk.
        let Ok(directory) = directory.canonicalize() else { continue };
        if depth > 6 || !seen.insert(directory.clone()) {
            continue;
        }
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push((path, depth + 1));
            } else if entry.file_name() == "SKILL.md" {
                found.insert(path.canonicalize().unwrap_or(path));
            }
        }
        if found.len() > SKILLS_MAX || seen.len() > 20 * SKILLS_MAX {
            return Err(Failure::new(
                Class::Protocol,
                format!("there are more than {SKILLS_MAX} Codex skills here, more than can be switched off for a run"),
            ));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(layers: &[&str]) -> Config {
        Config { layers: layers.iter().map(|layer| (PathBuf::new(), layer.parse().unwrap())).collect() }
    }

    #[test]
    fn the_login_that_a_provider_wants() {
        assert_eq!(config(&[]).login(), Login::OpenAi);
        assert_eq!(config(&["model_provider = 'openai'"]).login(), Login::OpenAi);
        let own = "model_provider = 'p'\n[model_providers.p]\nname = 'p'\n";
        assert_eq!(config(&[own]).login(), Login::None);
        assert_eq!(config(&[&format!("{own}env_key = 'K'")]).login(), Login::Variable("K"));
        assert_eq!(config(&[&format!("{own}requires_openai_auth = true")]).login(), Login::OpenAi);
        assert_eq!(config(&["model_provider = 1\nmodel_providers = 2"]).login(), Login::OpenAi);
    }

    #[test]
    fn the_later_file_wins_and_servers_add_up() {
        let both = config(&["model = 'a'\n[mcp_servers.x]\n", "model = 'b'\n[mcp_servers.'y.z']\n"]);
        assert_eq!(both.model(), Some("b"));
        assert_eq!(both.mcp_servers(), BTreeSet::from(["x", "y.z"]));
        assert_eq!(config(&["mcp_servers = 1"]).mcp_servers(), BTreeSet::new());
    }

    #[test]
    fn skills_are_found_through_links_and_loops_and_not_without_end() {
        let root = tempfile::tempdir().unwrap();
        let skills = root.path().join(".agents/skills");
        let elsewhere = root.path().join("elsewhere");
        for directory in [skills.join("one"), elsewhere.clone()] {
            std::fs::create_dir_all(&directory).unwrap();
            files::write(&directory.join("SKILL.md"), b"x").unwrap();
        }
        std::os::unix::fs::symlink(&elsewhere, skills.join("two")).unwrap();
        std::os::unix::fs::symlink(&skills, skills.join("loop")).unwrap();
        let found = super::skills(root.path(), &Environment::new()).unwrap();
        let expected = [skills.join("one/SKILL.md"), elsewhere.join("SKILL.md")].map(|p| p.canonicalize().unwrap());
        assert_eq!(found, BTreeSet::from(expected));

        for n in 0..=SKILLS_MAX {
            std::fs::create_dir(skills.join(n.to_string())).unwrap();
            std::fs::File::create(skills.join(n.to_string()).join("SKILL.md")).unwrap();
        }
        assert_eq!(super::skills(root.path(), &Environment::new()).unwrap_err().class, Class::Protocol);
    }
}
