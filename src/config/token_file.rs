//! API tokens in a file, one per line: they stand neither in the environment nor on the command line.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

/// Maximum size, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Why a file of tokens can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be read, or has no tokens.
    #[error("can't use the API token file {}: {reason}", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A line that clients can't send.
    #[error(
        "line {line} of the API token file {} is not a token: use printable ASCII without spaces",
        file.display()
    )]
    NotAToken {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
    },
}

/// The tokens of a file, at least one: its lines, except empty ones.
///
/// # Errors
/// The file can't be read, is empty or too large, or has a line that is not a token.
pub fn read(file: &Path) -> Result<Vec<String>, Error> {
    let unusable =
        |reason: &str| Error::Unusable { file: file.to_owned(), reason: reason.to_owned() };
    let mut text = String::new();
    File::open(file)
        .and_then(|opened| opened.take(MAX_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| unusable(&error.to_string()))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(unusable("it is too large; write one token per line"));
    }
    let mut tokens = Vec::new();
    for (line, token) in (1..).zip(text.lines().map(str::trim)) {
        if token.is_empty() {
            continue;
        }
        if !can_be_sent(token) {
            return Err(Error::NotAToken { file: file.to_owned(), line });
        }
        tokens.push(token.to_owned());
    }
    if tokens.is_empty() {
        return Err(unusable("it is empty; write one token per line"));
    }
    Ok(tokens)
}

/// Whether `token` can stand in an `Authorization` header.
#[must_use]
pub fn can_be_sent(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}
