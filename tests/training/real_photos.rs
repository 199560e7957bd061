//! The 5,000 photos of the reference notebook, where they are at hand: `PAWPRINT_REAL_DATA`
//! names the folder that holds `dogs-vs-cats/`.
#![expect(clippy::print_stdout, reason = "how long it took is worth knowing")]

use std::time::Instant;

use crate::common::{Server, skip::real_data};
use serde_json::json;

fn tar_of(folder: &std::path::Path, name: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all(name, folder).unwrap();
    archive.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_notebooks_photos_are_imported_with_the_notebooks_counts() {
    let Some(folder) = real_data() else { return };
    let server = Server::start().await;
    server.pets().await;
    let archive = tar_of(&folder.join("dogs-vs-cats"), "dogs-vs-cats");
    let started = Instant::now();
    let report = server.post("/datasets/pets/archive", archive).await.ok();
    println!("5,000 photos imported in {:.1?}", started.elapsed());
    assert_eq!(
        report,
        json!({ "added": 5_000, "duplicates": 0, "rejected": [], "rejected_total": 0,
                "ignored": { "count": 0, "examples": [] } })
    );
    let dataset = server.get("/datasets/pets").await.ok();
    let expected = json!({
        "train": { "cat": 1_000, "dog": 1_000 },
        "validation": { "cat": 500, "dog": 500 },
        "test": { "cat": 1_000, "dog": 1_000 },
    });
    assert_eq!(dataset["counts"], expected);
    let statistics = server.get("/datasets/pets/statistics").await.ok();
    assert_eq!(statistics["formats"], json!({ "image/jpeg": 5_000 }));
    assert_eq!(statistics["width"]["min"], 200);
    // No two of these photos are the same, whatever their fingerprints.
    assert_eq!(statistics["cross_split_duplicates"]["count"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn photos_of_all_sizes_are_imported() {
    let Some(folder) = real_data() else { return };
    let server = Server::start().await;
    server.pets().await;
    let archive = tar_of(&folder.join("originals"), "originals");
    let report = server.post("/datasets/pets/archive", archive).await.ok();
    assert_eq!(
        report,
        json!({ "added": 200, "duplicates": 0, "rejected": [], "rejected_total": 0,
                "ignored": { "count": 0, "examples": [] } })
    );
}
