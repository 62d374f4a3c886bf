//! The spool: one small file for each event.
