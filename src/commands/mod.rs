//! What the binary does for a person, one command a file.

pub mod orphans;
