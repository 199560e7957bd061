//! Comparisons of models that no trainer made.

use super::*;
use crate::domain::dataset::Split;

fn split(count: usize) -> TestSplit {
    let samples = (0..count).map(|number| Sample {
        image_id: ImageId::new(),
        sha256: Digest::of(&number.to_le_bytes()),
        label: number % 2,
        split: Split::Test,
    });
    TestSplit {
        job_id: JobId::new(),
        job: "job".parse().unwrap(),
        dataset: "pets".parse().unwrap(),
        classes: Classes::default(),
        samples: samples.collect(),
    }
}

/// A model that misclassifies the images of these numbers.
fn model(name: &str, split: &TestSplit, wrong: impl Fn(usize) -> bool) -> Candidate {
    let predict = |(number, sample): (usize, &Sample)| {
        let class = if wrong(number) { 1 - sample.label } else { sample.label };
        let loss = if wrong(number) { 1.5 } else { 0.1 };
        Some(TestPrediction { class, probability: 0.9, loss })
    };
    Candidate {
        id: ModelId::new(),
        name: name.parse().unwrap(),
        predictions: split.samples.iter().enumerate().map(predict).collect(),
        trained_on: Some(0),
    }
}

#[test]
fn a_better_model_is_called_better_and_the_other_worse() {
    let split = split(200);
    let (good, bad) = (model("good", &split, |it| it < 10), model("bad", &split, |it| it < 30));
    let comparison = Comparison::new(&split, &good, &bad).unwrap();
    assert_eq!(comparison.accuracy.verdict, Verdict::Better);
    assert_eq!(
        comparison.summary,
        [
            "good is better than bad on 200 test images (95.0% vs. 85.0%; difference +10.0 points, 95% CI +6.6 to +14.9; McNemar's exact test: p < 0.001).",
            "The log loss of good is lower (0.1700 vs. 0.3100; difference −0.1400, 95% CI −0.2030 to −0.0840).",
        ]
    );
    let other = Comparison::new(&split, &bad, &good).unwrap();
    assert!(
        other.summary[0].starts_with("bad is worse than good on 200 test images (85.0% vs. 95.0%")
    );
    assert!(other.summary[1].starts_with("The log loss of good is lower (0.3100 vs. 0.1700"));
    assert_eq!((comparison.differing, comparison.differences.len()), (20, 20));
    let listed = &comparison.differences[0];
    assert_eq!((&listed.label, &listed.first.label), (&listed.first.label, &listed.label));
    assert_ne!(listed.second.label, listed.label);
}

#[test]
fn what_too_few_images_show_is_said_with_how_many_would_do() {
    let split = split(200);
    let first = model("first", &split, |it| it < 12);
    let second = model("second", &split, |it| (6..24).contains(&it));
    let comparison = Comparison::new(&split, &first, &second).unwrap();
    assert_eq!(comparison.accuracy.verdict, Verdict::Inconclusive);
    let sentence = &comparison.summary[0];
    assert!(
        sentence.starts_with(
            "first and second can't be told apart with 200 test images (94.0% vs. 91.0%;"
        ) && sentence.ends_with("about 820 would do."),
        "{sentence}"
    );
    let same = Comparison::new(&split, &first, &first).unwrap();
    assert!(same.summary[0].starts_with(
        "first and first classify the same number of the 200 test images correctly ("
    ));
    assert!(same.summary[1].starts_with("Their log losses can't be told apart ("));
}

#[test]
fn images_that_are_gone_and_images_seen_in_training_are_mentioned() {
    let split = split(50);
    let mut first = model("first", &split, |_| false);
    let second = Candidate { trained_on: None, ..model("second", &split, |_| false) };
    first.trained_on = Some(7);
    first.predictions[..3].fill(None);
    let comparison = Comparison::new(&split, &first, &second).unwrap();
    assert_eq!((comparison.count, comparison.missing), (47, 3));
    assert_eq!(
        comparison.summary[2..],
        [
            "first was trained on 7 of these images, which favours it.",
            "Whether second was trained on some of these images is not known.",
            "3 of the test images are no longer stored and were left out.",
        ]
    );
    first.predictions.fill(None);
    assert_eq!(Comparison::new(&split, &first, &second), None);
}

#[test]
fn the_list_of_differences_is_bounded_and_shows_first_who_is_right() {
    let split = split(600);
    let first = model("first", &split, |_| true);
    let second = model("second", &split, |it| it < 100);
    let comparison = Comparison::new(&split, &first, &second).unwrap();
    assert_eq!((comparison.differing, comparison.differences.len()), (500, MAX_LISTED));
    assert!(comparison.differences.iter().all(|it| it.second.label == it.label));
}

#[test]
fn numbers_of_images_are_rounded_up_to_two_digits() {
    assert_eq!([1, 9, 10, 87, 823, 9_001].map(rounded), [1, 9, 10, 87, 830, 9_100]);
}
