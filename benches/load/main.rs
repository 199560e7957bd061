//! How many predictions a running server answers, and how fast.
//!
//! First closed-loop: so many clients, each of which sends the next photo when it has the answer
//! to the last. The best throughput of these is the capacity. Then open-loop, at shares of that
//! capacity: requests leave at a constant rate whether or not the server keeps up, and latency
//! counts from the moment a request was due, so that a server that stalls can't make the requests
//! disappear that it would have kept waiting.
//!
//! Or at one rate of arrival: `--soak` for hours, `--swaps` while models are swapped, `--beside`
//! a job that trains.
//!
//! usage: cargo bench --bench load -- URL PHOTOS [--model NAME] [--seconds 20] [--rate N]
//!        [--soak SECONDS | --swaps N --between MODEL MODEL | --beside DATASET]
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

/// Clients at a time while the capacity is measured.
const CONCURRENCY: [usize; 3] = [1, 8, 64];

/// Shares of the capacity at which requests arrive.
const SHARES: [f64; 3] = [0.5, 0.8, 1.2];

/// Share of the capacity while soaking.
const SOAK_SHARE: f64 = 0.8;

/// Share of the capacity beside a job that trains.
const BESIDE_SHARE: f64 = 0.3;

/// Requests a second while models are swapped.
const SWAPS_RATE: f64 = 200.0;

#[derive(Parser)]
#[command(about = "How many predictions a running server answers, and how fast")]
struct Args {
    /// Address of the server, as in http://127.0.0.1:8080
    url: String,
    /// Folder of JPEGs, searched with its subfolders
    photos: PathBuf,
    /// Model to ask; the one in service where none is named
    #[arg(long)]
    model: Option<String>,
    /// Seconds that each measurement takes
    #[arg(long, default_value = "20", value_parser = positive)]
    seconds: f64,
    /// After the capacity, only 80 % of it for so many seconds, with the server's memory
    #[arg(long, value_parser = positive)]
    soak: Option<f64>,
    /// Swap the model in service so many times under 200 requests a second
    #[arg(long, requires = "between", conflicts_with_all = ["soak", "model"])]
    swaps: Option<u32>,
    /// The models to swap
    #[arg(long, num_args = 2, value_names = ["MODEL", "MODEL"], requires = "swaps")]
    between: Vec<String>,
    /// Measure 30 % of the capacity, idle and while a scratch_cnn job of this dataset trains
    #[arg(long, value_name = "DATASET", conflicts_with_all = ["soak", "swaps"])]
    beside: Option<String>,
    /// Requests a second, in place of the shares of the capacity and of 200
    #[arg(long, value_parser = positive)]
    rate: Option<f64>,
    /// Photos to hold in memory and send in turn, taken evenly from the folder
    #[arg(long, default_value = "500")]
    most_photos: usize,
    /// Token of the server
    #[arg(long, env = "PAWPRINT_API_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if number.is_finite() && number > 0.0 { Ok(number) } else { Err("not above 0".to_owned()) }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let photos = client::load_photos(&args.photos, args.most_photos)?;
    println!("{}", report::of_photos(&photos));
    let client = Client::new(&args.url, args.model.as_deref(), args.token.as_deref(), photos)?;
    let seconds = Duration::from_secs_f64(args.seconds);
    // The first requests load the model and open the connections.
    let warming = closed::run(&client, CONCURRENCY[1], seconds.min(Duration::from_secs(3))).await?;
    anyhow::ensure!(!warming.accepted.is_empty(), "no prediction was answered: {warming}");

    if let Some(swaps) = args.swaps {
        let rate = args.rate.unwrap_or(SWAPS_RATE);
        return swaps::run(&client, &args.between, swaps, rate).await;
    }
    let rate = async |share: f64| match args.rate {
        Some(rate) => anyhow::Ok(rate),
        None => Ok(capacity(&client, seconds).await? * share),
    };
    if let Some(dataset) = &args.beside {
        return during_training::run(&client, dataset, rate(BESIDE_SHARE).await?, seconds).await;
    }
    if let Some(soak) = args.soak {
        return open::soak(&client, rate(SOAK_SHARE).await?, Duration::from_secs_f64(soak)).await;
    }
    let capacity = capacity(&client, seconds).await?;
    println!("\n{}", report::OPEN);
    for share in SHARES {
        let rate = capacity * share;
        let outcome = open::run(&client, rate, seconds).await?;
        println!("{}", report::open_row(share, rate, &outcome));
    }
    Ok(())
}

/// The best throughput of any number of clients, in predictions a second.
async fn capacity(client: &Client, seconds: Duration) -> anyhow::Result<f64> {
    println!("\n{}", report::CLOSED);
    let mut capacity = 0.0_f64;
    for clients in CONCURRENCY {
        let outcome = closed::run(client, clients, seconds).await?;
        println!("{}", report::closed_row(clients, &outcome));
        capacity = capacity.max(outcome.throughput());
    }
    println!("\nCapacity: {capacity:.1} predictions a second");
    Ok(capacity)
}
