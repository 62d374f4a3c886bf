//! Which rows an event matches, and why.
