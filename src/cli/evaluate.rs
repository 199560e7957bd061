//! `pawprint evaluate`: the classification report of a job.

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::{
    ExitStatus, Session,
    args::{ClientArgs, reference},
    client,
    responses::Job,
    service,
};
use crate::domain::evaluation::{Calibration, CrossValidation, Evaluation};

/// Pairs of confused classes that are listed.
const WORST_PAIRS: usize = 5;

/// Options of `pawprint evaluate`.
#[derive(Debug, Args)]
pub(super) struct Evaluate {
    /// Name or id of the job
    #[arg(value_parser = reference)]
    job: String,

    #[command(flatten)]
    pub(super) client: ClientArgs,
}

impl Evaluate {
    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        let request = session.client.request(Method::GET, &["jobs", &self.job, "evaluation"]);
        let response: Value = session.client.json(request).await?;
        if session.out.is_json() {
            session.out.document(&response)?;
        } else {
            session.out.line(text(&client::read(&response)?))?;
            let request = session.client.request(Method::GET, &["jobs", &self.job]);
            let job: Option<Job> = session.client.json(request).await.ok();
            if let Some(job) = job
                && let Some(sentence) = service::sentence(&job)
            {
                session.out.line(format_args!("model {} {sentence}", job.name))?;
            }
        }
        Ok(ExitStatus::Success)
    }
}

/// The evaluation as text.
pub(super) fn text(evaluation: &Evaluation) -> String {
    let Evaluation { split, count, loss, accuracy, accuracy_interval: interval, .. } = evaluation;
    let mut text = format!(
        "{count} images in the {split} split\n\n{}\naccuracy {accuracy:.4} ({:.0}% CI {:.4}–{:.4}), loss {loss:.4}\n",
        evaluation.as_text(),
        interval.confidence * 100.0,
        interval.low,
        interval.high,
    );
    if let Some(crossed) = evaluation.cross_validation {
        let CrossValidation { folds, count, correct, accuracy, accuracy_interval: interval } =
            crossed;
        text += &format!(
            "{folds}-fold cross-validation: {correct} of {count} images of all splits correct, accuracy {accuracy:.4} ({:.0}% CI {:.4}–{:.4})\n",
            interval.confidence * 100.0,
            interval.low,
            interval.high,
        );
    }
    let number = |auc: Option<f64>| auc.map_or("undefined".to_owned(), |auc| format!("{auc:.4}"));
    if let Some(top_5) = evaluation.top_5_accuracy {
        text += &format!("top-5 accuracy {top_5:.4}\n");
    }
    if let (Some(roc), Some(pr)) = (&evaluation.roc_curve, &evaluation.pr_curve) {
        text += &format!(
            "ROC AUC {}, PR AUC {:.4}, average precision {:.4}\n",
            number(roc.auc),
            pr.auc,
            pr.average_precision,
        );
    }
    if let Some(curves) = &evaluation.one_vs_rest {
        text += &format!(
            "one-vs-rest ROC AUC {} (macro), {} (micro); average precision {:.4} (macro), {:.4} (micro)\n",
            number(curves.macro_avg.roc_auc),
            number(curves.micro.roc_curve.auc),
            curves.macro_avg.average_precision,
            curves.micro.pr_curve.average_precision,
        );
    }
    let Calibration { temperature, scaled, raw, expected_calibration_error, .. } =
        &evaluation.calibration;
    if scaled.is_none() {
        text += &format!("expected calibration error {expected_calibration_error:.4}\n");
    }
    if let (Some(temperature), Some(scaled), Some(raw)) = (temperature, scaled, raw) {
        text += &format!(
            "temperature {temperature:.3}: expected calibration error {:.4} (without: {:.4}), log loss {:.4} ({:.4}), Brier score {:.4} ({:.4})\n",
            scaled.expected_calibration_error,
            raw.expected_calibration_error,
            scaled.log_loss,
            raw.log_loss,
            scaled.brier_score,
            raw.brier_score,
        );
    }
    if let Some(unsure) = &evaluation.unsure {
        let answered = count - unsure.low_confidence - unsure.unlike_training;
        text += &format!(
            "unsure of {} images (low confidence: {}, unlike the training images: {}); accuracy of the other {answered}: {}\n",
            unsure.low_confidence + unsure.unlike_training,
            unsure.low_confidence,
            unsure.unlike_training,
            number(unsure.answered_accuracy),
        );
    }
    if let Some(weights) = &evaluation.class_weights {
        let weights: Vec<_> = weights.iter().map(|(name, it)| format!("{name} {it:.3}")).collect();
        text += &format!("class weights in training: {}\n", weights.join(", "));
    }
    if evaluation.threshold.is_none() {
        for (label, predicted, count) in
            evaluation.confusion_matrix.worst_pairs().into_iter().take(WORST_PAIRS)
        {
            text += &format!("{label} classified as {predicted}: {count} images\n");
        }
    }
    if let Some(best) = &evaluation.best_threshold {
        text += &format!(
            "at threshold {:.4} (best F1 on the validation split: {:.4}): accuracy {:.4}\n",
            best.threshold, best.validation_f1, best.accuracy
        );
    }
    text.pop();
    text
}
