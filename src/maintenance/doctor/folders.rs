//! What needs no row: permissions, room, leftovers, published weights, and the list of a backup's
//! files.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use rustix::fs::{Access, access, statvfs};

use super::{Code, Doctor, NEW_BACKUP};
use crate::{
    domain::base::Base,
    maintenance::{Error, cause, files, place::Found},
    weights::vgg16,
};

/// Uploads and jobs may end for want of room with less than this.
const LITTLE: u64 = 1 << 30;

impl Doctor<'_> {
    pub(super) fn check_folders(&mut self) -> Result<(), Error> {
        self.check_access();
        self.check_owners()?;
        let root = self.dir.root().to_owned();
        let disk = statvfs(&root).map_err(|error| Error::io(&root)(error.into()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < LITTLE {
            let detail = format!(
                "only {} are free on the disk of {}",
                indicatif::HumanBytes(free),
                root.display()
            );
            self.found(Code::LowSpace, detail, "make room: uploads and jobs fail on a full disk");
        }
        if !self.server_runs {
            let leftovers = entries(&self.dir.tmp())?;
            self.note_unreferenced("unfinished uploads", leftovers)?;
        }
        let aside = files::list(&self.dir.damaged()).unwrap_or_default().len();
        if aside > 0 {
            let detail = format!("files that were set aside in damaged/: {aside}");
            self.found(Code::SetAside, detail, "delete them when you no longer need them");
        }
        Ok(())
    }

    /// What this user may do. To root, everything is allowed; then the owners tell more.
    fn check_access(&mut self) {
        let dir = &self.dir;
        let all = [
            dir.root().to_owned(),
            dir.database(),
            dir.blobs(),
            dir.cache(),
            dir.jobs(),
            dir.models(),
            dir.prediction_photos(),
            dir.weights(),
            dir.tmp(),
        ];
        for path in all.into_iter().filter(|path| path.exists()) {
            let mut wanted = Access::READ_OK | Access::WRITE_OK;
            if path.is_dir() {
                wanted |= Access::EXEC_OK;
            }
            if let Err(error) = access(&path, wanted) {
                let shown = self.shown(&path);
                let shown = if shown.is_empty() { "the data directory".to_owned() } else { shown };
                let detail = format!("{shown} can't be read and written by this user: {error}");
                let advice = "run the server and this command as the user that the files belong to";
                self.found(Code::Permissions, detail, advice);
            }
        }
    }

    /// Files of another user than the directory's, as they appear where a command was run as root.
    fn check_owners(&mut self) -> Result<(), Error> {
        let root = self.dir.root().to_owned();
        let owner = fs::metadata(&root).map_err(Error::io(&root))?.uid();
        let mut others: BTreeMap<u32, (u64, PathBuf)> = BTreeMap::new();
        for entry in walkdir::WalkDir::new(&root).into_iter().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.uid() != owner {
                let (count, _) =
                    others.entry(metadata.uid()).or_insert_with(|| (0, entry.path().to_owned()));
                *count += 1;
            }
        }
        for (uid, (count, first)) in others {
            let detail = format!(
                "files of user {uid} in a data directory of user {owner}: {count}, the first being {}",
                self.shown(&first)
            );
            let advice = "give them to the user that the server runs as (chown)";
            self.found(Code::Owner, detail, advice);
        }
        Ok(())
    }

    pub(super) fn check_weights(&mut self) -> Result<(), Error> {
        for base in Base::published() {
            let path = self.dir.weights().join(base.weights_file());
            if let (true, Err(error)) = (path.exists(), vgg16::info(&path)) {
                let detail = format!("the {} weights are damaged: {}", base.title, cause(&error));
                let done = self.set_aside(&path)?;
                let advice = "supply them again with `pawprint weights fetch` or `weights import`";
                self.found(Code::WeightsDamaged, detail, advice).repairable(done);
            }
        }
        Ok(())
    }

    /// The files of a backup but for images, which are known by their names.
    pub(super) fn check_sums(&mut self, found: &Found) -> Result<(), Error> {
        let advice = NEW_BACKUP;
        if found.sums.len() as u64 != found.about.files {
            let detail = format!(
                "{} lists {} of the {} files of the backup",
                files::SUMS,
                found.sums.len(),
                found.about.files
            );
            self.found(Code::BackupFile, detail, advice);
        }
        for (file, digest) in found.sums.iter().filter(|(file, _)| !file.starts_with("blobs/")) {
            let problem = match files::hash(&found.root.join(file)) {
                Ok(hash) if hash == *digest => continue,
                Ok(_) => "is damaged: its content is not what was backed up".to_owned(),
                Err(error) => format!("can't be read: {error}"),
            };
            self.found(Code::BackupFile, format!("{file} {problem}"), advice);
        }
        Ok(())
    }
}

/// What lies in a folder, if that is there.
fn entries(folder: &std::path::Path) -> Result<Vec<PathBuf>, Error> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io(folder)(error)),
    }
}
