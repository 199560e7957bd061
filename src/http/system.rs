//! Health, and what this server is.

use std::{io, path::Path, sync::Arc};

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;

use super::{extract::Json, problem::Problem, state::AppState};
use crate::{
    data_dir::DataDir,
    domain::recipe::{Params, Precision, Recipe},
    training::device::{Compute, cuda_is_available},
};

/// `GET /healthz`
pub async fn health() -> Json<serde_json::Value> {
    Json(json!({ "status": "ok" }))
}

/// `GET /readyz`
pub async fn ready(State(state): State<AppState>) -> Response {
    let model = match state.registry.in_service() {
        _ if state.shutdown.is_cancelled() => "shutting down",
        Some(_) => "ok",
        None => "no model is in service yet",
    };
    let database = match state.storage.check().await {
        Ok(()) => "ok",
        Err(error) => {
            tracing::warn!(error = crate::telemetry::chain(&error), "the database takes no writes");
            "takes no writes"
        }
    };
    let checks = json!({ "model": model, "database": database });
    if model == "ok" && database == "ok" {
        return Json(json!({ "status": "ready", "checks": checks })).into_response();
    }
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "not_ready",
        format!("model: {model}; database: {database}"),
    )
    .with("checks", checks)
    .into_response()
}

/// What this server is and runs on.
#[derive(Debug, Serialize)]
pub struct System {
    version: &'static str,
    libtorch_version: &'static str,
    devices: Vec<&'static str>,
    precisions: Vec<Precision>,
    /// The precision that `auto` takes on the processor.
    default_precision: Precision,
    threads: Threads,
    data_dir: DataDirUse,
}

#[derive(Debug, Serialize)]
struct Threads {
    processors: usize,
    trainer: usize,
    /// Of each forward pass of the model in service; null while there is none.
    inference: Option<usize>,
}

#[derive(Debug, Serialize)]
struct DataDirUse {
    path: String,
    used_bytes: u64,
    free_bytes: u64,
}

/// `GET /system`
pub async fn system(State(state): State<AppState>) -> Result<Json<System>, Problem> {
    let data_dir = Arc::clone(&state.data_dir);
    let measured = tokio::task::spawn_blocking(move || (measure(&data_dir), cuda_is_available()));
    let (used, cuda) = measured.await.map_err(|error| Problem::internal(&error))?;
    let used = used.map_err(|error| Problem::internal(&error))?;
    Ok(Json(System {
        version: env!("CARGO_PKG_VERSION"),
        libtorch_version: env!("LIBTORCH_VERSION"),
        devices: if cuda { vec!["cpu", "cuda"] } else { vec!["cpu"] },
        precisions: vec![Precision::Fp32, Precision::Bf16],
        default_precision: Compute::cpu().precision,
        threads: Threads {
            processors: crate::config::processors().get(),
            trainer: state.config.trainer_threads(),
            inference: state.registry.engine_in_service().map(|engine| engine.tuning().threads),
        },
        data_dir: used,
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

/// Files that vanish meanwhile, as uploads do, count nothing.
fn size_of_files(root: &Path) -> u64 {
    walkdir::WalkDir::new(root)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|metadata| metadata.len())
        .sum()
}

/// A recipe and the parameters it has where a job names none.
#[derive(Debug, Serialize)]
pub struct RecipeInfo {
    recipe: Recipe,
    summary: &'static str,
    params: Params,
}

/// `GET /recipes`
pub async fn recipes() -> Json<serde_json::Value> {
    let items = Recipe::ALL.map(|recipe| RecipeInfo {
        recipe,
        summary: recipe.summary(),
        params: recipe.defaults(),
    });
    Json(json!({ "items": items, "next_cursor": null }))
}
