//! Learning curves: accuracy and loss per epoch, training as points and validation as a line.

use plotters::prelude::{ChartBuilder, Circle, LineSeries, PathElement, SeriesLabelPosition};
use plotters::style::{Color as _, WHITE};

use super::{
    Result,
    canvas::{Axis, FAINT, FIRST, INK, SECOND, draw, draw_axes, text, whole},
};
use crate::domain::metrics::EpochMetrics;

/// Maximum number of epochs drawn; of more, only every second, third, … is drawn.
const DRAWN: usize = 500;

/// Training and validation accuracy, from 0 to 1, per epoch; the `best` epoch is marked.
///
/// # Errors
/// None that its input could cause.
pub fn accuracy(epochs: &[EpochMetrics], best: Option<u32>) -> Result {
    let values = |epoch: &EpochMetrics| (epoch.train_accuracy, epoch.val_accuracy);
    // A little more, so that points at 1 are whole.
    curves("Accuracy", "accuracy", epochs, best, values, Some(1.01))
}

/// Training and validation loss (cross-entropy) per epoch; the `best` epoch is marked.
///
/// # Errors
/// None that its input could cause.
pub fn loss(epochs: &[EpochMetrics], best: Option<u32>) -> Result {
    let values = |epoch: &EpochMetrics| (epoch.train_loss, epoch.val_loss);
    curves("Loss", "loss (cross-entropy)", epochs, best, values, None)
}

fn curves(
    title: &str,
    unit: &str,
    epochs: &[EpochMetrics],
    best: Option<u32>,
    values: impl Fn(&EpochMetrics) -> (f64, f64),
    top: Option<f64>,
) -> Result {
    let stride = epochs.len().div_ceil(DRAWN).max(1);
    let drawn: Vec<(u32, f64, f64)> = epochs
        .iter()
        .enumerate()
        .filter(|(index, epoch)| index % stride == 0 || best == Some(epoch.epoch))
        .map(|(_, epoch)| (epoch.epoch, values(epoch).0, values(epoch).1))
        .collect();
    let all = || drawn.iter().flat_map(|(_, train, val)| [*train, *val]);
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    let (bottom, top) = match top {
        // Starts at the tenth below the lowest value, so that the curve fills the chart.
        Some(top) => ((low.min(0.5) * 10.0).floor() / 10.0, top),
        // With room for the legend.
        None => (0.0, if high > 0.0 { high * 1.3 } else { 1.0 }),
    };
    let last = f64::from(epochs.last().map_or(1, |epoch| epoch.epoch));
    draw(title, |area, tips| {
        let mut chart = ChartBuilder::on(area)
            .caption(title, text(18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(62)
            .build_cartesian_2d(0.5..last + 0.5, bottom..top)?;
        let labels = if last < 10.0 { last as usize + 1 } else { 10 };
        let x = Axis { name: "epoch", labels, format: &whole };
        let y = Axis { name: unit, labels: 10, format: &|y| format!("{y:.2}") };
        draw_axes(&mut chart, &x, &y)?;
        if drawn.is_empty() {
            return Ok(area.draw_text("no completed epochs yet", &text(14), (250, 180))?);
        }
        let at = |epoch: u32| f64::from(epoch);
        if let Some((epoch, _, val)) = drawn.iter().find(|(epoch, ..)| best == Some(*epoch)) {
            let mark = [(at(*epoch), bottom), (at(*epoch), top)];
            chart
                .draw_series([PathElement::new(mark, INK.mix(0.45).stroke_width(2))])?
                .label(format!("best epoch ({epoch})"))
                .legend(|(x, y)| {
                    PathElement::new([(x, y), (x + 14, y)], INK.mix(0.45).stroke_width(2))
                });
            chart.draw_series([Circle::new((at(*epoch), *val), 5, SECOND.filled())])?;
        }
        chart
            .draw_series(
                drawn
                    .iter()
                    .map(|(epoch, train, _)| Circle::new((at(*epoch), *train), 3, FIRST.filled())),
            )?
            .label("training")
            .legend(|(x, y)| Circle::new((x + 7, y), 3, FIRST.filled()));
        let line = drawn.iter().map(|(epoch, _, val)| (at(*epoch), *val));
        chart
            .draw_series(LineSeries::new(line, SECOND.stroke_width(2)))?
            .label("validation")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 14, y)], SECOND.stroke_width(2)));
        if drawn.len() == 1 {
            chart.draw_series(
                drawn
                    .iter()
                    .map(|(epoch, _, val)| Circle::new((at(*epoch), *val), 3, SECOND.filled())),
            )?;
        }
        for (epoch, train, val) in &drawn {
            for (name, value) in [("training", train), ("validation", val)] {
                let place = chart.backend_coord(&(at(*epoch), *value));
                tips.spot(place, 7, &format!("epoch {epoch}, {name}: {value:.4}"));
            }
        }
        let corner = if unit == "accuracy" {
            SeriesLabelPosition::LowerRight
        } else {
            SeriesLabelPosition::UpperRight
        };
        chart
            .configure_series_labels()
            .position(corner)
            .label_font(text(13))
            .background_style(WHITE.mix(0.0))
            .border_style(FAINT)
            .draw()?;
        Ok(())
    })
}
