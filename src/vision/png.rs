//! What the `image` crate does not check of a PNG: whether it is complete, and the metadata in its
//! text chunks.

use std::{borrow::Cow, io::Read as _};

use flate2::read::ZlibDecoder;

/// What an XMP packet in a JPEG begins with.
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
/// More than any metadata with an orientation.
const MAX_TEXT: u64 = 1 << 20;
/// The keywords of texts that are read.
const KEYWORDS: [&[u8]; 4] = [
    b"XML:com.adobe.xmp",
    b"Raw profile type xmp",
    b"Raw profile type exif",
    b"Raw profile type APP1",
];
/// Maximum texts that are read of a file; further ones are skipped.
const MAX_TEXTS: usize = 8;

/// Name and data of each chunk, up to the first that is cut short.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    let mut rest = bytes.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = u32::from_be_bytes(*rest.first_chunk()?) as usize;
        let name = rest.get(4..)?.first_chunk()?;
        let data = rest.get(8..)?.get(..length)?;
        // A checksum follows the data.
        rest = rest.get(length.checked_add(12)?..)?;
        Some((name, data))
    })
}

/// Width and height from the first chunk.
pub(super) fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    let (name, data) = chunks(bytes).next()?;
    let (&width, rest) = data.split_first_chunk()?;
    let height = *rest.first_chunk()?;
    (name == b"IHDR").then_some((u32::from_be_bytes(width), u32::from_be_bytes(height)))
}

/// Bits of a sample.
pub(super) fn bit_depth(bytes: &[u8]) -> Option<u8> {
    let (name, data) = chunks(bytes).next()?;
    data.get(8).copied().filter(|_| name == b"IHDR")
}

/// Whether the chunks run on to `IEND`. A decoder stops at the last row; a file that was cut after
/// it, or between two chunks, would pass unnoticed.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    chunks(bytes).any(|(name, _)| name == b"IEND")
}

/// Metadata, borrowed from the file or extracted from a text chunk.
type Block<'a> = Option<Cow<'a, [u8]>>;

/// EXIF and XMP: of the chunk `eXIf`, of the texts in which ImageMagick and exiftool put them, and
/// of Adobe's `XML:com.adobe.xmp`.
pub(super) fn metadata(bytes: &[u8]) -> (Block<'_>, Block<'_>) {
    let (mut exif, mut raw_exif, mut xmp) = (None, None, None);
    let mut texts = 0;
    for (name, data) in chunks(bytes) {
        if name == b"eXIf" {
            exif = exif.or(Some(Cow::Borrowed(data)));
            continue;
        }
        if texts == MAX_TEXTS {
            continue;
        }
        let Some((keyword, text)) = text(name, data) else { continue };
        texts += 1;
        match keyword {
            b"XML:com.adobe.xmp" => xmp = xmp.or(Some(text)),
            b"Raw profile type xmp" => xmp = xmp.or_else(|| raw_profile(&text)),
            b"Raw profile type exif" => raw_exif = raw_exif.or_else(|| raw_profile(&text)),
            // What was a segment of a JPEG, of either kind.
            b"Raw profile type APP1" => match raw_profile(&text) {
                Some(segment) if segment.starts_with(XMP) => {
                    xmp = xmp.or_else(|| Some(Cow::Owned(segment[XMP.len()..].to_vec())));
                }
                segment => raw_exif = raw_exif.or(segment),
            },
            _ => {}
        }
    }
    (exif.or(raw_exif), xmp)
}

/// Keyword and text of a text chunk.
fn text<'a>(name: &[u8; 4], data: &'a [u8]) -> Option<(&'a [u8], Cow<'a, [u8]>)> {
    if !matches!(name, b"tEXt" | b"zTXt" | b"iTXt") {
        return None;
    }
    let (keyword, rest) = split_at_nul(data)?;
    if !KEYWORDS.contains(&keyword) {
        return None;
    }
    match name {
        b"tEXt" => Some((keyword, rest.into())),
        b"zTXt" => Some((keyword, inflate(rest.strip_prefix(&[0])?)?)),
        b"iTXt" => {
            let (&[is_compressed, _method], rest) = rest.split_first_chunk()?;
            let (_language, rest) = split_at_nul(rest)?;
            let (_translated, text) = split_at_nul(rest)?;
            let text = if is_compressed == 0 { text.into() } else { inflate(text)? };
            Some((keyword, text))
        }
        _ => None,
    }
}

fn split_at_nul(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&byte| byte == 0)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

fn inflate(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut text = Vec::new();
    ZlibDecoder::new(bytes).take(MAX_TEXT).read_to_end(&mut text).ok()?;
    Some(text.into())
}

/// The bytes of a text that is a name, a length, and hexadecimal digits in lines.
fn raw_profile(text: &[u8]) -> Option<Cow<'static, [u8]>> {
    let text = text.trim_ascii_start();
    let lines = text.splitn(3, |&byte| byte == b'\n');
    let digits: Vec<u8> = lines
        .last()?
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace() && *byte != 0)
        .collect();
    hex::decode(digits).ok().map(Cow::Owned)
}
