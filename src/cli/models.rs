//! `pawprint models`: the list of models, the one in service marked.

use clap::Args;
use indicatif::BinaryBytes;
use jiff::Timestamp;

use super::{
    Ending, Session,
    answers::Model,
    args::ClientArgs,
    client,
    output::{age, decimals},
};

const HEADING: [&str; 8] =
    ["NAME", "RECIPE", "DATASET", "VAL ACC", "TEST ACC", "SIZE", "AGE", "IN SERVICE"];

/// Options of `pawprint models`.
#[derive(Debug, Args)]
pub(super) struct Models {
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

impl Models {
    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<Ending> {
        let items = session.client.list(&["models"], &[], usize::MAX).await?;
        if session.out.is_json() {
            session.out.document(&items)?;
        } else if items.is_empty() {
            session.out.note("there are no models yet");
        } else {
            let now = Timestamp::now();
            let rows: anyhow::Result<Vec<_>> =
                items.iter().map(|item| Ok(row(client::read(item)?, now))).collect();
            session.out.table(&HEADING, &rows?)?;
        }
        Ok(Ending::Success)
    }
}

fn row(model: Model, now: Timestamp) -> Vec<String> {
    vec![
        model.name,
        model.recipe,
        model.dataset,
        decimals(model.val_accuracy),
        decimals(model.test_accuracy),
        BinaryBytes(model.bytes).to_string(),
        age(model.created_at, now),
        if model.in_service { "yes".to_owned() } else { String::new() },
    ]
}
