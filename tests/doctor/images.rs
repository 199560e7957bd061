//! Images, as they were uploaded and decoded.

use std::fs;

use pawprint::{domain::preprocessing::Preprocessing, training::image_cache, vision};
use reqwest::Method;

use super::{
    Healthy, assert_nothing_lost, codes,
    common::{Server, data, photo, process::Process, tar},
    contents, doctor, findings,
};

#[tokio::test]
async fn images_that_are_missing_or_damaged_are_named_and_sending_them_again_repairs_them() {
    let healthy = Healthy::new().await;
    let images = healthy.images();
    let whole: Vec<_> = images.iter().map(|path| fs::read(path).unwrap()).collect();
    fs::remove_file(&images[0]).unwrap();
    fs::write(&images[1], b"meow").unwrap();
    let before = contents(healthy.root());
    let found = healthy.findings();
    assert_eq!(codes(&found), ["image_damaged", "image_missing"]);
    let detail = found["image_missing"]["detail"].as_str().unwrap();
    assert!(detail.contains(".png` of dataset pets"), "{detail}");
    assert!(detail.contains(images[0].file_name().unwrap().to_str().unwrap()), "{detail}");
    assert!(images[1].exists(), "without --repair nothing is moved");

    let found = healthy.repair();
    assert_eq!(codes(&found), ["image_damaged", "image_missing"]);
    assert!(!images[1].exists());
    assert_nothing_lost(healthy.root(), &before);
    assert_eq!(codes(&healthy.findings()), ["image_missing", "set_aside"]);

    let server = Process::start(healthy.root());
    let files = [("train/cat/a.png", whole[0].clone()), ("train/cat/b.png", whole[1].clone())];
    let request = server.request(Method::POST, "/datasets/pets/archive").body(tar(&files));
    assert_eq!(request.send().await.unwrap().status(), 200);
    drop(server);
    assert_eq!(codes(&healthy.findings()), ["set_aside"]);
}

#[tokio::test]
async fn the_files_of_images_without_a_label_are_checked_as_those_of_others() {
    let server = Server::start().await;
    server.pets().await;
    let files = [0, 1, 2, 3]
        .map(|number| (["a.jpg", "b.jpg", "c.jpg", "d.jpg"][number], photo(number as u32)));
    let report = server.post("/datasets/pets/archive?labels=none", tar(&files)).await.ok();
    assert_eq!(report["added"], 4);
    let folder = data::close(server).await;
    let root = folder.path();
    let check = |arguments: &[&str]| findings(&doctor(root, arguments));
    assert_eq!(codes(&check(&["--json", "--repair"])), Vec::<&str>::new());
    let stored = data::images(root);
    assert_eq!(stored.len(), 4);

    // Others of the same length, half, and none.
    let whole = fs::read(&stored[0]).unwrap();
    let mut other = whole.clone();
    other[100] ^= 1;
    for damaged in [&other[..], &whole[..whole.len() / 2], &[]] {
        fs::write(&stored[0], damaged).unwrap();
        let found = check(&["--json"]);
        assert_eq!(codes(&found), ["image_damaged"]);
        let detail = found["image_damaged"]["detail"].as_str().unwrap();
        assert!(detail.contains(".jpg` of dataset pets"), "{detail}");
    }
    fs::remove_file(&stored[1]).unwrap();
    assert_eq!(codes(&check(&["--json"])), ["image_damaged", "image_missing"]);
    let before = contents(root);
    let found = check(&["--json", "--repair"]);
    assert_eq!(codes(&found), ["image_damaged", "image_missing"]);
    assert!(!stored[0].exists());
    assert_nothing_lost(root, &before);
    assert_eq!(codes(&check(&["--json"])), ["image_missing", "set_aside"]);

    // Sending them again repairs them.
    let server = Process::start(root);
    let request =
        server.request(Method::POST, "/datasets/pets/archive?labels=none").body(tar(&files));
    let report: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(report["duplicates"], 4, "{report}");
    drop(server);
    assert_eq!(codes(&check(&["--json"])), ["set_aside"]);
    assert_eq!(fs::read(&stored[0]).unwrap(), whole);
}

#[tokio::test]
async fn an_image_of_a_class_that_there_is_not_is_named() {
    let healthy = Healthy::new().await;
    healthy.execute("UPDATE images SET label = 7 WHERE id = (SELECT MIN(id) FROM images)").await;
    let found = healthy.findings();
    assert_eq!(codes(&found), ["image_label"]);
    let detail = found["image_label"]["detail"].as_str().unwrap();
    assert!(detail.ends_with("has no class 7"), "{detail}");
}

#[tokio::test]
async fn images_that_only_a_job_has_are_in_use_and_are_missed_where_they_are_gone() {
    let healthy = Healthy::new().await;
    healthy.execute("DELETE FROM images WHERE id = (SELECT MIN(id) FROM images)").await;
    assert_eq!(codes(&healthy.repair()), Vec::<&str>::new());
    assert_eq!(healthy.images().len(), 16);
    healthy.execute("DELETE FROM images").await;
    fs::remove_file(&healthy.images()[2]).unwrap();
    let found = healthy.findings();
    assert_eq!(codes(&found), ["job_images"]);
    let detail = found["job_images"]["detail"].as_str().unwrap();
    assert!(detail.starts_with("job waiting: 1 of its images"), "{detail}");
}

#[tokio::test]
async fn decoded_images_that_are_others_are_found_and_discarded() {
    let healthy = Healthy::new().await;
    let digest: [u8; 32] = hex::decode(healthy.images()[0].file_name().unwrap().to_str().unwrap())
        .unwrap()
        .try_into()
        .unwrap();
    let preprocessing = Preprocessing::UNIT_180;
    let name = image_cache::layout(&preprocessing).name;
    let [index, records] =
        ["index", "records"].map(|kind| healthy.root().join(format!("cache/{name}.{kind}")));
    let bytes = fs::read(&healthy.images()[0]).unwrap();
    let limits = vision::Limits::default();
    let right = vision::prepare(&bytes, &limits, &preprocessing).unwrap();
    let wrong: Vec<u8> = right.iter().map(|value| value ^ 0x40).collect();
    fs::write(&index, digest).unwrap();
    fs::write(&records, right).unwrap();
    assert_eq!(codes(&healthy.findings()), Vec::<&str>::new());
    for (hashes, pixels, says) in [
        (digest.to_vec(), wrong.clone(), "is another"),
        (digest.to_vec(), wrong[1..].to_vec(), "fewer records than its index names"),
        (digest[1..].to_vec(), wrong, "half an entry"),
    ] {
        fs::write(&index, hashes).unwrap();
        fs::write(&records, pixels).unwrap();
        let found = healthy.findings();
        assert_eq!(codes(&found), ["cache_damaged"]);
        assert!(found["cache_damaged"]["detail"].as_str().unwrap().contains(says), "{found:?}");
        assert_eq!(healthy.repair()["cache_damaged"]["repaired"], true);
        assert!(!index.exists() && !records.exists());
    }
}
