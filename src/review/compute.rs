//! A whole review: from the features of the images to what they tell.

use std::time::Instant;

use super::{
    classifier::Labelled,
    duplicates,
    events::Phase,
    labelling, map,
    mislabelled::OutOfSample,
    nearest::Nearest,
    outliers,
    prepare::{Prepared, prepare},
    spec::Spec,
};
use crate::{
    domain::{
        Timestamp,
        review::{LabellingCurve, Map, Photo, Review, Suspect},
    },
    training::failure::StopReason,
};

/// Reviews `photos`. `progress` is called with the phase, the steps done and all steps; it may end
/// the work.
///
/// # Errors
/// `disk_full`, `io_error`, or that of `progress`.
pub fn review(
    spec: &Spec,
    photos: &[Photo],
    progress: &mut dyn FnMut(Phase, usize, usize) -> Result<(), StopReason>,
) -> Result<Review, StopReason> {
    let started = Instant::now();
    let all = photos.len();
    let prepared = prepare(&spec.source(), photos, |ready| progress(Phase::Features, ready, all))?;
    let _no_grad = tch::no_grad_guard();
    let Prepared { photos, features, pictures, unreadable } = prepared;
    let all = photos.len();
    let nearest = Nearest::of(&features, |done| progress(Phase::Comparing, done, all))?;
    let pairs = duplicates::pairs(&nearest, &pictures, spec.threads);
    progress(Phase::Comparing, all, all)?;
    let roots = duplicates::roots(&pairs, all);
    let duplicates = duplicates::groups(&pairs, &roots, &photos);
    let outliers = outliers::outliers(&photos, &outliers::distances(&nearest), &pictures);

    let (rows, labels): (Vec<i64>, Vec<usize>) =
        (0..).zip(&photos).filter_map(|(row, photo)| Some((row, photo.label?))).unzip();
    let classes = spec.classes.len();
    let labelled = Labelled { features: &features, rows: &rows, labels: &labels, classes };
    let suggestions = labelling::suggestions(&photos, &labelled);
    let mut found = LabelsFound::default();
    if classes >= 2 && labels.len() >= 2 {
        let known: Vec<Photo> = rows.iter().map(|row| photos[*row as usize]).collect();
        let groups: Vec<usize> = rows.iter().map(|row| roots[*row as usize]).collect();
        found = of_labels(&labelled, &known, &groups, progress)?;
    }
    progress(Phase::Map, 0, 1)?;
    let (x, y) = map::places(&features, &nearest);
    let images = photos.iter().map(|photo| photo.image_id).collect();
    Ok(Review {
        dataset_id: spec.dataset_id,
        revision: spec.revision,
        classes: spec.classes.clone(),
        computed_at: Timestamp::now(),
        seconds: started.elapsed().as_secs_f64(),
        labelled: labels.len() as u64,
        unlabelled: (all - labels.len()) as u64,
        unreadable: unreadable.len() as u64,
        estimated_wrong: found.estimated_wrong,
        mislabelled: found.mislabelled,
        duplicates,
        outliers,
        suggestions,
        curve: found.curve,
        map: Map { images, x, y },
    })
}

#[derive(Default)]
struct LabelsFound {
    estimated_wrong: u64,
    mislabelled: Vec<Suspect>,
    curve: Option<LabellingCurve>,
}

/// `groups` has the group of near-duplicates of each of `photos`, which are the labelled ones.
fn of_labels(
    labelled: &Labelled<'_>,
    photos: &[Photo],
    groups: &[usize],
    progress: &mut dyn FnMut(Phase, usize, usize) -> Result<(), StopReason>,
) -> Result<LabelsFound, StopReason> {
    let found = OutOfSample::of(labelled, groups, |done| progress(Phase::Labels, done, 5))?;
    let (mislabelled, estimated_wrong) = found.suspects(photos, labelled.labels);
    let mut done = 0;
    let curve = labelling::curve(photos, labelled, groups, labelling::SEEDS, || {
        done += 1;
        progress(Phase::Labelling, done, 60)
    })?;
    Ok(LabelsFound { estimated_wrong, mislabelled, curve })
}
