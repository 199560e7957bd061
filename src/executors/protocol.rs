//! What trainers on other machines and the server send each other, as JSON over HTTP, below
//! `/internal/jobs/{job}/attempts/{attempt}`:
//!
//! | request | body | response |
//! |---|---|---|
//! | `POST hello` | [`Hello`] | [`Welcome`] |
//! | `POST reports` | [`Reports`] | [`Acknowledgement`] |
//! | `GET files/{name}` | | the file |
//! | `GET images/{sha256}` | | the encoded image |
//! | `POST files/{name}?offset=N` | a part of the file | [`Received`] |
//! | `PUT files/{name}` | [`Complete`] | [`Received`] |
//!
//! Every request carries the attempt's token, and all but the first the session. Once an attempt has ended,
//! each is answered with 409.

use serde::{Deserialize, Serialize};

use crate::{
    domain::{ModelId, dataset::Digest},
    training::{control::Command, events::Event},
};

/// The variable that a trainer gets its token in.
pub const TOKEN_VARIABLE: &str = "PAWPRINT_ATTEMPT_TOKEN";
/// The header of a trainer's session.
pub const SESSION: &str = "pawprint-session";
/// Maximum bytes of a part of a file.
pub const PART: usize = 8 << 20;
/// Name under which the model to compare is fetched.
pub const COMPARED: &str = "compared.safetensors";

/// A trainer introduces itself, before it works.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    /// Host name of its node.
    pub node: String,
}

/// The job of a trainer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Welcome {
    /// Version of the server, which must be the trainer's.
    pub version: String,
    /// The files of the job's folder.
    pub files: Vec<FileEntry>,
    /// The model that it evaluates on the images of the job, if it doesn't train.
    pub compared: Option<ModelId>,
    /// The number of its next event.
    pub next_sequence: u64,
    /// What it sends with all further requests, as [`SESSION`]: should another process introduce itself for the
    /// same attempt, only that one is heard.
    pub session: u64,
}

/// A file of the job's folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path in the folder, with `/`.
    pub name: String,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
}

/// Events since the last ones that were acknowledged; empty, it says that the trainer lives.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Reports {
    /// Events, in order.
    pub events: Vec<Numbered>,
    /// The next part of the log.
    pub log: Option<LogPart>,
}

/// An event and its number.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Numbered {
    /// Later events have higher numbers.
    pub sequence: u64,
    /// The event.
    pub event: Event,
}

/// A part of the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogPart {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// The text.
    pub text: String,
}

/// What the server has saved, and what it wants.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Events before this one are saved.
    pub next_sequence: u64,
    /// Bytes of the log that are saved.
    pub log_bytes: u64,
    /// The strongest command so far.
    pub command: Option<Command>,
}

/// A file is uploaded and can take its place.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Complete {
    /// SHA-256 of its bytes.
    pub sha256: Digest,
}

/// How much of a file the server has.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Received {
    /// Bytes.
    pub bytes: u64,
}
