//! What people say about a prediction.

use serde_json::{Value, json};

use super::{common::photo, listed, logging, predicted};

#[tokio::test]
async fn feedback_replaces_what_was_said_before_and_can_be_withdrawn() {
    let server = logging().await;
    // It is still queued: nothing runs that would write it.
    let id = predicted(&server, photo(1)).await;
    let path = format!("/predictions/{id}/feedback");
    for label in ["cat", "dog", "DOG", "dog"] {
        let given = server.json("POST", &path, json!({ "label": label })).await.ok();
        // As the model spells it.
        assert_eq!(given["feedback"]["label"], label.to_lowercase());
        assert!(given["feedback"]["at"].as_str().unwrap().ends_with('Z'));
    }
    assert_eq!(listed(&server, "with_feedback=true").await.len(), 1);
    for _ in 0..2 {
        let without = server.delete(&path).await.ok();
        assert_eq!(without["feedback"], json!(null));
    }
    assert_eq!(listed(&server, "with_feedback=true").await.len(), 0);
}

#[tokio::test]
async fn feedback_must_be_a_class_of_the_model() {
    let server = logging().await;
    let id = predicted(&server, photo(1)).await;
    let path = format!("/predictions/{id}/feedback");
    let long = "x".repeat(100_000);
    for label in ["bird", "", "\u{0}", &long] {
        let problem = server
            .json("POST", &path, json!({ "label": label }))
            .await
            .problem(422, "unknown_label");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("`cat`, `dog`") && detail.len() < 400, "{detail}");
    }
    for body in [
        json!({}),
        json!({ "label": 7 }),
        json!({ "label": null }),
        json!([]),
        json!({ "label": "cat", "more": 1 }),
    ] {
        let answer = server.json("POST", &path, body).await;
        assert!([400, 422].contains(&answer.status.as_u16()), "{}", answer.json());
    }
    server
        .json("POST", &path, json!({ "label": "x".repeat(3 << 20) }))
        .await
        .problem(413, "too_large");
    server.post(&path, "{").await.problem(415, "not_json");
    let none = "/predictions/01980000-0000-7000-8000-000000000000/feedback";
    let problem =
        server.json("POST", none, json!({ "label": "cat" })).await.problem(404, "not_found");
    assert!(problem["detail"].as_str().unwrap().contains("was not logged, was deleted"));
    for id in ["x", "%00", "123"] {
        let path = format!("/predictions/{id}/feedback");
        server.json("POST", &path, json!({ "label": "cat" })).await.problem(404, "not_found");
    }
    assert_eq!(listed(&server, "with_feedback=true").await.len(), 0);
}

#[tokio::test]
async fn accuracy_by_feedback_has_an_interval() {
    let server = logging().await;
    for number in 0..10 {
        let id = predicted(&server, photo(number)).await;
        let row = server.get(&format!("/predictions/{id}")).await.ok();
        let is_cat = row["label"] == "cat";
        // Two of ten are contradicted.
        let label = if is_cat == (number < 8) { "cat" } else { "dog" };
        let path = format!("/predictions/{id}/feedback");
        server.json("POST", &path, json!({ "label": label })).await.ok();
    }
    let summary = server.get("/predictions/summary").await.ok();
    let [model] = summary["models"].as_array().unwrap().as_slice() else { panic!("{summary}") };
    assert_eq!(model["classes"], json!(["cat", "dog"]));
    assert_eq!((&model["predictions"], &model["feedback"]["count"]), (&json!(10), &json!(10)));
    assert_eq!(
        (&model["feedback"]["correct"], &model["feedback"]["accuracy"]),
        (&json!(8), &json!(0.8))
    );
    // Wilson's interval of 8 out of 10: 0.490 to 0.943.
    let close = |value: &Value, to: f64| (value.as_f64().unwrap() - to).abs() < 1e-3;
    let interval = &model["feedback"]["interval"];
    assert!(close(&interval["low"], 0.490) && close(&interval["high"], 0.943), "{interval}");
    let unsure = listed(&server, "unsure=true").await.len();
    assert_eq!(model["unsure"], unsure);
    assert_eq!(model["sure_feedback"]["count"], 10 - unsure);
}
