//! Two models on the same images: whether one is better, and how many images would tell. Rules
//! without I/O.
//!
//! - Accuracy: McNemar's exact test decides; the interval of the difference inverts the score test
//!   (Tango, 1998), which keeps its level also with few images.
//! - Log loss: a paired bootstrap, which draws images with both of their losses.
//!
//! Numbers agree with SciPy's, see `tests/fixtures/make_paired.py`.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::evaluation::Interval;

/// Level of the tests.
pub const SIGNIFICANCE: f64 = 0.05;
/// The 97.5th percentile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;
/// The 80th: for a power of 80%.
const Z_POWER: f64 = 0.841_621_233_572_914_3;
/// Samples that a bootstrap draws.
const RESAMPLES: usize = 2_000;
/// Halvings that find a bound: as many as a float has digits.
const HALVINGS: usize = 60;

/// How many images two models classify correctly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PairedCounts)]
pub struct Pairs {
    /// Images that both classify correctly.
    pub both_correct: u64,
    /// Images that only the first classifies correctly.
    pub only_first: u64,
    /// Images that only the second classifies correctly.
    pub only_second: u64,
    /// Images that neither classifies correctly.
    pub both_wrong: u64,
}

/// A difference, the first model's number minus the second's, and its 95% confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// The difference.
    pub value: f64,
    /// Its 95% confidence interval.
    pub interval: Interval,
}

/// The first model against the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ComparisonVerdict)]
pub enum Verdict {
    /// The first is better.
    Better,
    /// The first is worse.
    Worse,
    /// These images can't tell them apart.
    Inconclusive,
}

/// Two accuracies on the same images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PairedAccuracy {
    /// Correct and wrong images.
    #[serde(flatten)]
    pub pairs: Pairs,
    /// Accuracy of the first minus that of the second (interval: Tango's score interval).
    pub accuracy_difference: Difference,
    /// Two-sided p-value of McNemar's exact test.
    pub p_value: f64,
    /// By that test, at 5%.
    pub verdict: Verdict,
    /// Images that would show this difference with a power of 80%; null if there is no difference.
    pub images_needed: Option<u64>,
}

impl From<Pairs> for PairedAccuracy {
    fn from(pairs: Pairs) -> Self {
        let p_value = pairs.mcnemar();
        let verdict = match pairs.only_first.cmp(&pairs.only_second) {
            _ if p_value >= SIGNIFICANCE => Verdict::Inconclusive,
            std::cmp::Ordering::Less => Verdict::Worse,
            _ => Verdict::Better,
        };
        let accuracy_difference =
            Difference { value: pairs.difference(), interval: pairs.interval() };
        Self { pairs, accuracy_difference, p_value, verdict, images_needed: pairs.images_needed() }
    }
}

impl FromIterator<(bool, bool)> for Pairs {
    /// Counts images by whether the first and the second model classify them correctly.
    fn from_iter<T: IntoIterator<Item = (bool, bool)>>(images: T) -> Self {
        let mut pairs = Self::default();
        for image in images {
            *match image {
                (true, true) => &mut pairs.both_correct,
                (true, false) => &mut pairs.only_first,
                (false, true) => &mut pairs.only_second,
                (false, false) => &mut pairs.both_wrong,
            } += 1;
        }
        pairs
    }
}

impl Pairs {
    /// Number of images.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.both_correct + self.only_first + self.only_second + self.both_wrong
    }

    /// The numbers of images that only one of them classifies correctly, and of all.
    fn numbers(&self) -> (f64, f64, f64) {
        (self.only_first as f64, self.only_second as f64, self.count() as f64)
    }

    /// Accuracy of the first minus that of the second; 0 without images.
    #[must_use]
    pub fn difference(&self) -> f64 {
        let (first, second, count) = self.numbers();
        if count > 0.0 { (first - second) / count } else { 0.0 }
    }

    /// Two-sided p-value of McNemar's exact test: how likely at least such an imbalance is if, of the
    /// images that only one model classifies correctly, each is as likely to be the first's as the
    /// second's.
    #[must_use]
    pub fn mcnemar(&self) -> f64 {
        let (fewer, more) =
            (self.only_first.min(self.only_second), self.only_first.max(self.only_second));
        if fewer == more {
            return 1.0;
        }
        let discordant = fewer + more;
        // The probability of exactly `fewer` in a logarithm: 2^-discordant may round to 0.
        let chosen: f64 =
            (1..=fewer).map(|k| ((discordant - fewer + k) as f64 / k as f64).ln()).sum();
        let last = (chosen - discordant as f64 * std::f64::consts::LN_2).exp();
        // Each term from the one after it.
        let (mut term, mut sum) = (1.0, 1.0);
        for k in (1..=fewer).rev() {
            term *= k as f64 / (discordant - k + 1) as f64;
            sum += term;
        }
        (2.0 * last * sum).min(1.0)
    }

    /// 95% confidence interval of the difference (Tango, 1998).
    #[must_use]
    pub fn interval(&self) -> Interval {
        let observed = self.difference();
        let bound = |mut inside: f64, mut outside: f64| {
            for _ in 0..HALVINGS {
                let middle = f64::midpoint(inside, outside);
                if self.score(middle).abs() < Z {
                    inside = middle;
                } else {
                    outside = middle;
                }
            }
            inside
        };
        let (low, high) = if self.count() == 0 {
            (-1.0, 1.0)
        } else {
            (bound(observed, -1.0), bound(observed, 1.0))
        };
        Interval { confidence: 0.95, low, high }
    }

    /// The score statistic of a true difference of `difference`.
    fn score(&self, difference: f64) -> f64 {
        let (first, second, count) = self.numbers();
        let distance = first - second - count * difference;
        // The most likely probability that only the second is correct, given the difference.
        let a = 2.0 * count;
        let b = (2.0 * count - first + second) * difference - first - second;
        let c = -second * difference * (1.0 - difference);
        let only_second = ((b * b - 4.0 * a * c).max(0.0).sqrt() - b) / (2.0 * a);
        let variance = count * (2.0 * only_second + difference * (1.0 - difference));
        if variance > 0.0 { distance / variance.sqrt() } else { f64::INFINITY * distance.signum() }
    }

    /// Images that would show this difference with a power of 80% (Miettinen, 1968, with a
    /// correction for the exact test); `None` if there is no difference.
    #[must_use]
    pub fn images_needed(&self) -> Option<u64> {
        let (first, second, count) = self.numbers();
        let difference = self.difference().abs();
        if difference <= 0.0 {
            return None;
        }
        let discordant = (first + second) / count;
        let deviations =
            Z * discordant.sqrt() + Z_POWER * (discordant - difference * difference).sqrt();
        Some(((deviations / difference).powi(2) + difference.recip()).ceil() as u64)
    }
}

/// The mean of `first` minus that of `second`, numbers of the same images, and its 95% confidence
/// interval: the percentiles of 2000 bootstrap samples, always the same for the same numbers.
#[must_use]
pub fn mean_difference(first: &[f64], second: &[f64]) -> Difference {
    let differences: Vec<f64> =
        first.iter().zip(second).map(|(first, second)| first - second).collect();
    let count = differences.len();
    let mean = |sum: f64| sum / count.max(1) as f64;
    let value = mean(differences.iter().sum());
    if count == 0 {
        return Difference {
            value,
            interval: Interval { confidence: 0.95, low: value, high: value },
        };
    }
    let mut generator = ChaCha8Rng::seed_from_u64(0);
    let mut resample =
        || mean((0..count).map(|_| differences[generator.random_range(0..count)]).sum());
    let mut means: Vec<f64> = (0..RESAMPLES).map(|_| resample()).collect();
    means.sort_by(f64::total_cmp);
    let tail = RESAMPLES / 40;
    let interval =
        Interval { confidence: 0.95, low: means[tail - 1], high: means[RESAMPLES - tail] };
    Difference { value, interval }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Fixture {
        accuracy: Vec<Accuracy>,
        loss: Vec<Loss>,
    }

    #[derive(Deserialize)]
    struct Accuracy {
        pairs: [u64; 4],
        p: f64,
        interval: [f64; 2],
        images_needed: Option<u64>,
    }

    #[derive(Deserialize)]
    struct Loss {
        first: Vec<f64>,
        second: Vec<f64>,
        interval: [f64; 2],
    }

    fn fixture() -> Fixture {
        serde_json::from_str(include_str!("../../tests/fixtures/paired.json")).unwrap()
    }

    const fn pairs([both_correct, only_first, only_second, both_wrong]: [u64; 4]) -> Pairs {
        Pairs { both_correct, only_first, only_second, both_wrong }
    }

    #[test]
    fn accuracies_are_compared_as_scipy_does() {
        for Accuracy { pairs: numbers, p, interval: [low, high], images_needed } in
            fixture().accuracy
        {
            let pairs = pairs(numbers);
            assert!((pairs.mcnemar() - p).abs() < 1e-9 * p.max(1e-3), "{numbers:?}");
            let ours = pairs.interval();
            let error = (ours.low - low).abs().max((ours.high - high).abs());
            assert!(error < 1e-6, "{numbers:?} {ours:?}");
            match (pairs.images_needed(), images_needed) {
                (None, None) => {}
                // The formula is an approximation of the exact power.
                (Some(ours), Some(exact)) => {
                    let error = (ours as f64 / exact as f64 - 1.0).abs();
                    assert!(error < 0.13, "{numbers:?} {ours} {exact}");
                }
                other => panic!("{numbers:?} {other:?}"),
            }
        }
    }

    #[test]
    fn losses_are_compared_as_scipy_does() {
        for Loss { first, second, interval: [low, high] } in fixture().loss {
            let Difference { value, interval } = mean_difference(&first, &second);
            let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / numbers.len() as f64;
            assert!((value - (mean(&first) - mean(&second))).abs() < 1e-12);
            // Percentiles of 2000 samples vary by a few hundredths of the width.
            let error = (interval.low - low).abs().max((interval.high - high).abs());
            assert!(error < 0.06 * (high - low), "{interval:?} {low} {high}");
            assert_eq!(mean_difference(&first, &second), Difference { value, interval });
        }
    }

    #[test]
    fn the_verdict_is_that_of_the_exact_test() {
        let verdict = |numbers| PairedAccuracy::from(pairs(numbers)).verdict;
        assert_eq!(verdict([100, 6, 0, 3]), Verdict::Better);
        assert_eq!(verdict([100, 0, 6, 3]), Verdict::Worse);
        // The interval is just above 0 here.
        assert_eq!(verdict([100, 5, 0, 3]), Verdict::Inconclusive);
        assert_eq!(verdict([100, 0, 0, 0]), Verdict::Inconclusive);
    }

    #[test]
    fn the_order_of_the_models_only_changes_signs() {
        for [a, b, c, d] in fixture().accuracy.into_iter().map(|it| it.pairs) {
            let (one, other) = (pairs([a, b, c, d]), pairs([a, c, b, d]));
            assert_eq!(one.mcnemar(), other.mcnemar());
            assert_eq!(one.images_needed(), other.images_needed());
            let (one, other) = (one.interval(), other.interval());
            assert!((one.low + other.high).abs() < 1e-9 && (one.high + other.low).abs() < 1e-9);
        }
    }

    #[test]
    fn extremes_have_finite_numbers() {
        for numbers in [[0; 4], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 9], [0, 50_000, 40_000, 0]] {
            let PairedAccuracy { accuracy_difference: difference, p_value, .. } =
                pairs(numbers).into();
            let Interval { low, high, .. } = difference.interval;
            assert!((0.0..=1.0).contains(&p_value), "{numbers:?} {p_value}");
            assert!((-1.0..=high).contains(&low) && high <= 1.0, "{numbers:?} {low} {high}");
            assert!((low..=high).contains(&difference.value), "{numbers:?}");
        }
        assert_eq!(mean_difference(&[], &[]).value, 0.0);
        assert_eq!(mean_difference(&[0.5], &[0.25]).interval.low, 0.25);
    }

    #[test]
    fn images_are_counted_by_who_is_right() {
        let images = [(true, true), (true, false), (true, false), (false, true), (false, false)];
        assert_eq!(images.into_iter().collect::<Pairs>(), pairs([1, 2, 1, 1]));
    }
}
