//! Checkpoints: everything a trainer needs to resume exactly.
//!
//! One file holds the weights, the optimizer's state and the best epoch's weights, so that they are
//! always consistent. Two generations are kept: if the newer is damaged, it is renamed and the
//! older is used.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    Error,
    tensors::{self, Tensors},
};
use crate::domain::{job::BestEpoch, metrics::EpochMetrics};

/// The state of training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingState {
    /// Epochs completed.
    pub epoch: u32,
    /// Steps done of the next epoch.
    pub step: u64,
    /// The sums of those steps.
    pub partial: PartialEpoch,
    /// The best epoch so far.
    pub best: Option<BestEpoch>,
    /// The metrics of each completed epoch, in order: a trainer that resumes from here reports them
    /// again, since the reports of the previous one may not have been read.
    #[serde(default)]
    pub epochs: Vec<EpochMetrics>,
    /// The last of them, which is all that checkpoints of version 0.1 have.
    #[serde(default, skip_serializing)]
    last: Option<EpochMetrics>,
    /// Mean seconds of the epochs so far, to estimate the rest.
    pub seconds_per_epoch: Option<f64>,
}

/// Sums over the steps of the current epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PartialEpoch {
    /// Sum of the losses of the images seen.
    pub loss: f64,
    /// Number of correctly classified images.
    pub correct: f64,
    /// Images seen.
    pub seen: u64,
    /// Seconds spent.
    pub seconds: f64,
}

/// A trainer's whole state between two steps.
#[derive(Debug, PartialEq)]
pub struct Checkpoint {
    /// The state of training.
    pub state: TrainingState,
    /// The network's weights.
    pub weights: Tensors,
    /// The optimizer's state, by the names of the weights.
    pub optimizer: Tensors,
    /// The weights of the best epoch; empty before there is one.
    pub best_weights: Tensors,
}

/// A folder of checkpoints.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
}

/// Folder of checkpoints in a job's folder.
pub const FOLDER: &str = "checkpoints";
/// Folder of those of a head that is trained alone, before fine-tuning.
pub const HEAD_FOLDER: &str = "checkpoints/head";
/// All folders of checkpoints.
pub const FOLDERS: [&str; 2] = [FOLDER, HEAD_FOLDER];
/// Generations that are kept.
const GENERATIONS: usize = 2;
/// What is appended to the name of a damaged checkpoint.
const DAMAGED: &str = "damaged";
const METADATA_KEY: &str = "position";
const PARTS: [&str; 3] = ["weights.", "optimizer.", "best."];

impl Checkpoints {
    /// The checkpoints in `folder`, created if it is missing.
    ///
    /// # Errors
    /// The folder can't be created.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        folder.parent().map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all())?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Writes a checkpoint, then removes those with two newer ones.
    ///
    /// # Errors
    /// It could not be written; all older ones still exist.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let position = &checkpoint.state;
        let path =
            self.folder.join(format!("{:05}-{:09}.safetensors", position.epoch, position.step));
        let text = serde_json::to_string(position)
            .map_err(|error| Error::Content { path: path.clone(), reason: error.to_string() })?;
        let parts = [&checkpoint.weights, &checkpoint.optimizer, &checkpoint.best_weights];
        let named = PARTS.iter().zip(parts).flat_map(|(prefix, tensors)| {
            tensors
                .iter()
                .map(move |(name, tensor)| (format!("{prefix}{name}"), tensor.shallow_clone()))
        });
        tensors::save(&path, HashMap::from([(METADATA_KEY.to_owned(), text)]), &named.collect())?;
        self.remove_old();
        Ok(())
    }

    /// Removes those with two newer ones.
    pub fn remove_old(&self) {
        for old in self.newest_first().into_iter().flatten().skip(GENERATIONS) {
            // One too many does no harm.
            let _ = fs::remove_file(old);
        }
    }

    /// The newest valid checkpoint, if any. Each newer one whose content is damaged is passed to
    /// `damaged` and renamed with `.damaged` appended.
    ///
    /// # Errors
    /// [`Error::Io`] if a checkpoint can't be read: its content may be intact.
    pub fn load(
        &self,
        mut damaged: impl FnMut(&Path, &Error),
    ) -> Result<Option<Checkpoint>, Error> {
        let newest_first = self
            .newest_first()
            .map_err(|source| Error::Io { path: self.folder.clone(), source })?;
        for path in newest_first {
            match read(&path) {
                Ok(checkpoint) => return Ok(Some(checkpoint)),
                Err(error @ Error::Io { .. }) => return Err(error),
                Err(error) => {
                    damaged(&path, &error);
                    fs::rename(&path, path.with_added_extension(DAMAGED))
                        .map_err(|source| Error::Io { path, source })?;
                }
            }
        }
        Ok(None)
    }

    fn newest_first(&self) -> io::Result<Vec<PathBuf>> {
        newest_first(&self.folder)
    }
}

/// The checkpoints in `folder`, whether whole or not, the newest first.
///
/// # Errors
/// The folder can't be read.
pub fn newest_first(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths: io::Result<Vec<_>> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    paths.sort_unstable_by(|a, b| b.cmp(a));
    Ok(paths)
}

/// Whether a checkpoint has a file name such as this, `00012-000000345.safetensors`.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    name.strip_suffix(".safetensors").and_then(|name| name.split_once('-')).is_some_and(
        |(epoch, step)| epoch.len() >= 5 && step.len() >= 9 && is_number(epoch) && is_number(step),
    )
}

/// Reads the checkpoint at `path`.
///
/// # Errors
/// [`Error::Io`] where it can't be read; the others where its content is damaged.
pub fn read(path: &Path) -> Result<Checkpoint, Error> {
    let (metadata, tensors) = tensors::load(path)?;
    let content = |reason: String| Error::Content { path: path.to_owned(), reason };
    let text = metadata
        .get(METADATA_KEY)
        .ok_or_else(|| content(format!("its header has no `{METADATA_KEY}`")))?;
    let mut position: TrainingState =
        serde_json::from_str(text).map_err(|error| content(error.to_string()))?;
    let last = position.last.take();
    if position.epochs.is_empty() {
        position.epochs.extend(last);
    }
    let mut parts = [Tensors::new(), Tensors::new(), Tensors::new()];
    for (name, tensor) in tensors {
        let part = PARTS.iter().zip(&mut parts).find_map(|(prefix, part)| {
            name.strip_prefix(prefix).map(|name| (part, name.to_owned()))
        });
        match part {
            Some((part, name)) => part.insert(name, tensor),
            None => return Err(content(format!("unexpected tensor `{name}`"))),
        };
    }
    let [weights, optimizer, best_weights] = parts;
    Ok(Checkpoint { state: position, weights, optimizer, best_weights })
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::*;

    fn checkpoint(epoch: u32, step: u64) -> Checkpoint {
        let tensors = |value: f32| Tensors::from([("w".to_owned(), Tensor::from_slice(&[value]))]);
        Checkpoint {
            state: TrainingState { epoch, step, ..TrainingState::default() },
            weights: tensors(1.0),
            optimizer: tensors(2.0),
            best_weights: tensors(3.0),
        }
    }

    #[test]
    fn the_newest_comes_back_and_two_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(folder.path()).unwrap();
        for (epoch, step) in [(1, 0), (2, 0), (2, 7), (10, 0)] {
            checkpoints.save(&checkpoint(epoch, step)).unwrap();
        }
        let loaded = checkpoints.load(|_, _| panic!("none is damaged")).unwrap();
        assert_eq!(loaded, Some(checkpoint(10, 0)));
        assert_eq!(checkpoints.newest_first().unwrap().len(), GENERATIONS);
    }

    #[test]
    fn a_checkpoint_that_knows_of_its_last_epoch_alone_is_read() {
        let old = r#"{"epoch":2,"step":0,"partial":{"loss":0.0,"correct":0.0,"seen":0,"seconds":0.0},
            "best":null,"last":{"epoch":2,"train_loss":0.5,"train_accuracy":0.7,"val_loss":0.6,
            "val_accuracy":0.65,"learning_rate":0.001,"seconds":9.0,"images_per_second":300.0},
            "seconds_per_epoch":9.0}"#;
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(folder.path()).unwrap();
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), old.to_owned())]);
        let weights = Tensors::from([("weights.w".to_owned(), Tensor::from_slice(&[1.0_f32]))]);
        tensors::save(&folder.path().join("00002-000000000.safetensors"), metadata, &weights)
            .unwrap();
        let loaded = checkpoints.load(|_, error| panic!("{error}")).unwrap().unwrap();
        let epochs: Vec<u32> = loaded.state.epochs.iter().map(|epoch| epoch.epoch).collect();
        assert_eq!(epochs, [2]);
        checkpoints.save(&loaded).unwrap();
        assert_eq!(checkpoints.load(|_, error| panic!("{error}")).unwrap(), Some(loaded));
    }

    #[test]
    fn where_the_newest_was_cut_the_one_before_it_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(folder.path()).unwrap();
        checkpoints.save(&checkpoint(1, 0)).unwrap();
        checkpoints.save(&checkpoint(2, 0)).unwrap();
        let newest = checkpoints.newest_first().unwrap().remove(0);
        let whole = fs::read(&newest).unwrap();
        fs::write(&newest, &whole[..whole.len() / 2]).unwrap();
        let mut damaged = Vec::new();
        let loaded = checkpoints.load(|path, _| damaged.push(path.to_owned())).unwrap();
        assert_eq!(loaded, Some(checkpoint(1, 0)));
        assert_eq!(damaged, std::slice::from_ref(&newest));
        assert!(!newest.exists());
        let aside = fs::read(newest.with_added_extension(DAMAGED)).unwrap();
        assert_eq!(aside, whole[..whole.len() / 2]);
    }

    #[test]
    fn one_that_can_not_be_read_is_neither_passed_over_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(folder.path()).unwrap();
        checkpoints.save(&checkpoint(1, 0)).unwrap();
        // Reading a folder fails as a broken disk does, also for root.
        let newest = folder.path().join("00002-000000000.safetensors");
        fs::create_dir(&newest).unwrap();
        let loaded = checkpoints.load(|_, _| panic!("it is not known to be damaged"));
        assert!(matches!(loaded, Err(Error::Io { path, .. }) if path == newest));
        assert_eq!(checkpoints.newest_first().unwrap().len(), 2);
    }
}
