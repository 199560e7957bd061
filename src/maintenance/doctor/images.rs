//! Rows of images against the files of their bytes.

use std::collections::HashMap;

use sqlx::SqliteConnection;

use super::{Code, Doctor, Needed};
use crate::{
    blobs,
    domain::dataset::Digest,
    maintenance::Error,
    storage::{
        images,
        upkeep::{self, ImageRow},
    },
};

/// How the bytes of an image are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bytes {
    /// As they were uploaded.
    Whole,
    /// Not there.
    Missing,
    /// Others, or not to be read, for this reason.
    Damaged(String),
}

const UPLOAD: &str =
    "upload the same image again, copy the file out of a backup, or delete the image";

impl Doctor<'_> {
    pub(super) async fn check_images(
        &mut self,
        connection: &mut SqliteConnection,
        needed: &mut Needed,
    ) -> Result<(), Error> {
        let Some(rows) = self.readable(upkeep::images(connection).await) else { return Ok(()) };
        let mut by_content: HashMap<Digest, Vec<&ImageRow>> = HashMap::new();
        for row in &rows {
            match row.sha256.parse() {
                Ok(digest) => by_content.entry(digest).or_default().push(row),
                Err(_) => {
                    self.doubt = true;
                    let detail = format!("image {}: its hash is not one", shown(row));
                    self.found(Code::RowsUnreadable, detail, "restore the last backup");
                }
            }
            if let (Some(label), Some(classes)) = (row.label, row.classes)
                && !(0..classes).contains(&label)
            {
                let detail = format!("image {}: its dataset has no class {label}", shown(row));
                self.found(Code::ImageLabel, detail, "relabel the image, or delete it");
            }
        }
        let mut contents: Vec<_> = by_content.iter().collect();
        contents.sort_unstable_by_key(|(digest, _)| **digest);
        let total = contents.len() as u64;
        for (done, (digest, rows)) in (0..).zip(contents) {
            (self.progress)(done, total);
            needed.images.insert(*digest);
            let bytes = self.bytes_of(digest);
            if bytes == Bytes::Whole {
                continue;
            }
            // Beside a server: the image may have been deleted, or uploaded again, since.
            if self.server_runs
                && (!images::is_used(connection, digest).await.unwrap_or(true)
                    || self.bytes_of(digest) == Bytes::Whole)
            {
                continue;
            }
            self.note_image(digest, rows, &bytes)?;
        }
        (self.progress)(total, total);
        Ok(())
    }

    fn note_image(
        &mut self,
        digest: &Digest,
        rows: &[&ImageRow],
        bytes: &Bytes,
    ) -> Result<(), Error> {
        let file = format!("blobs/{}", blobs::Blobs::name(digest));
        let image = rows.first().map_or_else(String::new, |row| shown(row));
        let others = match rows.len() {
            0 | 1 => String::new(),
            rows => format!(" (and of {} other images)", rows - 1),
        };
        match bytes {
            Bytes::Whole => {}
            Bytes::Missing => {
                let detail = format!("image {image}{others}: its file {file} is missing");
                self.found(Code::ImageMissing, detail, UPLOAD);
            }
            Bytes::Damaged(reason) => {
                let done = self.set_aside(&self.dir.root().join(&file))?;
                let detail = format!("image {image}{others}: its file {file} is damaged: {reason}");
                self.found(Code::ImageDamaged, detail, UPLOAD).done = done;
            }
        }
        Ok(())
    }

    /// How the bytes of that hash are.
    pub(super) fn bytes_of(&self, digest: &Digest) -> Bytes {
        let root = self.dir.blobs();
        match blobs::read(&root, digest) {
            Ok(_) => Bytes::Whole,
            Err(blobs::Error::Damaged(_)) => {
                if root.join(blobs::Blobs::name(digest)).exists() {
                    Bytes::Damaged("its content is not what was uploaded".to_owned())
                } else {
                    Bytes::Missing
                }
            }
            Err(error) => Bytes::Damaged(crate::error_chain::chain(&error)),
        }
    }
}

/// An image as a person knows it.
fn shown(row: &ImageRow) -> String {
    let dataset = row.dataset.as_deref().unwrap_or("that does not exist");
    format!("`{}` of dataset {dataset} ({})", row.file_name, row.id)
}
