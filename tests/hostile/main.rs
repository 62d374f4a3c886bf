//! Nothing that comes from a repository, a model or the environment becomes control of a terminal, a link of a page, a
//! file elsewhere, or a secret that is written down.

#![expect(clippy::unwrap_used, reason = "what a test relies on and does not get ends the test")]
#![expect(clippy::disallowed_methods, reason = "a test's own files")]

mod canaries;
mod errors;
mod false_alarms;
mod keys;
mod planted;
mod screens;
#[path = "../support/mod.rs"]
mod support;
