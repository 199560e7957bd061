//! JPEGs much larger than needed, decoded to half their width and height.
//!
//! A block of 8 × 8 pixels is stored as frequencies; leaving out the higher half gives a block of
//! 4 × 4 without computing the 64. zune-jpeg can't do this, so jpeg-decoder does, for the files
//! that most cameras write: baseline, one scan, grey or YCbCr. Any other file, and any that it
//! refuses, is zune-jpeg's.
//!
//! Decoding and resizing to 180 × 180 in one thread is 1.3 to 1.5 times as fast at 4 megapixels,
//! 1.4 to 1.7 times at 8 and 1.6 to 2.1 times at 12; the more so the fewer bytes a pixel takes.
//! A quarter would be up to 2.6 times as fast, but moved probabilities by more than 0.01, and
//! jpeg-decoder rounds an eighth down.

use std::panic::{AssertUnwindSafe, catch_unwind};

use image::RgbImage;
use jpeg_decoder::{ColorTransform, Decoder};
use zune_jpeg::zune_core::colorspace::ColorSpace;

use super::{Header, padding::padded};

/// Pixels, and how many of them, across and down, are of the photo: where that is not whole, the
/// rest of the last column or row is not.
type Shrunk = (RgbImage, (f64, f64));

/// Decodes to half the size, not turned. Nothing where that is less than `least`, and where it
/// can't be done strictly. `bytes` is free of junk between its segments.
pub(super) fn decode(
    bytes: &[u8],
    header: &Header,
    colorspace: Option<ColorSpace>,
    least: (u32, u32),
) -> Option<Shrunk> {
    let size = (f64::from(header.width) / 2.0, f64::from(header.height) / 2.0);
    if size.0 < f64::from(least.0) || size.1 < f64::from(least.1) {
        return None;
    }
    let (transform, is_grey) = match colorspace? {
        ColorSpace::YCbCr => (ColorTransform::YCbCr, false),
        ColorSpace::Luma => (ColorTransform::Grayscale, true),
        _ => return None,
    };
    let (width, height) = (header.width.div_ceil(2), header.height.div_ceil(2));
    // A panic costs no more than another try, by the decoder that says what is wrong.
    let pixels = || pixels(&padded(bytes)?, transform, width, height);
    let pixels = catch_unwind(AssertUnwindSafe(pixels)).ok().flatten()?;
    let pixels = if is_grey { spread(&pixels) } else { pixels };
    Some((RgbImage::from_raw(width, height, pixels)?, size))
}

fn pixels(bytes: &[u8], transform: ColorTransform, width: u32, height: u32) -> Option<Vec<u8>> {
    let (width, height) = (u16::try_from(width).ok()?, u16::try_from(height).ok()?);
    let mut decoder = Decoder::new(bytes);
    decoder.set_color_transform(transform);
    let scaled = decoder.scale(width, height).ok()?;
    if scaled != (width, height) {
        return None;
    }
    decoder.decode().ok()
}

fn spread(grey: &[u8]) -> Vec<u8> {
    grey.iter().flat_map(|&grey| [grey; 3]).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{open, walk},
        *,
    };
    use crate::vision::Limits;

    fn fixture(name: &str) -> Vec<u8> {
        let path = format!("{}/tests/fixtures/{name}.jpg", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).unwrap()
    }

    fn shrunk(bytes: &[u8], least: (u32, u32)) -> Option<Shrunk> {
        let bytes = walk(bytes).ok()?.bytes;
        let (decoder, header) = open(&bytes).ok()?;
        decode(&bytes, &header, decoder.input_colorspace(), least)
    }

    #[test]
    fn half_the_size_is_taken_where_that_is_enough_in_both_directions() {
        // 61 × 43 pixels.
        let file = fixture("restart");
        for (least, is_enough) in [((30, 21), true), ((31, 21), false), ((30, 22), false)] {
            let shrunk = shrunk(&file, least);
            let shrunk = shrunk.map(|(image, size)| (image.dimensions(), size));
            let expected = is_enough.then_some(((31, 22), (30.5, 21.5)));
            assert_eq!(shrunk, expected, "{least:?}");
        }
    }

    #[test]
    fn what_may_not_come_out_alike_is_left_to_the_other_decoder() {
        for (name, is_shrunk) in [
            ("restart", true),
            ("grey_adobe", true),
            ("junk", true),
            ("exif_6", true),
            ("cmyk", false),
            ("ycck", false),
            ("progressive", false),
        ] {
            assert_eq!(shrunk(&fixture(name), (4, 4)).is_some(), is_shrunk, "{name}");
        }
    }

    #[test]
    fn data_that_is_missing_anywhere_is_noticed() {
        for name in ["restart", "grey_adobe", "exif_6"] {
            let file = fixture(name);
            let data = file.windows(2).rposition(|pair| pair == [0xFF, 0xDA]).unwrap() + 14;
            for at in data..file.len() - 2 {
                for length in 1..(file.len() - 2 - at).min(40) {
                    let damaged = [&file[..at], &file[at + length..]].concat();
                    if super::super::decode(&damaged, &Limits::default(), None).is_err() {
                        assert!(shrunk(&damaged, (4, 4)).is_none(), "{name}: {length} at {at}");
                    }
                }
            }
        }
    }
}
