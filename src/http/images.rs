//! Images of datasets: listed, changed, and shown.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
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

/// What a list of images is narrowed to. Paging stands here too: a flattened struct can't read
/// numbers from a query.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only the images of that split.
    #[param(value_type = Option<Split>)]
    split: Option<String>,
    /// Only the images of that class.
    label: Option<String>,
}

/// Lists the images of a dataset, oldest first.
#[utoipa::path(get, path = "", params(Filter, Paging), responses((status = 200, description = "A page of them.", body = Page<Image>)))]
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

/// Body of `PATCH /datasets/{dataset}/images/{image}`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ImageChange)]
#[serde(deny_unknown_fields)]
pub struct ImageUpdate {
    /// A class of the dataset.
    label: Option<String>,
    split: Option<Split>,
}

/// Relabels an image, or moves it to another split.
#[utoipa::path(patch, path = "", operation_id = "change", request_body = ImageUpdate, responses(
    (status = 200, description = "The image as it is now.", body = Image),
    (status = 422, description = "`invalid_value`, `unknown_label`: another split or class, or no change at all."),
))]
pub async fn update(
    State(app): State<AppState>,
    Path((dataset, image)): Path<(String, ImageId)>,
    Json(update): Json<ImageUpdate>,
) -> Result<Json<Image>, Problem> {
    if update.label.is_none() && update.split.is_none() {
        return Err(invalid("say a label, a split or both"));
    }
    let label = update.label.as_deref();
    Ok(Json(app.datasets.update_image(&dataset, image, label, update.split).await?))
}

/// Drops an image from its dataset.
#[utoipa::path(delete, path = "", responses((status = 204, description = "It is gone.")))]
pub async fn delete(
    State(app): State<AppState>,
    Path((dataset, image)): Path<(String, ImageId)>,
) -> Result<StatusCode, Problem> {
    app.datasets.delete_image(&dataset, image).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The bytes of an image as they were uploaded.
#[utoipa::path(get, path = "",
    params(("If-None-Match" = Option<String>, Header, description = "An `ETag` that the client holds")),
    responses(
        (status = 200, description = "The image.", content(
            (Binary = "image/jpeg"), (Binary = "image/png"), (Binary = "image/gif"), (Binary = "image/webp"), (Binary = "image/bmp"),
        ), headers(("ETag" = String, description = "Stands for the bytes."))),
        (status = 304, description = "The client has it."),
        (status = 500, description = "`image_damaged`: the stored bytes are not those that were uploaded. `internal`"),
    ),
)]
pub async fn original(
    State(app): State<AppState>,
    Path(image): Path<ImageId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let image = app.datasets.image(image).await?;
    let tag = format!("\"{}\"", image.sha256);
    if etag_matches(&headers, &tag) {
        return cached(&tag, StatusCode::NOT_MODIFIED.into_response());
    }
    let bytes = app.datasets.original(&image).await?;
    cached(&tag, ([(header::CONTENT_TYPE, image.media_type)], bytes).into_response())
}

/// Parameters of a thumbnail.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ThumbnailSize {
    /// Pixels of the longer side.
    #[param(minimum = 16, maximum = 1024, default = 160)]
    size: Option<u32>,
}

/// A small JPEG of an image.
#[utoipa::path(get, path = "",
    params(ThumbnailSize, ("If-None-Match" = Option<String>, Header, description = "An `ETag` that the client holds")),
    responses(
        (status = 200, description = "The thumbnail.", body = Binary, content_type = "image/jpeg",
            headers(("ETag" = String, description = "Stands for the bytes."))),
        (status = 304, description = "The client has it."),
        (status = 500, description = "`image_damaged`: the stored bytes are not those that were uploaded. `internal`"),
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
    let image = app.datasets.image(image).await?;
    let tag = format!("\"{}-{size}\"", image.sha256);
    if etag_matches(&headers, &tag) {
        return cached(&tag, StatusCode::NOT_MODIFIED.into_response());
    }
    let bytes = app.datasets.thumbnail(&image, size).await?;
    cached(&tag, ([(header::CONTENT_TYPE, "image/jpeg")], bytes).into_response())
}

/// Whether the client holds what `tag` stands for.
pub(super) fn etag_matches(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|known| known.trim().trim_start_matches("W/"))
        .any(|known| known == tag || known == "*")
}

/// Bytes under an image's id never change. They came from somebody: a browser must not take them
/// for anything but the image they were checked to be.
fn cached(tag: &str, mut response: Response) -> Result<Response, Problem> {
    let headers = response.headers_mut();
    let tag = HeaderValue::from_str(tag).map_err(|error| Problem::internal(&error))?;
    headers.insert(header::ETAG, tag);
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, max-age=31536000, immutable"),
    );
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}
