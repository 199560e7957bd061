//! `/datasets/{dataset}/review`: what a dataset hides, and what people decide about it.

use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    extract::{Json, Paging, Path, Query},
    problem::Problem,
    state::AppState,
};
use crate::{
    domain::{
        ImageId,
        dataset::Split,
        review::{Decision, List},
    },
    reviews::{
        Decided, DuplicateView, Error, Joined, MapView, OutlierView, ReviewState, SuggestionView,
        SuspectView,
    },
    storage::Page,
};

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Datasets(error) => error.into(),
            Error::Storage(error) => error.into(),
            Error::NotReviewed => {
                Self::new(StatusCode::CONFLICT, "not_reviewed", error.to_string())
            }
            Error::Invalid(detail) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", detail)
            }
            Error::Folder(source) => super::error::of_disk(&source),
        }
    }
}

/// Get the state of a dataset's review, and a summary of the last result
///
/// A review looks for wrong labels, near-duplicates, images that are unlike the rest and images to label
/// next, by the features of the built-in network. It is computed in the background 5 s after the dataset
/// has changed, while no job is running on this machine.
#[utoipa::path(get, path = "", responses((status = 200, description = "The state.", body = ReviewState)))]
pub async fn show(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
) -> Result<Json<ReviewState>, Problem> {
    Ok(Json(app.reviews.show(&dataset).await?))
}

/// Start the review of a dataset at once, or resume it after a cancellation or failure
///
/// It still waits for running jobs. Features that were computed before are not computed again.
#[utoipa::path(post, path = "", responses(
    (status = 202, description = "The state.", body = ReviewState),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn start(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
) -> Result<(StatusCode, Json<ReviewState>), Problem> {
    Ok((StatusCode::ACCEPTED, Json(app.reviews.start(&dataset).await?)))
}

/// Cancel the review of a dataset, until it changes or the review is started again
///
/// The last result is kept.
#[utoipa::path(delete, path = "", responses(
    (status = 200, description = "The state.", body = ReviewState),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn cancel(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
) -> Result<Json<ReviewState>, Problem> {
    Ok(Json(app.reviews.cancel(&dataset).await?))
}

/// The page that the parameters ask for: its first place in the list, and its length.
fn place(paging: &Paging) -> Result<(usize, u32), Problem> {
    Ok((paging.cursor()?.unwrap_or(0), paging.limit()?))
}

/// List images that are possibly mislabelled, the least probable label first
///
/// Images that have another label since the review, or that were decided on, are left out.
#[utoipa::path(get, path = "", params(Paging), responses(
    (status = 200, description = "One page of images.", body = Page<SuspectView>),
    (status = 409, description = "`not_reviewed`: there is no result yet."),
))]
pub async fn mislabelled(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<SuspectView>>, Problem> {
    let (from, limit) = place(&paging)?;
    Ok(Json(app.reviews.mislabelled(&dataset, from, limit).await?))
}

/// List groups of near-duplicates, those across splits first
///
/// Groups whose images were all decided on are left out, unless some that were in one split then are in
/// different ones now.
#[utoipa::path(get, path = "", params(Paging), responses(
    (status = 200, description = "One page of groups.", body = Page<DuplicateView>),
    (status = 409, description = "`not_reviewed`: there is no result yet."),
))]
pub async fn duplicates(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<DuplicateView>>, Problem> {
    let (from, limit) = place(&paging)?;
    Ok(Json(app.reviews.duplicates(&dataset, from, limit).await?))
}

/// List images that are unlike the rest, blank, dark, blurred or small
#[utoipa::path(get, path = "", params(Paging), responses(
    (status = 200, description = "One page of images.", body = Page<OutlierView>),
    (status = 409, description = "`not_reviewed`: there is no result yet."),
))]
pub async fn outliers(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<OutlierView>>, Problem> {
    let (from, limit) = place(&paging)?;
    Ok(Json(app.reviews.outliers(&dataset, from, limit).await?))
}

/// List unlabelled images with the label that each looks like, those first whose label would teach most
///
/// `PATCH /datasets/{dataset}/images/{image}` gives one its label.
#[utoipa::path(get, path = "", params(Paging), responses(
    (status = 200, description = "One page of images.", body = Page<SuggestionView>),
    (status = 409, description = "`not_reviewed`: there is no result yet."),
))]
pub async fn unlabelled(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<SuggestionView>>, Problem> {
    let (from, limit) = place(&paging)?;
    Ok(Json(app.reviews.suggestions(&dataset, from, limit).await?))
}

/// Get all images of a dataset in two dimensions, so that those that look alike are close
#[utoipa::path(get, path = "", responses(
    (status = 200, description = "The map.", body = MapView),
    (status = 409, description = "`not_reviewed`: there is no result yet."),
))]
pub async fn map(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
) -> Result<Json<MapView>, Problem> {
    Ok(Json(app.reviews.map(&dataset).await?))
}

/// Request body of `POST /datasets/{dataset}/review/decisions`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDecision {
    /// The list that the images are in.
    list: List,
    /// Ids of the images.
    #[schema(min_items = 1, max_items = 1000)]
    images: Vec<ImageId>,
    decision: Decision,
}

/// Confirm images in a list as they are, dismiss them, or undo that
///
/// They are no longer listed, as long as they keep their labels; a group of near-duplicates, as long as no
/// other copy comes and its images aren't separated.
#[utoipa::path(post, path = "", request_body = NewDecision, responses(
    (status = 200, description = "The number of images.", body = Decided),
    (status = 422, description = "`invalid_value`: no images, or more than 1000."),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn decide(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
    Json(new): Json<NewDecision>,
) -> Result<Json<Decided>, Problem> {
    Ok(Json(app.reviews.decide(&dataset, new.list, &new.images, new.decision).await?))
}

/// Request body of `POST /datasets/{dataset}/review/join`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// Ids of the images of one group; of more than 1000, some at a time with the same `split`. Without
    /// them: all groups that are in more than one split.
    #[schema(min_items = 1, max_items = 1000)]
    images: Option<Vec<ImageId>>,
    /// The split to move them to; by default the one that most of them are in.
    split: Option<Split>,
}

/// Move near-duplicates to one split, so that no image is tested that was trained on
///
/// Unlabelled images are in no split and stay so.
#[utoipa::path(post, path = "", request_body = Join, responses(
    (status = 200, description = "What was moved.", body = Joined),
    (status = 409, description = "`not_reviewed`: there is no result yet."),
    (status = 422, description = "`invalid_value`: no images, more than 1000, or a split for all groups."),
    (status = 507, description = "`disk_full`, `read_only`"),
))]
pub async fn join(
    State(app): State<AppState>,
    Path(dataset): Path<String>,
    Json(join): Json<Join>,
) -> Result<Json<Joined>, Problem> {
    Ok(Json(match (join.images, join.split) {
        (Some(images), split) => app.reviews.join(&dataset, &images, split).await?,
        (None, None) => app.reviews.join_all(&dataset).await?,
        (None, Some(_)) => {
            return Err(Error::Invalid("split needs images".to_owned()).into());
        }
    }))
}
