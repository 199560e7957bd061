//! Learning rate schedules.

use serde::{Deserialize, Serialize};

/// Learning rate schedule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// The same learning rate in each epoch, as in the notebook.
    #[default]
    Constant,
    /// Cosine decay from the initial learning rate to almost zero in the last epoch (Loshchilov and
    /// Hutter, 2017, without restarts).
    Cosine,
}

impl Schedule {
    /// The learning rate of `epoch`, starting at 1, of `epochs`, if the first has `rate`.
    #[must_use]
    pub fn rate(self, rate: f64, epoch: u32, epochs: u32) -> f64 {
        match self {
            Self::Constant => rate,
            Self::Cosine => {
                let done = f64::from(epoch.saturating_sub(1)) / f64::from(epochs.max(1));
                rate * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cosine_starts_at_the_learning_rate_and_comes_down_to_nearly_none() {
        let rates = [1, 2, 3, 4].map(|epoch| Schedule::Cosine.rate(0.1, epoch, 4));
        for (rate, expected) in rates.into_iter().zip([0.1, 0.085_355_339, 0.05, 0.014_644_661]) {
            assert!((rate - expected).abs() < 1e-9, "{rate} is not {expected}");
        }
        assert_eq!([1, 4].map(|epoch| Schedule::Constant.rate(0.1, epoch, 4)), [0.1, 0.1]);
    }
}
