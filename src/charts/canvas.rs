//! The drawing surface shared by all charts.

use std::fmt::Write as _;

use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::{
        Cartesian2d, ChartContext, DrawingArea, DrawingAreaErrorKind, IntoDrawingArea as _,
        RGBColor, SVGBackend,
    },
    style::{Color as _, IntoFont as _, TextStyle},
};

use super::{Error, Result};

/// Width and height in pixels; the SVG scales.
pub(super) const SIZE: (u32, u32) = (640, 400);

/// Text, axes.
pub(super) const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);
/// Grid lines and other elements that are not data.
pub(super) const FAINT: RGBColor = RGBColor(0xd0, 0xd7, 0xde);
/// The first of two series.
pub(super) const FIRST: RGBColor = RGBColor(0x09, 0x69, 0xda);
/// The second of two series.
pub(super) const SECOND: RGBColor = RGBColor(0xbc, 0x4c, 0x00);

/// The replacement of each colour in dark mode.
const DARK: [(RGBColor, &str); 4] =
    [(INK, "#e6edf3"), (FAINT, "#3d444d"), (FIRST, "#58a6ff"), (SECOND, "#f0883e")];

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for Error {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self(error.to_string())
    }
}

/// Areas that show a tooltip.
#[derive(Debug, Default)]
pub(super) struct Tooltips(String);

impl Tooltips {
    /// A circle with a radius in pixels.
    pub(super) fn spot(&mut self, (x, y): (i32, i32), radius: u32, text: &str) {
        let text = escape(text);
        // Writing to a string can't fail.
        let _ = writeln!(
            self.0,
            r#"<circle cx="{x}" cy="{y}" r="{radius}" fill="transparent"><title>{text}</title></circle>"#
        );
    }

    /// A rectangle between two corners.
    pub(super) fn field(&mut self, (x1, y1): (i32, i32), (x2, y2): (i32, i32), text: &str) {
        let (x, y, text) = (x1.min(x2), y1.min(y2), escape(text));
        let (width, height) = (x1.abs_diff(x2), y1.abs_diff(y2));
        let _ = writeln!(
            self.0,
            r#"<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="transparent"><title>{text}</title></rect>"#
        );
    }
}

/// Draws a chart with a title.
pub(super) fn draw(
    title: &str,
    draw: impl FnOnce(&Area<'_>, &mut Tooltips) -> Result<()>,
) -> Result {
    let mut drawn = String::new();
    let mut tips = Tooltips::default();
    {
        let area = SVGBackend::with_string(&mut drawn, SIZE).into_drawing_area();
        draw(&area, &mut tips)?;
        area.present()?;
    }
    // The content between the opening and closing tag that plotters writes.
    let start = drawn.find('>').map_or(0, |end| end + 1);
    let end = drawn.rfind("</svg>").unwrap_or(drawn.len());
    let body = drawn.get(start..end).unwrap_or_default();
    let ((width, height), title, style, tips) = (SIZE, escape(title), style(), tips.0);
    Ok(format!(
        r#"<svg class="pawprint-chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{title}">
<title>{title}</title>
<style>{style}</style>
{body}{tips}</svg>
"#
    ))
}

/// CSS rules that override the colours in dark mode; rules take precedence over presentation
/// attributes.
fn style() -> String {
    let mut style = String::from(
        ".pawprint-chart text{font-family:system-ui,sans-serif}@media(prefers-color-scheme:dark){",
    );
    for (RGBColor(red, green, blue), dark) in DARK {
        let light = format!("#{red:02X}{green:02X}{blue:02X}");
        for attribute in ["fill", "stroke"] {
            let _ =
                write!(style, r#".pawprint-chart [{attribute}="{light}"]{{{attribute}:{dark}}}"#);
        }
    }
    style.push('}');
    style
}

/// A chart with two numeric axes.
pub(super) type Plane<'a, 'b> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Labels of an axis.
pub(super) struct Axis<'a> {
    /// Name of the quantity.
    pub(super) name: &'a str,
    /// Approximate number of tick labels.
    pub(super) labels: usize,
    /// Formats a tick label.
    pub(super) format: &'a dyn Fn(&f64) -> String,
}

/// Draws the axes and grid of a chart.
pub(super) fn draw_axes(chart: &mut Plane<'_, '_>, x: &Axis<'_>, y: &Axis<'_>) -> Result<()> {
    chart
        .configure_mesh()
        .light_line_style(FAINT.mix(0.0))
        .bold_line_style(FAINT)
        .axis_style(INK)
        .label_style(text(13))
        .axis_desc_style(text(13))
        .x_desc(x.name)
        .y_desc(y.name)
        .x_labels(x.labels)
        .y_labels(y.labels)
        .x_label_formatter(x.format)
        .y_label_formatter(y.format)
        .draw()?;
    Ok(())
}

/// Formats whole numbers; the result is empty for tick labels between them.
pub(super) fn whole(number: &f64) -> String {
    if (number - number.round()).abs() < 1e-6 { format!("{number:.0}") } else { String::new() }
}

/// A text style; `size` is in pixels.
pub(super) fn text(size: u32) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size * 5 / 4).into_font()).color(&INK)
}

pub(super) fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, character| {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML does not allow most control characters.
            character if character.is_control() => escaped.push(' '),
            character => escaped.push(character),
        }
        escaped
    })
}

/// A name, shortened to fit next to a chart.
pub(super) fn shortened(name: &str) -> String {
    let mut characters = name.chars();
    let start: String = characters.by_ref().take(14).collect();
    if characters.next().is_some() { format!("{start}…") } else { start }
}
