//! Curves over all thresholds, of one class against the rest. As in scikit-learn's
//! `precision_recall_curve` and `roc_curve`, both with `drop_intermediate=True`, points on the line
//! between their neighbours are omitted, which changes no area.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The probability of a class, and whether the image is of that class.
pub(super) type Score = (f64, bool);

/// True and false positives at each distinct probability, the highest first.
struct Counts {
    thresholds: Vec<f64>,
    true_positives: Vec<f64>,
    false_positives: Vec<f64>,
}

impl Counts {
    fn new(mut sorted: Vec<Score>) -> Self {
        sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut counts =
            Self { thresholds: vec![], true_positives: vec![], false_positives: vec![] };
        let (mut positives, mut negatives) = (0.0, 0.0);
        for equal in sorted.chunk_by(|a, b| a.0 == b.0) {
            let right = equal.iter().filter(|(_, positive)| *positive).count();
            positives += right as f64;
            negatives += (equal.len() - right) as f64;
            counts.thresholds.extend(equal.first().map(|(probability, _)| *probability));
            counts.true_positives.push(positives);
            counts.false_positives.push(negatives);
        }
        counts
    }

    /// The points for which `keep` holds, and the first and the last. `keep` gets the points
    /// before, at and after one as (true, false positives).
    fn thinned(self, keep: impl Fn([(f64, f64); 3]) -> bool) -> Self {
        let point = |index: usize| (self.true_positives[index], self.false_positives[index]);
        let last = self.thresholds.len().saturating_sub(1);
        let kept: Vec<usize> = (0..self.thresholds.len())
            .filter(|&index| {
                index == 0
                    || index == last
                    || keep([point(index - 1), point(index), point(index + 1)])
            })
            .collect();
        let pick = |values: &[f64]| kept.iter().map(|&index| values[index]).collect();
        Self {
            thresholds: pick(&self.thresholds),
            true_positives: pick(&self.true_positives),
            false_positives: pick(&self.false_positives),
        }
    }
}

/// Precision–recall curve of a class: the second of two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PrCurve {
    /// Precision at each threshold, then 1.
    pub precision: Vec<f64>,
    /// Recall at each threshold, then 0.
    pub recall: Vec<f64>,
    /// Decision thresholds, ascending.
    pub thresholds: Vec<f64>,
    /// Area under the curve, by the trapezoidal rule.
    pub auc: f64,
    /// Average precision (no interpolation).
    pub average_precision: f64,
}

impl PrCurve {
    pub(super) fn new(scores: Vec<Score>) -> Self {
        let counts = Counts::new(scores).thinned(|[(a, _), (b, _), (c, _)]| a != b || b != c);
        let positives = counts.true_positives.last().copied().unwrap_or(0.0);
        let predicted = counts.true_positives.iter().zip(&counts.false_positives);
        let (mut precision, mut recall): (Vec<f64>, Vec<f64>) = predicted
            .map(|(right, wrong)| {
                // Without a positive image, recall is 1.
                let recall = if positives > 0.0 { right / positives } else { 1.0 };
                (right / (right + wrong), recall)
            })
            .rev()
            .unzip();
        precision.push(1.0);
        recall.push(0.0);
        let thresholds = counts.thresholds.into_iter().rev().collect();
        let steps = recall.windows(2).zip(&precision);
        let average_precision =
            steps.map(|(recall, precision)| (recall[0] - recall[1]) * precision).sum::<f64>();
        let auc = trapezoid(&recall, &precision);
        Self { precision, recall, thresholds, auc, average_precision }
    }

    /// The threshold with the highest F1, and that F1; of equal ones, the closest to 0.5.
    pub(super) fn best_f1(&self) -> Option<(f64, f64)> {
        let f1 = |precision: f64, recall: f64| {
            if precision + recall > 0.0 {
                2.0 * precision * recall / (precision + recall)
            } else {
                0.0
            }
        };
        let points = self.thresholds.iter().zip(self.precision.iter().zip(&self.recall));
        points.map(|(&threshold, (&precision, &recall))| (threshold, f1(precision, recall))).max_by(
            |a, b| {
                let nearer = (b.0 - 0.5).abs().total_cmp(&(a.0 - 0.5).abs());
                a.1.total_cmp(&b.1).then(nearer)
            },
        )
    }
}

/// ROC curve of a class: the second of two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RocCurve {
    /// False positive rates, ascending; empty if there are only images of the class, or none of it.
    pub fpr: Vec<f64>,
    /// True positive rates, ascending.
    pub tpr: Vec<f64>,
    /// Area under the ROC curve; null if there are only images of the class, or none
    /// of it.
    pub auc: Option<f64>,
}

impl RocCurve {
    pub(super) fn new(scores: Vec<Score>) -> Self {
        let counts = Counts::new(scores)
            .thinned(|[a, b, c]| c.0 - b.0 != b.0 - a.0 || c.1 - b.1 != b.1 - a.1);
        let last = |values: &[f64]| values.last().copied().filter(|&last| last > 0.0);
        let (Some(positives), Some(negatives)) =
            (last(&counts.true_positives), last(&counts.false_positives))
        else {
            return Self { fpr: vec![], tpr: vec![], auc: None };
        };
        let share = |values: &[f64], all: f64| -> Vec<f64> {
            [0.0].into_iter().chain(values.iter().map(|value| value / all)).collect()
        };
        let fpr = share(&counts.false_positives, negatives);
        let tpr = share(&counts.true_positives, positives);
        let auc = Some(trapezoid(&fpr, &tpr));
        Self { fpr, tpr, auc }
    }
}

/// Area under the line through the points, whose `x` are monotonic.
fn trapezoid(x: &[f64], y: &[f64]) -> f64 {
    let area = x.windows(2).zip(y.windows(2)).map(|(x, y)| (x[1] - x[0]) * (y[0] + y[1]) / 2.0);
    area.sum::<f64>().abs()
}
