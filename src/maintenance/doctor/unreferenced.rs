//! Files that nothing refers to. They do no harm, and the server removes them in time; here they
//! are counted, and removed where that was asked for and nothing is in doubt.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use sqlx::SqliteConnection;

use super::{Code, Doctor, Needed};
use crate::{
    blobs::Blobs,
    domain::{JobId, ModelId},
    maintenance::{Error, unreferenced::list_unreferenced},
    storage::{images, jobs, models, predictions},
};

impl Doctor<'_> {
    pub(super) async fn check_unreferenced(
        &mut self,
        connection: &mut SqliteConnection,
        needed: &Needed,
    ) -> Result<(), Error> {
        if self.doubt {
            return Ok(());
        }
        let store = Blobs::new(self.dir.blobs(), self.dir.tmp());
        // Read anew after the files: what was uploaded meanwhile is in use.
        let all = store.list()?;
        let used = images::digests(connection).await?;
        let unused: Vec<_> = all
            .into_iter()
            .filter(|(digest, _)| !used.contains(digest) && !needed.images.contains(digest))
            .collect();
        let unused_paths = unused.iter().map(|(digest, _)| store.path(digest)).collect();
        self.note_unreferenced("images that no dataset and no job has", unused_paths)?;

        let store = Blobs::new(self.dir.prediction_photos(), self.dir.tmp());
        let all = store.list()?;
        let used = predictions::photos(connection).await?;
        let used: HashSet<_> = used.into_iter().map(|photo| photo.sha256).collect();
        let unused = all.iter().filter(|(digest, _)| !used.contains(digest));
        let unused = unused.map(|(digest, _)| store.path(digest)).collect();
        self.note_unreferenced("images of predictions that are no longer in the log", unused)?;

        let known = jobs::statuses(connection).await?.into_iter().map(|(id, _)| id).collect();
        let folders =
            list_unreferenced::<JobId>(&self.dir.jobs(), &known).or_else(none_where_missing);
        let folders = folders.map_err(Error::io(&self.dir.jobs()))?;
        self.note_unreferenced("folders of jobs that do not exist", folders)?;

        let mut known = needed.models.clone();
        known.extend(models::ids(connection).await?);
        let files =
            list_unreferenced::<ModelId>(&self.dir.models(), &known).or_else(none_where_missing);
        let files = files.map_err(Error::io(&self.dir.models()))?;
        self.note_unreferenced("files of models that do not exist", files)
    }

    /// Notes files and folders that nothing refers to, and removes them where that was asked for.
    pub(super) fn note_unreferenced(
        &mut self,
        what: &str,
        paths: Vec<PathBuf>,
    ) -> Result<(), Error> {
        if paths.is_empty() {
            return Ok(());
        }
        let bytes: u64 = paths.iter().map(|path| size(path)).sum();
        let detail = format!("{what}: {} ({})", paths.len(), indicatif::HumanBytes(bytes));
        let mut done = None;
        if self.repair {
            for path in &paths {
                let removed =
                    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
                removed.map_err(Error::io(path))?;
            }
            done = Some("they were removed".to_owned());
        }
        self.found(Code::Unreferenced, detail, "the server removes them by itself")
            .repairable(done);
        Ok(())
    }
}

fn size(path: &Path) -> u64 {
    let files = walkdir::WalkDir::new(path).into_iter().flatten();
    files
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|it| it.len())
        .sum()
}

fn none_where_missing<T>(error: io::Error) -> io::Result<Vec<T>> {
    if error.kind() == io::ErrorKind::NotFound { Ok(Vec::new()) } else { Err(error) }
}
