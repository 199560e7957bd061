//! Predictions during training: how much latency increases at a constant moderate rate while a job
//! trains on the same machine.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::Method;
use serde_json::json;
use tokio::time::sleep;

use crate::{client::Client, open, report};

/// Epochs of the job, more than any measurement needs.
const EPOCHS: u32 = 10_000;

/// Polling interval until the job trains.
const POLL: Duration = Duration::from_millis(250);

/// Sends `rate` requests per second on an idle machine, and again while a job trains on `dataset`; the
/// job is cancelled afterwards.
#[expect(clippy::print_stdout, reason = "its table goes to standard output")]
pub(crate) async fn run(
    client: &Client,
    dataset: &str,
    rate: f64,
    length: Duration,
) -> anyhow::Result<()> {
    println!("\n{}", report::STEADY);
    let idle = open::run(client, rate, length).await?;
    println!("{}", report::steady_row("idle", rate, &idle));

    let job =
        json!({ "recipe": "scratch_cnn", "dataset": dataset, "params": { "epochs": EPOCHS } });
    let job = client.request(Method::POST, "/jobs", Some(job)).await?;
    let job = format!("/jobs/{}", job["id"].as_str().context("a job without an id")?);
    let measured = async {
        wait_until_training(client, &job).await?;
        let training = open::run(client, rate, length).await?;
        let now = client.request(Method::GET, &job, None).await?;
        anyhow::ensure!(now["status"] == "running", "the job did not last: {}", now["error"]);
        anyhow::Ok(training)
    };
    let measured = measured.await;
    client.request(Method::POST, &format!("{job}/cancel"), None).await?;

    let training = measured?;
    println!("{}", report::steady_row("while training", rate, &training));
    println!("\n{}", report::ratio_of_p99s(&idle, &training));
    Ok(())
}

/// Before its first optimizer step, a job decodes its images once.
async fn wait_until_training(client: &Client, job: &str) -> anyhow::Result<()> {
    loop {
        let now = client.request(Method::GET, job, None).await?;
        let status = &now["status"];
        anyhow::ensure!(status == "queued" || status == "running", "{status}: {}", now["error"]);
        if now["progress"]["epoch"].as_u64() >= Some(1) {
            return Ok(());
        }
        sleep(POLL).await;
    }
}
