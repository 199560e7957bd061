//! Load test: prediction throughput and latency of a running server.
//!
//! First closed loop: each client sends the next image after the response to the last. The highest
//! throughput is the capacity. Then open loop, at fractions of that capacity: requests are sent at a
//! constant rate whether or not the server keeps up, and latency counts from the time a request was
//! due, so that a stalled server does not hide the delay (coordinated omission).
//!
//! Or at one constant rate: `--soak` as a soak test, `--swaps` during model swaps, `--beside` during
//! training.
//!
//! usage: cargo bench --bench load -- URL PHOTOS [--model NAME] [--seconds 20] [--rate N]
//!        [--closed-json | --soak SECONDS | --swaps N --between MODEL MODEL | --beside DATASET]
#![expect(clippy::print_stdout, reason = "its table goes to standard output")]

mod client;
mod closed;
mod during_training;
mod open;
mod report;
mod swaps;

use std::{path::PathBuf, time::Duration};

use clap::Parser;
use client::Client;

/// Numbers of concurrent clients of the closed loop, by default.
const CONCURRENCY: [usize; 3] = [1, 8, 64];

/// Arrival rates, as fractions of the capacity.
const SHARES: [f64; 3] = [0.5, 0.8, 1.2];

/// Arrival rate of the soak test, as a fraction of the capacity.
const SOAK_SHARE: f64 = 0.8;

/// Arrival rate during training, as a fraction of the capacity.
const BESIDE_SHARE: f64 = 0.3;

/// Requests per second during model swaps.
const SWAPS_RATE: f64 = 200.0;

#[derive(Parser)]
#[command(about = "Load test: prediction throughput and latency of a running server")]
struct Args {
    /// URL of the server, e.g. http://127.0.0.1:8080
    url: String,
    /// Folder of JPEGs, including subfolders
    photos: PathBuf,
    /// Model to test [default: the model in service]
    #[arg(long)]
    model: Option<String>,
    /// Duration of each measurement, in seconds
    #[arg(long, default_value = "20", value_parser = positive)]
    seconds: f64,
    /// Soak test: run at 80% of capacity for SECONDS and report server memory
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    soak: Option<f64>,
    /// Swap the model in service N times at 200 requests/s
    #[arg(long, value_name = "N", requires = "between", conflicts_with_all = ["soak", "model"])]
    swaps: Option<u32>,
    /// Models to swap
    #[arg(long, num_args = 2, value_names = ["MODEL", "MODEL"], requires = "swaps")]
    between: Vec<String>,
    /// Measure latency at 30% of capacity, idle and while a scratch_cnn job trains on DATASET
    #[arg(long, value_name = "DATASET", conflicts_with_all = ["soak", "swaps"])]
    beside: Option<String>,
    /// Request rate (requests/s) instead of the defaults
    #[arg(long, value_parser = positive)]
    rate: Option<f64>,
    /// Only the closed loop; a line of JSON for each number of clients
    #[arg(long, conflicts_with_all = ["soak", "swaps", "beside"])]
    closed_json: bool,
    /// Numbers of concurrent clients of the closed loop
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = CONCURRENCY)]
    clients: Vec<usize>,
    /// Send images as the field `image` of a form instead of as the body
    #[arg(long)]
    form: bool,
    /// Maximum number of images to send, sampled evenly from the folder
    #[arg(long, default_value = "500")]
    most_photos: usize,
    /// API token of the server
    #[arg(long, env = "PAWPRINT_API_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Passed by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if number.is_finite() && number > 0.0 {
        Ok(number)
    } else {
        Err("must be greater than 0".to_owned())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let photos = client::load_photos(&args.photos, args.most_photos)?;
    if !args.closed_json {
        println!("{}", report::of_photos(&photos));
    }
    let client =
        Client::new(&args.url, args.model.as_deref(), args.token.as_deref(), args.form, photos)?;
    let seconds = Duration::from_secs_f64(args.seconds);
    // The first requests load the model and open the connections.
    let warming = closed::run(&client, CONCURRENCY[1], seconds.min(Duration::from_secs(3))).await?;
    anyhow::ensure!(!warming.accepted.is_empty(), "no prediction succeeded: {warming}");

    if args.closed_json {
        for clients in args.clients {
            let outcome = closed::run(&client, clients, seconds).await?;
            println!("{}", report::closed_json(clients, &outcome));
        }
        return Ok(());
    }
    if let Some(swaps) = args.swaps {
        let rate = args.rate.unwrap_or(SWAPS_RATE);
        return swaps::run(&client, &args.between, swaps, rate).await;
    }
    let rate = async |share: f64| match args.rate {
        Some(rate) => anyhow::Ok(rate),
        None => Ok(capacity(&client, &args.clients, seconds).await? * share),
    };
    if let Some(dataset) = &args.beside {
        return during_training::run(&client, dataset, rate(BESIDE_SHARE).await?, seconds).await;
    }
    if let Some(soak) = args.soak {
        return open::soak(&client, rate(SOAK_SHARE).await?, Duration::from_secs_f64(soak)).await;
    }
    let capacity = capacity(&client, &args.clients, seconds).await?;
    println!("\n{}", report::OPEN);
    for share in SHARES {
        let rate = capacity * share;
        let outcome = open::run(&client, rate, seconds).await?;
        println!("{}", report::open_row(share, rate, &outcome));
    }
    Ok(())
}

/// The highest throughput over all numbers of clients, in predictions per second.
async fn capacity(
    client: &Client,
    concurrency: &[usize],
    seconds: Duration,
) -> anyhow::Result<f64> {
    println!("\n{}", report::CLOSED);
    let mut capacity = 0.0_f64;
    for &clients in concurrency {
        let outcome = closed::run(client, clients, seconds).await?;
        println!("{}", report::closed_row(clients, &outcome));
        capacity = capacity.max(outcome.throughput());
    }
    println!("\nCapacity: {capacity:.1} predictions/s");
    Ok(capacity)
}
