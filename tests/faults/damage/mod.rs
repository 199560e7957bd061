//! Damaged files in a data directory: the server reports the damage, the rest works, and nothing gets
//! worse.

mod database;
mod files;
