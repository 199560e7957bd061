//! Charts of a dataset.

use std::{cmp::Reverse, collections::BTreeMap};

use plotters::prelude::{ChartBuilder, Rectangle};
use plotters::style::{
    Color as _,
    text_anchor::{HPos, Pos, VPos},
};

use super::{
    Result,
    canvas::{Axis, FIRST, draw, draw_axes, text, whole},
};
use crate::domain::dataset::Counts;

/// A bar of a chart.
struct Bar {
    name: String,
    value: u64,
}

/// Maximum number of bars: more would be too thin to read.
const MAX_BARS: usize = 24;

/// Number of images per split and class; of many classes, the totals of the largest and smallest.
///
/// # Errors
/// None that its input could cause.
pub fn classes(counts: &Counts) -> Result {
    if counts.values().map(BTreeMap::len).sum::<usize>() > MAX_BARS {
        return many_classes(counts);
    }
    let bars = counts.iter().flat_map(|(split, classes)| {
        classes
            .iter()
            .map(move |(class, images)| Bar { name: format!("{split} {class}"), value: *images })
    });
    bars_of("Images by split and class", &bars.collect::<Vec<_>>())
}

fn many_classes(counts: &Counts) -> Result {
    let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
    for (class, images) in counts.values().flatten() {
        *totals.entry(class).or_default() += images;
    }
    let mut bars: Vec<Bar> =
        totals.into_iter().map(|(name, value)| Bar { name: name.to_owned(), value }).collect();
    bars.sort_by_key(|bar| Reverse(bar.value));
    if bars.len() <= MAX_BARS {
        return bars_of("Images by class", &bars);
    }
    let (each, all) = (MAX_BARS / 2, bars.len());
    bars.drain(each..all - each);
    bars_of(&format!("Images by class: the {each} largest and {each} smallest of {all}"), &bars)
}

/// Number of images per media type.
///
/// # Errors
/// None that its input could cause.
pub fn formats(formats: &BTreeMap<String, u64>) -> Result {
    let bars = formats.iter().map(|(name, images)| Bar { name: name.clone(), value: *images });
    bars_of("Images by format", &bars.collect::<Vec<_>>())
}

/// Horizontal bars, with the name on the left and the value on the right.
fn bars_of(title: &str, bars: &[Bar]) -> Result {
    let largest = bars.iter().map(|bar| bar.value).max().unwrap_or(0).max(1);
    let bars = &bars[..bars.len().min(MAX_BARS)];
    draw(title, |area, tips| {
        let heading = text(18).pos(Pos::new(HPos::Center, VPos::Center));
        area.draw_text(title, &heading, (320, 24))?;
        if bars.is_empty() {
            return Ok(area.draw_text("no images yet", &text(14), (250, 190))?);
        }
        let (left, top, right, bottom) = (190, 48, 570, 385);
        let step = ((bottom - top) / bars.len() as i32).min(52);
        for (row, bar) in (0..).zip(bars) {
            let y = top + row * step;
            let (from, thickness) = (y + step / 8, (step * 3 / 4).max(4));
            let length = (f64::from(right - left) * bar.value as f64 / largest as f64) as i32;
            let corners = [(left, from), (left + length.max(1), from + thickness)];
            area.draw(&Rectangle::new(corners, FIRST.filled()))?;
            let middle = from + thickness / 2;
            let name: String = bar.name.chars().take(26).collect();
            let before = text(13).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw_text(&name, &before, (left - 8, middle))?;
            let behind = text(13).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw_text(&bar.value.to_string(), &behind, (left + length + 6, middle))?;
            tips.field((0, from), (640, from + thickness), &format!("{}: {}", bar.name, bar.value));
        }
        Ok(())
    })
}

/// Histogram of image sizes in pixels along one `side`: bin `i` counts images from `edges[i]`
/// (inclusive) to `edges[i + 1]` (exclusive).
///
/// # Errors
/// None that its input could cause.
pub fn histogram(side: &str, edges: &[u32], counts: &[u64]) -> Result {
    let title = format!("Images by {side}");
    let range = f64::from(edges.first().copied().unwrap_or(0))
        ..f64::from(edges.last().copied().unwrap_or(1));
    let largest = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    draw(&title, |area, tips| {
        let mut chart = ChartBuilder::on(area)
            .caption(&title, text(18))
            .margin(12)
            .margin_right(24)
            .x_label_area_size(44)
            .y_label_area_size(62)
            .build_cartesian_2d(range, 0.0..largest * 1.05)?;
        let x = Axis { name: &format!("{side} (px)"), labels: 10, format: &whole };
        draw_axes(&mut chart, &x, &Axis { name: "number of images", labels: 10, format: &whole })?;
        for (bin, count) in edges.windows(2).zip(counts) {
            let corners = [(f64::from(bin[0]), 0.0), (f64::from(bin[1]), *count as f64)];
            chart.draw_series([Rectangle::new(corners, FIRST.mix(0.8).filled())])?;
            let corners = corners.map(|corner| chart.backend_coord(&corner));
            let tip = format!("{}–{} px: {count} images", bin[0], bin[1] - 1);
            tips.field(corners[0], corners[1], &tip);
        }
        Ok(())
    })
}
