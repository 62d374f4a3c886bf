//! The command policy: judged lines, properties of every line, what real shells make of a line, and the screens.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(clippy::disallowed_methods, reason = "shells and sandboxes are started as they are")]

#[path = "../support/mod.rs"]
mod support;

mod ceiling;
mod check;
mod corpus;
mod properties;
mod shells;
