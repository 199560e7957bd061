//! Aliases: names that are moved from one model to another.

use serde_json::{Value, json};

use super::{
    assert_described,
    common::{Server, photo},
    model, names, server, swapped,
};

async fn set(server: &Server, alias: &str, model: &str) -> Value {
    server.json("PUT", &format!("/aliases/{alias}"), json!({ "model": model })).await.ok()
}

/// The model that answers a request for `model`.
async fn answers(server: &Server, model: &str) -> String {
    let answer = server.post(&format!("/predict?model={model}"), photo(1)).await.ok();
    answer["model"]["name"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_alias_is_used_as_a_models_name_and_resolved_for_each_request() {
    let server = server().await;
    model(&server, "first", "pets", |_| {}).await;
    model(&server, "second", "pets", swapped).await;
    assert_eq!(server.get("/aliases").await.ok(), json!({ "items": [] }));
    server.post("/predict?model=champion", photo(1)).await.problem(404, "not_found");

    let alias = set(&server, "champion", "first").await;
    assert_described(&server, "Alias", &alias).await;
    assert_eq!((&alias["name"], &alias["model"]), (&json!("champion"), &json!("first")));
    assert_eq!(answers(&server, "champion").await, "first");
    for path in ["/models/champion", "/v2/models/champion", "/v2/models/champion/ready"] {
        assert_eq!(server.get(path).await.ok()["name"], "first", "{path}");
    }
    // Of another alias and of the model in service, the model of now.
    set(&server, "challenger", "second").await;
    set(&server, "same", "challenger").await;
    set(&server, "serving", "current").await;
    set(&server, "challenger", "first").await;
    let list = server.get("/aliases").await.ok();
    assert_eq!(names(&list, "name"), ["challenger", "champion", "same", "serving"]);
    assert_eq!(names(&list, "model"), ["first", "first", "second", "default"]);

    set(&server, "champion", "second").await;
    assert_eq!(answers(&server, "champion").await, "second");
    let comparison = server.get("/models/champion/compare?with=challenger").await.ok();
    assert_eq!(
        (&comparison["first"]["name"], &comparison["second"]["name"]),
        (&json!("second"), &json!("first"))
    );

    // Pinned is the model, not the alias.
    server.json("PUT", "/models/current", json!({ "model": "champion" })).await.ok();
    set(&server, "champion", "first").await;
    assert_eq!(server.get("/models/current").await.ok()["name"], "second");

    assert_eq!(server.delete("/aliases/champion").await.status, 204);
    server.get("/models/champion").await.problem(404, "not_found");
    server.delete("/aliases/champion").await.problem(404, "not_found");
    server.delete("/aliases/no%20name").await.problem(404, "not_found");
}

#[tokio::test]
async fn an_alias_has_a_name_of_its_own() {
    let server = server().await;
    model(&server, "first", "pets", |_| {}).await;
    let put = async |alias: &str, body: Value| {
        server.json("PUT", &format!("/aliases/{alias}"), body).await
    };
    let first = json!({ "model": "first" });
    for alias in ["first", "default"] {
        put(alias, first.clone()).await.problem(409, "name_taken");
    }
    for alias in ["current", "best", "-x", "a%20b", "01a21789-0000-7000-8000-000000000000"] {
        put(alias, first.clone()).await.problem(422, "invalid_value");
    }
    put("champion", json!({ "model": "none" })).await.problem(404, "not_found");
    put("champion", json!({})).await.problem(422, "invalid_value");
    put("champion", json!({ "model": "first", "x": 1 })).await.problem(422, "invalid_value");
    assert_eq!(server.get("/aliases").await.ok(), json!({ "items": [] }));

    // Nor may a job take an alias's name, or one of a route.
    set(&server, "champion", "first").await;
    let job = |name: &str| json!({ "recipe": "scratch_cnn", "dataset": "pets", "name": name });
    server.json("POST", "/jobs", job("champion")).await.problem(409, "name_taken");
    for name in ["history", "rollback", "shadow"] {
        server.json("POST", "/jobs", job(name)).await.problem(409, "name_taken");
    }
}

#[tokio::test]
async fn a_model_with_an_alias_is_not_deleted() {
    let server = server().await;
    let id = model(&server, "first", "pets", |_| {}).await;
    set(&server, "champion", "first").await;
    for reference in ["first", "champion", &id.to_string()] {
        let problem =
            server.delete(&format!("/models/{reference}")).await.problem(409, "has_alias");
        assert_eq!(problem["alias"], "champion");
        assert_eq!(
            problem["detail"],
            "the alias `champion` points to `first`; set it to another model or remove it before deleting this one"
        );
    }
    server.delete("/aliases/champion").await;
    assert_eq!(server.delete("/models/first").await.status, 204);
}

#[tokio::test]
async fn a_model_that_can_not_be_loaded_gets_no_alias() {
    let server = server().await;
    model(&server, "first", "pets", |_| {}).await;
    set(&server, "champion", "first").await;
    let broken = model(&server, "broken", "pets", |_| {}).await;
    std::fs::remove_file(server.app.data_dir.model(broken)).unwrap();
    let put = server.json("PUT", "/aliases/champion", json!({ "model": "broken" })).await;
    put.problem(422, "model_unusable");
    assert_eq!(answers(&server, "champion").await, "first");
}
