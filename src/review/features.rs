//! The features of a dataset in few dimensions: their principal components.

use std::{
    fs::File,
    io::{self, Write as _},
    ops::Deref,
    path::Path,
};

use memmap2::Mmap;
use tch::{Kind, Tensor};

use crate::training::{cache::over, features::to_bytes};

/// Images whose features are read at a time.
const BLOCK: usize = 1024;
/// Components that are kept: with all 1,280, neither wrong labels nor duplicates were found better.
const COMPONENTS: i64 = 256;

/// A tensor `[rows, width]`, fp32, on the CPU, that lies in a file without a name: the system pages out
/// what doesn't fit into memory. It is only to be read, and nothing that shares its memory (a view, a
/// shallow clone) may outlive it.
#[derive(Debug)]
pub struct MappedRows {
    /// Points into `_map`.
    rows: Tensor,
    _map: Mmap,
}

impl MappedRows {
    /// Writes `blocks`, each `[rows, width]`, to a file in `folder`.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write(
        folder: &Path,
        width: i64,
        blocks: impl Iterator<Item = Tensor>,
    ) -> io::Result<Self> {
        let mut file: File = tempfile::tempfile_in(folder)?;
        let mut count = 0;
        for block in blocks {
            count += block.size()[0];
            file.write_all(&to_bytes(&block, Kind::Float))?;
        }
        // Otherwise a full disk might be noticed only when the map is read.
        file.sync_data()?;
        // SAFETY: the file has no name, and it is not written again.
        let map = unsafe { Mmap::map(&file) }?;
        // SAFETY: the map has all rows, and lives as long as the tensor beside it, which is only lent.
        let rows = unsafe { over(&map, &[count, width], Kind::Float) };
        Ok(Self { rows, _map: map })
    }
}

impl Deref for MappedRows {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        &self.rows
    }
}

/// The first principal components of `count` rows, `[count, components]`, centred, in a file in `folder`;
/// `rows` gives some of them, `[end - start, width]`. They are read block by block, twice.
///
/// # Errors
/// The file can't be written.
pub fn principal_components(
    folder: &Path,
    count: usize,
    rows: impl Fn(usize, usize) -> Tensor,
) -> io::Result<MappedRows> {
    let blocks = || (0..count).step_by(BLOCK).map(|start| (start, (start + BLOCK).min(count)));
    let mut sums: Option<(Tensor, Tensor)> = None;
    for (start, end) in blocks() {
        let block = rows(start, end).to_kind(Kind::Float);
        let sum = block.sum_dim_intlist([0].as_slice(), false, Kind::Double);
        let products = block.tr().matmul(&block).to_kind(Kind::Double);
        sums = Some(match sums {
            Some((sums, all)) => (sums + sum, all + products),
            None => (sum, products),
        });
    }
    let Some((sum, products)) = sums else {
        return MappedRows::write(folder, 0, std::iter::empty());
    };
    let mean = sum / count as f64;
    let covariance = products / count as f64 - mean.outer(&mean);
    let (_, vectors) = covariance.linalg_eigh("L");
    let width = mean.size()[0];
    let kept = COMPONENTS.min(width).min(count as i64);
    // The largest eigenvalues are last.
    let vectors = vectors.narrow(1, width - kept, kept).flip([1]);
    // An eigenvector may point either way: the largest element is positive.
    let largest = vectors.gather(0, &vectors.abs().argmax(0, true), false);
    let axes = (vectors * largest.sign()).to_kind(Kind::Float);
    let mean = mean.to_kind(Kind::Float);
    let projected =
        blocks().map(|(start, end)| (rows(start, end).to_kind(Kind::Float) - &mean).matmul(&axes));
    MappedRows::write(folder, kept, projected)
}

/// Rows of length 1; a row of zeros stays one.
pub fn unit(rows: &Tensor) -> Tensor {
    let length = rows.square().sum_dim_intlist([1].as_slice(), true, Kind::Float).sqrt();
    rows / length.clamp_min(f64::from(f32::MIN_POSITIVE))
}

/// The values of a tensor, in the order of its dimensions.
pub(super) fn to_vec<T: tch::kind::Element + Copy + Default>(tensor: &Tensor) -> Vec<T> {
    let mut values = vec![T::default(); tensor.numel()];
    tensor.contiguous().copy_data(&mut values, tensor.numel());
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_keep_distances_and_come_in_the_order_of_their_variance() {
        tch::manual_seed(3);
        let scales = Tensor::from_slice(&[1.0_f32, 9.0, 3.0]);
        let rows = Tensor::randn([3000, 3], (Kind::Float, tch::Device::Cpu)) * scales + 5.0;
        let folder = tempfile::tempdir().unwrap();
        let found = principal_components(folder.path(), 3000, |start, end| {
            rows.narrow(0, start as i64, (end - start) as i64)
        })
        .unwrap();
        assert_eq!(found.size(), [3000, 3]);
        let none = principal_components(folder.path(), 0, |_, _| Tensor::new()).unwrap();
        assert_eq!(none.size(), [0, 0]);
        let distance = |rows: &Tensor| (rows.get(0) - rows.get(1)).norm().double_value(&[]);
        assert!((distance(&found) - distance(&rows)).abs() < 1e-3);
        let deviations: Vec<f64> =
            found.std_dim([0].as_slice(), true, false).to_kind(Kind::Double).try_into().unwrap();
        for (found, expected) in deviations.iter().zip([9.0, 3.0, 1.0]) {
            assert!((found - expected).abs() < 0.1 * expected, "{deviations:?}");
        }
        assert!(
            found.mean_dim([0].as_slice(), false, Kind::Float).abs().max().double_value(&[]) < 1e-3
        );
    }
}
