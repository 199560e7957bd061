//! Metrics of the log of predictions: what became of them, and the drift of the last hour.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::ConstCounter,
        family::Family,
        gauge::{ConstGauge, Gauge},
    },
    registry::Registry,
};

use crate::{
    domain::{
        drift::{Figures, Verdict},
        logged::LoggedModel,
    },
    journal::Counts,
};

/// The state of the log.
#[derive(Debug, Clone)]
pub struct PredictionLogSnapshot {
    /// What became of predictions since the start.
    pub counts: Counts,
    /// The last hour of each model that made predictions in it; `None` if the database can't be read.
    pub drift: Option<Vec<(LoggedModel, Figures)>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DriftLabels {
    model: String,
    name: String,
}

type Gauges = Family<DriftLabels, Gauge<f64, AtomicU64>>;

impl PredictionLogSnapshot {
    pub(super) fn register(&self, registry: &mut Registry) {
        let Counts { queued, written, dropped, photos_dropped } = self.counts;
        registry.register(
            "pawprint_prediction_log_queue",
            "Predictions that wait to be logged",
            ConstGauge::new(queued),
        );
        for (name, help, count) in [
            ("pawprint_prediction_log_written", "Predictions logged", written),
            (
                "pawprint_prediction_log_dropped",
                "Predictions not logged because too many were waiting for the disk",
                dropped,
            ),
            (
                "pawprint_prediction_log_photos_dropped",
                "Images of logged predictions that could not be kept",
                photos_dropped,
            ),
        ] {
            registry.register(name, help, ConstCounter::new(count));
        }
        if let Some(drift) = &self.drift {
            register_drift(registry, drift);
        }
    }
}

/// Name, description and value of a metric.
type Metric = (&'static str, &'static str, fn(&Figures) -> Option<f64>);

fn register_drift(registry: &mut Registry, drift: &[(LoggedModel, Figures)]) {
    let values: [Metric; 7] = [
        ("pawprint_drift_predictions", "Predictions of the last hour in the log", |it| {
            Some(it.predictions as f64)
        }),
        (
            "pawprint_drift_verdict",
            "Predictions of the last hour against the validation split: 0 stable, 1 moderate change, 2 drift",
            |it| match it.verdict {
                Verdict::TooFew => None,
                Verdict::Stable => Some(0.0),
                Verdict::Moderate => Some(1.0),
                Verdict::Drift => Some(2.0),
            },
        ),
        (
            "pawprint_drift_unsure_ratio",
            "Fraction of the predictions of the last hour that the model is unsure of at its current thresholds",
            |it| Some(it.unsure?.fraction),
        ),
        (
            "pawprint_drift_unsure_reference_ratio",
            "Fraction of the validation images that the model is unsure of",
            |it| it.unsure?.reference,
        ),
        (
            "pawprint_drift_class_psi",
            "Population stability index of the predicted classes of the last hour",
            |it| it.classes.as_ref()?.psi,
        ),
        (
            "pawprint_drift_distance_psi",
            "Population stability index of the distances to the training images in the last hour",
            |it| Some(it.distance?.psi),
        ),
        (
            "pawprint_drift_distance_mean",
            "Mean distance to the training images in the last hour",
            |it| Some(it.distance?.mean),
        ),
    ];
    for (name, help, value) in values {
        let gauges = Gauges::default();
        for (model, figures) in drift {
            if let Some(value) = value(figures) {
                let labels =
                    DriftLabels { model: model.id.to_string(), name: model.name.to_string() };
                gauges.get_or_create(&labels).set(value);
            }
        }
        registry.register(name, help, gauges);
    }
}
