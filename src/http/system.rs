//! Health, and information about this server.

use std::{io, path::Path, sync::Arc};

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{extract::Json, problem::Problem, state::AppState};
use crate::{
    data_dir::DataDir,
    device::{ComputeConfig, cuda_is_available},
    domain::{
        base::{self, BASES},
        dataset::Digest,
        recipe::Precision,
    },
    inference::engine::ComputedBy,
};

/// Liveness.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// Always `ok`.
    status: &'static str,
}

/// Readiness.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    /// Always `ready`.
    status: &'static str,
    checks: Checks,
}

/// Readiness checks; each is `ok` or describes the problem.
#[derive(Debug, Serialize, ToSchema)]
struct Checks {
    model: &'static str,
    database: &'static str,
    jobs: &'static str,
}

/// Check liveness
#[utoipa::path(get, path = "", responses((status = 200, description = "The process is alive.", body = Health)))]
pub async fn health() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Check readiness: a model is in service and the database is writable
#[utoipa::path(get, path = "", responses(
    (status = 200, description = "The server is ready.", body = Ready),
    (status = 503, description = "`not_ready`: `checks` shows which check failed."),
))]
pub async fn ready(State(state): State<AppState>) -> Response {
    let model = match state.registry.in_service() {
        _ if state.shutdown.is_cancelled() => "shutting down",
        Some(_) => "ok",
        None => "no model is in service yet",
    };
    let database = if state.storage.is_writable().await { "ok" } else { "not writable" };
    let jobs = match state.scheduler.unsaved() {
        0 => "ok",
        _ => "the state of a job can't be saved",
    };
    let checks = Checks { model, database, jobs };
    if [model, database, jobs] == ["ok"; 3] {
        return Json(Ready { status: "ready", checks }).into_response();
    }
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "not_ready",
        format!("model: {model}; database: {database}; jobs: {jobs}"),
    )
    .with("checks", json!(checks))
    .into_response()
}

/// Server version, hardware and disk usage.
#[derive(Debug, Serialize, ToSchema)]
pub struct System {
    version: &'static str,
    libtorch_version: &'static str,
    devices: Vec<&'static str>,
    precisions: Vec<Precision>,
    /// Precision that `auto` uses on the CPU.
    default_precision: Precision,
    /// What computes the convolutions of the model in service; null if there is none.
    inference_engine: Option<ComputedBy>,
    threads: Threads,
    data_dir: DataDirUse,
    /// Pretrained weights in the binary, with their licences.
    shipped_weights: Vec<ShippedWeights>,
}

/// Pretrained weights in the binary.
#[derive(Debug, Serialize, ToSchema)]
struct ShippedWeights {
    /// The base network.
    base: &'static str,
    /// The package that they were published in.
    origin: &'static str,
    /// Where it was published.
    url: &'static str,
    /// Their licence: an SPDX identifier.
    license: &'static str,
    /// SHA-256 of the published file.
    sha256: Digest,
}

impl ShippedWeights {
    fn all() -> Vec<Self> {
        let shipped = BASES.into_iter().filter_map(|base| Some((base.id(), base.shipped()?)));
        shipped
            .map(|(base, &base::ShippedWeights { origin, url, license, sha256, .. })| Self {
                base,
                origin,
                url,
                license,
                sha256,
            })
            .collect()
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct Threads {
    processors: usize,
    trainer: usize,
    /// Threads of a forward pass while no other request is in progress; null if no model is in
    /// service.
    inference: Option<usize>,
}

#[derive(Debug, Serialize, ToSchema)]
struct DataDirUse {
    path: String,
    used_bytes: u64,
    free_bytes: u64,
}

/// Get server version, hardware and disk usage
#[utoipa::path(get, path = "", responses((status = 200, description = "Versions, devices and disk usage.", body = System)))]
pub async fn system(State(state): State<AppState>) -> Result<Json<System>, Problem> {
    let data_dir = Arc::clone(&state.data_dir);
    let measured = tokio::task::spawn_blocking(move || (measure(&data_dir), cuda_is_available()));
    let (used, cuda) = measured.await.map_err(|error| Problem::internal(&error))?;
    let used = used.map_err(|error| Problem::internal(&error))?;
    let engine = state.registry.engine_in_service();
    Ok(Json(System {
        version: env!("CARGO_PKG_VERSION"),
        libtorch_version: env!("LIBTORCH_VERSION"),
        devices: if cuda { vec!["cpu", "cuda"] } else { vec!["cpu"] },
        precisions: vec![Precision::Fp32, Precision::Bf16],
        default_precision: ComputeConfig::cpu().precision,
        inference_engine: engine.as_ref().map(|engine| engine.computed_by()),
        threads: Threads {
            processors: crate::device::processors().get(),
            trainer: state.config.trainer_threads(),
            inference: engine.map(|engine| engine.config().threads),
        },
        data_dir: used,
        shipped_weights: ShippedWeights::all(),
    }))
}

fn measure(data_dir: &DataDir) -> io::Result<DataDirUse> {
    let root = data_dir.root();
    let free = rustix::fs::statvfs(root)?;
    Ok(DataDirUse {
        path: root.display().to_string(),
        used_bytes: size_of_files(root),
        free_bytes: free.f_bavail.saturating_mul(free.f_frsize),
    })
}

/// Files that vanish meanwhile, such as uploads, are not counted.
fn size_of_files(root: &Path) -> u64 {
    walkdir::WalkDir::new(root)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|metadata| metadata.len())
        .sum()
}
