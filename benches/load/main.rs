//! How many predictions a running server answers, and how fast.
//!
//! First closed-loop: so many clients, each of which sends the next photo when it has the answer
//! to the last. The best throughput of these is the capacity. Then open-loop, at shares of that
//! capacity: requests leave at a constant rate whether or not the server keeps up, and latency
//! counts from the moment a request was due, so that a server that stalls can't make the requests
//! disappear that it would have kept waiting.
//!
//! usage: cargo bench --bench load -- URL PHOTOS [--model NAME] [--seconds 20] [--soak SECONDS]
#![expect(clippy::print_stdout, reason = "its table goes to standard output")]

mod client;
mod closed;
mod open;
mod report;

use std::{path::PathBuf, time::Duration};

use clap::Parser;
use client::Client;

/// Clients at a time while the capacity is measured.
const CONCURRENCY: [usize; 3] = [1, 8, 64];

/// Shares of the capacity at which requests arrive.
const SHARES: [f64; 3] = [0.5, 0.8, 1.2];

/// Share of the capacity while soaking.
const SOAK_SHARE: f64 = 0.8;

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
    let photos = client::photos(&args.photos, args.most_photos)?;
    println!("{}", report::of_photos(&photos));
    let client = Client::new(&args.url, args.model.as_deref(), args.token.as_deref(), photos)?;
    let seconds = Duration::from_secs_f64(args.seconds);
    // The first requests load the model and open the connections.
    let warming = closed::run(&client, CONCURRENCY[1], seconds.min(Duration::from_secs(3))).await?;
    anyhow::ensure!(!warming.accepted.is_empty(), "no prediction was answered: {warming}");

    println!("\n{}", report::CLOSED);
    let mut capacity = 0.0_f64;
    for clients in CONCURRENCY {
        let outcome = closed::run(&client, clients, seconds).await?;
        println!("{}", report::closed_row(clients, &outcome));
        capacity = capacity.max(outcome.throughput());
    }

    println!("\nCapacity: {capacity:.1} predictions a second");
    if let Some(soak) = args.soak {
        return open::soak(&client, capacity * SOAK_SHARE, Duration::from_secs_f64(soak)).await;
    }
    println!("\n{}", report::OPEN);
    for share in SHARES {
        let rate = capacity * share;
        let outcome = open::run(&client, rate, seconds).await?;
        println!("{}", report::open_row(share, rate, &outcome));
    }
    Ok(())
}
