//! The paths of files: in an archive, or as an upload's file name. [`super::layout`] reads the
//! class and split from them. Pure; nothing is ever written to such a path.

/// Maximum characters of a path that are kept as an image's file name.
const MAX_SHOWN: usize = 255;

/// Whether `path` leaves its folder: it is absolute, or contains `..`.
#[must_use]
pub fn is_unsafe(path: &str) -> bool {
    let drive = path.as_bytes().get(1) == Some(&b':') && path.as_bytes()[0].is_ascii_alphabetic();
    path.starts_with(['/', '\\']) || drive || components(path).any(|component| component == "..")
}

/// `path` for display: one kind of slash, no control characters, at most its last 255 characters.
#[must_use]
pub fn display_path(path: &str) -> String {
    let joined = components(path).collect::<Vec<_>>().join("/");
    let clean: Vec<char> =
        joined.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect();
    clean[clean.len().saturating_sub(MAX_SHOWN)..].iter().collect()
}

/// Whether a file is named like a photo, of a supported format or not.
#[must_use]
pub fn has_image_name(file: &str) -> bool {
    const EXTENSIONS: [&str; 17] = [
        "jpg", "jpeg", "jpe", "jfif", "png", "gif", "bmp", "webp", "tif", "tiff", "heic", "heif",
        "avif", "jxl", "jp2", "dng", "ppm",
    ];
    file.rsplit_once('.').is_some_and(|(_, extension)| {
        EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension))
    })
}

/// The names of the folders and the file in `path`.
pub(super) fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split(['/', '\\']).filter(|component| !matches!(*component, "" | "."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_that_lead_elsewhere_are_unsafe() {
        for path in ["/etc/passwd", "\\x", "C:\\x.jpg", "c:x.jpg", "../x", "a/../../x", "a\\..\\x"]
        {
            assert!(is_unsafe(path), "{path}");
        }
        for path in ["a/b.jpg", "./a.jpg", "a/..b/c.jpg", "a..jpg"] {
            assert!(!is_unsafe(path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_shown_within_bounds(path in any::<String>()) {
            let _ = is_unsafe(&path);
            let shown = display_path(&path);
            prop_assert!(shown.chars().count() <= MAX_SHOWN && !shown.chars().any(char::is_control));
        }
    }
}
