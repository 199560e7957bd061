//! Results as Markdown.

use std::{fmt, time::Duration};

use bytes::Bytes;
use hdrhistogram::Histogram;

use crate::client::RequestOutcome;

/// Table headers.
pub(crate) const CLOSED: &str = "\
| clients | predictions/s | p50 ms | p95 ms | p99 ms | rejected | failed |
|---:|---:|---:|---:|---:|---:|---:|";
pub(crate) const OPEN: &str = "\
| load (% of capacity) | offered/s | accepted/s | 429 | p50 ms | p95 ms | p99 ms | p99 ms of 429 responses | failed |
|---:|---:|---:|---:|---:|---:|---:|---:|---:|";
pub(crate) const SOAK: &str = "\
| after s | resident MiB |
|---:|---:|";
pub(crate) const SWAPS: &str = "\
| swaps | after s | resident MiB |
|---:|---:|---:|";
pub(crate) const STEADY: &str = "\
| | offered/s | accepted/s | 429 | p50 ms | p95 ms | p99 ms | failed |
|---|---:|---:|---:|---:|---:|---:|---:|";

/// Latencies in microseconds, and the number of failed requests.
pub(crate) struct Outcome {
    pub(crate) accepted: Histogram<u64>,
    refused: Histogram<u64>,
    pub(crate) failed: u64,
    /// From the first request to the last response.
    pub(crate) elapsed: Duration,
}

impl Outcome {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let histogram = Histogram::new(3)?;
        let refused = histogram.clone();
        Ok(Self { accepted: histogram, refused, failed: 0, elapsed: Duration::ZERO })
    }

    pub(crate) fn record(&mut self, fate: RequestOutcome, latency: Duration) -> anyhow::Result<()> {
        let micros = u64::try_from(latency.as_micros())?;
        match fate {
            RequestOutcome::Accepted => self.accepted.record(micros)?,
            RequestOutcome::Refused => self.refused.record(micros)?,
            RequestOutcome::Failed => self.failed += 1,
        }
        Ok(())
    }

    pub(crate) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.accepted.add(&other.accepted)?;
        self.refused.add(&other.refused)?;
        self.failed += other.failed;
        Ok(())
    }

    /// Predictions per second.
    pub(crate) fn throughput(&self) -> f64 {
        self.accepted.len() as f64 / self.elapsed.as_secs_f64()
    }

    fn refused_share(&self) -> f64 {
        let all = self.accepted.len() + self.refused.len() + self.failed;
        self.refused.len() as f64 / all.max(1) as f64
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (accepted, refused) = (self.accepted.len(), self.refused.len());
        write!(f, "{accepted} accepted, {refused} rejected, {} failed", self.failed)
    }
}

fn milliseconds(histogram: &Histogram<u64>, quantile: f64) -> String {
    if histogram.is_empty() {
        return "–".to_owned();
    }
    format!("{:.1}", histogram.value_at_quantile(quantile) as f64 / 1e3)
}

fn quantiles(histogram: &Histogram<u64>) -> String {
    [0.5, 0.95, 0.99].map(|quantile| milliseconds(histogram, quantile)).join(" | ")
}

pub(crate) fn closed_row(clients: usize, outcome: &Outcome) -> String {
    let (throughput, quantiles) = (outcome.throughput(), quantiles(&outcome.accepted));
    let (refused, failed) = (outcome.refused.len(), outcome.failed);
    format!("| {clients} | {throughput:.1} | {quantiles} | {refused} | {failed} |")
}

/// Predictions per second, and latencies in milliseconds.
pub(crate) fn closed_json(clients: usize, outcome: &Outcome) -> serde_json::Value {
    let ms = |quantile| outcome.accepted.value_at_quantile(quantile) as f64 / 1e3;
    serde_json::json!({
        "clients": clients,
        "throughput": outcome.throughput(),
        "p50": ms(0.5),
        "p99": ms(0.99),
        "rejected": outcome.refused.len(),
        "failed": outcome.failed,
    })
}

pub(crate) fn open_row(share: f64, rate: f64, outcome: &Outcome) -> String {
    format!(
        "| {:.0}% | {rate:.1} | {:.1} | {:.1}% | {} | {} | {} |",
        share * 100.0,
        outcome.throughput(),
        outcome.refused_share() * 100.0,
        quantiles(&outcome.accepted),
        milliseconds(&outcome.refused, 0.99),
        outcome.failed,
    )
}

pub(crate) fn steady_row(when: &str, rate: f64, outcome: &Outcome) -> String {
    format!(
        "| {when} | {rate:.1} | {:.1} | {:.1}% | {} | {} |",
        outcome.throughput(),
        outcome.refused_share() * 100.0,
        quantiles(&outcome.accepted),
        outcome.failed,
    )
}

pub(crate) fn ratio_of_p99s(idle: &Outcome, training: &Outcome) -> String {
    let [idle, training] = [idle, training].map(|it| it.accepted.value_at_quantile(0.99) as f64);
    format!("p99 training / p99 idle: {:.2}", training / idle)
}

pub(crate) fn soak_row(after: Duration, bytes: f64) -> String {
    format!("| {:.0} | {} |", after.as_secs_f64(), mebibytes(bytes))
}

pub(crate) fn swaps_row(swaps: u32, after: Duration, bytes: f64) -> String {
    format!("| {swaps} | {:.0} | {} |", after.as_secs_f64(), mebibytes(bytes))
}

fn mebibytes(bytes: f64) -> String {
    format!("{:.1}", bytes / f64::from(1 << 20))
}

pub(crate) fn of_photos(photos: &[Bytes]) -> String {
    let bytes: usize = photos.iter().map(Bytes::len).sum();
    format!("{} images, {:.0} kB on average", photos.len(), (bytes / photos.len()) as f64 / 1e3)
}
