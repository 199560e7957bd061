//! `pawprint report`: all that is known of a job in one page that needs nothing else: what its
//! dataset looks like, how training went, how well the best epoch does, and what it got wrong.

use std::{io::Write as _, path::PathBuf};

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::Args;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use reqwest::Method;
use serde::Deserialize;

use super::{
    Ending, Session,
    answers::{Dataset, Job},
    args::{ClientArgs, reference},
    client, evaluate,
};
use crate::domain::evaluation::{Evaluation, Misclassified};

/// Photos shown of the dataset, and of what was told wrong.
const PHOTOS: usize = 24;

const STYLE: &str = "
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1rem}
.charts svg{width:100%;height:auto}
.photos{display:grid;grid-template-columns:repeat(auto-fill,minmax(9rem,1fr));gap:.75rem}
figure{margin:0}figure img{width:100%;height:auto}figcaption{font-size:.8rem;overflow-wrap:anywhere}
table{border-collapse:collapse}th,td{text-align:left;padding:.2rem 1rem .2rem 0;vertical-align:top}
pre{overflow-x:auto}img{max-width:100%}";

/// Options of `pawprint report`.
#[derive(Debug, Args)]
pub(super) struct Report {
    /// Name or id of the job
    #[arg(value_parser = reference)]
    job: String,

    /// File to write; `-` is standard output
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,

    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// A photo in the page.
struct Photo {
    /// A `data:` URL.
    source: String,
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
    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<Ending> {
        let request = session.client.request(Method::GET, &["jobs", &self.job]);
        let answer: serde_json::Value = session.client.json(request).await?;
        let job: Job = client::read(&answer)?;
        let page = Page { session, job: &job, answer: &answer }.html().await?.into_string();
        if self.out.as_os_str() == "-" {
            std::io::stdout().lock().write_all(page.as_bytes())?;
        } else {
            std::fs::write(&self.out, &page)
                .with_context(|| format!("can't write {}", self.out.display()))?;
            session.out.note(format_args!("{} is written", self.out.display()));
        }
        Ok(Ending::Success)
    }
}

struct Page<'a> {
    session: &'a Session,
    job: &'a Job,
    answer: &'a serde_json::Value,
}

impl Page<'_> {
    async fn html(&self) -> anyhow::Result<Markup> {
        let job = self.job;
        let title = format!("{}: {} on {}", job.name, job.recipe, job.dataset);
        let dataset = self.dataset().await?;
        let curves = self.charts(&["jobs", &job.id], &["accuracy", "loss"]).await?;
        let evaluation = self.evaluation().await?;
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
                    (self.facts())
                    (dataset)
                    h2 { "Training" }
                    (curves)
                    (evaluation)
                }
            }
        })
    }

    /// What was asked for and what became of it.
    fn facts(&self) -> Markup {
        let text = |value: &serde_json::Value| match value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let fields = [
            "status",
            "recipe",
            "dataset",
            "dataset_version",
            "device",
            "precision",
            "finished_at",
        ];
        let params = self.answer["params"].as_object();
        html! {
            table {
                @for field in fields { tr { th { (field) } td { (text(&self.answer[field])) } } }
                @for (name, value) in params.into_iter().flatten() {
                    tr { th { (name) } td { (text(value)) } }
                }
                @if let Some(best) = &self.job.best {
                    tr { th { "best epoch" } td { (best.epoch) ", validation loss " (format!("{:.4}", best.val_loss)) ", accuracy " (format!("{:.4}", best.val_accuracy)) } }
                }
            }
        }
    }

    /// The dataset as it is now, while it is still there.
    async fn dataset(&self) -> anyhow::Result<Markup> {
        let path = ["datasets", &self.job.dataset];
        let charts = self.charts(&path, &["classes", "width", "height", "formats"]);
        let charts = match charts.await {
            Err(error) if is_not_found(&error) => {
                return Ok(html! { h2 { "Dataset" } p { "It has been deleted." } });
            }
            charts => charts?,
        };
        let request = self.session.client.request(Method::GET, &path);
        let Dataset { classes, .. } = self.session.client.json(request).await?;
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
        let augmented = self.session.client.bytes(request).await?;
        Ok(html! {
            h2 { "Dataset" }
            (charts)
            h3 { "Some of its photos" }
            (gallery(&photos))
            h3 { "A training photo as the augmentation changes it" }
            img src=(data_url("image/png", &augmented)) alt="nine augmented versions of one photo";
        })
    }

    async fn evaluation(&self) -> anyhow::Result<Markup> {
        let path = ["jobs", &self.job.id];
        let request = self.session.client.request(Method::GET, &[path[0], path[1], "evaluation"]);
        let evaluation: Evaluation = match self.session.client.json(request).await {
            Err(error) if error.is_not_found() => {
                return Ok(html! { h2 { "Evaluation" } p { "There is none." } });
            }
            evaluation => evaluation?,
        };
        let charts = self.charts(&path, &["confusion", "pr", "roc", "reliability"]).await?;
        let mut photos = Vec::new();
        for wrong in evaluation.misclassified.iter().take(PHOTOS) {
            let Misclassified { image_id, file_name, label, predicted, probability } = wrong;
            let name = file_name.as_deref().unwrap_or("no longer in the dataset");
            let caption = format!("{label}, told to be {predicted} ({probability:.4}): {name}");
            photos.extend(self.photo(&image_id.to_string(), caption).await?);
        }
        let all = evaluation.misclassified.len();
        Ok(html! {
            h2 { "Evaluation" }
            pre { (evaluate::text(&evaluation)) }
            (charts)
            h3 { "Told wrong: " (all) " of " (evaluation.count) ", the surest first" }
            (gallery(&photos))
        })
    }

    async fn charts(&self, path: &[&str], names: &[&str]) -> anyhow::Result<Markup> {
        let mut charts = Vec::new();
        for name in names {
            let file = format!("{name}.svg");
            let path = [path, &["charts", &file]].concat();
            let svg = self.session.client.bytes(self.session.client.request(Method::GET, &path));
            charts.push(String::from_utf8(svg.await?.into()).context("a chart is no text")?);
        }
        // The server's own SVG, in which it has escaped what is not.
        Ok(html! { div.charts { @for chart in charts { (PreEscaped(chart)) } } })
    }

    /// A thumbnail, while the image is there and whole.
    async fn photo(&self, id: &str, caption: String) -> anyhow::Result<Option<Photo>> {
        let request = self.session.client.request(Method::GET, &["images", id, "thumbnail"]);
        match self.session.client.bytes(request).await {
            Ok(jpeg) => Ok(Some(Photo { source: data_url("image/jpeg", &jpeg), caption })),
            Err(client::Error::Problem(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn is_not_found(error: &anyhow::Error) -> bool {
    error.downcast_ref::<client::Error>().is_some_and(client::Error::is_not_found)
}

fn gallery(photos: &[Photo]) -> Markup {
    html! {
        div.photos {
            @for Photo { source, caption } in photos {
                figure { img src=(source) alt=(caption); figcaption { (caption) } }
            }
        }
    }
}

fn data_url(media_type: &str, bytes: &[u8]) -> String {
    format!("data:{media_type};base64,{}", BASE64_STANDARD.encode(bytes))
}
