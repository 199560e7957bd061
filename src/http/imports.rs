//! `POST /models`: a model of another server.

use axum::{
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    binary::Binary,
    body_file::body_file,
    detached::run_to_completion,
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
    let file = body_file(&app, body, MAX_BYTES).await?;
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
