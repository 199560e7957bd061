//! Layouts of real uploads to open datasets, one upload each.

use super::*;
use crate::datasets::{
    AssignmentRule, LabelSource,
    layout::{Assignment, PathDecision},
};

const TRAIN: Option<Split> = Some(Split::Train);
const TEST: Option<Split> = Some(Split::Test);

fn classes(names: &[&str]) -> Classes {
    Classes::of_dataset(names.iter().map(|name| name.parse().unwrap()).collect()).unwrap()
}

/// Class and split of a file, or the code of why there are none.
type Expected<'a> = Result<(&'a str, Option<Split>), &'a str>;

#[track_caller]
fn check_as(labels: LabelSource, known: &[&str], upload: &[(&str, Expected)]) {
    // Neither the order of the files nor that of the sets matters.
    for backwards in [false, true] {
        let mut layout = Layout::new(&classes(known), true);
        let mut paths: Vec<&str> = upload.iter().map(|(path, _)| *path).collect();
        if backwards {
            paths.reverse();
        }
        paths.iter().for_each(|path| layout.observe(path));
        let rule = AssignmentRule { labels, ..AssignmentRule::default() };
        for (path, expected) in upload {
            let found = layout.assign(path, &rule);
            let found = match &found {
                PathDecision::Accept(Assignment { label, split }) => {
                    Ok((&**label.as_ref().unwrap(), *split))
                }
                PathDecision::Reject(rejection) => Err(rejection.code()),
                PathDecision::Ignore => Err("ignored"),
            };
            assert_eq!(found, *expected, "{path}");
        }
    }
}

#[track_caller]
fn check(known: &[&str], upload: &[(&str, Expected)]) {
    check_as(LabelSource::Folders, known, upload);
}

const fn all(class: &str) -> Expected<'_> {
    Ok((class, None))
}

#[test]
fn folders_make_the_classes() {
    check(&[], &[("rose/1.jpg", all("rose")), ("Tulip/2.jpg", all("Tulip"))]);
    check(
        &[],
        &[
            ("train/rose/1.jpg", Ok(("rose", TRAIN))),
            ("test/rose/2.jpg", Ok(("rose", TEST))),
            ("test/tulip/3.jpg", Ok(("tulip", TEST))),
        ],
    );
    check(
        &[],
        &[("rose/train/1.jpg", Ok(("rose", TRAIN))), ("tulip/test/2.jpg", Ok(("tulip", TEST)))],
    );
    check(
        &[],
        &[("rose/train/1.jpg", Ok(("rose", TRAIN))), ("rose/test/2.jpg", Ok(("rose", TEST)))],
    );
    check(
        &[],
        &[
            ("pets_train/parrot/1.jpg", Ok(("parrot", TRAIN))),
            ("pets_test/hamster/2.jpg", Ok(("hamster", TEST))),
        ],
    );
}

#[test]
fn what_wraps_everything_is_no_class() {
    check(
        &[],
        &[
            ("flowers/rose/1.jpg", all("rose")),
            ("flowers/tulip/red/2.jpg", all("tulip")),
            ("flowers/LICENSE.txt", Err("unlabelled")),
            ("README.md", Err("unlabelled")),
            ("flowers/cover.jpg", Err("unlabelled")),
            ("__MACOSX/flowers/._1.jpg", Err("ignored")),
        ],
    );
    check(
        &[],
        &[
            ("a/flowers/train/rose/1.jpg", Ok(("rose", TRAIN))),
            ("a/flowers/test/rose/2.jpg", Ok(("rose", TEST))),
        ],
    );
    check(&[], &[(".flowers/rose/1.jpg", all("rose")), (".flowers/tulip/1.jpg", all("tulip"))]);
    check(&[], &[("rose/1.jpg", all("rose"))]);
    check(&[], &[("flowers/rose/1.jpg", all("rose")), ("flowers/rose/2.jpg", all("rose"))]);
}

#[test]
fn nested_folders_belong_to_the_first() {
    check(
        &[],
        &[
            ("rose/red/1.jpg", all("rose")),
            ("rose/2.jpg", all("rose")),
            ("rose/white/old/3.jpg", all("rose")),
            ("tulip/4.jpg", all("tulip")),
        ],
    );
    check(&[], &[("rose/1.jpg", all("rose")), ("rose/red/2.jpg", all("rose"))]);
    // Alone, the first folder could as well be that of a whole dataset; unless it is known.
    check(&["rose"], &[("rose/red/1.jpg", all("rose")), ("rose/white/2.jpg", all("rose"))]);
    check(&[], &[("rose/red/1.jpg", all("red")), ("rose/white/2.jpg", all("white"))]);
}

#[test]
fn spellings_are_one_class_and_known_classes_go_first() {
    check(&[], &[("Rose/1.jpg", all("Rose")), ("rose/2.jpg", all("Rose")), ("x/3.jpg", all("x"))]);
    check(
        &["great dane", "rose"],
        &[
            ("ROSE/1.jpg", all("rose")),
            ("Roses/2.jpg", all("Roses")),
            ("Great_Danes/3.jpg", all("Great_Danes")),
            ("tulips/4.jpg", all("tulips")),
        ],
    );
    check(&["cat"], &[("train_cats/1.jpg", Ok(("cat", TRAIN)))]);
}

#[test]
fn cats_and_dogs_need_no_exact_folders() {
    check(&[], &[("cats/1.jpg", all("cat")), ("Dogs/2.jpg", all("dog"))]);
    check(&[], &[("train/Cats/1.jpg", Ok(("cat", TRAIN))), ("test/dog/2.jpg", Ok(("dog", TEST)))]);
    check(&["cat"], &[("DOGS/2.jpg", all("dog"))]);
    check(&[], &[("cats/cat.1.jpg", all("cat")), ("cats/cat.2.jpg", all("cat"))]);
    check(&[], &[("cats/1.jpg", all("cats")), ("birds/2.jpg", all("birds"))]);
    check(&["bird"], &[("cats/1.jpg", all("cats"))]);
}

#[test]
fn file_names_make_classes_of_cats_and_dogs_alone() {
    check(&[], &[("cat.0.jpg", all("cat")), ("dog.1.jpg", all("dog"))]);
    check(&[], &[("train/cat.0.jpg", Ok(("cat", TRAIN))), ("notes.txt", Err("unlabelled"))]);
    check(&[], &[("all/cat.0.jpg", all("cat")), ("all/dog.1.jpg", all("dog"))]);
    check(&[], &[("cat.0.jpg", Err("unlabelled")), ("bird.1.jpg", Err("unlabelled"))]);
    check(&[], &[("IMG_1.jpg", Err("unlabelled"))]);
    // What is rejected anyway does not count.
    check(
        &[],
        &[
            ("dogs-vs-cats/train/cat.0.jpg", Ok(("cat", TRAIN))),
            ("dogs-vs-cats/train/dog.0.jpg", Ok(("dog", TRAIN))),
            ("dogs-vs-cats/test1/1.jpg", Err("unlabelled")),
        ],
    );
    check(&["rose", "tulip"], &[("rose.1.jpg", all("rose")), ("lily.1.jpg", Err("unlabelled"))]);
}

#[test]
fn file_names_make_any_class_on_request() {
    check_as(
        LabelSource::Names,
        &["rose"],
        &[
            ("great_dane_12.jpg", all("great_dane")),
            ("any/Rose 7.JPG", all("rose")),
            ("tulip.7.jpg", all("tulip")),
            ("lily (3).png", all("lily")),
            ("daisy12.webp", all("daisy")),
            ("rose.jpg", all("rose")),
            ("cover.jpg", Err("unlabelled")),
            ("2024_07.jpg", Err("unlabelled")),
        ],
    );
}

#[test]
fn what_can_be_no_class_is_rejected() {
    let long = format!("{}/1.jpg", "a".repeat(101));
    check(&[], &[(&long, Err("invalid_label")), ("玫瑰 花/2.jpg", all("玫瑰 花"))]);
    check(
        &[],
        &[
            ("train/rose/1.jpg", Ok(("rose", TRAIN))),
            ("train/tulip/2.jpg", Ok(("tulip", TRAIN))),
            ("extra/lily/3.jpg", Err("unknown_split")),
            ("../x/4.jpg", Err("unsafe_path")),
        ],
    );
}
