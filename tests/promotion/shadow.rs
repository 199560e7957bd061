//! A challenger that answers requests beside the model in service, unseen by clients.

use std::time::Duration;

use base64::Engine as _;
use pawprint::domain::dataset::Digest;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{
    assert_described, classes,
    common::{self, Server, config, photo, process::PATIENCE},
    model, names, server, swapped,
};

async fn set(server: &Server, model: &str, cpu_fraction: f64) -> Value {
    let body = json!({ "model": model, "cpu_fraction": cpu_fraction });
    server.json("PUT", "/models/shadow", body).await.ok()
}

async fn shadow(server: &Server) -> Value {
    server.get("/models/shadow").await.ok()
}

/// Waits until the shadow has dealt with that many images and requests, one way or the other.
async fn dealt_with(server: &Server, count: u64) -> Value {
    let wait = async {
        loop {
            let shadow = shadow(server).await;
            let sum = ["images", "failed", "dropped"].map(|it| shadow[it].as_u64().unwrap());
            if sum.iter().sum::<u64>() >= count {
                return shadow;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap()
}

async fn predict(server: &Server, query: &str, number: u32) -> Value {
    server.post(&format!("/predict{query}"), photo(number)).await.ok()
}

#[tokio::test]
async fn a_shadow_sees_what_the_model_in_service_answers_and_is_not_seen() {
    let server = server().await;
    model(&server, "opposite", "pets", swapped).await;
    assert_eq!(shadow(&server).await, Value::Null);
    assert_eq!(server.get("/models/shadow/differences").await.ok()["items"], json!([]));
    let before = predict(&server, "", 1).await["predictions"].clone();
    let set = set(&server, "opposite", 1.0).await;
    assert_described(&server, "Shadow", &set).await;
    assert_eq!((&set["images"], &set["agreement"]), (&json!(0), &Value::Null));

    let after = predict(&server, "", 1).await;
    assert_eq!((&after["predictions"], &after["model"]["name"]), (&before, &json!("default")));
    predict(&server, "?model=default&top=1&unsure=false", 2).await;
    predict(&server, "?model=opposite", 3).await;
    let image = json!({ "instances": [{ "b64": base64(&photo(4)) }] });
    server.json("POST", "/predict", image).await.ok();
    let input =
        json!({ "name": "image", "shape": [1], "datatype": "BYTES", "data": [base64(&photo(5))] });
    server.json("POST", "/v2/models/current/infer", json!({ "inputs": [input] })).await.ok();
    let files = [("a.jpg", photo(6)), ("b.jpg", photo(7))];
    server.upload("/predict", &files).await.ok();
    // All but that for another model.
    let shadow = dealt_with(&server, 6).await;
    assert_eq!(
        (&shadow["images"], &shadow["agreed"], &shadow["agreement"]),
        (&json!(6), &json!(0), &json!(0.0))
    );
    assert_eq!((&shadow["failed"], &shadow["dropped"]), (&json!(0), &json!(0)));
    assert!(shadow["cpu_seconds"].as_f64().unwrap() > 0.0);

    let page = server.get("/models/shadow/differences?limit=500").await.ok();
    assert_described(&server, "Page_ShadowDifference", &page).await;
    let seen: Vec<_> =
        [7, 6, 5, 4, 2, 1].map(|number| Digest::of(&photo(number)).to_string()).into();
    assert_eq!(names(&page, "sha256"), seen);
    for item in page["items"].as_array().unwrap() {
        assert_ne!(item["label"], item["shadow_label"]);
        assert_eq!(item["model"], "default");
    }
    let last = &page["items"][5];
    assert_eq!(
        (&last["label"], &last["probability"]),
        (&before[0]["label"], &before[0]["probability"])
    );
    let first = server.get("/models/shadow/differences?limit=4").await.ok();
    let next = first["next_cursor"].as_str().unwrap();
    let rest = server.get(&format!("/models/shadow/differences?limit=4&cursor={next}")).await.ok();
    assert_eq!(names(&rest, "sha256"), seen[4..]);

    // The same model goes on, another begins anew.
    assert_eq!(self::set(&server, "opposite", 0.5).await["images"], 6);
    model(&server, "same", "pets", |_| {}).await;
    assert_eq!(self::set(&server, "same", 1.0).await["images"], 0);
    predict(&server, "", 1).await;
    assert_eq!(dealt_with(&server, 1).await["agreement"], 1.0);
    assert_eq!(server.get("/models/shadow/differences").await.ok()["items"], json!([]));
    // In service it does not answer beside itself.
    server.json("PUT", "/models/current", json!({ "model": "same" })).await.ok();
    predict(&server, "", 2).await;
    assert_eq!(shadow_images(&server).await, 1);
    assert_eq!(server.delete("/models/shadow").await.status, 204);
    assert_eq!(self::shadow(&server).await, Value::Null);
}

async fn shadow_images(server: &Server) -> u64 {
    shadow(server).await["images"].as_u64().unwrap()
}

fn base64(bytes: &[u8]) -> String {
    base64::prelude::BASE64_STANDARD.encode(bytes)
}

#[tokio::test]
async fn a_shadow_takes_no_more_than_its_share_and_drops_the_rest() {
    let server = server().await;
    model(&server, "opposite", "pets", swapped).await;
    // The first image takes more than what accrues in minutes.
    set(&server, "opposite", 1e-6).await;
    for number in 0..3 {
        predict(&server, "", number).await;
        dealt_with(&server, u64::from(number) + 1).await;
    }
    let done = shadow(&server).await;
    assert_eq!((&done["images"], &done["dropped"]), (&json!(1), &json!(2)), "{done}");
    // Images that are not worth a copy.
    set(&server, "opposite", 1.0).await;
    let files: Vec<_> = (0..5).map(|number| ("a.bmp", large(number))).collect();
    server.upload("/predict", &files).await.ok();
    let done = dealt_with(&server, 4).await;
    assert_eq!((&done["images"], &done["dropped"]), (&json!(1), &json!(3)), "{done}");
}

/// A picture of 2 MB.
fn large(number: u32) -> Vec<u8> {
    let image = image::RgbImage::from_pixel(860, 860, image::Rgb([number as u8, 0, 90]));
    common::encode(image, image::ImageFormat::Bmp)
}

#[tokio::test]
async fn requests_go_on_whatever_becomes_of_the_shadow() {
    let server = server().await;
    model(&server, "opposite", "pets", swapped).await;
    set(&server, "opposite", 1.0).await;
    let broken = model(&server, "broken", "pets", |_| {}).await;
    std::fs::remove_file(server.app.data_dir.model(broken)).unwrap();
    let body = json!({ "model": "broken" });
    server.json("PUT", "/models/shadow", body).await.problem(422, "model_unusable");
    assert_eq!(shadow(&server).await["model"], "opposite");
    predict(&server, "", 1).await;
    dealt_with(&server, 1).await;
    // Its model is deleted while it has work.
    for number in 0..3 {
        predict(&server, "", number).await;
    }
    assert_eq!(server.delete("/models/opposite").await.status, 204);
    for number in 0..3 {
        predict(&server, "", number).await;
    }
    assert_eq!(shadow(&server).await, Value::Null);
    predict(&server, "", 1).await;
}

#[tokio::test]
async fn a_shadow_goes_on_after_a_restart() {
    let server = server().await;
    model(&server, "opposite", "pets", swapped).await;
    set(&server, "opposite", 1.0).await;
    predict(&server, "", 1).await;
    dealt_with(&server, 1).await;
    let server = restarted(server).await;
    let running = tokio::spawn(server.app.shadow.clone().run());
    let known = shadow(&server).await;
    assert_eq!((&known["model"], &known["images"]), (&json!("opposite"), &json!(1)));
    let wait = async {
        while shadow_images(&server).await < 2 {
            predict(&server, "", 2).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap();
    server.app.shutdown.cancel();
    running.await.unwrap();
}

/// Ends the server and starts it again on its data.
async fn restarted(server: Server) -> Server {
    let folder = common::data::close(server).await;
    let app = common::app(config(), folder.path()).await;
    Server { router: pawprint::http::router::router(app.clone()), app, folder }
}

#[tokio::test]
async fn a_shadow_that_can_not_go_on_says_so_until_it_is_set_again() {
    let server = server().await;
    let id = model(&server, "opposite", "pets", swapped).await;
    assert_eq!(set(&server, "opposite", 1.0).await["error"], Value::Null);
    let path = server.app.data_dir.model(id);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, "no model").unwrap();
    let server = restarted(server).await;
    let running = tokio::spawn(server.app.shadow.clone().run());
    let wait = async {
        loop {
            let shadow = shadow(&server).await;
            if !shadow["error"].is_null() {
                return shadow;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let broken = timeout(PATIENCE, wait).await.unwrap();
    assert_described(&server, "Shadow", &broken).await;
    assert_eq!(broken["model"], "opposite");
    assert!(broken["error"].as_str().unwrap().contains("can't be used"), "{broken}");
    predict(&server, "", 1).await;
    assert_eq!(shadow_images(&server).await, 0);
    std::fs::write(&path, whole).unwrap();
    assert_eq!(set(&server, "opposite", 1.0).await["error"], Value::Null);
    predict(&server, "", 1).await;
    dealt_with(&server, 1).await;
    server.app.shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn nothing_is_lost_when_the_share_of_the_processor_time_changes() {
    let server = server().await;
    model(&server, "opposite", "pets", swapped).await;
    set(&server, "opposite", 1.0).await;
    for number in 0..8 {
        predict(&server, "", number).await;
        if number % 3 == 2 {
            let fraction = 1.0 - f64::from(number) / 10.0;
            assert_eq!(set(&server, "opposite", fraction).await["cpu_fraction"], fraction);
        }
    }
    let done = dealt_with(&server, 8).await;
    let sum = done["images"].as_u64().unwrap() + done["dropped"].as_u64().unwrap();
    assert_eq!((sum, &done["failed"]), (8, &json!(0)), "{done}");
}

/// As on a full disk: what can be read is read.
#[tokio::test]
async fn a_shadow_is_shown_although_its_results_can_not_be_saved() {
    let server = server().await;
    model(&server, "opposite", "pets", swapped).await;
    // After the first image, all are dropped.
    set(&server, "opposite", 1e-6).await;
    predict(&server, "", 0).await;
    dealt_with(&server, 1).await;
    let execute = async |sql: &'static str| {
        let mut transaction = server.app.storage.write().await.unwrap();
        sqlx::raw_sql(sql).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    };
    let fail = "CREATE TRIGGER full BEFORE UPDATE ON shadow BEGIN SELECT RAISE(ABORT, 'full'); END";
    execute(fail).await;
    predict(&server, "", 1).await;
    let shown = shadow(&server).await;
    assert_eq!((&shown["images"], &shown["dropped"]), (&json!(1), &json!(0)), "{shown}");
    let page = server.get("/models/shadow/differences").await.ok();
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    execute("DROP TRIGGER full").await;
    assert_eq!(shadow(&server).await["dropped"], 1);
}

#[tokio::test]
async fn what_can_not_be_a_shadow_is_refused() {
    let server = server().await;
    model(&server, "first", "pets", |_| {}).await;
    model(&server, "parts", "pets", |card| card.classes = classes(["good", "bad"])).await;
    let put = async |body: Value| server.json("PUT", "/models/shadow", body).await;
    put(json!({ "model": "none" })).await.problem(404, "not_found");
    put(json!({ "model": "default" })).await.problem(409, "in_service");
    put(json!({ "model": "parts" })).await.problem(409, "other_classes");
    for fraction in [json!(0), json!(-0.1), json!(1.01), json!("x"), Value::Null] {
        let body = json!({ "model": "first", "cpu_fraction": fraction });
        put(body).await.problem(422, "invalid_value");
    }
    assert_eq!(shadow(&server).await, Value::Null);
    assert_eq!(put(json!({ "model": "first" })).await.ok()["cpu_fraction"], 0.25);
}
