//! Secrets that git's configuration holds: a login in the URL of a remote, a header that carries a token.

use super::Repository;
use crate::error::Result;
use crate::process::Environment;
use crate::secrets;

/// Settings that may hold one, as git's regular expression: URLs as values and as parts of a name, headers, proxies.
const SETTINGS: &str =
    r"^(remote\..*\.(push)?url|url\..*|http\..*|https?\.proxy|credential\..*|sendemail\..*pass|git(hub|lab)\..*token)$";

impl Repository {
    /// The passwords and tokens in the settings that hold here.
    pub fn logins(&self, environment: &Environment) -> Result<Vec<String>> {
        let mut out = Vec::new();
        for setting in self.settings(SETTINGS, environment)? {
            let value = String::from_utf8_lossy(&setting.value);
            out.extend(secrets::in_url(&value));
            // `url.https://token@host/.insteadOf`.
            out.extend(setting.key.split_once('.').into_iter().flat_map(|(_, name)| secrets::in_url(name)));
            let key = setting.key.to_ascii_lowercase();
            if key.ends_with(".extraheader") || key.ends_with("pass") || key.ends_with("token") {
                // The scheme in front of it is none; what is no header has one word.
                out.extend(value.split_whitespace().last().map(str::to_owned));
            }
        }
        Ok(out)
    }
}
