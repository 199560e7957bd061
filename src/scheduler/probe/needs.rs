//! The memory and disk space that a job needs, from what a probe of it left, or at the very least.

use std::{io, path::Path};

use super::{
    room::{self, Cache, CacheKind},
    sample::images,
};
use crate::{
    device::cuda_is_available,
    domain::{
        base::Base,
        dataset::Sample,
        estimate::{
            CNN_SIDE, Images,
            probe::{Missing, Need},
        },
        job::JobError,
        parameters::Params,
        preprocessing::Preprocessing,
        recipe::{DeviceChoice, PrecisionChoice, Recipe},
    },
    neighbours,
    training::{
        finish::MODEL,
        spec::{MANIFEST, Spec},
    },
    weights::checkpoint,
};

/// Of the bytes of the regression's features, as fp32: they are gathered, and converted.
const REGRESSION_COPIES: f64 = 1.5;
/// Bytes of an image in the lists of a trainer: its sample, and its place in the caches.
const SAMPLE_BYTES: f64 = 250.0;

/// Bytes that a job needs.
#[derive(Debug, Clone, Default)]
pub(super) struct Needs {
    pub(super) memory: Option<u64>,
    pub(super) disk: Option<Disk>,
}

/// Disk space that a job needs.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    /// Bytes of its folder.
    pub(super) folder: u64,
    pub(super) caches: Vec<Cache>,
}

impl Disk {
    /// Bytes, as of the probe.
    pub(super) fn bytes(&self) -> u64 {
        let caches: u64 = self.caches.iter().map(|cache| cache.missing * cache.record).sum();
        self.folder + caches
    }

    /// Bytes now: what other jobs with these `samples` have added to the caches in `server` since is no part.
    pub(super) fn bytes_now(&self, server: &Path, samples: &[Sample]) -> io::Result<u64> {
        let mut bytes = self.folder;
        for cache in &self.caches {
            bytes += cache.missing_in(server, samples)? * cache.record;
        }
        Ok(bytes)
    }
}

/// Bytes of what a probe left in its folder.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    pub(super) manifest: u64,
    pub(super) checkpoint: u64,
    pub(super) head_checkpoint: u64,
    pub(super) model: u64,
    pub(super) caches: Vec<Cache>,
}

impl Sizes {
    pub(super) fn of(
        folder: &Path,
        server_cache: &Path,
        few: &[Sample],
        samples: &[Sample],
    ) -> io::Result<Self> {
        Ok(Self {
            manifest: room::size(&folder.join(MANIFEST)),
            checkpoint: room::largest(&folder.join(checkpoint::FOLDER)),
            head_checkpoint: room::largest(&folder.join(checkpoint::HEAD_FOLDER)),
            model: room::size(&folder.join(MODEL)),
            caches: room::caches(&folder.join("cache"), server_cache, few, samples)?,
        })
    }
}

pub(super) fn missing(caches: &[Cache]) -> Missing {
    let of = |kind| -> f64 {
        let of_kind = caches.iter().filter(|cache| cache.kind == kind);
        of_kind.map(|cache| cache.missing as f64).sum()
    };
    Missing {
        pixels: of(CacheKind::Pixels),
        features: of(CacheKind::Features),
        maps: of(CacheKind::Maps),
    }
}

/// Bytes of memory of a job beyond those of its probe, which had few images.
pub(super) fn memory_of_data(spec: &Spec, images: Images) -> u64 {
    let regression = match spec.recipe {
        Recipe::Features(base) if base.head.hidden.is_none() => {
            images.train * base.features as f64 * 4.0 * REGRESSION_COPIES
        }
        _ => 0.0,
    };
    (regression + images.total() * SAMPLE_BYTES) as u64
}

/// Disk space of a job with these images, of which a probe with `few` left those sizes: two checkpoints,
/// the model with features of up to 1000 training images, and what the caches lack.
pub(super) fn disk_of(sizes: Sizes, spec: &Spec, images: Images, few: usize, all: usize) -> Disk {
    let manifest = sizes.manifest * all as u64 / few.max(1) as u64;
    let width = spec.recipe.base().map_or(0, Base::channels) as u64;
    let neighbours = (images.train as u64).min(neighbours::MAX_IMAGES as u64) * width;
    let checkpoints = 2 * (sizes.checkpoint + sizes.head_checkpoint);
    Disk { folder: manifest + checkpoints + sizes.model + neighbours, caches: sizes.caches }
}

/// Bytes of memory that any job with this recipe and batch size takes on the CPU, as measured; half of
/// them if its numbers may have half the size.
pub(super) fn least_memory(spec: &Spec, samples: &[Sample]) -> Option<u64> {
    let Params { device, precision, batch_size, .. } = spec.params;
    if device != DeviceChoice::Cpu && cuda_is_available() {
        return None;
    }
    let train = images(samples).train as u32;
    // The recipe says half as much again as trainers took.
    let taken = spec.recipe.trainer_memory(batch_size.min(train)) / 3 * 2;
    Some(if precision == PrecisionChoice::Fp32 { taken } else { taken / 2 })
}

/// Bytes of the images that a job has to decode into the cache.
pub(super) fn least_disk(recipe: Recipe, cache: &Path, samples: &[Sample]) -> io::Result<u64> {
    let side = recipe.base().map_or(CNN_SIDE, |base| base.side);
    let index = cache.join(format!("{side}x{side}-v{}.index", Preprocessing::VERSION));
    Ok(room::missing(&index, samples)? * u64::from(side) * u64::from(side) * 3)
}

/// Says what is lacking.
pub(in crate::scheduler) fn shortage(resource: &str, needed: u64, available: u64) -> String {
    let (what, remedy) = match resource {
        "memory" => ("memory", "use a smaller batch_size, or free memory"),
        _ => ("disk space", "free disk space in the data directory"),
    };
    format!(
        "the job needs about {} of {what}, and {} are available: {remedy}, or set `force` to queue it anyway",
        bytes(needed),
        bytes(available)
    )
}

fn bytes(count: u64) -> String {
    let count = count as f64;
    if count >= 1e9 { format!("{:.1} GB", count / 1e9) } else { format!("{:.0} MB", count / 1e6) }
}

/// What is lacking of a resource, if anything is.
pub(super) fn lacking(resource: &'static str, need: Need) -> Option<JobError> {
    let (needed, available) = need.exceeds()?;
    let detail = shortage(resource, needed, available);
    Some(JobError { code: format!("not_enough_{resource}"), detail })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        ImageId,
        dataset::{Digest, Split},
    };

    #[test]
    fn the_least_memory_grows_with_the_batch_and_ends_with_the_images() {
        let sample = || Sample {
            image_id: ImageId::new(),
            sha256: Digest::of(b"x"),
            label: 0,
            split: Split::Train,
        };
        let samples: Vec<_> = std::iter::repeat_with(sample).take(2000).collect();
        let spec = |batch_size, precision| Spec {
            job_id: crate::domain::JobId::new(),
            model_id: crate::domain::ModelId::new(),
            name: "job".parse().unwrap(),
            recipe: Recipe::ScratchCnn,
            params: Params {
                batch_size,
                precision,
                device: DeviceChoice::Cpu,
                ..Params::defaults(Recipe::ScratchCnn)
            },
            dataset: "pets".parse().unwrap(),
            dataset_version: Digest::of(b""),
            named_version: false,
            classes: ["cat", "dog"].map(|name| name.parse().unwrap()).to_vec().try_into().unwrap(),
            threads: 1,
            max_image_pixels: 1,
            blobs: "blobs".into(),
            cache: "cache".into(),
        };
        let least = |batch, precision, images: &[Sample]| {
            least_memory(&spec(batch, precision), images).unwrap() as f64
        };
        let fp32 = PrecisionChoice::Fp32;
        // 230 MB, and 17 MB of each image.
        assert!((least(1024, fp32, &samples) / 17.638e9 - 1.0).abs() < 0.01);
        assert!((least(1024, fp32, &samples[..4]) / 298e6 - 1.0).abs() < 0.01);
        assert!((least(32, PrecisionChoice::Auto, &samples) / 387e6 - 1.0).abs() < 0.01);
    }

    #[test]
    fn what_was_cached_since_the_probe_takes_no_disk_space() {
        let folder = tempfile::tempdir().unwrap();
        let [probed, server] = ["probed", "server"].map(|name| folder.path().join(name));
        let write = |folder: &Path, held: &[u8]| {
            let hashes: Vec<u8> = held.iter().flat_map(|number| [*number; 32]).collect();
            std::fs::create_dir(folder).unwrap();
            std::fs::write(folder.join("180x180-v2.index"), hashes).unwrap();
            std::fs::write(folder.join("180x180-v2.records"), vec![0; held.len() * 10]).unwrap();
        };
        let samples = [1, 2, 3].map(|number| Sample {
            image_id: ImageId::new(),
            sha256: Digest([number; 32]),
            label: 0,
            split: Split::Train,
        });
        write(&probed, &[1]);
        let caches = room::caches(&probed, &server, &samples[..1], &samples).unwrap();
        let disk = Disk { folder: 100, caches };
        assert_eq!(disk.bytes(), 130);
        assert_eq!(disk.bytes_now(&server, &samples).unwrap(), 130);
        write(&server, &[1, 2]);
        assert_eq!(disk.bytes_now(&server, &samples).unwrap(), 110);
    }

    #[test]
    fn a_shortage_is_said_in_figures() {
        let words = shortage("memory", 9_120_000_000, 400_000_000);
        assert!(words.contains("9.1 GB of memory, and 400 MB are available"), "{words}");
        assert!(shortage("disk", 1, 0).contains("disk space"));
    }
}
