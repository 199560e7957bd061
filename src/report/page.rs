//! The report as one HTML page: no script, no external resources, light and dark, and made to be printed.

use indicatif::{BinaryBytes, HumanCount};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Data, Facts, ModelReport, Training};
use crate::{
    charts,
    domain::{
        dataset::Split,
        evaluation::{CrossValidation, Evaluation, UnsureReport},
        selective::CoveragePoint,
    },
};

/// Rows of a table of the coverage, and classes of a confusion matrix as a table.
const COVERAGE_ROWS: usize = 12;
const MATRIX_CLASSES: usize = 12;

const STYLE: &str = "
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}
h1{overflow-wrap:anywhere}h2{margin-top:2.5rem;border-bottom:1px solid;padding-bottom:.2rem}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1rem}
.charts svg{width:100%;height:auto}
.wide{overflow-x:auto}
table{border-collapse:collapse}th,td{text-align:left;padding:.2rem 1.2rem .2rem 0;vertical-align:top}
code,.facts td{overflow-wrap:anywhere}.n,.wide td,.wide th{white-space:nowrap}.n{text-align:right;font-variant-numeric:tabular-nums;padding-right:1.2rem}
.result{font-size:1.5rem;font-weight:600;margin:0}.result small{font-size:1rem;font-weight:400}
@media print{body{max-width:none;margin:0;font-size:11pt}h2,h3{break-after:avoid}svg,tr,li{break-inside:avoid}}";

/// The page.
///
/// # Errors
/// A chart can't be drawn.
pub fn html(report: &ModelReport) -> Result<String, charts::Error> {
    let title = format!("Model {}", report.model.name);
    let (curves, evaluation) = (curves(&report.training)?, evaluation(report)?);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                (result(report))
                h2 { "Limitations" }
                ul { @for limit in &report.limits { li { (limit) } } }
                h2 { "Data" }
                (data(&report.data))
                h2 { "Training" }
                (training(&report.training))
                (curves)
                h2 { "Evaluation" }
                (evaluation)
                h2 { "When it is unsure" }
                (unsure(report))
                h2 { "Origin" }
                (origin(report))
                p { small { "Report of " (report.created_at.strftime("%-d %B %Y, %H:%M UTC").to_string()) ", Pawprint " (env!("CARGO_PKG_VERSION")) "." } }
            }
        }
    };
    Ok(page.into_string())
}

fn percent(fraction: f64) -> String {
    format!("{:.1}%", fraction * 100.0)
}

fn result(report: &ModelReport) -> Markup {
    let ModelReport { model, data, test, validation, evaluation, .. } = report;
    html! {
        @if let Some(Evaluation { accuracy, count, accuracy_interval: interval, .. }) = evaluation {
            p.result {
                "Accuracy " (percent(*accuracy)) " "
                small {
                    "on " (count) " test images (" (format!("{:.0}", interval.confidence * 100.0)) "% CI "
                    (format!("{:.1}–{:.1}", interval.low * 100.0, interval.high * 100.0)) "%)"
                }
            }
        } @else if let Some(test) = test {
            p.result { "Accuracy " (percent(test.accuracy)) " " small { "on " (test.count) " test images" } }
        } @else {
            p.result { "Not tested " small { "(validation accuracy " (percent(validation.accuracy)) " on " (validation.count) " images)" } }
        }
        p {
            "Classifies images into " (data.classes.names().len()) " classes. "
            @if model.in_service { "In service when this report was written." } @else { "Not in service when this report was written." }
        }
    }
}

fn data(data: &Data) -> Markup {
    let splits = [Split::Train, Split::Validation, Split::Test];
    html! {
        p { "Dataset " b { (data.dataset) } ", version " code { (data.dataset_version) } "." }
        div.wide { table {
            tr { th { "Class" } @for split in splits { th.n { (split) } } }
            @for class in data.classes.names() {
                tr {
                    td { (class) }
                    @for split in splits { td.n {
                        @match &data.images {
                            Some(images) => (images.get(&split).and_then(|of| of.get(&class.to_string())).copied().unwrap_or(0)),
                            None => "–",
                        }
                    } }
                }
            }
            @if let Some(images) = &data.images {
                tr { th { "All" } @for split in splits { th.n { (images.get(&split).map_or(0, |of| of.values().sum::<u64>())) } } }
            }
        } }
        @if data.images.is_none() {
            p { "The numbers of images are not known here: the job was deleted, or ran on another server." }
        }
    }
}

fn training(training: &Training) -> Markup {
    let params = serde_json::to_value(&training.params).unwrap_or_default();
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => "–".to_owned(),
        other => other.to_string(),
    };
    html! {
        p { "Recipe " b { (training.recipe) } ": " (training.recipe.summary()) }
        p { "The weights are those of epoch " (training.best_epoch) ", which had the lowest validation loss." }
        table.facts {
            @for (name, value) in params.as_object().into_iter().flatten() {
                tr { th { (name.replace('_', " ")) } td { (text(value)) } }
            }
        }
    }
}

fn curves(training: &Training) -> Result<Markup, charts::Error> {
    if training.epochs.is_empty() {
        return Ok(
            html! { p { "The learning curves are not known here: the job was deleted, or ran on another server." } },
        );
    }
    let best = Some(training.best_epoch);
    Ok(drawn(&[charts::accuracy(&training.epochs, best)?, charts::loss(&training.epochs, best)?]))
}

/// SVG of our own, in which what users wrote is escaped.
fn drawn(charts: &[String]) -> Markup {
    html! { div.charts { @for chart in charts { (PreEscaped(chart)) } } }
}

fn evaluation(report: &ModelReport) -> Result<Markup, charts::Error> {
    let validation = &report.validation;
    let chosen = html! {
        p { "Validation split, on which the epoch was chosen: accuracy " (percent(validation.accuracy)) ", loss " (format!("{:.4}", validation.loss)) ", " (validation.count) " images." }
    };
    let Some(evaluation) = &report.evaluation else {
        return Ok(html! {
            @if let Some(test) = &report.test {
                p { "Test split: accuracy " (percent(test.accuracy)) ", loss " (format!("{:.4}", test.loss)) ", " (test.count) " images." }
            } @else { p { "There were no test images." } }
            (chosen)
        });
    };
    let charts = drawn(&[
        charts::confusion(evaluation)?,
        charts::pr(evaluation)?,
        charts::roc(evaluation)?,
        charts::reliability(evaluation)?,
    ]);
    Ok(html! {
        p { "Test split: loss " (format!("{:.4}", evaluation.loss)) ", " (evaluation.misclassified.len()) " of " (evaluation.count) " images misclassified." }
        (chosen)
        @if let Some(CrossValidation { folds, count, correct, accuracy, accuracy_interval: interval }) = &evaluation.cross_validation {
            p {
                (folds) "-fold cross-validation: " (correct) " of " (count) " images of all splits correct (" (percent(*accuracy))
                "; " (format!("{:.0}", interval.confidence * 100.0)) "% CI " (format!("{:.1}–{:.1}", interval.low * 100.0, interval.high * 100.0)) "%)."
            }
        }
        h3 { "By class" }
        (scores(evaluation))
        (matrix(evaluation))
        (charts)
        h3 { "Calibration" }
        (calibration(evaluation))
    })
}

fn scores(evaluation: &Evaluation) -> Markup {
    let report = &evaluation.report;
    let averages =
        [("macro average", &report.macro_avg), ("weighted average", &report.weighted_avg)];
    let classes = report.classes.iter().map(|(name, score)| (&**name, score));
    html! {
        div.wide { table {
            tr { th { "Class" } th.n { "Precision" } th.n { "Recall" } th.n { "F1" } th.n { "Images" } }
            @for (name, score) in classes.chain(averages) {
                tr {
                    td { (name) }
                    @for value in [score.precision, score.recall, score.f1] { td.n { (format!("{value:.3}")) } }
                    td.n { (score.support) }
                }
            }
        } }
    }
}

fn matrix(evaluation: &Evaluation) -> Markup {
    let matrix = &evaluation.confusion_matrix;
    html! {
        h3 { "Confusion matrix" }
        @if matrix.labels.len() <= MATRIX_CLASSES {
            div.wide { table {
                tr { th { "True class" } @for label in &matrix.labels { th.n { "Predicted " (label) } } }
                @for (label, row) in matrix.labels.iter().zip(&matrix.matrix) {
                    tr { th { (label) } @for count in row { td.n { (count) } } }
                }
            } }
        } @else {
            p { "The most frequent errors:" }
            table {
                tr { th { "True class" } th { "Predicted" } th.n { "Images" } }
                @for (truth, predicted, count) in matrix.worst_pairs().into_iter().take(MATRIX_CLASSES) {
                    tr { td { (truth) } td { (predicted) } td.n { (count) } }
                }
            }
        }
    }
}

fn calibration(evaluation: &Evaluation) -> Markup {
    let calibration = &evaluation.calibration;
    html! {
        @if let Some(temperature) = calibration.temperature {
            p { "The logits are divided by " (format!("{temperature:.3}")) ", chosen on the validation split or by cross-validation." }
        }
        @if let Some(scaled) = &calibration.scaled {
            p {
                "Log loss " (format!("{:.4}", scaled.log_loss)) ", Brier score " (format!("{:.4}", scaled.brier_score))
                ", expected calibration error of the predicted class " (format!("{:.4}", scaled.expected_calibration_error)) "."
            }
        } @else {
            p { "Expected calibration error " (format!("{:.4}", calibration.expected_calibration_error)) "." }
        }
    }
}

fn unsure(report: &ModelReport) -> Markup {
    let thresholds = report.model.thresholds;
    let points = &report.coverage.0;
    let step = points.len().div_ceil(COVERAGE_ROWS).max(1);
    html! {
        p {
            @match thresholds.answer_above {
                Some(above) if above >= 1.0 => { "It is always unsure: at no probability are enough of its answers right. " },
                Some(above) => { "It says that it is unsure where the probability of its answer is below " (format!("{above:.3}")) ". " },
                None => "It is never unsure because of the probability. ",
            }
            @match thresholds.unlike_above {
                Some(above) => { "It also does where an image is farther than " (format!("{above:.3}")) " from its training images." },
                None => "It does not compare images with its training images.",
            }
        }
        @if let Some(UnsureReport { low_confidence, unlike_training, answered_accuracy: Some(accuracy), .. }) = report.evaluation.as_ref().and_then(|it| it.unsure) {
            p {
                "On the test split it was unsure of " (low_confidence) " images because of the probability and of " (unlike_training)
                " because they are unlike the training images; of the others, " (percent(accuracy)) " were right (at the thresholds it was trained with)."
            }
        }
        @if !points.is_empty() {
            h3 { "Accuracy of the answers, by their least probability" }
            p { "On images that it was not trained on: the validation split, or in small datasets by cross-validation with the training split." }
            table {
                tr { th.n { "Minimum probability" } th.n { "Answered" } th.n { "Accuracy" } }
                @for CoveragePoint { threshold, answered, accuracy } in points.iter().step_by(step) {
                    tr { td.n { (format!("{threshold:.3}")) } td.n { (percent(*answered)) } td.n { (percent(*accuracy)) } }
                }
            }
        }
    }
}

fn origin(report: &ModelReport) -> Markup {
    let ModelReport { model, training, .. } = report;
    let Facts {
        id,
        architecture,
        input,
        parameters,
        bytes,
        sha256,
        created_at,
        pawprint_version,
        ..
    } = model;
    let moment = |at: jiff::Timestamp| at.strftime("%-d %B %Y, %H:%M UTC").to_string();
    let mut rows = vec![
        ("Model", id.to_string()),
        ("Trained", moment(*created_at)),
        ("Pawprint", pawprint_version.clone()),
        ("Architecture", architecture.clone()),
        ("Input", format!("{} × {} pixels", input[0], input[1])),
        ("Parameters", HumanCount(*parameters).to_string()),
        ("File", format!("{} ({} bytes)", BinaryBytes(*bytes), HumanCount(*bytes))),
    ];
    rows.extend(sha256.map(|digest| ("SHA-256", digest.to_string())));
    rows.push((
        "Job",
        match &training.job {
            Some(name) => format!("{name} ({})", training.job_id),
            None => format!("{} (deleted, or of another server)", training.job_id),
        },
    ));
    if let (Some(device), Some(precision)) = (&training.device, training.precision) {
        rows.push(("Device", format!("{device}, {}", precision.as_str())));
    }
    rows.extend(training.node.clone().map(|node| ("Node", node)));
    rows.extend(training.started_at.map(|at| ("Job started", moment(at))));
    rows.extend(training.finished_at.map(|at| ("Job ended", moment(at))));
    if let Some(pretrained) = &training.pretrained {
        let license = pretrained.license.unwrap_or("not recorded");
        rows.push(("Pretrained weights", format!("{}, licence {license}", pretrained.origin)));
        rows.push(("Their SHA-256", pretrained.sha256.to_string()));
        rows.extend(pretrained.url.map(|url| ("Their source", url.to_owned())));
    }
    html! { table.facts { @for (name, value) in rows { tr { th { (name) } td { (value) } } } } }
}
