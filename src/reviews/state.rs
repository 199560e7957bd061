//! The state of a dataset's review as it is shown, and what starts and cancels it.

use std::{fs, io};

use serde::Serialize;
use utoipa::ToSchema;

use super::{CANCELLED, Error, MIN_IMAGES, Reviews, blocking};
use crate::{
    domain::{
        Timestamp,
        job::JobError,
        review::{LabellingCurve, Review},
    },
    review::events::Progress,
    storage::datasets::Row,
    weights::files,
};

/// Status of a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The dataset has too few images (20 are needed).
    TooFewImages,
    /// It begins when the dataset has not changed for 5 s and no job is running on this machine.
    Waiting,
    /// It is running.
    Running,
    /// The result is that of the dataset as it is.
    Complete,
    /// A person cancelled it.
    Cancelled,
    /// It failed.
    Failed,
}

/// State of a dataset's review, and a summary of the last result.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ReviewState {
    /// Status.
    pub status: Status,
    /// How far it is, while it is running.
    pub progress: Option<Progress>,
    /// Why it failed.
    pub error: Option<JobError>,
    /// The last result, also if the dataset has changed since.
    pub result: Option<Summary>,
}

/// Summary of the result of a review.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Summary {
    /// Whether the dataset has changed since.
    pub out_of_date: bool,
    /// When it was complete.
    #[schema(value_type = String, format = DateTime)]
    pub computed_at: Timestamp,
    /// Seconds that it took.
    pub seconds: f64,
    /// Reviewed images with a label.
    pub labelled: u64,
    /// Reviewed images without a label.
    pub unlabelled: u64,
    /// Images whose file can't be read.
    pub unreadable: u64,
    /// Estimated number of wrong labels (confident learning) when the dataset was reviewed: also more
    /// than are listed now.
    pub estimated_wrong: u64,
    /// Images whose label is possibly wrong, at most 5,000. This and the next three count what is listed
    /// now: not what was decided on, relabelled, joined or deleted since.
    pub mislabelled: u64,
    /// Groups of near-duplicates, at most 5,000.
    pub duplicates: u64,
    /// Those of the groups that are in more than one split.
    pub duplicates_across_splits: u64,
    /// Images that are unlike the rest, or that show little, at most 5,000.
    pub outliers: u64,
    /// Accuracy by the number of labels, chosen and random; null for small datasets.
    pub curve: Option<LabellingCurve>,
}

/// What the numbers of listed items follow from: when the result was complete, the dataset's revision,
/// and how often people have decided.
pub(super) type Basis = (Timestamp, i64, u64);

/// What is listed now.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Listed {
    mislabelled: u64,
    duplicates: u64,
    duplicates_across_splits: u64,
    outliers: u64,
}

impl Reviews {
    /// What is listed now; counted when something has changed, since pages ask every second.
    async fn listed(&self, row: &Row, review: &Review) -> Result<Listed, Error> {
        let (basis, known) = {
            let state = self.state();
            let basis: Basis = (review.computed_at, row.revision, state.decisions);
            (basis, state.listed.get(&row.id).copied())
        };
        if let Some((of, listed)) = known
            && of == basis
        {
            return Ok(listed);
        }
        let dataset = &row.id.to_string();
        let duplicates = self.duplicates(dataset, 0, u32::MAX).await?.items;
        let listed = Listed {
            mislabelled: self.mislabelled(dataset, 0, u32::MAX).await?.items.len() as u64,
            duplicates: duplicates.len() as u64,
            duplicates_across_splits: duplicates.iter().filter(|it| it.across_splits).count()
                as u64,
            outliers: self.outliers(dataset, 0, u32::MAX).await?.items.len() as u64,
        };
        self.state().listed.insert(row.id, (basis, listed));
        Ok(listed)
    }

    /// The state of a dataset's review.
    ///
    /// # Errors
    /// There is no such dataset.
    pub async fn show(&self, dataset: &str) -> Result<ReviewState, Error> {
        let row = self.0.datasets.row(dataset).await?;
        let result = self.result(row.id).await?;
        let (running, error) = {
            let state = self.state();
            let running = state.running.clone().filter(|it| it.dataset == row.id);
            let failed = state.failed.get(&row.id).filter(|it| it.0 == row.revision);
            (running, failed.map(|(_, error)| error.clone()))
        };
        let current = result.as_ref().is_some_and(|it| it.revision == row.revision);
        let status = if running.is_some() {
            Status::Running
        } else if current {
            Status::Complete
        } else if self.is_cancelled(row.id, row.revision).await {
            Status::Cancelled
        } else if error.is_some() {
            Status::Failed
        } else if self.images(row.id).await? < MIN_IMAGES {
            Status::TooFewImages
        } else {
            Status::Waiting
        };
        let listed = match &result {
            Some(review) => self.listed(&row, review).await?,
            None => Listed::default(),
        };
        let summary = result.map(|review| Summary {
            out_of_date: !current,
            computed_at: review.computed_at,
            seconds: review.seconds,
            labelled: review.labelled,
            unlabelled: review.unlabelled,
            unreadable: review.unreadable,
            estimated_wrong: review.estimated_wrong,
            mislabelled: listed.mislabelled,
            duplicates: listed.duplicates,
            duplicates_across_splits: listed.duplicates_across_splits,
            outliers: listed.outliers,
            curve: review.curve.clone(),
        });
        let progress = running.and_then(|it| it.progress);
        let error = error.filter(|_| status == Status::Failed);
        Ok(ReviewState { status, progress, error, result: summary })
    }

    /// Starts the review of a dataset, or resumes one that was cancelled or failed; without effect if
    /// it is running or complete.
    ///
    /// # Errors
    /// There is no such dataset.
    pub async fn start(&self, dataset: &str) -> Result<ReviewState, Error> {
        let row = self.0.datasets.row(dataset).await?;
        let path = self.0.data_dir.review(row.id).join(CANCELLED);
        blocking(move || match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        })
        .await?;
        {
            let mut state = self.state();
            state.failed.remove(&row.id);
            if !state.requested.contains(&row.id) {
                state.requested.push(row.id);
            }
        }
        self.0.wake.notify_one();
        self.show(dataset).await
    }

    /// Cancels the review of a dataset until it changes or somebody starts it.
    ///
    /// # Errors
    /// There is no such dataset.
    pub async fn cancel(&self, dataset: &str) -> Result<ReviewState, Error> {
        let row = self.0.datasets.row(dataset).await?;
        let folder = self.0.data_dir.review(row.id);
        blocking(move || {
            fs::create_dir_all(&folder)?;
            let revision = row.revision.to_string();
            Ok(files::write(&folder.join(CANCELLED), revision.as_bytes())?)
        })
        .await?;
        let running = {
            let mut state = self.state();
            state.requested.retain(|id| *id != row.id);
            let running = state.running.clone().filter(|it| it.dataset == row.id);
            if running.is_some() {
                state.running = None;
            }
            running
        };
        if let Some(running) = running {
            running.cancel.cancel();
        }
        self.show(dataset).await
    }
}
