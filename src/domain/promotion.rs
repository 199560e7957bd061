//! When a new model may replace the one in service, if both have the same classes: the rules that a
//! server can be set to, without I/O.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::paired::PairedAccuracy;

/// Rule for replacing the model in service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum PromotionRule {
    /// Its accuracy is equal or higher
    #[default]
    NotLessAccurate,
    /// The test images show that it is not worse: the 95% confidence interval of the paired accuracy
    /// difference lies above minus --promotion-margin
    NotWorse,
}

/// A rule and its margin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Promotion {
    /// The rule.
    pub rule: PromotionRule,
    /// How much lower the accuracy may be, 0 to 1; of [`PromotionRule::NotWorse`] alone.
    pub margin: f64,
}

impl Promotion {
    /// Whether a model is shown to be not worse than the one that it was paired with, and why, in
    /// words that follow its name. `other` is the name of that one.
    pub(super) fn not_worse(self, paired: &PairedAccuracy, other: &str) -> (bool, String) {
        let difference = &paired.accuracy_difference;
        let (low, high) = (difference.interval.low, difference.interval.high);
        let figures = format!(
            "difference {} points, 95% CI {} to {}, {} test images",
            points(difference.value),
            points(low),
            points(high),
            paired.pairs.count()
        );
        let margin = format!("{:.1}", self.margin * 100.0);
        let is_shown = low > -self.margin;
        let why = match (is_shown, self.margin > 0.0) {
            (true, true) => {
                format!(
                    "it is not more than {margin} points less accurate than {other} ({figures})"
                )
            }
            (true, false) => format!("it is more accurate than {other} ({figures})"),
            (false, true) => format!(
                "it is not shown to be at most {margin} points less accurate than {other} ({figures})"
            ),
            (false, false) => {
                format!("it is not shown to be more accurate than {other} ({figures})")
            }
        };
        (is_shown, why)
    }
}

/// A difference of accuracies in percentage points, with its sign: `+1.5`, `−0.5`, `0.0`.
#[must_use]
pub fn points(difference: f64) -> String {
    let text = format!("{:.1}", (difference * 100.0).abs());
    match text.as_str() {
        "0.0" => text,
        _ if difference < 0.0 => format!("−{text}"),
        _ => format!("+{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::paired::Pairs;

    fn not_worse(margin: f64, only_first: u64, only_second: u64, count: u64) -> (bool, String) {
        let both_correct = count - only_first - only_second;
        let pairs = Pairs { both_correct, only_first, only_second, both_wrong: 0 };
        Promotion { rule: PromotionRule::NotWorse, margin }.not_worse(&pairs.into(), "first")
    }

    #[test]
    fn a_model_has_to_be_shown_not_to_be_worse() {
        // As accurate, but 200 images leave room for 2 points and more.
        let (shown, why) = not_worse(0.02, 6, 6, 200);
        assert!(!shown);
        assert_eq!(
            why,
            "it is not shown to be at most 2.0 points less accurate than first (difference 0.0 points, 95% CI −3.8 to +3.8, 200 test images)"
        );
        assert!(not_worse(0.02, 6, 6, 1000).0);
        // Worse, and shown to be so by little.
        assert!(not_worse(0.02, 20, 40, 10_000).0);
        assert!(!not_worse(0.02, 2, 40, 1000).0);
    }

    #[test]
    fn without_a_margin_it_has_to_be_better() {
        assert!(!not_worse(0.0, 6, 6, 1000).0);
        let (shown, why) = not_worse(0.0, 31, 12, 1000);
        assert!(shown);
        assert!(why.starts_with("it is more accurate than first (difference +1.9 points"), "{why}");
    }
}
