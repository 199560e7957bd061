//! The rules of training, without a tensor: which epoch is best, when to stop, how long it takes.

use crate::domain::{job::BestEpoch, metrics::EpochMetrics};

/// Whether `epoch` beats the best so far: a lower validation loss; of equal ones, the earlier.
#[must_use]
pub fn is_better(epoch: &EpochMetrics, best: Option<&BestEpoch>) -> bool {
    best.is_none_or(|best| epoch.val_loss < best.val_loss)
}

/// Whether training is finished after `epoch` of `epochs`: it was the last, or the validation loss
/// has not decreased for `patience` epochs.
#[must_use]
pub fn is_finished(
    epoch: u32,
    epochs: u32,
    best: Option<&BestEpoch>,
    patience: Option<u32>,
) -> bool {
    let waited = epoch.saturating_sub(best.map_or(0, |best| best.epoch));
    epoch >= epochs || patience.is_some_and(|patience| waited >= patience)
}

/// The progress of an epoch, and the measured times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochProgress {
    /// Mean seconds of the epochs so far; `None` in the first.
    pub seconds_per_epoch: Option<f64>,
    /// Seconds that this epoch has taken.
    pub elapsed: f64,
    /// Completed fraction of this epoch's training steps, 0 to 1.
    pub fraction_done: f64,
    /// Epochs to come after this one.
    pub epochs_left: u32,
}

/// Estimated seconds until training is done, if nothing stops it earlier. In the first epoch it is
/// estimated from the steps so far, after a twentieth of them.
#[must_use]
pub fn eta_seconds(progress: EpochProgress) -> Option<f64> {
    let projected =
        (progress.fraction_done >= 0.05).then(|| progress.elapsed / progress.fraction_done);
    let epoch = progress.seconds_per_epoch.or(projected)?;
    let rest = (epoch - progress.elapsed).max(0.0);
    Some(rest + epoch * f64::from(progress.epochs_left))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(val_loss: f64) -> EpochMetrics {
        EpochMetrics {
            epoch: 2,
            train_loss: 0.0,
            train_accuracy: 0.0,
            val_loss,
            val_accuracy: 0.0,
            learning_rate: 0.0,
            seconds: 0.0,
            images_per_second: 0.0,
        }
    }

    fn best(epoch: u32, val_loss: f64) -> BestEpoch {
        BestEpoch { epoch, val_loss, val_accuracy: 0.0 }
    }

    #[test]
    fn the_lowest_validation_loss_is_best_and_the_earlier_of_equals() {
        assert!(is_better(&epoch(0.7), None));
        assert!(is_better(&epoch(0.6), Some(&best(1, 0.7))));
        assert!(!is_better(&epoch(0.7), Some(&best(1, 0.7))));
        assert!(!is_better(&epoch(0.8), Some(&best(1, 0.7))));
    }

    #[test]
    fn training_is_over_after_the_last_epoch_or_when_patience_is() {
        assert!(is_finished(30, 30, None, None));
        assert!(!is_finished(29, 30, Some(&best(1, 0.5)), None));
        assert!(!is_finished(3, 30, Some(&best(1, 0.5)), Some(3)));
        assert!(is_finished(4, 30, Some(&best(1, 0.5)), Some(3)));
    }

    #[test]
    fn the_time_left_follows_the_pace() {
        let progress = EpochProgress {
            seconds_per_epoch: None,
            elapsed: 1.0,
            fraction_done: 0.01,
            epochs_left: 2,
        };
        assert_eq!(eta_seconds(progress), None);
        assert_eq!(eta_seconds(EpochProgress { fraction_done: 0.25, ..progress }), Some(3.0 + 8.0));
        assert_eq!(
            eta_seconds(EpochProgress { seconds_per_epoch: Some(10.0), ..progress }),
            Some(9.0 + 20.0)
        );
        assert_eq!(
            eta_seconds(EpochProgress { seconds_per_epoch: Some(0.5), ..progress }),
            Some(1.0)
        );
    }
}
