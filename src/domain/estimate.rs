//! How long a job will take.
//!
//! Work is counted in passes: one forward pass of EfficientNet-Lite0 over one image, in a batch. A table
//! says how many passes the parts of a job take: here for the small network, in [`Work`] for the base
//! networks. Only the seconds per pass differ from machine to machine. They come from finished jobs of
//! the same recipe, from a forward pass that the server has timed, or from a [`probe`] of the job itself.

pub mod probe;

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    DatasetId,
    base::{Base, Work},
    model::Architecture,
    parameters::Params,
    recipe::{PrecisionChoice, Recipe},
};

/// Finished jobs that count: the newest ones.
const NEWEST: usize = 5;

/// Passes of starting a trainer, and of one that compares models.
const START: f64 = 300.0;
const START_COMPARING: f64 = 150.0;
/// Passes of decoding a byte of a photo, and of storing its pixels.
const DECODE_BYTE: f64 = 6.6e-6;
const DECODE_IMAGE: f64 = 0.05;
/// Passes of an epoch, whatever its images.
const EPOCH: f64 = 3.0;
/// Passes of the small network per image: of a training step, with and without augmentation, and of
/// evaluation.
const CNN_TRAIN: f64 = 3.3;
const CNN_TRAIN_AUGMENTED: f64 = 3.5;
const CNN_FORWARD: f64 = 0.8;
/// Width and height of its input in pixels.
pub const CNN_SIDE: u32 = 180;

/// Duration of a forward pass over a single image on one thread, as a multiple of that of one in a batch
/// on two.
const SINGLE: f64 = 2.2;
/// Speed-up of a pass by `n` threads: `n` to the power of this for a single image, and in a batch.
const SINGLE_SPEEDUP: f64 = 0.4;
const BATCH_SPEEDUP: f64 = 0.7;

/// Share of the training images among those for training and validation, if a dataset is split as usual.
const TRAIN_SHARE: f64 = 0.7 / 0.85;
/// Training images that a network is compared with at most, once it is trained.
const NEIGHBOURS: f64 = 1000.0;

/// Estimated duration of a job.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Estimate {
    /// Seconds from the start to the end of the job.
    pub seconds: f64,
    /// Where the speed of this machine comes from.
    pub basis: Basis,
}

/// What an estimate is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = EstimateBasis)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Finished jobs of the same recipe on this server.
    Jobs,
    /// Costs per image, and the time of a forward pass on this machine.
    Model,
}

/// Numbers of images by split.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Images {
    /// Training images.
    pub train: f64,
    /// Validation images.
    pub validation: f64,
    /// Test images.
    pub test: f64,
}

impl Images {
    /// Those of all splits.
    #[must_use]
    pub fn total(self) -> f64 {
        self.train + self.validation + self.test
    }
}

/// What a job trains on.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The dataset; `None` if it was deleted.
    pub dataset: Option<DatasetId>,
    /// Number of its classes.
    pub classes: usize,
    /// Its images.
    pub images: Images,
    /// Their mean size in bytes.
    pub bytes: f64,
    /// The model in service, if it has the same classes: the job will evaluate it too.
    pub rival: Option<Architecture>,
}

/// A job that succeeded.
#[derive(Debug, Clone)]
pub struct FinishedJob {
    /// Its recipe.
    pub recipe: Recipe,
    /// Its parameters.
    pub params: Params,
    /// Its dataset; `None` if it was deleted.
    pub dataset: Option<DatasetId>,
    /// Number of its classes.
    pub classes: usize,
    /// Mean size of its images in bytes.
    pub bytes: f64,
    /// Its training and validation images.
    pub learned: f64,
    /// Share of the training images among these, in its dataset as it is now.
    pub train_share: Option<f64>,
    /// Its test images.
    pub tested: f64,
    /// The device that it was trained on.
    pub device: String,
    /// Completed epochs.
    pub epochs: u32,
    /// Seconds of all its epochs.
    pub epoch_seconds: f64,
    /// Seconds from its first start to its end.
    pub seconds: f64,
    /// How often it was queued: more than once if it was interrupted, so that its seconds include
    /// those in which it did not run.
    pub queued: u32,
    /// The model that its own was compared with, if any.
    pub rival: Option<Architecture>,
}

impl FinishedJob {
    /// Whether its duration says something about that of other jobs with default parameters: it ran all
    /// its epochs at one go on `device`.
    fn is_comparable(&self, recipe: Recipe, device: &str) -> bool {
        let Params { epochs, batch_size, precision, head_from, .. } = self.params;
        self.recipe == recipe
            && self.device == device
            && self.queued == 1
            && self.epochs == epochs
            && batch_size == Params::defaults(recipe).batch_size
            && precision == PrecisionChoice::Auto
            && head_from.is_none()
    }

    /// What it trained on.
    fn target(&self) -> Target {
        let Self { dataset, classes, bytes, learned, tested, rival, .. } = *self;
        let train = learned * self.train_share.unwrap_or(TRAIN_SHARE);
        let images = Images { train, validation: learned - train, test: tested };
        Target { dataset, classes, images, bytes, rival }
    }
}

/// The passes of a job.
#[derive(Debug, Clone, Copy)]
struct Passes {
    /// Those of its epochs.
    epochs: f64,
    /// All others.
    rest: f64,
}

/// What a job computes.
struct Plan<'a> {
    recipe: Recipe,
    params: &'a Params,
    target: &'a Target,
    /// Share of the images that no earlier job has decoded, and whose features none has computed.
    undecoded: f64,
    uncomputed: f64,
}

impl<'a> Plan<'a> {
    /// The plan of a job after those that are in `earlier`, newest first. Images that they had in the
    /// same dataset are in the caches: decoded if they were as large, and with features if these are of
    /// the same base network.
    fn new(
        recipe: Recipe,
        params: &'a Params,
        target: &'a Target,
        earlier: &[FinishedJob],
    ) -> Self {
        let new_share = |is_cached: &dyn Fn(Recipe) -> bool| {
            let mut same =
                earlier.iter().filter(|job| job.dataset.is_some() && job.dataset == target.dataset);
            let last = same.find(|job| is_cached(job.recipe));
            let known = last.map_or(0.0, |job| job.learned + job.tested);
            (1.0 - known / target.images.total()).clamp(0.0, 1.0)
        };
        Self {
            recipe,
            params,
            target,
            undecoded: new_share(&|other| side(other) == side(recipe)),
            uncomputed: new_share(&|other| other.base() == recipe.base()),
        }
    }

    fn passes(&self) -> Passes {
        let Self { recipe, params, target, uncomputed, .. } = *self;
        let Target { images, bytes, rival, .. } = *target;
        let Images { train, validation, test } = images;
        let learned = train + validation;
        let decode = images.total() * self.undecoded * (bytes * DECODE_BYTE + DECODE_IMAGE);
        let compare =
            rival.map_or(0.0, |rival| START_COMPARING + (validation + test) * forward(rival));
        let cnn = |step: f64| {
            (train * step + validation * CNN_FORWARD, (validation + test) * CNN_FORWARD)
        };
        let (epoch, own) = match recipe {
            Recipe::ScratchCnn => cnn(CNN_TRAIN),
            Recipe::AugmentedCnn => cnn(CNN_TRAIN_AUGMENTED),
            Recipe::Features(base) => {
                let Work { start, forward, .. } = base.work;
                let head = head(base, target.classes);
                let features = images.total() * uncomputed * forward;
                (learned * head, start + features + images.total() * head)
            }
            Recipe::FineTuning(base) => {
                let Work { start, forward, last_stages, step, .. } = base.work;
                let head = head(base, target.classes);
                let features = learned * uncomputed * forward;
                let maps = validation * uncomputed * (forward - last_stages);
                let heads = f64::from(params.head_epochs.unwrap_or(0)) * (EPOCH + learned * head);
                // Before the first epoch, and after the last: logits, and distances to training images.
                let evaluate = 3.0 * validation * last_stages
                    + train.min(NEIGHBOURS) * forward
                    + 2.0 * test * forward;
                let epoch = train * step + validation * last_stages;
                (epoch, start + features + maps + heads + evaluate)
            }
        };
        Passes {
            epochs: f64::from(params.epochs) * (EPOCH + epoch),
            rest: START + decode + own + compare,
        }
    }
}

/// Width and height of a recipe's images in pixels.
fn side(recipe: Recipe) -> u32 {
    recipe.base().map_or(CNN_SIDE, |base| base.side)
}

/// Passes of an epoch of a head on features, per image. Regression has an output for each class; two
/// classes share one.
const fn head(base: &Base, classes: usize) -> f64 {
    let outputs = if classes > 2 && base.head.hidden.is_none() { classes } else { 1 };
    base.work.head * outputs as f64
}

/// Passes of a forward pass.
const fn forward(architecture: Architecture) -> f64 {
    match architecture {
        Architecture::Cnn => CNN_FORWARD,
        Architecture::Base(base) => base.work.forward,
    }
}

/// Seconds of a pass in a trainer with `trainer_threads` threads, from those of a forward pass of
/// `architecture` over a single image on `threads` threads.
#[must_use]
pub fn seconds_per_pass(
    architecture: Architecture,
    single: f64,
    threads: usize,
    trainer_threads: usize,
) -> f64 {
    let one_thread = single * (threads as f64).powf(SINGLE_SPEEDUP);
    let batched = one_thread / (SINGLE * forward(architecture));
    batched * (2.0 / trainer_threads as f64).powf(BATCH_SPEEDUP)
}

/// Estimates how long a job of `recipe` with default parameters takes on the dataset of `target`, from
/// its start to its end. `None` if the dataset has no images, or nothing is known about the speed.
///
/// `finished` are the jobs that succeeded on this server, newest first. The newest five of the same recipe
/// count that ran on `device` at one go and to the last epoch. Each gives two speeds, as its seconds by the
/// passes that the table says it took: that of its epochs, whose seconds are recorded, and that of the
/// rest, which is mostly start-up for a few images, and features for many. The median of each counts.
/// The rest is shorter for images that an earlier job on the same dataset has decoded and computed the
/// features of: these passes are left out, in finished jobs and in the one to come. Which images are
/// cached is inferred from the earlier jobs and their numbers of images, not looked up: in another dataset
/// with the same images, they are taken for new. Downloading weights is not included.
///
/// Without such jobs, each pass takes `seconds_per_pass`, if that is known of `device`.
#[must_use]
pub fn estimate(
    recipe: Recipe,
    target: &Target,
    finished: &[FinishedJob],
    device: &str,
    seconds_per_pass: Option<f64>,
) -> Option<Estimate> {
    if target.images.total() < 1.0 {
        return None;
    }
    let params = Params::defaults(recipe);
    let passes = Plan::new(recipe, &params, target, finished).passes();
    let comparable =
        finished.iter().enumerate().filter(|(_, job)| job.is_comparable(recipe, device));
    let (epochs, rest): (Vec<f64>, Vec<f64>) = comparable
        .take(NEWEST)
        .map(|(at, job)| {
            let earlier = finished.get(at + 1..).unwrap_or_default();
            let taken = Plan::new(recipe, &job.params, &job.target(), earlier).passes();
            let rest = (job.seconds - job.epoch_seconds).max(0.0);
            (job.epoch_seconds / taken.epochs, rest / taken.rest)
        })
        .unzip();
    if let (Some(epochs), Some(rest)) = (median(epochs), median(rest)) {
        let seconds = passes.epochs * epochs + passes.rest * rest;
        return Some(Estimate { seconds, basis: Basis::Jobs });
    }
    let seconds = (passes.epochs + passes.rest) * seconds_per_pass?;
    Some(Estimate { seconds, basis: Basis::Model })
}

/// The lower one of the middle two of an even number.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests;
