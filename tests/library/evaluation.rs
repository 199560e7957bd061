//! Evaluations agree with scikit-learn's numbers, and with themselves.

use pawprint::domain::{
    ImageId,
    dataset::{Classes, Split},
    evaluation::{ClassScore, Evaluation, ScoredSample, evaluate},
    objective::Logits,
};
use proptest::prelude::*;
use serde::Deserialize;

/// What `tests/fixtures/make_evaluation.py` wrote.
#[derive(Deserialize)]
struct Reference {
    labels: Vec<usize>,
    logits: Vec<f64>,
    loss: f64,
    accuracy: f64,
    accuracy_interval: [f64; 2],
    confusion_matrix: Vec<Vec<u64>>,
    report: [[f64; 4]; 4],
    precision: Vec<f64>,
    recall: Vec<f64>,
    thresholds: Vec<f64>,
    pr_auc: f64,
    average_precision: f64,
    fpr: Vec<f64>,
    tpr: Vec<f64>,
    roc_auc: Option<f64>,
    calibration_error: f64,
    /// The fractions of positives and the mean predicted probabilities of the bins that are not
    /// empty.
    calibration_curve: Option<[Vec<f64>; 2]>,
}

fn judged(labels: &[usize], logits: &[f64]) -> Vec<ScoredSample> {
    let pairs = labels.iter().zip(logits);
    pairs
        .map(|(&label, &logit)| ScoredSample {
            image_id: ImageId::new(),
            label,
            logits: Logits(vec![logit]),
        })
        .collect()
}

fn evaluation(judged: &[ScoredSample]) -> Evaluation {
    evaluate(Split::Test, &Classes::default(), judged, judged, 1.0)
}

fn close(ours: f64, theirs: f64, what: &str) {
    assert!((ours - theirs).abs() < 1e-9, "{what}: {ours}, and scikit-learn says {theirs}");
}

fn all_close(ours: &[f64], theirs: &[f64], what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (ours, theirs) in ours.iter().zip(theirs) {
        close(*ours, *theirs, what);
    }
}

#[test]
fn every_number_is_that_of_scikit_learn() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/evaluation");
    let (mut seen, mut curves) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let reference: Reference = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let ours = evaluation(&judged(&reference.labels, &reference.logits));
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let of = |what: &str| format!("{name}, {what}");
        close(ours.loss, reference.loss, &of("loss"));
        close(ours.accuracy, reference.accuracy, &of("accuracy"));
        let interval = ours.accuracy_interval;
        all_close(&[interval.low, interval.high], &reference.accuracy_interval, &of("interval"));
        assert_eq!(ours.confusion_matrix.matrix, reference.confusion_matrix, "{name}");
        let report = &ours.report;
        let scores =
            [report.classes["cat"], report.classes["dog"], report.macro_avg, report.weighted_avg];
        for (score, theirs) in scores.iter().zip(&reference.report) {
            let ClassScore { precision, recall, f1, support } = *score;
            all_close(&[precision, recall, f1, support as f64], theirs, &of("report"));
        }
        let (pr, roc) = (ours.pr_curve.as_ref().unwrap(), ours.roc_curve.as_ref().unwrap());
        all_close(&pr.precision, &reference.precision, &of("precision"));
        all_close(&pr.recall, &reference.recall, &of("recall"));
        all_close(&pr.thresholds, &reference.thresholds, &of("thresholds"));
        close(pr.auc, reference.pr_auc, &of("area under precision and recall"));
        close(pr.average_precision, reference.average_precision, &of("average precision"));
        all_close(&roc.fpr, &reference.fpr, &of("false positives"));
        all_close(&roc.tpr, &reference.tpr, &of("true positives"));
        assert_eq!(roc.auc.is_some(), reference.roc_auc.is_some(), "{name}");
        close(roc.auc.unwrap_or(0.0), reference.roc_auc.unwrap_or(0.0), &of("area under ROC"));
        let calibration = &ours.calibration;
        let error = calibration.expected_calibration_error;
        close(error, reference.calibration_error, &of("calibration error"));
        if let Some([fractions, means]) = &reference.calibration_curve {
            let bins = || calibration.bins.iter();
            let ours: Vec<_> = bins().filter_map(|bin| bin.fraction_of_positives).collect();
            all_close(&ours, fractions, &of("fraction of positives"));
            let ours: Vec<_> = bins().filter_map(|bin| bin.mean_predicted_probability).collect();
            all_close(&ours, means, &of("mean predicted probability"));
            curves += 1;
        }
        seen += 1;
    }
    assert_eq!((seen, curves), (12, 9));
}

#[test]
fn the_threshold_of_the_best_f1_is_chosen_on_the_validation_split() {
    #[derive(Deserialize)]
    struct Judgements {
        labels: Vec<usize>,
        logits: Vec<f64>,
    }
    #[derive(Deserialize)]
    struct Case {
        validation: Judgements,
        test: Judgements,
        threshold: f64,
        validation_f1: f64,
        accuracy: f64,
    }
    let cases: Vec<Case> =
        serde_json::from_slice(include_bytes!("../fixtures/thresholds.json")).unwrap();
    assert_eq!(cases.len(), 3);
    for Case { validation, test, threshold, validation_f1, accuracy } in cases {
        let [validation, test] = [validation, test].map(|of| judged(&of.labels, &of.logits));
        let evaluation = evaluate(Split::Test, &Classes::default(), &test, &validation, 1.0);
        let best = evaluation.best_threshold.unwrap();
        close(best.threshold, threshold, "threshold");
        close(best.validation_f1, validation_f1, "F1 on the validation split");
        close(best.accuracy, accuracy, "accuracy on the test split");
        assert_eq!(best.loss, evaluation.loss, "the loss knows no threshold");
    }
}

#[test]
fn an_evaluation_of_nothing_or_of_extremes_is_defined() {
    let empty = evaluation(&[]);
    assert_eq!((empty.count, empty.accuracy, empty.best_threshold), (0, 0.0, None));
    let sure = evaluation(&judged(&[0, 1, 0, 1], &[-1e9, 1e9, 1e9, f64::INFINITY]));
    assert_eq!(sure.accuracy, 0.75);
    assert!((sure.loss - 2.5e8).abs() < 1.0);
    assert_eq!(sure.misclassified.len(), 1);
    assert_eq!(sure.misclassified[0].probability, 1.0);
}

#[test]
fn what_is_wrong_is_listed_the_surest_first() {
    let listed = evaluation(&judged(&[0, 1, 0, 1], &[0.1, -3.0, 2.0, 5.0])).misclassified;
    let labels: Vec<_> =
        listed.iter().map(|wrong| (wrong.label.as_str(), wrong.predicted.as_str())).collect();
    assert_eq!(labels, [("dog", "cat"), ("cat", "dog"), ("cat", "dog")]);
    assert!(listed.windows(2).all(|pair| pair[0].probability >= pair[1].probability));
}

#[test]
fn a_class_named_like_a_mean_keeps_its_place_in_the_report() {
    let names = ["macro_avg".parse().unwrap(), "dog".parse().unwrap()];
    let classes = Classes::try_from(names.to_vec()).unwrap();
    let judged = judged(&[0, 0, 1], &[-1.0, 1.0, 1.0]);
    let report = evaluate(Split::Test, &classes, &judged, &judged, 1.0).report;
    assert_eq!(report.classes["macro_avg (class)"].support, 2);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["macro_avg"]["support"], 3);
    assert_eq!(
        serde_json::from_value::<pawprint::domain::evaluation::Report>(json).unwrap(),
        report
    );
}

#[test]
fn the_report_reads_as_people_know_it() {
    let text = evaluation(&judged(&[0, 0, 1, 1], &[-1.0, 1.0, 1.0, 2.0])).as_text();
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["precision", "recall", "f1-score", "support"]);
    assert_eq!(lines[2], ["cat", "1.0000", "0.5000", "0.6667", "2"]);
    assert_eq!(lines[3], ["dog", "0.6667", "1.0000", "0.8000", "2"]);
    assert_eq!(lines.last().unwrap()[..], ["accuracy", "0.7500", "4"]);
}

proptest! {
    #[test]
    fn numbers_agree_with_each_other(
        said in prop::collection::vec((0..2_usize, -4.0..4.0_f64), 1..60),
    ) {
        let (labels, logits): (Vec<_>, Vec<_>) = said.into_iter().unzip();
        let judged = judged(&labels, &logits);
        let evaluation = evaluation(&judged);
        let matrix = &evaluation.confusion_matrix;
        prop_assert_eq!(matrix.matrix.iter().flatten().sum::<u64>(), evaluation.count);
        let accuracy = matrix.correct() as f64 / evaluation.count as f64;
        prop_assert_eq!(evaluation.accuracy, accuracy);
        prop_assert_eq!(evaluation.count - matrix.correct(), evaluation.misclassified.len() as u64);
        prop_assert!((evaluation.report.weighted_avg.recall - accuracy).abs() < 1e-12);
        let interval = evaluation.accuracy_interval;
        prop_assert!(interval.low <= accuracy && accuracy <= interval.high);
        // The area under ROC is the chance that a positive outranks a negative, ties half.
        let of = |label| judged.iter().filter(move |judged| judged.label == label);
        let dog_probability = |judged: &ScoredSample| judged.logits.probabilities()[1];
        let pairs = of(1).flat_map(|dog| of(0).map(move |cat| (dog, cat)));
        let pairs = pairs.map(|(dog, cat)| (dog_probability(dog), dog_probability(cat)));
        let (mut won, mut all) = (0.0, 0.0);
        for (dog, cat) in pairs {
            all += 1.0;
            won += if dog > cat { 1.0 } else if dog == cat { 0.5 } else { 0.0 };
        }
        match evaluation.roc_curve.unwrap().auc {
            Some(auc) => prop_assert!((auc - won / all).abs() < 1e-9),
            None => prop_assert_eq!(all, 0.0),
        }
    }
}
