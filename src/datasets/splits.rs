//! The splits by usual names of folders: `train`, `Training Data`, `val_set`, `test-images`.
//!
//! Development and evaluation sets are read as validation, as in most corpora: `dev` and `eval` are
//! used repeatedly during development. A hold-out set is used at the end, so it is the test split.

use crate::domain::dataset::Split;

const TRAIN: [&str; 3] = ["train", "training", "trn"];
const VALIDATION: [&str; 10] = [
    "val",
    "valid",
    "validate",
    "validation",
    "validating",
    "dev",
    "devel",
    "development",
    "eval",
    "evaluation",
];
const TEST: [&str; 6] = ["test", "tests", "testing", "tst", "holdout", "heldout"];

/// Words beside a split's name that don't change its meaning.
const FILLERS: [&str; 29] = [
    "set",
    "sets",
    "data",
    "dataset",
    "datasets",
    "image",
    "images",
    "img",
    "imgs",
    "photo",
    "photos",
    "pic",
    "pics",
    "picture",
    "pictures",
    "sample",
    "samples",
    "split",
    "splits",
    "subset",
    "partition",
    "part",
    "folder",
    "files",
    "file",
    "examples",
    "jpg",
    "jpeg",
    "png",
];

/// What a folder's name says about a split.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FolderName {
    /// The split it names.
    pub(super) split: Split,
    /// The rest of the name in lower case: empty, or `pets` of `pets_train`. Such a folder is a
    /// split if another one beside it, `pets_test`, has the same rest with another split.
    pub(super) rest: String,
}

/// Reads a folder's name; `None` if it names no split, or more than one.
pub(super) fn parse_folder(folder: &str) -> Option<FolderName> {
    if folder.len() > 255 {
        return None;
    }
    let joined: String =
        folder.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    if let Some(split) = split_of(&joined) {
        return Some(FolderName { split, rest: String::new() });
    }
    let mut words = words(folder);
    // "01_train", "2. Validation": numbered folders.
    if words.len() > 1 && is_number(&words[0]) {
        words.remove(0);
    }
    let mut named = None;
    let mut rest: Vec<&str> = Vec::new();
    let mut words = words.iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        if FILLERS.contains(&word) {
            continue;
        }
        let held = matches!(word, "hold" | "held") && words.next_if_eq(&"out").is_some();
        match if held {
            Some(Split::Test)
        } else {
            split_of(word).or_else(|| split_of_compound(word))
        } {
            Some(split) if named.is_some_and(|named| named != split) => return None,
            Some(split) => named = Some(split),
            None => rest.push(word),
        }
    }
    let rest = match rest[..] {
        // `train1`, `train2` and `test1` are parts of two splits.
        [number] if is_number(number) => "#".to_owned(),
        _ => rest.join(" "),
    };
    Some(FolderName { split: named?, rest })
}

fn split_of(word: &str) -> Option<Split> {
    if TRAIN.contains(&word) {
        Some(Split::Train)
    } else if VALIDATION.contains(&word) {
        Some(Split::Validation)
    } else if TEST.contains(&word) {
        Some(Split::Test)
    } else {
        None
    }
}

/// `trainset`, `valdata`, `imagestest`.
fn split_of_compound(word: &str) -> Option<Split> {
    FILLERS.iter().find_map(|filler| {
        let stem = word.strip_suffix(filler).or_else(|| word.strip_prefix(filler))?;
        split_of(stem)
    })
}

fn is_number(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_digit())
}

/// The words of a name in lower case: `TestImages_2` is `test`, `images`, `2`.
fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut last = ' ';
    for c in name.chars() {
        let turns = last.is_lowercase() && c.is_uppercase()
            || last.is_numeric() != c.is_numeric() && last.is_alphanumeric();
        if (turns || !c.is_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
        last = c;
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_known_however_they_are_written() {
        let train = [
            "train",
            "Train",
            "TRAINING",
            "tRaIn",
            "training_set",
            "train_set",
            "train-set",
            "Training Data",
            "trainset",
            "trainingset",
            "TrainSet",
            "trainData",
            "train_images",
            "images-train",
            "train images",
            "TrainImages",
            "01_train",
            "1. Train",
            "train-split",
            "Training-Set",
            "train.set",
            "set_train",
            "dataset_train",
        ];
        let validation = [
            "val",
            "valid",
            "validate",
            "validation",
            "Validation Set",
            "val_set",
            "valset",
            "dev",
            "dev_set",
            "devset",
            "development",
            "eval",
            "EVAL",
            "evaluation",
            "eval-data",
            "valid_images",
            "validation_data",
            "ValData",
        ];
        let test = [
            "test",
            "testing",
            "Test",
            "test_set",
            "testset",
            "test-images",
            "TestImages",
            "holdout",
            "hold-out",
            "Hold Out",
            "hold_out_set",
            "held-out",
            "holdout_set",
            "Test Data",
            "03 Test",
        ];
        let cases = [
            (Split::Train, &train[..]),
            (Split::Validation, &validation[..]),
            (Split::Test, &test[..]),
        ];
        for (split, names) in cases {
            for name in names {
                let expected = Some(FolderName { split, rest: String::new() });
                assert_eq!(parse_folder(name), expected, "{name}");
            }
        }
    }

    #[test]
    fn other_folders_name_none() {
        for name in [
            "",
            "cat",
            "extra",
            "data",
            "dataset",
            "images",
            "cats_and_dogs_filtered",
            "latest",
            "contest",
            "trained",
            "constraints",
            "devices",
            "evaluated",
            "value",
            "validity",
            "train_test_split",
            "train-val-test",
            "trainval",
            "train_val",
            "greatest",
            "device",
            "protest",
            "restrain",
            "testimony",
        ] {
            assert_eq!(parse_folder(name), None, "{name}");
        }
    }

    #[test]
    fn what_else_a_name_says_is_kept() {
        let rest = |name| parse_folder(name).map(|named| (named.split, named.rest));
        assert_eq!(rest("pets_train"), Some((Split::Train, "pets".to_owned())));
        assert_eq!(rest("train_cats"), Some((Split::Train, "cats".to_owned())));
        assert_eq!(rest("trainA"), Some((Split::Train, "a".to_owned())));
        assert_eq!(rest("val2017"), Some((Split::Validation, "#".to_owned())));
        assert_eq!(rest("test1"), Some((Split::Test, "#".to_owned())));
        let imagenet = Some((Split::Validation, "ilsvrc 2012".to_owned()));
        assert_eq!(rest("ILSVRC2012_img_val"), imagenet);
    }
}
