//! Open loop: requests are sent when they are due, however many are still pending.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    client::{Client, RequestOutcome},
    report::{self, Outcome},
};

/// Sends `rate` requests per second for a duration, then waits for the last response.
pub(crate) async fn run(client: &Client, rate: f64, length: Duration) -> anyhow::Result<Outcome> {
    let waited = async {
        sleep(length).await;
        Ok(())
    };
    Ok(during(client, rate, waited).await?.0)
}

/// Sends `rate` requests per second while `work` runs, and returns both results.
pub(crate) async fn during<T>(
    client: &Client,
    rate: f64,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<(Outcome, T)> {
    let stop = CancellationToken::new();
    let work = async {
        let _stop = stop.clone().drop_guard();
        work.await
    };
    tokio::try_join!(arrivals(client, rate, &stop), work)
}

async fn arrivals(client: &Client, rate: f64, stop: &CancellationToken) -> anyhow::Result<Outcome> {
    let begun = Instant::now();
    let mut outcome = Outcome::new()?;
    let mut under_way = JoinSet::<(RequestOutcome, Duration)>::new();
    for index in 0_u64.. {
        let due = begun + Duration::from_secs_f64(index as f64 / rate);
        if stop.run_until_cancelled(sleep_until(due)).await.is_none() {
            break;
        }
        let client = client.clone();
        // From the time it was due, not when it was sent: a late start counts as latency.
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

/// Like [`run`], but prints the server's memory before, every minute and after.
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
    println!("\n{}", report::STEADY);
    println!("{}", report::steady_row("soak", rate, &outcome));
    Ok(())
}
