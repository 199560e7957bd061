//! A log of 100,000 predictions: it stays fast and within its limit.
#![expect(clippy::print_stdout, reason = "how long it took is worth knowing")]

use std::time::{Duration, Instant};

use pawprint::{
    domain::{
        ModelId, PredictionId, Timestamp,
        baseline::{Baseline, ValidationAnswers},
        dataset::{Classes, Digest},
        prediction::Timing,
        selective::{AnswerThresholds, Coverage, UnsureReason},
    },
    storage::predictions::{self, NewModel, NewPrediction},
};
use serde_json::json;

use super::common::Server;

const COUNT: u32 = 100_000;
/// In a build without optimisation, on a busy machine.
const FAST: Duration = Duration::from_secs(5);

async fn fill(server: &Server) {
    let classes = Classes::new(["cat", "dog"].map(|it| it.parse().unwrap()).to_vec()).unwrap();
    let name = "pets".parse().unwrap();
    let baseline = Baseline {
        images: 1000,
        thresholds: AnswerThresholds { answer_above: Some(0.8), unlike_above: Some(0.95) },
        coverage: Coverage::default(),
        answers: Some(ValidationAnswers {
            predicted: vec![500, 500],
            unsure: 50,
            distance_deciles: (1..10).map(|it| f64::from(it) / 10.0).collect(),
        }),
    };
    let model = NewModel { id: ModelId::new(), name: &name, classes: &classes, baseline };
    let start = Timestamp::now().checked_sub(Duration::from_secs(20 * 3600)).unwrap();
    let mut number = 0;
    while number < COUNT {
        let mut transaction = server.app.storage.write().await.unwrap();
        let of_model = predictions::put_model(&mut transaction, &model).await.unwrap();
        for _ in 0..5000 {
            let new = NewPrediction {
                id: PredictionId::new(),
                created_at: start
                    .checked_add(Duration::from_millis(u64::from(number) * 700))
                    .unwrap(),
                sha256: Digest::of(&number.to_le_bytes()),
                file_name: Some(format!("{number}.jpg")),
                label: classes.names()[number as usize % 2].clone(),
                probability: 0.9,
                probabilities: Some(vec![0.9, 0.1]),
                reason: (number % 100 >= 95).then_some(UnsureReason::UnlikeTraining),
                distance: Some(f64::from(number % 100) / 100.0 + 0.001),
                token: None,
                timing: Timing { decode: 1.0, queue: 0.1, inference: 2.0, total: 3.1 },
            };
            let logged = predictions::insert(&mut transaction, of_model, &new).await.unwrap();
            if number % 50 == 0 {
                let label = &classes.names()[number as usize / 50 % 2];
                predictions::set_feedback(&mut transaction, new.id, Some(label), None, start)
                    .await
                    .unwrap();
            }
            assert!(logged > 0);
            number += 1;
        }
        transaction.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_predictions_are_listed_counted_and_pruned_fast() {
    let server = Server::with(|config| {
        config.prediction_log.prediction_log = true;
        config.prediction_log.prediction_log_max = u64::from(COUNT) / 2;
    })
    .await;
    let started = Instant::now();
    fill(&server).await;
    println!("{COUNT} predictions written in {:.1?}", started.elapsed());
    let timed = async |path: &str| {
        let started = Instant::now();
        let answer = server.get(path).await.ok();
        println!("{:>8.1?} {path}", started.elapsed());
        assert!(started.elapsed() < FAST, "{path} took {:?}", started.elapsed());
        answer
    };
    for query in [
        "limit=50",
        "limit=500",
        "unsure=true",
        "unsure=true&with_feedback=false",
        "contradicted=true",
        "with_feedback=true",
        "with_feedback=false&unsure=false",
        "model=pets",
        "label=dog",
        "label=cat&unsure=true",
        "token=nobody",
        "contradicted=true&label=bird",
        "label=bird",
        "from=2100-01-01T00:00:00Z",
        "to=2000-01-01T00:00:00Z",
        "cursor=50000",
    ] {
        timed(&format!("/predictions?{query}")).await;
    }
    let newest = timed("/predictions?limit=50").await;
    let all_times = timed("/predictions?limit=50&from=2000-01-01T00:00:00Z").await;
    assert_eq!(all_times, newest);
    let summary = timed("/predictions/summary").await;
    assert_eq!(summary["models"][0]["predictions"], COUNT);
    assert_eq!(summary["models"][0]["unsure"], COUNT / 20);
    assert_eq!(summary["models"][0]["feedback"]["count"], COUNT / 50);
    let drift = timed("/predictions/drift?model=pets&hours=24&buckets=200").await;
    assert_eq!(
        (&drift["verdict"], &drift["predictions"]),
        (&json!("stable"), &json!(COUNT)),
        "{drift}"
    );
    let in_buckets: u64 = drift["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bucket| bucket["predictions"].as_u64().unwrap())
        .sum();
    assert_eq!(in_buckets, u64::from(COUNT));
    let started = Instant::now();
    assert_eq!(server.get("/metrics").await.status, 200);
    assert!(started.elapsed() < FAST);
    // Others can write while half of it is deleted.
    let journal = server.app.journal.clone();
    let pruning = tokio::spawn(async move {
        let started = Instant::now();
        journal.retain().await.unwrap();
        started.elapsed()
    });
    let mut longest = Duration::ZERO;
    while !pruning.is_finished() {
        let started = Instant::now();
        server.app.storage.check().await.unwrap();
        longest = longest.max(started.elapsed());
    }
    println!(
        "half of it deleted in {:.1?}; others waited {longest:.1?} at most",
        pruning.await.unwrap()
    );
    assert!(longest < FAST, "{longest:?}");
    let summary = server.get("/predictions/summary").await.ok();
    assert_eq!(summary["models"][0]["predictions"], COUNT / 2);
}
