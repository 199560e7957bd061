//! Images of datasets: list, change and show them.

use std::fmt::Display;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use axum_extra::{
    TypedHeader,
    headers::{ETag, HeaderMapExt as _, IfNoneMatch},
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    binary::Binary,
    extract::{Json, Paging, Path, Query, parse},
    problem::Problem,
    state::AppState,
};
use crate::{
    domain::{
        ImageId,
        dataset::{Image, Split},
    },
    storage::Page,
};

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail)
}

/// Filter of a list of images. Paging is here too: a flattened struct can't read numbers from a
/// query.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only images in this split.
    #[param(value_type = Option<Split>)]
    split: Option<String>,
    /// Only images of this class.
    label: Option<String>,
}

/// List the images of a dataset, oldest first
#[utoipa::path(get, path = "", params(Filter, Paging), responses((status = 200, description = "One page of images.", body = Page<Image>)))]
pub async fn list(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
    Query(filter): Query<Filter>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Image>>, Problem> {
    let split = parse(filter.split.as_deref())?;
    let (cursor, limit) = (paging.cursor()?, paging.limit()?);
    Ok(Json(app.datasets.images(&dataset, split, filter.label.as_deref(), cursor, limit).await?))
}

/// Request body of `PATCH /datasets/{dataset}/images/{image}`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ImageChange)]
#[serde(deny_unknown_fields)]
pub struct ImageUpdate {
    /// New class.
    label: Option<String>,
    split: Option<Split>,
}

/// Relabel an image, or move it to another split
///
/// An unlabelled image becomes one of the class `label`, in the split that is given or, by default, that
/// its content gives it.
#[utoipa::path(patch, path = "", operation_id = "change", request_body = ImageUpdate, responses(
    (status = 200, description = "The changed image.", body = Image),
    (status = 409, description = "`unlabelled`: the image has no label yet; provide `label`."),
    (status = 422, description = "`invalid_value`, `unknown_label`: unknown split or class, or no change given."),
))]
pub async fn update(
    State(app): State<AppState>,
    Path((dataset, image)): Path<(String, ImageId)>,
    Json(update): Json<ImageUpdate>,
) -> Result<Json<Image>, Problem> {
    if update.label.is_none() && update.split.is_none() {
        return Err(invalid("provide `label`, `split` or both"));
    }
    let label = update.label.as_deref();
    Ok(Json(app.datasets.update_image(&dataset, image, label, update.split).await?))
}

/// Delete an image
#[utoipa::path(delete, path = "", responses((status = 204, description = "Deleted.")))]
pub async fn delete(
    State(app): State<AppState>,
    Path((dataset, image)): Path<(String, ImageId)>,
) -> Result<StatusCode, Problem> {
    app.datasets.delete_image(&dataset, image).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get the original image file
#[utoipa::path(get, path = "",
    params(("If-None-Match" = Option<String>, Header, description = "`ETag` of a previous response")),
    responses(
        (status = 200, description = "The image.", content(
            (Binary = "image/jpeg"), (Binary = "image/png"), (Binary = "image/gif"), (Binary = "image/webp"), (Binary = "image/bmp"),
        ), headers(("ETag" = String, description = "Entity tag."))),
        (status = 304, description = "Not modified."),
        (status = 500, description = "`image_damaged`: the stored file is damaged or missing. `internal`"),
    ),
)]
pub async fn original(
    State(app): State<AppState>,
    Path(image): Path<ImageId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let image = app.datasets.file(image).await?;
    let tag = tag_of(image.sha256)?;
    if etag_matches(&headers, &tag) {
        return Ok(cached(tag, StatusCode::NOT_MODIFIED));
    }
    let bytes = app.datasets.original(&image).await?;
    Ok(cached(tag, ([(header::CONTENT_TYPE, image.media_type)], bytes)))
}

/// Parameters of a thumbnail.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ThumbnailSize {
    /// Length of the longer side in pixels.
    #[param(minimum = 16, maximum = 1024, default = 160)]
    size: Option<u32>,
}

/// Get a JPEG thumbnail
#[utoipa::path(get, path = "",
    params(ThumbnailSize, ("If-None-Match" = Option<String>, Header, description = "`ETag` of a previous response")),
    responses(
        (status = 200, description = "The thumbnail.", body = Binary, content_type = "image/jpeg",
            headers(("ETag" = String, description = "Entity tag."))),
        (status = 304, description = "Not modified."),
        (status = 500, description = "`image_damaged`: the stored file is damaged or missing. `internal`"),
    ),
)]
pub async fn thumbnail(
    State(app): State<AppState>,
    Path(image): Path<ImageId>,
    Query(query): Query<ThumbnailSize>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let size = match query.size.unwrap_or(160) {
        size @ 16..=1024 => size,
        size => return Err(invalid(format!("size must be 16 to 1024 pixels, not {size}"))),
    };
    let image = app.datasets.file(image).await?;
    let tag = tag_of(format_args!("{}-{size}", image.sha256))?;
    if etag_matches(&headers, &tag) {
        return Ok(cached(tag, StatusCode::NOT_MODIFIED));
    }
    let bytes = app.datasets.thumbnail(&image, size).await?;
    Ok(cached(tag, ([(header::CONTENT_TYPE, "image/jpeg")], bytes)))
}

/// The entity tag of what `name` stands for.
///
/// # Errors
/// `name` has a character that no tag may have; no digest has.
pub(super) fn tag_of(name: impl Display) -> Result<ETag, Problem> {
    format!("\"{name}\"").parse::<ETag>().map_err(|error| Problem::internal(&error))
}

/// Whether the client already has the version of `tag`.
pub(super) fn etag_matches(headers: &HeaderMap, tag: &ETag) -> bool {
    headers.typed_get::<IfNoneMatch>().is_some_and(|known| !known.precondition_passes(tag))
}

/// The bytes of an image's id never change. They were uploaded by users: a browser must not
/// interpret them as anything but the image they were checked to be.
fn cached(tag: ETag, response: impl IntoResponse) -> Response {
    let caching = [
        (header::CACHE_CONTROL, "private, max-age=31536000, immutable"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (TypedHeader(tag), caching, response).into_response()
}
