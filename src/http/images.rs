//! Images of datasets: uploaded singly or in archives, listed, changed, and shown.

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::StreamExt as _;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    body::broke_off,
    document::{Binary, Files},
    extract::{Json, Paging, Path, Query, parse},
    parts::{Part, Parts},
    problem::Problem,
    state::AppState,
};
use crate::{
    datasets::{
        Datasets, Error,
        archive::{HEAD, recognise},
        report::Report,
        upload::{Spooled, Upload},
    },
    domain::{
        ImageId,
        dataset::{Image, Split},
    },
    storage::Page,
};

/// Where uploaded images go.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The split that the images enter; `auto` lets each image's hash choose, 70/15/15.
    #[param(inline, value_type = Option<Destination>, default = "auto")]
    split: Option<String>,
    /// The class of all images; without it, each file's name tells. Not for archives.
    label: Option<String>,
}

/// What `split` may say of an upload, as the document names it.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "the document alone reads them")]
enum Destination {
    Train,
    Validation,
    Test,
    Auto,
}

impl Target {
    /// The split that was named; none for `auto`.
    fn split(&self) -> Result<Option<Split>, Problem> {
        match self.split.as_deref() {
            None | Some("auto") => Ok(None),
            named => parse(named).map_err(|_| {
                let name = named.unwrap_or_default();
                invalid(format!("split must be train, validation, test or auto, not `{name}`"))
            }),
        }
    }
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail)
}

/// Adds images to a dataset.
///
/// A file that can't be used is no error: the report lists it.
#[utoipa::path(post, path = "", params(Target), request_body(content = Files, content_type = "multipart/form-data"), responses(
    (status = 200, description = "What became of the files.", body = Report),
    (status = 400, description = "`malformed`: no form, or one that breaks off."),
    (status = 413, description = "`too_large` or `too_many_files`: a form above the limits."),
    (status = 415, description = "`not_multipart`"),
    (status = 422, description = "`invalid_value`, `unknown_label`: another split or class. `no_files`"),
    (status = 503, description = "`draining`"),
    (status = 507, description = "`disk_full`"),
))]
pub async fn upload(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
    Query(target): Query<Target>,
    request: Request,
) -> Result<Json<Report>, Problem> {
    let split = target.split()?;
    let mut upload = app.datasets.upload(&dataset, split, target.label.as_deref()).await?;
    let limits = app.datasets.limits();
    let mut parts = Parts::of(request, limits.max_archive_bytes).await?;
    let mut files = 0;
    while let Some(part) = parts.next().await? {
        files += 1;
        if files > limits.max_archive_entries {
            return Err(Error::TooManyFiles { max: limits.max_archive_entries }.into());
        }
        take(&app.datasets, &mut upload, part).await?;
    }
    if files == 0 {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "no_files",
            "the form has no file in it",
        ));
    }
    Ok(Json(upload.finish().await?))
}

/// Spools one part. What is too large is read on to its end, but kept nowhere.
async fn take(datasets: &Datasets, upload: &mut Upload, mut part: Part<'_>) -> Result<(), Problem> {
    let max = datasets.limits().max_image_bytes;
    let name = part.name();
    let mut spool = Some(datasets.spool().await?);
    while let Some(chunk) = part.chunk().await? {
        spool = match spool {
            Some(spool) if spool.bytes() + chunk.len() as u64 <= max => {
                Some(spool.push(chunk).await?)
            }
            _ => None,
        };
    }
    match spool {
        Some(spool) => upload.add(&name, spool.finish().await?).await?,
        None => upload.too_large(&name, max).await?,
    }
    Ok(())
}

/// Adds the images of a zip, tar or tar.gz to a dataset.
///
/// Paths name the classes: `<split>/<class>/*`, `<class>/*` or `cat.0.jpg`. What was read before
/// some damage stays, and the problem counts it.
#[utoipa::path(post, path = "", params(Target), request_body(content = Binary, content_type = "application/octet-stream"), responses(
    (status = 200, description = "What became of the files.", body = Report),
    (status = 400, description = "`malformed`: the body broke off."),
    (status = 413, description = "`too_large` or `archive_too_large`: an archive above the limits."),
    (status = 415, description = "`unsupported_type`: no archive."),
    (status = 422, description = "`archive_damaged`; `invalid_value`: another split, or a label."),
    (status = 503, description = "`draining`"),
    (status = 507, description = "`disk_full`"),
))]
pub async fn upload_archive(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
    Query(target): Query<Target>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Report>, Problem> {
    let split = target.split()?;
    if target.label.is_some() {
        return Err(invalid("label is for single images; in an archive, paths name the classes"));
    }
    // Whether there is such a dataset is said before gigabytes are sent.
    app.datasets.require(&dataset).await?;
    let max = app.datasets.limits().max_archive_bytes;
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > max) {
        return Err(Error::BodyTooLarge { max }.into());
    }
    let archive = spool(&app.datasets, body, max).await?;
    Ok(Json(app.datasets.import(&dataset, split, archive.path).await?))
}

async fn spool(datasets: &Datasets, body: Body, max: u64) -> Result<Spooled, Problem> {
    let mut spool = datasets.spool().await?;
    let mut head = Vec::new();
    let mut body = body.into_data_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| broke_off(&error))?;
        if spool.bytes() + chunk.len() as u64 > max {
            return Err(Error::BodyTooLarge { max }.into());
        }
        if head.len() < HEAD {
            head.extend_from_slice(&chunk);
            // Nobody should have to send gigabytes to hear that they are no archive.
            if head.len() >= HEAD {
                recognise(&head)
                    .map_err(|error| Error::Archive { error, report: Box::default() })?;
            }
        }
        spool = spool.push(chunk).await?;
    }
    Ok(spool.finish().await?)
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
pub struct Change {
    /// A class of the dataset.
    label: Option<String>,
    split: Option<Split>,
}

/// Relabels an image, or moves it to another split.
#[utoipa::path(patch, path = "", request_body = Change, responses(
    (status = 200, description = "The image as it is now.", body = Image),
    (status = 422, description = "`invalid_value`, `unknown_label`: another split or class, or no change at all."),
))]
pub async fn change(
    State(app): State<AppState>,
    Path((dataset, image)): Path<(String, ImageId)>,
    Json(change): Json<Change>,
) -> Result<Json<Image>, Problem> {
    if change.label.is_none() && change.split.is_none() {
        return Err(invalid("say a label, a split or both"));
    }
    let label = change.label.as_deref();
    Ok(Json(app.datasets.change_image(&dataset, image, label, change.split).await?))
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
    if is_known(&headers, &tag) {
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
    if is_known(&headers, &tag) {
        return cached(&tag, StatusCode::NOT_MODIFIED.into_response());
    }
    let bytes = app.datasets.thumbnail(&image, size).await?;
    cached(&tag, ([(header::CONTENT_TYPE, "image/jpeg")], bytes).into_response())
}

/// Whether the client holds what `tag` stands for.
pub(super) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
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
