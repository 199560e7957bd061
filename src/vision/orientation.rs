//! The orientation of an image by its metadata: EXIF first, otherwise XMP.
//!
//! Unreadable metadata is ignored, and the image stays as it is stored.

use image::metadata::Orientation;

/// Bytes of an XMP packet that is read: those of cameras and editors have a few thousand. The parser's
/// work grows with the square of an element's attributes.
const MAX_XMP: usize = 64 << 10;
/// The namespace of `tiff:Orientation` in XMP.
const TIFF: &str = "http://ns.adobe.com/tiff/1.0/";

/// The orientation in an EXIF block, otherwise in an XMP packet.
pub(super) fn of(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Orientation {
    exif.and_then(of_exif).or_else(|| xmp.and_then(of_xmp)).unwrap_or(Orientation::NoTransforms)
}

/// Of a TIFF structure, with or without the prefix that it has in JPEGs.
fn of_exif(block: &[u8]) -> Option<Orientation> {
    let tiff = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
    let mut reader = exif::Reader::new();
    // Makers' notes and thumbnails after the orientation are often damaged.
    reader.continue_on_error(true);
    let exif = match reader.read_raw(tiff.to_vec()) {
        Ok(exif) => exif,
        Err(error) => error.distill_partial_result(|_| {}).ok()?,
    };
    let field = exif.get_field(exif::Tag::Orientation, exif::In::PRIMARY)?;
    Orientation::from_exif(u8::try_from(field.value.get_uint(0)?).ok()?)
}

/// Of an XMP packet, which has it as an attribute or as an element.
fn of_xmp(packet: &[u8]) -> Option<Orientation> {
    if packet.len() > MAX_XMP {
        return None;
    }
    let text = std::str::from_utf8(packet).ok()?.trim_matches(['\0', '\u{FEFF}']);
    let document = roxmltree::Document::parse(text).ok()?;
    let found = document.descendants().find_map(|node| {
        let is_element = node.has_tag_name((TIFF, "Orientation"));
        let text = is_element.then(|| node.text()).flatten();
        text.or_else(|| node.attribute((TIFF, "Orientation")))
    });
    Orientation::from_exif(found?.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TIFF structure with a directory of one entry.
    fn exif(is_big_endian: bool, kind: u16, value: &[u8; 4]) -> Vec<u8> {
        let short = |number: u16| {
            if is_big_endian { number.to_be_bytes() } else { number.to_le_bytes() }
        };
        let long = |number: u32| {
            if is_big_endian { number.to_be_bytes() } else { number.to_le_bytes() }
        };
        let mut block = if is_big_endian { b"MM".to_vec() } else { b"II".to_vec() };
        block.extend(short(42));
        block.extend(long(8));
        for number in [1, 0x0112, kind] {
            block.extend(short(number));
        }
        block.extend(long(1));
        block.extend(value);
        block.extend(long(0));
        block
    }

    #[test]
    fn exif_is_read_in_either_byte_order_and_of_either_type() {
        let (byte, short, long) = (1, 3, 4);
        for block in [
            exif(true, short, &[0, 6, 0, 0]),
            exif(false, short, &[6, 0, 0, 0]),
            exif(true, long, &[0, 0, 0, 6]),
            exif(false, long, &[6, 0, 0, 0]),
            exif(true, byte, &[6, 0, 0, 0]),
        ] {
            assert_eq!(of(Some(&block), None), Orientation::Rotate90);
            let prefixed = [b"Exif\0\0", &block[..]].concat();
            assert_eq!(of(Some(&prefixed), None), Orientation::Rotate90);
        }
    }

    #[test]
    fn exif_that_is_damaged_or_makes_no_sense_turns_nothing() {
        let block = exif(true, 3, &[0, 6, 0, 0]);
        for length in 0..block.len() - 4 {
            assert_eq!(of(Some(&block[..length]), None), Orientation::NoTransforms, "{length}");
        }
        for value in [[0, 0, 0, 0], [0, 9, 0, 0], [1, 6, 0, 0]] {
            assert_eq!(of(Some(&exif(true, 3, &value)), None), Orientation::NoTransforms);
        }
    }

    #[test]
    fn what_follows_a_readable_orientation_may_be_damaged() {
        let mut block = exif(true, 3, &[0, 8, 0, 0]);
        // A second directory far behind the end.
        let end = block.len();
        block[end - 4..].copy_from_slice(&[0, 0, 0xFF, 0xFF]);
        assert_eq!(of(Some(&block), None), Orientation::Rotate270);
    }

    #[test]
    fn xmp_is_read_as_attribute_and_as_element_where_exif_is_silent() {
        let attribute = r#"<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
            <x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
            <rdf:Description xmlns:t="http://ns.adobe.com/tiff/1.0/" t:Orientation="6"/></rdf:RDF></x:xmpmeta>
            <?xpacket end="w"?>"#;
        let element = r#"<r xmlns:tiff="http://ns.adobe.com/tiff/1.0/"><tiff:Orientation> 3 </tiff:Orientation></r>"#;
        assert_eq!(of(None, Some(attribute.as_bytes())), Orientation::Rotate90);
        assert_eq!(of(None, Some(element.as_bytes())), Orientation::Rotate180);
        let exif = exif(false, 3, &[8, 0, 0, 0]);
        assert_eq!(of(Some(&exif), Some(element.as_bytes())), Orientation::Rotate270);
        for nothing in ["", "<r>", "<r/>", r#"<r xmlns:t="other" t:Orientation="6"/>"#] {
            assert_eq!(of(None, Some(nothing.as_bytes())), Orientation::NoTransforms, "{nothing}");
        }
    }
}
