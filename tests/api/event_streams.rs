//! The event stream of a job: a client that reconnects with `Last-Event-ID` misses nothing, and
//! gets nothing twice.

use crate::common::{Answer, IMAGES, Server, photo};
use axum::{body::Body, http::Request};
use pawprint::{
    domain::{JobId, metrics::EpochMetrics},
    storage::job_events,
};
use serde_json::{Value, json};

/// The id, kind and data of each event.
type Events = Vec<(String, String, Value)>;

/// A server and a queued job.
async fn queued() -> (Server, JobId) {
    let server = Server::start().await;
    server.pets().await;
    for (number, place) in ["train&label=cat", "train&label=dog"].into_iter().enumerate() {
        let path = format!("{IMAGES}?split={place}");
        server.upload(&path, &[("x.jpg", photo(number as u32))]).await.ok();
        let path = path.replace("train", "validation");
        server.upload(&path, &[("x.jpg", photo(number as u32 + 10))]).await.ok();
    }
    let job = json!({ "recipe": "scratch_cnn", "dataset": "pets" });
    let job = server.json("POST", "/jobs", job).await.ok();
    (server, job["id"].as_str().unwrap().parse().unwrap())
}

/// As a trainer reports it.
async fn complete(server: &Server, job: JobId, epoch: u32) {
    let metrics = EpochMetrics {
        epoch,
        train_loss: 0.6,
        train_accuracy: 0.7,
        val_loss: 0.5,
        val_accuracy: 0.75,
        learning_rate: 1e-3,
        seconds: 1.0,
        images_per_second: 2.0,
    };
    let mut transaction = server.app.storage.write().await.unwrap();
    job_events::epoch(&mut transaction, job, &metrics, false).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn stream(server: &Server, job: JobId, last_id: Option<&str>) -> Answer {
    let mut request = Request::get(format!("/jobs/{job}/events"));
    if let Some(id) = last_id {
        request = request.header("last-event-id", id);
    }
    server.send(request.body(Body::empty()).unwrap()).await
}

/// The events after `last_id` of a job that has ended, so that the stream ends too.
async fn events(server: &Server, job: JobId, last_id: Option<&str>) -> Events {
    let answer = stream(server, job, last_id).await;
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let text = String::from_utf8(answer.body).unwrap();
    let blocks = text.split("\n\n").filter(|block| !block.is_empty());
    blocks
        .map(|block| {
            let field = |name| block.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            let data = serde_json::from_str(field("data: ")).unwrap();
            (field("id: ").to_owned(), field("event: ").to_owned(), data)
        })
        .collect()
}

/// Status or epoch of each event, in order.
fn told(events: &Events) -> Vec<Value> {
    let told = |(_, kind, data): &(String, String, Value)| match &**kind {
        "epoch" => data["epoch"].clone(),
        _ => data["status"].clone(),
    };
    events.iter().map(told).collect()
}

async fn with_three_epochs() -> (Server, JobId) {
    let (server, job) = queued().await;
    for epoch in 1..=3 {
        complete(&server, job, epoch).await;
    }
    server.post(&format!("/jobs/{job}/cancel"), "").await.ok();
    (server, job)
}

#[tokio::test]
async fn a_stream_goes_on_after_the_last_event_that_was_seen() {
    let (server, job) = with_three_epochs().await;
    let all = events(&server, job, None).await;
    assert_eq!(told(&all), [json!("queued"), json!(1), json!(2), json!(3), json!("cancelled")]);
    let ids: Vec<u64> = all.iter().map(|(id, ..)| id.parse().unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    for (seen, (id, ..)) in all.iter().enumerate() {
        assert_eq!(events(&server, job, Some(id)).await, all[seen + 1..], "after event {id}");
    }
    // What browsers send before they have seen an event that has an id.
    assert_eq!(events(&server, job, Some("")).await, all);
    assert_eq!(events(&server, job, Some("0")).await, all);
}

#[tokio::test]
async fn what_happens_between_two_streams_is_in_the_second_once() {
    let (server, job) = queued().await;
    complete(&server, job, 1).await;
    // A stream of a job that goes on does not end; the client leaves it after the first epoch.
    let seen = {
        let mut connection = server.app.storage.read().await.unwrap();
        let stored = job_events::after(&mut connection, job, 0).await.unwrap();
        stored.last().unwrap().id.to_string()
    };
    complete(&server, job, 2).await;
    // A trainer that resumes reports what it has completed again.
    complete(&server, job, 1).await;
    complete(&server, job, 2).await;
    server.post(&format!("/jobs/{job}/cancel"), "").await.ok();
    let rest = events(&server, job, Some(&seen)).await;
    assert_eq!(told(&rest), [json!(2), json!("cancelled")]);
}

#[tokio::test]
async fn an_id_that_is_none_is_refused_and_one_of_the_future_has_nothing_after_it() {
    let (server, job) = with_three_epochs().await;
    for id in ["first", "1.5", "0x1", "1,2", "9223372036854775808"] {
        stream(&server, job, Some(id)).await.problem(422, "invalid_value");
    }
    assert_eq!(events(&server, job, Some("9223372036854775807")).await, []);
    stream(&server, JobId::new(), Some("1")).await.problem(404, "not_found");
}
