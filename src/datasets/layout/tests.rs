//! Layouts of real uploads, one upload each.

use proptest::prelude::*;

use super::*;

const TRAIN: Option<Split> = Some(Split::Train);
const VALIDATION: Option<Split> = Some(Split::Validation);
const TEST: Option<Split> = Some(Split::Test);
const CAT: usize = 0;
const DOG: usize = 1;

/// The decisions on the files of one upload.
fn assigned(paths: &[&str]) -> Vec<Result<(usize, Option<Split>), &'static str>> {
    assigned_to(&["cat", "dog"], AssignmentRule::default(), paths)
}

fn assigned_to(classes: &[&str], rule: AssignmentRule, paths: &[&str]) -> Vec<Expected> {
    let names = classes.iter().map(|name| name.parse().unwrap()).collect();
    let classes = Classes::new(names).unwrap();
    let mut layout = Layout::new(&classes, false);
    paths.iter().for_each(|path| layout.observe(path));
    let assign = |path: &&str| match layout.assign(path, &rule) {
        PathDecision::Accept(place) => {
            Ok((classes.index_of(&place.label.unwrap()).unwrap(), place.split))
        }
        PathDecision::Reject(rejection) => Err(rejection.code()),
        PathDecision::Ignore => Err("ignored"),
    };
    paths.iter().map(assign).collect()
}

/// Class and split of a file, or the code of why there are none.
type Expected = Result<(usize, Option<Split>), &'static str>;

#[track_caller]
fn check(upload: &[(&str, Expected)]) {
    let paths: Vec<&str> = upload.iter().map(|(path, _)| *path).collect();
    for ((path, expected), found) in upload.iter().zip(assigned(&paths)) {
        assert_eq!(found, *expected, "{path}");
    }
}

#[test]
fn every_single_layout_is_read() {
    let layouts = [
        ("train/cat/x.jpg", CAT, TRAIN),
        ("val/dog/x.jpg", DOG, VALIDATION),
        ("Validation/Dog/x.JPG", DOG, VALIDATION),
        ("TESTING/CAT/deep/er/x.jpg", CAT, TEST),
        ("cat/x.jpg", CAT, None),
        ("dog.7.jpg", DOG, None),
        ("train/cat.0.jpg", CAT, TRAIN),
        ("dogs-vs-cats/train/cat.0.jpg", CAT, TRAIN),
        ("dogs-vs-cats/train/cat/1.jpg", CAT, TRAIN),
        ("./a/b/test/dog/1.jpg", DOG, TEST),
        ("cats_and_dogs_filtered/train/cats/cat.0.jpg", CAT, TRAIN),
        ("cat/train/1.jpg", CAT, TRAIN),
        ("photos\\training\\dog\\1.jpg", DOG, TRAIN),
        ("dog/cat.0.jpg", DOG, None),
        ("cats/dog.1.jpg", CAT, None),
        ("cat.jpg", CAT, None),
        ("test/train/cat/1.jpg", CAT, TRAIN),
        ("dataset_test/train/cat/1.jpg", CAT, TRAIN),
        ("training_set/training_set/cats/cat.4001.jpg", CAT, TRAIN),
        ("Test Set/Test Set/Dogs/1.jpg", DOG, TEST),
        ("archive/dataset/hold_out/dogs/1.jpg", DOG, TEST),
        ("train_cats/1.jpg", CAT, TRAIN),
        ("dog-test/1.jpg", DOG, TEST),
        ("pets_test/cat/1.jpg", CAT, None),
        ("images/train/dogs/1.jpg", DOG, TRAIN),
        ("train/images/cat.1.jpg", CAT, TRAIN),
        (".pets/train/cat/1.jpg", CAT, TRAIN),
    ];
    for (path, label, split) in layouts {
        assert_eq!(assigned(&[path]), [Ok((label, split))], "{path}");
    }
}

#[test]
fn a_path_that_names_no_class_says_so() {
    for path in ["x.jpg", "IMG_1234.jpg", "train/x.jpg", "pets.jpg/", "a.0", ""] {
        assert_eq!(assigned(&[path]), [Err("unlabelled")], "{path}");
    }
    for path in ["bird/x.jpg", "train/bird/x.jpg", "bird.0.jpg", "train/bird.0.jpg", "test1/1.jpg"]
    {
        assert_eq!(assigned(&[path]), [Err("unknown_label")], "{path}");
    }
}

#[test]
fn a_file_name_counts_only_where_no_folder_names_a_class() {
    check(&[
        ("lab/train/dogs/cat.4031.jpg", Ok((DOG, TRAIN))),
        ("lab/train/cats/IMG_1.jpg", Ok((CAT, TRAIN))),
        ("lab/train/not_sure/cat.99.jpg", Err("unknown_label")),
        ("lab/train/cat.100.jpg", Err("unlabelled")),
        ("lab/not_sure/train/cat.101.jpg", Err("unknown_label")),
    ]);
    check(&[("cat.0.jpg", Err("unlabelled")), ("Dog/1.jpg", Ok((DOG, None)))]);
    check(&[
        ("dogs-vs-cats/train/cat.0.jpg", Ok((CAT, TRAIN))),
        ("dogs-vs-cats/train/dog.0.jpg", Ok((DOG, TRAIN))),
        ("dogs-vs-cats/train/not_sure/cat.1.jpg", Ok((CAT, TRAIN))),
    ]);
    // Ignored files don't count.
    check(&[
        ("cat.0.jpg", Ok((CAT, None))),
        ("__MACOSX/dog/._1.jpg", Err("ignored")),
        (".old/dog/1.jpg", Err("ignored")),
        ("../dog/1.jpg", Err("unsafe_path")),
    ]);
}

#[test]
fn what_is_in_no_split_beside_splits_is_rejected() {
    check(&[
        ("pets/train/cat/1.jpg", Ok((CAT, TRAIN))),
        ("pets/test/cat/2.jpg", Ok((CAT, TEST))),
        ("pets/extra/cat/3.jpg", Err("unknown_split")),
        ("pets/cat/4.jpg", Err("unknown_split")),
        ("pets/extra/5.jpg", Err("unknown_split")),
        ("pets/readme.txt", Err("unlabelled")),
        ("more/dog/6.jpg", Err("unknown_split")),
    ]);
    check(&[
        ("train/cat.0.jpg", Ok((CAT, TRAIN))),
        ("test1/1.jpg", Err("unknown_split")),
        ("cat.1.jpg", Err("unknown_split")),
    ]);
    check(&[("cat/train/1.jpg", Ok((CAT, TRAIN))), ("cat/extra/2.jpg", Err("unknown_split"))]);
    let all = ["train/cat/1.jpg", "extra/cat/2.jpg"];
    let rule = AssignmentRule { split: TEST, ..AssignmentRule::default() };
    assert_eq!(assigned_to(&["cat", "dog"], rule, &all), [Ok((CAT, TEST)), Ok((CAT, TEST))]);
    // Without splits, the content chooses.
    check(&[("extra/cat/1.jpg", Ok((CAT, None))), ("dog/2.jpg", Ok((DOG, None)))]);
}

#[test]
fn the_folder_that_is_no_split_is_named() {
    let mut layout = Layout::new(&Classes::default(), false);
    let all =
        ["a/train/cat/1.jpg", "a/val/cat/1.jpg", "a/extra/cat/1.jpg", "a/cat.jpg", "b/cat/1.jpg"];
    all.iter().for_each(|path| layout.observe(path));
    let said = |path| match layout.assign(path, &AssignmentRule::default()) {
        PathDecision::Reject(rejection) => rejection.to_string(),
        other => format!("{other:?}"),
    };
    for (path, name) in [(all[2], "`extra`"), (all[4], "`b`")] {
        let said = said(path);
        assert!(said.starts_with(name) && said.contains("`train`, `val`"), "{said}");
        assert!(said.contains("split="), "{said}");
    }
    assert!(said("a/cat/../cat.jpg").contains("`..`"));
}

#[test]
fn folders_that_name_splits_among_other_things_are_splits_where_they_stand_together() {
    check(&[
        ("pets_train/cat/1.jpg", Ok((CAT, TRAIN))),
        ("pets_test/cat/2.jpg", Ok((CAT, TEST))),
        ("birds_test/dog/3.jpg", Ok((DOG, TEST))),
    ]);
    check(&[
        ("train_resized/cat/1.jpg", Ok((CAT, TRAIN))),
        ("test_cropped/dog/2.jpg", Ok((DOG, TEST))),
        ("val_small/dog/3.jpg", Ok((DOG, VALIDATION))),
    ]);
    check(&[
        ("train2017/cat/1.jpg", Ok((CAT, TRAIN))),
        ("val2017/cat/2.jpg", Ok((CAT, VALIDATION))),
    ]);
    check(&[("a/my_train/cat/1.jpg", Ok((CAT, None))), ("b/my_test/cat/2.jpg", Ok((CAT, None)))]);
    let found =
        assigned_to(&["A", "B"], AssignmentRule::default(), &["trainA/1.jpg", "testB/2.jpg"]);
    assert_eq!(found, [Ok((0, TRAIN)), Ok((1, TEST))]);
}

#[test]
fn what_lies_beside_splits_within_a_split_is_rejected() {
    check(&[
        ("training_data/train/cat/1.jpg", Ok((CAT, TRAIN))),
        ("training_data/test/dog/2.jpg", Ok((DOG, TEST))),
        ("training_data/extra/cats/3.jpg", Err("unknown_split")),
        ("training_data/cats/4.jpg", Err("unknown_split")),
    ]);
    check(&[
        ("train/train/cat/1.jpg", Ok((CAT, TRAIN))),
        ("train/extra/cat/2.jpg", Err("unknown_split")),
        ("test/test/dog/3.jpg", Ok((DOG, TEST))),
    ]);
}

#[test]
fn a_class_of_two_words_may_begin_like_a_split() {
    let paths = ["train/test tube/1.jpg", "train/tube/2.jpg", "val/test_tube/3.jpg"];
    let found = assigned_to(&["test-tube", "tube"], AssignmentRule::default(), &paths);
    assert_eq!(found, [Ok((0, TRAIN)), Ok((1, TRAIN)), Ok((0, VALIDATION))]);
}

#[test]
fn a_class_may_be_named_like_a_split() {
    let found = assigned_to(
        &["dev", "prod"],
        AssignmentRule::default(),
        &["train/dev/1.jpg", "test/prod/2.jpg", "dev/3.jpg"],
    );
    assert_eq!(found, [Ok((0, TRAIN)), Ok((1, TEST)), Err("unknown_split")]);
}

#[test]
fn a_label_of_all_needs_no_folder() {
    let rule = AssignmentRule { label: Some("dog".parse().unwrap()), ..AssignmentRule::default() };
    let all = ["x.jpg", "val/y.jpg", "cat/z.jpg", "Thumbs.db"];
    let expected =
        [Err("unknown_split"), Ok((DOG, VALIDATION)), Err("unknown_split"), Err("ignored")];
    assert_eq!(assigned_to(&["cat", "dog"], rule.clone(), &all), expected);
    assert_eq!(assigned_to(&["cat", "dog"], rule, &all[..1]), [Ok((DOG, None))]);
}

#[test]
fn hidden_folders_are_left_out_unless_they_wrap_everything() {
    check(&[
        (".pets/train/cat/1.jpg", Ok((CAT, TRAIN))),
        (".pets/test/dogs/2.jpg", Ok((DOG, TEST))),
        (".pets/.old/dog/3.jpg", Err("ignored")),
        (".DS_Store", Err("ignored")),
    ]);
    check(&[
        ("cat.0.jpg", Ok((CAT, None))),
        (".pets/train/dog/1.jpg", Err("ignored")),
        (".cat.1.jpg", Err("ignored")),
    ]);
    check(&[(".a/.b/.c/cat/1.jpg", Ok((CAT, None)))]);
    check(&[(".a/.b/.c/.d/cat/1.jpg", Err("ignored"))]);
}

fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        4 => prop::sample::select(vec![
            "train", "test", "val_set", "cat", "dogs", "extra", "pets_train", "pets_test", ".x",
            "@eaDir", "cat.0.jpg", "dog.1.jpg", "..", "", "IMG.jpg",
        ]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    prop::collection::vec(name, 0..6).prop_map(|names| names.join("/"))
}

proptest! {
    #[test]
    fn order_does_not_matter_and_splits_are_never_mixed(paths in prop::collection::vec(path(), 1..12)) {
        let mut there = Layout::new(&Classes::default(), false);
        let mut back = Layout::new(&Classes::default(), false);
        paths.iter().for_each(|path| there.observe(path));
        paths.iter().rev().for_each(|path| back.observe(path));
        let code = |layout: &Layout, path: &str| match layout.assign(path, &AssignmentRule::default()) {
            PathDecision::Accept(place) => Ok(place),
            PathDecision::Reject(rejection) => Err(rejection.code()),
            PathDecision::Ignore => Err("ignored"),
        };
        let found: Vec<_> = paths.iter().map(|path| code(&there, path)).collect();
        prop_assert_eq!(&found, &paths.iter().map(|path| code(&back, path)).collect::<Vec<_>>());
        let splits = found.iter().flatten().map(|place| place.split.is_some());
        let (some, none): (Vec<bool>, Vec<bool>) = splits.partition(|split| *split);
        prop_assert!(some.is_empty() || none.is_empty());
    }
}
