//! What roles answer: one type for each, from which its strict schema is derived.
