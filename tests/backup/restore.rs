//! Data directories out of backups.

use std::{fs, process::Command};

use pawprint::maintenance::doctor::{self, Code};

use super::{
    assert_healthy, back_up,
    common::{
        data::{execute, images},
        process::Process,
    },
    failure, findings, photos, restore, success,
};

#[tokio::test]
async fn only_an_empty_directory_is_restored_into() {
    let data = photos(4).await;
    let folder = tempfile::tempdir().unwrap();
    let [to, mine, empty] = ["backup", "mine", "empty"].map(|name| folder.path().join(name));
    success(&back_up(data.path(), &to));
    fs::create_dir_all(&mine).unwrap();
    fs::write(mine.join("notes.txt"), "x").unwrap();
    for target in [&mine, &data.path().to_owned()] {
        let said = failure(&restore(&to, target));
        assert!(said.contains("is not empty; restore into an empty or new directory"), "{said}");
    }
    assert_eq!(fs::read_dir(&mine).unwrap().count(), 1);
    // The root of a file system that was just made.
    fs::create_dir_all(empty.join("lost+found")).unwrap();
    success(&restore(&to, &empty));
    let said = failure(&restore(&mine, &folder.path().join("x")));
    assert!(said.contains("mine holds no Pawprint backup"), "{said}");
    assert!(!folder.path().join("x").exists());
    // A server must not start there meanwhile, nor a restore where one runs.
    let running = folder.path().join("running");
    fs::create_dir(&running).unwrap();
    let lock = fs::File::create(running.join("lock")).unwrap();
    lock.lock().unwrap();
    assert!(failure(&restore(&to, &running)).contains("in use"));
}

#[tokio::test]
async fn of_a_damaged_backup_everything_else_is_restored_and_the_rest_is_named() {
    let data = photos(12).await;
    let folder = tempfile::tempdir().unwrap();
    let [to, restored] = ["backup", "restored"].map(|name| folder.path().join(name));
    success(&back_up(data.path(), &to));
    let current = to.join("current");
    let blobs = images(&current);
    fs::write(&blobs[1], b"meow").unwrap();
    fs::remove_file(&blobs[2]).unwrap();
    let model = fs::read_dir(current.join("models")).unwrap().next().unwrap().unwrap().path();
    fs::write(&model, b"x").unwrap();
    let report = doctor::run(&to, false, &mut |_, _| {}).await.unwrap();
    assert!(!report.is_healthy() && report.is_backup);
    let advice = |it: &doctor::Finding| it.advice.starts_with("make a new backup");
    assert!(report.findings.len() >= 3 && report.findings.iter().all(advice), "{report:?}");

    let output = restore(&to, &restored);
    let said = failure(&output);
    assert!(said.contains("2 files damaged in the backup, and not restored"), "{said}");
    assert!(said.contains("1 file missing in the backup"), "{said}");
    for path in [&blobs[1], &blobs[2], &model] {
        let name = path.strip_prefix(&current).unwrap();
        assert!(said.contains(name.to_str().unwrap()), "{said}");
        assert!(!restored.join(name).exists());
    }
    let server = Process::start(&restored);
    assert_eq!(server.get("/datasets/pets").await["images"], 12);
    // The model in the binary is written again.
    assert_eq!(server.get("/readyz").await["status"], "ready");
}

#[tokio::test]
async fn a_backup_whose_list_of_files_is_cut_short_is_restored_and_that_is_told() {
    let data = photos(4).await;
    let folder = tempfile::tempdir().unwrap();
    let [to, restored] = ["backup", "restored"].map(|name| folder.path().join(name));
    success(&back_up(data.path(), &to));
    let sums = to.join("current/SHA256SUMS");
    let text = fs::read_to_string(&sums).unwrap();
    let short: String = text.lines().take(2).map(|line| format!("{line}\n")).collect();
    fs::write(&sums, short).unwrap();
    let said = failure(&restore(&to, &restored));
    assert!(said.contains("1 file restored unchecked"), "{said}");
    assert_healthy(&restored).await;
}

#[tokio::test]
async fn of_a_backup_without_its_database_nothing_is_restored() {
    let data = photos(4).await;
    let folder = tempfile::tempdir().unwrap();
    let [to, restored] = ["backup", "restored"].map(|name| folder.path().join(name));
    success(&back_up(data.path(), &to));
    let database = to.join("current/pawprint.sqlite");
    let whole = fs::read(&database).unwrap();
    for damage in [Some(&whole[..whole.len() / 2]), Some(b"x"), None] {
        match damage {
            Some(bytes) => fs::write(&database, bytes).unwrap(),
            None => fs::remove_file(&database).unwrap(),
        }
        let said = failure(&restore(&to, &restored));
        assert!(said.contains("the database of the backup is damaged"), "{said}");
    }
    // Nothing but the lock: the next restore works.
    assert_eq!(fs::read_dir(&restored).unwrap().count(), 1);
    fs::write(&database, &whole).unwrap();
    execute(
        &to.join("current"),
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'from the future', TRUE, x'00', 0)",
    )
    .await;
    fs::remove_file(to.join("current/SHA256SUMS")).unwrap();
    let said = failure(&restore(&to, &restored));
    assert!(said.contains("created by a newer version of Pawprint"), "{said}");
    fs::write(&database, &whole).unwrap();
    failure(&restore(&to, &restored));
    assert_healthy(&restored).await;
}

#[tokio::test]
async fn a_restore_that_broke_off_is_not_served_and_the_next_one_completes_it() {
    let data = photos(4).await;
    let folder = tempfile::tempdir().unwrap();
    let [to, restored] = ["backup", "restored"].map(|name| folder.path().join(name));
    success(&back_up(data.path(), &to));
    // Its database, cut short, one image that is whole, and one that is not.
    let blobs = images(&to.join("current"));
    for (number, blob) in blobs.iter().take(2).enumerate() {
        let half = restored.join(blob.strip_prefix(to.join("current")).unwrap());
        fs::create_dir_all(half.parent().unwrap()).unwrap();
        fs::write(half, if number == 0 { fs::read(blob).unwrap() } else { Vec::new() }).unwrap();
    }
    fs::write(restored.join("pawprint.sqlite.restoring"), b"SQLite").unwrap();
    let mut serve = Command::new(env!("CARGO_BIN_EXE_pawprint"));
    serve.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&restored);
    let said = failure(&serve.output().unwrap());
    assert!(said.contains("did not complete; run `pawprint restore` again"), "{said}");
    success(&restore(&to, &restored));
    assert_healthy(&restored).await;
    assert_eq!(images(&restored).len(), 4);
}

#[tokio::test]
async fn a_data_directory_of_the_first_version_is_backed_up_as_it_is() {
    let data = photos(4).await;
    let folder = tempfile::tempdir().unwrap();
    let [to, restored] = ["backup", "restored"].map(|name| folder.path().join(name));
    for sql in [
        "ALTER TABLE datasets DROP COLUMN revision",
        "DROP TABLE test_predictions",
        "DROP TABLE aliases",
        "DROP TABLE model_history",
        "DROP TABLE shadow",
        "DROP TABLE shadow_differences",
        "DROP TABLE unlabelled_images",
        "DROP TABLE review_decisions",
        "DROP INDEX images_by_split",
        "DROP INDEX images_by_class",
        "DROP INDEX jobs_by_dataset",
        "DROP INDEX jobs_by_dataset_id",
        "DROP TABLE evaluations",
        "ALTER TABLE jobs DROP COLUMN service",
        "ALTER TABLE models DROP COLUMN selected",
        "ALTER TABLE datasets DROP COLUMN open",
        "ALTER TABLE datasets DROP COLUMN named_version",
        "DROP TABLE prediction_photos",
        "DROP TABLE predictions",
        "DROP TABLE prediction_models",
        "DROP TABLE tokens",
        "DROP TABLE webhook_deliveries",
        "DROP TABLE webhooks",
        "DROP TABLE attempts",
        "ALTER TABLE models DROP COLUMN answer_above",
        "ALTER TABLE models DROP COLUMN unlike_above",
        "DELETE FROM _sqlx_migrations WHERE version > 1",
    ] {
        execute(data.path(), sql).await;
    }
    success(&back_up(data.path(), &to));
    success(&restore(&to, &restored));
    for root in [data.path(), &to, &restored] {
        let found = findings(root).await;
        let codes: Vec<_> = found.iter().map(|it| it.code).collect();
        assert_eq!(codes, [Code::SchemaOlder], "{found:?}");
    }
    let server = Process::start(&restored);
    assert_eq!(server.get("/datasets/pets").await["images"], 4);
    drop(server);
    assert_healthy(&restored).await;
}
