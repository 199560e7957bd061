//! Open loop: requests leave when they are due, however many are still without an answer.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use crate::{
    client::{Client, Fate},
    report::{self, Outcome},
};

/// `rate` requests a second for so long, and then until the last has its answer.
pub(crate) async fn run(client: &Client, rate: f64, length: Duration) -> anyhow::Result<Outcome> {
    let begun = Instant::now();
    let count = (rate * length.as_secs_f64()).ceil().max(1.0) as u64;
    let mut outcome = Outcome::new()?;
    let mut under_way = JoinSet::<(Fate, Duration)>::new();
    for index in 0..count {
        let due = begun + Duration::from_secs_f64(index as f64 / rate);
        sleep_until(due).await;
        let client = client.clone();
        // From when it was due, not from when it left: a late start is part of the wait.
        under_way.spawn(async move { (client.predict().await, due.elapsed()) });
        while let Some(answered) = under_way.try_join_next() {
            let (fate, latency) = answered?;
            outcome.record(fate, latency)?;
        }
    }
    while let Some(answered) = under_way.join_next().await {
        let (fate, latency) = answered?;
        outcome.record(fate, latency)?;
    }
    outcome.elapsed = begun.elapsed();
    Ok(outcome)
}

/// As [`run`], printing the server's memory before it, each minute, and after it.
#[expect(clippy::print_stdout, reason = "a soak shows how it goes")]
pub(crate) async fn soak(client: &Client, rate: f64, length: Duration) -> anyhow::Result<()> {
    println!("\n{}", report::SOAK);
    println!("{}", report::soak_row(Duration::ZERO, client.resident_bytes().await?));
    let begun = Instant::now();
    let minute = Duration::from_secs(60);
    let mut minutes = interval(minute);
    minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    minutes.reset();
    let load = run(client, rate, length);
    tokio::pin!(load);
    let outcome = loop {
        tokio::select! {
            outcome = &mut load => break outcome?,
            _ = minutes.tick() => {
                println!("{}", report::soak_row(begun.elapsed(), client.resident_bytes().await?));
            }
        }
    };
    println!("{}", report::soak_row(begun.elapsed(), client.resident_bytes().await?));
    println!("\n{}", report::OPEN);
    println!("{}", report::open_row(crate::SOAK_SHARE, rate, &outcome));
    Ok(())
}
