//! `POST /models`: a model of another server.

use axum::{
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::StreamExt as _;
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use utoipa::IntoParams;

use super::{
    binary::Binary,
    body::{incomplete_body, too_large},
    detached::run_to_completion,
    error::of_disk,
    extract::{Json, Query, parse},
    problem::Problem,
    state::AppState,
    upload_slot::UploadSlot,
};
use crate::{
    domain::{Name, model::Model},
    registry::import::Imported,
};

/// Maximum bytes of a model file.
const MAX_BYTES: u64 = 1 << 30;

/// `?name=`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ImportQuery {
    /// Name of the model. Default: the one that it has, with a number after it if that is taken.
    #[param(value_type = Option<Name>)]
    name: Option<String>,
}

/// Import a model
///
/// A file that `GET /models/{model}/download` of another server returned. Its card, its weights and what it
/// says of a few known images are checked. It can be used by its name, pinned, or exported; it does not go into
/// service by itself. Its job stays where it was trained: `job_id` is null.
#[utoipa::path(post, path = "", params(ImportQuery), request_body(content = Binary, content_type = "application/octet-stream"), responses(
    (status = 200, description = "The model, which was here already.", body = Model),
    (status = 201, description = "The model.", body = Model, headers(("Location" = String, description = "URL of the model."))),
    (status = 400, description = "`malformed`: the request body is incomplete."),
    (status = 409, description = "`name_taken`: another job or model has that name. `other_model`: another model here has its id."),
    (status = 413, description = "`too_large`: more than 1 GiB."),
    (status = 422, description = "`model_unusable`: not a whole model of Pawprint, or its outputs are not those that it had where it was trained. `invalid_value`"),
    (status = 429, description = "`too_many_uploads`: more concurrent uploads than `--max-uploads`."),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn import(
    State(app): State<AppState>,
    slot: UploadSlot,
    Query(query): Query<ImportQuery>,
    body: Body,
) -> Result<Response, Problem> {
    let name: Option<Name> = parse(query.name.as_deref())?;
    let file =
        tempfile::NamedTempFile::new_in(app.data_dir.tmp()).map_err(|error| of_disk(&error))?;
    let clone = file.reopen().map_err(|error| of_disk(&error))?;
    let mut writer = tokio::fs::File::from_std(clone);
    let mut bytes = 0;
    let mut body = body.into_data_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| incomplete_body(&error))?;
        bytes += chunk.len() as u64;
        if bytes > MAX_BYTES {
            return Err(too_large(MAX_BYTES));
        }
        writer.write_all(&chunk).await.map_err(|error| of_disk(&error))?;
    }
    writer.flush().await.map_err(|error| of_disk(&error))?;
    let registry = app.registry.clone();
    let imported = run_to_completion(async move {
        let _slot = slot;
        registry.import(file.into_temp_path(), name).await
    });
    let Imported { model, existed } = imported.await?;
    if existed {
        return Ok(Json(model).into_response());
    }
    let location = [(header::LOCATION, format!("/models/{}", model.id))];
    Ok((StatusCode::CREATED, location, Json(model)).into_response())
}
