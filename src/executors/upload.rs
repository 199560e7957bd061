//! Files that trainers on other machines send: in parts, checked by their hash, and in their place at
//! once or not at all.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
};

use sha2::Sha256;

use crate::{
    domain::{AttemptId, dataset::Digest},
    training::finish::{EVALUATION, MODEL},
    weights::{
        checkpoint::{self, Checkpoints},
        files,
    },
};

/// Folder of files that are not complete, in a job's folder.
const INCOMING: &str = "incoming";

/// A file that a trainer may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upload {
    /// The evaluation.
    Evaluation,
    /// The model.
    Model,
    /// A checkpoint.
    Checkpoint {
        /// Its folder in the job's folder.
        folder: &'static str,
        /// Its file name.
        name: String,
    },
}

/// No trainer sends a file of that name.
#[derive(Debug, thiserror::Error)]
#[error("no trainer sends a file of that name")]
pub struct UnknownFile;

/// Why a part or a file is refused.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The part doesn't follow the ones before it.
    #[error("{bytes} bytes of this file are here; send what follows them")]
    Offset {
        /// Bytes of the file that are here.
        bytes: u64,
    },
    /// The file is not what was sent.
    #[error("the file does not match its hash; send it again")]
    Hash,
    /// It can't be written.
    #[error("can't write the file")]
    Io(#[from] io::Error),
}

impl FromStr for Upload {
    type Err = UnknownFile;

    fn from_str(name: &str) -> Result<Self, UnknownFile> {
        match name {
            EVALUATION => Ok(Self::Evaluation),
            MODEL => Ok(Self::Model),
            _ => {
                let (folder, name) = name.rsplit_once('/').ok_or(UnknownFile)?;
                let folder = checkpoint::FOLDERS.into_iter().find(|known| *known == folder);
                match folder {
                    Some(folder) if checkpoint::is_name(name) => {
                        Ok(Self::Checkpoint { folder, name: name.to_owned() })
                    }
                    _ => Err(UnknownFile),
                }
            }
        }
    }
}

impl Upload {
    fn file_name(&self) -> &str {
        match self {
            Self::Evaluation => EVALUATION,
            Self::Model => MODEL,
            Self::Checkpoint { name, .. } => name,
        }
    }

    fn partial(&self, job: &Path, attempt: AttemptId) -> PathBuf {
        let of_head = matches!(self, Self::Checkpoint { folder, .. } if folder.ends_with("head"));
        let head = if of_head { "head-" } else { "" };
        job.join(INCOMING).join(format!("{attempt}-{head}{}", self.file_name()))
    }

    fn place(&self, job: &Path) -> PathBuf {
        match self {
            Self::Checkpoint { folder, name } => job.join(folder).join(name),
            _ => job.join(self.file_name()),
        }
    }

    /// Appends a part that begins at `offset` in the file; returns the bytes that are there now.
    /// Blocks.
    ///
    /// # Errors
    /// [`UploadError::Offset`], or it can't be written.
    pub fn append(
        &self,
        job: &Path,
        attempt: AttemptId,
        offset: u64,
        part: &[u8],
    ) -> Result<u64, UploadError> {
        let path = self.partial(job, attempt);
        fs::create_dir_all(job.join(INCOMING))?;
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&path)?;
        let bytes = file.metadata()?.len();
        if offset == 0 && bytes > 0 {
            // It begins again.
            file.set_len(0)?;
        } else if offset != bytes {
            return Err(UploadError::Offset { bytes });
        }
        if let Err(error) = file.write_all(part) {
            // A full disk leaves half a part.
            let _ = file.set_len(offset);
            return Err(error.into());
        }
        Ok(offset + part.len() as u64)
    }

    /// Checks a file that was sent and puts it in its place, durably; returns its size. Once more, it
    /// changes nothing. Blocks.
    ///
    /// # Errors
    /// [`UploadError::Hash`], or it can't be written.
    pub fn complete(
        &self,
        job: &Path,
        attempt: AttemptId,
        sha256: &Digest,
    ) -> Result<u64, UploadError> {
        let (partial, place) = (self.partial(job, attempt), self.place(job));
        if !partial.exists() {
            return match hash(&place) {
                Ok(found) if found == *sha256 => Ok(fs::metadata(&place)?.len()),
                _ => Err(UploadError::Hash),
            };
        }
        if hash(&partial)? != *sha256 {
            fs::remove_file(&partial)?;
            return Err(UploadError::Hash);
        }
        let folder = place.parent().unwrap_or(job);
        let checkpoints = match self {
            Self::Checkpoint { .. } => Some(Checkpoints::open(folder)?),
            _ => None,
        };
        let file = fs::File::open(&partial)?;
        file.sync_all()?;
        fs::rename(&partial, &place)?;
        fs::File::open(folder)?.sync_all()?;
        if let Some(checkpoints) = checkpoints {
            checkpoints.remove_old();
        }
        Ok(file.metadata()?.len())
    }
}

/// Removes what earlier attempts have left unfinished in a job's folder.
pub fn remove_incomplete(job: &Path) -> io::Result<()> {
    match fs::remove_dir_all(job.join(INCOMING)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// SHA-256 of the file at `path`.
///
/// # Errors
/// It can't be read.
pub fn hash(path: &Path) -> io::Result<Digest> {
    files::hash::<Sha256>(path).map(|hash| Digest(hash.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_in_its_place_whole_or_not_at_all() {
        let job = tempfile::tempdir().unwrap();
        let (job, attempt) = (job.path(), AttemptId::new());
        let file: Upload = "checkpoints/00001-000000000.safetensors".parse().unwrap();
        let place = job.join("checkpoints/00001-000000000.safetensors");
        assert_eq!(file.append(job, attempt, 0, b"half").unwrap(), 4);
        let gap = file.append(job, attempt, 8, b"late");
        assert!(matches!(gap, Err(UploadError::Offset { bytes: 4 })));
        assert!(matches!(
            file.complete(job, attempt, &Digest::of(b"half a file")),
            Err(UploadError::Hash)
        ));
        assert!(!place.exists());
        file.append(job, attempt, 0, b"half").unwrap();
        file.append(job, attempt, 4, b" a file").unwrap();
        let hash = Digest::of(b"half a file");
        for _ in 0..2 {
            assert_eq!(file.complete(job, attempt, &hash).unwrap(), 11);
            assert_eq!(fs::read(&place).unwrap(), b"half a file");
        }
        remove_incomplete(job).unwrap();
        remove_incomplete(job).unwrap();
    }

    #[test]
    fn a_part_that_is_sent_from_the_beginning_begins_again() {
        let job = tempfile::tempdir().unwrap();
        let (job, attempt) = (job.path(), AttemptId::new());
        Upload::Evaluation.append(job, attempt, 0, b"{\"old\"").unwrap();
        Upload::Evaluation.append(job, attempt, 0, b"{}").unwrap();
        Upload::Evaluation.complete(job, attempt, &Digest::of(b"{}")).unwrap();
        assert_eq!(fs::read(job.join(EVALUATION)).unwrap(), b"{}");
    }

    #[test]
    fn only_files_that_trainers_write_are_taken() {
        for name in [
            "model.safetensors",
            "evaluation.json",
            "checkpoints/00012-000000345.safetensors",
            "checkpoints/head/00002-000000000.safetensors",
        ] {
            assert!(name.parse::<Upload>().is_ok(), "{name}");
        }
        for name in [
            "",
            "spec.json",
            "../model.safetensors",
            "checkpoints/../model.safetensors",
            "checkpoints/x.safetensors",
            "checkpoints/head",
            "00012-000000345.safetensors",
            "checkpoints/00001-000000000.safetensors/x",
            "checkpoints/00001-000000000.safetensors.damaged",
            "log.txt",
        ] {
            assert!(name.parse::<Upload>().is_err(), "{name}");
        }
    }
}
