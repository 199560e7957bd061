//! `/datasets`: create, list, show, split and delete datasets.

use std::thread;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use tokio::sync::oneshot;
use utoipa::{IntoParams, ToSchema};

use super::{
    binary::Binary,
    evaluations::{no_such_chart, svg},
    extract::{Json, Paging, Path, Query},
    problem::Problem,
    state::AppState,
};
use crate::{
    charts,
    datasets::{
        stable_split::SplitReport,
        statistics::{Histogram, Statistics},
    },
    domain::{
        Name,
        dataset::{Classes, Dataset},
        preprocessing::Preprocessing,
    },
    storage::Page,
    training::augment,
    vision,
};

/// Request body of `POST /datasets`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDataset {
    name: Name,
    /// The only classes of the dataset. Without them the dataset is open: the images that are
    /// uploaded make its classes.
    classes: Option<Classes>,
}

/// Create an empty dataset
#[utoipa::path(post, path = "", request_body = NewDataset, responses(
    (status = 201, description = "The new dataset.", body = Dataset, headers(("Location" = String, description = "URL of the dataset."))),
    (status = 409, description = "`name_taken`: another dataset has that name."),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn create(
    State(app): State<AppState>,
    Json(new): Json<NewDataset>,
) -> Result<impl IntoResponse, Problem> {
    let dataset = app.datasets.create(&new.name, new.classes.as_ref()).await?;
    let location = [(header::LOCATION, format!("/datasets/{}", dataset.id))];
    Ok((StatusCode::CREATED, location, Json(dataset)))
}

/// List datasets, oldest first
#[utoipa::path(get, path = "", params(Paging), responses((status = 200, description = "One page of datasets.", body = Page<Dataset>)))]
pub async fn list(
    State(app): State<AppState>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Dataset>>, Problem> {
    Ok(Json(app.datasets.list(paging.cursor()?, paging.limit()?).await?))
}

/// Get a dataset
#[utoipa::path(get, path = "", responses((status = 200, description = "The dataset.", body = Dataset)))]
pub async fn show(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
) -> Result<Json<Dataset>, Problem> {
    Ok(Json(app.datasets.get(&dataset).await?))
}

/// None: clients shorten `/classes/..?images=delete` to the path of the dataset.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParameters {}

/// Delete a dataset and its images
#[utoipa::path(delete, path = "", responses(
    (status = 204, description = "Deleted."),
    (status = 409, description = "`dataset_in_use`: used by an unfinished job."),
))]
pub async fn delete(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<StatusCode, Problem> {
    app.datasets.delete(&dataset).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reassign all images of a dataset to splits by content, 70/15/15
///
/// Every image moves to the split that its content hash gives it, also if it was put into another
/// one on purpose: 70% training, 15% validation and 15% test images, approximately. The result
/// depends neither on the order of the images nor on when they were added, and applying it twice
/// changes nothing. It is the split of images that are uploaded without one, except that each class
/// with at least three images gets one in each split. The one or two images of a class that stand
/// in for that may change when images are added and it is applied again; others never move. Existing
/// jobs keep their snapshots. Models that were trained on images that are now validation or test
/// images look better on them than they are.
#[utoipa::path(post, path = "", responses(
    (status = 200, description = "The new image counts, and the splits that still lack a class.", body = SplitReport),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn split(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
) -> Result<Json<SplitReport>, Problem> {
    Ok(Json(app.datasets.split(&dataset).await?))
}

/// Get dataset statistics: image counts, sizes, formats and near-duplicates across splits
#[utoipa::path(get, path = "", responses((status = 200, description = "The statistics.", body = Statistics)))]
pub async fn statistics(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
) -> Result<Json<Statistics>, Problem> {
    Ok(Json(app.datasets.statistics(&dataset).await?))
}

/// The charts of a dataset, for the OpenAPI document.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only the OpenAPI document reads them")]
enum DatasetChart {
    #[schema(rename = "classes.svg")]
    Classes,
    #[schema(rename = "width.svg")]
    Width,
    #[schema(rename = "height.svg")]
    Height,
    #[schema(rename = "formats.svg")]
    Formats,
}

/// Render a chart of dataset statistics (SVG)
#[utoipa::path(get, path = "",
    params(("chart" = inline(DatasetChart), Path, description = "Chart name")),
    responses((status = 200, description = "The chart.", body = String, content_type = "image/svg+xml")),
)]
pub async fn chart(
    State(app): State<AppState>,
    Path((dataset, chart)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let statistics = app.datasets.statistics(&dataset).await?;
    let histogram = |side, histogram: &Option<Histogram>| {
        let (edges, counts) =
            histogram.as_ref().map_or((&[][..], &[][..]), |it| (&it.edges[..], &it.counts[..]));
        charts::histogram(side, edges, counts)
    };
    svg(match chart.as_str() {
        "classes.svg" => charts::classes(&statistics.counts),
        "width.svg" => histogram("width", &statistics.width),
        "height.svg" => histogram("height", &statistics.height),
        "formats.svg" => charts::formats(&statistics.formats),
        _ => return Err(no_such_chart("classes, width, height, formats")),
    })
}

/// `?count=&seed=`
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AugmentationsQuery {
    /// Number of augmented versions.
    #[param(minimum = 1, maximum = 100, default = 9)]
    count: Option<usize>,
    /// Seed for the image and its augmentations.
    #[param(default = 0)]
    seed: Option<u64>,
}

/// Render augmented versions of one training image (PNG)
///
/// The seed selects the image and the augmentations.
#[utoipa::path(get, path = "", params(AugmentationsQuery), responses(
    (status = 200, description = "The contact sheet.", body = Binary, content_type = "image/png"),
    (status = 422, description = "`invalid_value`: a count outside 1 to 100, or a dataset without training images."),
))]
pub async fn augmentations(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
    Query(query): Query<AugmentationsQuery>,
) -> Result<Response, Problem> {
    let invalid =
        |detail: &str| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail);
    let count = query.count.unwrap_or(9);
    if !(1..=100).contains(&count) {
        return Err(invalid("count must be 1 to 100"));
    }
    let seed = query.seed.unwrap_or(0);
    let Some(sha256) = app.datasets.training_image(&dataset, seed).await? else {
        return Err(invalid("the dataset has no training images"));
    };
    let blobs = app.datasets.blobs().clone();
    let _permit = app.decoders.acquire().await;
    let limits = vision::Limits { max_pixels: app.config.max_image_pixels };
    let preprocessing = Preprocessing::UNIT_180;
    let memory = app.memory.clone();
    let prepare = move || {
        let bytes = blobs.read(&sha256)?;
        let needed = vision::decoding_memory(&bytes, &limits, Some(&preprocessing))
            .map_err(|error| Problem::internal(&error))?;
        let _memory = memory.wait_for_image(needed)?;
        vision::prepare(&bytes, &limits, &preprocessing).map_err(|error| Problem::internal(&error))
    };
    let photo =
        tokio::task::spawn_blocking(prepare).await.map_err(|error| Problem::internal(&error))??;
    let sheet = contact_sheet(photo, preprocessing, count, seed).await?;
    Ok(([(header::CONTENT_TYPE, "image/png")], sheet).into_response())
}

/// On a thread of its own, so that the memory libtorch keeps per thread is freed with it.
async fn contact_sheet(
    photo: Vec<u8>,
    preprocessing: Preprocessing,
    count: usize,
    seed: u64,
) -> Result<Vec<u8>, Problem> {
    let (reply, answer) = oneshot::channel();
    let draw = move || {
        let side = (preprocessing.height, preprocessing.width);
        drop(reply.send(augment::contact_sheet(&photo, side, count, seed)));
    };
    thread::Builder::new()
        .name("augmentations".to_owned())
        .spawn(draw)
        .map_err(|error| Problem::internal(&error))?;
    let sheet = answer.await.map_err(|error| Problem::internal(&error))?;
    sheet.map_err(|error| Problem::internal(&error))
}
