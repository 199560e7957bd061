//! Prepares OpenVINO beside libtorch.
//!
//! A model serves with libtorch at once. Meanwhile a thread of its own writes the convolutions as ONNX,
//! compiles them, compares the answers for the canary images with those of the model's card, and measures
//! both engines. Lone requests and those under load each get the faster one.

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
    /// Compiled for the threads under load, and for all; with the times of both engines on these.
    measured: Vec<(Compiled, Times)>,
    /// The fastest pass of libtorch on each number of threads that a lone request may get.
    libtorch_alone: Vec<(usize, Duration)>,
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
        let measure = |compiled| {
            let times = measure(model, &own, &compiled, &images)?;
            Ok((compiled, times))
        };
        let measured = compiled.into_iter().map(measure).collect::<Result<Vec<_>, String>>()?;
        let image = images.get(..1).ok_or("there is no canary image")?;
        let fastest = |threads| {
            set_threads(threads);
            let mut fastest = Duration::MAX;
            for _ in 0..PASSES {
                fastest = fastest.min(forward_time(model, image)?);
            }
            Ok((threads, fastest))
        };
        let libtorch_alone = config.thread_choice.candidates().map(fastest);
        let libtorch_alone = libtorch_alone.collect::<Result<Vec<_>, String>>()?;
        tracing::info!(?measured, ?libtorch_alone, "measured OpenVINO");
        Ok(Self { measured, libtorch_alone })
    }

    /// OpenVINO for all requests.
    pub(super) fn ready(self) -> Ready {
        let choice = self.measured.iter().map(|(it, times)| (it.threads(), times.openvino));
        let choice = ThreadChoice::new(choice);
        Ready::new(self.measured.into_iter().map(|(compiled, _)| compiled).collect(), choice)
    }

    /// OpenVINO for those requests for which it is faster: lone ones, those under load, or both. libtorch computes the
    /// others.
    ///
    /// # Errors
    /// A message with the times: it is clearly faster for none.
    pub(super) fn ready_where_faster(self) -> Result<Ready, String> {
        let Self { measured, libtorch_alone } = self;
        let times: Vec<_> = measured.iter().map(|(it, times)| (it.threads(), *times)).collect();
        let (kept, alone) = choose(&times, &libtorch_alone).ok_or_else(|| {
            format!("OpenVINO is not faster: {times:?}; libtorch alone: {libtorch_alone:?}")
        })?;
        tracing::info!(threads = ?kept, alone = alone.best(), "OpenVINO is faster on so many threads");
        let compiled = measured.into_iter().map(|(compiled, _)| compiled);
        Ok(Ready::new(compiled.filter(|it| kept.contains(&it.threads())).collect(), alone))
    }
}

/// The numbers of threads on which OpenVINO replaces libtorch, and the choice of threads for a lone request; `None` if it is
/// clearly faster on none. `times`: on the threads under load, and on all; `libtorch_alone`: libtorch's for a lone request.
fn choose(
    times: &[(usize, Times)],
    libtorch_alone: &[(usize, Duration)],
) -> Option<(Vec<usize>, ThreadChoice)> {
    // A lone request may get libtorch's best number of threads instead.
    let alone = libtorch_alone.iter().map(|it| it.1).min();
    let speedups: Vec<f64> = times
        .iter()
        .zip([None, alone])
        .map(|((_, it), alone)| alone.unwrap_or(it.libtorch).div_duration_f64(it.openvino))
        .collect();
    let is_clear = speedups.iter().any(|it| *it >= MIN_SPEEDUP);
    // Where it is not slower, so that more requests get the answers of one engine.
    let kept = times.iter().zip(&speedups).filter(|(_, speedup)| is_clear && **speedup >= 1.0);
    let kept: Vec<(usize, Duration)> =
        kept.map(|((threads, it), _)| (*threads, it.openvino)).collect();
    let choice = if kept.len() == times.len() {
        ThreadChoice::new(kept.iter().copied())
    } else {
        ThreadChoice::new(libtorch_alone.iter().map(|&(threads, libtorch)| {
            let openvino = kept.iter().find(|it| it.0 == threads);
            (threads, openvino.map_or(libtorch, |it| it.1))
        }))
    };
    let threads: Vec<usize> = kept.iter().map(|it| it.0).collect();
    // More threads must be faster by more: otherwise lone requests would never get them.
    let is_used =
        threads.first() == times.first().map(|it| &it.0) || threads.contains(&choice.best());
    (is_used && !threads.is_empty()).then_some((threads, choice))
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

    /// The numbers of threads for OpenVINO, and that of a lone request, by microseconds.
    fn chosen(
        times: &[(usize, u64, u64)],
        libtorch_alone: &[(usize, u64)],
    ) -> Option<(Vec<usize>, usize)> {
        let us = Duration::from_micros;
        let times = times.iter().map(|&(threads, libtorch, openvino)| {
            (threads, Times { libtorch: us(libtorch), openvino: us(openvino) })
        });
        let alone = libtorch_alone.iter().map(|&(threads, time)| (threads, us(time)));
        let chosen = choose(&times.collect::<Vec<_>>(), &alone.collect::<Vec<_>>());
        chosen.map(|(threads, choice)| (threads, choice.best()))
    }

    #[test]
    fn openvino_computes_where_it_is_faster() {
        let alone = [(1, 2000), (2, 1900)];
        for (times, expected) in [
            // For all requests, also if one kind gains little.
            ([(1, 2000, 1500), (2, 1900, 1000)], Some((vec![1, 2], 2))),
            ([(1, 2000, 1950), (2, 1900, 1000)], Some((vec![1, 2], 2))),
            // For lone ones, for those under load.
            ([(1, 2000, 2500), (2, 1900, 1500)], Some((vec![2], 2))),
            ([(1, 2000, 1700), (2, 1900, 2100)], Some((vec![1], 1))),
            // Not clearly.
            ([(1, 2000, 1900), (2, 1900, 1850)], None),
            ([(1, 2000, 2100), (2, 1900, 1800)], None),
            // On two threads it is faster than libtorch on one or two, but not enough for two threads.
            ([(1, 2000, 2100), (2, 1900, 1760)], None),
        ] {
            assert_eq!(chosen(&times, &alone), expected, "{times:?}");
        }
        // On four of sixteen threads, libtorch is faster than on one or on all.
        let alone = [(1, 2076), (4, 900), (16, 4352)];
        assert_eq!(chosen(&[(1, 2076, 1997), (16, 4352, 1077)], &alone), None);
        assert_eq!(chosen(&[(1, 2076, 1800), (16, 4352, 1077)], &alone), Some((vec![1], 4)));
        assert_eq!(chosen(&[(1, 2000, 1500)], &[(1, 2000)]), Some((vec![1], 1)));
        assert_eq!(chosen(&[], &[]), None);
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
