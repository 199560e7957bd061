//! Checks of a data directory that bypass the server.

use std::{fs, path::Path};

use safetensors::SafeTensors;
use sha2::{Digest as _, Sha256};
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};

/// Asserts that every image matches its hash, every model file is complete, and no partial upload is
/// left.
pub(crate) fn files(data: &Path) {
    for blob in walkdir::WalkDir::new(data.join("blobs")) {
        let blob = blob.unwrap();
        if blob.file_type().is_file() {
            let digest = hex::encode(Sha256::digest(fs::read(blob.path()).unwrap()));
            assert_eq!(blob.file_name().to_str(), Some(&*digest));
        }
    }
    for model in fs::read_dir(data.join("models")).unwrap() {
        let path = model.unwrap().path();
        if path.extension().is_some_and(|it| it == "safetensors") {
            let bytes = fs::read(&path).unwrap();
            SafeTensors::deserialize(&bytes)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
    let uploads: Vec<_> = fs::read_dir(data.join("tmp")).unwrap().collect();
    assert!(uploads.is_empty(), "{uploads:?}");
}

/// Asserts that the database is intact.
pub(crate) async fn database(data: &Path) {
    let options =
        SqliteConnectOptions::new().filename(data.join("pawprint.sqlite")).read_only(true);
    let mut connection = options.connect().await.unwrap();
    let said: Vec<String> =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut connection).await.unwrap();
    assert_eq!(said, ["ok"]);
    let lost = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut connection).await.unwrap();
    assert!(lost.is_empty(), "{} rows refer to none", lost.len());
}
