//! The secrets that Codex has of its own: its login, and keys in or named by its configuration.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use serde_json::Value as Json;
use toml::Value;

use super::config::{self, Config};
use crate::files;
use crate::runtime::Environment;

/// The largest login that is read, in bytes.
const LOGIN_BYTES: u64 = 1 << 20;

/// Strings of the login that are no secrets.
const HARMLESS: &[&str] = &["auth_mode", "last_refresh", "account_id", "chatgpt_plan_type"];

/// Names of settings that name a variable which holds a secret.
const VARIABLES: &[&str] = &["env_key", "bearer_token_env_var"];

/// Tables whose values are sent to somebody.
const SENT: &[&str] = &["http_headers", "query_params", "env"];

/// Everything that must not be written anywhere. What cannot be read gives nothing: Codex cannot read it either.
pub(crate) fn known(environment: &Environment) -> Vec<String> {
    let mut out = Vec::new();
    // A login may be a link to where the person keeps it.
    let login = config::home(environment).and_then(|home| home.join("auth.json").canonicalize().ok());
    let login = login.and_then(|path| files::read(&path, LOGIN_BYTES).ok()?);
    if let Some(login) = login.and_then(|bytes| serde_json::from_slice::<Json>(&bytes).ok()) {
        strings(&login, &mut out);
    }
    let mut variables = BTreeSet::new();
    if let Ok(config) = Config::read(environment) {
        for (_, layer) in config.layers() {
            for (name, value) in layer {
                settings(name, value, false, &mut out, &mut variables);
            }
        }
    }
    let values = variables.iter().filter_map(|name| environment.get(OsStr::new(name))?.to_str());
    out.extend(values.map(str::to_owned));
    out
}

fn strings(value: &Json, out: &mut Vec<String>) {
    match value {
        Json::String(text) => out.push(text.clone()),
        Json::Array(items) => items.iter().for_each(|item| strings(item, out)),
        Json::Object(map) => {
            map.iter()
                .filter(|(name, _)| !HARMLESS.contains(&name.as_str()))
                .for_each(|(_, value)| strings(value, out));
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

fn settings(name: &str, value: &Value, is_sent: bool, out: &mut Vec<String>, variables: &mut BTreeSet<String>) {
    match value {
        Value::Table(table) => {
            for (inner, value) in table {
                if name == "env_http_headers" {
                    variables.extend(value.as_str().map(str::to_owned));
                }
                settings(inner, value, is_sent || SENT.contains(&name), out, variables);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| settings(name, item, is_sent, out, variables)),
        Value::String(text) if VARIABLES.contains(&name) => {
            variables.insert(text.clone());
        }
        // `Bearer KEY`: the scheme is none.
        Value::String(text) if is_sent || name.ends_with("bearer_token") => {
            out.extend(text.split_whitespace().last().map(str::to_owned));
        }
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_and_what_the_configuration_names_are_known() {
        let home = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| files::write(&home.path().join(name), text.as_bytes()).unwrap();
        write(
            "auth.json",
            r#"{"auth_mode":"apikey-mode","OPENAI_API_KEY":"one-1111","tokens":{"access_token":"two-2222"}}"#,
        );
        write(
            "config.toml",
            "model = \"not-this-one\"\n[model_providers.x]\nenv_key = \"ODD_NAME\"\nhttp_headers = { Authorization = \"Bearer three-33\" }\n\
             env_http_headers = { X = \"OTHER\" }\n[mcp_servers.y]\ncommand = \"nor-this\"\nenv = { A = \"four-4444\" }\n",
        );
        let environment = Environment::from([
            ("CODEX_HOME".into(), home.path().into()),
            ("ODD_NAME".into(), "five-5555".into()),
            ("OTHER".into(), "six-6666".into()),
        ]);
        let mut found = known(&environment);
        found.retain(|value| value.contains('-'));
        found.sort();
        assert_eq!(found, ["five-5555", "four-4444", "one-1111", "six-6666", "three-33", "two-2222"]);
    }
}
