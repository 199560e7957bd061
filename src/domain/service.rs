//! Whether the model of a job goes into service: the rule, without I/O.
//!
//! 1. A model that can't be told from guessing never goes into service automatically.
//! 2. If the model that it would replace has the same classes, both are compared on the images of
//!    the new model's job, and the new one replaces the other if it is not less accurate.
//! 3. A pinned model stays in service all the same; the decision holds once it is unpinned.
//!
//! Every accuracy is that of one split: the test split if it has images of each class, otherwise
//! the validation split.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ModelId, Name,
    dataset::{Sample, Split},
    evaluation::Interval,
    metrics::SplitMetrics,
    model::ModelCard,
};

/// What happened to the model of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ServiceDecision)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It went into service.
    InService,
    /// The model in service stayed: the new one is less accurate, or can't be compared or loaded.
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ComparisonMetrics {
    /// Of the validation split.
    pub validation: SplitMetrics,
    /// Of the test split, if there is one.
    pub test: Option<SplitMetrics>,
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

    fn against(&self, accuracy: f64) -> String {
        let Self { split, count, accuracy: own, .. } = *self;
        let [ours, theirs] = [own, accuracy].map(|it| (percent(it), hits(it, count)));
        format!(
            "{} vs. {}; {} vs. {} of {count} {split} images",
            ours.0, theirs.0, ours.1, theirs.1
        )
    }
}

impl Service {
    /// Decides on a new model with this score: the decision, and whether automatic selection serves
    /// the new model from now on.
    #[must_use]
    pub fn decide(score: Score, rival: Rival, pinned: Option<&Name>) -> (Self, bool) {
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
                    format!("{beats}, and {name}, which it replaces, has other classes"),
                ),
                Rival::Compared(name, Comparison { result: Err(why), .. }) => {
                    (Decision::Kept, format!("it could not be compared with {name}: {why}"))
                }
                Rival::Compared(name, Comparison { model, result: Ok(metrics) }) => {
                    let accuracy = score.of_split(&metrics);
                    let numbers = score.against(accuracy);
                    compared_with = Some(ComparedModel {
                        model_id: model,
                        name: name.clone(),
                        accuracy,
                        val_accuracy: metrics.validation.accuracy,
                        test_accuracy: metrics.test.map(|test| test.accuracy),
                    });
                    if score.accuracy >= accuracy {
                        let why = format!("it is at least as accurate as {name} ({numbers})");
                        (Decision::InService, why)
                    } else {
                        (Decision::Kept, format!("it is less accurate than {name} ({numbers})"))
                    }
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
mod tests {
    use super::*;

    fn score(hits: u64, count: u64) -> Score {
        Score {
            split: Split::Test,
            count,
            accuracy: hits as f64 / count as f64,
            accuracy_interval: Interval::wilson(hits, count),
            guessing_accuracy: 0.5,
        }
    }

    fn rival(hits: u64, count: u64) -> Rival {
        let metrics =
            |hits| SplitMetrics { count, loss: 0.5, accuracy: hits as f64 / count as f64 };
        let result = Ok(ComparisonMetrics { validation: metrics(0), test: Some(metrics(hits)) });
        let name = "default".parse().unwrap();
        Rival::Compared(name, Comparison { model: ModelId::new(), result })
    }

    fn decide(score: Score, rival: Rival) -> (Decision, String, bool) {
        let (service, selected) = Service::decide(score, rival, None);
        (service.decision, service.reason, selected)
    }

    #[test]
    fn a_model_replaces_another_that_is_not_more_accurate() {
        let better = decide(score(95, 100), rival(94, 100));
        let reason =
            "it is at least as accurate as default (95.0% vs. 94.0%; 95 vs. 94 of 100 test images)";
        assert_eq!(better, (Decision::InService, reason.to_owned(), true));
        assert_eq!(decide(score(94, 100), rival(94, 100)).0, Decision::InService);
        let worse = decide(score(93, 100), rival(94, 100));
        let reason =
            "it is less accurate than default (93.0% vs. 94.0%; 93 vs. 94 of 100 test images)";
        assert_eq!(worse, (Decision::Kept, reason.to_owned(), false));
    }

    #[test]
    fn the_accuracies_of_both_are_told() {
        let (service, _) = Service::decide(score(93, 100), rival(94, 100), None);
        let other = service.compared_with.unwrap();
        assert_eq!(other.name.to_string(), "default");
        assert_eq!((other.accuracy, other.val_accuracy), (0.94, 0.0));
        assert_eq!((other.test_accuracy, service.score.accuracy), (Some(0.94), 0.93));
    }

    #[test]
    fn a_model_that_can_not_be_told_from_guessing_is_not_selected() {
        let guessing = decide(score(19, 36), rival(0, 36));
        let reason = "it can't be told from guessing (52.8% of 36 test images, 95% CI 37.0–68.0%; guessing: 50.0%)";
        assert_eq!(guessing, (Decision::Guessing, reason.to_owned(), false));
        assert_eq!(decide(score(19, 36), Rival::None).0, Decision::Guessing);
        // Below chance, all of the interval: no better.
        assert_eq!(decide(score(2, 36), Rival::None).0, Decision::Guessing);
        let unbalanced = Score { guessing_accuracy: 0.9, ..score(92, 100) };
        assert_eq!(decide(unbalanced, Rival::None).0, Decision::Guessing);
    }

    #[test]
    fn without_a_comparison_it_only_has_to_beat_guessing() {
        assert!(decide(score(60, 60), Rival::None).2);
        let (decision, reason, selected) =
            decide(score(40, 60), Rival::OtherClasses("parts".parse().unwrap()));
        assert_eq!((decision, selected), (Decision::InService, true));
        assert!(
            reason.ends_with("guessing: 50.0%), and parts, which it replaces, has other classes"),
            "{reason}"
        );
    }

    #[test]
    fn a_comparison_that_failed_keeps_the_model_in_service() {
        let comparison = Comparison { model: ModelId::new(), result: Err("no memory".to_owned()) };
        let rival = Rival::Compared("default".parse().unwrap(), comparison);
        let reason = "it could not be compared with default: no memory";
        assert_eq!(decide(score(60, 60), rival), (Decision::Kept, reason.to_owned(), false));
    }

    #[test]
    fn a_pinned_model_stays_and_the_decision_is_made_for_later() {
        let pinned = "tabby".parse().unwrap();
        for (hits, would, selects) in [(95, "would be", true), (93, "would not be", false)] {
            let (service, selected) =
                Service::decide(score(hits, 100), rival(94, 100), Some(&pinned));
            assert_eq!((service.decision, selected), (Decision::Pinned, selects));
            let start =
                format!("tabby is pinned; without the pin this model {would} in service: it is ");
            assert!(service.reason.starts_with(&start), "{}", service.reason);
        }
    }

    #[test]
    fn a_decision_survives_its_json() {
        let (service, _) = Service::decide(score(93, 100), rival(94, 100), None);
        let json = serde_json::to_value(&service).unwrap();
        assert_eq!((&json["decision"], &json["split"]), (&"kept".into(), &"test".into()));
        assert_eq!(serde_json::from_value::<Service>(json).unwrap(), service);
    }
}
