//! What `GET /metrics` shows: counters and histograms of requests and predictions since the start,
//! and how things stand at the moment of asking.
//!
//! Written to by `http`, on whatever task serves a request. Every label has few values, all known
//! beforehand: routes as the router spells them, never what a client sent.

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

use crate::domain::{
    job::JobStatus,
    prediction::{ModelRef, PredictResponse},
};

/// Upper bounds of the histograms of time, in seconds.
const SECONDS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Upper bounds of the histogram of images a request.
const IMAGES: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// Which requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The method, or `other`.
    pub method: &'static str,
    /// The route as the router spells it, or `unmatched`.
    pub route: String,
    /// The status of the answer.
    pub status: u16,
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

/// How things stand when they are asked about.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Predictions that were let in and have no answer yet.
    pub queue_depth: usize,
    /// Bytes of the memory budget, and those of them that are reserved.
    pub memory: (u64, u64),
    /// Jobs of each status; nothing where the database does not say.
    pub jobs: Option<Vec<(JobStatus, u32)>>,
    /// The model in service.
    pub model: Option<ModelRef>,
}

/// What is counted from the start of the server on.
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
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register("pawprint_http_requests", "Requests answered", self.requests.clone());
        registry.register(
            "pawprint_http_request_duration_seconds",
            "Time from a request's head to the head of its answer",
            self.durations.clone(),
        );
        registry.register(
            "pawprint_prediction_decode_seconds",
            "Time to read, decode and resize the images of a prediction",
            self.decode.clone(),
        );
        registry.register(
            "pawprint_prediction_queue_seconds",
            "Time that a prediction waited for the model",
            self.queue.clone(),
        );
        registry.register(
            "pawprint_prediction_inference_seconds",
            "Time that a prediction took in the network",
            self.inference.clone(),
        );
        registry.register(
            "pawprint_prediction_batch_size",
            "Images of a prediction request",
            self.batch_size.clone(),
        );
        registry.register(
            "pawprint_predictions_rejected",
            "Predictions refused because too many were waiting",
            self.rejected.clone(),
        );
        let build = Family::<BuildLabels, Gauge>::default();
        let labels =
            BuildLabels { version: env!("CARGO_PKG_VERSION"), libtorch: env!("LIBTORCH_VERSION") };
        build.get_or_create(&labels).set(1);
        registry.register("pawprint_build_info", "This program and its libtorch", build);
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        registry.register(
            "process_start_time_seconds",
            "When the server started, in seconds since 1970",
            ConstGauge::new(started.as_secs_f64()),
        );
        self
    }

    /// Counts a request that was answered, or left by its client.
    pub fn requested(&self, labels: &RequestLabels, took: Duration) {
        self.requests.get_or_create(labels).inc();
        self.durations.get_or_create(labels).observe(took.as_secs_f64());
    }

    /// Counts a prediction that was answered.
    pub fn predicted(&self, answer: &PredictResponse) {
        let timing = &answer.timing_ms;
        self.decode.observe(timing.decode / 1e3);
        self.queue.observe(timing.queue / 1e3);
        self.inference.observe(timing.inference / 1e3);
        self.batch_size.observe(answer.predictions.len() as f64);
    }

    /// Counts a prediction that was refused because too many were waiting.
    pub fn rejected(&self) {
        self.rejected.inc();
    }

    /// Everything, as Prometheus reads it.
    ///
    /// # Errors
    /// A label that can't be written; none of these is.
    pub fn text(&self, standing: &Standing) -> Result<String, fmt::Error> {
        text::encode(&[&self.registry, &standing.registry()])
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Standing {
    /// A registry of its own, so that two who ask at a time do not meet in one.
    fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        registry.register(
            "pawprint_prediction_queue_depth",
            "Predictions let in and not answered yet",
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
        if let Some(bytes) = resident_bytes() {
            registry.register(
                "process_resident_memory_bytes",
                "Memory of the server that lies in RAM, without that of its trainers",
                ConstGauge::new(bytes),
            );
        }
        registry
    }
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

/// Linux says so in `/proc`; elsewhere nothing is shown.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}
