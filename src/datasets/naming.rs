//! Reads class and split off the path that a file came under: in an archive, or as an upload's
//! file name. Pure; nothing is ever written to such a path.
//!
//! Read are `<split>/<class>/*`, `<class>/*` and flat names such as `cat.0.jpg`, behind any
//! leading folders (`dogs-vs-cats/train/cat/1.jpg`, Kaggle's `train/cat.0.jpg`), without regard
//! to case. The folder nearest the file wins, and a folder over a file's own name.

use super::report::Rejection;
use crate::domain::dataset::{Classes, Split};

/// Characters of a path that are kept for people to find an image again.
const MAX_SHOWN: usize = 255;

/// What a path says.
#[derive(Debug)]
pub struct Reading {
    /// The split it names, if it names one.
    pub split: Option<Split>,
    /// The index of the class it names, or why there is none.
    pub label: Result<usize, Rejection>,
}

/// Reads `path` with the names of `classes`.
#[must_use]
pub fn read(path: &str, classes: &Classes) -> Reading {
    let mut folders: Vec<&str> = components(path).collect();
    let file = folders.pop().unwrap_or_default();
    let split = folders.iter().rev().find_map(|folder| split_of(folder));
    let of_folder = || folders.iter().rev().find_map(|folder| classes.index_of(folder));
    let label = of_folder().or_else(|| label_of_file(file, classes)).ok_or_else(|| {
        let parent = folders.last().filter(|folder| split_of(folder).is_none());
        match parent.copied().or_else(|| class_like_prefix(file)) {
            Some(name) => Rejection::unknown_label(name, classes),
            None => Rejection::Unlabelled { example: example(classes) },
        }
    });
    Reading { split, label }
}

/// Whether `path` leaves the folder it is in: it is absolute, or has a `..`.
#[must_use]
pub fn is_unsafe(path: &str) -> bool {
    let drive = path.as_bytes().get(1) == Some(&b':') && path.as_bytes()[0].is_ascii_alphabetic();
    path.starts_with(['/', '\\']) || drive || components(path).any(|component| component == "..")
}

/// Whether `path` is something that operating systems leave in folders and nobody means to send.
#[must_use]
pub fn is_noise(path: &str) -> bool {
    let noise = |component: &str| {
        component == "__MACOSX"
            || component.starts_with('.') && component != ".."
            || component.eq_ignore_ascii_case("thumbs.db")
            || component.eq_ignore_ascii_case("desktop.ini")
    };
    path.ends_with(['/', '\\']) || components(path).any(noise)
}

/// `path` as it is shown: one kind of slash, no control characters, at most 255 characters, of
/// which the last ones say most.
#[must_use]
pub fn shown(path: &str) -> String {
    let joined = components(path).collect::<Vec<_>>().join("/");
    let clean: Vec<char> =
        joined.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect();
    clean[clean.len().saturating_sub(MAX_SHOWN)..].iter().collect()
}

fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split(['/', '\\']).filter(|component| !matches!(*component, "" | "."))
}

fn split_of(folder: &str) -> Option<Split> {
    match folder.to_ascii_lowercase().as_str() {
        "train" | "training" => Some(Split::Train),
        "validation" | "valid" | "val" => Some(Split::Validation),
        "test" | "testing" => Some(Split::Test),
        _ => None,
    }
}

/// The class whose name `file` begins with, up to a dot or to a number: `cat.0.jpg`, `cat_12.png`.
/// The longest such name, as one class may begin like another.
fn label_of_file(file: &str, classes: &Classes) -> Option<usize> {
    let begins = |name: &str| {
        let head = file.get(..name.len()).filter(|head| head.eq_ignore_ascii_case(name))?;
        let rest = &file[head.len()..];
        let numbered = rest.strip_prefix(['_', '-']).is_some_and(|number| {
            let number = number.split('.').next().unwrap_or_default();
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        });
        (rest.starts_with('.') || numbered).then_some(name.len())
    };
    classes
        .names()
        .iter()
        .enumerate()
        .filter_map(|(index, name)| Some((begins(name)?, index)))
        .max_by_key(|(length, _)| *length)
        .map(|(_, index)| index)
}

/// The word in front of a number, as in `bird.7.jpg`: meant as a class, it seems.
fn class_like_prefix(file: &str) -> Option<&str> {
    let mut parts = file.split('.');
    let word = parts.next().filter(|word| word.chars().all(char::is_alphabetic))?;
    let number = parts.next()?;
    parts.next()?;
    (!word.is_empty() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
        .then_some(word)
}

fn example(classes: &Classes) -> String {
    classes.name(0).map_or_else(|| "class".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn label(path: &str) -> Result<usize, &'static str> {
        read(path, &Classes::default()).label.map_err(|rejection| rejection.code())
    }

    fn split(path: &str) -> Option<Split> {
        read(path, &Classes::default()).split
    }

    #[test]
    fn every_layout_is_read() {
        let layouts = [
            ("train/cat/x.jpg", 0, Some(Split::Train)),
            ("val/dog/x.jpg", 1, Some(Split::Validation)),
            ("valid/dog/x.jpg", 1, Some(Split::Validation)),
            ("Validation/Dog/x.JPG", 1, Some(Split::Validation)),
            ("TESTING/CAT/deep/er/x.jpg", 0, Some(Split::Test)),
            ("cat/x.jpg", 0, None),
            ("dog.7.jpg", 1, None),
            ("train/cat.0.jpg", 0, Some(Split::Train)),
            ("dogs-vs-cats/train/cat/1.jpg", 0, Some(Split::Train)),
            ("./a/b/test/dog/1.jpg", 1, Some(Split::Test)),
            ("cats_and_dogs_filtered/train/cats/cat.0.jpg", 0, Some(Split::Train)),
            ("cat/train/1.jpg", 0, Some(Split::Train)),
            ("photos\\training\\dog\\1.jpg", 1, Some(Split::Train)),
            ("dog/cat.0.jpg", 1, None),
            ("cat.jpg", 0, None),
            ("cat_0012.jpg", 0, None),
            ("DOG-3.png", 1, None),
            ("test/train/cat/1.jpg", 0, Some(Split::Train)),
        ];
        for (path, expected_label, expected_split) in layouts {
            assert_eq!(label(path), Ok(expected_label), "{path}");
            assert_eq!(split(path), expected_split, "{path}");
        }
    }

    #[test]
    fn a_path_that_names_no_class_says_so() {
        for path in ["x.jpg", "IMG_1234.jpg", "train/x.jpg", "catalogue.jpg", "cat-alogue.jpg", ""]
        {
            assert_eq!(label(path), Err("unlabelled"), "{path}");
        }
        for path in
            ["bird/x.jpg", "train/bird/x.jpg", "bird.0.jpg", "train/bird.0.jpg", "test1/1.jpg"]
        {
            assert_eq!(label(path), Err("unknown_label"), "{path}");
        }
    }

    #[test]
    fn of_two_classes_that_begin_alike_the_longer_is_meant() {
        let names = ["great", "great.dane"].map(|name| name.parse().unwrap());
        let classes = Classes::new(names.into()).unwrap();
        assert_eq!(read("great.dane.0.jpg", &classes).label.ok(), Some(1));
        assert_eq!(read("great.0.jpg", &classes).label.ok(), Some(0));
    }

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

    #[test]
    fn what_nobody_means_to_send_is_noise() {
        for path in
            ["__MACOSX/cat/._1.jpg", "cat/.DS_Store", "Thumbs.db", "cat/._1.jpg", ".git/x", "cat/"]
        {
            assert!(is_noise(path), "{path}");
        }
        for path in ["cat/1.jpg", "./cat/1.jpg", "../cat/1.jpg"] {
            assert!(!is_noise(path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_shown_within_bounds(path in any::<String>()) {
            let _ = (read(&path, &Classes::default()), is_unsafe(&path), is_noise(&path));
            let shown = shown(&path);
            prop_assert!(shown.chars().count() <= MAX_SHOWN && !shown.chars().any(char::is_control));
        }
    }
}
