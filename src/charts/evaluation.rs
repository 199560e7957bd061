//! Charts of an evaluation.

use plotters::prelude::{ChartBuilder, Circle, LineSeries, PathElement, Rectangle, Text};
use plotters::style::{
    Color as _,
    text_anchor::{HPos, Pos, VPos},
};

use super::{
    Result,
    canvas::{Area, Axis, FIRST, SECOND, SIZE, Tooltips, draw, draw_axes, text},
};
use crate::domain::evaluation::Evaluation;

/// Maximum number of points of a curve with a tooltip.
const TIPS: usize = 200;

/// The confusion matrix as a heat map, with counts and percentages per true class.
///
/// # Errors
/// None that its input could cause.
pub fn confusion(evaluation: &Evaluation) -> Result {
    let matrix = &evaluation.confusion_matrix;
    draw("Confusion matrix", |area, tips| {
        let centred = |size| text(size).pos(Pos::new(HPos::Center, VPos::Center));
        area.draw_text("Confusion matrix", &centred(18), (SIZE.0 as i32 / 2, 24))?;
        let (left, top, right, bottom) = (150, 50, SIZE.0 as i32 - 40, SIZE.1 as i32 - 62);
        let classes = matrix.labels.len() as i32;
        let (width, height) = ((right - left) / classes, (bottom - top) / classes);
        for (row, (true_class, counts)) in (0..).zip(matrix.labels.iter().zip(&matrix.matrix)) {
            let of_class = counts.iter().sum::<u64>().max(1) as f64;
            let y = top + row * height;
            let right_aligned = text(14).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw_text(&shortened(true_class), &right_aligned, (left - 10, y + height / 2))?;
            for (column, (predicted, count)) in (0..).zip(matrix.labels.iter().zip(counts)) {
                let fraction = *count as f64 / of_class;
                let x = left + column * width;
                let (from, to) = ((x + 1, y + 1), (x + width - 1, y + height - 1));
                // Strong enough to be visible, light enough to read the text.
                area.draw(&Rectangle::new([from, to], FIRST.mix(0.05 + 0.5 * fraction).filled()))?;
                let middle = (x + width / 2, y + height / 2);
                area.draw_text(&count.to_string(), &centred(22), (middle.0, middle.1 - 10))?;
                area.draw_text(
                    &format!("{:.1}%", 100.0 * fraction),
                    &centred(14),
                    (middle.0, middle.1 + 14),
                )?;
                tips.field(from, to, &format!("true {true_class}, predicted {predicted}: {count}"));
                if row == 0 {
                    area.draw_text(&shortened(predicted), &centred(14), (middle.0, bottom + 16))?;
                }
            }
        }
        area.draw_text("predicted class", &centred(13), ((left + right) / 2, bottom + 42))?;
        let turned = centred(13).transform(plotters::style::FontTransform::Rotate270);
        Ok(area.draw_text("true class", &turned, (24, (top + bottom) / 2))?)
    })
}

/// Precision–recall curve.
///
/// # Errors
/// None that its input could cause.
pub fn pr(evaluation: &Evaluation) -> Result {
    let curve = &evaluation.pr_curve;
    let title = format!(
        "Precision–recall curve ({}): AUC {:.4}, AP {:.4}",
        positive(evaluation),
        curve.auc,
        curve.average_precision
    );
    let points: Vec<_> =
        curve.recall.iter().copied().zip(curve.precision.iter().copied()).collect();
    unit_square(&title, "recall", "precision", &points, None, &|index, (recall, precision)| {
        let values = format!("recall {recall:.4}, precision {precision:.4}");
        match curve.thresholds.get(index) {
            Some(threshold) => format!("threshold {threshold:.4}: {values}"),
            None => values,
        }
    })
}

/// ROC curve.
///
/// # Errors
/// None that its input could cause.
pub fn roc(evaluation: &Evaluation) -> Result {
    let curve = &evaluation.roc_curve;
    let class = positive(evaluation);
    let title = match curve.auc {
        Some(auc) => format!("ROC curve ({class}): AUC {auc:.4}"),
        None => format!("ROC curve ({class}): undefined, only one class present"),
    };
    let points: Vec<_> = curve.fpr.iter().copied().zip(curve.tpr.iter().copied()).collect();
    let chance = Some("chance");
    unit_square(&title, "false positive rate", "true positive rate", &points, chance, &|_,
                                                                                        (
        fpr,
        tpr,
    )| {
        format!("FPR {fpr:.4}, TPR {tpr:.4}")
    })
}

/// Reliability diagram: fraction of positives against mean predicted probability, per bin.
///
/// # Errors
/// None that its input could cause.
pub fn reliability(evaluation: &Evaluation) -> Result {
    let calibration = &evaluation.calibration;
    let title = format!("Reliability diagram: ECE {:.4}", calibration.expected_calibration_error);
    let bins: Vec<_> = calibration
        .bins
        .iter()
        .filter_map(|bin| {
            Some((bin.mean_predicted_probability?, bin.fraction_of_positives?, bin.count))
        })
        .collect();
    let points: Vec<_> =
        bins.iter().map(|(predicted, observed, _)| (*predicted, *observed)).collect();
    let class = positive(evaluation);
    let (x, y) = (
        format!("mean predicted probability ({class})"),
        format!("fraction of positives ({class})"),
    );
    unit_square(
        &title,
        &x,
        &y,
        &points,
        Some("perfectly calibrated"),
        &|index, (predicted, observed)| {
            let count = bins.get(index).map_or(0, |(_, _, count)| *count);
            format!("{count} images: predicted {predicted:.4}, observed {observed:.4}")
        },
    )
}

fn positive(evaluation: &Evaluation) -> String {
    shortened(evaluation.confusion_matrix.labels.last().map_or("", String::as_str))
}

/// A name, shortened to fit next to a chart.
fn shortened(name: &str) -> String {
    let mut characters = name.chars();
    let start: String = characters.by_ref().take(14).collect();
    if characters.next().is_some() { format!("{start}…") } else { start }
}

/// A curve in the unit square; `diagonal` is the name of an additional diagonal line.
fn unit_square(
    title: &str,
    x_desc: &str,
    y_desc: &str,
    points: &[(f64, f64)],
    diagonal: Option<&str>,
    tip: &dyn Fn(usize, (f64, f64)) -> String,
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
        chart.draw_series(LineSeries::new(points.iter().copied(), FIRST.stroke_width(2)))?;
        let stride = points.len().div_ceil(TIPS).max(1);
        let few = points.len() <= 20;
        for (index, point) in points.iter().enumerate().step_by(stride) {
            if few {
                chart.draw_series([Circle::new(*point, 3, FIRST.filled())])?;
            }
            tips.spot(chart.backend_coord(point), 6, &tip(index, *point));
        }
        Ok(())
    })
}
