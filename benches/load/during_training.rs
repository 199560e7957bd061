//! Predictions beside training: how much longer they take at a constant modest rate while a job
//! trains on the same machine.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::Method;
use serde_json::json;
use tokio::time::sleep;

use crate::{client::Client, open, report};

/// Epochs of the job: more than any measurement lasts.
const EPOCHS: u32 = 10_000;

/// Time between two looks at a job that has yet to train.
const POLL: Duration = Duration::from_millis(250);

/// `rate` requests a second for so long on an idle machine, and again while a job of `dataset`
/// trains, which is cancelled when that is done.
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

/// Before its first optimizer steps a job decodes its photos, once.
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
