//! Detects image formats by their first bytes; file names and declared media types are never
//! trusted.

use super::error::DecodeError;

/// A supported image format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// JPEG: baseline or progressive; grey, YCbCr, RGB, CMYK or YCCK.
    Jpeg,
    /// PNG.
    Png,
    /// WebP; of an animation, the first frame.
    WebP,
    /// GIF; of an animation, the first frame.
    Gif,
    /// Windows bitmap.
    Bmp,
}

impl Format {
    /// Its media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
            Self::Gif => "image/gif",
            Self::Bmp => "image/bmp",
        }
    }

    /// The format of `bytes`, by their beginning.
    ///
    /// # Errors
    /// No bytes, or another format, which is named if it is known.
    pub fn sniff(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.is_empty() {
            return Err(DecodeError::Empty);
        }
        // Stray bytes may precede the next marker.
        if bytes.starts_with(b"\xFF\xD8") {
            Ok(Self::Jpeg)
        } else if bytes.starts_with(b"\x89PNG\r\n\x1A\n") {
            Ok(Self::Png)
        } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            Ok(Self::WebP)
        } else if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") {
            Ok(Self::Gif)
        } else if is_os2_bmp(bytes) {
            Err(DecodeError::UnsupportedFormat("OS/2 2.x bitmap"))
        } else if is_bmp(bytes) {
            Ok(Self::Bmp)
        } else {
            Err(DecodeError::UnsupportedFormat(name_of_other(bytes)))
        }
    }
}

/// `BM` alone begins many a text; the size of the header that follows is one of a few.
fn is_bmp(bytes: &[u8]) -> bool {
    bytes.starts_with(b"BM")
        && matches!(bytes.get(14..18), Some([12 | 40 | 52 | 56 | 108 | 124, 0, 0, 0]))
}

fn is_os2_bmp(bytes: &[u8]) -> bool {
    bytes.starts_with(b"BM") && matches!(bytes.get(14..18), Some([16 | 64, 0, 0, 0]))
}

/// The common name of an unsupported format.
fn name_of_other(bytes: &[u8]) -> &'static str {
    const MAGIC: [(&[u8], &str); 17] = [
        (b"II*\0", "TIFF"),
        (b"MM\0*", "TIFF"),
        (b"8BPS", "Photoshop document"),
        (b"\xFF\x0A", "JPEG XL"),
        (b"\0\0\0\x0CJXL ", "JPEG XL"),
        (b"\0\0\0\x0CjP  ", "JPEG 2000"),
        (b"\xFF\x4F\xFF\x51", "JPEG 2000"),
        (b"\0\0\x01\0", "Windows icon"),
        (b"v/1\x01", "OpenEXR"),
        (b"qoif", "QOI"),
        (b"%PDF-", "PDF"),
        (b"PK\x03\x04", "zip archive"),
        (b"\x1F\x8B", "gzip"),
        (b"Rar!", "RAR archive"),
        (b"7z\xBC\xAF", "7z archive"),
        (b"\x1A\x45\xDF\xA3", "Matroska or WebM video"),
        (b"RIFF", "RIFF file that is not WebP"),
    ];
    if bytes.get(4..8) == Some(b"ftyp") {
        return match bytes.get(8..12) {
            Some(b"avif" | b"avis") => "AVIF",
            Some(b"heic" | b"heix" | b"hevc" | b"hevx" | b"heim" | b"heis" | b"mif1" | b"msf1") => {
                "HEIC"
            }
            Some(b"crx ") => "Canon raw",
            _ => "video",
        };
    }
    if let Some((_, name)) = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return name;
    }
    name_of_text(&bytes[..bytes.len().min(1024)])
}

fn name_of_text(head: &[u8]) -> &'static str {
    let text = String::from_utf8_lossy(head)
        .trim_start_matches(['\u{FEFF}', ' ', '\n', '\r', '\t'])
        .to_lowercase();
    if text.starts_with("<svg") || (text.starts_with("<?xml") && text.contains("<svg")) {
        "SVG"
    } else if text.starts_with("<!doctype html") || text.starts_with("<html") {
        "HTML page"
    } else if head.iter().all(|&byte| byte >= 0x20 || matches!(byte, b'\n' | b'\r' | b'\t')) {
        "text"
    } else {
        "unknown"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        let mut bmp = b"BM\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
        bmp.extend([40, 0, 0, 0]);
        let known: [(&[u8], Format); 6] = [
            (b"\xFF\xD8\xFF\xE0", Format::Jpeg),
            (b"\x89PNG\r\n\x1A\n", Format::Png),
            (b"RIFF\0\0\0\0WEBPVP8 ", Format::WebP),
            (b"GIF87a", Format::Gif),
            (b"GIF89a", Format::Gif),
            (&bmp, Format::Bmp),
        ];
        for (bytes, format) in known {
            assert_eq!(Format::sniff(bytes), Ok(format));
        }
    }

    #[test]
    fn formats_that_are_not_read_are_named() {
        let others: [(&[u8], &str); 10] = [
            (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
            (b"\0\0\0\x1Cftypavif\0\0\0\0", "AVIF"),
            (b"II*\0\x08\0\0\0", "TIFF"),
            (b"\xEF\xBB\xBF  <svg xmlns=''>", "SVG"),
            (b"<?xml version='1.0'?><!-- x --><svg>", "SVG"),
            (b"<!DOCTYPE html><p>404", "HTML page"),
            (b"PK\x03\x04....", "zip archive"),
            (b"BMW is a car, not a bitmap", "text"),
            (b"just words", "text"),
            (b"\x01\x02\x03\x04", "unknown"),
        ];
        for (bytes, name) in others {
            assert_eq!(Format::sniff(bytes), Err(DecodeError::UnsupportedFormat(name)));
        }
        assert_eq!(Format::sniff(b""), Err(DecodeError::Empty));
    }
}
