//! The epoch loop: trains, judges, keeps the best, saves its state, and reports. Never prints.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use super::{
    batches,
    control::Control,
    device::Compute,
    evaluate::{self, Tally},
    events::{Event, Events},
    failure::{End, Failure},
    optimizer::RmsProp,
    pixels::Pixels,
    policy::{self, Pace},
};
use crate::{
    architectures::Cnn,
    domain::{
        dataset::Sample,
        job::{Best, Phase, Progress},
        metrics::{EpochMetrics, Score},
        recipe::Params,
    },
    weights::{
        checkpoint::{Checkpoint, Checkpoints, Partial, Position},
        tensors::Tensors,
    },
};

/// Progress is told, and a loss that is no number noticed, so often.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// What a recipe gives the learner.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// The parameters of the job.
    pub params: &'a Params,
    /// Where and how precisely to compute.
    pub compute: Compute,
    /// The decoded images of both splits.
    pub pixels: &'a Pixels,
    /// The training split.
    pub train: &'a [Sample],
    /// The validation split.
    pub validation: &'a [Sample],
    /// Where the state is saved.
    pub checkpoints: &'a Checkpoints,
    /// What the server wants.
    pub control: &'a Control,
    /// Where to report.
    pub events: &'a Events,
}

/// A network in training.
#[derive(Debug)]
pub struct Learner<'a> {
    task: Task<'a>,
    network: Cnn,
    optimizer: RmsProp,
    position: Position,
    best_weights: Tensors,
    reported: Cell<Instant>,
}

/// What training leaves.
#[derive(Debug)]
pub struct Trained {
    /// The weights of the best epoch.
    pub weights: Tensors,
    /// That epoch.
    pub best: Best,
}

impl<'a> Learner<'a> {
    /// A learner of `network` that goes on from `checkpoint`, if there is one.
    ///
    /// # Errors
    /// `bad_job`: the checkpoint is of another network.
    pub fn new(task: Task<'a>, network: Cnn, checkpoint: Option<Checkpoint>) -> Result<Self, End> {
        let mut learner = Self {
            optimizer: RmsProp::new(network.tensors(), task.params.learning_rate),
            task,
            network,
            position: Position::default(),
            best_weights: Tensors::new(),
            reported: Cell::new(Instant::now()),
        };
        if let Some(checkpoint) = checkpoint {
            learner.restore(checkpoint).map_err(|reason| {
                Failure::new(
                    "bad_job",
                    format!("the job's checkpoint does not fit its network: {reason}"),
                )
            })?;
            learner.say_last_epoch();
        }
        Ok(learner)
    }

    fn restore(&mut self, checkpoint: Checkpoint) -> Result<(), String> {
        self.network = Cnn::from_tensors(checkpoint.weights, self.task.compute.device)?;
        self.optimizer = RmsProp::new(self.network.tensors(), self.task.params.learning_rate);
        self.optimizer.restore(checkpoint.optimizer)?;
        self.position = checkpoint.position;
        self.best_weights = checkpoint.best_weights;
        Ok(())
    }

    /// Trains until the last epoch, until patience runs out, or until a person stops it.
    ///
    /// # Errors
    /// Cancelled, suspended, or failed with `nan_loss`, `disk_full` or `nothing_to_keep`.
    pub fn fit(mut self) -> Result<Trained, End> {
        while !self.is_over() {
            match self.epoch() {
                Ok(()) => {}
                // The epoch under way does not count.
                Err(End::Stopped) => break,
                Err(End::Suspended) => {
                    self.save()?;
                    let Position { epoch, step, .. } = self.position;
                    tracing::info!(epoch, step, "suspended, its state saved");
                    return Err(End::Suspended);
                }
                Err(end) => return Err(end),
            }
        }
        let best = self.position.best.ok_or_else(Failure::nothing_to_keep)?;
        Ok(Trained { weights: self.best_weights, best })
    }

    fn is_over(&self) -> bool {
        let Params { epochs, early_stopping_patience, .. } = *self.task.params;
        policy::is_over(
            self.position.epoch,
            epochs,
            self.position.best.as_ref(),
            early_stopping_patience,
        )
    }

    /// One epoch, or what was left of it.
    fn epoch(&mut self) -> Result<(), End> {
        let clock = Clock { before: self.position.partial.seconds, started: Instant::now() };
        let train = self.train(clock)?;
        let validation = self.validate(clock)?;
        let seconds = clock.seconds();
        self.complete(EpochMetrics {
            epoch: self.position.epoch + 1,
            train_loss: train.loss,
            train_accuracy: train.accuracy,
            val_loss: validation.loss,
            val_accuracy: validation.accuracy,
            learning_rate: self.task.params.learning_rate,
            seconds,
            images_per_second: (train.count + validation.count) as f64 / seconds,
        })
    }

    /// The optimizer's steps of one epoch. Whatever ends them, the position says where.
    fn train(&mut self, clock: Clock) -> Result<Score, End> {
        let Partial { loss, correct, seen, .. } = self.position.partial;
        let mut tally = Tally::new(self.task.compute);
        tally.add_sums(loss, correct, seen);
        let end = self.steps(&mut tally, clock);
        let (loss, correct, seen) = tally.sums();
        self.position.partial = Partial { loss, correct, seen, seconds: clock.seconds() };
        end?;
        self.check_loss(loss)?;
        Ok(tally.score())
    }

    fn steps(&mut self, tally: &mut Tally, clock: Clock) -> Result<(), End> {
        let Task { params, compute, .. } = self.task;
        let order = batches::shuffled(self.task.train, params.seed, self.position.epoch + 1);
        let steps = self.train_steps();
        self.report(Phase::Training, self.position.step, steps, clock);
        for batch in order.chunks(params.batch_size as usize).skip(self.position.step as usize) {
            self.task.control.check()?;
            let labels = evaluate::targets(batch, compute);
            let logits = self.network.forward(&evaluate::inputs(self.task.pixels, batch, compute));
            let losses = evaluate::losses(&logits, &labels);
            self.optimizer.step(&losses.mean(None));
            tally.add(&losses, &logits, &labels);
            self.position.step += 1;
            if self.report_is_due() {
                self.report(Phase::Training, self.position.step, steps, clock);
                self.check_loss(tally.sums().0)?;
            }
        }
        Ok(())
    }

    /// Judges the epoch on the validation split.
    fn validate(&self, clock: Clock) -> Result<Score, End> {
        let Task { params, compute, pixels, validation, .. } = self.task;
        let batch_size = params.batch_size as usize;
        let batches = validation.len().div_ceil(batch_size) as u64;
        self.report(Phase::Validating, 0, batches, clock);
        let score =
            evaluate::score(&self.network, pixels, validation, batch_size, compute, |done| {
                if self.report_is_due() {
                    self.report(Phase::Validating, done, batches, clock);
                }
                self.task.control.check()
            })?;
        self.check_loss(score.loss)?;
        Ok(score)
    }

    /// Takes the epoch into the position, saves, and only then says so.
    fn complete(&mut self, metrics: EpochMetrics) -> Result<(), End> {
        let EpochMetrics { epoch, val_loss, val_accuracy, seconds, .. } = metrics;
        let best = policy::is_better(&metrics, self.position.best.as_ref());
        if best {
            self.best_weights = copy(&self.network.tensors());
            self.position.best = Some(Best { epoch, val_loss, val_accuracy });
        }
        let mean = self.position.seconds_per_epoch.unwrap_or(seconds);
        self.position = Position {
            epoch,
            step: 0,
            partial: Partial::default(),
            best: self.position.best,
            last: Some(metrics),
            seconds_per_epoch: Some(mean + (seconds - mean) / f64::from(epoch)),
        };
        self.save()?;
        tracing::info!(
            epoch,
            train_loss = metrics.train_loss,
            train_accuracy = metrics.train_accuracy,
            val_loss,
            val_accuracy,
            seconds,
            best,
            "epoch complete"
        );
        self.say_last_epoch();
        Ok(())
    }

    fn say_last_epoch(&self) {
        if let Some(metrics) = self.position.last {
            let best = self.position.best.is_some_and(|best| best.epoch == metrics.epoch);
            self.task.events.send(&Event::Epoch { metrics, best });
        }
    }

    fn save(&self) -> Result<(), End> {
        Ok(self.task.checkpoints.save(&Checkpoint {
            position: self.position.clone(),
            weights: self.network.tensors(),
            optimizer: self.optimizer.state(),
            best_weights: self
                .best_weights
                .iter()
                .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
                .collect(),
        })?)
    }

    /// A loss that is no finite number never becomes one again.
    fn check_loss(&self, loss: f64) -> Result<(), End> {
        if loss.is_finite() {
            return Ok(());
        }
        let Params { learning_rate, .. } = self.task.params;
        Err(Failure::new(
            "nan_loss",
            format!(
                "the loss stopped being a number in epoch {}; the learning rate of {learning_rate} is most likely too high: try a lower one in a new job",
                self.position.epoch + 1
            ),
        )
        .into())
    }

    fn train_steps(&self) -> u64 {
        self.task.train.len().div_ceil(self.task.params.batch_size as usize) as u64
    }

    fn report_is_due(&self) -> bool {
        self.reported.get().elapsed() >= REPORT_EVERY
    }

    fn report(&self, phase: Phase, step: u64, steps: u64, clock: Clock) {
        self.reported.set(Instant::now());
        let epochs = self.task.params.epochs;
        let epoch = self.position.epoch + 1;
        let pace = Pace {
            seconds_per_epoch: self.position.seconds_per_epoch,
            elapsed: clock.seconds(),
            share: self.position.step as f64 / self.train_steps() as f64,
            epochs_left: epochs.saturating_sub(epoch),
        };
        let eta_seconds = policy::eta_seconds(pace);
        self.task.events.send(&Event::Progress(Progress {
            phase,
            epoch,
            epochs,
            step,
            steps,
            eta_seconds,
        }));
    }
}

/// The time of an epoch, across an interruption.
#[derive(Debug, Clone, Copy)]
struct Clock {
    before: f64,
    started: Instant,
}

impl Clock {
    fn seconds(self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }
}

/// Tensors with memory of their own: the optimizer goes on changing the network's.
fn copy(tensors: &Tensors) -> Tensors {
    tensors.iter().map(|(name, tensor)| (name.clone(), tensor.detach().copy())).collect()
}
