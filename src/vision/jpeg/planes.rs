//! The JPEGs that the decoder does not turn into the right pixels, but whose component planes it reads
//! (libjpeg-turbo-rs 0.9):
//!
//! | | the decoder alone |
//! |---|---|
//! | a component has a higher resolution than the first | rejects it |
//! | a sequential file with a scan of some of its components, such as Y, then Cb and Cr | rejects it |
//! | four components (CMYK, YCCK) of different resolutions | gives other pixels, or panics |
//!
//! The planes are brought to the size of the image and converted to RGB as libjpeg-turbo does it
//! (jdsample.c, jdcolor.c), with the same pixels.

use std::borrow::Cow;

use image::RgbImage;
use libjpeg_turbo_rs::{ColorSpace, JpegError, RawImage, decompress_raw};

use super::{
    cmyk_to_rgb,
    structure::{Component, Frame, Structure},
};

/// Whether a file is one of these.
pub(super) fn are_needed(file: &Structure) -> bool {
    let components = &file.frame.components;
    let is_mixed = components.windows(2).any(|pair| pair[0].sampling != pair[1].sampling);
    let first = components.first().map_or((1, 1), |first| first.sampling);
    let is_first_finest = first == file.frame.largest_sampling();
    !is_first_finest || components.len() > 3 && is_mixed || file.has_partly_interleaved_scan()
}

/// Decodes the file `bytes`, whose structure is `file`, into `image`.
///
/// # Errors
/// A scan that is damaged or cut short, or sampling factors that divide no pixel evenly, which
/// libjpeg does not read either.
pub(super) fn decode_into(
    file: &Structure,
    bytes: &[u8],
    colors: ColorSpace,
    image: &mut RgbImage,
) -> Result<(), JpegError> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let most = file.frame.largest_sampling();
    let planes = planes(file, bytes)?;
    let planes: Vec<Vec<u8>> = file
        .frame
        .components
        .iter()
        .zip(planes)
        .map(|(component, plane)| upsample(&plane?, component, most, width, height))
        .collect::<Result<_, JpegError>>()?;
    convert(&planes, colors, image)
}

/// The samples of one component, and how many of them there are across and down.
struct Plane {
    samples: Vec<u8>,
    /// Samples from one row to the next.
    stride: usize,
    rows: usize,
}

/// The plane of each component, in the order of the frame.
fn planes(file: &Structure, bytes: &[u8]) -> Result<Vec<Result<Plane, JpegError>>, JpegError> {
    let missing = || Err(JpegError::CorruptData("a component has no scan".to_owned()));
    let mut planes: Vec<_> = file.frame.components.iter().map(|_| missing()).collect();
    if !file.has_partly_interleaved_scan() {
        for (to, plane) in planes.iter_mut().zip(split(decompress_raw(bytes)?)) {
            *to = Ok(plane);
        }
        return Ok(planes);
    }
    // Each component is in one scan of a sequential file.
    if file.scans.len() > file.frame.components.len() {
        return Err(JpegError::CorruptData("it has more scans than components".to_owned()));
    }
    for number in 0..file.scans.len() {
        let (alone, of) = scan_alone(file, number);
        for (index, plane) in of.into_iter().zip(split(decompress_raw(&alone)?)) {
            planes[index] = Ok(plane);
        }
    }
    Ok(planes)
}

fn split(raw: RawImage) -> impl Iterator<Item = Plane> {
    let sizes = raw.plane_widths.into_iter().zip(raw.plane_heights);
    let planes = raw.planes.into_iter().zip(sizes);
    planes.map(|(samples, (stride, rows))| Plane { samples, stride, rows })
}

/// A file of its own of one scan, which is interleaved over all of its components; and their
/// indices in the frame.
fn scan_alone(file: &Structure, number: usize) -> (Vec<u8>, Vec<usize>) {
    let Frame { marker, width, height, components, .. } = &file.frame;
    let scan = &file.scans[number];
    let of: Vec<usize> = (0..components.len())
        .filter(|&index| scan.components.contains(&components[index].id))
        .collect();
    let most = file.frame.largest_sampling();
    let of_scan = of.iter().map(|&index| components[index].sampling);
    let own = of_scan.fold((1, 1), |most, it| (most.0.max(it.0), most.1.max(it.1)));
    let side = |side: u16, own: u8, most: u8| samples(side.into(), own, most) as u16;
    let (width, height) = (side(*width, own.0, most.0), side(*height, own.1, most.1));

    let mut alone = vec![0xFF, 0xD8];
    for table in file.tables.iter().filter(|table| table.end <= scan.bytes.start) {
        alone.extend(file.slice(table));
    }
    let length = 8 + 3 * of.len() as u16;
    alone.extend([0xFF, *marker]);
    alone.extend(length.to_be_bytes());
    alone.push(8);
    alone.extend(height.to_be_bytes());
    alone.extend(width.to_be_bytes());
    alone.push(of.len() as u8);
    for &index in &of {
        let Component { id, sampling: (horizontal, vertical), quantization_table } =
            components[index];
        alone.extend([id, horizontal << 4 | vertical, quantization_table]);
    }
    alone.extend(file.slice(&scan.bytes));
    alone.extend([0xFF, 0xD9]);
    (alone, of)
}

/// Samples that a component of that sampling factor has for so many pixels, of `most` per pixel.
fn samples(pixels: usize, factor: u8, most: u8) -> usize {
    (pixels * usize::from(factor)).div_ceil(usize::from(most.max(1)))
}

/// A plane of `width` × `height` samples.
fn upsample(
    plane: &Plane,
    component: &Component,
    most: (u8, u8),
    width: usize,
    height: usize,
) -> Result<Vec<u8>, JpegError> {
    let (horizontal, vertical) = component.sampling;
    let (across, down) = (samples(width, horizontal, most.0), samples(height, vertical, most.1));
    if horizontal == 0
        || vertical == 0
        || !most.0.is_multiple_of(horizontal)
        || !most.1.is_multiple_of(vertical)
    {
        return Err(JpegError::Unsupported("fractional sampling factors".to_owned()));
    }
    if plane.stride < across || plane.rows < down || plane.samples.len() < plane.stride * down {
        return Err(JpegError::CorruptData("a component has too few samples".to_owned()));
    }
    let row = |at: usize| &plane.samples[at * plane.stride..][..across];
    // The first and last rows are repeated beyond the edges.
    let neighbour = |at: usize, is_upper: bool| {
        row(if is_upper { at.saturating_sub(1) } else { (at + 1).min(down - 1) })
    };
    let (by, rows_by) = (usize::from(most.0 / horizontal), usize::from(most.1 / vertical));
    let is_smooth_across = by == 2 && across > 2;
    let mut out = Vec::with_capacity(width * height);
    for y in 0..height {
        let at = y / rows_by;
        let is_upper = y % 2 == 0;
        let wide: Cow<[u8]> = match (by, rows_by) {
            (1, 1) => row(at).into(),
            (1, 2) => {
                between_rows(row(at), neighbour(at, is_upper), 1 + u16::from(!is_upper)).into()
            }
            (2, 1) if is_smooth_across => between_columns(row(at)).into(),
            (2, 2) if is_smooth_across => between_both(row(at), neighbour(at, is_upper)).into(),
            _ => row(at).iter().flat_map(|&it| std::iter::repeat_n(it, by)).collect(),
        };
        out.extend_from_slice(&wide[..width]);
    }
    Ok(out)
}

/// Between two rows, three times nearer to the first (`h1v2_fancy_upsample`).
fn between_rows(near: &[u8], far: &[u8], bias: u16) -> Vec<u8> {
    let weighted = |(&near, &far): (&u8, &u8)| (3 * u16::from(near) + u16::from(far) + bias) >> 2;
    near.iter().zip(far).map(|pair| weighted(pair) as u8).collect()
}

/// Twice as many columns, each three times nearer to one of its neighbours (`h2v1_fancy_upsample`).
fn between_columns(row: &[u8]) -> Vec<u8> {
    let sums: Vec<u16> = row.iter().map(|&it| it.into()).collect();
    double(&sums, |near, far, is_left| (3 * near + far + 1 + u16::from(!is_left)) >> 2, |it| it)
}

/// Between two rows and between columns (`h2v2_fancy_upsample`).
fn between_both(near: &[u8], far: &[u8]) -> Vec<u8> {
    let sums = near.iter().zip(far).map(|(&near, &far)| 3 * u16::from(near) + u16::from(far));
    let sums: Vec<u16> = sums.collect();
    let inner = |near, far, is_left| (3 * near + far + 7 + u16::from(is_left)) >> 4;
    let mut row = double(&sums, inner, |it| (4 * it + 8) >> 4);
    if let (Some(last), Some(sum)) = (row.last_mut(), sums.last()) {
        *last = ((4 * sum + 7) >> 4) as u8;
    }
    row
}

/// Two samples from each: `inner` of it and of its left or right neighbour, or `outer` of it at an
/// end of the row.
fn double(
    row: &[u16],
    inner: impl Fn(u16, u16, bool) -> u16,
    outer: impl Fn(u16) -> u16,
) -> Vec<u8> {
    let sample = |at: usize, is_left: bool| {
        let neighbour = if is_left { at.checked_sub(1) } else { Some(at + 1) };
        let neighbour = neighbour.and_then(|at| row.get(at));
        neighbour.map_or_else(|| outer(row[at]), |&far| inner(row[at], far, is_left)) as u8
    };
    (0..row.len()).flat_map(|at| [sample(at, true), sample(at, false)]).collect()
}

fn convert(planes: &[Vec<u8>], colors: ColorSpace, image: &mut RgbImage) -> Result<(), JpegError> {
    let pixels = image.pixels_mut().enumerate();
    match (colors, planes) {
        (ColorSpace::Rgb, [red, green, blue]) => {
            pixels.for_each(|(at, to)| to.0 = [red[at], green[at], blue[at]]);
        }
        (ColorSpace::YCbCr, [y, cb, cr]) => {
            pixels.for_each(|(at, to)| to.0 = ycc_to_rgb(y[at], cb[at], cr[at]));
        }
        (ColorSpace::Cmyk, [cyan, magenta, yellow, black]) => {
            let inks = |at: usize| [cyan[at], magenta[at], yellow[at], black[at]];
            pixels.for_each(|(at, to)| to.0 = cmyk_to_rgb(inks(at)));
        }
        (ColorSpace::Ycck, [y, cb, cr, black]) => pixels.for_each(|(at, to)| {
            let [cyan, magenta, yellow] = ycc_to_rgb(y[at], cb[at], cr[at]).map(|it| 255 - it);
            to.0 = cmyk_to_rgb([cyan, magenta, yellow, black[at]]);
        }),
        _ => return Err(JpegError::Unsupported("an unusual number of components".to_owned())),
    }
    Ok(())
}

/// `ycc_rgb_convert` of jdcolor.c, in 16 bits behind the point.
fn ycc_to_rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = y + ((91_881 * cr + HALF) >> 16);
    let green = y + ((-22_554 * cb - 46_802 * cr + HALF) >> 16);
    let blue = y + ((116_130 * cb + HALF) >> 16);
    [red, green, blue].map(|channel| channel.clamp(0, 255) as u8)
}
