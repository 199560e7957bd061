//! Decoded images: whether what is kept is what the images give.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use super::{Code, Doctor};
use crate::{
    blobs,
    domain::{
        base::BASES,
        dataset::Digest,
        preprocessing::{Normalization, Preprocessing},
    },
    maintenance::Error,
    training::image_cache,
    vision,
};

/// Bytes of a hash in an index.
const DIGEST: usize = size_of::<Digest>();
/// Records that are compared with their images, spread over the cache.
const SAMPLES: usize = 32;

impl Doctor<'_> {
    pub(super) fn check_cache(&mut self) -> Result<(), Error> {
        let entries = match fs::read_dir(self.dir.cache()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(Error::io(&self.dir.cache()))?,
        };
        let indexes = entries.flatten().map(|entry| entry.path());
        for index in indexes.filter(|path| path.extension().is_some_and(|it| it == "index")) {
            // A trainer fills it.
            let _lock = match File::open(index.with_extension("lock")) {
                Ok(lock) if lock.try_lock_shared().is_err() => continue,
                other => other.ok(),
            };
            if let Some(problem) = self.problem_of(&index) {
                let name = index.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let detail = format!("the decoded images cache/{name} are damaged: {problem}");
                let done = if self.repair { Some(discard(&index)?) } else { None };
                let advice = "remove them with --repair; the next job decodes the images again";
                self.found(Code::CacheDamaged, detail, advice).repairable(done);
            }
        }
        Ok(())
    }

    fn problem_of(&self, index: &Path) -> Option<String> {
        let hashes = match fs::read(index) {
            // A server has removed it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => return Some(error.to_string()),
            Ok(hashes) => hashes,
        };
        let (hashes, rest) = hashes.as_chunks::<DIGEST>();
        if !rest.is_empty() {
            return Some("its index ends in half an entry".to_owned());
        }
        let mut records = match File::open(index.with_extension("records")) {
            Err(error) => return Some(format!("its records can't be read: {error}")),
            Ok(records) => records,
        };
        // Of other kinds, only the program that wrote them knows what they should be.
        let name = index.file_stem()?;
        let sides = BASES.map(|base| base.side).into_iter().chain([Preprocessing::UNIT_180.width]);
        let (preprocessing, layout) = sides
            .map(|side| Preprocessing::square(side, Normalization::UnitRange))
            .map(|preprocessing| (preprocessing, image_cache::layout(&preprocessing)))
            .find(|(_, layout)| *name == *layout.name)?;
        let held = records.metadata().map_or(0, |metadata| metadata.len());
        if held < (hashes.len() * layout.bytes()) as u64 {
            return Some("it has fewer records than its index names".to_owned());
        }
        let step = hashes.len().div_ceil(SAMPLES).max(1);
        for (slot, hash) in hashes.iter().enumerate().step_by(step) {
            match is_of(&mut records, &preprocessing, slot, &self.dir.blobs(), Digest(*hash)) {
                Ok(Some(false)) => {
                    return Some(format!("the record of image {} is another", Digest(*hash)));
                }
                Ok(_) => {}
                Err(error) => return Some(format!("its records can't be read: {error}")),
            }
        }
        None
    }
}

/// Whether a record is what the image of that hash gives; nothing where that can't be told.
fn is_of(
    records: &mut File,
    preprocessing: &Preprocessing,
    slot: usize,
    blobs: &Path,
    digest: Digest,
) -> io::Result<Option<bool>> {
    let Ok(bytes) = blobs::read(blobs, &digest) else { return Ok(None) };
    let limits = vision::Limits::default();
    let Ok(image) = vision::prepare(&bytes, &limits, preprocessing) else {
        return Ok(None);
    };
    let mut record = vec![0; preprocessing.bytes()];
    records.seek(SeekFrom::Start((slot * record.len()) as u64))?;
    records.read_exact(&mut record)?;
    // Another processor may round otherwise.
    let differences = image.iter().zip(&record).map(|(a, b)| u64::from(a.abs_diff(*b)));
    Ok(Some(differences.sum::<u64>() <= image.len() as u64))
}

/// Removes a cache, the index first: slots without hashes are cut off, hashes without slots are not.
fn discard(index: &Path) -> Result<String, Error> {
    let paths: [PathBuf; 2] = [index.to_owned(), index.with_extension("records")];
    for path in &paths {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(path)(error));
            }
            _ => {}
        }
    }
    Ok("they were removed".to_owned())
}
