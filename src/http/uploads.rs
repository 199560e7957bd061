//! Images on their way into a dataset: singly in a form, or many in an archive.

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
};
use futures::StreamExt as _;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    binary::Binary,
    body::broke_off,
    extract::{Json, Path, Query, parse},
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
    domain::{dataset::Split, excerpt::Excerpt},
};

/// Where uploaded images go.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The split that the images enter; `auto`: the folders in the files' names decide, or else each
    /// image's hash, 70/15/15.
    #[param(inline, value_type = Option<Destination>, default = "auto")]
    split: Option<String>,
    /// The class of all images; without it, folders, or else the files' names, tell. Not for archives.
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
/// text fields of the form, before or after the files; other text fields are refused.
#[utoipa::path(post, path = "", params(Target), request_body(content = ImagesForm, content_type = "multipart/form-data"), responses(
    (status = 200, description = "What became of the files.", body = Report),
    (status = 400, description = "`malformed`: no form, or one that breaks off."),
    (status = 413, description = "`too_large` or `too_many_files`: a form above the limits."),
    (status = 415, description = "`not_multipart`, `unsupported_encoding`"),
    (status = 422, description = "`invalid_value`, `unknown_label`: another split or class. `no_files`"),
    (status = 503, description = "`draining`"),
    (status = 507, description = "`disk_full`, `read_only`"),
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
    // Otherwise a field after the files may still say where they go.
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
    (status = 507, description = "`disk_full`, `read_only`"),
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
