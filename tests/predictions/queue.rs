//! A disk that can't follow costs rows of the log, never predictions.

use std::time::{Duration, Instant};

use pawprint::{
    domain::{
        dataset::Digest,
        objective::Logits,
        prediction::{ModelOutput, Timing},
    },
    journal::{Recorded, RecordedImage},
};
use serde_json::json;

use super::{common::photo, listed, logging, predicted};

#[tokio::test(flavor = "multi_thread")]
async fn predictions_do_not_wait_for_a_database_that_is_held() {
    let server = logging().await;
    let running = tokio::spawn(server.app.journal.clone().run(server.app.shutdown.clone()));
    let held = server.app.storage.write().await.unwrap();
    let started = Instant::now();
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.insert(0, predicted(&server, photo(number)).await);
    }
    // SQLite would wait for ten seconds, for each of them.
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    assert_eq!(server.app.journal.counts().written, 0);
    drop(held);
    let rows = listed(&server, "limit=100").await;
    assert_eq!(rows.iter().map(|row| row["id"].as_str().unwrap()).collect::<Vec<_>>(), ids);
    assert_eq!(server.app.journal.counts().written, 20);
    server.app.shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_longer_fits_into_the_queue_is_counted_and_has_no_id() {
    let server = logging().await;
    let engine = server.app.registry.engine(None).await.unwrap();
    let output = ModelOutput { logits: Logits(vec![1.0]), distance: Some(0.5) };
    let record = || {
        let mut predictions = [engine.prediction(None, &output).unwrap()];
        let image = RecordedImage { sha256: Digest::of(b"x"), bytes: None };
        let recorded = Recorded {
            engine: &engine,
            token: None,
            timing: Timing { decode: 0.0, queue: 0.0, inference: 0.0, total: 0.0 },
            outputs: std::slice::from_ref(&output),
            images: vec![image],
        };
        server.app.journal.record(recorded, &mut predictions);
        predictions[0].id.is_some()
    };
    let logged = (0..10_050).filter(|_| record()).count();
    let counts = server.app.journal.counts();
    assert_eq!((logged, counts.queued, counts.dropped), (10_000, 10_000, 50));
    let text = String::from_utf8(server.get("/metrics").await.body).unwrap();
    assert!(text.contains("pawprint_prediction_log_dropped_total 50"), "{text}");
    // Reading the log has written what was queued, and there is room again.
    server.get("/predictions/summary").await.ok();
    assert_eq!(server.app.journal.counts().queued, 0);
    assert!(record());
    let summary = server.get("/predictions/summary").await.ok();
    assert_eq!(summary["models"][0]["predictions"], json!(10_001));
}
