//! Tests of the estimates: their numbers, and which jobs count.

use super::*;
use crate::domain::base::{EFFICIENTNET_LITE0, VGG16};

const FEATURES: Recipe = Recipe::Features(&EFFICIENTNET_LITE0);
const FINE_TUNING: Recipe = Recipe::FineTuning(&EFFICIENTNET_LITE0);

/// Of the machine that the table of costs was measured on.
const PASS: f64 = 1.75e-3;

fn images(train: f64, validation: f64, test: f64) -> Images {
    Images { train, validation, test }
}

fn dataset(images: Images) -> Target {
    Target { dataset: Some(DatasetId::new()), classes: 2, images, bytes: 20_000.0, rival: None }
}

/// A job on all images of `target` whose parts took as long as they are said to.
fn job(recipe: Recipe, target: &Target, epoch_seconds: f64, rest: f64) -> FinishedJob {
    let params = Params::defaults(recipe);
    let Images { train, validation, test } = target.images;
    FinishedJob {
        recipe,
        dataset: target.dataset,
        classes: target.classes,
        bytes: target.bytes,
        learned: train + validation,
        train_share: Some(train / (train + validation)),
        tested: test,
        device: "cpu".to_owned(),
        epochs: params.epochs,
        epoch_seconds,
        seconds: epoch_seconds + rest,
        queued: 1,
        rival: None,
        params,
    }
}

fn seconds(recipe: Recipe, target: &Target, finished: &[FinishedJob]) -> f64 {
    estimate(recipe, target, finished, "cpu", Some(PASS)).unwrap().seconds
}

/// Durations on an idle machine, in seconds.
#[test]
fn what_was_measured_is_estimated_within_a_factor_of_two() {
    let cats_and_dogs = |train| images(train, 1000.0, 2000.0);
    // A job that was interrupted has filled the caches, but says nothing about the speed.
    let cached = |target: &Target| [FinishedJob { queued: 2, ..job(FEATURES, target, 1.0, 1.0) }];
    let rival = Some(Architecture::Base(&EFFICIENTNET_LITE0));
    let mut measured = Vec::new();
    let first = Target { rival, ..dataset(cats_and_dogs(10.0)) };
    measured.push((seconds(FEATURES, &first, &[]), 12.3));
    // Again, with the features in the cache: comparing the models takes most of it.
    measured.push((seconds(FEATURES, &first, &cached(&first)), 6.5));
    for (train, taken) in [(20.0, 24.9), (100.0, 30.1), (400.0, 53.9), (2000.0, 181.4)] {
        let target = Target { rival, ..dataset(cats_and_dogs(train)) };
        measured.push((seconds(FINE_TUNING, &target, &cached(&target)), taken));
    }
    let small = dataset(cats_and_dogs(10.0));
    measured.push((seconds(Recipe::ScratchCnn, &small, &[]), 64.1));
    let vgg16 = Target { rival, ..dataset(cats_and_dogs(10.0)) };
    measured.push((seconds(Recipe::Features(&VGG16), &vgg16, &[]), 145.2));
    for (estimated, taken) in measured {
        let ratio: f64 = estimated / taken;
        assert!((0.5..2.0).contains(&ratio), "{estimated:.1} s instead of {taken} s");
    }
}

#[test]
fn a_job_like_an_earlier_one_takes_as_long() {
    let (one, other) = (dataset(images(70.0, 15.0, 15.0)), dataset(images(70.0, 15.0, 15.0)));
    for recipe in Recipe::ALL {
        let finished = [job(recipe, &one, 100.0, 20.0)];
        let Estimate { seconds, basis } =
            estimate(recipe, &other, &finished, "cpu", Some(PASS)).unwrap();
        assert_eq!(basis, Basis::Jobs);
        assert!((seconds - 120.0).abs() < 1e-6, "{recipe}: {seconds}");
    }
}

#[test]
fn epochs_take_longer_with_more_images_and_the_start_does_not() {
    let small = dataset(images(700.0, 150.0, 150.0));
    let large = dataset(images(7000.0, 1500.0, 1500.0));
    let finished = [job(Recipe::ScratchCnn, &small, 100.0, 2.0)];
    let estimated = seconds(Recipe::ScratchCnn, &large, &finished);
    assert!((950.0..1020.0).contains(&estimated), "{estimated}");
}

#[test]
fn images_that_an_earlier_job_has_seen_take_less() {
    let (seen, new) = (dataset(images(700.0, 150.0, 150.0)), dataset(images(700.0, 150.0, 150.0)));
    let finished = [job(FEATURES, &seen, 0.2, 2.0)];
    assert!(seconds(FEATURES, &seen, &finished) < 0.5 * seconds(FEATURES, &new, &finished));
    // Those of another base network are of no use, and decoded images are of little.
    let vgg16 = Recipe::Features(&VGG16);
    assert!(seconds(vgg16, &seen, &finished) > 0.99 * seconds(vgg16, &new, &finished));
    // Twice as many images: half of them are new.
    let grown = Target { images: images(1400.0, 300.0, 300.0), ..seen };
    let estimated = seconds(FEATURES, &grown, &finished);
    assert!(estimated > 1.5 * seconds(FEATURES, &seen, &finished));
    let all_new = Target { images: grown.images, ..new };
    assert!(estimated < 0.75 * seconds(FEATURES, &all_new, &finished));
}

/// The second job on a dataset is fast because of the first, not because the machine is.
#[test]
fn jobs_on_cached_images_do_not_make_others_look_fast() {
    let (seen, new) = (dataset(images(700.0, 150.0, 150.0)), dataset(images(700.0, 150.0, 150.0)));
    let first = job(FEATURES, &seen, 0.2, 2.0);
    let again = job(FEATURES, &seen, 0.2, 0.6);
    let finished = [again.clone(), again.clone(), again, first.clone()];
    let (with, without) = (seconds(FEATURES, &new, &finished), seconds(FEATURES, &new, &[first]));
    assert!((0.5..2.0).contains(&(with / without)), "{with} {without}");
}

#[test]
fn a_model_to_compare_with_takes_time() {
    let target = dataset(images(700.0, 150.0, 150.0));
    let contested = Target { rival: Some(Architecture::Base(&VGG16)), ..target };
    assert!(seconds(FEATURES, &contested, &[]) > 2.0 * seconds(FEATURES, &target, &[]));
}

#[test]
fn one_job_that_was_slow_does_not_count_and_older_ones_than_five_do_not_either() {
    let (one, other) = (dataset(images(70.0, 15.0, 15.0)), dataset(images(70.0, 15.0, 15.0)));
    let usual = job(Recipe::ScratchCnn, &one, 100.0, 20.0);
    let slow = job(Recipe::ScratchCnn, &one, 9000.0, 900.0);
    // All on new images.
    let elsewhere =
        |job: &FinishedJob| FinishedJob { dataset: None, train_share: None, ..job.clone() };
    let mut finished = vec![elsewhere(&slow), elsewhere(&usual), elsewhere(&usual)];
    assert!((seconds(Recipe::ScratchCnn, &other, &finished) - 120.0).abs() < 1e-6);
    finished.extend([elsewhere(&usual), elsewhere(&usual)]);
    finished.extend(vec![elsewhere(&slow); 20]);
    assert!((seconds(Recipe::ScratchCnn, &other, &finished) - 120.0).abs() < 1e-6);
}

#[test]
fn jobs_whose_time_says_nothing_do_not_count() {
    let target = dataset(images(70.0, 15.0, 15.0));
    let usual = job(FINE_TUNING, &target, 100.0, 20.0);
    let basis =
        |job: FinishedJob| estimate(FINE_TUNING, &target, &[job], "cpu", Some(PASS)).unwrap().basis;
    assert_eq!(basis(usual.clone()), Basis::Jobs);
    let params = |change: fn(&mut Params)| {
        let mut params = usual.params.clone();
        change(&mut params);
        FinishedJob { params, ..usual.clone() }
    };
    for other in [
        FinishedJob { queued: 2, ..usual.clone() },
        FinishedJob { epochs: usual.epochs - 1, ..usual.clone() },
        FinishedJob { device: "cuda".to_owned(), ..usual.clone() },
        FinishedJob { recipe: FEATURES, ..usual.clone() },
        params(|params| params.precision = PrecisionChoice::Fp32),
        params(|params| params.batch_size = 1),
    ] {
        assert_eq!(basis(other.clone()), Basis::Model, "{other:?}");
    }
}

#[test]
fn without_images_or_a_known_speed_there_is_no_estimate() {
    let target = dataset(images(70.0, 15.0, 15.0));
    let empty = dataset(Images::default());
    assert_eq!(estimate(FEATURES, &empty, &[], "cpu", Some(PASS)), None);
    assert_eq!(estimate(FEATURES, &target, &[], "cuda", None), None);
    let finished = FinishedJob { device: "cuda".to_owned(), ..job(FEATURES, &target, 1.0, 5.0) };
    let estimated = estimate(FEATURES, &target, &[finished], "cuda", None).unwrap();
    assert_eq!(estimated.basis, Basis::Jobs);
}

#[test]
fn the_speed_is_that_of_the_reference_machine_if_its_forward_pass_is() {
    let lite0 = Architecture::Base(&EFFICIENTNET_LITE0);
    let pass = seconds_per_pass(lite0, 3.9e-3, 1, 2);
    assert!((pass / PASS - 1.0).abs() < 0.05, "{pass}");
    assert!(seconds_per_pass(lite0, 3.9e-3, 1, 1) > 1.5 * pass);
    assert!((seconds_per_pass(lite0, 2.95e-3, 2, 2) / pass - 1.0).abs() < 0.05);
}
