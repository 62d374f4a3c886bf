//! The version of a program, by what lies around it: nothing is executed for it before anybody has accepted it.
//!
//! It is told to a person and decides nothing.

use std::path::Path;

use serde::Deserialize;

use crate::files;

/// How far above a program its package may begin: `PACKAGE/vendor/TARGET/bin/codex`.
const LEVELS_MAX: usize = 4;

/// The largest description of a package that is read, in bytes.
const PACKAGE_BYTES_MAX: u64 = 256 << 10;

/// The longest version that is believed to be one, in bytes.
const VERSION_BYTES_MAX: usize = 40;

/// As npm's description of its package says, or the name of a directory that it lies in (`…/releases/0.169.0/codex`).
pub(super) fn of_program(program: &Path) -> Option<String> {
    let program = program.canonicalize().ok()?;
    let directories = || program.ancestors().skip(1).take(LEVELS_MAX);
    let described = directories().find_map(|directory| {
        #[derive(Deserialize)]
        struct Package {
            version: String,
        }
        let bytes = files::read(&directory.join("package.json"), PACKAGE_BYTES_MAX).ok()??;
        serde_json::from_slice::<Package>(&bytes).ok().map(|package| package.version)
    });
    let named = || {
        directories()
            .find_map(|directory| Some(directory.file_name()?.to_str()?.to_owned()).filter(|name| is_version(name)))
    };
    let version = described.filter(|version| is_version(version)).or_else(named)?;
    // Packages for one platform say so behind it: `0.169.0-linux-x64`.
    let end = ["-linux", "-darwin", "-win32", "-x86_64", "-aarch64"].iter().filter_map(|mark| version.find(mark)).min();
    Some(version.get(..end.unwrap_or(version.len()))?.to_owned())
}

/// Whether it has the form of a version: digits, a dot, and what may follow them.
fn is_version(text: &str) -> bool {
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    text.len() <= VERSION_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+-_".contains(&byte))
        && numbers.split('.').count() >= 2
        && numbers.split('.').all(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_version_is_told_by_the_package_or_the_directory_and_by_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let of = |directory: &str, package: Option<&str>| {
            let top = root.path().join(directory);
            let place = top.join("vendor/x86_64/bin");
            fs::create_dir_all(&place).unwrap();
            files::write(&place.join("codex"), b"").unwrap();
            if let Some(package) = package {
                files::write(&top.join("package.json"), package.as_bytes()).unwrap();
            }
            of_program(&place.join("codex"))
        };
        assert_eq!(of("npm", Some(r#"{"version":"0.169.0-linux-x64"}"#)).as_deref(), Some("0.169.0"));
        assert_eq!(of("0.142.0-x86_64-unknown-linux-musl", None).as_deref(), Some("0.142.0"));
        assert_eq!(of("1.2.0-alpha.3", Some("{")).as_deref(), Some("1.2.0-alpha.3"));
        for package in [r#"{"version":"1.\u001b[2J"}"#, r#"{"version":"new"}"#, r#"{"version":7}"#, "[]"] {
            assert_eq!(of("plain", Some(package)), None, "{package}");
        }
    }
}
