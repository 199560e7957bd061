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
use crate::domain::evaluation::Evaluation;

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
    let auc = evaluation.roc_curve.auc.map_or("undefined".to_owned(), |auc| format!("{auc:.4}"));
    text += &format!(
        "ROC AUC {auc}, PR AUC {:.4}, average precision {:.4}, expected calibration error {:.4}\n",
        evaluation.pr_curve.auc,
        evaluation.pr_curve.average_precision,
        evaluation.calibration.expected_calibration_error,
    );
    if let Some(best) = &evaluation.best_threshold {
        text += &format!(
            "at threshold {:.4} (best F1 on the validation split: {:.4}): accuracy {:.4}\n",
            best.threshold, best.validation_f1, best.accuracy
        );
    }
    text.pop();
    text
}
