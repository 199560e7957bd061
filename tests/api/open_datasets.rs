//! Datasets whose classes are made by the images that arrive, and changes of classes.

use std::collections::BTreeMap;

use crate::common::{IMAGES, Server, photo, zip};
use serde_json::{Value, json};

async fn open(server: &Server) -> Value {
    server.json("POST", "/datasets", json!({ "name": "pets" })).await.ok()
}

async fn classes(server: &Server) -> Value {
    server.get("/datasets/pets").await.ok()["classes"].clone()
}

/// The class of each image, by its file name.
async fn labels(server: &Server) -> BTreeMap<String, String> {
    let of = |image: &Value, key| image[key].as_str().unwrap().to_owned();
    let images = server.listed("").await;
    images.iter().map(|image| (of(image, "file_name"), of(image, "label"))).collect()
}

fn files(names: &[&str]) -> Vec<(&'static str, Vec<u8>)> {
    let leak = |name: &str| -> &'static str { name.to_owned().leak() };
    (0..).zip(names).map(|(number, name)| (leak(name), photo(number))).collect()
}

fn codes(report: &Value) -> Vec<&str> {
    let rejected = report["rejected"].as_array().unwrap();
    rejected.iter().map(|one| one["code"].as_str().unwrap()).collect()
}

const FLOWERS: [&str; 5] = [
    "flowers/train/tulip/0.jpg",
    "flowers/train/Rose/1.jpg",
    "flowers/val/rose/red/2.jpg",
    "flowers/test/玫瑰 花/3.jpg",
    "flowers/test/Lo\u{308}wenzahn/4.jpg",
];

#[tokio::test]
async fn folders_make_classes_and_they_are_sorted() {
    let server = Server::start().await;
    let made = open(&server).await;
    assert_eq!((&made["open"], &made["classes"]), (&json!(true), &json!([])));
    let report = server.post("/datasets/pets/archive", zip(&files(&FLOWERS))).await.ok();
    assert_eq!((&report["added"], &report["rejected"]), (&json!(5), &json!([])));
    let pets = server.get("/datasets/pets").await.ok();
    assert_eq!(pets["classes"], json!(["Löwenzahn", "Rose", "tulip", "玫瑰 花"]));
    assert_eq!(pets["counts"]["train"]["Rose"], 1);
    let found = labels(&server).await;
    assert_eq!((&*found[FLOWERS[2]], &*found[FLOWERS[3]]), ("Rose", "玫瑰 花"));

    // A class in front of the others: the images keep theirs.
    let other = [("x.jpg", photo(10))];
    server.upload(&format!("{IMAGES}?label=Aster"), &other).await.ok();
    assert_eq!(classes(&server).await[0], "Aster");
    for (file, class) in &found {
        assert_eq!(labels(&server).await[file], *class);
    }
    let only = server.listed("&label=tulip").await;
    assert_eq!((only.len(), &only[0]["file_name"]), (1, &json!(FLOWERS[0])));
    server.get(&format!("{IMAGES}?label=lily")).await.problem(422, "unknown_label");

    // A known class takes spellings of another case, and nothing else that is alike.
    let report = server.upload(IMAGES, &[("TULIP/11.jpg", photo(11))]).await.ok();
    assert_eq!(
        (&report["added"], classes(&server).await.as_array().unwrap().len()),
        (&json!(1), 5)
    );
}

#[tokio::test]
async fn cats_and_dogs_of_earlier_clients_are_cat_and_dog() {
    for upload in [["cats/0.jpg", "Dogs/1.jpg"], ["cat.0.jpg", "dog.1.jpg"]] {
        let server = Server::start().await;
        open(&server).await;
        let report = server.upload(IMAGES, &files(&upload)).await.ok();
        assert_eq!(report["added"], 2, "{report}");
        assert_eq!(classes(&server).await, json!(["cat", "dog"]));
    }
}

#[tokio::test]
async fn file_names_make_classes_on_request() {
    let server = Server::start().await;
    open(&server).await;
    let flat = files(&["rose_0.jpg", "tulip_1.jpg", "cover.jpg"]);
    let refused = server.upload(IMAGES, &flat).await.ok();
    assert_eq!(codes(&refused), ["unlabelled"; 3]);
    let detail = refused["rejected"][0]["detail"].as_str().unwrap();
    for remedy in ["folder", "`label=`", "`labels=names`"] {
        assert!(detail.contains(remedy), "{detail}");
    }
    assert_eq!(classes(&server).await, json!([]));
    let report = server.upload(&format!("{IMAGES}?labels=names"), &flat).await.ok();
    assert_eq!((&report["added"], codes(&report)), (&json!(2), vec!["unlabelled"]));
    assert_eq!(classes(&server).await, json!(["rose", "tulip"]));
    server.upload(&format!("{IMAGES}?labels=x"), &flat).await.problem(422, "invalid_value");
    for label in ["train", "a%2Fb", "%20"] {
        let path = format!("{IMAGES}?label={label}");
        server.upload(&path, &flat).await.problem(422, "invalid_value");
    }
}

#[tokio::test]
async fn what_adds_no_image_makes_no_class() {
    let server = Server::start().await;
    open(&server).await;
    server.upload(IMAGES, &[("rose/0.jpg", photo(0)), ("lily/1.jpg", photo(1))]).await.ok();
    let again = [
        ("tulip/0.jpg", photo(0)),
        ("daisy/2.jpg", b"no image".to_vec()),
        ("rose/3.jpg", photo(3)),
        ("aster/3.jpg", photo(3)),
    ];
    let report = server.upload(IMAGES, &again).await.ok();
    assert_eq!(codes(&report), ["label_conflict", "unsupported_type", "label_conflict"]);
    assert_eq!(classes(&server).await, json!(["lily", "rose"]));
}

#[tokio::test]
async fn no_more_than_a_thousand_classes_are_made() {
    let server = Server::start().await;
    open(&server).await;
    let names: Vec<String> = (0..1_001).map(|number| format!("c{number:04}/x.jpg")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let report = server.post("/datasets/pets/archive", zip(&files(&names))).await.ok();
    assert_eq!((&report["added"], codes(&report)), (&json!(1_000), vec!["too_many_classes"]));
    assert_eq!(server.listed("&label=c0999").await[0]["file_name"], "c0999/x.jpg");
    let full = server.json("POST", "/datasets/pets/classes", json!({ "name": "x" })).await;
    full.problem(422, "invalid_value");
    assert_eq!(server.get("/datasets/pets/statistics").await.ok()["images"], 1_000);
    let chart = server.get("/datasets/pets/charts/classes.svg").await.body;
    assert!(String::from_utf8(chart).unwrap().contains("12 smallest of 1000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_at_once_end_with_right_labels() {
    let server = Server::start().await;
    open(&server).await;
    let upload = |from: u32| {
        let names = (0..60)
            .map(move |number| (format!("c{:02}/{number}.jpg", (number * 7 + from) % 40), number));
        let files: Vec<_> =
            names.map(|(name, number)| (name, photo(from * 1_000 + number))).collect();
        let server = &server;
        async move {
            // Many requests, so that the two change the classes in turns.
            for part in files.chunks(3) {
                let part: Vec<_> =
                    part.iter().map(|(name, file)| (&**name, file.clone())).collect();
                let folder = |name: &str| name.split('/').next().unwrap().to_owned();
                for (name, file) in part {
                    let path = format!("{IMAGES}?label={}", folder(name));
                    assert_eq!(server.upload(&path, &[(name, file)]).await.ok()["added"], 1);
                }
            }
        }
    };
    let rename = async {
        for _ in 0..30 {
            let change = json!({ "name": "z" });
            server.json("PATCH", "/datasets/pets/classes/c05", change).await;
            tokio::task::yield_now().await;
            server
                .json("PATCH", "/datasets/pets/classes/z", json!({ "name": "c05", "merge": true }))
                .await;
        }
    };
    tokio::join!(upload(1), upload(2), rename);
    server.json("PATCH", "/datasets/pets/classes/z", json!({ "name": "c05", "merge": true })).await;
    let found = labels(&server).await;
    assert!(found.len() >= 60);
    for image in server.listed("").await {
        let (file, label) =
            (image["file_name"].as_str().unwrap(), image["label"].as_str().unwrap());
        assert_eq!(file.split('/').next().unwrap(), label);
    }
    let made = classes(&server).await;
    let names: Vec<&str> = made.as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert!(names.is_sorted() && names.len() == 40, "{names:?}");
}

#[tokio::test]
async fn a_class_that_is_gone_takes_no_images() {
    let server = Server::start().await;
    server.pets().await;
    let upload = server.app.datasets.upload("pets", None, Some("cat"), Default::default()).await;
    let mut upload = upload.unwrap();
    let spool = server.app.datasets.spool().await.unwrap();
    let spool = spool.push(photo(1).into()).await.unwrap();
    upload.add("1.jpg", spool.finish().await.unwrap()).await.unwrap();
    server.json("PATCH", "/datasets/pets/classes/cat", json!({ "name": "lion" })).await.ok();
    let report = serde_json::to_value(upload.finish().await.unwrap()).unwrap();
    assert_eq!((&report["added"], codes(&report)), (&json!(0), vec!["unknown_label"]));
    assert_eq!(server.get("/datasets/pets").await.ok()["images"], 0);
}

#[tokio::test]
async fn classes_are_added_renamed_merged_and_deleted() {
    let server = Server::start().await;
    server.pets().await;
    server
        .upload(IMAGES, &files(&["train/cat/0.jpg", "train/dog/1.jpg", "test/cat/2.jpg"]))
        .await
        .ok();
    let path = "/datasets/pets/classes";
    let added = server.json("POST", path, json!({ "name": "bird" })).await;
    assert_eq!(
        (added.status.as_u16(), &added.ok()["classes"]),
        (201, &json!(["cat", "dog", "bird"]))
    );
    server.json("POST", path, json!({ "name": "BIRD" })).await.problem(409, "class_exists");
    server.json("POST", path, json!({ "name": "train" })).await.problem(422, "invalid_value");
    server.json("POST", path, json!({ "name": "a/b" })).await.problem(422, "invalid_value");

    let dog = format!("{path}/dog");
    server.json("PATCH", &dog, json!({ "name": "cat" })).await.problem(409, "class_exists");
    let before = server.version().await;
    let renamed = server.json("PATCH", &dog, json!({ "name": "Hund & Co" })).await.ok();
    assert_ne!(renamed["version"], before);
    assert_eq!(renamed["classes"], json!(["cat", "Hund & Co", "bird"]));
    assert_eq!(labels(&server).await["train/dog/1.jpg"], "Hund & Co");
    server.json("PATCH", &dog, json!({ "name": "x" })).await.problem(404, "not_found");
    let dog = format!("{path}/hund%20%26%20co");
    server.json("PATCH", &dog, json!({ "name": "HUND" })).await.ok();

    let before = server.version().await;
    let merge = json!({ "name": "bird", "merge": true });
    let merged = server.json("PATCH", &format!("{path}/cat"), merge).await.ok();
    assert_eq!(merged["classes"], json!(["HUND", "bird"]));
    assert_eq!(merged["counts"]["test"], json!({ "HUND": 0, "bird": 1 }));
    assert_ne!(merged["version"], before);
    assert_eq!(labels(&server).await["train/cat/0.jpg"], "bird");

    // Clients shorten `/classes/..` to the dataset.
    server.delete("/datasets/pets?images=delete").await.problem(422, "invalid_value");
    let bird = format!("{path}/bird");
    server.delete(&bird).await.problem(409, "class_not_empty");
    server.delete(&format!("{bird}?images=keep")).await.problem(422, "invalid_value");
    let deleted = server.delete(&format!("{bird}?images=delete")).await.ok();
    assert_eq!((&deleted["classes"], &deleted["images"]), (&json!(["HUND"]), &json!(1)));
    server.delete(&bird).await.problem(404, "not_found");
    assert_eq!(labels(&server).await.len(), 1);
}

#[tokio::test]
async fn an_image_is_relabelled_with_a_new_class_only_in_an_open_dataset() {
    let server = Server::start().await;
    open(&server).await;
    server.upload(IMAGES, &[("rose/0.jpg", photo(0)), ("lily/1.jpg", photo(1))]).await.ok();
    let rose = server.listed("&label=rose").await[0]["id"].as_str().unwrap().to_owned();
    let change = json!({ "label": "aster" });
    let image = server.json("PATCH", &format!("{IMAGES}/{rose}"), change.clone()).await.ok();
    assert_eq!(image["label"], "aster");
    assert_eq!(classes(&server).await, json!(["aster", "lily", "rose"]));
    assert_eq!(labels(&server).await["lily/1.jpg"], "lily");
    let invalid = json!({ "label": "a/b" });
    server.json("PATCH", &format!("{IMAGES}/{rose}"), invalid).await.problem(422, "invalid_value");

    let closed = Server::start().await;
    closed.pets().await;
    closed.upload(IMAGES, &[("cat/0.jpg", photo(0))]).await.ok();
    let cat = closed.listed("").await[0]["id"].as_str().unwrap().to_owned();
    closed.json("PATCH", &format!("{IMAGES}/{cat}"), change).await.problem(422, "unknown_label");
}

#[tokio::test]
async fn an_upload_is_previewed_and_nothing_is_stored() {
    let server = Server::start().await;
    open(&server).await;
    server.upload(IMAGES, &[("rose/0.jpg", photo(0))]).await.ok();
    let mut paths = FLOWERS.to_vec();
    paths.extend(["flowers/train/rose/notes.txt", "flowers/.DS_Store", "flowers/cover.jpg"]);
    let body = json!({ "paths": paths });
    let preview = server.json("POST", "/datasets/pets/layout", body).await.ok();
    let found: Vec<_> = preview["classes"].as_array().unwrap().iter().collect();
    assert_eq!(*found[1], json!({ "name": "rose", "images": 2, "new": false }));
    assert_eq!(*found[2], json!({ "name": "tulip", "images": 1, "new": true }));
    assert_eq!(preview["splits"], json!({ "train": 2, "validation": 1, "test": 2 }));
    assert_eq!((&preview["not_images"], &preview["rejected_total"]), (&json!(1), &json!(1)));
    assert_eq!(preview["ignored"]["count"], 1);

    let files: Vec<_> = (1..).zip(&paths).map(|(number, path)| (*path, photo(number))).collect();
    let dry = server.post("/datasets/pets/archive?dry_run=true", zip(&files)).await.ok();
    assert_eq!(dry, preview);
    assert_eq!((server.listed("").await.len(), classes(&server).await), (1, json!(["rose"])));
    server.post("/datasets/pets/archive?dry_run=true", "x").await.problem(415, "unsupported_type");
    server
        .json("POST", "/datasets/no/layout", json!({ "paths": [] }))
        .await
        .problem(404, "not_found");
}

#[tokio::test]
async fn fewer_than_two_classes_are_not_trained_on() {
    let server = Server::start().await;
    open(&server).await;
    let job = json!({ "dataset": "pets", "recipe": "scratch_cnn" });
    for (upload, said) in [(None, "none"), (Some("rose/0.jpg"), "only `rose`")] {
        if let Some(file) = upload {
            server.upload(IMAGES, &[(file, photo(0))]).await.ok();
        }
        let problem = server.json("POST", "/jobs", job.clone()).await;
        let detail = problem.problem(422, "dataset_not_trainable")["detail"].to_string();
        assert!(detail.contains("at least two classes") && detail.contains(said), "{detail}");
    }
}
