//! The epoch loop: trains, evaluates, keeps the best, saves checkpoints, and reports. Never prints.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use super::{
    clock::Clock,
    control::Control,
    draws,
    evaluate::{self, Tally},
    events::{Event, Events},
    failure::{End, Failure},
    learnable::Learnable,
    optimizer::RmsProp,
    policy::{self, Pace},
};
use crate::{
    device::Compute,
    domain::{
        dataset::Sample,
        evaluation,
        job::{Best, Phase, Progress},
        metrics::{EpochMetrics, Score},
        recipe::Params,
    },
    weights::{
        checkpoint::{Checkpoint, Checkpoints, Partial, Position},
        tensors::{self, Tensors},
    },
};

/// Interval of progress events and of checks for a NaN loss.
pub(super) const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Which part of a job it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Training the head alone, before fine-tuning. Its epochs go to the log, not to the metrics.
    Head,
    /// The main training of the job.
    Main,
    /// The same, from weights that are already trained: they are kept if no epoch beats them.
    FineTuning,
}

/// What a recipe gives the learner.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// Which part of the job it is.
    pub stage: Stage,
    /// The parameters of this part.
    pub params: &'a Params,
    /// Where and how precisely to compute.
    pub compute: Compute,
    /// The training split.
    pub train: &'a [Sample],
    /// The validation split.
    pub validation: &'a [Sample],
    /// Where checkpoints are saved.
    pub checkpoints: &'a Checkpoints,
    /// The server's commands.
    pub control: &'a Control,
    /// Where to report.
    pub events: &'a Events,
}

/// Something in training.
pub struct Learner<'a> {
    task: Task<'a>,
    learnable: &'a dyn Learnable,
    optimizer: RmsProp,
    position: Position,
    best_weights: Tensors,
    reported: Cell<Instant>,
}

/// The result of training; the trained network has the weights of the best epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trained {
    /// The best epoch.
    pub best: Best,
    /// Epochs completed.
    pub epochs: u32,
}

impl<'a> Learner<'a> {
    /// A learner that trains `learnable`, resuming from `checkpoint` if there is one.
    ///
    /// # Errors
    /// `bad_job`: the checkpoint does not match the network.
    pub fn new(
        task: Task<'a>,
        learnable: &'a dyn Learnable,
        checkpoint: Option<Checkpoint>,
    ) -> Result<Self, End> {
        let mut learner = Self {
            optimizer: RmsProp::new(learnable.weights()),
            task,
            learnable,
            position: Position::default(),
            best_weights: Tensors::new(),
            reported: Cell::new(Instant::now()),
        };
        if let Some(checkpoint) = checkpoint {
            learner.restore(checkpoint).map_err(misfit)?;
            learner.say_best();
            learner.position.epochs.iter().for_each(|metrics| learner.say_epoch(metrics));
        }
        Ok(learner)
    }

    fn restore(&mut self, checkpoint: Checkpoint) -> Result<(), String> {
        tensors::copy_into(&self.learnable.weights(), checkpoint.weights)?;
        self.optimizer.restore(checkpoint.optimizer)?;
        self.position = checkpoint.position;
        self.best_weights = checkpoint.best_weights;
        Ok(())
    }

    /// Trains until the last epoch, until patience runs out, or until a user stops it; the network
    /// then has the weights of the best epoch.
    ///
    /// # Errors
    /// Cancelled, suspended, or failed with `nan_loss`, `disk_full` or `nothing_to_keep`.
    pub fn fit(mut self) -> Result<Trained, End> {
        match self.epochs() {
            // The current epoch does not count.
            Ok(()) | Err(End::Stopped) => {}
            Err(End::Suspended) => {
                self.save()?;
                let Position { epoch, step, .. } = self.position;
                tracing::info!(epoch, step, "suspended; checkpoint saved");
                return Err(End::Suspended);
            }
            Err(end) => return Err(end),
        }
        let best = self.position.best.ok_or_else(Failure::nothing_to_keep)?;
        tensors::copy_into(&self.learnable.weights(), self.best_weights).map_err(misfit)?;
        Ok(Trained { best, epochs: self.position.epoch })
    }

    fn epochs(&mut self) -> Result<(), End> {
        if self.task.stage == Stage::FineTuning && self.position.best.is_none() {
            self.judge_baseline()?;
        }
        while !self.is_over() {
            self.epoch()?;
        }
        Ok(())
    }

    /// Evaluates the initial weights: the first to beat.
    fn judge_baseline(&mut self) -> Result<(), End> {
        let clock = Clock::go_on(0.0);
        // A job that is stopped now keeps its initial weights.
        let score = self.validate(clock, Control::check_unless_stopped)?;
        self.best_weights = copy(&self.learnable.weights());
        self.position.best =
            Some(Best { epoch: 0, val_loss: score.loss, val_accuracy: score.accuracy });
        tracing::info!(
            val_loss = score.loss,
            val_accuracy = score.accuracy,
            "evaluated before the first epoch"
        );
        self.say_best();
        Ok(())
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

    /// One epoch, or the rest of it.
    fn epoch(&mut self) -> Result<(), End> {
        let clock = Clock::go_on(self.position.partial.seconds);
        let train = self.train(clock)?;
        let validation = self.validate(clock, Control::check)?;
        let seconds = clock.seconds();
        self.complete(EpochMetrics {
            epoch: self.position.epoch + 1,
            train_loss: train.loss,
            train_accuracy: train.accuracy,
            val_loss: validation.loss,
            val_accuracy: validation.accuracy,
            learning_rate: self.learning_rate(),
            seconds,
            images_per_second: (train.count + validation.count) as f64 / seconds,
        })
    }

    /// The optimizer's steps of one epoch. Whatever ends them, the position records where.
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
        let epoch = self.position.epoch + 1;
        let order = draws::shuffled(self.task.train, params.seed, epoch);
        let learning_rate = self.learning_rate();
        let steps = self.train_steps();
        self.report(Phase::Training, self.position.step, steps, clock);
        for batch in order.chunks(params.batch_size as usize).skip(self.position.step as usize) {
            self.task.control.check()?;
            let mut generator = draws::of_step(params.seed, epoch, self.position.step);
            let labels = evaluate::targets(batch, compute);
            let logits = self.learnable.train(batch, &mut generator);
            let losses = evaluate::losses(&logits, &labels);
            self.optimizer.step(&losses.mean(None), learning_rate);
            tally.add(&losses, &logits, &labels);
            self.position.step += 1;
            if self.report_is_due() {
                self.report(Phase::Training, self.position.step, steps, clock);
                self.check_loss(tally.sums().0)?;
            }
        }
        Ok(())
    }

    /// Evaluates the current weights on the validation split.
    fn validate(
        &self,
        clock: Clock,
        check: impl Fn(&Control) -> Result<(), End>,
    ) -> Result<Score, End> {
        let Task { validation, compute, params, .. } = self.task;
        let progress = |done, passes| {
            if done == 0 || self.report_is_due() {
                self.report(Phase::Validating, done, passes, clock);
            }
            check(self.task.control)
        };
        let batch_size = params.batch_size;
        let logits = evaluate::logits(self.learnable, validation, compute, batch_size, progress)?;
        let score = evaluation::score(&evaluate::judged(validation, &logits));
        self.check_loss(score.loss)?;
        Ok(score)
    }

    /// Adds the epoch to the position, saves a checkpoint, and only then reports it.
    fn complete(&mut self, metrics: EpochMetrics) -> Result<(), End> {
        let EpochMetrics { epoch, val_loss, val_accuracy, seconds, .. } = metrics;
        let best = policy::is_better(&metrics, self.position.best.as_ref());
        if best {
            self.best_weights = copy(&self.learnable.weights());
            self.position.best = Some(Best { epoch, val_loss, val_accuracy });
        }
        let mean = self.position.seconds_per_epoch.unwrap_or(seconds);
        self.position.epoch = epoch;
        self.position.step = 0;
        self.position.partial = Partial::default();
        self.position.epochs.push(metrics);
        self.position.seconds_per_epoch = Some(mean + (seconds - mean) / f64::from(epoch));
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
        self.say_epoch(&metrics);
        Ok(())
    }

    /// Reports the best so far: it may be of an epoch that the previous trainer reported, or of
    /// none.
    fn say_best(&self) {
        if self.task.stage == Stage::Head {
            return;
        }
        if let Some(best) = self.position.best {
            self.task.events.send(&Event::Best(best));
        }
    }

    fn say_epoch(&self, metrics: &EpochMetrics) {
        if self.task.stage == Stage::Head {
            return;
        }
        let best = self.position.best.is_some_and(|best| best.epoch == metrics.epoch);
        self.task.events.send(&Event::Epoch { metrics: *metrics, best });
    }

    fn save(&self) -> Result<(), End> {
        Ok(self.task.checkpoints.save(&Checkpoint {
            position: self.position.clone(),
            weights: self.learnable.weights(),
            optimizer: self.optimizer.state(),
            best_weights: tensors::share(&self.best_weights),
        })?)
    }

    /// A loss that is NaN or infinite never becomes finite again.
    fn check_loss(&self, loss: f64) -> Result<(), End> {
        if loss.is_finite() {
            return Ok(());
        }
        let learning_rate = self.learning_rate();
        Err(Failure::new(
            "nan_loss",
            format!(
                "the loss became NaN or infinite in epoch {}; the learning rate {learning_rate} is probably too high: start a new job with a lower one",
                self.position.epoch + 1
            ),
        )
        .into())
    }

    /// That of the current epoch.
    fn learning_rate(&self) -> f64 {
        let Params { learning_rate, learning_rate_schedule, epochs, .. } = *self.task.params;
        learning_rate_schedule.rate(learning_rate, self.position.epoch + 1, epochs)
    }

    fn train_steps(&self) -> u64 {
        self.task.train.len().div_ceil(self.task.params.batch_size as usize) as u64
    }

    fn report_is_due(&self) -> bool {
        self.reported.get().elapsed() >= REPORT_EVERY
    }

    fn report(&self, phase: Phase, step: u64, steps: u64, clock: Clock) {
        let phase = if self.task.stage == Stage::Head { Phase::TrainingHead } else { phase };
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

fn misfit(reason: String) -> Failure {
    Failure::new("bad_job", format!("the checkpoint does not match the network: {reason}"))
}

/// Tensors with their own memory: the optimizer keeps changing the network's.
fn copy(tensors: &Tensors) -> Tensors {
    tensors.iter().map(|(name, tensor)| (name.clone(), tensor.detach().copy())).collect()
}
