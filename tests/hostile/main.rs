//! Nothing that comes from a repository, a model or the environment becomes control of a terminal, a link of a page, a
//! file elsewhere, or a secret that is written down.

#![expect(clippy::unwrap_used, reason = "what a test relies on and does not get ends the test")]

mod canaries;
mod false_alarms;
mod planted;
mod screens;
#[path = "../support/mod.rs"]
mod support;
