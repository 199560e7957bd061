//! The database itself.

use std::{collections::BTreeSet, fs};

use pawprint::storage::{models, upkeep};
use serde_json::Value;

use super::{Healthy, codes, doctor};

#[tokio::test]
async fn an_index_that_lacks_rows_is_rebuilt_and_no_row_is_lost() {
    let healthy = Healthy::new().await;
    // Rows are deleted while the table's index is hidden: the index keeps entries of rows that are
    // gone, as after a write that reached the disk by half.
    healthy
        .execute(
            "PRAGMA writable_schema = ON;
             CREATE TABLE aside AS SELECT sql FROM sqlite_schema WHERE name = 'images_by_content';
             UPDATE sqlite_schema SET type = 'table', name = 'hidden', tbl_name = 'hidden',
                 sql = 'CREATE TABLE hidden (sha256, id, PRIMARY KEY (sha256, id)) WITHOUT ROWID'
             WHERE name = 'images_by_content';
             PRAGMA writable_schema = RESET;",
        )
        .await;
    healthy.execute("DELETE FROM images WHERE id = (SELECT MIN(id) FROM images)").await;
    healthy
        .execute(
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET type = 'index', name = 'images_by_content',
                 tbl_name = 'images', sql = (SELECT sql FROM aside)
             WHERE name = 'hidden';
             PRAGMA writable_schema = RESET;
             DROP TABLE aside;",
        )
        .await;
    // Without the index, some rows can't be read.
    let found = healthy.findings();
    assert_eq!(codes(&found), ["index_damaged", "rows_unreadable"]);
    let advice = found["rows_unreadable"]["advice"].as_str().unwrap();
    assert!(advice.contains("rebuild the index with --repair"), "{advice}");
    let found = healthy.repair();
    assert_eq!(codes(&found), ["index_damaged"]);
    assert_eq!(found["index_damaged"]["repaired"], true);
    assert_eq!(codes(&healthy.findings()), Vec::<&str>::new());
    let mut connection = healthy.database().await;
    assert_eq!(upkeep::totals(&mut connection).await.unwrap().images, 15);
}

#[tokio::test]
async fn a_database_that_is_damaged_or_gone_is_told_with_the_way_out() {
    let healthy = Healthy::new().await;
    let path = healthy.root().join("pawprint.sqlite");
    let whole = fs::read(&path).unwrap();
    let mut connection = healthy.database().await;
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'images'";
    let page: i64 = sqlx::query_scalar(root).fetch_one(&mut connection).await.unwrap();
    upkeep::close(connection).await.unwrap();
    let mut pages = whole.clone();
    let begin = (usize::try_from(page).unwrap() - 1) * 4096;
    pages[begin..begin + 64].fill(0xa5);
    for (damage, code) in [
        (Some(&pages[..]), "database_damaged"),
        (Some(b"not a database, but long enough to be looked at as one"), "database_unreadable"),
        (Some(b""), "database_unreadable"),
        (None, "database_missing"),
    ] {
        match damage {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let before = fs::read(&path).ok();
        for found in [healthy.findings(), healthy.repair()] {
            assert!(found.contains_key(code), "{found:?}");
            let advice = found[code]["advice"].as_str().unwrap();
            assert!(advice.contains("`pawprint restore`"), "{advice}");
            assert!(!found.contains_key("unreferenced"), "{found:?}");
        }
        assert!(fs::read(&path).ok() == before);
        assert_eq!(healthy.images().len(), 16);
    }
}

#[tokio::test]
async fn references_to_rows_that_are_gone_are_cleared_where_they_may_be() {
    let healthy = Healthy::new().await;
    healthy
        .execute(
            "PRAGMA foreign_keys = OFF;
             DELETE FROM models WHERE name = 'mine';
             DELETE FROM datasets;
             INSERT INTO epochs VALUES ('x', 1, 0, 0, 0, 0, 0, 0, 0);",
        )
        .await;
    let output = doctor(healthy.root(), &["--json", "--repair"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let repaired: BTreeSet<_> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["code"] == "reference_broken")
        .map(|it| {
            (it["detail"].as_str().unwrap().split(' ').nth(5).unwrap(), it["repaired"] == true)
        })
        .collect();
    let expected = [("epochs", false), ("images", false), ("jobs", true), ("serving", true)];
    assert_eq!(repaired, expected.into(), "{report}");
    let mut connection = healthy.database().await;
    assert_eq!(upkeep::totals(&mut connection).await.unwrap().images, 16);
    assert_eq!(models::pinned(&mut connection).await.unwrap(), None);
}

#[tokio::test]
async fn a_database_of_another_version_is_told_from_a_damaged_one() {
    let healthy = Healthy::new().await;
    healthy.execute("DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)").await;
    let found = healthy.findings();
    assert_eq!(codes(&found), ["schema_older"]);
    assert_eq!(found["schema_older"]["severity"], "note");
    healthy.execute("UPDATE _sqlx_migrations SET success = FALSE WHERE version = 2").await;
    assert_eq!(codes(&healthy.findings()), ["schema_broken"]);
    healthy
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'from the future', TRUE, x'00', 0)",
        )
        .await;
    assert_eq!(codes(&healthy.findings()), ["schema_newer"]);
}

#[tokio::test]
async fn a_row_that_can_not_be_read_does_not_hide_the_others() {
    let healthy = Healthy::new().await;
    healthy.execute("UPDATE images SET sha256 = 'x' WHERE id = (SELECT MIN(id) FROM images)").await;
    healthy.execute("UPDATE jobs SET recipe = 'x'").await;
    fs::remove_file(healthy.model_file()).unwrap();
    let found = healthy.findings();
    assert_eq!(codes(&found), ["model_missing", "pinned_model", "rows_unreadable"]);
}
