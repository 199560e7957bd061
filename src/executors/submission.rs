//! What a cluster is asked for, and what it answers.

use std::path::PathBuf;

use rand::{
    TryRng as _,
    rngs::{SysError, SysRng},
};

use crate::domain::{AttemptId, Name, dataset::Digest};

/// Random bytes of a token.
const SECRET_BYTES: usize = 32;

/// The token of one attempt.
#[derive(Clone)]
pub struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// A new one.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn random() -> Result<Self, SysError> {
        let mut secret = [0; SECRET_BYTES];
        SysRng.try_fill_bytes(&mut secret)?;
        Ok(Self(hex::encode(secret)))
    }

    /// The text that is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    #[must_use]
    pub fn sha256(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

/// A trainer to be started on a cluster.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The attempt: its id is used once.
    pub attempt: AttemptId,
    /// Name of the job.
    pub name: Name,
    /// The binary, on the node.
    pub program: PathBuf,
    /// Where the trainer fetches its job.
    pub url: String,
    /// The folder for images, weights and jobs in progress, on the node.
    pub cache: PathBuf,
    /// What the trainer presents to the server.
    pub token: Token,
    /// What it needs.
    pub resources: Resources,
}

impl Submission {
    /// The command line of the trainer, for a shell.
    #[must_use]
    pub fn command(&self) -> String {
        let Self { program, url, cache, .. } = self;
        let [program, url, cache] =
            [&program.to_string_lossy(), &**url, &cache.to_string_lossy()].map(quoted);
        // Replaces the shell: who stops the shell must stop the trainer.
        format!("exec {program} trainer --from {url} --cache {cache}")
    }
}

/// What a trainer needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// CPUs.
    pub cpus: usize,
    /// GPUs.
    pub gpus: u32,
    /// Bytes.
    pub memory: u64,
}

impl std::fmt::Display for Resources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cpus, gpus, memory } = self;
        let several = |n: usize| if n == 1 { "" } else { "s" };
        write!(f, "{cpus} CPU{}, ", several(*cpus))?;
        if *gpus > 0 {
            write!(f, "{gpus} GPU{}, ", several(*gpus as usize))?;
        }
        write!(f, "{:.1} GB of memory", *memory as f64 / 1e9)
    }
}

/// What a cluster says of a trainer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It doesn't know it.
    Unknown,
    /// It waits, and maybe why.
    Waiting(Option<String>),
    /// It runs.
    Running,
    /// It has ended, and maybe how.
    Ended(Option<String>),
}

/// Why a cluster doesn't do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// It can't be reached, or doesn't answer: whether it has done it is unknown.
    #[error("{0}")]
    Unreachable(String),
    /// It refuses; asking again would not help.
    #[error("{0}")]
    Refused(String),
}

/// A word of a shell's command line.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The last line with text in it: of a traceback, the error; of a log, the last words.
pub(super) fn last_line(text: &str) -> &str {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.next_back().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_words_as_they_are() {
        let word = "a 'b' $c \"d\"; \\e";
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("printf %s {}", quoted(word))])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
    }
}
