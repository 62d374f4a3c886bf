//! Who sits at this repository.

use super::Repository;

impl Repository {
    /// The name that a commit made here would carry; `None` where git knows none.
    pub fn committer_name(&self) -> Option<String> {
        let signature = self.inner.signature().ok()?;
        let name = String::from_utf8_lossy(signature.name_bytes()).into_owned();
        (!name.trim().is_empty()).then_some(name)
    }
}
