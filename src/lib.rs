//! `git-orchestrator`: git hooks that start sandboxed agents through a strict allow-list and leave checked artifacts.
//!
//! The modules stand in the direction of the data: a later one may use an earlier one, never the other way round.
//! `ARCHITECTURE.md` is the map.

#![warn(missing_docs)]

pub mod text;
pub mod error;
pub mod diagnostic;
pub mod clock;
pub mod ids;
pub mod files;
pub mod secrets;
pub mod process;
pub mod ancestry;
pub mod event;
pub mod policy;
pub mod run;
pub mod runtime;
pub mod git;
pub mod observe;
pub mod triggers;
pub mod role;
pub mod ceiling;
pub mod store;
pub mod trust;
pub mod context;
pub mod artifact;
pub mod worker;
pub mod gate;
pub mod dispatch;
pub mod rehearsal;
pub mod install;
pub mod doctor;
pub mod cli;
