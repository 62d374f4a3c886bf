//! From the bytes of a table to a [`Table`](super::Table), or to an error that points into the file.
