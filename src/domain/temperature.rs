//! Temperature scaling (Guo, Pleiss, Sun and Weinberger, 2017): one factor for all logits, which
//! changes how sure a classifier is but never its answer.

use super::objective::Logits;

/// Factors that are tried.
const RANGE: (f64, f64) = (1e-3, 1e3);
/// Halvings of the range, in logarithms: far below what a probability shows.
const HALVINGS: u32 = 40;

/// The factor by which to multiply logits so that their mean cross-entropy with `labels` is
/// smallest: the inverse of the temperature.
///
/// As after Platt (1999), a few images that happen to be classified without a mistake prove no
/// certainty: the loss is that of labels of which one in `n + 2` is wrong.
#[must_use]
pub fn factor(logits: &[Logits], labels: &[usize]) -> f64 {
    let wrong = 1.0 / (labels.len() as f64 + 2.0);
    let (mut low, mut high) = (RANGE.0.ln(), RANGE.1.ln());
    // The loss is convex in the factor.
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        let images = logits.iter().zip(labels);
        let slope: f64 =
            images.map(|(logits, label)| slope(logits, *label, middle.exp(), wrong)).sum();
        if slope > 0.0 {
            high = middle;
        } else {
            low = middle;
        }
    }
    f64::midpoint(low, high).exp()
}

/// The derivative of an image's cross-entropy by the factor: the mean logit under the predicted
/// probabilities minus that under the label's.
fn slope(logits: &Logits, label: usize, factor: f64, wrong: f64) -> f64 {
    let classes = logits.objective().classes() as f64;
    let largest = logits.by_class().fold(f64::NEG_INFINITY, f64::max);
    let (mut weights, mut predicted) = (0.0, 0.0);
    for logit in logits.by_class() {
        let weight = (factor * (logit - largest)).exp();
        weights += weight;
        predicted += weight * logit;
    }
    let of_label = logits.by_class().nth(label).unwrap_or_default();
    let others = (logits.by_class().sum::<f64>() - of_label) / (classes - 1.0);
    predicted / weights - (1.0 - wrong) * of_label - wrong * others
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(logits: &[f64], outputs: usize) -> Vec<Logits> {
        logits.chunks(outputs).map(|row| Logits(row.to_vec())).collect()
    }

    /// 100 images with the logits ±`size`, of which `right` are classified correctly.
    fn binary(size: f64, right: usize) -> f64 {
        let labels: Vec<usize> = (0..100).map(|it| it % 2).collect();
        let logit = |label: usize, right: bool| if (label == 1) == right { size } else { -size };
        let logits: Vec<_> = labels
            .iter()
            .enumerate()
            .map(|(at, label)| Logits(vec![logit(*label, at < right)]))
            .collect();
        factor(&logits, &labels)
    }

    /// The factor is known in closed form: the probability of the answer becomes the accuracy.
    fn expected(accuracy: f64, size: f64) -> f64 {
        let accuracy = accuracy * (1.0 - 1.0 / 102.0) + (1.0 - accuracy) / 102.0;
        (accuracy / (1.0 - accuracy)).ln() / size
    }

    #[test]
    fn probabilities_become_the_accuracy() {
        for (size, right) in [(0.1, 90), (5.0, 90), (1.0, 60)] {
            let factor = binary(size, right);
            let expected = expected(right as f64 / 100.0, size);
            assert!((factor / expected - 1.0).abs() < 1e-6, "{factor} {expected}");
        }
    }

    #[test]
    fn without_a_mistake_the_factor_is_finite_and_more_images_make_it_surer() {
        assert!((binary(1.0, 100) / expected(1.0, 1.0) - 1.0).abs() < 1e-6);
        assert!(factor(&rows(&[-1.0, 1.0], 1), &[0, 1]) < binary(1.0, 100));
    }

    #[test]
    fn one_output_is_two_with_the_first_at_zero() {
        let labels = [0, 1, 1, 0, 1];
        let one = [-2.0, 0.3, -0.1, -1.0, 4.0];
        let two: Vec<f64> = one.iter().flat_map(|logit| [5.0, 5.0 + logit]).collect();
        let factors = factor(&rows(&one, 1), &labels) / factor(&rows(&two, 2), &labels);
        assert!((factors - 1.0).abs() < 1e-6);
    }

    #[test]
    fn answers_worse_than_guessing_and_huge_logits_stay_in_range() {
        assert!((factor(&rows(&[1.0, -1.0], 1), &[0, 1]) / RANGE.0 - 1.0).abs() < 1e-6);
        let factor = factor(&rows(&[1e30, -1e30, 3e38, 0.0], 2), &[0, 1]);
        assert!(factor.is_finite() && factor > 0.0);
    }
}
