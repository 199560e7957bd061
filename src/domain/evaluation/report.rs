//! The confusion matrix, and scikit-learn's `classification_report` of it. A fraction of zero
//! images is 0 (`zero_division=0`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ScoredSample, THRESHOLD};

/// Confusion matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfusionMatrix {
    /// Class names, in the order of their indices.
    pub labels: Vec<String>,
    /// `matrix[i][j]`: images of true class `i` predicted as class `j`.
    pub matrix: Vec<Vec<u64>>,
}

impl ConfusionMatrix {
    pub(super) fn new(labels: Vec<String>, samples: &[ScoredSample]) -> Self {
        let mut matrix = vec![vec![0; labels.len()]; labels.len()];
        for sample in samples {
            let row = matrix.get_mut(sample.label);
            if let Some(count) = row.and_then(|row| row.get_mut(sample.predicted(THRESHOLD))) {
                *count += 1;
            }
        }
        Self { labels, matrix }
    }

    /// Number of correctly classified images.
    #[must_use]
    pub fn correct(&self) -> u64 {
        self.matrix.iter().enumerate().map(|(class, row)| row[class]).sum()
    }

    /// The classes, those first whose images, or predictions, are wrong most often.
    #[must_use]
    pub fn most_confused(&self) -> Vec<usize> {
        let errors = |class: usize| {
            self.support(class) + self.predicted_count(class) - 2 * self.matrix[class][class]
        };
        let mut classes: Vec<_> =
            (0..self.labels.len()).map(|class| (class, errors(class))).collect();
        classes.sort_by_key(|(_, errors)| std::cmp::Reverse(*errors));
        classes.into_iter().map(|(class, _)| class).collect()
    }

    /// Pairs of a true class and the class it was predicted as, with the number of images, the most
    /// frequent first; none with none.
    #[must_use]
    pub fn worst_pairs(&self) -> Vec<(&str, &str, u64)> {
        let mut pairs: Vec<_> = self
            .matrix
            .iter()
            .enumerate()
            .flat_map(|(class, row)| row.iter().enumerate().map(move |it| (class, it)))
            .filter(|(class, (predicted, count))| class != predicted && **count > 0)
            .map(|(class, (predicted, count))| {
                (&*self.labels[class], &*self.labels[predicted], *count)
            })
            .collect();
        pairs.sort_by_key(|(_, _, count)| std::cmp::Reverse(*count));
        pairs
    }

    /// Images of true class `class`.
    fn support(&self, class: usize) -> u64 {
        self.matrix[class].iter().sum()
    }

    /// Images predicted as class `class`.
    fn predicted_count(&self, class: usize) -> u64 {
        self.matrix.iter().map(|row| row[class]).sum()
    }
}

/// Classification report: precision, recall and F1 per class, with averages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ClassificationReport)]
pub struct Report {
    /// Scores by class name; a class named like an average is listed as `<name> (class)`.
    #[serde(flatten)]
    pub classes: BTreeMap<String, ClassScore>,
    /// Macro average.
    pub macro_avg: ClassScore,
    /// Average weighted by support.
    pub weighted_avg: ClassScore,
}

/// Scores of one class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClassScore {
    /// Precision.
    pub precision: f64,
    /// Recall.
    pub recall: f64,
    /// F1: harmonic mean of precision and recall.
    pub f1: f64,
    /// Number of images of this class (support).
    pub support: u64,
}

impl ClassScore {
    fn of(matrix: &ConfusionMatrix, class: usize) -> Self {
        let share =
            |of: u64| if of == 0 { 0.0 } else { matrix.matrix[class][class] as f64 / of as f64 };
        let (predicted, support) = (matrix.predicted_count(class), matrix.support(class));
        let (precision, recall) = (share(predicted), share(support));
        // 2pr / (p + r), from whole numbers.
        let f1 = 2.0 * share(predicted + support);
        Self { precision, recall, f1, support }
    }

    fn mean(scores: &[Self], weight: impl Fn(&Self) -> f64) -> Self {
        let weights: f64 = scores.iter().map(&weight).sum();
        let mean = |value: fn(&Self) -> f64| {
            let sum: f64 = scores.iter().map(|score| weight(score) * value(score)).sum();
            if weights > 0.0 { sum / weights } else { 0.0 }
        };
        Self {
            precision: mean(|score| score.precision),
            recall: mean(|score| score.recall),
            f1: mean(|score| score.f1),
            support: scores.iter().map(|score| score.support).sum(),
        }
    }
}

impl Report {
    pub(super) fn new(matrix: &ConfusionMatrix) -> Self {
        let scores: Vec<ClassScore> =
            (0..matrix.labels.len()).map(|class| ClassScore::of(matrix, class)).collect();
        Self {
            macro_avg: ClassScore::mean(&scores, |_| 1.0),
            weighted_avg: ClassScore::mean(&scores, |score| score.support as f64),
            classes: matrix.labels.iter().map(|name| key(name)).zip(scores).collect(),
        }
    }

    pub(super) fn as_text(&self, labels: &[String], accuracy: f64) -> String {
        let keys: Vec<String> = labels.iter().map(|name| key(name)).collect();
        let names = keys.iter().map(String::as_str).chain(["weighted avg"]);
        let width = names.map(|name| name.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "{:width$}  {:>9}  {:>9}  {:>9}  {:>9}\n",
            "", "precision", "recall", "f1-score", "support"
        );
        let mut row = |name: &str, score: &ClassScore| {
            let ClassScore { precision, recall, f1, support } = score;
            let _ = writeln!(
                text,
                "{name:>width$}  {precision:>9.4}  {recall:>9.4}  {f1:>9.4}  {support:>9}"
            );
        };
        for (name, score) in keys.iter().filter_map(|key| self.classes.get_key_value(key)) {
            row(name, score);
        }
        row("macro avg", &self.macro_avg);
        row("weighted avg", &self.weighted_avg);
        let support = self.macro_avg.support;
        let _ = writeln!(
            text,
            "{:>width$}  {:>9}  {:>9}  {accuracy:>9.4}  {support:>9}",
            "accuracy", "", ""
        );
        text
    }
}

fn key(name: &str) -> String {
    match name {
        "macro_avg" | "weighted_avg" => format!("{name} (class)"),
        _ => name.to_owned(),
    }
}
