//! What `codex app-server` says, in our own words: the groundwork of the runtime that will drive it.

pub mod stream;
