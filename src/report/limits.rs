//! What a model can't do, and what is not known of it.

use super::ModelReport;
use crate::domain::dataset::Split;

/// Fewer test images say little.
const FEW: u64 = 100;
/// Fewer test images of a class say nothing of it.
const FEW_OF_CLASS: u64 = 20;
/// A larger calibration error is worth a sentence.
const CALIBRATION_ERROR: f64 = 0.05;
/// Classes that are named in a sentence.
const NAMED: usize = 5;

/// One sentence for each.
pub(super) fn of(report: &ModelReport) -> Vec<String> {
    let ModelReport { data, training, evaluation, test, model, .. } = report;
    let and_tested = if test.is_some() { " and tested" } else { "" };
    let mut limits = vec![
        format!(
            "It tells apart the {} classes that it was trained on, and nothing else: each image gets one of them.",
            data.classes.names().len()
        ),
        format!(
            "It was trained{and_tested} on images of one dataset, {}: on images of another origin, such as another camera or another place, it may be less accurate. This was not measured.",
            data.dataset
        ),
    ];
    match (test, evaluation) {
        (None, _) => limits.push(
            "It was not tested: there were no test images. Its validation accuracy is too optimistic, because the best epoch was chosen by it.".to_owned(),
        ),
        (Some(test), Some(evaluation)) => {
            let interval = &evaluation.accuracy_interval;
            if test.count < FEW {
                limits.push(format!(
                    "There were only {} test images: the true accuracy may lie anywhere from {:.1}% to {:.1}%.",
                    test.count, interval.low * 100.0, interval.high * 100.0
                ));
            }
        }
        (Some(test), None) => limits.push(format!(
            "Of its test on {} images, only the accuracy is known here, because its job is not on this server.",
            test.count
        )),
    }
    let tested = data.images.as_ref().and_then(|images| images.get(&Split::Test));
    let few: Vec<_> = tested
        .into_iter()
        .flatten()
        .filter(|(_, count)| **count < FEW_OF_CLASS)
        .map(|(class, count)| format!("{class} ({count})"))
        .collect();
    if test.is_some() && !few.is_empty() {
        let rest = few.len().saturating_sub(NAMED);
        let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        limits.push(format!(
            "Fewer than {FEW_OF_CLASS} test images say little of a class: {}{more}.",
            few[..few.len().min(NAMED)].join(", ")
        ));
    }
    if let Some(evaluation) = evaluation {
        let error = evaluation.calibration.scaled.as_ref();
        let error = error.map(|scaled| scaled.expected_calibration_error);
        if let Some(error) = error.filter(|error| *error > CALIBRATION_ERROR) {
            limits.push(format!(
                "Its probabilities are {:.1} percentage points off on average.",
                error * 100.0
            ));
        }
    }
    match model.thresholds.answer_above {
        None => {
            limits.push("It never says that it is unsure because of a low probability.".to_owned());
        }
        Some(above) if above >= 1.0 => limits.push(
            "It is always unsure: at no probability are enough of its answers right. Its labels may be wrong, or its classes too alike."
                .to_owned(),
        ),
        Some(_) => {}
    }
    if model.thresholds.unlike_above.is_none() {
        limits.push(
            "It does not notice images that are unlike its training images, such as those of none of its classes."
                .to_owned(),
        );
    }
    if let Some(pretrained) = &training.pretrained {
        limits.push(match pretrained.license {
            Some(license) => format!(
                "It contains weights of {}, under the licence {license}; they were trained on ImageNet, whose images are licensed for research only.",
                pretrained.origin
            ),
            None => format!(
                "It contains weights of {}, whose licence is not recorded here; see their publisher.",
                pretrained.origin
            ),
        });
    }
    limits
}
