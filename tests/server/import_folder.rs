//! `pawprint import` of a folder against a real server: the answer is that of the API to the same
//! files.

use std::{fs, path::Path, process::Output};

use crate::common::{form, photo, process::Process, tar, tar_gz, zip};
use reqwest::Method;
use serde_json::{Value, json};

const MOVIE: usize = 40 << 20;

fn messy() -> Vec<(&'static str, Vec<u8>)> {
    let mut movie = b"\0\0\0\x18ftypisom".to_vec();
    movie.resize(100_000, 1);
    let mut long = movie.clone();
    long.resize(MOVIE, 1);
    let mut files = vec![
        ("pets/train/cats/0.jpg", photo(0)),
        ("pets/train/cats/again.jpg", photo(0)),
        ("pets/train/dogs/cat.1.jpg", photo(1)),
        ("pets/train/dogs/photo-without-ending", photo(2)),
        ("pets/train/dogs/same.png", photo(0)),
        ("pets/train/not_sure/cat.3.jpg", photo(3)),
        ("pets/train/cats/.hidden.jpg", photo(4)),
        ("pets/train/cats/@eaDir/0.jpg/SYNOPHOTO_THUMB_M.jpg", photo(5)),
        ("pets/train/cats/Thumbs.db", vec![1; 5_000]),
        ("pets/train/cats/cut.jpg", photo(6)[..300].to_vec()),
        ("pets/train/cats/empty.jpg", Vec::new()),
        ("pets/train/cats/empty", Vec::new()),
        ("pets/train/cats/movie.mp4", movie),
        ("pets/train/cats/long.mp4", long),
        ("pets/train/cats/text.jpg", b"text".to_vec()),
        ("pets/test_set/Dogs/7.jpg", photo(7)),
        ("pets/extra/cat/8.jpg", photo(8)),
        ("pets/.git/objects/00/1.jpg", photo(9)),
        ("pets/readme.md", b"# Pets".to_vec()),
        ("desktop.ini", b"[x]".to_vec()),
    ];
    // As the command line walks a folder.
    files.sort_by(|(a, _), (b, _)| a.split('/').cmp(b.split('/')));
    files
}

fn write(folder: &Path, files: &[(&str, Vec<u8>)]) {
    for (name, bytes) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

async fn import(server: &Process, source: &Path, dataset: &str, more: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_pawprint"));
    command.args(["import", source.to_str().unwrap(), "--dataset", dataset]).args(more);
    command.env("PAWPRINT_SERVER", format!("http://{}", server.address()));
    command.output().await.unwrap()
}

/// The images of a dataset, by name.
async fn images(server: &Process, dataset: &str) -> Vec<String> {
    let page = server.get(&format!("/datasets/{dataset}/images?limit=500")).await;
    let line =
        |image: &Value| format!("{} {} {}", image["file_name"], image["split"], image["label"]);
    page["items"].as_array().unwrap().iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_and_an_archive_of_it_get_the_same_answer() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path());
    let files = messy();
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &files);
    let ran = import(&server, folder.path(), "cli", &["--json", "--classes", "cat,dog"]).await;
    let said = String::from_utf8(ran.stdout).unwrap();
    let mut answer: Value = serde_json::from_str(&said).unwrap();
    let own = answer.as_object_mut().unwrap();
    assert_eq!(own.remove("dataset"), Some(json!("cli")));
    assert_eq!(own.remove("not_images"), Some(json!(4)), "{said}");
    assert_eq!(own.remove("links_not_followed"), Some(json!(0)));
    assert_eq!(answer["ignored"]["count"], 5, "{said}");
    assert_eq!((&answer["added"], &answer["duplicates"]), (&json!(4), &json!(1)));
    let codes: Vec<_> = answer["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["code"].as_str().unwrap())
        .collect();
    for code in [
        "label_conflict",
        "unknown_label",
        "unknown_split",
        "unlabelled",
        "corrupt_image",
        "empty_file",
        "unsupported_type",
        "too_large",
    ] {
        assert!(codes.contains(&code), "{code}: {codes:?}");
    }

    for (dataset, archive) in
        [("zip", zip(&files)), ("tar", tar(&files)), ("targz", tar_gz(&files))]
    {
        server.post("/datasets", json!({ "name": dataset, "classes": ["cat", "dog"] })).await;
        let request = server.request(Method::POST, &format!("/datasets/{dataset}/archive"));
        let report: Value = request.body(archive).send().await.unwrap().json().await.unwrap();
        assert_eq!(report, answer, "{dataset}");
        assert_eq!(images(&server, dataset).await, images(&server, "cli").await);
    }
    server.post("/datasets", json!({ "name": "form", "classes": ["cat", "dog"] })).await;
    let request = server.request(Method::POST, "/datasets/form/images");
    let request = request.header("content-type", "multipart/form-data; boundary=a-form");
    let report: Value = request.body(form(&files)).send().await.unwrap().json().await.unwrap();
    assert_eq!(report, answer);

    // Sent again, there is nothing new; what is no image does not make that a failure.
    let again = tempfile::tempdir().unwrap();
    write(again.path(), &[("train/cat/0.jpg", photo(0)), ("train/cat/notes.txt", b"x".to_vec())]);
    let ran = import(&server, again.path(), "cli", &[]).await;
    let said = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{said}");
    assert!(said.contains("0 added, 1 duplicates, 1 rejected"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_the_folder_counts_where_it_is_a_split_or_a_class() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path());
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            ("training_set/cat/0.jpg", photo(0)),
            ("val/dogs/1.jpg", photo(1)),
            ("mine/cat.2.jpg", photo(2)),
        ],
    );
    for name in ["training_set", "val/dogs", "mine"] {
        let ran =
            import(&server, &folder.path().join(name), "pets", &["--classes", "cat,dog"]).await;
        assert!(ran.status.success());
    }
    let found = images(&server, "pets").await;
    assert_eq!(found[0], r#""training_set/cat/0.jpg" "train" "cat""#);
    // `dogs` is a class; `val` above it is not sent.
    assert!(found[1].starts_with(r#""dogs/1.jpg""#) && found[1].ends_with(r#""dog""#), "{found:?}");
    assert!(found[2].starts_with(r#""cat.2.jpg""#), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_broken_archive_the_command_line_says_what_was_added() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path());
    let archive = data.path().join("broken.tar");
    let files = [
        ("cat/0.jpg", photo(0)),
        ("bird/1.jpg", photo(1)),
        ("cat/.DS_Store", vec![1]),
        ("dog/2.jpg", photo(2)),
    ];
    let bytes = tar(&files);
    fs::write(&archive, &bytes[..bytes.len() - 1_500]).unwrap();
    let ran = import(&server, &archive, "pets", &["--classes", "cat,dog"]).await;
    let (said, complained) =
        (String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap());
    assert_eq!(ran.status.code(), Some(1), "{said}{complained}");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], "pets: 1 added, 0 duplicates, 1 rejected");
    assert!(lines[1].starts_with("  bird/1.jpg: unknown class `bird`"), "{said}");
    assert_eq!(lines[2], "  1 file ignored: cat/.DS_Store");
    assert!(complained.contains("error: the archive is truncated or damaged"), "{complained}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_without_classes_says_which_it_found() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path());
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            ("flowers/train/rose/0.jpg", photo(0)),
            ("flowers/test/tulip/1.jpg", photo(1)),
            ("lily/2.jpg", photo(2)),
            ("flat/aster_3.jpg", photo(3)),
        ],
    );
    for (name, more, said) in [
        (
            "flowers",
            &[][..],
            "flowers has 2 classes: rose, tulip; 1 training, 0 validation and 1 test",
        ),
        ("lily", &["--split", "train"], "3 classes: lily, rose, tulip; 2 training"),
        ("flat", &["--labels", "names"], "4 classes: aster, lily, rose, tulip"),
    ] {
        let ran = import(&server, &folder.path().join(name), "flowers", more).await;
        let stderr = String::from_utf8(ran.stderr).unwrap();
        assert!(ran.status.success() && stderr.contains(said), "{stderr}");
    }
    let found = images(&server, "flowers").await;
    assert_eq!(found[2], r#""lily/2.jpg" "train" "lily""#);
}
