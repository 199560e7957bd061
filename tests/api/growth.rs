//! Much is stored: pages of lists and single rows are found without a look at the others, and what is remembered
//! of a dataset is that of its images now.

use std::{collections::BTreeSet, fs, path::Path};

use crate::common::{IMAGES, Server, photo};
use pawprint::{
    domain::{
        DatasetId, JobId, Name,
        dataset::{Classes, Digest, Split},
        job::JobStatus,
        parameters::Params,
        recipe::Recipe,
    },
    storage::{
        Storage, datasets, image_pages,
        images::{self, NewImage},
        job_pages::{self, Filter},
        jobs,
    },
};
use serde_json::{Value, json};
use sqlx::{Row as _, SqlitePool, sqlite::SqliteConnectOptions};

/// How the queries begin that are to look at all jobs, at all images of a dataset, or at all epochs or events
/// of a job.
const OF_ALL: &[&str] = &[
    // Statistics and sums of a dataset, and its snapshots: computed once, until it changes.
    "SELECT fingerprint AS",
    "SELECT id AS \"id: ImageId\", fingerprint AS",
    "SELECT width AS",
    "SELECT height AS",
    "SELECT media_type, COUNT(*)",
    "SELECT split AS \"split: Split\", label AS \"label: u32\", COUNT(*)",
    "SELECT id AS \"image_id: ImageId\", sha256",
    "SELECT COUNT(*) FROM unlabelled_images",
    // They end at a limit.
    "SELECT sha256 AS \"sha256: Digest\" FROM images WHERE dataset_id = ? AND +split",
    "WITH newest AS",
    "DELETE FROM prediction_photos WHERE sha256 IN (SELECT sha256 FROM (SELECT sha256, SUM(bytes)",
    // Numbers of jobs by status, out of an index.
    "SELECT status AS",
    // The curves of a job, and what an older attempt said of them.
    "SELECT epoch AS",
    "DELETE FROM job_events WHERE job_id = ? AND (epoch",
    // What is deleted goes with all that belongs to it.
    "DELETE FROM datasets",
    "DELETE FROM jobs",
    // The feedback of all models, out of an index of it alone.
    "SELECT model, COUNT(*) AS \"count!: i64\", SUM(feedback = label)",
    // Housekeeping, and the maintenance of a data directory.
    "SELECT DISTINCT sha256",
    "SELECT sha256 AS \"sha256: Digest\", bytes FROM prediction_photos",
    "SELECT id AS \"id: JobId\", status AS \"status: JobStatus\" FROM jobs ORDER BY id",
    "SELECT id AS \"id: JobId\", name AS \"name: Name\", status AS \"status: JobStatus\", dataset_version",
    "SELECT images.id, sha256, file_name, datasets.name",
    "SELECT unlabelled_images.id, sha256, file_name, datasets.name",
    "SELECT (SELECT COUNT(*) FROM datasets)",
    "UPDATE jobs SET dataset_id = NULL WHERE dataset_id NOT IN",
];

/// Whether a step of a query's plan looks at all rows of a table that grows, or all that belong to one dataset
/// or job.
fn looks_at_all(step: &str) -> bool {
    let of = |table: &str| step.split_whitespace().nth(1) == Some(table);
    let grows = [
        "jobs",
        "images",
        "unlabelled_images",
        "review_decisions",
        "epochs",
        "job_events",
        "evaluations",
        "attempts",
        "webhook_deliveries",
        "delivery",
        "next",
        "model_history",
        "shadow_differences",
        "test_predictions",
        "predictions",
        "prediction_photos",
    ]
    .into_iter()
    .any(of);
    let all_of_one = ["images", "unlabelled_images", "epochs", "job_events"].into_iter().any(of)
        && step.contains("_id=?)");
    grows && step.starts_with("SCAN") || all_of_one && !step.contains("sqlite_autoindex_images_1")
}

#[tokio::test]
async fn no_query_looks_at_rows_that_it_does_not_need() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pawprint.sqlite");
    Storage::open(&path).await.unwrap().close().await;
    let database = SqlitePool::connect_with(SqliteConnectOptions::new().filename(path));
    let database = database.await.unwrap();
    let (mut used, mut unknown, mut queries) = (BTreeSet::new(), BTreeSet::new(), 0);
    for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx")).unwrap() {
        let file: Value = serde_json::from_slice(&fs::read(file.unwrap().path()).unwrap()).unwrap();
        let query = file["query"].as_str().unwrap();
        let words = query.split_whitespace().collect::<Vec<_>>().join(" ");
        queries += 1;
        let plan = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}"));
        for step in sqlx::query(plan).fetch_all(&database).await.unwrap() {
            let step: String = step.get("detail");
            if looks_at_all(&step) {
                match OF_ALL.iter().find(|start| words.starts_with(**start)) {
                    Some(known) => used.insert((*known).to_owned()),
                    None => unknown.insert(format!("{step}: {words}")),
                };
            }
        }
    }
    assert!(queries > 50);
    assert_eq!(unknown, BTreeSet::new());
    let known = OF_ALL.iter().map(|start| (*start).to_owned()).collect();
    assert_eq!(used, known, "some of these no longer do");
}

async fn storage(folder: &Path) -> Storage {
    Storage::open(&folder.join("pawprint.sqlite")).await.unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

#[tokio::test]
async fn pages_have_each_job_that_the_filter_lets_through_once() {
    let folder = tempfile::tempdir().unwrap();
    let storage = storage(folder.path()).await;
    let mut connection = storage.write().await.unwrap();
    let mut sets = Vec::new();
    for of in ["pets", "birds"] {
        let classes = Classes::default();
        let id = datasets::insert(&mut connection, &name(of), &classes, false).await.unwrap();
        sets.push((id, name(of)));
    }
    let mut all = Vec::new();
    for number in 0..24 {
        let (dataset_id, dataset) = sets[number / 2 % 2].clone();
        let recipe = if number % 3 == 0 { Recipe::ScratchCnn } else { Recipe::AugmentedCnn };
        let job = jobs::NewJob {
            id: JobId::new(),
            name: name(&format!("job-{number}")),
            recipe,
            dataset_id,
            dataset: dataset.clone(),
            dataset_version: Digest::of(b"v"),
            params: Params::defaults(recipe),
        };
        jobs::insert(&mut connection, &job).await.unwrap();
        let status = if number % 5 < 2 { JobStatus::Cancelled } else { JobStatus::Queued };
        if status == JobStatus::Cancelled {
            let ended = jobs::finish(&mut connection, job.id, JobStatus::Queued, status, None);
            assert!(ended.await.unwrap());
        }
        all.insert(0, (job.id, status, recipe, dataset_id, dataset));
    }
    let statuses = [None, Some(JobStatus::Queued), Some(JobStatus::Running)];
    let references = [None, Some("birds".to_owned()), Some(sets[0].0.to_string())];
    for status in statuses {
        for recipe in [None, Some(Recipe::ScratchCnn)] {
            for dataset in references.iter().chain([&Some("none".to_owned())]) {
                let expected = all.iter().filter(|job| {
                    status.is_none_or(|status| status == job.1)
                        && recipe.is_none_or(|recipe| recipe == job.2)
                        && dataset
                            .as_ref()
                            .is_none_or(|of| *of == job.3.to_string() || **of == *job.4)
                });
                let expected: Vec<_> = expected.map(|job| job.0).collect();
                let (mut found, mut before) = (Vec::new(), None);
                loop {
                    let filter = Filter { status, recipe, dataset: dataset.clone(), before };
                    let page = job_pages::page(&mut connection, &filter, 3).await.unwrap();
                    assert!(page.items.len() <= 3);
                    found.extend(page.items.iter().map(|job| job.id));
                    let Some(next) = page.next_cursor else { break };
                    before = Some(next.parse().unwrap());
                }
                assert_eq!(found, expected, "{status:?} {recipe:?} {dataset:?}");
            }
        }
    }
    let (id, ..) = all[7];
    let by_name = jobs::find(&mut connection, "job-16").await.unwrap().unwrap();
    let by_id = jobs::find(&mut connection, &id.to_string()).await.unwrap().unwrap();
    assert_eq!((by_name.id, by_id.id, by_id.name), (id, id, name("job-16")));
    assert!(jobs::find(&mut connection, "job-24").await.unwrap().is_none());
}

async fn add(storage: &Storage, dataset: DatasetId, number: usize) {
    let mut connection = storage.write().await.unwrap();
    let image = NewImage {
        sha256: Digest::of(number.to_string().as_bytes()),
        file_name: number.to_string(),
        label: number % 3 % 2,
        split: Split::ALL[number / 2 % 2],
        media_type: "image/jpeg",
        width: 1,
        height: 1,
        bytes: 1,
        fingerprint: 0,
    };
    images::insert(&mut connection, dataset, &image).await.unwrap();
    connection.commit().await.unwrap();
}

#[tokio::test]
async fn pages_have_each_image_of_the_split_and_class_once() {
    let folder = tempfile::tempdir().unwrap();
    let storage = storage(folder.path()).await;
    let mut connection = storage.write().await.unwrap();
    let (pets, classes) = (name("pets"), Classes::default());
    let id = datasets::insert(&mut connection, &pets, &classes, false).await.unwrap();
    connection.commit().await.unwrap();
    for number in 0..25 {
        add(&storage, id, number).await;
    }
    let mut connection = storage.read().await.unwrap();
    for split in [None, Some(Split::Train), Some(Split::Test)] {
        for label in [None, Some(0), Some(1)] {
            let expected = (0..25).filter(|number| {
                label.is_none_or(|label| label == number % 3 % 2)
                    && split.is_none_or(|split| split == Split::ALL[number / 2 % 2])
            });
            let expected: Vec<_> = expected.map(|number| number.to_string()).collect();
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = image_pages::page(&mut connection, id, split, label, after, 4);
                let page = page.await.unwrap();
                found.extend(page.items.into_iter().map(|image| image.file_name));
                let Some(next) = page.next_cursor else { break };
                after = Some(next.parse().unwrap());
            }
            assert_eq!(found, expected, "{split:?} {label:?}");
        }
    }
    let of_training = (0..25).filter(|number| number / 2 % 2 == 0);
    let mut of_training: Vec<_> =
        of_training.map(|number: usize| Digest::of(number.to_string().as_bytes())).collect();
    of_training.sort_unstable();
    for place in (0..30).chain([u64::MAX]) {
        let found = image_pages::training_image(&mut connection, id, place).await.unwrap();
        assert_eq!(found, Some(of_training[(place % of_training.len() as u64) as usize]));
    }
    let none = image_pages::training_image(&mut connection, DatasetId::new(), 3).await.unwrap();
    assert_eq!(none, None);
}

#[tokio::test]
async fn what_is_remembered_of_a_dataset_ends_with_each_change() {
    let server = Server::start().await;
    server.pets().await;
    let look = async || {
        let [dataset, statistics] = [
            server.get("/datasets/pets").await.ok(),
            server.get("/datasets/pets/statistics").await.ok(),
        ];
        assert_eq!(dataset["counts"], statistics["counts"]);
        assert_eq!(server.get("/datasets").await.ok()["items"][0], dataset);
        let images = server.listed("").await;
        assert_eq!(
            (&dataset["images"], &statistics["images"]),
            (&json!(images.len()), &json!(images.len()))
        );
        let bytes: u64 = images.iter().map(|image| image["bytes"].as_u64().unwrap()).sum();
        assert_eq!((&dataset["bytes"], &statistics["bytes"]), (&json!(bytes), &json!(bytes)));
        (dataset["counts"].clone(), dataset["version"].clone(), images)
    };
    let mut seen = vec![look().await];
    let files = [("train/cat/0.jpg", photo(0)), ("train/dog/1.jpg", photo(1))];
    server.upload(IMAGES, &files).await.ok();
    seen.push(look().await);
    let image = format!("{IMAGES}/{}", seen[1].2[0]["id"].as_str().unwrap());
    server.json("PATCH", &image, json!({ "label": "dog" })).await.ok();
    seen.push(look().await);
    server.json("PATCH", &image, json!({ "split": "test" })).await.ok();
    seen.push(look().await);
    server.json("PATCH", "/datasets/pets/classes/dog", json!({ "name": "puppy" })).await.ok();
    seen.push(look().await);
    assert!(server.delete(&image).await.status.is_success());
    seen.push(look().await);
    let counts: Vec<_> = seen.iter().map(|(counts, ..)| &counts["train"]).collect();
    assert_eq!(
        counts,
        [
            &json!({ "cat": 0, "dog": 0 }),
            &json!({ "cat": 1, "dog": 1 }),
            &json!({ "cat": 0, "dog": 2 }),
            &json!({ "cat": 0, "dog": 1 }),
            &json!({ "cat": 0, "puppy": 1 }),
            &json!({ "cat": 0, "puppy": 1 }),
        ]
    );
    let versions: BTreeSet<_> = seen.iter().map(|(_, version, _)| version.to_string()).collect();
    assert_eq!(versions.len(), seen.len());
}
