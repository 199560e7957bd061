//! Damaged files in a data directory: what is damaged is named, the rest works, and nothing is made
//! worse.

mod database;
mod files;
