//! A small Responses API server on loopback that plays a scripted model, so that the real runtimes can be driven with
//! no account: by the demo, the tests, the benches and offline evaluation.
//!
//! [`Server`] speaks the protocol and knows no role; a [`Model`] decides what is said. [`Scripted`] plays the three
//! roles with real tool calls, [`Sequence`] plays a list of replies, every way a provider can fail among them. Nothing
//! here is ever reached by a run unless a person points a runtime at it, and what it says names itself a rehearsal.

mod model;
mod script;
mod server;
mod sse;

pub use self::model::{Item, Model, Reply, Request, Sequence};
pub use self::script::Scripted;
pub use self::server::{Handle, RecordedRequest, Server};
