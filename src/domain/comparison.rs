//! Two models on the test images of a job: figures and sentences.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ClassName, ImageId, JobId, ModelId, Name,
    dataset::{Classes, Digest, Sample},
    evaluation::Interval,
    paired::{Difference, PairedAccuracy, Pairs, Verdict, mean_difference},
    promotion::points,
};

/// Differing images that a comparison lists at most.
pub const MAX_LISTED: usize = 200;

/// What a model predicts for a test image of a job.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TestPrediction {
    /// The predicted class, as an index into the classes of the job.
    pub class: usize,
    /// Its probability.
    pub probability: f64,
    /// Cross-entropy with the label.
    pub loss: f64,
}

/// The test images of a job.
#[derive(Debug, Clone)]
pub struct TestSplit {
    /// Id of the job.
    pub job_id: JobId,
    /// Name of the job.
    pub job: Name,
    /// Name of its dataset.
    pub dataset: Name,
    /// Its classes.
    pub classes: Classes,
    /// The images, in the order of the manifest.
    pub samples: Vec<Sample>,
}

/// A model of a comparison, before it is compared.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Id.
    pub id: ModelId,
    /// Name.
    pub name: Name,
    /// Its predictions, in the order of the samples; `None` for images that are no longer stored.
    pub predictions: Vec<Option<TestPrediction>>,
    /// How many of the images it was trained on; `None` if that is not known.
    pub trained_on: Option<u64>,
}

/// Comparison of two models on the test images of a job.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ModelComparison)]
pub struct Comparison {
    /// Id of the job whose test images decide.
    pub job_id: JobId,
    /// Name of that job.
    pub job: Name,
    /// Name of its dataset.
    pub dataset: Name,
    /// Number of images that both models were compared on.
    pub count: u64,
    /// Test images of the job that are no longer stored, and were left out.
    pub missing: u64,
    /// The first model.
    pub first: ComparedModel,
    /// The second model.
    pub second: ComparedModel,
    /// The accuracies.
    #[serde(flatten)]
    pub accuracy: PairedAccuracy,
    /// Log loss of the first minus that of the second (interval: paired bootstrap): below 0, the first
    /// is better.
    pub log_loss_difference: Difference,
    /// The result in sentences.
    pub summary: Vec<String>,
    /// Number of images for which they predict different classes.
    pub differing: u64,
    /// Up to 200 of these, those first that one of them classifies correctly.
    pub differences: Vec<DifferingImage>,
}

/// Model on the test images of a job.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ModelComparisonModel)]
pub struct ComparedModel {
    /// Id.
    pub id: ModelId,
    /// Name.
    pub name: Name,
    /// Accuracy.
    pub accuracy: f64,
    /// 95% confidence interval of the accuracy (Wilson).
    pub accuracy_interval: Interval,
    /// Mean cross-entropy.
    pub log_loss: f64,
    /// How many of the images the model was trained on; null if its job was deleted, or it comes from
    /// elsewhere.
    pub trained_on: Option<u64>,
}

/// Image for which two models predict different classes.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ModelComparisonDifference)]
pub struct DifferingImage {
    /// Id of the image.
    pub image_id: ImageId,
    /// SHA-256 of its encoded bytes.
    pub sha256: Digest,
    /// File name; null if the image was removed from its dataset.
    pub file_name: Option<String>,
    /// Its class.
    pub label: ClassName,
    /// What the first model predicts.
    pub first: PredictedClass,
    /// What the second model predicts.
    pub second: PredictedClass,
}

/// Predicted class of an image.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ModelComparisonPrediction)]
pub struct PredictedClass {
    /// Predicted class.
    pub label: ClassName,
    /// Probability of `label`.
    pub probability: f64,
}

impl Comparison {
    /// Compares two models on the test images of a job that both have predictions for; `None` if there
    /// are none.
    #[must_use]
    pub fn new(split: &TestSplit, first: &Candidate, second: &Candidate) -> Option<Self> {
        let both: Vec<(&Sample, TestPrediction, TestPrediction)> = split
            .samples
            .iter()
            .zip(first.predictions.iter().zip(&second.predictions))
            .filter_map(|(sample, (first, second))| Some((sample, (*first)?, (*second)?)))
            .collect();
        if both.is_empty() {
            return None;
        }
        let correct = |sample: &Sample, it: &TestPrediction| it.class == sample.label;
        let pairs: Pairs = both
            .iter()
            .map(|(it, first, second)| (correct(it, first), correct(it, second)))
            .collect();
        let losses = |of: fn(&(&Sample, TestPrediction, TestPrediction)) -> f64| -> Vec<f64> {
            both.iter().map(of).collect()
        };
        let (first_losses, second_losses) = (losses(|it| it.1.loss), losses(|it| it.2.loss));
        let count = both.len() as u64;
        let model = |of: &Candidate, hits: u64, losses: &[f64]| ComparedModel {
            id: of.id,
            name: of.name.clone(),
            accuracy: hits as f64 / count as f64,
            accuracy_interval: Interval::wilson(hits, count),
            log_loss: losses.iter().sum::<f64>() / count as f64,
            trained_on: of.trained_on,
        };
        let differing = both.iter().filter(|(_, first, second)| first.class != second.class);
        let mut listed: Vec<_> = differing.collect();
        let total = listed.len() as u64;
        // Stable: those of a kind stay in the order of the manifest.
        listed.sort_by_key(|(it, first, second)| !(correct(it, first) || correct(it, second)));
        let name = |class: usize| split.classes.name(class).cloned();
        let predicted = |it: &TestPrediction| {
            Some(PredictedClass { label: name(it.class)?, probability: it.probability })
        };
        let differences =
            listed.into_iter().take(MAX_LISTED).filter_map(|(sample, first, second)| {
                Some(DifferingImage {
                    image_id: sample.image_id,
                    sha256: sample.sha256,
                    file_name: None,
                    label: name(sample.label)?,
                    first: predicted(first)?,
                    second: predicted(second)?,
                })
            });
        let mut comparison = Self {
            job_id: split.job_id,
            job: split.job.clone(),
            dataset: split.dataset.clone(),
            count,
            missing: split.samples.len() as u64 - count,
            first: model(first, pairs.both_correct + pairs.only_first, &first_losses),
            second: model(second, pairs.both_correct + pairs.only_second, &second_losses),
            accuracy: pairs.into(),
            log_loss_difference: mean_difference(&first_losses, &second_losses),
            summary: Vec::new(),
            differing: total,
            differences: differences.collect(),
        };
        comparison.summary = comparison.sentences();
        Some(comparison)
    }

    fn sentences(&self) -> Vec<String> {
        let Self { first, second, .. } = self;
        let mut sentences = vec![self.verdict(), self.log_loss()];
        for model in [first, second] {
            match model.trained_on {
                Some(0) => {}
                Some(images) => sentences.push(format!(
                    "{} was trained on {images} of these images, which favours it.",
                    model.name
                )),
                None => sentences.push(format!(
                    "Whether {} was trained on some of these images is not known.",
                    model.name
                )),
            }
        }
        if self.missing > 0 {
            sentences.push(format!(
                "{} of the test images are no longer stored and were left out.",
                self.missing
            ));
        }
        sentences
    }

    fn verdict(&self) -> String {
        let Self { first, second, count, accuracy, .. } = self;
        let PairedAccuracy {
            accuracy_difference: difference, p_value, verdict, images_needed, ..
        } = accuracy;
        let figures = format!(
            "{:.1}% vs. {:.1}%; difference {} points, 95% CI {} to {}; McNemar's exact test: p {}",
            first.accuracy * 100.0,
            second.accuracy * 100.0,
            points(difference.value),
            points(difference.interval.low),
            points(difference.interval.high),
            if *p_value < 0.001 { "< 0.001".to_owned() } else { format!("= {p_value:.3}") },
        );
        let (first, second) = (&first.name, &second.name);
        match (verdict, images_needed) {
            (Verdict::Better, _) => {
                format!("{first} is better than {second} on {count} test images ({figures}).")
            }
            (Verdict::Worse, _) => {
                format!("{first} is worse than {second} on {count} test images ({figures}).")
            }
            (Verdict::Inconclusive, Some(needed)) => format!(
                "{first} and {second} can't be told apart with {count} test images ({figures}). To show such a difference, about {} would do.",
                rounded(*needed)
            ),
            (Verdict::Inconclusive, None) => {
                format!(
                    "{first} and {second} classify the same number of the {count} test images correctly ({figures})."
                )
            }
        }
    }

    fn log_loss(&self) -> String {
        let Self { first, second, log_loss_difference: Difference { value, interval }, .. } = self;
        let figures = format!(
            "{:.4} vs. {:.4}; difference {}, 95% CI {} to {}",
            first.log_loss,
            second.log_loss,
            signed(*value),
            signed(interval.low),
            signed(interval.high)
        );
        if interval.high < 0.0 {
            format!("The log loss of {} is lower ({figures}).", first.name)
        } else if interval.low > 0.0 {
            format!("The log loss of {} is lower ({figures}).", second.name)
        } else {
            format!("Their log losses can't be told apart ({figures}).")
        }
    }
}

/// A number of images to two digits, rounded up.
fn rounded(number: u64) -> u64 {
    let step = 10_u64.pow(number.max(1).ilog10().saturating_sub(1));
    number.div_ceil(step) * step
}

fn signed(difference: f64) -> String {
    let text = format!("{:.4}", difference.abs());
    match text.as_str() {
        "0.0000" => text,
        _ if difference < 0.0 => format!("−{text}"),
        _ => format!("+{text}"),
    }
}

#[cfg(test)]
mod tests;
