//! The confusion matrix as a chart.

use plotters::{
    prelude::Rectangle,
    style::{
        Color as _, FontTransform,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::{
    Result,
    canvas::{FIRST, SIZE, draw, shortened, text},
};
use crate::domain::evaluation::Evaluation;

/// Classes of a matrix that is legible; of more, those that are confused most often are shown.
const MAX_CLASSES: usize = 20;

/// The confusion matrix as a heat map, with counts and percentages per true class.
///
/// # Errors
/// None that its input could cause.
pub fn confusion(evaluation: &Evaluation) -> Result {
    let matrix = &evaluation.confusion_matrix;
    let all = matrix.labels.len();
    let (title, shown) = if all > MAX_CLASSES {
        let shown = matrix.most_confused().into_iter().take(MAX_CLASSES).collect();
        let title =
            format!("Confusion matrix: the {MAX_CLASSES} of {all} classes with most errors");
        (title, shown)
    } else {
        ("Confusion matrix".to_owned(), (0..all).collect::<Vec<_>>())
    };
    draw(&title, |area, tips| {
        let centred = |size| text(size).pos(Pos::new(HPos::Center, VPos::Center));
        let right_aligned =
            text(if shown.len() > 10 { 11 } else { 14 }).pos(Pos::new(HPos::Right, VPos::Center));
        area.draw_text(&title, &centred(18), (SIZE.0 as i32 / 2, 24))?;
        let many = shown.len() > 6;
        let (left, top, right) = (150, 50, SIZE.0 as i32 - 40);
        let bottom = SIZE.1 as i32 - if many { 100 } else { 62 };
        let classes = shown.len().max(1) as i32;
        let (width, height) = ((right - left) / classes, (bottom - top) / classes);
        for (row, class) in (0..).zip(&shown) {
            let (true_class, counts) = (&matrix.labels[*class], &matrix.matrix[*class]);
            let of_class = counts.iter().sum::<u64>().max(1) as f64;
            let y = top + row * height;
            area.draw_text(&shortened(true_class), &right_aligned, (left - 10, y + height / 2))?;
            for (column, predicted) in (0..).zip(&shown) {
                let (predicted, count) = (&matrix.labels[*predicted], counts[*predicted]);
                let fraction = count as f64 / of_class;
                let x = left + column * width;
                let (from, to) = ((x + 1, y + 1), (x + width - 1, y + height - 1));
                // Strong enough to be visible, light enough to read the text.
                area.draw(&Rectangle::new([from, to], FIRST.mix(0.05 + 0.5 * fraction).filled()))?;
                let middle = (x + width / 2, y + height / 2);
                if many {
                    if count > 0 {
                        area.draw_text(&count.to_string(), &centred(11), middle)?;
                    }
                } else {
                    area.draw_text(&count.to_string(), &centred(22), (middle.0, middle.1 - 10))?;
                    let percentage = format!("{:.1}%", 100.0 * fraction);
                    area.draw_text(&percentage, &centred(14), (middle.0, middle.1 + 14))?;
                }
                tips.field(from, to, &format!("true {true_class}, predicted {predicted}: {count}"));
                if row == 0 && many {
                    let turned = right_aligned.transform(FontTransform::Rotate270);
                    area.draw_text(&shortened(predicted), &turned, (middle.0, bottom + 6))?;
                } else if row == 0 {
                    area.draw_text(&shortened(predicted), &centred(14), (middle.0, bottom + 16))?;
                }
            }
        }
        let below = if many { bottom + 90 } else { bottom + 42 };
        area.draw_text("predicted class", &centred(13), ((left + right) / 2, below))?;
        let turned = centred(13).transform(FontTransform::Rotate270);
        Ok(area.draw_text("true class", &turned, (14, (top + bottom) / 2))?)
    })
}
