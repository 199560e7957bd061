//! Model swaps under load: requests arrive at a constant rate while the model in service alternates
//! between two models. No request may fail, and memory must not grow with the number of swaps.

use reqwest::Method;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    client::Client,
    open,
    report::{self, Outcome},
};

/// Number of swaps before memory is first measured, so that everything has been used once.
const SETTLED: u32 = 10;

/// Swaps between `models` as fast as possible, `swaps` times. Afterwards, restores the model that was
/// in service before.
#[expect(clippy::print_stdout, reason = "its tables go to standard output")]
pub(crate) async fn run(
    client: &Client,
    models: &[String],
    swaps: u32,
    rate: f64,
) -> anyhow::Result<()> {
    anyhow::ensure!(models[0] != models[1], "--between needs two different models");
    let before = client.request(Method::GET, "/models/current", None).await?;
    // Skip the model that is already in service.
    let skipped = usize::from(before["name"] == models[0]);
    println!("\n{}", report::SWAPS);
    let begun = Instant::now();
    let swapping = async {
        for (done, model) in (1..=swaps).zip(models.iter().cycle().skip(skipped)) {
            serve(client, model).await?;
            if done == SETTLED || done == swaps {
                let bytes = client.resident_bytes().await?;
                println!("{}", report::swaps_row(done, begun.elapsed(), bytes));
            }
        }
        Ok(())
    };
    let swapped = open::during(client, rate, swapping).await;
    let kept = if before["mode"] == "pinned" { before["name"].as_str() } else { None };
    serve(client, kept.unwrap_or("best")).await?;

    let (outcome, ()) = swapped?;
    println!("\n{}", report::STEADY);
    println!("{}", report::steady_row("while swapping", rate, &outcome));
    let Outcome { failed, .. } = outcome;
    anyhow::ensure!(failed == 0, "{failed} requests failed during model swaps");
    Ok(())
}

async fn serve(client: &Client, model: &str) -> anyhow::Result<()> {
    let body = json!({ "model": model });
    client.request(Method::PUT, "/models/current", Some(body)).await.map(drop)
}
