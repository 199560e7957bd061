//! `pawprint webhooks`: who is told when a job has ended, another model goes into service or an alias changes.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    ExitStatus, Session,
    args::{ClientArgs, Named},
    client,
    output::age,
};

const HEADING: [&str; 4] = ["ID", "URL", "EVENTS", "AGE"];
const DELIVERIES: [&str; 6] = ["EVENT", "STATUS", "ATTEMPTS", "RESPONSE", "AGE", "ERROR"];

/// Options of `pawprint webhooks`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Webhooks {
    #[command(subcommand)]
    action: Option<Action>,

    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the webhooks
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Add a webhook and print the secret that signs its deliveries; it is not shown again
    Add(Add),
    /// Remove a webhook
    Remove(Named),
    /// Send a test to a webhook, and say whether the receiver accepted it
    Test(Named),
    /// List the deliveries to a webhook, newest first
    Deliveries(Deliveries),
}

#[derive(Debug, Args)]
struct Add {
    /// Where deliveries are sent
    url: String,

    /// What it is told of: job.succeeded, job.failed, job.cancelled, job.interrupted, model.in_service,
    /// alias.changed; may be repeated [default: everything]
    #[arg(long, value_delimiter = ',', value_name = "EVENT")]
    event: Vec<String>,

    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct Deliveries {
    #[command(flatten)]
    webhook: Named,

    /// Maximum number of deliveries
    #[arg(long, default_value = "20", value_name = "N")]
    limit: usize,
}

/// The server's responses, as far as they are read.
#[derive(Debug, Deserialize)]
struct Created {
    id: String,
    secret: String,
}

#[derive(Debug, Deserialize)]
struct Webhook {
    id: String,
    url: String,
    events: Vec<String>,
    created_at: Timestamp,
}

#[derive(Debug, Deserialize)]
struct Delivery {
    event: String,
    status: String,
    attempts: u32,
    created_at: Timestamp,
    response_status: Option<u16>,
    seconds: Option<f64>,
    error: Option<String>,
}

impl Webhooks {
    pub(super) const fn client(&self) -> &ClientArgs {
        match &self.action {
            Some(Action::List { client }) => client,
            Some(Action::Add(add)) => &add.client,
            Some(Action::Remove(webhook) | Action::Test(webhook)) => &webhook.client,
            Some(Action::Deliveries(deliveries)) => &deliveries.webhook.client,
            None => &self.client,
        }
    }

    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        match &self.action {
            Some(Action::Add(add)) => add.run(session).await,
            Some(Action::Remove(webhook)) => webhook.delete("webhooks", session).await,
            Some(Action::Test(webhook)) => test(&webhook.name, session).await,
            Some(Action::Deliveries(deliveries)) => deliveries.run(session).await,
            Some(Action::List { .. }) | None => list(session).await,
        }
    }
}

impl Add {
    async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        let mut body = json!({ "url": self.url });
        if !self.event.is_empty() {
            body["events"] = json!(self.event);
        }
        let request = session.client.request(Method::POST, &["webhooks"]).json(&body);
        let response: Value = session.client.json(request).await?;
        if session.out.is_json() {
            session.out.document(&response)?;
        } else {
            let Created { id, secret } = client::read(&response)?;
            session.out.note(format_args!(
                "added webhook {id}. Keep its secret, which signs what is sent: it is not shown again."
            ));
            session.out.line(secret)?;
        }
        Ok(ExitStatus::Success)
    }
}

async fn test(id: &str, session: &Session) -> anyhow::Result<ExitStatus> {
    let request = session.client.request(Method::POST, &["webhooks", id, "test"]);
    let response: Value = session.client.json(request).await?;
    let delivery: Delivery = client::read(&response)?;
    if session.out.is_json() {
        session.out.document(&response)?;
    } else {
        let seconds = delivery.seconds.unwrap_or(0.0);
        session.out.line(match &delivery.error {
            None => format!("accepted in {seconds:.2} s"),
            Some(error) => format!("not accepted: {error}"),
        })?;
    }
    Ok(if delivery.status == "delivered" { ExitStatus::Success } else { ExitStatus::Failed })
}

async fn list(session: &Session) -> anyhow::Result<ExitStatus> {
    let request = session.client.request(Method::GET, &["webhooks"]);
    let response: Value = session.client.json(request).await?;
    let items = response["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    session.out.list(items, "no webhooks", &HEADING, |webhook: Webhook, now| {
        let Webhook { id, url, events, created_at } = webhook;
        vec![id, url, events.join(","), age(created_at, now)]
    })?;
    Ok(ExitStatus::Success)
}

impl Deliveries {
    async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        let path = ["webhooks", &self.webhook.name, "deliveries"];
        let items = session.client.list(&path, &[], self.limit).await?;
        session.out.list(
            &items,
            "nothing has been sent",
            &DELIVERIES,
            |delivery: Delivery, now| {
                vec![
                    delivery.event,
                    delivery.status,
                    delivery.attempts.to_string(),
                    delivery.response_status.map_or_else(|| "-".to_owned(), |it| it.to_string()),
                    age(delivery.created_at, now),
                    delivery.error.unwrap_or_default(),
                ]
            },
        )?;
        Ok(ExitStatus::Success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::webhook::Event;

    #[test]
    fn the_help_names_each_event() {
        let help = Add::augment_args(clap::Command::new("add")).render_long_help().to_string();
        for event in Event::ALL {
            assert!(help.contains(event.as_str()), "{event}: {help}");
        }
    }
}
