//! Checks that a dataset can be trained on; missing test images are only a warning.

use serde::Serialize;
use utoipa::ToSchema;

use super::Error;
use crate::{
    datasets::Manifest,
    domain::{
        gaps::Gaps,
        job::{Job, JobError},
    },
};

/// A new job, and what its dataset lacks.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CreatedJob {
    /// The job.
    #[serde(flatten)]
    pub job: Job,
    /// Warnings about the dataset; `no_test_images`: a class has no test images.
    pub warnings: Vec<JobError>,
}

/// Checks that a network can be trained on a dataset, and returns what else it lacks.
///
/// # Errors
/// Fewer than two classes, or a class without training or validation images.
pub(super) fn check_trainable(manifest: &Manifest) -> Result<Vec<JobError>, Error> {
    let classes = manifest.classes.names();
    if classes.len() < 2 {
        let has = classes.first().map_or_else(|| "none".to_owned(), |one| format!("only `{one}`"));
        return Err(Error::NotTrainable(format!(
            "training needs at least two classes; the dataset has {has}: upload images of each class in a folder of that name, or with `label=`"
        )));
    }
    let mut images = vec![[0; 3]; classes.len()];
    for sample in &manifest.samples {
        if let Some(images) = images.get_mut(sample.label) {
            images[sample.split as usize] += 1;
        }
    }
    let gaps = Gaps::of(classes.iter().map(ToString::to_string).zip(images));
    if gaps.is_empty() {
        return Ok(Vec::new());
    }
    let name = &manifest.dataset;
    let remedy =
        gaps.remedy(&format!("`pawprint datasets split {name}` or `POST /datasets/{name}/split`"));
    let preventing = gaps.preventing_training();
    if !preventing.is_empty() {
        return Err(Error::NotTrainable(format!(
            "each class needs training and validation images, but {preventing}; {remedy}"
        )));
    }
    Ok(vec![JobError {
        code: "no_test_images".to_owned(),
        detail: format!(
            "the model can't be evaluated on test images of each class: {gaps}; {remedy}"
        ),
    }])
}
