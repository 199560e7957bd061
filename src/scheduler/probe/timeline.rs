//! What a probe's trainer reports, and when: from it follow the durations of its parts.

use crate::{
    domain::{
        estimate::probe::{Measured, Rate},
        job::{Phase, Progress},
        recipe::Precision,
    },
    training::events::Event,
};

/// The reports of one trainer, by seconds since its start.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    pub(super) device: Option<String>,
    pub(super) precision: Option<Precision>,
    /// Bytes of memory it took at most.
    pub(super) peak: Option<u64>,
    reports: Vec<(f64, Progress)>,
    /// When the epoch was complete, and how long it took by the trainer's own clock.
    epoch: Option<(f64, f64)>,
    finished: Option<f64>,
}

impl Timeline {
    /// Notes an event.
    pub(super) fn note(&mut self, at: f64, event: &Event) {
        match event {
            Event::Started { device, precision, .. } => {
                self.device = Some(device.clone());
                self.precision = Some(*precision);
            }
            Event::Progress(progress) => self.reports.push((at, *progress)),
            Event::Epoch { metrics, .. } => self.epoch = Some((at, metrics.seconds)),
            Event::Memory { peak } => self.peak = Some(*peak),
            Event::Finished => self.finished = Some(at),
            _ => {}
        }
    }

    /// Whether it came to its end.
    pub(super) const fn is_complete(&self) -> bool {
        self.finished.is_some()
    }

    /// The number of training steps it completed.
    pub(super) fn steps(&self) -> u64 {
        let steps = self.of(Phase::Training).into_iter().flatten().map(|(_, step)| step);
        steps.fold(0.0, f64::max) as u64
    }

    /// The durations of its parts, as far as it came. It trained a network for one epoch, in steps of at most
    /// `batch` images, on `train` images, and evaluated `validation` images after it. With `only_maps`, it
    /// fine-tuned below the head of another job and so computed no features.
    pub(super) fn measured(
        &self,
        only_maps: bool,
        batch: f64,
        train: f64,
        validation: f64,
    ) -> Measured {
        let first = self.reports.first().map_or(0.0, |(at, _)| *at);
        let extracted = self.of(Phase::Extracting);
        let [features, maps] = match &extracted[..] {
            [features, .., maps] => [rate(features), rate(maps)],
            [only] if only_maps => [Rate::default(), rate(only)],
            [only] => [rate(only), Rate::default()],
            [] => [Rate::default(); 2],
        };
        let steps = self.of(Phase::Training);
        let steps = steps.last().map(Vec::as_slice).unwrap_or_default();
        let step = median_step(steps).map(|step| step / batch.min(train));
        let [began, trained] =
            [steps.first(), steps.last()].map(|point| point.map_or(0.0, |(at, _)| *at));
        let passes = self.of(Phase::Validating);
        let passes = passes.last().map(Vec::as_slice).unwrap_or_default();
        let (epoch_at, epoch) = self.epoch.unwrap_or((trained, trained - began));
        // The last pass ends unreported, with the epoch.
        let count = passes.len() as f64;
        let validate = match median_step(passes) {
            Some(pass) => pass * count / validation.max(1.0),
            None => (epoch - (trained - began)).max(0.0) / validation.max(1.0),
        };
        let at = |phase| self.of(phase).first().and_then(|run| run.first()).map(|(at, _)| *at);
        let (evaluating, saving) = (at(Phase::Evaluating), at(Phase::Saving));
        Measured {
            start: first,
            decode: self.of(Phase::Preparing).first().map(|run| rate(run)).unwrap_or_default(),
            features,
            maps,
            step,
            validate,
            save_epoch: if steps.is_empty() { 0.0 } else { (epoch_at - began - epoch).max(0.0) },
            evaluate: evaluating.zip(saving).map_or(0.0, |(from, to)| to - from),
            save: saving.zip(self.finished).map_or(0.0, |(from, to)| to - from),
        }
    }

    /// The reports of a phase: seconds and steps done, one list for each time that it began.
    fn of(&self, phase: Phase) -> Vec<Vec<(f64, f64)>> {
        let mut runs: Vec<Vec<(f64, f64)>> = Vec::new();
        for (at, Progress { step, .. }) in
            self.reports.iter().filter(|(_, report)| report.phase == phase)
        {
            let step = *step as f64;
            match runs.last_mut() {
                Some(run) if run.last().is_some_and(|(_, last)| *last <= step) => {
                    run.push((*at, step));
                }
                _ => runs.push(vec![(*at, step)]),
            }
        }
        runs
    }
}

/// Seconds of an image, and what the first report took beyond that: the first pass of a network is slow.
fn rate(run: &[(f64, f64)]) -> Rate {
    let per_image = |from: &(f64, f64), to: &(f64, f64)| (to.0 - from.0) / (to.1 - from.1).max(1.0);
    match run {
        [start, first, .., last] if last.1 > first.1 => {
            let per_image = per_image(first, last);
            let once = (first.0 - start.0 - per_image * (first.1 - start.1)).max(0.0);
            Rate { per_image, once }
        }
        [start, .., end] => Rate { per_image: per_image(start, end), once: 0.0 },
        _ => Rate::default(),
    }
}

/// The median duration of a step, without the first one, which is slow.
fn median_step(run: &[(f64, f64)]) -> Option<f64> {
    let steps = run.windows(2).filter(|pair| pair[1].1 > pair[0].1);
    let mut steps: Vec<_> =
        steps.map(|pair| (pair[1].0 - pair[0].0) / (pair[1].1 - pair[0].1)).collect();
    if steps.len() > 1 {
        steps.remove(0);
    }
    steps.sort_by(f64::total_cmp);
    steps.get(steps.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::metrics::EpochMetrics;

    fn timeline(reports: &[(f64, Phase, u64)]) -> Timeline {
        let mut timeline = Timeline::default();
        for (at, phase, step) in reports {
            let progress = Progress {
                phase: *phase,
                epoch: 1,
                epochs: 1,
                step: *step,
                steps: 100,
                eta_seconds: None,
            };
            timeline.note(*at, &Event::Progress(progress));
        }
        timeline
    }

    fn epoch(seconds: f64) -> Event {
        let metrics = EpochMetrics {
            epoch: 1,
            train_loss: 0.5,
            train_accuracy: 0.5,
            val_loss: 0.5,
            val_accuracy: 0.5,
            learning_rate: 1e-3,
            seconds,
            images_per_second: 1.0,
        };
        Event::Epoch { metrics, best: true }
    }

    #[test]
    fn the_first_step_of_each_part_is_slow_and_does_not_count() {
        use Phase::{Evaluating, Preparing, Saving, Training, Validating};
        let mut timeline = timeline(&[
            (1.0, Preparing, 0),
            (1.5, Preparing, 1),
            (2.5, Preparing, 101),
            (3.0, Training, 0),
            (5.0, Training, 1),
            (5.25, Training, 2),
            (5.5, Training, 3),
            (5.5, Validating, 0),
            (6.0, Validating, 1),
            (6.125, Validating, 2),
            (6.25, Validating, 3),
        ]);
        timeline.note(7.0, &epoch(3.5));
        timeline.note(
            7.0,
            &Event::Progress(Progress {
                phase: Evaluating,
                epoch: 1,
                epochs: 1,
                step: 0,
                steps: 1,
                eta_seconds: None,
            }),
        );
        timeline.note(
            8.0,
            &Event::Progress(Progress {
                phase: Saving,
                epoch: 1,
                epochs: 1,
                step: 0,
                steps: 1,
                eta_seconds: None,
            }),
        );
        timeline.note(8.5, &Event::Finished);
        let measured = timeline.measured(false, 32.0, 96.0, 32.0);
        let near = |value: f64, expected: f64| assert!((value - expected).abs() < 1e-9, "{value}");
        near(measured.start, 1.0);
        near(measured.decode.per_image, 0.01);
        near(measured.decode.once, 0.49);
        near(measured.step.unwrap(), 0.25 / 32.0);
        near(measured.validate, 0.125 * 4.0 / 32.0);
        near(measured.save_epoch, 0.5);
        near(measured.evaluate, 1.0);
        near(measured.save, 0.5);
        assert_eq!(timeline.steps(), 3);
    }

    #[test]
    fn fine_tuning_computes_features_and_then_maps() {
        use Phase::{Extracting, Training, TrainingHead};
        let both = timeline(&[
            (1.0, Extracting, 0),
            (2.0, Extracting, 32),
            (3.0, Extracting, 64),
            (3.0, TrainingHead, 0),
            (4.0, Extracting, 0),
            (4.5, Extracting, 32),
            (5.0, Training, 0),
        ]);
        let measured = both.measured(false, 32.0, 64.0, 32.0);
        assert!((measured.features.per_image - 1.0 / 32.0).abs() < 1e-9);
        assert!((measured.maps.per_image - 0.5 / 32.0).abs() < 1e-9);
        // With the head of another job, only maps.
        let maps = timeline(&[(4.0, Extracting, 0), (4.5, Extracting, 32), (5.0, Training, 0)]);
        let measured = maps.measured(true, 32.0, 64.0, 32.0);
        assert_eq!(measured.features, Rate::default());
        assert!((measured.maps.per_image - 0.5 / 32.0).abs() < 1e-9);
        // Cut off before that.
        let features = timeline(&[(1.0, Extracting, 0), (2.0, Extracting, 32)]);
        let measured = features.measured(false, 32.0, 64.0, 32.0);
        assert!((measured.features.per_image - 1.0 / 32.0).abs() < 1e-9);
        assert_eq!((measured.maps, measured.step), (Rate::default(), None));
        assert_eq!(timeline(&[]).measured(false, 32.0, 64.0, 32.0), Measured::default());
    }
}
