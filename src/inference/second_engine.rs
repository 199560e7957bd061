//! Prepares OpenVINO beside libtorch.
//!
//! A model serves with libtorch at once. Meanwhile a thread of its own writes the convolutions as ONNX,
//! compiles them, compares the answers for the canary images with those of the model's card, and measures
//! both engines.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::{
    convolutions::{OwnPasses, Ready},
    network::LoadedModel,
    openvino::{self, Compiled},
    thread_choice::ThreadChoice,
    tuning::{InferenceConfig, set_threads},
};
use crate::{device::processors, domain::prediction::ModelOutput, model_file::canary, onnx};

/// Minimum speed-up of a lone request or of those under load.
const MIN_SPEEDUP: f64 = 1.1;

/// Passes of each engine, of which the fastest counts.
const PASSES: u32 = 7;

/// Largest difference of a distance to the training images, 0 to 2.
const MAX_DISTANCE_CHANGE: f64 = 0.01;

/// A model's convolutions in OpenVINO, which agrees with libtorch, and the times of both.
#[derive(Debug)]
pub(super) struct SecondEngine {
    /// The convolutions.
    pub(super) ready: Ready,
    /// On the threads under load, and on all.
    times: Vec<Times>,
    /// The fastest pass of libtorch on any number of threads that a lone request may get.
    libtorch_alone: Duration,
}

impl SecondEngine {
    /// Compiles the convolutions of `model`, the one in the file at `path`, compares the answers for the
    /// canary images, and measures both engines. Takes a second or two.
    ///
    /// # Errors
    /// A message: why libtorch goes on.
    pub(super) fn prepare(
        model: &LoadedModel,
        path: &Path,
        config: &InferenceConfig,
    ) -> Result<Self, String> {
        openvino::open()?;
        let card = model.card();
        let mut sizes = vec![(config.workers, config.threads_under_load)];
        if config.thread_choice.candidates().count() > 1 {
            sizes.push((1, processors().get()));
        }
        let onnx = onnx::feature_maps(path).map_err(|error| error.to_string())?;
        let compile = |size| Compiled::new(&onnx, &card.preprocessing, model.precision(), size);
        let compiled = sizes.into_iter().map(compile).collect::<Result<Vec<_>, _>>()?;
        drop(onnx);
        let own = OwnPasses::default();
        let images = canary::pixels(&card.preprocessing)?;
        for compiled in &compiled {
            set_threads(compiled.threads());
            let (mut theirs, mut ours) = (Vec::new(), Vec::new());
            for image in &images {
                let maps = own.feature_maps(compiled, &[image])?;
                theirs.extend(model.outputs(&maps).map_err(|error| error.to_string())?);
                let image = std::slice::from_ref(image);
                ours.extend(model.forward(image).map_err(|error| error.to_string())?);
            }
            agree(&card.canaries, &theirs, &ours)?;
        }
        let measure = |compiled| measure(model, &own, compiled, &images);
        let times = compiled.iter().map(measure).collect::<Result<Vec<_>, _>>()?;
        let of_threads =
            compiled.iter().map(Compiled::threads).zip(times.iter().map(|it| it.openvino));
        let thread_choice = ThreadChoice::new(of_threads);
        let image = images.get(..1).ok_or("there is no canary image")?;
        let mut libtorch_alone = Duration::MAX;
        for threads in config.thread_choice.candidates() {
            set_threads(threads);
            for _ in 0..PASSES {
                libtorch_alone = libtorch_alone.min(forward_time(model, image)?);
            }
        }
        tracing::info!(
            ?times,
            ?libtorch_alone,
            threads = thread_choice.best(),
            "measured OpenVINO"
        );
        Ok(Self { ready: Ready::new(compiled, thread_choice), times, libtorch_alone })
    }

    /// Checks that OpenVINO is faster.
    ///
    /// # Errors
    /// A message with the times.
    pub(super) fn is_faster(&self) -> Result<(), String> {
        if is_faster(&self.times, self.libtorch_alone) {
            return Ok(());
        }
        Err(format!(
            "OpenVINO is not faster: {:?}; libtorch alone: {:?}",
            self.times, self.libtorch_alone
        ))
    }
}

/// Whether OpenVINO is clearly faster for a lone request or under load, and slower for neither. `times`: on the
/// threads under load, and on all; `libtorch_alone`: libtorch's for a lone request.
fn is_faster(times: &[Times], libtorch_alone: Duration) -> bool {
    let lone = times.iter().map(|it| it.openvino).min().map(|openvino| (openvino, libtorch_alone));
    let under_load = times.first().map(|it| (it.openvino, it.libtorch));
    let speedups: Vec<f64> = [under_load, lone]
        .into_iter()
        .flatten()
        .map(|(openvino, libtorch)| libtorch.div_duration_f64(openvino))
        .collect();
    speedups.iter().all(|it| *it >= 1.0) && speedups.iter().any(|it| *it >= MIN_SPEEDUP)
}

/// Whether the answers of OpenVINO for the canary images are as near to those of the card as libtorch's
/// are in the same precision, within a factor of two.
fn agree(recorded: &[f32], theirs: &[ModelOutput], ours: &[ModelOutput]) -> Result<(), String> {
    let logits = |outputs: &[ModelOutput]| -> Vec<f32> {
        outputs.iter().flat_map(|output| &output.logits.0).map(|logit| *logit as f32).collect()
    };
    let (their_logits, our_logits) = (logits(theirs), logits(ours));
    if their_logits.len() != recorded.len() {
        return Err(format!("{} logits instead of {}", their_logits.len(), recorded.len()));
    }
    let off = |now: &[f32]| {
        let differences = recorded.iter().zip(now).map(|(then, now)| (then - now).abs());
        differences.fold(0.0, f32::max)
    };
    let allowed = 2.0 * off(&our_logits);
    for (then, now) in recorded.iter().zip(&their_logits) {
        let difference = (then - now).abs();
        if difference.is_nan() || difference > allowed.max(canary::tolerance(*then)) {
            return Err(format!("expected logit {then}, got {now} from OpenVINO"));
        }
    }
    for (theirs, ours) in theirs.iter().zip(ours) {
        let (Some(theirs), Some(ours)) = (theirs.distance, ours.distance) else { continue };
        let difference = (theirs - ours).abs();
        if difference.is_nan() || difference > MAX_DISTANCE_CHANGE {
            return Err(format!("expected distance {ours}, got {theirs} from OpenVINO"));
        }
    }
    Ok(())
}

/// The fastest pass over one image.
#[derive(Debug, Clone, Copy)]
struct Times {
    libtorch: Duration,
    openvino: Duration,
}

/// Times both engines in turns, on the threads of `compiled`.
fn measure(
    model: &LoadedModel,
    own: &OwnPasses,
    compiled: &Compiled,
    images: &[Vec<u8>],
) -> Result<Times, String> {
    set_threads(compiled.threads());
    let image = images.get(..1).ok_or("there is no canary image")?;
    let mut times = Times { libtorch: Duration::MAX, openvino: Duration::MAX };
    for _ in 0..PASSES {
        times.libtorch = times.libtorch.min(forward_time(model, image)?);
        let started = Instant::now();
        let maps = own.feature_maps(compiled, image)?;
        model.outputs(&maps).map_err(|error| error.to_string())?;
        times.openvino = times.openvino.min(started.elapsed());
    }
    Ok(times)
}

/// The time of one pass of libtorch.
fn forward_time(model: &LoadedModel, image: &[Vec<u8>]) -> Result<Duration, String> {
    let started = Instant::now();
    model.forward(image).map_err(|error| error.to_string())?;
    Ok(started.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::objective::Logits;

    #[test]
    fn a_faster_engine_is_slower_in_nothing() {
        let times = |of: &[(u64, u64)]| -> Vec<Times> {
            let times = of.iter().map(|(libtorch, openvino)| Times {
                libtorch: Duration::from_micros(*libtorch),
                openvino: Duration::from_micros(*openvino),
            });
            times.collect()
        };
        let is_faster =
            |of: &[(u64, u64)], alone| is_faster(&times(of), Duration::from_micros(alone));
        assert!(is_faster(&[(2000, 1500), (4000, 1100)], 2000));
        // On many processors a lone request gains even if those under load don't.
        assert!(is_faster(&[(2076, 1997), (4352, 1077)], 2076));
        assert!(is_faster(&[(2000, 1500)], 2000));
        assert!(!is_faster(&[(2000, 1900), (2000, 1950)], 2000));
        assert!(!is_faster(&[(2000, 1500), (1000, 1600)], 1000));
        assert!(!is_faster(&[(2000, 2100), (2000, 1000)], 2000));
        // On four of sixteen threads, libtorch is faster than on one or on all.
        assert!(!is_faster(&[(2076, 1997), (4352, 1077)], 900));
        assert!(!is_faster(&[], 2000));
    }

    fn outputs(logits: &[f64], distance: Option<f64>) -> Vec<ModelOutput> {
        let output = |logit: &f64| ModelOutput { logits: Logits(vec![*logit]), distance };
        logits.iter().map(output).collect()
    }

    #[test]
    fn answers_agree_if_they_are_as_near_to_the_card_as_those_of_libtorch() {
        let recorded = [1.0, -2.0, 0.5];
        let agrees = |theirs: &[f64], ours: &[f64]| {
            agree(&recorded, &outputs(theirs, None), &outputs(ours, None)).is_ok()
        };
        assert!(agrees(&[1.01, -2.02, 0.51], &[1.0, -2.0, 0.5]));
        assert!(!agrees(&[1.03, -2.0, 0.5], &[1.0, -2.0, 0.5]));
        assert!(agrees(&[1.05, -2.0, 0.5], &[1.0, -2.03, 0.5]));
        assert!(!agrees(&[1.07, -2.0, 0.5], &[1.0, -2.03, 0.5]));
        assert!(!agrees(&[f64::NAN, -2.0, 0.5], &[1.0, -2.0, 0.5]));
        assert!(!agrees(&[1.0, -2.0], &[1.0, -2.0, 0.5]));
    }

    #[test]
    fn distances_have_to_agree_too() {
        let recorded = [1.0, 1.0];
        let agrees = |theirs, ours| {
            let (theirs, ours) =
                (outputs(&[1.0, 1.0], Some(theirs)), outputs(&[1.0, 1.0], Some(ours)));
            agree(&recorded, &theirs, &ours).is_ok()
        };
        assert!(agrees(0.405, 0.4));
        assert!(!agrees(0.42, 0.4));
        assert!(!agrees(f64::NAN, 0.4));
    }
}
