//! Closed loop: each client waits for its response before it sends the next image.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::{client::Client, report::Outcome};

/// Runs a number of clients for a duration.
pub(crate) async fn run(
    client: &Client,
    clients: usize,
    length: Duration,
) -> anyhow::Result<Outcome> {
    let begun = Instant::now();
    let mut loops = JoinSet::new();
    for _ in 0..clients {
        let client = client.clone();
        loops.spawn(async move {
            let mut outcome = Outcome::new()?;
            while begun.elapsed() < length {
                let sent = Instant::now();
                let fate = client.predict().await;
                outcome.record(fate, sent.elapsed())?;
            }
            anyhow::Ok(outcome)
        });
    }
    let mut all = Outcome::new()?;
    while let Some(outcome) = loops.join_next().await {
        all.add(&outcome??)?;
    }
    all.elapsed = begun.elapsed();
    Ok(all)
}
