//! How long a job takes, from a probe of it: a few of its own steps, measured on this machine.
//!
//! What is measured grows with the number of images: decoding, features, training steps, passes of
//! evaluation. Only what takes a fraction of a second, such as an epoch of regression, follows from the
//! table of costs, with the speed that was measured.

use serde::Serialize;
use utoipa::ToSchema;

use super::{CNN_FORWARD, EPOCH, Images, NEIGHBOURS, Target, forward, head, side};
use crate::domain::{
    Timestamp,
    base::{Base, Work},
    job::JobError,
    model::Architecture,
    parameters::Params,
    recipe::{Precision, Recipe},
};

/// Datasets of at most so many images, and of so many images times classes, are cross-validated.
const CROSS_VALIDATED: (f64, f64) = (500.0, 1000.0);
const FOLDS: f64 = 5.0;

/// What a job needs, and whether there is that much.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct JobEstimate {
    /// Whether the job fits: it has enough memory and disk space.
    pub fits: bool,
    /// Why it does not fit; empty if it does.
    pub problems: Vec<JobError>,
    /// What else to know about the job or about this estimate.
    pub warnings: Vec<JobError>,
    /// Seconds of an epoch; null if too little was measured.
    pub seconds_per_epoch: Option<f64>,
    /// Epochs of the job. It may stop earlier.
    pub epochs: u32,
    /// Seconds from its start to its end, with all epochs; null if unknown.
    pub seconds: Option<f64>,
    /// Seconds until it starts, after the jobs that are queued or running; null if unknown.
    pub queue_seconds: Option<f64>,
    /// When it will end if it is submitted now; null if unknown.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<Timestamp>,
    /// Peak memory of its trainer.
    pub memory: Need,
    /// Disk space of the data directory: checkpoints, the model, and decoded images and features that
    /// are not in the cache yet.
    pub disk: Need,
    /// What was measured.
    pub probe: Probe,
}

/// Bytes that a job needs, and bytes that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Need {
    /// Bytes it needs; null if unknown.
    pub needed: Option<u64>,
    /// Bytes that are available to it; null if unknown.
    pub available: Option<u64>,
}

impl Need {
    /// Whether it needs more than there is, as far as both are known.
    #[must_use]
    pub fn exceeds(self) -> Option<(u64, u64)> {
        self.needed.zip(self.available).filter(|(needed, available)| needed > available)
    }
}

/// The probe that an estimate is based on.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Probe {
    /// Device it ran on; null if it did not start.
    pub device: Option<String>,
    /// Precision it trained in; null if it did not start.
    pub precision: Option<Precision>,
    /// Training images of the probe.
    pub images: u64,
    /// Training steps it completed.
    pub steps: u64,
    /// Seconds it took.
    pub seconds: f64,
}

/// A piece of work that grows with the number of images.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rate {
    /// Seconds of an image.
    pub per_image: f64,
    /// Seconds of the first images beyond that.
    pub once: f64,
}

impl Rate {
    fn seconds(self, images: f64) -> f64 {
        if images > 0.0 { self.once + images * self.per_image } else { 0.0 }
    }
}

/// Durations of the parts of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Measured {
    /// Seconds from the start of its trainer to its first image.
    pub start: f64,
    /// Decoding.
    pub decode: Rate,
    /// Features of a base network.
    pub features: Rate,
    /// The input of the first trained stage.
    pub maps: Rate,
    /// Seconds of a training step, per image; `None` if the recipe has no steps.
    pub step: Option<f64>,
    /// Seconds of evaluating an image after an epoch.
    pub validate: f64,
    /// Seconds of an epoch beyond its images: its checkpoint.
    pub save_epoch: f64,
    /// Seconds of evaluating the trained network.
    pub evaluate: f64,
    /// Seconds of writing the model.
    pub save: f64,
}

/// Images for which a job still has to compute what is cached.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Missing {
    /// To decode.
    pub pixels: f64,
    /// To compute the features of.
    pub features: f64,
    /// To compute the input of the first trained stage of.
    pub maps: f64,
}

/// How long a job takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Durations {
    /// Seconds of an epoch.
    pub epoch: f64,
    /// Seconds from the start of the job to its end.
    pub job: f64,
}

/// How long a job of `recipe` takes with `params` on the dataset of `target`, of which `missing` images are
/// not in the caches, given what a probe with the images of `probed` took. `None` if it measured too little.
#[must_use]
pub fn durations(
    recipe: Recipe,
    params: &Params,
    target: &Target,
    missing: Missing,
    measured: &Measured,
    probed: Images,
) -> Option<Durations> {
    let Target { images, classes, rival, .. } = *target;
    let Images { train, validation, test } = images;
    let learned = train + validation;
    let pass = seconds_of_pass(recipe, measured)?;
    let measured = match recipe {
        Recipe::FineTuning(base) if measured.step.is_none() => {
            with_steps_of_table(base, pass, measured, probed)
        }
        _ => *measured,
    };
    let steps = |step: f64| train * step + validation * measured.validate + measured.save_epoch;
    let (epoch, once) = match recipe {
        Recipe::ScratchCnn | Recipe::AugmentedCnn => {
            let share = (validation + test) / (probed.validation + probed.test).max(1.0);
            (steps(measured.step?), measured.evaluate * share)
        }
        Recipe::Features(base) => {
            let head = head(base, classes);
            let solve = EPOCH + learned * head;
            let epoch = match measured.step {
                Some(step) => steps(step),
                None => pass * solve + measured.save_epoch,
            };
            let (most, work) = CROSS_VALIDATED;
            let small = images.total() <= most && images.total() * classes as f64 <= work;
            let crossed = small && base.head.hidden.is_none();
            let folds = if crossed { FOLDS * f64::from(params.epochs) } else { 0.0 };
            let evaluate = images.total() * head + folds * (EPOCH + images.total() * head);
            (epoch, pass * evaluate + measured.features.seconds(missing.features))
        }
        Recipe::FineTuning(base) => {
            let heads = f64::from(params.head_epochs.unwrap_or(0));
            let heads = heads * (pass * (EPOCH + learned * head(base, classes)));
            // Before the first epoch.
            let first = validation * measured.validate;
            let share = evaluation(base, images) / evaluation(base, probed).max(1.0);
            let cached =
                measured.features.seconds(missing.features) + measured.maps.seconds(missing.maps);
            (steps(measured.step?), heads + first + measured.evaluate * share + cached)
        }
    };
    let compare = rival.map_or(0.0, |rival| {
        let other = side(recipe) != rival_side(rival);
        let decode = if other { measured.decode.per_image } else { 0.0 };
        measured.start + (validation + test) * (pass * forward(rival) + decode)
    });
    let decode = measured.decode.seconds(missing.pixels);
    let job =
        measured.start + decode + f64::from(params.epochs) * epoch + once + measured.save + compare;
    Some(Durations { epoch, job })
}

/// What a probe of fine-tuning measured that ended before its first step; the table of costs says the rest.
fn with_steps_of_table(base: &Base, pass: f64, measured: &Measured, probed: Images) -> Measured {
    let Work { forward, last_stages, step, .. } = base.work;
    let maps = Rate { per_image: pass * (forward - last_stages), once: 0.0 };
    Measured {
        maps: if measured.maps.per_image > 0.0 { measured.maps } else { maps },
        step: Some(pass * step),
        validate: pass * last_stages,
        evaluate: pass * evaluation(base, probed),
        ..*measured
    }
}

/// Seconds of a forward pass of EfficientNet-Lite0 over one image in a batch: what the table of costs counts
/// in.
fn seconds_of_pass(recipe: Recipe, measured: &Measured) -> Option<f64> {
    let pass = match recipe.base() {
        None => measured.validate / CNN_FORWARD,
        Some(base) if measured.features.per_image > 0.0 => {
            measured.features.per_image / base.work.forward
        }
        // The head is another job's.
        Some(base) => measured.maps.per_image / (base.work.forward - base.work.last_stages),
    };
    (pass > 0.0).then_some(pass)
}

/// Passes after the last epoch of fine-tuning: logits, and distances to training images.
fn evaluation(base: &Base, images: Images) -> f64 {
    let Images { train, validation, test } = images;
    2.0 * validation * base.work.last_stages
        + train.min(NEIGHBOURS) * base.work.forward
        + 2.0 * test * base.work.forward
}

fn rival_side(rival: Architecture) -> u32 {
    match rival {
        Architecture::Cnn => super::CNN_SIDE,
        Architecture::Base(base) => base.side,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::base::EFFICIENTNET_LITE0;

    fn images(train: f64, validation: f64, test: f64) -> Images {
        Images { train, validation, test }
    }

    fn target(images: Images) -> Target {
        Target { dataset: None, classes: 2, images, bytes: 20_000.0, rival: None }
    }

    const PROBED: Images = Images { train: 128.0, validation: 32.0, test: 16.0 };

    #[test]
    fn an_epoch_takes_its_steps_its_evaluation_and_its_checkpoint() {
        let measured = Measured {
            start: 1.0,
            decode: Rate { per_image: 0.002, once: 0.1 },
            step: Some(0.006),
            validate: 0.002,
            save_epoch: 0.5,
            evaluate: 0.4,
            save: 0.2,
            ..Measured::default()
        };
        let params = Params { epochs: 10, ..Params::defaults(Recipe::ScratchCnn) };
        let target = target(images(2000.0, 1000.0, 200.0));
        let missing = Missing { pixels: 3200.0, ..Missing::default() };
        let of = |missing, target: &Target| {
            durations(Recipe::ScratchCnn, &params, target, missing, &measured, PROBED).unwrap()
        };
        let Durations { epoch, job } = of(missing, &target);
        assert!((epoch - (12.0 + 2.0 + 0.5)).abs() < 1e-9);
        let evaluate = 0.4 * 1200.0 / 48.0;
        assert!((job - (1.0 + 6.5 + 145.0 + evaluate + 0.2)).abs() < 1e-9);
        // Images that are decoded already, and a model to compare with.
        let cached = of(Missing::default(), &target);
        assert!((job - cached.job - 6.5).abs() < 1e-9);
        let rival = Target { rival: Some(Architecture::Cnn), ..target };
        let compared = of(missing, &rival).job - job;
        assert!((compared - (1.0 + 1200.0 * 0.002)).abs() < 1e-9, "{compared}");
    }

    #[test]
    fn regression_follows_from_the_speed_of_its_features() {
        let recipe = Recipe::Features(&EFFICIENTNET_LITE0);
        let measured = Measured {
            start: 1.0,
            features: Rate { per_image: 0.005, once: 0.3 },
            ..Measured::default()
        };
        let params = Params::defaults(recipe);
        let target = target(images(2000.0, 1000.0, 0.0));
        let of = |features| {
            let missing = Missing { features, ..Missing::default() };
            durations(recipe, &params, &target, missing, &measured, PROBED).unwrap()
        };
        let new = of(3000.0);
        assert!((new.epoch - 0.005 * (3.0 + 30.0)).abs() < 1e-9);
        assert!((new.job - of(0.0).job - 15.3).abs() < 1e-9);
    }

    #[test]
    fn without_a_step_fine_tuning_follows_from_the_speed_of_its_features() {
        let recipe = Recipe::FineTuning(&EFFICIENTNET_LITE0);
        let measured =
            Measured { features: Rate { per_image: 0.005, once: 0.3 }, ..Measured::default() };
        let params = Params { epochs: 10, ..Params::defaults(recipe) };
        let target = target(images(2000.0, 1000.0, 0.0));
        let missing = Missing { features: 3000.0, maps: 3000.0, ..Missing::default() };
        let of =
            |measured: &Measured| durations(recipe, &params, &target, missing, measured, PROBED);
        let Durations { epoch, job } = of(&measured).unwrap();
        let work = EFFICIENTNET_LITE0.work;
        assert!((epoch - 0.005 * (2000.0 * work.step + 1000.0 * work.last_stages)).abs() < 1e-6);
        let cached = 0.3 + 3000.0 * 0.005 * (1.0 + 1.0 - work.last_stages);
        assert!(job > 10.0 * epoch + cached && job < 11.0 * epoch + cached + 60.0, "{job}");
        // Maps count as they were measured.
        let maps = Rate { per_image: 0.1, once: 0.0 };
        let slower = of(&Measured { maps, ..measured }).unwrap().job - job;
        assert!((slower - 3000.0 * (0.1 - 0.005 * (1.0 - work.last_stages))).abs() < 1e-6);
        assert_eq!(of(&Measured::default()), None);
    }

    #[test]
    fn a_need_is_exceeded_only_by_what_is_known() {
        let need = |needed, available| Need { needed, available }.exceeds();
        assert_eq!(need(Some(2), Some(1)), Some((2, 1)));
        assert_eq!(need(Some(2), Some(2)), None);
        assert_eq!(need(None, Some(1)), None);
        assert_eq!(need(Some(2), None), None);
    }
}
