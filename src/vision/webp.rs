//! The metadata of a WebP, whose pixels the `image` crate decodes.

/// The chunks of EXIF and of XMP, the first of each.
pub(super) fn metadata(bytes: &[u8]) -> (Option<&[u8]>, Option<&[u8]>) {
    let (mut exif, mut xmp) = (None, None);
    let mut rest = bytes.get(12..).unwrap_or_default();
    while let Some((name, length)) =
        rest.first_chunk::<4>().zip(rest.get(4..).and_then(<[u8]>::first_chunk))
    {
        let length = u32::from_le_bytes(*length) as usize;
        let Some(data) = rest.get(8..).and_then(|data| data.get(..length)) else { break };
        match name {
            b"EXIF" => exif = exif.or(Some(data)),
            b"XMP " => xmp = xmp.or(Some(data)),
            _ => {}
        }
        // Chunks have an even length.
        rest = rest.get(8 + length + length % 2..).unwrap_or_default();
    }
    (exif, xmp)
}
