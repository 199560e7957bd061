//! Curves of an evaluation.

use plotters::prelude::{ChartBuilder, Circle, LineSeries, PathElement, Text};
use plotters::style::Color as _;

use super::{
    Result,
    canvas::{Area, Axis, FAINT, FIRST, SECOND, Tooltips, draw, draw_axes, shortened, text},
};
use crate::domain::evaluation::{Evaluation, PrCurve, RocCurve};

/// Maximum number of points of a curve with a tooltip.
const TIPS: usize = 200;
/// Maximum number of classes whose curves are drawn beside their average: the hardest.
const CLASSES: usize = 10;

/// A curve in the unit square.
struct Line {
    /// In the tooltips; empty for the only curve.
    name: String,
    points: Vec<(f64, f64)>,
    tips: Vec<String>,
}

impl Line {
    fn pr(name: &str, curve: &PrCurve) -> Self {
        let points: Vec<_> =
            curve.recall.iter().copied().zip(curve.precision.iter().copied()).collect();
        let tip = |(index, (recall, precision)): (usize, &(f64, f64))| {
            let values = format!("recall {recall:.4}, precision {precision:.4}");
            match curve.thresholds.get(index) {
                Some(threshold) => format!("threshold {threshold:.4}: {values}"),
                None => values,
            }
        };
        let tips = points.iter().enumerate().map(tip).collect();
        Self { name: name.to_owned(), points, tips }
    }

    fn roc(name: &str, curve: &RocCurve) -> Self {
        let points: Vec<_> = curve.fpr.iter().copied().zip(curve.tpr.iter().copied()).collect();
        let tips = points.iter().map(|(fpr, tpr)| format!("FPR {fpr:.4}, TPR {tpr:.4}")).collect();
        Self { name: name.to_owned(), points, tips }
    }

    /// Of bins with their mean probability, the frequency in them and their number of images.
    fn reliability(
        name: &str,
        bins: impl Iterator<Item = (Option<f64>, Option<f64>, u64)>,
    ) -> Self {
        let filled = bins.filter_map(|(predicted, observed, count)| {
            let (predicted, observed) = predicted.zip(observed)?;
            let tip = format!("{count} images: predicted {predicted:.4}, observed {observed:.4}");
            Some(((predicted, observed), tip))
        });
        let (points, tips) = filled.unzip();
        Self { name: name.to_owned(), points, tips }
    }
}

/// Precision–recall curve: of the second of two classes; of more, of each against the rest.
///
/// # Errors
/// None that its input could cause.
pub fn pr(evaluation: &Evaluation) -> Result {
    let (title, lines) = if let Some(curve) = &evaluation.pr_curve {
        let title = format!(
            "Precision–recall curve ({}): AUC {:.4}, AP {:.4}",
            positive(evaluation),
            curve.auc,
            curve.average_precision
        );
        (title, vec![Line::pr("", curve)])
    } else if let Some(curves) = &evaluation.one_vs_rest {
        let micro = &curves.micro.pr_curve;
        let title = format!(
            "Precision–recall curves: AP {:.4} (micro), {:.4} (macro)",
            micro.average_precision, curves.macro_avg.average_precision
        );
        let mut classes: Vec<_> = curves.classes.iter().collect();
        classes.sort_by(|a, b| {
            let precision = |it: &PrCurve| it.average_precision;
            precision(&a.curves.pr_curve).total_cmp(&precision(&b.curves.pr_curve))
        });
        let classes = classes.into_iter().take(CLASSES).map(|class| {
            let curve = &class.curves.pr_curve;
            Line::pr(&format!("{}, AP {:.4}", class.label, curve.average_precision), curve)
        });
        (title, [Line::pr("micro average", micro)].into_iter().chain(classes).collect())
    } else {
        ("Precision–recall curve".to_owned(), Vec::new())
    };
    unit_square(&title, "recall", "precision", &lines, None)
}

/// ROC curve: of the second of two classes; of more, of each against the rest.
///
/// # Errors
/// None that its input could cause.
pub fn roc(evaluation: &Evaluation) -> Result {
    let number = |auc: Option<f64>| auc.map_or("undefined".to_owned(), |auc| format!("{auc:.4}"));
    let (title, lines) = if let Some(curve) = &evaluation.roc_curve {
        let class = positive(evaluation);
        let title = match curve.auc {
            Some(auc) => format!("ROC curve ({class}): AUC {auc:.4}"),
            None => format!("ROC curve ({class}): undefined, only one class present"),
        };
        (title, vec![Line::roc("", curve)])
    } else if let Some(curves) = &evaluation.one_vs_rest {
        let micro = &curves.micro.roc_curve;
        let (of_micro, of_macro) = (number(micro.auc), number(curves.macro_avg.roc_auc));
        let title = format!("ROC curves: AUC {of_micro} (micro), {of_macro} (macro)");
        let mut classes: Vec<_> = curves.classes.iter().collect();
        classes.sort_by(|a, b| {
            let auc = |it: &RocCurve| it.auc.unwrap_or(1.0);
            auc(&a.curves.roc_curve).total_cmp(&auc(&b.curves.roc_curve))
        });
        let classes = classes.into_iter().take(CLASSES).map(|class| {
            let curve = &class.curves.roc_curve;
            Line::roc(&format!("{}, AUC {}", class.label, number(curve.auc)), curve)
        });
        (title, [Line::roc("micro average", micro)].into_iter().chain(classes).collect())
    } else {
        ("ROC curve".to_owned(), Vec::new())
    };
    unit_square(&title, "false positive rate", "true positive rate", &lines, Some("chance"))
}

/// Reliability diagram: the frequency of the second of two classes against its mean predicted
/// probability, per bin; of more classes, accuracy against confidence, also without the temperature.
///
/// # Errors
/// None that its input could cause.
pub fn reliability(evaluation: &Evaluation) -> Result {
    let calibration = &evaluation.calibration;
    let error = calibration.expected_calibration_error;
    let of_class = calibration
        .bins
        .iter()
        .map(|bin| (bin.mean_predicted_probability, bin.fraction_of_positives, bin.count));
    if evaluation.threshold.is_some() {
        let class = positive(evaluation);
        let x = format!("mean predicted probability ({class})");
        let y = format!("fraction of positives ({class})");
        let line = Line::reliability("", of_class);
        let title = format!("Reliability diagram ({class}): ECE {error:.4}");
        return unit_square(&title, &x, &y, &[line], Some("perfectly calibrated"));
    }
    let raw = calibration.raw.iter().map(|raw| {
        let bins = raw.bins.iter().map(|bin| (bin.mean_confidence, bin.accuracy, bin.count));
        Line::reliability("without the temperature", bins)
    });
    let scaled = Line::reliability("with the temperature", of_class);
    let title = format!("Reliability diagram: ECE {error:.4}");
    let lines: Vec<_> = [scaled].into_iter().chain(raw).collect();
    unit_square(&title, "mean confidence", "accuracy", &lines, Some("perfectly calibrated"))
}

fn positive(evaluation: &Evaluation) -> String {
    shortened(evaluation.confusion_matrix.labels.last().map_or("", String::as_str))
}

/// Curves in the unit square, the first of which is the main one; `diagonal` is the name of an
/// additional diagonal line.
fn unit_square(
    title: &str,
    x_desc: &str,
    y_desc: &str,
    lines: &[Line],
    diagonal: Option<&str>,
) -> Result {
    draw(title, |area: &Area<'_>, tips: &mut Tooltips| {
        let mut chart = ChartBuilder::on(area)
            .caption(title, text(16))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(62)
            .build_cartesian_2d(0.0..1.0, 0.0..1.02)?;
        let tenths = |number: &f64| format!("{number:.1}");
        let x = Axis { name: x_desc, labels: 10, format: &tenths };
        draw_axes(&mut chart, &x, &Axis { name: y_desc, labels: 10, format: &tenths })?;
        if let Some(name) = diagonal {
            chart.draw_series([PathElement::new(
                [(0.0, 0.0), (1.0, 1.0)],
                SECOND.stroke_width(1),
            )])?;
            chart.draw_series([Text::new(name.to_owned(), (0.74, 0.68), text(12))])?;
        }
        // The main one is drawn last, above the others.
        for (number, line) in lines.iter().enumerate().rev() {
            let Line { name, points, tips: texts } = line;
            let style = if number == 0 { FIRST.stroke_width(2) } else { FAINT.stroke_width(2) };
            chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
            let stride = points.len().div_ceil(TIPS / lines.len()).max(1);
            let few = number == 0 && points.len() <= 20;
            for (point, text) in points.iter().zip(texts).step_by(stride) {
                if few {
                    chart.draw_series([Circle::new(*point, 3, FIRST.filled())])?;
                }
                let separator = if name.is_empty() { "" } else { ": " };
                let text = format!("{name}{separator}{text}");
                tips.spot(chart.backend_coord(point), if number == 0 { 6 } else { 4 }, &text);
            }
        }
        Ok(())
    })
}
