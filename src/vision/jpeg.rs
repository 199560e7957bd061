//! JPEG, decoded strictly.
//!
//! The `image` crate decodes JPEG in zune-jpeg's lenient mode, which paints what is missing of a
//! damaged file in grey and reports success: a half grey cat would be learned from. So the same
//! decoder is called here in its strict mode, after the file was walked from marker to marker:
//! only a file that reaches its end-of-image marker is whole. Nor does the decoder mind that the
//! data stops short of that marker; `padding` makes it.

mod padding;
mod shrunk;

use std::borrow::Cow;

use image::{RgbImage, metadata::Orientation};
use zune_jpeg::{
    JpegDecoder,
    errors::DecodeErrors,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use super::decode::{DecodeError, Limits, Photo, stored};

/// Size as it is stored, and how it is to be turned.
pub(super) struct Header {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) orientation: Orientation,
}

type Decoder<'a> = JpegDecoder<ZCursor<&'a [u8]>>;

/// Reads what stands before the pixels.
pub(super) fn header(bytes: &[u8]) -> Result<Header, DecodeError> {
    open(&walk(bytes)?.bytes).map(|(_, header)| header)
}

/// Decodes to pixels as they are stored, not yet turned. There may be fewer than the file has,
/// where it is said how many there must be at `least`, across and down, when it is upright.
pub(super) fn decode(
    bytes: &[u8],
    limits: &Limits,
    least: Option<(u32, u32)>,
) -> Result<Photo, DecodeError> {
    let Walked { bytes, is_single_progressive_scan } = walk(bytes)?;
    let (decoder, header) = open(&bytes)?;
    limits.check(header.width, header.height)?;
    let orientation = header.orientation;
    let least = least.map(|(width, height)| stored(width, height, orientation));
    let colorspace = decoder.input_colorspace();
    let shrunk = least.and_then(|least| shrunk::decode(&bytes, &header, colorspace, least));
    if let Some((image, size)) = shrunk {
        return Ok(Photo { image, size, orientation });
    }
    let bytes =
        if is_single_progressive_scan { bytes } else { padding::padded_at_end(&bytes).into() };
    let (mut decoder, _) = open(&bytes)?;
    let mut image = RgbImage::new(header.width, header.height);
    decoder.decode_into(&mut image).map_err(error)?;
    Ok(Photo::whole(image, orientation))
}

fn open(bytes: &[u8]) -> Result<(Decoder<'_>, Header), DecodeError> {
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(error)?;
    let info = decoder.info().ok_or_else(|| DecodeError::corrupt("it has no frame"))?;
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let header = Header {
        width: u32::from(info.width),
        height: u32::from(info.height),
        orientation: orientation.unwrap_or(Orientation::NoTransforms),
    };
    Ok((decoder, header))
}

fn error(error: DecodeErrors) -> DecodeError {
    match error {
        DecodeErrors::Unsupported(_) => {
            DecodeError::UnsupportedFormat("a JPEG that is lossless or arithmetically coded")
        }
        other => DecodeError::corrupt(other),
    }
}

const TRUNCATED: &str = "the file ends before the image does";

/// A file that reaches its end.
struct Walked<'a> {
    /// It, up to there. Junk between the segments of the header, which other decoders skip with a
    /// warning and the strict one refuses, is left out.
    bytes: Cow<'a, [u8]>,
    /// Whether it is progressive, but of one scan: behind that the decoder looks no farther for the
    /// end than it has read ahead.
    is_single_progressive_scan: bool,
}

/// Follows the markers to the end of the image.
fn walk(bytes: &[u8]) -> Result<Walked<'_>, DecodeError> {
    let truncated = || DecodeError::corrupt(TRUNCATED);
    let mut cleaned: Option<Vec<u8>> = None;
    let mut kept_to = 0;
    let mut at = 2;
    let (mut scans, mut is_progressive) = (0, false);
    loop {
        let junk = bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == 0xFF));
        let junk = junk.ok_or_else(truncated)?;
        if junk > 0 && scans == 0 {
            cleaned.get_or_insert_default().extend_from_slice(&bytes[kept_to..at]);
            kept_to = at + junk;
        }
        at += junk;
        // Any number of fill bytes may stand before the marker's own.
        let fill = bytes[at..].iter().take_while(|&&byte| byte == 0xFF).count();
        let marker = *bytes.get(at + fill).ok_or_else(truncated)?;
        at += fill + 1;
        match marker {
            0xD9 if scans > 0 => break,
            0xD9 => return Err(DecodeError::corrupt("it ends before its first scan")),
            // Stuffed zeros, markers without data, restarts.
            0x00 | 0x01 | 0xD0..=0xD8 => {}
            _ => {
                let length = bytes.get(at..at + 2).ok_or_else(truncated)?;
                at += usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
                scans += u32::from(marker == 0xDA);
                is_progressive |= marker == 0xC2;
            }
        }
    }
    let bytes = match cleaned {
        Some(mut cleaned) => {
            cleaned.extend_from_slice(&bytes[kept_to..at]);
            Cow::Owned(cleaned)
        }
        None => Cow::Borrowed(&bytes[..at]),
    };
    Ok(Walked { bytes, is_single_progressive_scan: is_progressive && scans == 1 })
}
