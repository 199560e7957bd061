//! What the folders of an upload say, over the API: the same in a form and in every archive.

use crate::common::{IMAGES, Server, photo, tar, tar_gz, zip};
use serde_json::{Value, json};

type Files<'a> = Vec<(&'a str, Vec<u8>)>;

/// What becomes of the files in a form, a zip, a tar and a tar.gz: the report, and where each
/// image went. It has to be the same.
async fn uploaded(files: &Files<'_>, query: &str) -> (Value, Vec<String>) {
    let mut results = Vec::new();
    for kind in 0..4 {
        let server = Server::start().await;
        server.pets().await;
        let archive = format!("/datasets/pets/archive{query}");
        let answer = match kind {
            0 => server.upload(&format!("{IMAGES}{query}"), files).await,
            1 => server.post(&archive, zip(files)).await,
            2 => server.post(&archive, tar(files)).await,
            _ => server.post(&archive, tar_gz(files)).await,
        };
        let image = |image: &Value| {
            let member = |name: &str| image[name].as_str().unwrap().to_owned();
            format!("{} {} {}", member("file_name"), member("split"), member("label"))
        };
        let images = server.listed("").await.iter().map(image).collect();
        results.push((answer.ok(), images));
        assert_eq!((results.last(), server.leftovers()), (results.first(), 0));
    }
    results.remove(0)
}

fn rejected(report: &Value) -> Vec<(&str, &str)> {
    let rejected = report["rejected"].as_array().unwrap();
    rejected
        .iter()
        .map(|one| (one["file"].as_str().unwrap(), one["code"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn splits_are_read_as_people_write_them() {
    let files = vec![
        ("lay/training_set/training_set/cats/cat.1.jpg", photo(0)),
        ("lay/test_set/test_set/dogs/dog.2.jpg", photo(1)),
        ("lay/Validation Data/Dogs/3.jpg", photo(2)),
        ("lay/hold-out/cat/4.jpg", photo(3)),
        ("lay/extra/cat/5.jpg", photo(4)),
    ];
    let (report, images) = uploaded(&files, "").await;
    assert_eq!(
        images,
        [
            "lay/training_set/training_set/cats/cat.1.jpg train cat",
            "lay/test_set/test_set/dogs/dog.2.jpg test dog",
            "lay/Validation Data/Dogs/3.jpg validation dog",
            "lay/hold-out/cat/4.jpg test cat",
        ]
    );
    assert_eq!(rejected(&report), [("lay/extra/cat/5.jpg", "unknown_split")]);
    let detail = report["rejected"][0]["detail"].as_str().unwrap();
    assert!(detail.starts_with("`extra` is not a split folder"), "{detail}");

    let (report, images) = uploaded(&files, "?split=validation").await;
    assert_eq!(report["added"], 5);
    assert_eq!(images.len(), 5);
    assert!(images.iter().all(|image| image.contains(" validation ")));
}

#[tokio::test]
async fn a_folder_says_the_label_and_a_file_name_only_without_folders_that_do() {
    let files = vec![
        ("lab/train/cats/IMG_1.jpg", photo(0)),
        ("lab/train/dogs/cat.4031.jpg", photo(1)),
        ("lab/train/not_sure/cat.99.jpg", photo(2)),
        ("lab/train/cat.100.jpg", photo(3)),
    ];
    let (report, images) = uploaded(&files, "").await;
    let expected = ["lab/train/cats/IMG_1.jpg train cat", "lab/train/dogs/cat.4031.jpg train dog"];
    assert_eq!(images, expected);
    let expected = [
        ("lab/train/not_sure/cat.99.jpg", "unknown_label"),
        ("lab/train/cat.100.jpg", "unlabelled"),
    ];
    assert_eq!(rejected(&report), expected);
    assert!(report["rejected"][0]["detail"].as_str().unwrap().contains("`not_sure`"));

    let flat = vec![("pets/train/cat.0.jpg", photo(0)), ("pets/train/dog.0.jpg", photo(1))];
    let (_, images) = uploaded(&flat, "").await;
    assert_eq!(images, ["pets/train/cat.0.jpg train cat", "pets/train/dog.0.jpg train dog"]);
}

#[tokio::test]
async fn litter_is_left_out_and_counted() {
    let mut files = vec![
        ("cat/IMG_1.jpg", photo(0)),
        ("cat/@eaDir/IMG_1.jpg/SYNOPHOTO_THUMB_M.jpg", photo(1)),
        ("cat/Thumbs.db", vec![1]),
        ("$RECYCLE.BIN/cat/2.jpg", photo(2)),
        ("cat/.hidden.jpg", photo(3)),
        ("__MACOSX/cat/._IMG_1.jpg", vec![1]),
    ];
    let (report, images) = uploaded(&files, "?split=train").await;
    assert_eq!(images, ["cat/IMG_1.jpg train cat"]);
    let ignored: Vec<&str> = files[1..].iter().map(|(name, _)| *name).collect();
    assert_eq!(report["ignored"], json!({ "count": 5, "examples": ignored }));
    assert_eq!(report["rejected_total"], 0);

    let more: Vec<String> = (0..20).map(|number| format!("cat/{number}/.DS_Store")).collect();
    files.extend(more.iter().map(|name| (name.as_str(), vec![1])));
    let (report, _) = uploaded(&files, "").await;
    assert_eq!(report["ignored"]["count"], 25);
    assert_eq!(report["ignored"]["examples"].as_array().unwrap().len(), 10);
}

#[tokio::test]
async fn a_hidden_folder_over_everything_is_read() {
    let mut files = vec![(".pets/train/cat/1.jpg", photo(0)), (".pets/train/dog/2.jpg", photo(1))];
    let (report, images) = uploaded(&files, "").await;
    let expected = [".pets/train/cat/1.jpg train cat", ".pets/train/dog/2.jpg train dog"];
    assert_eq!(
        (report["ignored"]["count"].as_u64(), images.as_slice()),
        (Some(0), &expected.map(str::to_owned)[..])
    );
    files.push(("cat/3.jpg", photo(2)));
    let (report, _) = uploaded(&files, "").await;
    assert_eq!((&report["added"], &report["ignored"]["count"]), (&json!(1), &json!(2)));
}

#[tokio::test]
async fn what_is_said_of_a_path_counts_before_what_is_in_the_file() {
    let files = vec![
        ("train/cat/1.jpg", b"no image".to_vec()),
        ("train/bird/2.jpg", b"no image".to_vec()),
        ("more/cat/3.jpg", Vec::new()),
        ("notes.txt", b"notes".to_vec()),
    ];
    let (report, _) = uploaded(&files, "").await;
    let expected = [
        ("train/cat/1.jpg", "unsupported_type"),
        ("train/bird/2.jpg", "unknown_label"),
        ("more/cat/3.jpg", "unknown_split"),
        ("notes.txt", "unlabelled"),
    ];
    assert_eq!(rejected(&report), expected);
}
