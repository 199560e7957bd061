//! Evaluations of more than two classes agree with scikit-learn's numbers.

use pawprint::domain::{
    ImageId,
    dataset::{Classes, Split},
    evaluation::{ClassScore, Curves, Evaluation, ScoredSample, evaluate},
    objective::Logits,
    temperature,
};
use serde::Deserialize;

/// What `tests/fixtures/make_multiclass.py` wrote.
#[derive(Deserialize)]
struct Reference {
    labels: Vec<usize>,
    logits: Vec<Vec<f64>>,
    /// Of the logits in all that follows.
    factor: f64,
    fitted_factor: f64,
    loss: f64,
    accuracy: f64,
    top_5_accuracy: Option<f64>,
    confusion_matrix: Vec<Vec<u64>>,
    report: Vec<[f64; 4]>,
    brier_score: f64,
    calibration_error: f64,
    classes: Vec<ReferenceCurves>,
    micro: ReferenceCurves,
    macro_roc_auc: Option<f64>,
    macro_average_precision: f64,
}

#[derive(Deserialize)]
struct ReferenceCurves {
    precision: Vec<f64>,
    recall: Vec<f64>,
    thresholds: Vec<f64>,
    average_precision: f64,
    fpr: Vec<f64>,
    tpr: Vec<f64>,
    roc_auc: Option<f64>,
}

fn cases() -> Vec<Reference> {
    serde_json::from_slice(include_bytes!("../fixtures/multiclass.json")).unwrap()
}

fn classes(count: usize) -> Classes {
    let names = (0..count).map(|class| format!("class-{class}").parse().unwrap());
    Classes::new(names.collect()).unwrap()
}

fn scored(reference: &Reference) -> Vec<ScoredSample> {
    let pairs = reference.labels.iter().zip(&reference.logits);
    pairs
        .map(|(&label, logits)| ScoredSample {
            image_id: ImageId::new(),
            label,
            logits: Logits(logits.clone()),
        })
        .collect()
}

fn evaluation(reference: &Reference) -> Evaluation {
    let samples = scored(reference);
    let classes = classes(reference.classes.len());
    evaluate(Split::Test, &classes, &samples, &samples, reference.factor)
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

/// scikit-learn calls the recall of a class without images 1, and its average precision 0.
fn curves_are_close(ours: &Curves, theirs: &ReferenceCurves, what: &str) {
    all_close(&ours.pr_curve.precision, &theirs.precision, &format!("{what}, precision"));
    all_close(&ours.pr_curve.recall, &theirs.recall, &format!("{what}, recall"));
    all_close(&ours.pr_curve.thresholds, &theirs.thresholds, &format!("{what}, thresholds"));
    all_close(&ours.roc_curve.fpr, &theirs.fpr, &format!("{what}, false positives"));
    all_close(&ours.roc_curve.tpr, &theirs.tpr, &format!("{what}, true positives"));
    assert_eq!(ours.roc_curve.auc.is_some(), theirs.roc_auc.is_some(), "{what}");
    close(ours.roc_curve.auc.unwrap_or(0.0), theirs.roc_auc.unwrap_or(0.0), what);
    if theirs.roc_auc.is_some() {
        close(ours.pr_curve.average_precision, theirs.average_precision, what);
    }
}

#[test]
fn every_number_is_that_of_scikit_learn() {
    for (number, reference) in cases().iter().enumerate() {
        let ours = evaluation(reference);
        let of = |what: &str| format!("case {number}, {what}");
        close(ours.loss, reference.loss, &of("loss"));
        close(ours.accuracy, reference.accuracy, &of("accuracy"));
        assert_eq!(ours.top_5_accuracy.is_some(), reference.top_5_accuracy.is_some());
        close(
            ours.top_5_accuracy.unwrap_or(0.0),
            reference.top_5_accuracy.unwrap_or(0.0),
            &of("top 5"),
        );
        assert_eq!(ours.confusion_matrix.matrix, reference.confusion_matrix, "case {number}");
        let report = &ours.report;
        let of_classes = ours.confusion_matrix.labels.iter().map(|label| report.classes[label]);
        let scores = of_classes.chain([report.macro_avg, report.weighted_avg]);
        assert_eq!(scores.clone().count(), reference.report.len());
        for (score, theirs) in scores.zip(&reference.report) {
            let ClassScore { precision, recall, f1, support } = score;
            all_close(&[precision, recall, f1, support as f64], theirs, &of("report"));
        }
        let curves = ours.one_vs_rest.as_ref().unwrap();
        assert_eq!(curves.classes.len(), reference.classes.len());
        for (ours, theirs) in curves.classes.iter().zip(&reference.classes) {
            curves_are_close(&ours.curves, theirs, &of(&ours.label));
        }
        curves_are_close(&curves.micro, &reference.micro, &of("micro"));
        assert_eq!(curves.macro_avg.roc_auc.is_some(), reference.macro_roc_auc.is_some());
        close(
            curves.macro_avg.roc_auc.unwrap_or(0.0),
            reference.macro_roc_auc.unwrap_or(0.0),
            &of("macro AUC"),
        );
        close(
            curves.macro_avg.average_precision,
            reference.macro_average_precision,
            &of("macro average precision"),
        );
        let scaled = ours.calibration.scaled.clone().unwrap();
        close(scaled.log_loss, reference.loss, &of("log loss"));
        close(scaled.brier_score, reference.brier_score, &of("Brier score"));
        close(
            scaled.expected_calibration_error,
            reference.calibration_error,
            &of("calibration error"),
        );
        let calibration = &ours.calibration;
        close(
            calibration.expected_calibration_error,
            reference.calibration_error,
            &of("calibration error of the predicted class"),
        );
        assert_eq!((ours.pr_curve, ours.roc_curve, ours.threshold), (None, None, None));
    }
}

#[test]
fn the_temperature_has_the_lowest_loss() {
    for reference in cases() {
        let logits: Vec<_> = reference.logits.iter().cloned().map(Logits).collect();
        let factor = temperature::factor(&logits, &reference.labels);
        // Noise is best answered with no certainty at all: the bounds of both differ there.
        let expected = reference.fitted_factor;
        assert!((factor / expected - 1.0).abs() < 1e-5, "{factor} and {expected}");
    }
}

#[test]
fn the_pairs_that_are_confused_most_come_first() {
    let evaluation = evaluation(&cases()[1]);
    let matrix = &evaluation.confusion_matrix;
    let pairs = matrix.worst_pairs();
    assert!(pairs.windows(2).all(|pair| pair[0].2 >= pair[1].2));
    let wrong: u64 = pairs.iter().map(|pair| pair.2).sum();
    assert_eq!(wrong, evaluation.count - matrix.correct());
    assert_eq!(wrong, evaluation.misclassified.len() as u64);
    let mut classes = matrix.most_confused();
    classes.sort_unstable();
    assert_eq!(classes, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn an_evaluation_of_older_versions_is_read() {
    let mut json =
        serde_json::to_value(evaluate(Split::Test, &Classes::default(), &[], &[], 1.0)).unwrap();
    for field in ["top_5_accuracy", "one_vs_rest"] {
        json.as_object_mut().unwrap().remove(field).unwrap();
    }
    let calibration = json["calibration"].as_object_mut().unwrap();
    for field in ["temperature", "scaled", "raw"] {
        calibration.remove(field).unwrap();
    }
    let read: Evaluation = serde_json::from_value(json).unwrap();
    assert_eq!((read.threshold, read.calibration.scaled), (Some(0.5), None));
}
