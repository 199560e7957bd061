//! `pawprint predictions`: lists the log of predictions, gives feedback, exports it, deletes from it.

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    ExitStatus, Session,
    args::{ClientArgs, reference},
    client,
    output::age,
};

const HEADING: [&str; 8] =
    ["AGE", "FILE", "LABEL", "PROBABILITY", "UNSURE", "FEEDBACK", "MODEL", "ID"];
/// Columns of an export as CSV.
const COLUMNS: [&str; 14] = [
    "id",
    "created_at",
    "model",
    "file_name",
    "label",
    "probability",
    "unsure",
    "reason",
    "distance",
    "token",
    "sha256",
    "feedback",
    "feedback_by",
    "feedback_at",
];

/// Options of `pawprint predictions`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Predictions {
    #[command(subcommand)]
    action: Option<Action>,

    #[command(flatten)]
    filter: Filter,

    /// Maximum number of predictions to list
    #[arg(long, value_name = "N", default_value = "20")]
    limit: usize,

    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct Filter {
    /// Only predictions of this model
    #[arg(long, value_name = "MODEL", value_parser = reference)]
    model: Option<String>,

    /// Only predictions that the model was unsure of
    #[arg(long)]
    unsure: bool,

    /// Only predictions whose feedback names another class
    #[arg(long)]
    contradicted: bool,

    /// Only predictions with feedback
    #[arg(long)]
    with_feedback: bool,

    /// Only predictions of this class
    #[arg(long, value_name = "CLASS")]
    label: Option<String>,

    /// Only predictions from this time on, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,

    /// Only predictions before this time
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print predictions for other programs, newest first
    Export(Export),
    /// Say which class the image of a prediction has
    Feedback(Feedback),
    /// Compare the predictions of a model with its validation split
    Drift(Drift),
    /// Delete a prediction, with its image and feedback
    Delete(Delete),
}

#[derive(Debug, Args)]
struct Export {
    #[command(flatten)]
    filter: Filter,

    /// Format: one JSON document per line, or CSV
    #[arg(long, value_enum, default_value = "jsonl", value_name = "FORMAT")]
    format: Format,

    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Jsonl,
    Csv,
}

#[derive(Debug, Args)]
struct Feedback {
    /// Id of the prediction
    #[arg(value_parser = reference)]
    id: String,

    /// Class of its image
    #[arg(required_unless_present = "withdraw", conflicts_with = "withdraw")]
    label: Option<String>,

    /// Withdraw the feedback
    #[arg(long)]
    withdraw: bool,

    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct Drift {
    /// Name or id of the model [default: the model in service]
    #[arg(value_parser = reference)]
    model: Option<String>,

    /// The last so many hours
    #[arg(long, value_name = "N", default_value = "24")]
    hours: u32,

    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct Delete {
    /// Id of the prediction
    #[arg(value_parser = reference)]
    id: String,

    #[command(flatten)]
    client: ClientArgs,
}

/// A prediction of the log, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Logged {
    id: String,
    created_at: Timestamp,
    model: Model,
    file_name: Option<String>,
    label: String,
    probability: f64,
    reason: Option<String>,
    feedback: Option<Given>,
}

#[derive(Debug, Deserialize)]
struct Model {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Given {
    label: String,
}

/// The server's verdict on a model, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Verdict {
    model: Model,
    detail: String,
    predictions: u64,
}

impl Filter {
    fn query(&self) -> Vec<(&'static str, String)> {
        let flag = |name, on: bool| on.then(|| (name, "true".to_owned()));
        let text = |name, value: Option<String>| Some((name, value?));
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
        let all = [
            text("model", self.model.clone()),
            flag("unsure", self.unsure),
            flag("contradicted", self.contradicted),
            flag("with_feedback", self.with_feedback),
            text("label", self.label.clone()),
            text("from", time(self.from)),
            text("to", time(self.to)),
        ];
        all.into_iter().flatten().collect()
    }

    async fn list(&self, session: &Session, limit: usize) -> Result<Vec<Value>, client::Error> {
        let query = self.query();
        let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        session.client.list(&["predictions"], &query, limit).await
    }
}

impl Predictions {
    pub(super) const fn client(&self) -> &ClientArgs {
        match &self.action {
            Some(Action::Export(export)) => &export.client,
            Some(Action::Feedback(feedback)) => &feedback.client,
            Some(Action::Drift(drift)) => &drift.client,
            Some(Action::Delete(delete)) => &delete.client,
            None => &self.client,
        }
    }

    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        match &self.action {
            Some(Action::Export(export)) => export.run(session).await,
            Some(Action::Feedback(feedback)) => feedback.run(session).await,
            Some(Action::Drift(drift)) => drift.run(session).await,
            Some(Action::Delete(delete)) => delete.run(session).await,
            None => {
                let items = self.filter.list(session, self.limit).await?;
                session.out.list(&items, "no matching predictions", &HEADING, row)?;
                Ok(ExitStatus::Success)
            }
        }
    }
}

fn row(logged: Logged, now: Timestamp) -> Vec<String> {
    let dash = || "-".to_owned();
    vec![
        age(logged.created_at, now),
        logged.file_name.unwrap_or_else(dash),
        logged.label,
        format!("{:.4}", logged.probability),
        logged.reason.unwrap_or_else(dash),
        logged.feedback.map_or_else(dash, |given| given.label),
        logged.model.name,
        logged.id,
    ]
}

impl Export {
    async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        let items = self.filter.list(session, usize::MAX).await?;
        if self.format == Format::Jsonl {
            for item in &items {
                session.out.line(item)?;
            }
            return Ok(ExitStatus::Success);
        }
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(COLUMNS)?;
        for item in &items {
            let given = |member: &str| item["feedback"].get(member).unwrap_or(&Value::Null);
            csv.write_record(COLUMNS.map(|column| {
                cell(match column {
                    "model" => &item["model"]["name"],
                    "feedback" => given("label"),
                    "feedback_by" => given("by"),
                    "feedback_at" => given("at"),
                    _ => &item[column],
                })
            }))?;
        }
        let text = String::from_utf8(csv.into_inner()?)?;
        session.out.line(text.trim_end())?;
        Ok(ExitStatus::Success)
    }
}

/// A value without quotation marks; nothing for null. Text that a spreadsheet would run as a formula begins with
/// an apostrophe, which says that it is text (OWASP): file names are whatever clients sent.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => {
            format!("'{text}")
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Feedback {
    async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        let path = ["predictions", &self.id, "feedback"];
        let request = match &self.label {
            Some(label) => {
                session.client.request(Method::POST, &path).json(&json!({ "label": label }))
            }
            None => session.client.request(Method::DELETE, &path),
        };
        let response: Value = session.client.json(request).await?;
        if session.out.is_json() {
            session.out.document(&response)?;
            return Ok(ExitStatus::Success);
        }
        let Logged { id, label, feedback, .. } = client::read(&response)?;
        session.out.line(match feedback {
            None => format!("{id}: feedback withdrawn"),
            Some(given) if given.label == label => format!("{id}: confirmed as {label}"),
            Some(given) => format!("{id}: {}, not {label}", given.label),
        })?;
        Ok(ExitStatus::Success)
    }
}

impl Drift {
    async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        let mut request = session.client.request(Method::GET, &["predictions", "drift"]);
        request = request.query(&[("hours", self.hours)]);
        if let Some(model) = &self.model {
            request = request.query(&[("model", model)]);
        }
        let response: Value = session.client.json(request).await?;
        if session.out.is_json() {
            session.out.document(&response)?;
        } else {
            let Verdict { model, detail, predictions } = client::read(&response)?;
            session.out.line(format_args!(
                "{}, {predictions} predictions in {} h: {detail}",
                model.name, self.hours
            ))?;
        }
        Ok(ExitStatus::Success)
    }
}

impl Delete {
    async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        let request = session.client.request(Method::DELETE, &["predictions", &self.id]);
        session.client.bytes(request).await?;
        if session.out.is_json() {
            session.out.document(&json!({ "deleted": self.id }))?;
        } else {
            session.out.line(format_args!("deleted {}", self.id))?;
        }
        Ok(ExitStatus::Success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_formula_in_a_spreadsheet() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(cell(&json!(text)), format!("'{text}"));
        }
        for text in ["", "a=1.jpg", "'=1"] {
            assert_eq!(cell(&json!(text)), text);
        }
        assert_eq!(cell(&json!(-0.5)), "-0.5");
        assert_eq!(cell(&Value::Null), "");
    }
}
