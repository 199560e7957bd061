//! Reviews that are attacked: requests that make no sense, processes that are killed, files that are damaged
//! and datasets that change under a review.

use std::{fs, path::Path, time::Instant};

use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{
    CLASSES,
    common::process::{PATIENCE, Process},
    faulty, import, list, names, png, reviewed, stripes,
};

const REVIEW: &str = "/datasets/faulty/review";

async fn dataset(data: &Path, files: &[(String, Vec<u8>)]) -> Process {
    let server = Process::start(data);
    server.post("/datasets", json!({ "name": "faulty" })).await;
    import(&server, "", files).await;
    server
}

/// Twelve photos of each class: hardly more than a review needs.
fn few() -> Vec<(String, Vec<u8>)> {
    let mut files = faulty();
    let number = |name: &str| name.rsplit(['-', '.']).nth(1).and_then(|it| it.parse::<u32>().ok());
    files.retain(|(name, _)| number(name).is_some_and(|number| number < 12));
    files
}

/// The processes of reviews that a server has started.
fn reviewers(server: &Process) -> Vec<i32> {
    let parent = format!("PPid:\t{}", server.pid());
    let is_reviewer = |pid: &i32| {
        let read = |name| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        read("cmdline").contains("\0reviewer\0") && read("status").lines().any(|it| it == parent)
    };
    let entries = fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(is_reviewer).collect()
}

/// Starts a review and waits for its process.
async fn running(server: &Process) -> i32 {
    server.post(REVIEW, json!({})).await;
    let begun = Instant::now();
    loop {
        if let [pid] = *reviewers(server) {
            return pid;
        }
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

async fn status_becomes(server: &Process, status: &str) -> Value {
    let begun = Instant::now();
    loop {
        let state = server.get(REVIEW).await;
        if state["status"] == status {
            return state;
        }
        assert!(begun.elapsed() < PATIENCE, "{state}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_and_change_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = dataset(data.path(), &faulty()).await;
    server.post("/datasets", json!({ "name": "other", "classes": CLASSES })).await;
    let other = server.request(Method::POST, "/datasets/other/archive");
    let photo = [("train/down/x.png".to_owned(), png(&stripes(1, 500)))];
    other.body(super::archive(&photo)).send().await.unwrap();
    reviewed(&server).await;
    let before = server.get("/datasets/faulty").await;
    let suspects = list(&server, "mislabelled").await;
    let id = &suspects[0]["image"]["id"];
    let foreign = &server.get("/datasets/other/images").await["items"][0]["id"];
    let nobody = json!("01a21789-0000-7000-8000-000000000000");

    let decide = |images: Value, list: &str, decision: &str| {
        let body = json!({ "list": list, "images": images, "decision": decision });
        server.ask(Method::POST, "/datasets/faulty/review/decisions", Some(body))
    };
    let many: Vec<_> = (0..1001).map(|_| id).collect();
    for (images, list, decision, wanted) in [
        (json!([]), "mislabelled", "confirmed", 422),
        (json!(many), "mislabelled", "confirmed", 422),
        (json!([foreign]), "mislabelled", "confirmed", 404),
        (json!([id, nobody]), "mislabelled", "confirmed", 404),
        (json!(["x"]), "mislabelled", "confirmed", 422),
        (json!("x"), "mislabelled", "confirmed", 422),
        (json!([id]), "everything", "confirmed", 422),
        (json!([id]), "mislabelled", "maybe", 422),
        (json!([id]), "", "", 422),
    ] {
        let (status, problem) = decide(images, list, decision).await;
        assert_eq!(status, wanted, "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|it| !it.is_empty()), "{problem}");
    }
    assert_eq!(names(&list(&server, "mislabelled").await), names(&suspects));

    for (body, wanted) in [
        (json!({ "images": [] }), 422),
        (json!({ "images": [foreign] }), 404),
        (json!({ "images": [id, nobody] }), 404),
        (json!({ "images": [id], "split": "everywhere" }), 422),
        (json!({ "split": "train" }), 422),
        (json!({ "groups": 1 }), 422),
        (json!([]), 422),
    ] {
        let (status, problem) = server.post(&format!("{REVIEW}/join"), body).await;
        assert_eq!(status, wanted, "{problem}");
    }
    for query in ["limit=0", "limit=-1", "limit=x", "limit=99999", "cursor=x", "cursor=-1"] {
        let path = format!("{REVIEW}/mislabelled?{query}");
        let (status, problem) = server.ask(Method::GET, &path, None).await;
        assert_eq!(status, 422, "{query}: {problem}");
    }
    // Past the end there is nothing, which is no error.
    let page = server.get(&format!("{REVIEW}/mislabelled?cursor=999999")).await;
    assert_eq!((&page["items"], &page["next_cursor"]), (&json!([]), &Value::Null));
    for (method, path) in [
        (Method::GET, "/datasets/none/review"),
        (Method::POST, "/datasets/none/review"),
        (Method::DELETE, "/datasets/none/review"),
        (Method::GET, "/datasets/none/review/map"),
    ] {
        assert_eq!(server.ask(method, path, None).await.0, 404, "{path}");
    }
    // Twice is as once.
    for _ in 0..2 {
        let (status, _) = decide(json!([id, id]), "mislabelled", "confirmed").await;
        assert_eq!(status, 200);
        assert_eq!(list(&server, "mislabelled").await.len(), suspects.len() - 1);
        server.post(&format!("{REVIEW}/join"), json!({})).await;
    }
    let (_, joined) = server.post(&format!("{REVIEW}/join"), json!({})).await;
    assert_eq!(joined, json!({ "groups": 0, "moved": 0 }));
    let after = server.get("/datasets/faulty").await;
    assert_eq!((&after["images"], &after["classes"]), (&before["images"], &before["classes"]));
}

#[tokio::test]
async fn killed_reviews_are_reported_and_done_again() {
    let data = tempfile::tempdir().unwrap();
    let mut server = dataset(data.path(), &few()).await;
    let pid = running(&server).await;
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let state = status_becomes(&server, "failed").await;
    assert_eq!(state["error"]["code"], "review_died", "{state}");
    // It is not tried for ever, but a person may.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(server.get(REVIEW).await["status"], "failed");
    assert_eq!(server.post(REVIEW, json!({})).await.0, 202);
    reviewed(&server).await;
    let suspects = list(&server, "mislabelled").await;

    // Killed with its server, at several moments; the review of before stays until there is another.
    for number in 0..2_u32 {
        let photo = (format!("train/down/more-{number}.png"), png(&stripes(1, 300 + number)));
        import(&server, "", &[photo]).await;
        let child = running(&server).await;
        tokio::time::sleep(std::time::Duration::from_millis(u64::from(number) * 300)).await;
        server.signal(Signal::KILL);
        server.end(Signal::KILL);
        let begun = Instant::now();
        while Path::new(&format!("/proc/{child}/exe")).exists() {
            assert!(begun.elapsed() < PATIENCE, "the process of the review lives on");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        server = Process::start(data.path());
        let state = server.get(REVIEW).await;
        assert!(!state["result"].is_null(), "{state}");
        assert!(list(&server, "mislabelled").await.len() >= suspects.len() - 1);
    }
    let state = reviewed(&server).await;
    assert_eq!(state["result"]["labelled"], 26);
}

#[tokio::test]
async fn damaged_files_cost_a_photo_or_a_review_and_no_more() {
    let data = tempfile::tempdir().unwrap();
    let mut server = dataset(data.path(), &few()).await;
    reviewed(&server).await;
    let id = server.get("/datasets/faulty").await["id"].as_str().unwrap().to_owned();
    let result = data.path().join("reviews").join(id).join("result.json");
    let whole = fs::read(&result).unwrap();
    let half = whole[..whole.len() / 2].to_vec();
    for damage in [Vec::new(), half] {
        server.end(Signal::TERM);
        fs::write(&result, damage).unwrap();
        server = Process::start(data.path());
        let state = reviewed(&server).await;
        assert_eq!(state["result"]["labelled"], 24, "{state}");
    }

    // Photos whose files are empty, cut off or gone: the others are reviewed, and these are counted. Their
    // features are no longer in the cache.
    server.end(Signal::TERM);
    let cache = data.path().join("cache");
    fs::remove_dir_all(&cache).unwrap();
    let blobs = walkdir::WalkDir::new(data.path().join("blobs")).sort_by_file_name();
    let blobs = blobs.into_iter().map(Result::unwrap).filter(|it| it.file_type().is_file());
    let blobs: Vec<_> = blobs.map(|entry| entry.path().to_owned()).collect();
    assert_eq!(blobs.len(), 24);
    fs::write(&blobs[0], "").unwrap();
    let bytes = fs::read(&blobs[1]).unwrap();
    fs::write(&blobs[1], &bytes[..bytes.len() / 2]).unwrap();
    fs::remove_file(&blobs[2]).unwrap();
    fs::remove_file(&result).unwrap();
    let server = Process::start(data.path());
    let state = reviewed(&server).await;
    assert_eq!(
        (&state["result"]["unreadable"], &state["result"]["labelled"]),
        (&json!(3), &json!(21)),
        "{state}"
    );
}

#[tokio::test]
async fn datasets_may_change_and_go_while_they_are_reviewed() {
    let data = tempfile::tempdir().unwrap();
    let server = dataset(data.path(), &few()).await;
    running(&server).await;
    // Renamed, relabelled, deleted from: what is listed is what is there now.
    let class = "/datasets/faulty/classes/down";
    let renamed = json!({ "name": "downwards" });
    let images = server.get("/datasets/faulty/images?limit=500").await;
    let first = &images["items"][0]["id"];
    let path = format!("/datasets/faulty/images/{}", first.as_str().unwrap());
    assert_eq!(server.ask(Method::DELETE, &path, None).await.0, 204);
    assert_eq!(server.ask(Method::PATCH, class, Some(renamed)).await.0, 200);
    let state = reviewed(&server).await;
    assert_eq!(state["result"]["labelled"], 23);
    for kind in ["mislabelled", "outliers"] {
        assert!(list(&server, kind).await.iter().all(|it| it["image"]["id"] != *first), "{kind}");
    }
    let map = server.get(&format!("{REVIEW}/map")).await;
    assert!(!map["images"].as_array().unwrap().contains(first));

    import(&server, "", &[("train/down/new.png".to_owned(), png(&stripes(1, 400)))]).await;
    let child = running(&server).await;
    assert_eq!(server.ask(Method::DELETE, "/datasets/faulty", None).await.0, 204);
    let begun = Instant::now();
    while reviewers(&server).contains(&child) {
        assert!(begun.elapsed() < PATIENCE, "the review of a deleted dataset goes on");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(server.ask(Method::GET, REVIEW, None).await.0, 404);
}

/// Datasets that leave nothing to learn from: all photos alike, one class, one photo of the second class.
#[tokio::test]
async fn degenerate_datasets_are_reviewed() {
    let grey = |number: u32| {
        let shade = 100 + (number % 3) as u8;
        png(&image::RgbImage::from_pixel(40 + number, 40, image::Rgb([shade; 3])))
    };
    let of = |class: &dyn Fn(u32) -> &'static str, photo: &dyn Fn(u32) -> Vec<u8>| {
        let file = |number| (format!("train/{}/{number}.png", class(number)), photo(number));
        (0..24).map(file).collect::<Vec<_>>()
    };
    let two = |number: u32| CLASSES[number as usize % 2];
    let stripes = |number: u32| png(&stripes(0, number));
    for (what, files) in [
        ("all alike", of(&two, &grey)),
        ("one class", of(&|_| "across", &stripes)),
        ("one of the second", of(&|number| CLASSES[usize::from(number == 0)], &stripes)),
    ] {
        let data = tempfile::tempdir().unwrap();
        let server = dataset(data.path(), &files).await;
        let state = reviewed(&server).await;
        assert_eq!(state["result"]["labelled"], 24, "{what}: {state}");
        for kind in ["mislabelled", "duplicates", "outliers", "unlabelled"] {
            list(&server, kind).await;
        }
        let map = server.get(&format!("{REVIEW}/map")).await;
        let places = ["x", "y"].map(|axis| map[axis].as_array().unwrap().clone()).concat();
        let inside = |place: &Value| place.as_f64().is_some_and(|it| (0.0..=1.0).contains(&it));
        assert!(places.len() == 48 && places.iter().all(inside), "{what}: {places:?}");
    }
}
