//! What a network's outputs mean. It follows from the number of classes: one sigmoid output for two
//! of them, a softmax over one output each for more.

use super::dataset::Classes;

/// How outputs become probabilities. Logits are always rows of [`Objective::outputs`] numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// Two classes: the output is the logit of the second.
    Sigmoid,
    /// More: an output for each of that many.
    Softmax(usize),
}

impl Objective {
    /// That of a classifier of `classes`.
    #[must_use]
    pub fn of(classes: &Classes) -> Self {
        match classes.names().len() {
            0..=2 => Self::Sigmoid,
            count => Self::Softmax(count),
        }
    }

    /// That of a network with this many outputs.
    const fn with_outputs(outputs: usize) -> Self {
        match outputs {
            0 | 1 => Self::Sigmoid,
            count => Self::Softmax(count),
        }
    }

    /// Outputs of the network.
    #[must_use]
    pub const fn outputs(self) -> usize {
        match self {
            Self::Sigmoid => 1,
            Self::Softmax(classes) => classes,
        }
    }

    /// Number of classes.
    #[must_use]
    pub const fn classes(self) -> usize {
        match self {
            Self::Sigmoid => 2,
            Self::Softmax(classes) => classes,
        }
    }
}

/// A network's outputs for one image: one logit, or one for each class.
#[derive(Debug, Clone, PartialEq)]
pub struct Logits(pub Vec<f64>);

impl Logits {
    /// What the logits mean.
    #[must_use]
    pub const fn objective(&self) -> Objective {
        Objective::with_outputs(self.0.len())
    }

    /// One logit for each class: the first of two has 0.
    pub fn by_class(&self) -> impl Iterator<Item = f64> + Clone {
        let first = (self.objective() == Objective::Sigmoid).then_some(0.0);
        first.into_iter().chain(self.0.iter().copied())
    }

    /// The probability of each class, 0 to 1.
    #[must_use]
    pub fn probabilities(&self) -> Vec<f64> {
        match *self.0 {
            [logit] => {
                let second = sigmoid(logit);
                vec![1.0 - second, second]
            }
            _ => {
                let largest = self.by_class().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<_> = self.by_class().map(|it| (it - largest).exp()).collect();
                let sum: f64 = weights.iter().sum();
                weights.into_iter().map(|weight| weight / sum).collect()
            }
        }
    }

    /// The class with the highest logit; of equal ones, the second of two, or the first of more.
    #[must_use]
    pub fn predicted(&self) -> usize {
        if let [logit] = *self.0 {
            return usize::from(logit >= 0.0);
        }
        let logits = self.by_class().enumerate();
        logits.fold((0, f64::NEG_INFINITY), |best, it| if it.1 > best.1 { it } else { best }).0
    }

    /// Cross-entropy with `label`, from the logits: exact even where the probability has rounded to
    /// 0 or 1.
    #[must_use]
    pub fn loss(&self, label: usize) -> f64 {
        if let [logit] = *self.0 {
            let towards_the_other = if label == 1 { -logit } else { logit };
            return towards_the_other.max(0.0) + (-towards_the_other.abs()).exp().ln_1p();
        }
        let largest = self.by_class().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.by_class().map(|logit| (logit - largest).exp()).sum();
        let of_label = self.0.get(label).copied().unwrap_or(f64::NEG_INFINITY);
        sum.ln() + largest - of_label
    }

    /// Logits divided by a temperature, given its inverse.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        Self(self.0.iter().map(|logit| logit * factor).collect())
    }

    /// Whether all are finite.
    #[must_use]
    pub fn are_numbers(&self) -> bool {
        self.0.iter().all(|logit| logit.is_finite())
    }
}

/// The variant whose exponential can't overflow.
fn sigmoid(logit: f64) -> f64 {
    let small = (-logit.abs()).exp();
    if logit >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_logit_is_that_of_the_second_of_two_classes() {
        for logit in [-800.0, -3.0, 0.0, 0.1, 30.0, 800.0] {
            let (one, two) = (Logits(vec![logit]), Logits(vec![0.0, logit]));
            for (ours, theirs) in one.probabilities().iter().zip(two.probabilities()) {
                assert!((ours - theirs).abs() < 1e-12);
            }
            for label in [0, 1] {
                assert!((one.loss(label) - two.loss(label)).abs() < 1e-12, "{logit} {label}");
            }
        }
        assert_eq!((Logits(vec![0.0]).predicted(), Logits(vec![0.0, 0.0]).predicted()), (1, 0));
    }

    #[test]
    fn probabilities_of_huge_logits_are_finite_and_sum_to_one() {
        let logits = Logits(vec![1e300, -1e300, 3.0]);
        assert_eq!(logits.probabilities(), [1.0, 0.0, 0.0]);
        assert_eq!((logits.predicted(), logits.loss(0)), (0, 0.0));
        let even = Logits(vec![7.0; 4]);
        assert_eq!(even.probabilities(), [0.25; 4]);
        assert!((even.loss(2) - 4.0_f64.ln()).abs() < 1e-12);
    }
}
