//! Tests that need what not every machine has say so when they are skipped.

use std::{fmt::Display, io::Write as _, path::PathBuf};

/// Prints why a test is skipped. The test harness captures what macros print and shows it only if
/// the test fails, so this writes to standard error itself.
pub fn skip(why: impl Display) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// The folder of real photos that `PAWPRINT_REAL_DATA` names; where it names none, the test is
/// skipped.
pub fn real_data() -> Option<PathBuf> {
    let folder = std::env::var_os("PAWPRINT_REAL_DATA").filter(|it| !it.is_empty());
    if folder.is_none() {
        skip("PAWPRINT_REAL_DATA names no folder of real photos");
    }
    folder.map(PathBuf::from)
}
