//! `/datasets`: made, listed, looked at, dropped.

use std::thread;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use tokio::sync::oneshot;

use super::{
    evaluations::{no_such_chart, svg},
    extract::{Json, Paging, Path, Query},
    problem::Problem,
    state::AppState,
};
use crate::{
    charts,
    datasets::statistics::{Histogram, Statistics},
    domain::{
        Name,
        dataset::{Classes, Dataset, Split},
        model::Preprocessing,
    },
    storage::Page,
    training::augment,
    vision,
};

/// Body of `POST /datasets`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewDataset {
    name: Name,
    #[serde(default)]
    classes: Classes,
}

/// `POST /datasets`
///
/// # Errors
/// 409 where the name is taken.
pub async fn create(
    State(app): State<AppState>,
    Json(new): Json<NewDataset>,
) -> Result<impl IntoResponse, Problem> {
    let dataset = app.datasets.create(&new.name, &new.classes).await?;
    let location = [(header::LOCATION, format!("/datasets/{}", dataset.id))];
    Ok((StatusCode::CREATED, location, Json(dataset)))
}

/// `GET /datasets`
///
/// # Errors
/// 422 for paging that makes no sense.
pub async fn list(
    State(app): State<AppState>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Dataset>>, Problem> {
    Ok(Json(app.datasets.list(paging.cursor()?, paging.limit()?).await?))
}

/// `GET /datasets/{dataset}`
///
/// # Errors
/// 404.
pub async fn show(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
) -> Result<Json<Dataset>, Problem> {
    Ok(Json(app.datasets.get(&dataset).await?))
}

/// `DELETE /datasets/{dataset}`
///
/// # Errors
/// 404; 409 while a job that isn't finished uses it.
pub async fn delete(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
) -> Result<StatusCode, Problem> {
    app.datasets.delete(&dataset).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /datasets/{dataset}/statistics`
///
/// # Errors
/// 404.
pub async fn statistics(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
) -> Result<Json<Statistics>, Problem> {
    Ok(Json(app.datasets.statistics(&dataset).await?))
}

/// `GET /datasets/{dataset}/charts/{classes|width|height|formats}.svg`
///
/// # Errors
/// 404 for another dataset or chart.
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
        _ => return Err(no_such_chart("classes, width, height and formats")),
    })
}

/// `?count=&seed=`
#[derive(Debug, Deserialize)]
pub struct AugmentationsQuery {
    count: Option<usize>,
    seed: Option<u64>,
}

/// `GET /datasets/{dataset}/augmentations`: a PNG contact sheet of one training photo under the
/// augmentation of the recipes. The seed chooses the photo and what becomes of it.
///
/// # Errors
/// 404; 422 for a count outside 1 to 100, or a dataset without a training photo.
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
    let samples = app.datasets.manifest(&dataset).await?.samples;
    let train: Vec<_> = samples.iter().filter(|sample| sample.split == Split::Train).collect();
    let Some(sample) = train.get((seed % train.len().max(1) as u64) as usize) else {
        return Err(invalid("the dataset has no training image yet"));
    };
    let bytes = app.datasets.blobs().read(&sample.sha256)?;
    let _place = app.decoders.acquire().await;
    let limits = vision::Limits { max_pixels: app.config.max_image_pixels };
    let preprocessing = Preprocessing::UNIT_180;
    let photo =
        tokio::task::spawn_blocking(move || vision::prepare(&bytes, &limits, &preprocessing))
            .await
            .map_err(|error| Problem::internal(&error))?
            .map_err(|error| Problem::internal(&error))?;
    let sheet = contact_sheet(photo, preprocessing, count, seed).await?;
    Ok(([(header::CONTENT_TYPE, "image/png")], sheet).into_response())
}

/// On a thread of its own, which takes with it what libtorch keeps for each thread.
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
