//! `pawprint report`: one self-contained HTML page for a job: the evaluation of its best epoch, its
//! learning curves, its misclassified images and its dataset.

use std::{io::Write as _, path::PathBuf};

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::Args;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use reqwest::{Method, RequestBuilder};
use serde::Deserialize;

use super::{
    ExitStatus, Session,
    args::{ClientArgs, reference},
    client, evaluate,
    output::span,
    responses::{Dataset, Job},
    service,
};
use crate::domain::evaluation::{CrossValidation, Evaluation, Misclassified};

/// Images shown of the dataset, and of those misclassified.
const PHOTOS: usize = 24;

const STYLE: &str = "
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1rem}
.charts svg{width:100%;height:auto}
.photos{display:grid;grid-template-columns:repeat(auto-fill,minmax(9rem,1fr));gap:.75rem}
figure{margin:0}figure img{width:100%;height:auto}figcaption{font-size:.8rem;overflow-wrap:anywhere}
table{border-collapse:collapse}th,td{text-align:left;padding:.2rem 1rem .2rem 0;vertical-align:top}
.result{font-size:1.5rem;font-weight:600;margin:0}.result small{font-size:1rem;font-weight:400}
summary{cursor:pointer}pre{overflow-x:auto}img{max-width:100%}";

/// Options of `pawprint report`.
#[derive(Debug, Args)]
pub(super) struct Report {
    /// Name or id of the job
    #[arg(value_parser = reference)]
    job: String,

    /// Output file; `-` for standard output
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,

    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// An image in the page.
struct Photo {
    /// A `data:` URL, or why there is none.
    image: Result<String, String>,
    caption: String,
}

#[derive(Deserialize)]
struct Image {
    id: String,
    file_name: String,
    label: String,
    split: String,
}

impl Report {
    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        let request = session.client.request(Method::GET, &["jobs", &self.job]);
        let response: serde_json::Value = session.client.json(request).await?;
        let job: Job = client::read(&response)?;
        let page = Page { session, job: &job, response: &response }.html().await?.into_string();
        if self.out.as_os_str() == "-" {
            std::io::stdout().lock().write_all(page.as_bytes())?;
        } else {
            std::fs::write(&self.out, &page)
                .with_context(|| format!("can't write {}", self.out.display()))?;
            session.out.note(format_args!("wrote {}", self.out.display()));
        }
        Ok(ExitStatus::Success)
    }
}

struct Page<'a> {
    session: &'a Session,
    job: &'a Job,
    response: &'a serde_json::Value,
}

impl Page<'_> {
    async fn html(&self) -> anyhow::Result<Markup> {
        let job = self.job;
        let title = format!("{}: {} on {}", job.name, job.recipe, job.dataset);
        let evaluation = self.fetch_evaluation().await?;
        let curves = self.charts(&["jobs", &job.id], &["accuracy", "loss"]).await?;
        let section = match &evaluation {
            Some(evaluation) => self.evaluation(evaluation).await?,
            None => html! { h2 { "Evaluation" } p { "No evaluation available." } },
        };
        let dataset = self.dataset().await?;
        Ok(html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width";
                    title { (title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    h1 { (title) }
                    (self.result(evaluation.as_ref()))
                    h2 { "Training" }
                    (curves)
                    (self.parameters())
                    (section)
                    (dataset)
                }
            }
        })
    }

    /// A summary of the job's result.
    fn result(&self, evaluation: Option<&Evaluation>) -> Markup {
        let job = self.job;
        let percent = |fraction: f64| format!("{:.1}%", fraction * 100.0);
        let ended = job.finished_at.map(|end| end.strftime("%-d %B %Y, %H:%M UTC").to_string());
        let seconds = job.started_at.zip(job.finished_at).map(|(from, to)| to.duration_since(from));
        let took = seconds.map(|it| span(it.unsigned_abs().as_secs()));
        html! {
            @if let Some(Evaluation { split, count, accuracy, accuracy_interval: interval, cross_validation, .. }) = evaluation {
                p.result {
                    "Accuracy " (percent(*accuracy)) " "
                    small {
                        "on " (count) " " (split) " images (" (format!("{:.0}", interval.confidence * 100.0)) "% CI "
                        (format!("{:.1}–{:.1}", interval.low * 100.0, interval.high * 100.0)) "%)"
                    }
                }
                @if let Some(CrossValidation { folds, count, correct, accuracy, accuracy_interval: interval }) = cross_validation {
                    p {
                        (folds) "-fold cross-validation: " (correct) " of " (count) " images of all splits correct ("
                        (percent(*accuracy)) "; " (format!("{:.0}", interval.confidence * 100.0)) "% CI "
                        (format!("{:.1}–{:.1}", interval.low * 100.0, interval.high * 100.0)) "%)."
                    }
                }
            }
            @if let Some(sentence) = service::sentence(job) { p { "The model " (sentence) "." } }
            @if let Some(error) = &job.error { p { (error.detail) " (" (error.code) ")" } }
            p {
                "Status: " (job.status)
                @if let Some(ended) = ended { ". Finished " (ended) }
                @if let Some(took) = took { " after " (took) }
                @if let (Some(device), Some(precision)) = (&job.device, &job.precision) {
                    " on " (device) " (" (precision) ")"
                }
                "."
                @if let Some(best) = &job.best {
                    " Best epoch: " (best.epoch) " (val. accuracy " (percent(best.val_accuracy))
                    ", val. loss " (format!("{:.4}", best.val_loss)) ")."
                }
            }
        }
    }

    /// The training parameters, so that the job can be repeated.
    fn parameters(&self) -> Markup {
        let text = |value: &serde_json::Value| match value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Null => "-".to_owned(),
            other => other.to_string(),
        };
        let params = self.response["params"].as_object().into_iter().flatten();
        let version = ("dataset_version", &self.response["dataset_version"]);
        html! {
            details {
                summary { "Training parameters" }
                table {
                    @for (name, value) in params.map(|(name, value)| (&**name, value)).chain([version]) {
                        tr { th { (name.replace('_', " ")) } td { (text(value)) } }
                    }
                }
            }
        }
    }

    /// The current version of the dataset, if it still exists.
    async fn dataset(&self) -> anyhow::Result<Markup> {
        let path = ["datasets", &self.job.dataset];
        let charts = self.charts(&path, &["classes", "width", "height", "formats"]);
        let charts = match charts.await {
            Err(error) if is_not_found(&error) => {
                return Ok(html! { h2 { "Dataset" } p { "This dataset has been deleted." } });
            }
            charts => charts?,
        };
        let request = self.session.client.request(Method::GET, &path);
        let Dataset { classes, version, counts, .. } = self.session.client.json(request).await?;
        let each = PHOTOS.div_ceil(classes.len().max(1));
        let mut photos = Vec::new();
        for class in &classes {
            let (path, filter) = ([path[0], path[1], "images"], [("label", class.as_str())]);
            for image in self.session.client.list(&path, &filter, each).await? {
                let Image { id, file_name, label, split } = client::read(&image)?;
                photos.extend(self.photo(&id, format!("{label}, {split}: {file_name}")).await?);
            }
        }
        let request =
            self.session.client.request(Method::GET, &[path[0], path[1], "augmentations"]);
        let augmented = match counts.get("train").map(|of| of.values().sum::<u64>()) {
            None | Some(0) => None,
            Some(_) => self.image(request, "image/png").await?,
        };
        Ok(html! {
            h2 { "Dataset" }
            @if self.response["dataset_version"] != *version {
                p { "The dataset has changed since this job was created. The current version is shown." }
            }
            (charts)
            h3 { "Sample images" }
            (gallery(&photos))
            @if let Some(sheet) = augmented {
                h3 { "Augmentation preview" }
                (shown(&sheet, "nine augmented versions of one training image"))
            }
        })
    }

    async fn fetch_evaluation(&self) -> anyhow::Result<Option<Evaluation>> {
        let path = ["jobs", &self.job.id, "evaluation"];
        found(self.session.client.json(self.session.client.request(Method::GET, &path)).await)
    }

    async fn evaluation(&self, evaluation: &Evaluation) -> anyhow::Result<Markup> {
        let path = ["jobs", &self.job.id];
        let charts = self.charts(&path, &["confusion", "pr", "roc", "reliability"]).await?;
        let mut photos = Vec::new();
        for wrong in evaluation.misclassified.iter().take(PHOTOS) {
            let Misclassified { image_id, file_name, label, predicted, probability } = wrong;
            let name = file_name.as_deref().unwrap_or("no longer in the dataset");
            let caption = format!("true {label}, predicted {predicted} ({probability:.4}): {name}");
            photos.extend(self.photo(&image_id.to_string(), caption).await?);
        }
        let all = evaluation.misclassified.len();
        Ok(html! {
            h2 { "Evaluation" }
            pre { (evaluate::text(evaluation)) }
            (charts)
            h3 { "Misclassified: " (all) " of " (evaluation.count) ", most confident first" }
            (gallery(&photos))
        })
    }

    async fn charts(&self, path: &[&str], names: &[&str]) -> anyhow::Result<Markup> {
        let mut charts = Vec::new();
        for name in names {
            let file = format!("{name}.svg");
            let path = [path, &["charts", &file]].concat();
            let svg = self.session.client.bytes(self.session.client.request(Method::GET, &path));
            charts
                .push(String::from_utf8(svg.await?.into()).context("a chart is not valid UTF-8")?);
        }
        // The server's own SVG, in which user input is escaped.
        Ok(html! { div.charts { @for chart in charts { (PreEscaped(chart)) } } })
    }

    /// A thumbnail, if the image still exists.
    async fn photo(&self, id: &str, caption: String) -> anyhow::Result<Option<Photo>> {
        let request = self.session.client.request(Method::GET, &["images", id, "thumbnail"]);
        let image = self.image(request, "image/jpeg").await?;
        Ok(image.map(|image| Photo { image, caption }))
    }

    /// An image, or why the server can't return it; `None` if it no longer exists.
    async fn image(
        &self,
        request: RequestBuilder,
        media_type: &str,
    ) -> anyhow::Result<Option<Result<String, String>>> {
        match found(self.session.client.bytes(request).await) {
            Ok(bytes) => Ok(bytes.map(|bytes| Ok(data_url(media_type, &bytes)))),
            Err(error) => match error.downcast::<client::Error>()? {
                client::Error::Problem(problem) => Ok(Some(Err(problem.detail))),
                error => Err(error.into()),
            },
        }
    }
}

/// Turns a "not found" into `None`.
fn found<T>(response: Result<T, client::Error>) -> anyhow::Result<Option<T>> {
    match response {
        Err(error) if error.is_not_found() => Ok(None),
        response => Ok(Some(response?)),
    }
}

fn is_not_found(error: &anyhow::Error) -> bool {
    error.downcast_ref::<client::Error>().is_some_and(client::Error::is_not_found)
}

fn gallery(photos: &[Photo]) -> Markup {
    html! {
        div.photos {
            @for Photo { image, caption } in photos {
                figure { (shown(image, caption)) figcaption { (caption) } }
            }
        }
    }
}

fn shown(image: &Result<String, String>, alt: &str) -> Markup {
    html! {
        @match image {
            Ok(source) => img src=(source) alt=(alt);,
            Err(why) => p { "Can't display image: " (why) },
        }
    }
}

fn data_url(media_type: &str, bytes: &[u8]) -> String {
    format!("data:{media_type};base64,{}", BASE64_STANDARD.encode(bytes))
}
