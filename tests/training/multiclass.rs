//! More than two classes, from training to every kind of answer.
#![cfg(target_os = "linux")]

use crate::common::{encode, process::Process, tar};
use image::{ImageFormat, Rgb, RgbImage};
use reqwest::Method;
use serde_json::{Value, json};

const CLASSES: [&str; 3] = ["across", "along", "dotted"];

/// An image of that class; none is like another.
fn image(class: usize, number: u32) -> Vec<u8> {
    let image = RgbImage::from_fn(64, 64, |x, y| {
        let bright = match class {
            0 => ((y + number) / 5).is_multiple_of(2),
            1 => ((x + number) / 5).is_multiple_of(2),
            _ => (x % 8).abs_diff(4) + ((y + number) % 8).abs_diff(4) < 3,
        };
        let tone = if bright { 200 } else { 40 } + (x * y * number % 50) as u8;
        Rgb([tone, tone, (number % 200) as u8])
    });
    encode(image, ImageFormat::Png)
}

/// A server with the dataset `patterns`; the first class has twice as many training images.
async fn start(folder: &std::path::Path) -> Process {
    let server = Process::start(folder);
    let body = json!({ "name": "patterns", "classes": CLASSES });
    assert_eq!(server.post("/datasets", body).await.0, 201);
    let mut files = Vec::new();
    for (split, count) in [("train", 12_u32), ("validation", 6), ("test", 6)] {
        for (class, name) in CLASSES.iter().enumerate() {
            let count = if class == 0 && split == "train" { 2 * count } else { count };
            for number in 0..count {
                let file = format!("{split}/{name}/{number}.png");
                let seed = 1 + files.len() as u32;
                files.push((file, image(class, seed)));
            }
        }
    }
    let files: Vec<_> = files.iter().map(|(name, bytes)| (&**name, bytes.clone())).collect();
    let request = server.request(Method::POST, "/datasets/patterns/archive").body(tar(&files));
    assert_eq!(request.send().await.unwrap().status(), 200);
    server
}

async fn train(server: &Process, recipe: &str, params: Value) -> Value {
    let body = json!({ "recipe": recipe, "dataset": "patterns", "params": params });
    let (status, job) = server.post("/jobs", body).await;
    assert_eq!(status, 202, "{job}");
    let job = server.ended(job["id"].as_str().unwrap()).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    job
}

async fn ask(server: &Process, path: &str, body: Vec<u8>) -> (u16, Value) {
    let request = server.request(Method::POST, path).header("content-type", "image/png");
    let response = request.body(body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn each_recipe_trains_three_classes_and_answers_with_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    for (recipe, params) in [
        ("scratch_cnn", json!({ "epochs": 2, "batch_size": 8 })),
        ("augmented_cnn", json!({ "epochs": 1, "batch_size": 8 })),
        ("efficientnet_lite0_features", json!({})),
        ("efficientnet_lite0_finetune", json!({ "epochs": 1, "batch_size": 8 })),
    ] {
        let job = train(&server, recipe, params).await;
        let id = job["id"].as_str().unwrap();
        let evaluation = server.get(&format!("/jobs/{id}/evaluation")).await;
        assert_eq!(evaluation["confusion_matrix"]["labels"], json!(CLASSES));
        assert_eq!((&evaluation["count"], &evaluation["threshold"]), (&json!(18), &Value::Null));
        assert_eq!(evaluation["one_vs_rest"]["classes"].as_array().unwrap().len(), 3);
        assert!(evaluation["calibration"]["temperature"].as_f64().unwrap() > 0.0);
        let accuracy = evaluation["accuracy"].as_f64().unwrap();
        if recipe.starts_with("efficientnet") {
            assert_eq!(accuracy, 1.0, "{recipe}");
        }
        for chart in ["confusion", "pr", "roc", "reliability"] {
            let path = format!("/jobs/{id}/charts/{chart}.svg");
            let chart = server.request(Method::GET, &path).send().await.unwrap();
            assert_eq!(chart.status(), 200);
            assert!(chart.text().await.unwrap().contains("</svg>"));
        }
        let model = job["model_id"].as_str().unwrap();
        // A network trained from scratch knows nothing that its own classes don't need.
        let path = format!("/models/{model}");
        let is_base = recipe.starts_with("efficientnet");
        assert_eq!(server.get(&path).await["unlike_above"].is_number(), is_base, "{recipe}");
        let patch = server.request(Method::PATCH, &path).json(&json!({ "unlike_above": 0.5 }));
        let status = patch.send().await.unwrap().status();
        assert_eq!(status.as_u16(), if is_base { 200 } else { 422 }, "{recipe}");
        let (status, answer) =
            ask(&server, &format!("/predict?model={model}"), image(2, 4_000)).await;
        assert_eq!(status, 200, "{answer}");
        let prediction = &answer["predictions"][0];
        let probabilities = prediction["probabilities"].as_object().unwrap();
        assert_eq!(probabilities.keys().collect::<Vec<_>>(), CLASSES);
        let sum: f64 = probabilities.values().map(|it| it.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-9);
        let label = prediction["label"].as_str().unwrap();
        assert_eq!(prediction["probability"], probabilities[label]);
        assert!(probabilities.values().all(|it| it.as_f64() <= prediction["probability"].as_f64()));
    }
}

#[tokio::test]
async fn answers_can_be_narrowed_down_and_any_class_explained() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    train(&server, "efficientnet_lite0_features", json!({ "epochs": 5 })).await;
    let current = server.get("/models/current").await;
    assert_eq!(current["classes"], json!(CLASSES), "{current}");

    let (_, all) = ask(&server, "/predict", image(1, 5_000)).await;
    let (_, top) = ask(&server, "/predict?top=2", image(1, 5_000)).await;
    let (all, top) = (&all["predictions"][0], &top["predictions"][0]);
    assert_eq!((&all["label"], &top["label"]), (&json!("along"), &json!("along")));
    let probabilities = top["probabilities"].as_object().unwrap();
    assert_eq!((probabilities.len(), &probabilities["along"]), (2, &all["probability"]));
    for (class, probability) in probabilities {
        assert_eq!(probability, &all["probabilities"][class]);
    }
    let (_, every) = ask(&server, "/predict?top=1000", image(1, 5_000)).await;
    assert_eq!(&every["predictions"][0], all);
    for top in ["0", "-1", "two", "1.5", ""] {
        let (status, problem) = ask(&server, &format!("/predict?top={top}"), image(1, 0)).await;
        assert_eq!((status, &problem["field"]), (422, &json!("top")), "{problem}");
    }

    let mut maps = Vec::new();
    for class in CLASSES {
        let path = format!("/explain?format=json&class={class}");
        let (status, answer) = ask(&server, &path, image(1, 5_000)).await;
        assert_eq!((status, &answer["class"]), (200, &json!(class)), "{answer}");
        assert_eq!(answer["label"], "along");
        maps.push(answer["map"].clone());
    }
    assert!(maps[0] != maps[1] && maps[1] != maps[2]);
    let (_, predicted) = ask(&server, "/explain?format=json", image(1, 5_000)).await;
    assert_eq!((&predicted["map"], &predicted["class"]), (&maps[1], &json!("along")));
    let (status, problem) = ask(&server, "/explain?class=cat", image(1, 0)).await;
    assert_eq!((status, &problem["field"]), (422, &json!("class")), "{problem}");

    let metadata = server.get("/v2/models/current").await;
    assert_eq!(metadata["outputs"][1]["shape"], json!([-1, 3]));
    let b64 = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, image(1, 5_000));
    let input = json!({ "name": "image", "datatype": "BYTES", "shape": [1], "data": [b64] });
    let (status, answer) =
        server.post("/v2/models/current/infer", json!({ "inputs": [input] })).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["outputs"][0]["data"], json!(["along"]));
    assert_eq!(answer["outputs"][1]["shape"], json!([1, 3]));
    let numbers = answer["outputs"][1]["data"].as_array().unwrap();
    for (number, class) in numbers.iter().zip(CLASSES) {
        let expected = all["probabilities"][class].as_f64().unwrap();
        assert!((number.as_f64().unwrap() - expected).abs() < 1e-6);
    }
}

/// A photo of nothing the model has seen: noise in colour.
fn noise(number: u32) -> Vec<u8> {
    let image = RgbImage::from_fn(64, 64, |x, y| {
        let hash = (x * 7_919 + y * 104_729 + number * 1_299_709).wrapping_mul(2_654_435_761);
        Rgb([(hash >> 8) as u8, (hash >> 16) as u8, (hash >> 24) as u8])
    });
    encode(image, ImageFormat::Png)
}

#[tokio::test]
async fn a_model_says_when_it_is_unsure_and_the_thresholds_are_a_setting() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let job = train(&server, "efficientnet_lite0_features", json!({})).await;
    let path = format!("/models/{}", job["model_id"].as_str().unwrap());
    let model = server.get(&path).await;
    // Better than is wanted, so that it answers everything.
    assert_eq!(model["answer_above"], 0.0);
    let unlike_above = model["unlike_above"].as_f64().unwrap();
    assert!(unlike_above > 0.0 && unlike_above < 1.0, "{model}");
    let (_, known) = ask(&server, "/predict", image(2, 7_000)).await;
    assert_eq!(known["predictions"][0]["unsure"], false, "{known}");
    assert!(known["predictions"][0].get("reason").is_none());
    for number in 1..5 {
        let (_, unknown) = ask(&server, "/predict", noise(number)).await;
        let prediction = &unknown["predictions"][0];
        assert_eq!(
            (&prediction["unsure"], &prediction["reason"]),
            (&json!(true), &json!("unlike_training")),
            "{unknown}"
        );
        assert!(CLASSES.contains(&prediction["label"].as_str().unwrap()));
    }
    let (_, unknown) = ask(&server, "/predict?unsure=false", noise(1)).await;
    let prediction = unknown["predictions"][0].as_object().unwrap();
    assert!(!prediction.contains_key("unsure") && !prediction.contains_key("reason"));
    let (status, problem) = ask(&server, "/predict?unsure=maybe", noise(1)).await;
    assert_eq!((status, &problem["field"]), (422, &json!("unsure")), "{problem}");
    let metrics = server.request(Method::GET, "/metrics").send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let line = "pawprint_predictions_unsure_total{reason=\"unlike_training\"} 5";
    assert!(metrics.contains(line), "{metrics}");

    // Each setting counts from the next request on, and after a restart.
    let patch = async |body: Value| {
        let request = server.request(Method::PATCH, &path).json(&body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let (status, model) = patch(json!({ "answer_above": 1.0, "unlike_above": null })).await;
    assert_eq!((status, &model["unlike_above"]), (200, &Value::Null), "{model}");
    let (_, answer) = ask(&server, "/predict", image(2, 7_000)).await;
    assert_eq!(answer["predictions"][0]["reason"], "low_confidence");
    let (status, model) = patch(json!({ "wanted_accuracy": 0.9 })).await;
    assert_eq!((status, &model["answer_above"]), (200, &json!(0.0)), "{model}");
    let (_, answer) = ask(&server, "/predict", noise(1)).await;
    assert_eq!(answer["predictions"][0]["unsure"], false);
    // The downloaded file says the same.
    let file = server.request(Method::GET, &format!("{path}/download")).send().await.unwrap();
    let length = file.content_length().unwrap();
    let bytes = file.bytes().await.unwrap();
    assert_eq!(bytes.len() as u64, length);
    let name = std::path::Path::new("downloaded");
    let (card, weights) = pawprint::model_file::parse(name, &bytes).unwrap();
    assert_eq!((card.thresholds.answer_above, card.thresholds.unlike_above), (Some(0.0), None));
    assert!(weights.contains_key("output.weight") && weights.contains_key("neighbours"));
    let coverage = server.get(&format!("{path}/coverage")).await;
    let first = &coverage[0];
    assert_eq!((&first["threshold"], &first["answered"]), (&json!(0.0), &json!(1.0)), "{first}");
    // Measured by cross-validation on the 66 training and validation images.
    assert!(first["accuracy"].as_f64().unwrap() > 0.95, "{first}");
    for (body, field) in [
        (json!({ "answer_above": 1.1 }), "answer_above"),
        (json!({ "answer_above": -0.1 }), "answer_above"),
        (json!({ "unlike_above": 3 }), "unlike_above"),
        (json!({ "wanted_accuracy": 2 }), "wanted_accuracy"),
        (json!({ "wanted_accuracy": 0.9, "answer_above": 0.5 }), "wanted_accuracy"),
    ] {
        let (status, problem) = patch(body.clone()).await;
        assert_eq!((status, &problem["field"]), (422, &json!(field)), "{body}: {problem}");
    }
    assert_eq!(patch(json!({ "answer_above": "high" })).await.0, 422);
    assert_eq!(patch(json!({ "answer": 0.5 })).await.0, 422);
    drop(server);
    let server = Process::start(folder.path());
    let (_, answer) = ask(&server, "/predict", noise(1)).await;
    assert_eq!(answer["predictions"][0]["unsure"], false);
    assert_eq!(server.get(&path).await["unlike_above"], Value::Null);
}

#[tokio::test]
async fn balanced_class_weights_change_training_and_are_in_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut losses = Vec::new();
    for class_weights in ["none", "balanced"] {
        for recipe in ["scratch_cnn", "efficientnet_lite0_features"] {
            let params = json!({ "epochs": 1, "class_weights": class_weights, "seed": 3 });
            let job = train(&server, recipe, params).await;
            assert_eq!(job["params"]["class_weights"], class_weights);
            let id = job["id"].as_str().unwrap();
            let evaluation = server.get(&format!("/jobs/{id}/evaluation")).await;
            let weights = &evaluation["class_weights"];
            if class_weights == "none" {
                assert_eq!(weights, &Value::Null);
            } else {
                // 24, 12 and 12 of 48 training images.
                let expected =
                    json!({ "across": 48.0 / 72.0, "along": 48.0 / 36.0, "dotted": 48.0 / 36.0 });
                assert_eq!(weights, &expected);
            }
            let metrics = server.get(&format!("/jobs/{id}/metrics")).await;
            losses.push(metrics["epochs"][0]["val_loss"].clone());
        }
    }
    assert!(losses[0] != losses[2] && losses[1] != losses[3], "{losses:?}");
    let body = json!({ "recipe": "scratch_cnn", "dataset": "patterns", "params": { "class_weights": "heavy" } });
    let (status, problem) = server.post("/jobs", body).await;
    assert_eq!((status, &problem["field"]), (422, &json!("params.class_weights")), "{problem}");
}
