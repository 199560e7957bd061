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
    document::Binary,
    extract::{Json, Paging, Path, Query, parse},
    fields::Fields,
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
        excerpt::Excerpt,
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
    /// The name of the file, where only one is sent. Not for archives.
    name: Option<String>,
}

/// A form of images, each under any field name, and what the query can say as well.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "the document alone reads it")]
struct ImagesForm {
    /// The images: every part with a `filename`, whatever its field is named.
    #[schema(min_items = 1)]
    file: Vec<Binary>,
    /// As `split` of the query.
    #[schema(inline)]
    split: Option<Destination>,
    /// As `label` of the query.
    label: Option<String>,
    /// As `name` of the query.
    name: Option<String>,
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
    /// What the query and the form say together.
    fn with(&self, form: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            split: form.or("split", self.split.as_deref())?,
            label: form.or("label", self.label.as_deref())?,
            name: form.or("name", self.name.as_deref())?,
        })
    }

    /// The split that was named; none for `auto`.
    fn split(&self) -> Result<Option<Split>, Problem> {
        match self.split.as_deref() {
            None | Some("auto") => Ok(None),
            named => parse(named).map_err(|_| {
                let name = Excerpt(named.unwrap_or_default());
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
/// A file that can't be used is no error: the report lists it. `split`, `label` and `name` may be
/// text fields of the form, before or behind the files; other text fields are refused.
#[utoipa::path(post, path = "", params(Target), request_body(content = ImagesForm, content_type = "multipart/form-data"), responses(
    (status = 200, description = "What became of the files.", body = Report),
    (status = 400, description = "`malformed`: no form, or one that breaks off."),
    (status = 413, description = "`too_large` or `too_many_files`: a form above the limits."),
    (status = 415, description = "`not_multipart`, `unsupported_encoding`"),
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
    // Whether there are such a dataset and class is said before gigabytes are sent.
    let split = target.split()?;
    let mut upload = app.datasets.upload(&dataset, split, target.label.as_deref()).await?;
    // Otherwise a field behind the files may still say where they go.
    let settled = target.split.is_some() && target.label.is_some();
    let limits = app.datasets.limits();
    let mut form = Parts::of(request, limits.max_archive_bytes).await?;
    let mut fields = Fields::new(&["split", "label", "name"]);
    let (mut files, mut held) = (0, Vec::new());
    while let Some(part) = form.next().await? {
        let Some(part) = fields.sift(part).await? else { continue };
        files += 1;
        if files > limits.max_archive_entries {
            return Err(Error::TooManyFiles { max: limits.max_archive_entries }.into());
        }
        held.push((part.name(), spool_part(&app.datasets, part).await?));
        if settled && files > 1 {
            enter(&mut upload, std::mem::take(&mut held), limits.max_image_bytes).await?;
        }
    }
    if files == 0 {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "no_files",
            "the form has no file in it",
        ));
    }
    let target = target.with(&fields)?;
    if let Some(name) = &target.name {
        let [file] = held.as_mut_slice() else {
            return Err(invalid(format!("`name` names a single file; the form has {files}")));
        };
        file.0.clone_from(name);
    }
    if !settled {
        let split = target.split()?;
        upload = app.datasets.upload(&dataset, split, target.label.as_deref()).await?;
    }
    enter(&mut upload, held, limits.max_image_bytes).await?;
    Ok(Json(upload.finish().await?))
}

/// A file of a form with its name; without bytes where it is too large.
type Held = (String, Option<Spooled>);

/// Spools one part. What is too large is read on to its end, but kept nowhere.
async fn spool_part(datasets: &Datasets, mut part: Part<'_>) -> Result<Option<Spooled>, Problem> {
    let max = datasets.limits().max_image_bytes;
    let mut spool = Some(datasets.spool().await?);
    while let Some(chunk) = part.chunk().await? {
        spool = match spool {
            Some(spool) if spool.bytes() + chunk.len() as u64 <= max => {
                Some(spool.push(chunk).await?)
            }
            _ => None,
        };
    }
    Ok(match spool {
        Some(spool) => Some(spool.finish().await?),
        None => None,
    })
}

async fn enter(upload: &mut Upload, files: Vec<Held>, max: u64) -> Result<(), Problem> {
    for (name, file) in files {
        match file {
            Some(file) => upload.add(&name, file).await?,
            None => upload.too_large(&name, max).await?,
        }
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
    (status = 415, description = "`unsupported_type`: no archive. `unsupported_encoding`"),
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
    if target.name.is_some() {
        return Err(invalid("name is for single images; in an archive, each file has its own"));
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
