//! Features of each image from the frozen layers of a network, computed once and cached on disk.

use std::{path::Path, time::Instant};

use tch::{Device, Kind, Tensor};

use super::{
    cache::{CacheWriter, CachedRecords, Layout},
    failure::StopReason,
};
use crate::{
    device::ComputeConfig,
    domain::{
        dataset::{Digest, Sample},
        preprocessing::Preprocessing,
    },
};

/// Images of one pass.
const BATCH: usize = 32;

/// Records that are read at a time.
const READ: usize = 256;
/// Records that are computed again, to find a damaged cache.
const CHECKED: usize = 8;
/// Difference of a record from the same computed again, relative to the largest value.
const TOLERANCE: f64 = 0.05;

/// The layout of features in the cache: vectors in the number type of the job, named after
/// everything they depend on: the base network, its weights, the layer, the size, the precision, and the device,
/// which rounds in its own way.
#[must_use]
pub fn layout(
    base: &str,
    weights: &Digest,
    layer: &str,
    shape: &[i64],
    preprocessing: &Preprocessing,
    compute: ComputeConfig,
) -> Layout {
    let Preprocessing { version, width, height, .. } = preprocessing;
    let weights = &weights.to_string()[..16];
    let (device, precision) = (compute.device_name(), compute.precision.as_str());
    Layout {
        name: format!("{base}-{weights}-{layer}-{width}x{height}-v{version}-{device}-{precision}"),
        shape: shape.to_vec(),
        kind: compute.kind(),
    }
}

/// Makes sure that all of `samples` have their features in the cache in `folder`, computing missing
/// ones with `forward`, `[n, …shape]` for `n` samples.
///
/// `progress` is called with the number of images that are ready; it may end the work.
///
/// # Errors
/// `disk_full`, or that of `progress`.
pub fn prepare(
    folder: &Path,
    layout: Layout,
    samples: &[Sample],
    forward: impl Fn(&[Sample]) -> Tensor,
    mut progress: impl FnMut(usize) -> Result<(), StopReason>,
) -> Result<CachedRecords, StopReason> {
    let (kind, bytes) = (layout.kind, layout.bytes());
    let mut writer = CacheWriter::open(folder, layout, || progress(0))?;
    let _no_grad = tch::no_grad_guard();
    if is_damaged(&writer, samples, kind, |samples| Some(forward(samples)))? {
        tracing::warn!("the cached features are damaged; computing them again");
        writer.clear()?;
    }
    let missing = writer.missing(samples);
    let mut ready = samples.len() - missing.len();
    progress(ready)?;
    let started = Instant::now();
    for batch in missing.chunks(BATCH) {
        let records = to_bytes(&forward(batch), kind);
        for (sample, record) in batch.iter().zip(records.chunks_exact(bytes)) {
            writer.push(sample.sha256, record)?;
        }
        ready += batch.len();
        progress(ready)?;
    }
    tracing::info!(
        computed = missing.len(),
        seconds = started.elapsed().as_secs_f64(),
        "features ready"
    );
    writer.finish()
}

/// Whether a record in the cache is NaN or infinite, or a few of them differ from what `forward` gives
/// now; if it gives none, an image can't be read, and says nothing.
pub(crate) fn is_damaged(
    writer: &CacheWriter,
    samples: &[Sample],
    kind: Kind,
    forward: impl Fn(&[Sample]) -> Option<Tensor>,
) -> Result<bool, StopReason> {
    let held = |samples: &[Sample], count| -> Result<(Vec<Sample>, Tensor), StopReason> {
        let held = writer.sampled(samples, count)?;
        let (samples, records): (Vec<_>, Vec<_>) = held.into_iter().unzip();
        let (bytes, count) = (records.concat(), samples.len().max(1));
        let values = bytes.len() / count / kind.elt_size_in_bytes();
        let shape = [samples.len() as i64, values as i64];
        Ok((samples, Tensor::from_data_size(&bytes, &shape, kind)))
    };
    for chunk in samples.chunks(READ) {
        let (_, records) = held(chunk, READ)?;
        if records.isfinite().all().int64_value(&[]) == 0 {
            return Ok(true);
        }
    }
    let (samples, records) = held(samples, CHECKED)?;
    if samples.is_empty() {
        return Ok(false);
    }
    let Some(now) = forward(&samples) else { return Ok(false) };
    let now = now.to_kind(Kind::Double).to_device(Device::Cpu).flatten(1, -1);
    let difference = (records.to_kind(Kind::Double) - &now).abs().max().double_value(&[]);
    // Another batch size rounds in another way.
    Ok(difference.is_nan() || difference > TOLERANCE * now.abs().max().double_value(&[]))
}

/// The bytes of features `[n, …shape]` as records.
pub(crate) fn to_bytes(features: &Tensor, kind: Kind) -> Vec<u8> {
    let features = features.to_kind(kind).to_device(Device::Cpu).contiguous();
    let mut bytes = vec![0; features.numel() * kind.elt_size_in_bytes()];
    features.copy_data_u8(&mut bytes, features.numel());
    bytes
}
