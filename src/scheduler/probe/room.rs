//! How much memory and disk space there is for a job, and how much of what it caches is there already.

use std::{collections::HashSet, ffi::OsString, fs, io, path::Path};

use sysinfo::{Process, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::domain::dataset::{Digest, Sample, Split};

/// Bytes of memory that a trainer can get, of the machine and of this process's control group; also those
/// of the trainers that run now, if it `waits` for them. `None` if the system does not tell.
pub(super) fn memory(waits: bool) -> Option<u64> {
    let mut system = System::new().ok()?;
    system.refresh_memory();
    let machine = Some(system.available_memory()).filter(|&bytes| bytes > 0);
    let own = sysinfo::get_current_pid().ok()?;
    let which = ProcessRefreshKind::nothing().with_memory();
    let processes = if waits { ProcessesToUpdate::All } else { ProcessesToUpdate::Some(&[own]) };
    system.refresh_processes_specifics(processes, false, which);
    let group = system.process(own).and_then(Process::cgroup_limits);
    // What the group's page cache takes is given back.
    let group = group
        .filter(|limits| limits.total_memory > 0)
        .map(|limits| limits.total_memory.saturating_sub(limits.rss));
    let free = machine.into_iter().chain(group).min()?;
    let children = system.processes().values().filter(|process| process.parent() == Some(own));
    let held: u64 = children.filter(|_| waits).map(Process::memory).sum();
    Some(free.saturating_add(held))
}

/// Bytes that are free in the file system of `folder`.
pub(super) fn disk(folder: &Path) -> Option<u64> {
    let free = rustix::fs::statvfs(folder).ok()?;
    Some(free.f_bavail.saturating_mul(free.f_frsize))
}

/// A cache that a probe has filled, and what a job still has to add to it in the server's own.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    pub(super) kind: CacheKind,
    /// The name of its index.
    index: OsString,
    /// Those that it holds: it holds them whole.
    splits: HashSet<Split>,
    /// Images without a record.
    pub(super) missing: u64,
    /// Bytes of a record.
    pub(super) record: u64,
}

impl Cache {
    /// How many of a job's `samples` lack a record now in `server`, the folder of the server's caches.
    pub(super) fn missing_in(&self, server: &Path, samples: &[Sample]) -> io::Result<u64> {
        let known = digests(&server.join(&self.index))?;
        let missing = samples.iter().filter(|sample| {
            self.splits.contains(&sample.split) && !known.contains(&sample.sha256)
        });
        Ok(missing.count() as u64)
    }
}

/// What a cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CacheKind {
    Pixels,
    Features,
    Maps,
}

impl CacheKind {
    /// By the name of its files, see `training::image_cache` and `training::features`.
    fn of(name: &str) -> Self {
        if name.contains("-features-") {
            Self::Features
        } else if name.contains("-before-stage") {
            Self::Maps
        } else {
            Self::Pixels
        }
    }
}

/// The caches that a probe has filled in the folder `probed` with records of some of its `few` images, and
/// how many of the job's `samples` lack a record in `server`, the folder of the server's.
pub(super) fn caches(
    probed: &Path,
    server: &Path,
    few: &[Sample],
    samples: &[Sample],
) -> io::Result<Vec<Cache>> {
    let mut caches = Vec::new();
    for entry in fs::read_dir(probed)? {
        let index = entry?.path();
        if index.extension().is_none_or(|extension| extension != "index") {
            continue;
        }
        let held = digests(&index)?;
        let records = fs::metadata(index.with_extension("records"))?.len();
        let (Some(name), false) = (index.file_name(), held.is_empty()) else { continue };
        let splits = few
            .iter()
            .filter(|sample| held.contains(&sample.sha256))
            .map(|sample| sample.split)
            .collect();
        let mut cache = Cache {
            kind: CacheKind::of(&name.to_string_lossy()),
            index: name.to_owned(),
            splits,
            missing: 0,
            record: records / held.len() as u64,
        };
        cache.missing = cache.missing_in(server, samples)?;
        caches.push(cache);
    }
    Ok(caches)
}

/// Those of `samples` without decoded pixels in the cache whose index is `index`.
pub(super) fn missing(index: &Path, samples: &[Sample]) -> io::Result<u64> {
    let known = digests(index)?;
    let missing = samples.iter().filter(|sample| !known.contains(&sample.sha256));
    Ok(missing.count() as u64)
}

/// The images in the index of a cache; none if it does not exist.
fn digests(index: &Path) -> io::Result<HashSet<Digest>> {
    let bytes = match fs::read(index) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashSet::new()),
        read => read?,
    };
    let (hashes, _) = bytes.as_chunks::<{ size_of::<Digest>() }>();
    Ok(hashes.iter().map(|hash| Digest(*hash)).collect())
}

/// Bytes of the files in `folder` and below; 0 if there is none.
pub(super) fn size(folder: &Path) -> u64 {
    let files = walkdir::WalkDir::new(folder).into_iter().flatten();
    let files = files.filter(|entry| entry.file_type().is_file());
    files.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// Bytes of the largest file in `folder` itself.
pub(super) fn largest(folder: &Path) -> u64 {
    let files = walkdir::WalkDir::new(folder).max_depth(1).into_iter().flatten();
    let files = files.filter(|entry| entry.file_type().is_file());
    files.filter_map(|entry| entry.metadata().ok()).map(|it| it.len()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ImageId;

    #[test]
    fn images_that_are_cached_already_take_no_space() {
        let folder = tempfile::tempdir().unwrap();
        let [probed, server] = ["probed", "server"].map(|name| folder.path().join(name));
        for folder in [&probed, &server] {
            fs::create_dir(folder).unwrap();
        }
        let sample = |number: u8, split| Sample {
            image_id: ImageId::new(),
            sha256: Digest([number; 32]),
            label: 0,
            split,
        };
        let samples: Vec<_> = (0..10)
            .map(|number| sample(number, if number < 6 { Split::Train } else { Split::Test }))
            .collect();
        let write = |folder: &Path, name: &str, held: &[u8]| {
            let hashes: Vec<u8> = held.iter().flat_map(|number| [*number; 32]).collect();
            fs::write(folder.join(format!("{name}.index")), hashes).unwrap();
            fs::write(folder.join(format!("{name}.records")), vec![0; held.len() * 7]).unwrap();
        };
        write(&probed, "180x180-v2", &[0, 1, 6]);
        write(&probed, "vgg16-0123-features-180x180-v2-cpu-fp32", &[0, 1]);
        write(&server, "180x180-v2", &[1, 2, 3, 99]);
        let few: Vec<_> = [0, 1, 6].map(|at| samples[at]).to_vec();
        let mut found = caches(&probed, &server, &few, &samples).unwrap();
        found.sort_by_key(|cache| cache.missing);
        let figures = found.iter().map(|cache| (cache.kind, cache.missing, cache.record));
        // Features of the training split only: six images, none of them known.
        assert_eq!(
            figures.collect::<Vec<_>>(),
            [(CacheKind::Features, 6, 7), (CacheKind::Pixels, 7, 7)]
        );
        assert_eq!(missing(&server.join("180x180-v2.index"), &samples).unwrap(), 7);
        assert_eq!(missing(&server.join("none.index"), &samples).unwrap(), 10);
        // Later, when a job has cached some more.
        write(&server, "vgg16-0123-features-180x180-v2-cpu-fp32", &[0, 1, 2, 3]);
        write(&server, "180x180-v2", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let now = found.iter().map(|cache| cache.missing_in(&server, &samples).unwrap());
        assert_eq!(now.collect::<Vec<_>>(), [2, 0]);
    }

    #[test]
    fn this_machine_has_memory_and_disk_space() {
        assert!(memory(false).unwrap() > 0);
        assert!(memory(true).unwrap() > 0);
        assert!(disk(Path::new("/")).is_some());
    }
}
