//! The ledger: SQLite.
