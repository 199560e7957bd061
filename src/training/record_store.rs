//! A job's records, where the training device reads them: in the memory-mapped cache, or on the GPU
//! if they fit.

use std::collections::HashMap;

use tch::{Device, Kind, Tensor};

use super::cache::CachedRecords;
use crate::device::ComputeConfig;
use crate::domain::dataset::{Digest, Sample};

/// Records copied to the GPU at a time.
const UPLOAD: usize = 512;
/// Bytes left free on the GPU for the network.
const RESERVE: i64 = 4 << 30;

/// Records of a job's images.
#[derive(Debug)]
pub enum RecordStore {
    /// In the cache; copied to the device batch by batch.
    Mapped(CachedRecords, Device),
    /// On the GPU, `[images, …]`, in rows found by hash.
    Resident(Tensor, HashMap<Digest, i64>),
}

impl RecordStore {
    /// The records of `samples`, which `records` must hold.
    #[must_use]
    pub fn new(records: CachedRecords, samples: &[Sample], compute: ComputeConfig) -> Self {
        let resident = match compute.device {
            Device::Cuda(_) => upload(&records, samples, compute.device),
            _ => None,
        };
        match resident {
            Some(resident) => {
                let rows = samples.iter().map(|sample| sample.sha256).zip(0..).collect();
                Self::Resident(resident, rows)
            }
            None => Self::Mapped(records, compute.device),
        }
    }

    /// Whether all of `samples` have their records here.
    #[must_use]
    pub fn contains_all(&self, samples: &[Sample]) -> bool {
        match self {
            Self::Mapped(records, _) => records.contains_all(samples),
            Self::Resident(_, rows) => {
                samples.iter().all(|sample| rows.contains_key(&sample.sha256))
            }
        }
    }

    /// The records of `samples` on the device, `[n, …]`.
    ///
    /// # Panics
    /// If one is missing.
    pub fn gather(&self, samples: &[Sample]) -> Tensor {
        match self {
            Self::Mapped(records, device) => records.gather(samples).to_device(*device),
            Self::Resident(resident, rows) => {
                let rows: Vec<i64> = samples.iter().map(|sample| rows[&sample.sha256]).collect();
                // A few hundred bytes, not waited for.
                let rows = Tensor::from_slice(&rows).to_device_(
                    resident.device(),
                    Kind::Int64,
                    true,
                    false,
                );
                resident.index_select(0, &rows)
            }
        }
    }
}

/// The records on the GPU, or `None` if there is no room for them and a network.
fn upload(records: &CachedRecords, samples: &[Sample], device: Device) -> Option<Tensor> {
    let first = records.gather(samples.get(..1)?);
    let bytes = (first.numel() * first.kind().elt_size_in_bytes() * samples.len()) as i64;
    // The allocator keeps what this takes, for the records and for the network after them.
    drop(Tensor::f_empty([bytes + RESERVE], (Kind::Uint8, device)).ok()?);
    let mut shape = first.size();
    shape[0] = samples.len() as i64;
    let resident = Tensor::f_empty(&shape, (first.kind(), device)).ok()?;
    for (start, chunk) in (0..).step_by(UPLOAD).zip(samples.chunks(UPLOAD)) {
        resident.narrow(0, start, chunk.len() as i64).copy_(&records.gather(chunk));
    }
    tracing::info!(images = samples.len(), bytes, "images cached on the GPU");
    Some(resident)
}
