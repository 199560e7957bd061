//! Curves of more than two classes, each against the rest, with averages as in scikit-learn's
//! `roc_auc_score(multi_class="ovr")` and `average_precision_score`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ScoredSample,
    curves::{PrCurve, RocCurve, Score},
};

/// Curves of each class against the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OneVsRest {
    /// The curves of each class, in the order of their indices.
    pub classes: Vec<ClassCurves>,
    /// Curves of all decisions, each class of each image being one.
    pub micro: Curves,
    /// Means over the classes.
    #[serde(rename = "macro")]
    pub macro_avg: MacroAverages,
}

/// Curves of one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClassCurves {
    /// Class name.
    pub label: String,
    /// Its curves.
    #[serde(flatten)]
    pub curves: Curves,
}

/// Both curves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Curves {
    /// Precision–recall curve.
    pub pr_curve: PrCurve,
    /// ROC curve.
    pub roc_curve: RocCurve,
}

/// Means over the classes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MacroAverages {
    /// Mean area under the ROC curve; null if a class has no images.
    pub roc_auc: Option<f64>,
    /// Mean average precision, 0 for a class without images.
    pub average_precision: f64,
}

impl Curves {
    pub(super) fn new(scores: Vec<Score>) -> Self {
        Self { pr_curve: PrCurve::new(scores.clone()), roc_curve: RocCurve::new(scores) }
    }
}

impl OneVsRest {
    pub(super) fn new(labels: &[String], samples: &[ScoredSample]) -> Self {
        let all: Vec<_> =
            samples.iter().map(|sample| (sample.logits.probabilities(), sample.label)).collect();
        let score = |class: usize| {
            move |(probabilities, label): &(Vec<f64>, usize)| -> Option<Score> {
                Some((*probabilities.get(class)?, *label == class))
            }
        };
        let classes: Vec<ClassCurves> = labels
            .iter()
            .enumerate()
            .map(|(class, label)| ClassCurves {
                label: label.clone(),
                curves: Curves::new(all.iter().filter_map(score(class)).collect()),
            })
            .collect();
        let pooled = (0..labels.len()).flat_map(|class| all.iter().filter_map(score(class)));
        let micro = Curves::new(pooled.collect());
        let count = classes.len().max(1) as f64;
        let aucs = classes.iter().map(|class| class.curves.roc_curve.auc);
        let precisions = classes.iter().map(|class| match class.curves.roc_curve.auc {
            None if !all.iter().any(|(_, label)| labels.get(*label) == Some(&class.label)) => 0.0,
            _ => class.curves.pr_curve.average_precision,
        });
        let macro_avg = MacroAverages {
            roc_auc: aucs.sum::<Option<f64>>().map(|sum| sum / count),
            average_precision: precisions.sum::<f64>() / count,
        };
        Self { classes, micro, macro_avg }
    }
}
