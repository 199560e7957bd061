//! Uploads of images to a dataset: in a form, or in an archive.

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
};
use axum_extra::headers::{ContentLength, HeaderMapExt as _};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    binary::Binary,
    body::incomplete_body,
    extract::{Json, Path, Query, parse},
    fields::Fields,
    parts::{Part, Parts},
    problem::Problem,
    state::AppState,
    upload_slot::UploadSlot,
};
use crate::{
    datasets::{
        Datasets, Error, LabelSource,
        archive::{HEAD, recognise},
        preview::Preview,
        report::Report,
        upload::{Spooled, Upload},
    },
    domain::{dataset::Split, excerpt::Excerpt},
};

/// Target of uploaded images.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Target split; `auto` uses the split in the path, otherwise 70/15/15 by content hash.
    #[param(inline, value_type = Option<Destination>, default = "auto")]
    split: Option<String>,
    /// Class of all images; by default read from each file's path. An open dataset gets the class
    /// if it lacks it. Not allowed for archives.
    label: Option<String>,
    /// What names the class of a file: its folders, the word before the number in its name, or nothing:
    /// the images are unlabelled.
    #[param(inline, value_type = Option<Labels>, default = "folders")]
    labels: Option<String>,
    /// File name of a single file. Not allowed for archives.
    name: Option<String>,
}

/// Multipart form with image files, and the query parameters as text fields; any field names.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only the OpenAPI document reads it")]
struct ImagesForm {
    /// The images: every part with a `filename`; any field name.
    #[schema(min_items = 1)]
    file: Vec<Binary>,
    /// Same as `split` in the query.
    #[schema(inline)]
    split: Option<Destination>,
    /// Same as `label` in the query.
    label: Option<String>,
    /// Same as `labels` in the query.
    #[schema(inline)]
    labels: Option<Labels>,
    /// Same as `name` in the query.
    name: Option<String>,
}

/// Values of `split` for an upload.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only the OpenAPI document reads them")]
enum Destination {
    Train,
    Validation,
    Test,
    Auto,
}

/// Values of `labels` for an upload.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only the OpenAPI document reads them")]
pub(super) enum Labels {
    Folders,
    Names,
    None,
}

impl Labels {
    /// The source of that name.
    pub(super) fn parse(name: Option<&str>) -> Result<LabelSource, Problem> {
        match name {
            None | Some("folders") => Ok(LabelSource::Folders),
            Some("names") => Ok(LabelSource::Names),
            Some("none") => Ok(LabelSource::None),
            Some(other) => Err(invalid(format!(
                "labels must be folders, names or none, not `{}`",
                Excerpt(other)
            ))),
        }
    }
}

impl Target {
    /// The parameters of the query and the form combined.
    fn merge(&self, form: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            split: form.resolve("split", self.split.as_deref())?,
            label: form.resolve("label", self.label.as_deref())?,
            labels: form.resolve("labels", self.labels.as_deref())?,
            name: form.resolve("name", self.name.as_deref())?,
        })
    }

    fn labels(&self) -> Result<LabelSource, Problem> {
        Labels::parse(self.labels.as_deref())
    }

    /// The named split; `None` for `auto`.
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

/// Upload images to a dataset
///
/// Files that can't be used do not fail the request; the report lists them. `split`, `label`,
/// `labels` and `name` may be text fields of the form, before or after the files; other text fields are
/// rejected.
#[utoipa::path(post, path = "", params(Target), request_body(content = ImagesForm, content_type = "multipart/form-data"), responses(
    (status = 200, description = "Upload report.", body = Report),
    (status = 400, description = "`malformed`: invalid or incomplete form."),
    (status = 413, description = "`too_large` or `too_many_files`: a form above the limits."),
    (status = 415, description = "`not_multipart`, `unsupported_encoding`"),
    (status = 422, description = "`invalid_value`, `unknown_label`: unknown split or class. `no_files`"),
    (status = 429, description = "`too_many_uploads`: more concurrent uploads than `--max-uploads`."),
    (status = 503, description = "`draining`"),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn upload(
    State(app): State<AppState>,
    _slot: UploadSlot,
    Path(dataset): Path<String>,
    Query(target): Query<Target>,
    request: Request,
) -> Result<Json<Report>, Problem> {
    // An unknown dataset or class is an error before gigabytes are sent.
    let split = target.split()?;
    let mut upload =
        app.datasets.upload(&dataset, split, target.label.as_deref(), target.labels()?).await?;
    // Otherwise a field after the files may still set their target.
    let settled = target.split.is_some() && target.label.is_some() && target.labels.is_some();
    let limits = app.datasets.limits();
    let mut form = Parts::from_request(request, limits.max_archive_bytes).await?;
    let mut fields = Fields::new(&["split", "label", "labels", "name"]);
    let (mut files, mut held) = (0, Vec::new());
    while let Some(part) = form.next().await? {
        let Some(part) = fields.take_field(part).await? else { continue };
        files += 1;
        if files > limits.max_archive_entries {
            return Err(Error::TooManyFiles { max: limits.max_archive_entries }.into());
        }
        held.push((part.name(), spool_part(&app.datasets, part).await?));
        if settled && files > 1 {
            add_files(&mut upload, std::mem::take(&mut held), limits.max_image_bytes).await?;
        }
    }
    if files == 0 {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "no_files",
            "the form contains no files",
        ));
    }
    let target = target.merge(&fields)?;
    if let Some(name) = &target.name {
        let [file] = held.as_mut_slice() else {
            return Err(invalid(format!(
                "`name` is only allowed for a single file; the form contains {files}"
            )));
        };
        file.0.clone_from(name);
    }
    if !settled {
        let split = target.split()?;
        upload =
            app.datasets.upload(&dataset, split, target.label.as_deref(), target.labels()?).await?;
    }
    add_files(&mut upload, held, limits.max_image_bytes).await?;
    Ok(Json(upload.finish().await?))
}

/// A file of a form with its name; without bytes if it is too large.
type SpooledFile = (String, Option<Spooled>);

/// Spools one part. A part that is too large is read to its end, but not stored.
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

async fn add_files(upload: &mut Upload, files: Vec<SpooledFile>, max: u64) -> Result<(), Problem> {
    for (name, file) in files {
        match file {
            Some(file) => upload.add(&name, file).await?,
            None => upload.too_large(&name, max).await?,
        }
    }
    Ok(())
}

/// Target of the images of an archive.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ArchiveTarget {
    /// Target split; `auto` uses the split in the path, otherwise 70/15/15 by content hash.
    #[param(inline, value_type = Option<Destination>, default = "auto")]
    split: Option<String>,
    /// Not allowed for archives.
    label: Option<String>,
    /// What names the class of a file: its folders, the word before the number in its name, or nothing:
    /// the images are unlabelled.
    #[param(inline, value_type = Option<Labels>, default = "folders")]
    labels: Option<String>,
    /// Not allowed for archives.
    name: Option<String>,
    /// Only report what the names in the archive say: classes, splits, rejected files. Nothing is
    /// stored.
    #[serde(default)]
    #[param(default = false)]
    dry_run: bool,
}

/// Response of an archive import.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Imported {
    /// What was added.
    Report(Report),
    /// What would be added, with `dry_run`.
    Preview(Preview),
}

/// Import images from a zip, tar or tar.gz archive
///
/// The class is read from each path: `<split>/<class>/*`, `<class>/*` or `cat.0.jpg`. In an open
/// dataset, the folders make the classes. If the
/// archive is damaged, images read so far are kept and counted in the problem.
#[utoipa::path(post, path = "", params(ArchiveTarget), request_body(content = Binary, content_type = "application/octet-stream"), responses(
    (status = 200, description = "Upload report, or the preview of a dry run.", body = Imported),
    (status = 400, description = "`malformed`: the request body is incomplete."),
    (status = 413, description = "`too_large` or `archive_too_large`: an archive above the limits."),
    (status = 415, description = "`unsupported_type`: not a supported archive. `unsupported_encoding`"),
    (status = 422, description = "`archive_damaged`; `invalid_value`: unknown split, or `label` or `name` given."),
    (status = 429, description = "`too_many_uploads`: more concurrent uploads than `--max-uploads`."),
    (status = 503, description = "`draining`"),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn upload_archive(
    State(app): State<AppState>,
    _slot: UploadSlot,
    Path(dataset): Path<String>,
    Query(target): Query<ArchiveTarget>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Imported>, Problem> {
    let ArchiveTarget { split, label, labels, name, dry_run } = target;
    let target = Target { split, label, labels, name };
    let (split, labels) = (target.split()?, target.labels()?);
    if target.label.is_some() {
        return Err(invalid("`label` is not allowed for archives; the class comes from each path"));
    }
    if target.name.is_some() {
        return Err(invalid("`name` is not allowed for archives; each file has its own name"));
    }
    // An unknown dataset is an error before gigabytes are sent.
    app.datasets.require(&dataset).await?;
    let max = app.datasets.limits().max_archive_bytes;
    if headers.typed_get::<ContentLength>().is_some_and(|length| length.0 > max) {
        return Err(Error::BodyTooLarge { max }.into());
    }
    let archive = spool(&app.datasets, body, max).await?;
    Ok(Json(if dry_run {
        Imported::Preview(
            app.datasets.preview_archive(&dataset, split, labels, archive.path).await?,
        )
    } else {
        Imported::Report(app.datasets.import(&dataset, split, labels, archive.path).await?)
    }))
}

async fn spool(datasets: &Datasets, body: Body, max: u64) -> Result<Spooled, Problem> {
    let mut spool = datasets.spool().await?;
    let mut head = Vec::new();
    let mut body = body.into_data_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| incomplete_body(&error))?;
        if spool.bytes() + chunk.len() as u64 > max {
            return Err(Error::BodyTooLarge { max }.into());
        }
        if head.len() < HEAD {
            head.extend_from_slice(&chunk);
            // A body that is not an archive is rejected before gigabytes are sent.
            if head.len() >= HEAD {
                recognise(&head)
                    .map_err(|error| Error::Archive { error, report: Box::default() })?;
            }
        }
        spool = spool.push(chunk).await?;
    }
    Ok(spool.finish().await?)
}
