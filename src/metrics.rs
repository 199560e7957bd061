//! The metrics of `GET /metrics`: counters and histograms of requests and predictions since the
//! start, and gauges of the current state.
//!
//! Updated by `http`, on whatever task serves a request. Every label has few values, all known
//! beforehand: routes as the router spells them, never what a client sent.

mod predictions;
mod text;

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::Registry,
};

pub use self::predictions::PredictionLogSnapshot;
use crate::domain::{
    job::JobStatus,
    prediction::{ModelRef, Prediction, Timing},
    selective::UnsureReason,
};

/// Upper bounds of the histograms of time, in seconds.
const SECONDS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Upper bounds of the histogram of images per request.
const IMAGES: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// Which requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The method, or `other`.
    pub method: &'static str,
    /// The route as the router spells it, or `unmatched`.
    pub route: String,
    /// The status of the response.
    pub status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UnsureLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    id: String,
    name: String,
    recipe: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
    libtorch: &'static str,
}

/// The current state, for the gauges.
#[derive(Debug, Clone)]
pub struct MetricsSnapshot {
    /// Prediction requests in progress.
    pub queue_depth: usize,
    /// Bytes of the memory budget: all of them, and the reserved ones.
    pub memory: (u64, u64),
    /// Jobs by status; `None` if the database can't be read.
    pub jobs: Option<Vec<(JobStatus, u32)>>,
    /// The model in service.
    pub model: Option<ModelRef>,
    /// The log of predictions, if there is one.
    pub predictions: Option<PredictionLogSnapshot>,
}

/// Counters and histograms since the start of the server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RequestLabels, Histogram>,
    decode: Histogram,
    queue: Histogram,
    inference: Histogram,
    batch_size: Histogram,
    rejected: Counter,
    unsure: Family<UnsureLabels, Counter>,
}

impl Metrics {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(seconds),
            decode: seconds(),
            queue: seconds(),
            inference: seconds(),
            batch_size: Histogram::new(IMAGES),
            rejected: Counter::default(),
            unsure: Family::default(),
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register("pawprint_http_requests", "HTTP requests", self.requests.clone());
        registry.register(
            "pawprint_http_request_duration_seconds",
            "HTTP request duration up to the response headers",
            self.durations.clone(),
        );
        registry.register(
            "pawprint_prediction_decode_seconds",
            "Time to decode and resize the images of a prediction request",
            self.decode.clone(),
        );
        registry.register(
            "pawprint_prediction_queue_seconds",
            "Time a prediction request spent in the queue",
            self.queue.clone(),
        );
        registry.register(
            "pawprint_prediction_inference_seconds",
            "Inference time of a prediction request",
            self.inference.clone(),
        );
        registry.register(
            "pawprint_prediction_batch_size",
            "Images per prediction request",
            self.batch_size.clone(),
        );
        registry.register(
            "pawprint_predictions_rejected",
            "Prediction requests rejected with 429",
            self.rejected.clone(),
        );
        for reason in UnsureReason::ALL {
            drop(self.unsure.get_or_create(&UnsureLabels { reason: reason.as_str() }));
        }
        registry.register(
            "pawprint_predictions_unsure",
            "Images of which the model was unsure",
            self.unsure.clone(),
        );
        let build = Family::<BuildLabels, Gauge>::default();
        let labels =
            BuildLabels { version: env!("CARGO_PKG_VERSION"), libtorch: env!("LIBTORCH_VERSION") };
        build.get_or_create(&labels).set(1);
        registry.register("pawprint_build_info", "Build information", build);
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        registry.register(
            "process_start_time_seconds",
            "Start time of the process since the Unix epoch in seconds",
            ConstGauge::new(started.as_secs_f64()),
        );
        self
    }

    /// Counts a request that was answered, or abandoned by its client.
    pub fn record_request(&self, labels: &RequestLabels, took: Duration) {
        self.requests.get_or_create(labels).inc();
        self.durations.get_or_create(labels).observe(took.as_secs_f64());
    }

    /// Counts a prediction request that was answered, and its images of which the model was unsure.
    pub fn record_prediction(&self, timing: &Timing, predictions: &[Prediction]) {
        self.decode.observe(timing.decode / 1e3);
        self.queue.observe(timing.queue / 1e3);
        self.inference.observe(timing.inference / 1e3);
        self.batch_size.observe(predictions.len() as f64);
        for reason in predictions.iter().filter_map(|prediction| prediction.reason) {
            self.unsure.get_or_create(&UnsureLabels { reason: reason.as_str() }).inc();
        }
    }

    /// Counts a prediction that was rejected because too many were waiting.
    pub fn record_rejection(&self) {
        self.rejected.inc();
    }

    /// Everything, as Prometheus reads it.
    ///
    /// # Errors
    /// A label can't be written; this does not happen with these labels.
    pub fn text(&self, snapshot: &MetricsSnapshot) -> Result<String, fmt::Error> {
        text::encode(&[&self.registry, &snapshot.registry()])
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl MetricsSnapshot {
    /// A registry of its own, so that concurrent requests don't share one.
    fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        registry.register(
            "pawprint_prediction_queue_depth",
            "Prediction requests in progress",
            ConstGauge::new(self.queue_depth),
        );
        let (budget, reserved) = self.memory;
        registry.register(
            "pawprint_memory_budget_bytes",
            "Memory that request bodies and the decoding of images may take, in bytes",
            ConstGauge::new(budget),
        );
        registry.register(
            "pawprint_memory_reserved_bytes",
            "Memory that request bodies and the decoding of images have reserved, in bytes",
            ConstGauge::new(reserved),
        );
        if let Some(counts) = &self.jobs {
            let jobs = Family::<JobLabels, Gauge>::default();
            for (status, count) in counts {
                let labels = JobLabels { status: status.as_str() };
                jobs.get_or_create(&labels).set(i64::from(*count));
            }
            registry.register("pawprint_jobs", "Jobs by status", jobs);
        }
        if let Some(model) = &self.model {
            let info = Family::<ModelLabels, Gauge>::default();
            let labels = ModelLabels {
                id: model.id.to_string(),
                name: model.name.to_string(),
                recipe: model.recipe.as_str(),
            };
            info.get_or_create(&labels).set(1);
            registry.register("pawprint_model_info", "The model in service", info);
        }
        if let Some(predictions) = &self.predictions {
            predictions.register(&mut registry);
        }
        if let Some(bytes) = resident_bytes() {
            registry.register(
                "process_resident_memory_bytes",
                "Resident memory of the server process in bytes, trainers excluded",
                ConstGauge::new(bytes),
            );
        }
        registry
    }
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

/// Read from `/proc` on Linux; elsewhere nothing is shown.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}
