//! Promotion: models compared with each other, aliases, history and rollback.
#![expect(clippy::unwrap_used, reason = "a test that can't go on may stop there")]
#![cfg(target_os = "linux")]

mod aliases;
#[path = "../common/mod.rs"]
mod common;
mod compare;
mod history;
mod load;

use std::collections::BTreeMap;

use common::{Server, process::photos};
use pawprint::{
    domain::{ModelId, Timestamp, dataset::Classes, model::ModelCard},
    model_file,
    registry::embedded,
    storage::models,
};
use serde_json::{Value, json};

/// A server with the dataset `pets` of striped photos; no trainer runs.
async fn server() -> Server {
    let server = Server::start().await;
    server.pets().await;
    server.post("/datasets/pets/archive", common::tar(&photos(8))).await.ok();
    server
}

/// Saves a model that computes what the built-in one does, changed by `change`, as that of a job on
/// `dataset` that does not run.
async fn model(
    server: &Server,
    name: &str,
    dataset: &str,
    change: impl FnOnce(&mut ModelCard),
) -> ModelId {
    let job = json!({ "recipe": "scratch_cnn", "dataset": dataset, "name": name });
    let job = server.json("POST", "/jobs", job).await.ok();
    let (mut card, tensors) = embedded::model().unwrap();
    (card.id, card.name) = (ModelId::new(), name.parse().unwrap());
    card.job_id = job["id"].as_str().unwrap().parse().unwrap();
    card.created_at = Timestamp::now();
    change(&mut card);
    let path = server.app.data_dir.model(card.id);
    model_file::save(&path, &card, &tensors).unwrap();
    let mut transaction = server.app.storage.write().await.unwrap();
    let bytes = path.metadata().unwrap().len();
    models::insert(&mut transaction, &card, bytes).await.unwrap();
    models::decide(&mut transaction, card.id, false).await.unwrap();
    transaction.commit().await.unwrap();
    card.id
}

/// Its classes in another order: it predicts the opposite.
fn swapped(card: &mut ModelCard) {
    card.classes = classes(["dog", "cat"]);
}

fn classes(names: [&str; 2]) -> Classes {
    Classes::new(names.map(|name| name.parse().unwrap()).to_vec()).unwrap()
}

/// The names of what an answer lists.
fn names(list: &Value, member: &str) -> Vec<String> {
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| item[member].as_str().unwrap().to_owned()).collect()
}

/// Makes sure that an answer is of the form that the API's document gives it.
async fn assert_described(server: &Server, schema: &str, answer: &Value) {
    let document = server.get("/openapi.json").await.ok();
    let schema = format!("#/components/schemas/{schema}");
    let schema = json!({ "$ref": schema, "components": document["components"] });
    let result = jsonschema::draft202012::new(&schema).unwrap();
    let errors: Vec<_> = result.iter_errors(answer).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?} {answer}");
}

/// The number of each value.
fn counts<'a>(values: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    counts
}
