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

    let labelled: Vec<usize> = (0..all).filter(|image| photos[*image].label.is_some()).collect();
    let labels: Vec<usize> = photos.iter().map(|photo| photo.label.unwrap_or(0)).collect();
    let classes = spec.classes.len();
    let suggestions = labelling::suggestions(&photos, &features, &labels, &labelled, classes);
    let mut found = LabelsFound::default();
    if classes >= 2 && labelled.len() >= 2 {
        found = of_labels(classes, &photos, &features, &labels, &roots, &labelled, progress)?;
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
        labelled: labelled.len() as u64,
        unlabelled: (all - labelled.len()) as u64,
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

fn of_labels(
    classes: usize,
    photos: &[Photo],
    features: &tch::Tensor,
    labels: &[usize],
    roots: &[usize],
    labelled: &[usize],
    progress: &mut dyn FnMut(Phase, usize, usize) -> Result<(), StopReason>,
) -> Result<LabelsFound, StopReason> {
    let places: Vec<i64> = labelled.iter().map(|image| *image as i64).collect();
    let known: Vec<Photo> = labelled.iter().map(|image| photos[*image]).collect();
    let known_labels: Vec<usize> = labelled.iter().map(|image| labels[*image]).collect();
    let groups: Vec<usize> = labelled.iter().map(|image| roots[*image]).collect();
    let known_features = features.index_select(0, &tch::Tensor::from_slice(&places));
    let of_known = Labelled { features: &known_features, labels: &known_labels, classes };
    let found = OutOfSample::of(&of_known, &groups, |done| progress(Phase::Labels, done, 5))?;
    let (mislabelled, estimated_wrong) = found.suspects(&known, &known_labels);
    let mut done = 0;
    let curve = labelling::curve(&known, &of_known, &groups, || {
        done += 1;
        progress(Phase::Labelling, done, 60)
    })?;
    Ok(LabelsFound { estimated_wrong, mislabelled, curve })
}
