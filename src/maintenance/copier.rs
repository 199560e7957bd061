//! The files of a backup on their way into it.
//!
//! What a complete backup before this one has already is linked, not copied; so is what lies in a
//! data directory under several names, such as the weights that jobs begin with. That is safe
//! since nobody writes into a file of a backup.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Error,
    files::{self, Copied, Sums},
};
use crate::{blobs::Blobs, domain::dataset::Digest};

/// Copies files of a data directory into a backup, attempt by attempt.
pub(super) struct Copier {
    from: PathBuf,
    to: PathBuf,
    /// The complete backup before this one, and the hashes of its files.
    before: Option<(PathBuf, Sums)>,
    /// Files other than images by their hashes, of this backup and the one before.
    known: HashMap<Digest, PathBuf>,
    /// What lies in `to`.
    placed: Sums,
    /// What this attempt wants to lie there.
    sums: Sums,
    /// Files this attempt did not find.
    missing: BTreeSet<String>,
    /// Files whose content is not what it should be.
    damaged: BTreeSet<String>,
    /// Files that are missing or damaged, and that the backup before has.
    kept: BTreeSet<String>,
    /// Bytes of the files that were written, not linked.
    written: HashMap<String, u64>,
}

impl Copier {
    /// A copier from the data directory `from` to the folder `to`, where the complete backup before
    /// lies at `before` and has these `sums`.
    pub(super) fn new(from: &Path, to: &Path, before: Option<(PathBuf, Sums)>) -> Self {
        let mut known = HashMap::new();
        if let Some((root, sums)) = &before {
            let others = sums.iter().filter(|(path, _)| !path.starts_with("blobs/"));
            known.extend(others.map(|(path, digest)| (*digest, root.join(path))));
        }
        Self {
            from: from.to_owned(),
            to: to.to_owned(),
            before,
            known,
            placed: Sums::new(),
            sums: Sums::new(),
            missing: BTreeSet::new(),
            damaged: BTreeSet::new(),
            kept: BTreeSet::new(),
            written: HashMap::new(),
        }
    }

    /// Begins another attempt: what was placed before is placed again only where it is wanted.
    pub(super) fn begin(&mut self) {
        self.sums.clear();
        self.missing.clear();
        self.damaged.clear();
        self.kept.clear();
    }

    /// Where a file of the backup lies.
    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.to.join(file)
    }

    /// Where a file of the data directory lies.
    pub(super) fn source(&self, file: &str) -> PathBuf {
        self.from.join(file)
    }

    /// Files that this attempt wanted and did not find.
    pub(super) const fn missing(&self) -> &BTreeSet<String> {
        &self.missing
    }

    /// Files that this attempt found damaged.
    pub(super) const fn damaged(&self) -> &BTreeSet<String> {
        &self.damaged
    }

    /// Files that this attempt found missing or damaged, and took from the backup before.
    pub(super) const fn kept(&self) -> &BTreeSet<String> {
        &self.kept
    }

    /// Bytes that were written for what the last attempt wants.
    pub(super) fn copied_bytes(&self) -> u64 {
        self.sums.keys().filter_map(|file| self.written.get(file)).sum()
    }

    /// Copies the image of that hash. Where the data directory lacks it or has it damaged, that of
    /// the backup before is taken.
    pub(super) fn image(&mut self, digest: Digest) -> Result<(), Error> {
        let file = format!("blobs/{}", Blobs::name(&digest));
        if self.sums.contains_key(&file) {
            return Ok(());
        }
        match self.place_image(&file, digest)? {
            Copied::Whole(_) => {
                self.placed.insert(file.clone(), digest);
                self.sums.insert(file, digest);
            }
            _ if self.fall_back(&file)? => {}
            Copied::Missing => drop(self.missing.insert(file)),
            Copied::Damaged => drop(self.damaged.insert(file)),
        }
        Ok(())
    }

    fn place_image(&mut self, file: &str, digest: Digest) -> Result<Copied, Error> {
        let (from, to) = (self.from.join(file), self.to.join(file));
        // The last may be of a backup that was interrupted.
        if self.placed.contains_key(file) || (to.exists() && is(&to, digest)?) {
            return Ok(Copied::Whole(digest));
        }
        let size = bytes(&from)?;
        if let Some((root, _)) = &self.before {
            let before = root.join(file);
            if size.is_some() && bytes(&before)? == size && files::link(&before, &to)? {
                return Ok(Copied::Whole(digest));
            }
        }
        let copied = files::copy(&from, &to, Some(digest))?;
        if let Copied::Whole(_) = copied {
            self.written.insert(file.to_owned(), size.unwrap_or(0));
        }
        Ok(copied)
    }

    /// Takes a file from the backup before, if that has it whole.
    fn fall_back(&mut self, file: &str) -> Result<bool, Error> {
        let Some((root, sums)) = &self.before else { return Ok(false) };
        let (Some(&digest), before, to) = (sums.get(file), root.join(file), self.to.join(file))
        else {
            return Ok(false);
        };
        if !before.exists() || !is(&before, digest)? {
            return Ok(false);
        }
        if to.exists() {
            fs::remove_file(&to).map_err(Error::io(&to))?;
        }
        if !files::link(&before, &to)? {
            files::copy(&before, &to, Some(digest))?;
        }
        self.note(file, digest);
        self.kept.insert(file.to_owned());
        Ok(true)
    }

    /// Copies a file other than an image; gives whether it was there.
    pub(super) fn optional(&mut self, file: &str) -> Result<bool, Error> {
        let (from, to) = (self.from.join(file), self.to.join(file));
        let digest = match files::hash(&from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) if files::is_damage(&error) => {
                self.reject(file)?;
                return Ok(false);
            }
            other => other.map_err(Error::io(&from))?,
        };
        if self.placed.get(file) == Some(&digest) {
            self.sums.insert(file.to_owned(), digest);
            return Ok(true);
        }
        if to.exists() {
            fs::remove_file(&to).map_err(Error::io(&to))?;
        }
        if let Some(known) = self.known.get(&digest)
            && known.exists()
            && is(known, digest)?
            && files::link(known, &to)?
        {
            self.note(file, digest);
            return Ok(true);
        }
        // A log may have grown since.
        let Copied::Whole(digest) = files::copy(&from, &to, None)? else { return Ok(false) };
        self.written.insert(file.to_owned(), bytes(&to)?.unwrap_or(0));
        self.note(file, digest);
        Ok(true)
    }

    /// Notes a file that was written into the backup by others.
    pub(super) fn written(&mut self, file: &str) -> Result<(), Error> {
        let path = self.to.join(file);
        self.written.insert(file.to_owned(), bytes(&path)?.unwrap_or(0));
        self.note(file, files::hash(&path).map_err(Error::io(&path))?);
        Ok(())
    }

    /// Copies a file other than an image that must be there; gives whether it was. Where it was
    /// not, that of the backup before is taken.
    pub(super) fn required(&mut self, file: &str) -> Result<bool, Error> {
        let found = self.optional(file)?;
        if !found && !self.damaged.contains(file) && !self.fall_back(file)? {
            self.missing.insert(file.to_owned());
        }
        Ok(found)
    }

    /// Takes a file that was copied out again, since its content is damaged. That of the backup
    /// before is taken.
    pub(super) fn reject(&mut self, file: &str) -> Result<(), Error> {
        self.sums.remove(file);
        if !self.fall_back(file)? {
            self.damaged.insert(file.to_owned());
        }
        Ok(())
    }

    /// Takes a file that was copied out again.
    pub(super) fn withdraw(&mut self, file: &str) {
        self.sums.remove(file);
    }

    /// The files in a folder of the backup before.
    pub(super) fn before(&self, folder: &str) -> Vec<String> {
        let sums = self.before.iter().flat_map(|(_, sums)| sums.keys());
        sums.filter(|file| file.rsplit_once('/').is_some_and(|(at, _)| at == folder))
            .cloned()
            .collect()
    }

    /// Notes a file that lies in the backup already.
    fn note(&mut self, file: &str, digest: Digest) {
        self.known.insert(digest, self.to.join(file));
        self.placed.insert(file.to_owned(), digest);
        self.sums.insert(file.to_owned(), digest);
    }

    /// Removes everything from the backup that the last attempt did not want; gives what it has.
    pub(super) fn finish(self) -> Result<Sums, Error> {
        for file in files::list(&self.to)? {
            if !self.sums.contains_key(&file) {
                let path = self.to.join(&file);
                fs::remove_file(&path).map_err(Error::io(&path))?;
            }
        }
        for entry in walkdir::WalkDir::new(&self.to).min_depth(1).contents_first(true) {
            let entry = entry.map_err(|error| Error::io(&self.to)(error.into()))?;
            if entry.file_type().is_dir() {
                // One that holds something stays.
                let _ = fs::remove_dir(entry.path());
            }
        }
        Ok(self.sums)
    }
}

fn is(path: &Path, digest: Digest) -> Result<bool, Error> {
    Ok(files::hash(path).map_err(Error::io(path))? == digest)
}

/// The size of a file, if it is there.
fn bytes(path: &Path) -> Result<Option<u64>, Error> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path)(error)),
    }
}
