//! Nothing is lost and nothing is removed in doubt: rows over migrations, versions, manifests, epochs
//! that were never read, and which models are compared.
#![cfg(target_os = "linux")]

use std::{fs, path::Path, time::Duration};

use crate::common::{
    IMAGES, Server, photo,
    process::{PATIENCE, Process, kill, photos},
};
use pawprint::{
    domain::{
        DatasetId, ModelId,
        dataset::{Classes, Digest, Split},
        job::JobStatus,
        model::ModelCard,
        review::List,
    },
    registry::embedded,
    storage::{self, Storage, datasets, image_pages, jobs, models, reviews},
};
use rustix::process::Signal;
use serde_json::json;
use sqlx::{SqlitePool, migrate::Migrator, sqlite::SqliteConnectOptions};

async fn storage(folder: &Path) -> Storage {
    Storage::open(&folder.join("pawprint.sqlite")).await.unwrap()
}

/// A database as the first `version` migrations made it.
async fn old_database(folder: &Path, version: usize) -> SqlitePool {
    let migrations = folder.join("migrations");
    fs::create_dir(&migrations).unwrap();
    let all = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let mut files: Vec<_> = fs::read_dir(all).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    for file in &files[..version] {
        fs::copy(file, migrations.join(file.file_name().unwrap())).unwrap();
    }
    let path = folder.join("pawprint.sqlite");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let old = SqlitePool::connect_with(options).await.unwrap();
    Migrator::new(migrations.as_path()).await.unwrap().run(&old).await.unwrap();
    old
}

#[tokio::test]
async fn datasets_that_are_older_than_open_ones_stay_closed() {
    let folder = tempfile::tempdir().unwrap();
    let old = old_database(folder.path(), 4).await;
    let id = DatasetId::new();
    let time = "2026-01-01T00:00:00Z";
    let digest = Digest::of(b"v");
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        r#"INSERT INTO datasets (id, name, classes, created_at)
           VALUES ('{id}', 'pets', '["wolf","dog","Dog.2"]', '{time}');
           INSERT INTO images VALUES ('{id}', '{id}', '{digest}', 'dog.jpg', 1, 'train', 'image/jpeg',
                                      4, 3, 9, 1, '{time}');"#
    )))
    .execute(&old)
    .await
    .unwrap();
    old.close().await;

    let storage = storage(folder.path()).await;
    let mut connection = storage.write().await.unwrap();
    let row = datasets::find(&mut connection, "pets").await.unwrap().unwrap();
    let names: Vec<&str> = row.classes.names().iter().map(|name| &**name).collect();
    assert_eq!((row.open, names), (false, vec!["wolf", "dog", "Dog.2"]));
    let page = image_pages::page(&mut connection, id, None, Some(1), None, 10).await.unwrap();
    assert_eq!(&*page.items[0].label, "dog");
    let counts = datasets::counts(&mut connection, &row).await.unwrap().0;
    assert_eq!(counts[&Split::Train].values().sum::<u64>(), 1);
}

#[tokio::test]
async fn older_decisions_of_reviews_get_the_split_of_their_image() {
    let folder = tempfile::tempdir().unwrap();
    let old = old_database(folder.path(), 14).await;
    let id = DatasetId::new();
    let [kept, deleted] = [b"k", b"d"].map(|content| Digest::of(content));
    let time = "2026-01-01T00:00:00Z";
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        r#"INSERT INTO datasets (id, name, classes, created_at) VALUES ('{id}', 'pets', '["cat","dog"]', '{time}');
           INSERT INTO images VALUES ('{id}', '{id}', '{kept}', 'dog.jpg', 1, 'test', 'image/jpeg', 4, 3, 9, 1, '{time}');
           INSERT INTO review_decisions VALUES ('{id}', '{kept}', 'duplicates', 'dog', 'dismissed', '{time}'),
                                               ('{id}', '{deleted}', 'duplicates', 'cat', 'dismissed', '{time}');"#
    )))
    .execute(&old)
    .await
    .unwrap();
    old.close().await;

    let storage = storage(folder.path()).await;
    let mut connection = storage.read().await.unwrap();
    let images = [kept, deleted];
    let decided = reviews::decided(&mut connection, id, List::Duplicates, &images).await.unwrap();
    assert_eq!(images.map(|image| decided[&image].split), [Some(Split::Test), None]);
}

#[tokio::test]
async fn rows_of_the_first_schema_come_through_every_migration() {
    let folder = tempfile::tempdir().unwrap();
    let old = old_database(folder.path(), 1).await;
    let (id, version) = (DatasetId::new(), Digest::of(b"v").to_string());
    let [first, second] = [ModelId::new(), ModelId::new()];
    let params = r#"{"epochs":1,"batch_size":8,"learning_rate":0.001,"seed":0,"early_stopping_patience":null,
                     "precision":"auto","device":"auto"}"#;
    let time = "2026-01-01T00:00:00Z";
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        r#"INSERT INTO datasets VALUES ('{id}', 'pets', '["cat","dog"]', '{version}', '2026-01-01T00:00:00Z');
           INSERT INTO images VALUES ('{id}', '{id}', '{version}', 'cat.jpg', 0, 'train', 'image/jpeg',
                                      4, 3, 9, 1, '2026-01-01T00:00:00Z');
           INSERT INTO jobs (id, name, recipe, dataset, dataset_version, params, status, model_id, created_at)
           VALUES ('{id}', 'run', 'scratch_cnn', 'pets', '{version}', '{params}', 'succeeded', '{first}', '{time}');
           INSERT INTO models VALUES ('{first}', 'run', 'scratch_cnn', 'cnn', '["cat","dog"]', '{id}', 'pets',
                                      '{version}', 0.5, 0.9, NULL, 1, 1, '{time}');
           INSERT INTO models VALUES ('{second}', 'other', 'scratch_cnn', 'cnn', '["cat","dog"]', NULL, 'pets',
                                      '{version}', 0.5, 0.8, NULL, 1, 1, '{time}');"#
    )))
    .execute(&old)
    .await
    .unwrap();
    old.close().await;

    let storage = storage(folder.path()).await;
    let mut connection = storage.read().await.unwrap();
    let row = datasets::find(&mut connection, "pets").await.unwrap().unwrap();
    assert_eq!((row.id, row.version.map(|it| it.to_string())), (id, Some(version)));
    assert_eq!(datasets::counts(&mut connection, &row).await.unwrap().1, 1);
    assert_eq!(row.revision, 0);
    let job = jobs::find(&mut connection, "run").await.unwrap().unwrap();
    assert_eq!((job.status, job.service), (JobStatus::Succeeded, None));
    drop(connection);

    // Models that nothing was decided on are ranked as they were then, behind those selected since;
    // models that were decided against are not ranked.
    let mut connection = storage.write().await.unwrap();
    let new = card("new", "other-pets", &["cat", "dog"], 1.0);
    models::insert(&mut connection, &new, 1).await.unwrap();
    for (selected, ranked) in [
        (false, vec![first, second]),
        (true, vec![new.id, first, second]),
        (false, vec![first, second]),
    ] {
        models::decide(&mut connection, new.id, selected).await.unwrap();
        assert_eq!(models::best_first(&mut connection, "default").await.unwrap(), ranked);
    }
    assert_eq!(models::ids(&mut connection).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_version_that_was_computed_before_a_change_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let storage = storage(folder.path()).await;
    let mut connection = storage.write().await.unwrap();
    let name = "pets".parse().unwrap();
    let id = datasets::insert(&mut connection, &name, &Classes::default(), false).await.unwrap();
    let row = datasets::find(&mut connection, "pets").await.unwrap().unwrap();
    let revision = row.revision;
    datasets::clear_version(&mut connection, id).await.unwrap();
    datasets::store_version(&mut connection, id, revision, Digest::of(b"old")).await.unwrap();
    let row = datasets::find(&mut connection, "pets").await.unwrap().unwrap();
    assert_eq!(row.version, None);
    let version = Digest::of(b"new");
    datasets::store_version(&mut connection, id, revision + 1, version).await.unwrap();
    let row = datasets::find(&mut connection, "pets").await.unwrap().unwrap();
    assert_eq!(row.version, Some(version));
}

#[tokio::test]
async fn once_there_is_room_again_the_database_takes_writes_again() {
    let folder = tempfile::tempdir().unwrap();
    let storage = storage(folder.path()).await;
    let mut transaction = storage.write().await.unwrap();
    // A disk on which this is all the room there is.
    let pages = "PRAGMA max_page_count = 1";
    sqlx::query(pages).fetch_all(&mut *transaction).await.unwrap();
    let insert = "INSERT INTO datasets (id, name, classes, created_at)
                  VALUES (hex(randomblob(16)), hex(randomblob(100000)), '[]', '')";
    let error = sqlx::query(insert).execute(&mut *transaction).await.unwrap_err();
    assert!(storage::Error::from(error).is_disk_full());
    drop(transaction);

    assert!(storage.is_writable().await);
    for _ in 0..10 {
        storage.check().await.unwrap();
    }
}

/// A model of that name, dataset and validation accuracy.
fn card(name: &str, dataset: &str, classes: &[&str], accuracy: f64) -> ModelCard {
    let (mut card, _) = embedded::model().unwrap();
    card.id = ModelId::new();
    card.name = name.parse().unwrap();
    card.dataset = dataset.parse().unwrap();
    card.classes =
        Classes::new(classes.iter().map(|class| class.parse().unwrap()).collect()).unwrap();
    card.validation.accuracy = accuracy;
    card.created_at = pawprint::domain::Timestamp::now();
    card
}

#[tokio::test]
async fn only_models_of_one_dataset_and_its_classes_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let storage = storage(folder.path()).await;
    let mut connection = storage.write().await.unwrap();
    let mut best = async |card: ModelCard| {
        models::insert(&mut connection, &card, 1).await.unwrap();
        let best = models::best_first(&mut connection, "default").await.unwrap()[0];
        let model = models::find(&mut connection, &best.to_string(), None).await.unwrap();
        model.unwrap().name.to_string()
    };
    let pets = ["cat", "dog"];
    assert_eq!(best(card("default", "shipped", &pets, 1.0)).await, "default");
    assert_eq!(best(card("pets-1", "pets", &pets, 0.9)).await, "pets-1");
    assert_eq!(best(card("pets-2", "pets", &pets, 0.8)).await, "pets-1");
    // Another dataset, however hard it is; and other classes under the same name.
    assert_eq!(best(card("parts-1", "parts", &["good", "bad"], 0.6)).await, "parts-1");
    assert_eq!(best(card("parts-2", "parts", &["good", "poor"], 0.5)).await, "parts-2");
    assert_eq!(best(card("pets-3", "pets", &pets, 0.7)).await, "pets-1");
}

#[tokio::test]
async fn no_image_is_removed_while_a_manifest_can_not_be_read() {
    let server = Server::start().await;
    server.pets().await;
    for (number, split, label) in [
        (0, "train", "cat"),
        (1, "train", "dog"),
        (2, "validation", "cat"),
        (3, "validation", "dog"),
    ] {
        let path = format!("{IMAGES}?split={split}&label={label}");
        server.upload(&path, &[("x.jpg", photo(number))]).await.ok();
    }
    let job = json!({ "recipe": "scratch_cnn", "dataset": "pets" });
    let job = server.json("POST", "/jobs", job).await.ok()["id"].as_str().unwrap().to_owned();
    let frozen = async || {
        let frozen = server.app.scheduler.snapshot_images().await;
        frozen.map(|(_guard, images)| images.len())
    };
    assert_eq!(frozen().await.unwrap(), 4);

    let manifest = server.folder.path().join(format!("jobs/{job}/manifest.jsonl"));
    let whole = fs::read(&manifest).unwrap();
    for damage in [&whole[..whole.len() - 9], b"\0\0\0"] {
        fs::write(&manifest, damage).unwrap();
        assert!(frozen().await.is_err());
    }
    fs::remove_file(&manifest).unwrap();
    assert!(frozen().await.is_err());

    // Of a job that is deleted, nothing is needed any more.
    server.post(&format!("/jobs/{job}/cancel"), "").await.ok();
    server.delete(&format!("/jobs/{job}")).await;
    assert_eq!(frozen().await.unwrap(), 0);
}

#[tokio::test]
async fn a_trainer_that_was_stopped_is_noticed_and_replaced() {
    let server = Server::with(|config| {
        config.trainer_program = Some(env!("CARGO_BIN_EXE_pawprint").into());
        config.trainer_silence = Duration::from_secs(13);
    })
    .await;
    tokio::spawn(server.app.scheduler.clone().run());
    server.pets().await;
    server.post("/datasets/pets/archive", crate::common::tar(&photos(8))).await.ok();
    let params = json!({ "epochs": 2, "batch_size": 4, "precision": "fp32", "device": "cpu" });
    let job = json!({ "recipe": "scratch_cnn", "dataset": "pets", "params": params });
    let job = server.json("POST", "/jobs", job).await.ok()["id"].as_str().unwrap().to_owned();
    let path = format!("/jobs/{job}");
    let mut changes = server.app.scheduler.changes();
    let mut is_stopped = false;
    let ended = async {
        loop {
            let job = server.get(&path).await.ok();
            if !is_stopped && job["progress"]["phase"] == "training" {
                is_stopped = true;
                kill(Process::trainers(job["id"].as_str().unwrap())[0], Signal::STOP);
            }
            if job["finished_at"] != serde_json::Value::Null {
                return job;
            }
            changes.changed().await.unwrap();
        }
    };
    let job = tokio::time::timeout(PATIENCE, ended).await.unwrap();
    assert_eq!((&job["status"], &job["attempts"]), (&json!("succeeded"), &json!(2)), "{job}");
}

#[tokio::test]
async fn epochs_that_were_never_read_are_reported_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Process::start(folder.path());
    server.pets(8).await;
    let params = json!({ "epochs": 4, "batch_size": 4, "precision": "fp32", "device": "cpu" });
    let id = server.job(params).await;
    server.epoch(&id, 3).await;
    server.end(Signal::KILL);
    // As if they had still been in the pipe when the server was killed.
    let storage = storage(folder.path()).await;
    let mut transaction = storage.write().await.unwrap();
    sqlx::query("DELETE FROM epochs").execute(&mut *transaction).await.unwrap();
    sqlx::query("DELETE FROM job_events WHERE kind = 'epoch'")
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    storage.close().await;

    let server = Process::start(folder.path());
    assert_eq!(server.ended(&id).await["status"], "succeeded");
    assert_eq!(server.epochs(&id).await, [1, 2, 3, 4]);
}
