//! Whether the model of a job goes into service: the rule, without I/O.
//!
//! 1. A model that can't be told from guessing never goes into service automatically.
//! 2. If the model that it would replace has the same classes, both are compared on the images of
//!    the new model's job, and the new one replaces the other if the [`Promotion`] rule allows it.
//! 3. A pinned model stays in service all the same; the decision holds once it is unpinned.
//!
//! Every accuracy is that of one split: the test split if it has images of each class, otherwise
//! the validation split.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ImageId, ModelId, Name,
    dataset::{Sample, Split},
    evaluation::Interval,
    metrics::SplitMetrics,
    model::ModelCard,
    paired::{PairedAccuracy, Pairs},
    promotion::{Promotion, PromotionRule},
};

/// What happened to the model of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ServiceDecision)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It went into service.
    InService,
    /// The model in service stayed: the rule does not let the new one replace it, or that one can't be
    /// compared or loaded.
    Kept,
    /// It can't be told from guessing.
    Guessing,
    /// A pinned model stayed in service.
    Pinned,
}

/// Whether the model of a job went into service, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Service {
    /// What happened to the model.
    pub decision: Decision,
    /// Readable reason.
    pub reason: String,
    /// The accuracy that decided.
    #[serde(flatten)]
    pub score: Score,
    /// The model that it was compared with; null if there was no comparison.
    pub compared_with: Option<ComparedModel>,
}

/// Accuracy of a new model on the images of its job.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ServiceScore)]
pub struct Score {
    /// Split that decided: test if it has images of each class, otherwise validation.
    pub split: Split,
    /// Number of images.
    pub count: u64,
    /// Accuracy of the job's model.
    pub accuracy: f64,
    /// 95% confidence interval of the accuracy (Wilson).
    pub accuracy_interval: Interval,
    /// Accuracy of guessing: the fraction of the largest class.
    pub guessing_accuracy: f64,
}

/// A model in service, evaluated on the images of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ComparedModel {
    /// Id of the model.
    pub model_id: ModelId,
    /// Name of the model.
    pub name: Name,
    /// Its accuracy on the split that decided.
    pub accuracy: f64,
    /// Its accuracy on the validation images of the job.
    pub val_accuracy: f64,
    /// Its accuracy on the test images of the job; null if there are none.
    pub test_accuracy: Option<f64>,
    /// The new model (first) and this one (second) on the same test images; null if the test split did
    /// not decide, or in decisions of older versions.
    #[serde(default)]
    pub paired: Option<PairedAccuracy>,
}

/// How a model in service does on the images of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// That model.
    pub model: ModelId,
    /// Its metrics, or why it could not be evaluated.
    pub result: Result<ComparisonMetrics, String>,
}

/// Metrics of a model in service on the images of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComparisonMetrics {
    /// Of the validation split.
    pub validation: SplitMetrics,
    /// Of the test split, if there is one.
    pub test: Option<SplitMetrics>,
    /// The test images that it misclassifies; `None` from trainers of older versions.
    #[serde(default)]
    pub test_misclassified: Option<Vec<ImageId>>,
}

/// The model that a new one would replace.
#[derive(Debug, Clone, PartialEq)]
pub enum Rival {
    /// There is none.
    None,
    /// One with other classes.
    OtherClasses(Name),
    /// One with the same classes.
    Compared(Name, Comparison),
}

impl Score {
    /// The score of the model of `card`, which was evaluated on `samples`, the images of its job.
    #[must_use]
    pub fn new(card: &ModelCard, samples: &[Sample]) -> Self {
        let counts = |split| {
            let mut counts = vec![0_u64; card.classes.names().len()];
            for sample in samples.iter().filter(|sample| sample.split == split) {
                if let Some(count) = counts.get_mut(sample.label) {
                    *count += 1;
                }
            }
            counts
        };
        let test = counts(Split::Test);
        let (split, metrics, counts) = match card.test {
            Some(metrics) if !test.contains(&0) => (Split::Test, metrics, test),
            _ => (Split::Validation, card.validation, counts(Split::Validation)),
        };
        let SplitMetrics { count, accuracy, .. } = metrics;
        let largest = counts.iter().copied().max().unwrap_or(0);
        Self {
            split,
            count,
            accuracy,
            accuracy_interval: Interval::wilson(hits(accuracy, count), count),
            guessing_accuracy: largest as f64 / count.max(1) as f64,
        }
    }

    /// Whether the whole confidence interval is above the accuracy of guessing.
    #[must_use]
    pub fn beats_guessing(&self) -> bool {
        self.accuracy_interval.low > self.guessing_accuracy
    }

    fn of_split(&self, metrics: &ComparisonMetrics) -> f64 {
        match (self.split, metrics.test) {
            (Split::Test, Some(test)) => test.accuracy,
            _ => metrics.validation.accuracy,
        }
    }

    /// The model of this score, which misclassifies `ours`, against another on the same test images;
    /// `None` if they did not decide, or are not known of both.
    fn paired(
        &self,
        ours: Option<&[ImageId]>,
        other: &ComparisonMetrics,
    ) -> Option<PairedAccuracy> {
        let theirs = other.test_misclassified.as_ref().filter(|_| self.split == Split::Test)?;
        let [ours, theirs] = [ours?, theirs].map(|ids| ids.iter().collect::<HashSet<_>>());
        let both_wrong = ours.intersection(&theirs).count() as u64;
        let pairs = Pairs {
            both_correct: self.count.saturating_sub(ours.union(&theirs).count() as u64),
            only_first: theirs.len() as u64 - both_wrong,
            only_second: ours.len() as u64 - both_wrong,
            both_wrong,
        };
        Some(pairs.into())
    }

    fn against_guessing(&self) -> String {
        let Self { split, count, accuracy, accuracy_interval: interval, guessing_accuracy } = self;
        format!(
            "{} of {count} {split} images, 95% CI {:.1}–{}; guessing: {}",
            percent(*accuracy),
            interval.low * 100.0,
            percent(interval.high),
            percent(*guessing_accuracy)
        )
    }

    /// Whether the accuracy is at least that of the model `other`, and why, in words that follow the
    /// name of this one.
    fn is_not_below(&self, accuracy: f64, other: &str) -> (bool, String) {
        let Self { split, count, accuracy: own, .. } = *self;
        let [ours, theirs] = [own, accuracy].map(|it| (percent(it), hits(it, count)));
        let numbers = format!(
            "{} vs. {}; {} vs. {} of {count} {split} images",
            ours.0, theirs.0, ours.1, theirs.1
        );
        if own >= accuracy {
            (true, format!("it is at least as accurate as {other} ({numbers})"))
        } else {
            (false, format!("it is less accurate than {other} ({numbers})"))
        }
    }
}

impl Service {
    /// Decides by this rule on a new model with this score, which misclassifies these test images, if
    /// they are known: the decision, and whether automatic selection serves the new model from now on.
    #[must_use]
    pub fn decide(
        promotion: Promotion,
        score: Score,
        misclassified: Option<&[ImageId]>,
        rival: Rival,
        pinned: Option<&Name>,
    ) -> (Self, bool) {
        let mut compared_with = None;
        let (decision, reason) = if !score.beats_guessing() {
            let why = format!("it can't be told from guessing ({})", score.against_guessing());
            (Decision::Guessing, why)
        } else {
            let beats = format!("it beats guessing ({})", score.against_guessing());
            match rival {
                Rival::None => {
                    (Decision::InService, format!("{beats}, and no other model was in service"))
                }
                Rival::OtherClasses(name) => (
                    Decision::InService,
                    format!("{beats}, and {name}, which it replaces, has different classes"),
                ),
                Rival::Compared(name, Comparison { result: Err(why), .. }) => {
                    (Decision::Kept, format!("it could not be compared with {name}: {why}"))
                }
                Rival::Compared(name, Comparison { model, result: Ok(metrics) }) => {
                    let accuracy = score.of_split(&metrics);
                    let paired = score.paired(misclassified, &metrics);
                    let (replaces, why) = match (promotion.rule, &paired) {
                        (PromotionRule::NotLessAccurate, _) => score.is_not_below(accuracy, &name),
                        (PromotionRule::NotWorse, Some(paired)) => {
                            promotion.not_worse(paired, &name)
                        }
                        (PromotionRule::NotWorse, None) => {
                            let why = "there are no test images of each class on which both were evaluated";
                            (false, format!("it is not shown not to be worse than {name}: {why}"))
                        }
                    };
                    compared_with = Some(ComparedModel {
                        model_id: model,
                        name,
                        accuracy,
                        val_accuracy: metrics.validation.accuracy,
                        test_accuracy: metrics.test.map(|test| test.accuracy),
                        paired,
                    });
                    (if replaces { Decision::InService } else { Decision::Kept }, why)
                }
            }
        };
        let selected = decision == Decision::InService;
        let (decision, reason) = match pinned {
            None => (decision, reason),
            Some(name) => {
                let would = if selected { "would" } else { "would not" };
                let reason = format!(
                    "{name} is pinned; without the pin this model {would} be in service: {reason}"
                );
                (Decision::Pinned, reason)
            }
        };
        (Self { decision, reason, score, compared_with }, selected)
    }

    /// The same for a new model that was to go into service, but can't be loaded.
    #[must_use]
    pub fn unusable(self, why: &str) -> Self {
        Self { decision: Decision::Kept, reason: format!("it can't be loaded: {why}"), ..self }
    }
}

fn hits(accuracy: f64, count: u64) -> u64 {
    (accuracy * count as f64).round() as u64
}

fn percent(fraction: f64) -> String {
    format!("{:.1}%", fraction * 100.0)
}

#[cfg(test)]
mod tests;
