//! `pawprint models shadow`: has a model answer the requests to the model in service, unseen by clients, and
//! shows where the two differ.

use clap::{ArgGroup, Args};
use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    ExitStatus, Session,
    args::{ClientArgs, reference},
    client,
    output::{age, counted},
};

/// Differences that are printed by default.
const SHOWN: usize = 20;

/// Options of `pawprint models shadow`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("action").args(["model", "remove", "differences"])))]
pub(super) struct SetShadow {
    /// Name, alias or id of the model; without it, the shadow is shown
    #[arg(value_parser = reference)]
    model: Option<String>,

    /// Share of the server's processor time that it may use, above 0 and up to 1 [default: 0.25]
    #[arg(long, value_name = "FRACTION", requires = "model")]
    cpu_fraction: Option<f64>,

    /// List images for which it predicted another class than the model in service, newest first
    #[arg(long)]
    differences: bool,

    /// Maximum number of differences
    #[arg(long, value_name = "N", default_value_t = SHOWN)]
    limit: usize,

    /// End the shadow, and forget what it has done
    #[arg(long)]
    remove: bool,

    #[command(flatten)]
    pub(super) client: ClientArgs,
}

#[derive(Debug, Deserialize)]
struct Shadow {
    model: String,
    started_at: Timestamp,
    images: u64,
    failed: u64,
    dropped: u64,
    cpu_seconds: f64,
    agreement: Option<f64>,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Difference {
    at: Timestamp,
    sha256: String,
    model: String,
    label: String,
    probability: f64,
    shadow_label: String,
    shadow_probability: f64,
}

impl SetShadow {
    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        let (client, out) = (&session.client, session.out);
        let shadow = ["models", "shadow"];
        if self.differences {
            let path = ["models", "shadow", "differences"];
            let items = client.list(&path, &[], self.limit).await?;
            let heading = ["AGE", "MODEL", "PREDICTED", "SHADOW PREDICTED", "IMAGE (SHA-256)"];
            out.list(&items, "no differences yet", &heading, row)?;
        } else if self.remove {
            client.bytes(client.request(Method::DELETE, &shadow)).await?;
            if out.is_json() {
                out.document(&json!({ "deleted": "shadow" }))?;
            } else {
                out.line("there is no shadow any more")?;
            }
        } else {
            let request = match &self.model {
                Some(model) => client.request(Method::PUT, &shadow).json(&self.body(model)),
                None => client.request(Method::GET, &shadow),
            };
            let response: Value = client.json(request).await?;
            if out.is_json() {
                out.document(&response)?;
            } else {
                match client::read(&response)? {
                    Some(shadow) => out.line(sentence(&shadow))?,
                    None => out.note("no shadow: set one with `pawprint models shadow MODEL`"),
                }
            }
        }
        Ok(ExitStatus::Success)
    }

    fn body(&self, model: &str) -> Value {
        let mut body = json!({ "model": model });
        if let Some(fraction) = self.cpu_fraction {
            body["cpu_fraction"] = json!(fraction);
        }
        body
    }
}

fn row(difference: Difference, now: Timestamp) -> Vec<String> {
    let prediction = |label, probability| format!("{label} ({probability:.4})");
    vec![
        age(difference.at, now),
        difference.model,
        prediction(difference.label, difference.probability),
        prediction(difference.shadow_label, difference.shadow_probability),
        difference.sha256,
    ]
}

fn sentence(shadow: &Shadow) -> String {
    let agreement = match shadow.agreement {
        Some(share) => format!(
            "it agreed with the model in service on {:.1}% of {}",
            share * 100.0,
            counted(shadow.images, "image")
        ),
        None => "it has classified no images yet".to_owned(),
    };
    let stopped = shadow.error.as_ref();
    let stopped = stopped.map_or_else(String::new, |why| format!("; it does not run: {why}"));
    format!(
        "{} has been the shadow for {}: {agreement} ({} skipped, {} failed, {:.1} s of processor time){stopped}",
        shadow.model,
        age(shadow.started_at, Timestamp::now()),
        counted(shadow.dropped, "request"),
        counted(shadow.failed, "image"),
        shadow.cpu_seconds
    )
}
