//! The epoch loop: trains, evaluates, keeps the best, saves checkpoints, and reports. Never prints.

use std::{cell::Cell, time::Instant};

use super::{
    clock::Clock,
    control::Control,
    evaluate::{self, RunningMetrics},
    events::{Event, Events},
    failure::{Failure, StopReason},
    loss::Loss,
    optimizer::RmsProp,
    policy::{self, EpochProgress},
    rng,
    trainable::Trainable,
};
use crate::{
    device::ComputeConfig,
    domain::{
        dataset::Sample,
        evaluation,
        job::{BestEpoch, Phase, Progress},
        metrics::{EpochMetrics, SplitMetrics},
        parameters::Params,
        temperature,
    },
    weights::{
        checkpoint::{Checkpoint, Checkpoints, PartialEpoch, TrainingState},
        tensors::{self, Tensors},
    },
};

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
pub struct TrainingContext<'a> {
    /// Which part of the job it is.
    pub stage: Stage,
    /// The parameters of this part.
    pub params: &'a Params,
    /// Where and how precisely to compute.
    pub compute: ComputeConfig,
    /// What training minimises.
    pub loss: &'a Loss,
    /// Whether epochs are compared by their validation loss after temperature scaling.
    pub scales_validation: bool,
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
    context: TrainingContext<'a>,
    trainable: &'a dyn Trainable,
    optimizer: RmsProp,
    state: TrainingState,
    best_weights: Tensors,
    reported: Cell<Instant>,
}

/// The result of training; the trained network has the weights of the best epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainingResult {
    /// The best epoch.
    pub best: BestEpoch,
    /// Epochs completed.
    pub epochs: u32,
}

impl<'a> Learner<'a> {
    /// A learner that trains `learnable`, resuming from `checkpoint` if there is one.
    ///
    /// # Errors
    /// `bad_job`: the checkpoint does not match the network.
    pub fn new(
        context: TrainingContext<'a>,
        trainable: &'a dyn Trainable,
        checkpoint: Option<Checkpoint>,
    ) -> Result<Self, StopReason> {
        let mut learner = Self {
            optimizer: RmsProp::new(trainable.weights()),
            context,
            trainable,
            state: TrainingState::default(),
            best_weights: Tensors::new(),
            reported: Cell::new(Instant::now()),
        };
        if let Some(checkpoint) = checkpoint {
            learner.restore(checkpoint).map_err(checkpoint_mismatch)?;
            learner.emit_best();
            learner.state.epochs.iter().for_each(|metrics| learner.emit_epoch(metrics));
        }
        Ok(learner)
    }

    fn restore(&mut self, checkpoint: Checkpoint) -> Result<(), String> {
        tensors::copy_into(&self.trainable.weights(), checkpoint.weights)?;
        self.optimizer.restore(checkpoint.optimizer)?;
        self.state = checkpoint.state;
        self.best_weights = checkpoint.best_weights;
        Ok(())
    }

    /// Trains until the last epoch, until patience runs out, or until a user stops it; the network
    /// then has the weights of the best epoch.
    ///
    /// # Errors
    /// Cancelled, suspended, or failed with `nan_loss`, `disk_full` or `nothing_to_keep`.
    pub fn fit(mut self) -> Result<TrainingResult, StopReason> {
        match self.run_epochs() {
            // The current epoch does not count.
            Ok(()) | Err(StopReason::Stopped) => {}
            Err(StopReason::Suspended) => {
                self.save()?;
                let TrainingState { epoch, step, .. } = self.state;
                tracing::info!(epoch, step, "suspended; checkpoint saved");
                return Err(StopReason::Suspended);
            }
            Err(end) => return Err(end),
        }
        let best = self.state.best.ok_or_else(Failure::nothing_to_keep)?;
        tensors::copy_into(&self.trainable.weights(), self.best_weights)
            .map_err(checkpoint_mismatch)?;
        Ok(TrainingResult { best, epochs: self.state.epoch })
    }

    fn run_epochs(&mut self) -> Result<(), StopReason> {
        if self.context.stage == Stage::FineTuning && self.state.best.is_none() {
            self.evaluate_baseline()?;
        }
        while !self.is_finished() {
            self.run_epoch()?;
        }
        Ok(())
    }

    /// Evaluates the initial weights: the first to beat.
    fn evaluate_baseline(&mut self) -> Result<(), StopReason> {
        let clock = Clock::resume_at(0.0);
        // A job that is stopped now keeps its initial weights.
        let score = self.validate(clock, Control::check_unless_stopped)?;
        self.best_weights = copy(&self.trainable.weights());
        self.state.best =
            Some(BestEpoch { epoch: 0, val_loss: score.loss, val_accuracy: score.accuracy });
        tracing::info!(
            val_loss = score.loss,
            val_accuracy = score.accuracy,
            "evaluated before the first epoch"
        );
        self.emit_best();
        Ok(())
    }

    fn is_finished(&self) -> bool {
        let Params { epochs, early_stopping_patience, .. } = *self.context.params;
        policy::is_finished(
            self.state.epoch,
            epochs,
            self.state.best.as_ref(),
            early_stopping_patience,
        )
    }

    /// One epoch, or the rest of it.
    fn run_epoch(&mut self) -> Result<(), StopReason> {
        let clock = Clock::resume_at(self.state.partial.seconds);
        let train = self.train_epoch(clock)?;
        let validation = self.validate(clock, Control::check)?;
        let seconds = clock.seconds();
        self.complete_epoch(EpochMetrics {
            epoch: self.state.epoch + 1,
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
    fn train_epoch(&mut self, clock: Clock) -> Result<SplitMetrics, StopReason> {
        self.context.control.check()?;
        let epochs = self.context.params.epochs;
        if let Some(metrics) = self.trainable.solve(self.state.epoch + 1, epochs)? {
            self.check_loss(metrics.loss)?;
            return Ok(metrics);
        }
        let PartialEpoch { loss, correct, seen, .. } = self.state.partial;
        let mut metrics = RunningMetrics::new(self.context.compute);
        metrics.restore(loss, correct, seen);
        let end = self.run_steps(&mut metrics, clock);
        let (loss, correct, seen) = metrics.totals();
        self.state.partial = PartialEpoch { loss, correct, seen, seconds: clock.seconds() };
        end?;
        self.check_loss(loss)?;
        Ok(metrics.means())
    }

    fn run_steps(&mut self, metrics: &mut RunningMetrics, clock: Clock) -> Result<(), StopReason> {
        let TrainingContext { params, loss, .. } = self.context;
        let epoch = self.state.epoch + 1;
        let order = rng::shuffled(self.context.train, params.seed, epoch);
        let learning_rate = self.learning_rate();
        let steps = self.train_steps();
        self.report(Phase::Training, self.state.step, steps, clock);
        for batch in order.chunks(params.batch_size as usize).skip(self.state.step as usize) {
            self.context.control.check()?;
            let mut generator = rng::step_rng(params.seed, epoch, self.state.step);
            let targets = loss.targets(batch);
            let logits = self.trainable.training_logits(batch, &mut generator);
            let losses = loss.of_images(&logits, &targets);
            self.optimizer.step(&loss.mean(&losses, &targets), learning_rate);
            metrics.add(&losses, &loss.correct(&logits, &targets));
            self.state.step += 1;
            if self.report_is_due() {
                self.report(Phase::Training, self.state.step, steps, clock);
                self.check_loss(metrics.totals().0)?;
            }
        }
        Ok(())
    }

    /// Evaluates the current weights on the validation split.
    fn validate(
        &self,
        clock: Clock,
        check: impl Fn(&Control) -> Result<(), StopReason>,
    ) -> Result<SplitMetrics, StopReason> {
        let TrainingContext { validation, compute, params, .. } = self.context;
        let progress = |done, passes| {
            if done == 0 || self.report_is_due() {
                self.report(Phase::Validating, done, passes, clock);
            }
            check(self.context.control)
        };
        let batch_size = params.batch_size;
        let predict = |batch: &[Sample]| self.trainable.predict_logits(batch);
        let mut logits = evaluate::logits(predict, validation, compute, batch_size, progress)?;
        if self.context.scales_validation {
            let labels: Vec<_> = validation.iter().map(|sample| sample.label).collect();
            let factor = temperature::factor(&logits, &labels);
            logits = logits.iter().map(|logits| logits.scaled(factor)).collect();
        }
        let score = evaluation::split_metrics(&evaluate::scored_samples(validation, logits));
        self.check_loss(score.loss)?;
        Ok(score)
    }

    /// Adds the epoch to the position, saves a checkpoint, and only then reports it.
    fn complete_epoch(&mut self, metrics: EpochMetrics) -> Result<(), StopReason> {
        let EpochMetrics { epoch, val_loss, val_accuracy, seconds, .. } = metrics;
        let best = policy::is_better(&metrics, self.state.best.as_ref());
        if best {
            self.best_weights = copy(&self.trainable.weights());
            self.state.best = Some(BestEpoch { epoch, val_loss, val_accuracy });
        }
        let mean = self.state.seconds_per_epoch.unwrap_or(seconds);
        self.state.epoch = epoch;
        self.state.step = 0;
        self.state.partial = PartialEpoch::default();
        self.state.epochs.push(metrics);
        self.state.seconds_per_epoch = Some(mean + (seconds - mean) / f64::from(epoch));
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
        self.emit_epoch(&metrics);
        Ok(())
    }

    /// Reports the best so far: it may be of an epoch that the previous trainer reported, or of
    /// none.
    fn emit_best(&self) {
        if self.context.stage == Stage::Head {
            return;
        }
        if let Some(best) = self.state.best {
            self.context.events.send(&Event::Best(best));
        }
    }

    fn emit_epoch(&self, metrics: &EpochMetrics) {
        if self.context.stage == Stage::Head {
            return;
        }
        let best = self.state.best.is_some_and(|best| best.epoch == metrics.epoch);
        self.context.events.send(&Event::Epoch { metrics: *metrics, best });
    }

    fn save(&self) -> Result<(), StopReason> {
        Ok(self.context.checkpoints.save(&Checkpoint {
            state: self.state.clone(),
            weights: self.trainable.weights(),
            optimizer: self.optimizer.state(),
            best_weights: tensors::share(&self.best_weights),
        })?)
    }

    /// A loss that is NaN or infinite never becomes finite again.
    fn check_loss(&self, loss: f64) -> Result<(), StopReason> {
        if loss.is_finite() {
            return Ok(());
        }
        let (epoch, learning_rate) = (self.state.epoch + 1, self.learning_rate());
        let detail = if learning_rate > 0.0 {
            format!(
                "the loss became NaN or infinite in epoch {epoch}; the learning rate {learning_rate} is probably too high: start a new job with a lower one"
            )
        } else {
            format!("the loss became NaN or infinite in epoch {epoch}")
        };
        Err(Failure::new("nan_loss", detail).into())
    }

    /// That of the current epoch.
    fn learning_rate(&self) -> f64 {
        let Params { learning_rate, learning_rate_schedule, epochs, .. } = *self.context.params;
        learning_rate_schedule.unwrap_or_default().rate(learning_rate, self.state.epoch + 1, epochs)
    }

    fn train_steps(&self) -> u64 {
        self.context.train.len().div_ceil(self.context.params.batch_size as usize) as u64
    }

    fn report_is_due(&self) -> bool {
        self.reported.get().elapsed() >= self.context.events.report_every()
    }

    fn report(&self, phase: Phase, step: u64, steps: u64, clock: Clock) {
        let phase = if self.context.stage == Stage::Head { Phase::TrainingHead } else { phase };
        self.reported.set(Instant::now());
        let epochs = self.context.params.epochs;
        let epoch = self.state.epoch + 1;
        let progress = EpochProgress {
            seconds_per_epoch: self.state.seconds_per_epoch,
            elapsed: clock.seconds(),
            fraction_done: self.state.step as f64 / self.train_steps() as f64,
            epochs_left: epochs.saturating_sub(epoch),
        };
        let eta_seconds = policy::eta_seconds(progress);
        self.context.events.send(&Event::Progress(Progress {
            phase,
            epoch,
            epochs,
            step,
            steps,
            eta_seconds,
        }));
    }
}

fn checkpoint_mismatch(reason: String) -> Failure {
    Failure::new("bad_job", format!("the checkpoint does not match the network: {reason}"))
}

/// Tensors with their own memory: the optimizer keeps changing the network's.
fn copy(tensors: &Tensors) -> Tensors {
    tensors.iter().map(|(name, tensor)| (name.clone(), tensor.detach().copy())).collect()
}
