//! The features and small pictures of a dataset's images: each is decoded once, whatever of it the
//! cache lacks.

use std::path::PathBuf;

use tch::{Device, Kind, Tensor};

use super::{
    features::{MappedRows, principal_components},
    pictures::{self, Pictures},
};
use crate::{
    architectures::normalise,
    bases::BaseWeights,
    blobs,
    device::ComputeConfig,
    domain::{
        ImageId,
        base::{Base, EFFICIENTNET_LITE0},
        dataset::{Digest, Sample, Split},
        parameters::Params,
        recipe::Recipe,
        review::Photo,
    },
    training::{
        cache::CacheWriter,
        failure::{Failure, StopReason},
        features, image_cache,
    },
    vision,
};

/// The network whose features are compared.
const BASE: &Base = &EFFICIENTNET_LITE0;
/// Images of one pass.
const BATCH: usize = 32;

/// Where images and their records are, and how they are read.
#[derive(Debug, Clone)]
pub struct Source {
    /// Folder of the encoded images.
    pub blobs: PathBuf,
    /// Folder of the records.
    pub cache: PathBuf,
    /// Maximum image size, in pixels.
    pub max_image_pixels: u64,
    /// Threads to compute with.
    pub threads: usize,
}

/// What is compared: of the images that can be read.
#[derive(Debug)]
pub struct Prepared {
    /// The images.
    pub photos: Vec<Photo>,
    /// Principal components of their features, `[images, components]`.
    pub features: MappedRows,
    /// Their small pictures.
    pub pictures: Pictures,
    /// Those that can't be read.
    pub unreadable: Vec<ImageId>,
}

/// Makes sure that the cache has the records of `photos`, and reads them. `progress` is called with
/// the number of images that are ready.
///
/// # Errors
/// `disk_full`, `io_error`, or that of `progress`.
pub fn prepare(
    source: &Source,
    photos: &[Photo],
    mut progress: impl FnMut(usize) -> Result<(), StopReason>,
) -> Result<Prepared, StopReason> {
    let _no_grad = tch::no_grad_guard();
    let compute =
        ComputeConfig::choose(&Params::defaults(Recipe::Features(BASE))).map_err(Failure::from)?;
    let bad =
        |reason: String| Failure::new("internal", format!("can't read the weights: {reason}"));
    let shipped = BASE.shipped().ok_or_else(|| bad("they are not shipped".to_owned()))?;
    let weights = BaseWeights::shipped(BASE, shipped).map_err(bad)?;
    let network = weights.network(compute.device).map_err(bad)?.for_inference(compute.kind());
    let preprocessing = weights.preprocessing;
    let (width, height) = (preprocessing.width as usize, preprocessing.height as usize);
    let pixels = preprocessing.bytes();
    let forward = |batch: &[u8]| {
        let shape = [-1, height as i64, width as i64, 3];
        let images = Tensor::from_slice(batch).reshape(shape).to_device(compute.device);
        network.features(&normalise(&images, preprocessing.normalise, compute.kind()))
    };
    let layout = features::layout(
        BASE.id(),
        &weights.pretrained.sha256,
        "features",
        &[BASE.features],
        &preprocessing,
        compute,
    );
    let (kind, bytes) = (layout.kind, layout.bytes());
    let limits = vision::Limits { max_pixels: source.max_image_pixels };
    // The pixels for the network, then the record.
    let decode = |sample: &Sample, buffer: &mut [u8]| {
        let (image, record) = buffer.split_at_mut(pixels);
        let bytes =
            blobs::read(&source.blobs, &sample.sha256).map_err(|error| error.to_string())?;
        vision::prepare_into(&bytes, &limits, &preprocessing, image)
            .map_err(|error| error.to_string())?;
        pictures::write(image, (width, height), record);
        Ok(())
    };

    let samples: Vec<Sample> = photos.iter().map(sample).collect();
    let mut features = CacheWriter::open(&source.cache, layout, || progress(0))?;
    let mut pictures =
        CacheWriter::open(&source.cache, pictures::layout(&preprocessing), || progress(0))?;
    let decoded = |samples: &[Sample]| {
        let mut batch = vec![0; samples.len() * pixels];
        let mut buffer = vec![0; pixels + pictures::RECORD];
        for (sample, image) in samples.iter().zip(batch.chunks_exact_mut(pixels)) {
            if decode(sample, &mut buffer).is_err() {
                return None;
            }
            image.copy_from_slice(&buffer[..pixels]);
        }
        Some(forward(&batch))
    };
    if features::is_damaged(&features, &samples, kind, decoded)? {
        tracing::warn!("the cached features are damaged; computing them again");
        features.clear()?;
    }
    let missing = missing(&features, &pictures, &samples);
    let ready = samples.len() - missing.len();
    progress(ready)?;
    let mut batch: Vec<Digest> = Vec::new();
    let mut images: Vec<u8> = Vec::new();
    let mut push = |batch: &mut Vec<Digest>, images: &mut Vec<u8>| -> Result<(), StopReason> {
        if batch.is_empty() {
            return Ok(());
        }
        let records = features::to_bytes(&forward(images), kind);
        for (digest, record) in batch.iter().zip(records.chunks_exact(bytes)) {
            if !features.contains(digest) {
                features.push(*digest, record)?;
            }
        }
        batch.clear();
        images.clear();
        Ok(())
    };
    let damaged = image_cache::decode_all(
        &missing,
        pixels + pictures::RECORD,
        source.threads,
        &decode,
        |done, digest, buffer| {
            let (image, record) = buffer.split_at(pixels);
            if !pictures.contains(&digest) {
                pictures.push(digest, record)?;
            }
            batch.push(digest);
            images.extend_from_slice(image);
            if batch.len() == BATCH {
                push(&mut batch, &mut images)?;
            }
            progress(ready + done)
        },
    )?;
    push(&mut batch, &mut images)?;
    let (features, pictures) = (features.finish()?, pictures.finish()?);

    let lost: std::collections::HashSet<ImageId> =
        damaged.iter().map(|(sample, _)| sample.image_id).collect();
    let photos: Vec<Photo> =
        photos.iter().filter(|photo| !lost.contains(&photo.image_id)).copied().collect();
    let samples: Vec<Sample> = photos.iter().map(sample).collect();
    let components = principal_components(&source.cache, samples.len(), |start, end| {
        features.gather(&samples[start..end]).to_kind(Kind::Float).to_device(Device::Cpu)
    })
    .map_err(|error| Failure::io(&source.cache, &error))?;
    let pictures = Pictures::new(pictures, &photos);
    let unreadable = lost.into_iter().collect();
    Ok(Prepared { photos, features: components, pictures, unreadable })
}

/// An image as the cache knows it; the label and the split don't count there.
fn sample(photo: &Photo) -> Sample {
    Sample {
        image_id: photo.image_id,
        sha256: photo.sha256,
        label: photo.label.unwrap_or(0),
        split: photo.split.unwrap_or(Split::Train),
    }
}

/// The images that lack either record, each content once.
fn missing(features: &CacheWriter, pictures: &CacheWriter, samples: &[Sample]) -> Vec<Sample> {
    let mut seen = std::collections::HashSet::new();
    let lacks = |sample: &&Sample| {
        !(features.contains(&sample.sha256) && pictures.contains(&sample.sha256))
    };
    samples.iter().filter(lacks).filter(|sample| seen.insert(sample.sha256)).copied().collect()
}
