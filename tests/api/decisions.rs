//! Which model serves: the decision on a new one, given how the one in service does on its images.

use crate::common::{Server, process::photos};
use pawprint::{
    domain::{
        ModelId,
        dataset::{Classes, Split},
        evaluation::Interval,
        metrics::SplitMetrics,
        service::{Comparison, ComparisonMetrics, Score},
    },
    model_file,
    registry::{
        admission::{Admission, NewModel},
        embedded,
    },
};
use serde_json::{Value, json};

/// Test images of a model that no trainer made.
const COUNT: u64 = 100;

fn metrics(hits: u64) -> SplitMetrics {
    SplitMetrics { count: COUNT, loss: 0.5, accuracy: hits as f64 / COUNT as f64 }
}

/// A model that is right on that many images.
fn of_hits(hits: u64) -> ComparisonMetrics {
    let metrics = metrics(hits);
    ComparisonMetrics { validation: metrics, test: Some(metrics), test_misclassified: None }
}

/// A server with a dataset; no trainer runs.
async fn server() -> Server {
    let server = Server::start().await;
    server.pets().await;
    server.post("/datasets/pets/archive", crate::common::tar(&photos(2))).await.ok();
    server
}

/// A job that has just trained a model of `classes`, which is right on that many of its test images.
async fn trained(server: &Server, name: &str, classes: [&str; 2], hits: u64) -> NewModel {
    let job = json!({ "recipe": "scratch_cnn", "dataset": "pets", "name": name });
    let job = server.json("POST", "/jobs", job).await.ok();
    let (mut card, tensors) = embedded::model().unwrap();
    card.id = ModelId::new();
    card.name = name.parse().unwrap();
    card.job_id = job["id"].as_str().unwrap().parse().unwrap();
    card.classes = Classes::new(classes.map(|it| it.parse().unwrap()).to_vec()).unwrap();
    (card.validation, card.test) = (metrics(hits), Some(metrics(hits)));
    let path = server.app.data_dir.model(card.id);
    model_file::save(&path, &card, &tensors).unwrap();
    let score = Score {
        split: Split::Test,
        count: COUNT,
        accuracy: metrics(hits).accuracy,
        accuracy_interval: Interval::wilson(hits, COUNT),
        guessing_accuracy: 0.5,
    };
    NewModel { card, bytes: path.metadata().unwrap().len(), score, misclassified: None }
}

/// Admits a model where the one in service would be right on that many images; gives the decision.
async fn admit(server: &Server, new: &NewModel, hits: u64) -> Value {
    let model = server.app.registry.rival(new).await.unwrap();
    let result = Ok(of_hits(hits));
    let comparison = model.map(|model| Comparison { model: model.id, result });
    let admission = server.app.registry.admit(new, comparison.as_ref()).await.unwrap();
    assert_eq!(admission, Admission::Decided);
    server.get(&format!("/jobs/{}", new.card.job_id)).await.ok()["service"].clone()
}

/// Makes sure that a job is of the form that the API's document gives it.
async fn assert_described(server: &Server, job: &str) {
    let document = server.get("/openapi.json").await.ok();
    let schema =
        json!({ "$ref": "#/components/schemas/Job", "components": document["components"] });
    let job = server.get(&format!("/jobs/{job}")).await.ok();
    jsonschema::draft202012::new(&schema).unwrap().validate(&job).unwrap();
    let schemas = document["components"]["schemas"].to_string();
    for field in
        ["guessing_accuracy", "compared_with", "\"in_service\",\"kept\",\"guessing\",\"pinned\""]
    {
        assert!(schemas.contains(field), "{field}");
    }
}

async fn serving(server: &Server) -> String {
    let current = server.get("/models/current").await.ok();
    format!("{} {}", current["mode"].as_str().unwrap(), current["name"].as_str().unwrap())
}

async fn choose(server: &Server, model: &str) {
    server.json("PUT", "/models/current", json!({ "model": model })).await.ok();
}

const PETS: [&str; 2] = ["cat", "dog"];

#[tokio::test]
async fn only_a_model_that_is_not_worse_takes_the_place_of_another() {
    let server = server().await;
    let first = trained(&server, "first", PETS, 94).await;
    let service = admit(&server, &first, 95).await;
    assert_eq!(service["decision"], "kept");
    assert_eq!(
        service["reason"],
        "it is less accurate than default (94.0% vs. 95.0%; 94 vs. 95 of 100 test images)"
    );
    assert_eq!((&service["split"], &service["count"]), (&json!("test"), &json!(100)));
    assert_eq!(service["compared_with"]["name"], "default");
    assert_eq!(service["compared_with"]["accuracy"], 0.95);
    assert_eq!(serving(&server).await, "best default");
    assert_eq!(server.get("/models/first").await.ok()["in_service"], false);
    assert_described(&server, "first").await;

    // One click uses it all the same.
    choose(&server, "first").await;
    assert_eq!(serving(&server).await, "pinned first");
    choose(&server, "best").await;
    assert_eq!(serving(&server).await, "best default");

    // As good is good enough; classes in another order and case are the same.
    let second = trained(&server, "second", ["Dog", "Cat"], 94).await;
    assert_eq!(admit(&server, &second, 94).await["decision"], "in_service");
    assert_eq!(serving(&server).await, "best second");
    let third = trained(&server, "third", PETS, 93).await;
    let service = admit(&server, &third, 94).await;
    assert_eq!(service["compared_with"]["name"], "second");
    assert_eq!((&service["decision"], &*serving(&server).await), (&json!("kept"), "best second"));
}

#[tokio::test]
async fn a_model_that_can_not_be_told_from_guessing_only_serves_if_it_is_chosen() {
    let server = server().await;
    for (name, classes) in [("pets-1", PETS), ("parts-1", ["good", "bad"])] {
        let new = trained(&server, name, classes, 59).await;
        assert!(server.app.registry.rival(&new).await.unwrap().is_none(), "needs no comparison");
        let service = admit(&server, &new, 0).await;
        assert_eq!(service["decision"], "guessing");
        assert_eq!(service["compared_with"], Value::Null);
        assert_eq!(serving(&server).await, "best default");
    }
    choose(&server, "pets-1").await;
    assert_eq!(serving(&server).await, "pinned pets-1");
}

#[tokio::test]
async fn other_classes_are_not_compared_and_what_is_deleted_gives_way_to_what_it_replaced() {
    let server = server().await;
    for (name, classes, hits, decision, reason) in [
        ("pets-1", PETS, 95, "in_service", "it is at least as accurate as default ("),
        (
            "parts-1",
            ["good", "bad"],
            70,
            "in_service",
            "it beats guessing (70.0% of 100 test images",
        ),
        ("parts-2", ["good", "bad"], 69, "kept", "it is less accurate than parts-1 ("),
    ] {
        let new = trained(&server, name, classes, hits).await;
        let service = admit(&server, &new, if hits == 69 { 70 } else { 0 }).await;
        assert_eq!(service["decision"], decision, "{service}");
        assert!(service["reason"].as_str().unwrap().starts_with(reason), "{service}");
    }
    assert_eq!(serving(&server).await, "best parts-1");
    server.delete("/models/parts-1").await.problem(409, "in_service");
    for (deleted, next) in [("parts-1", "best pets-1"), ("pets-1", "best default")] {
        choose(&server, "parts-2").await;
        assert_eq!(server.delete(&format!("/models/{deleted}")).await.status, 204);
        choose(&server, "best").await;
        assert_eq!(serving(&server).await, next, "not parts-2, which was decided against");
    }
}

#[tokio::test]
async fn what_is_pinned_stays_and_the_decision_holds_once_it_is_not() {
    let server = server().await;
    let first = trained(&server, "first", PETS, 60).await;
    admit(&server, &first, 90).await;
    choose(&server, "first").await;
    // Compared with what would be in service without the pin.
    for (name, hits, would, best) in
        [("second", 89, "would not be", "default"), ("third", 95, "would be", "third")]
    {
        let new = trained(&server, name, PETS, hits).await;
        let service = admit(&server, &new, 90).await;
        assert_eq!(
            (&service["decision"], &service["compared_with"]["name"]),
            (&json!("pinned"), &json!("default"))
        );
        let start =
            format!("first is pinned; without the pin this model {would} in service: it is ");
        assert!(service["reason"].as_str().unwrap().starts_with(&start), "{service}");
        assert_eq!(serving(&server).await, "pinned first");
        choose(&server, "best").await;
        assert_eq!(serving(&server).await, format!("best {best}"));
        choose(&server, "first").await;
    }
}

#[tokio::test]
async fn a_decision_is_made_once_and_on_the_model_that_is_in_service_then() {
    let server = server().await;
    let [first, second] = ["first", "second"].map(|name| trained(&server, name, PETS, 95));
    let (first, second) = (first.await, second.await);
    let default = server.app.registry.rival(&second).await.unwrap().unwrap().id;
    let result = Ok(of_hits(90));
    let of_default = Comparison { model: default, result };
    admit(&server, &first, 90).await;
    // `second` was compared with `default` while `first` took its place.
    for comparison in [Some(&of_default), None] {
        let admission = server.app.registry.admit(&second, comparison).await.unwrap();
        assert_eq!(admission, Admission::Outdated);
        server.get("/models/second").await.problem(404, "not_found");
        let job = server.get(&format!("/jobs/{}", second.card.job_id)).await.ok();
        assert_eq!((&job["service"], &job["model_id"]), (&Value::Null, &Value::Null));
    }
    let service = admit(&server, &second, 96).await;
    assert_eq!(
        (&service["decision"], &service["compared_with"]["name"]),
        (&json!("kept"), &json!("first"))
    );
    // A trainer that reports the same model again, after a restart, changes nothing.
    assert_eq!(admit(&server, &second, 0).await, service);
    assert_eq!(serving(&server).await, "best first");
}

#[tokio::test]
async fn a_model_that_can_not_be_loaded_or_compared_does_not_replace_one_that_can() {
    let server = server().await;
    let broken = trained(&server, "broken", PETS, 95).await;
    std::fs::remove_file(server.app.data_dir.model(broken.card.id)).unwrap();
    let service = admit(&server, &broken, 90).await;
    assert_eq!(service["decision"], "kept");
    assert!(service["reason"].as_str().unwrap().starts_with("it can't be loaded: "), "{service}");

    let other = trained(&server, "other", PETS, 95).await;
    let model = server.app.registry.rival(&other).await.unwrap().unwrap().id;
    let comparison = Comparison { model, result: Err("out of memory".to_owned()) };
    server.app.registry.admit(&other, Some(&comparison)).await.unwrap();
    let job = server.get("/jobs/other").await.ok();
    let reason = "it could not be compared with default: out of memory";
    assert_eq!(
        (&job["service"]["decision"], &job["service"]["reason"]),
        (&json!("kept"), &json!(reason))
    );
    assert_eq!(serving(&server).await, "best default");
}
