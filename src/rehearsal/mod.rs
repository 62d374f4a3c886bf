//! A small Responses API server on loopback that plays a scripted model, so that the real runtimes can be driven with
//! no account: by the demo, the tests, the benches and offline evaluation.
