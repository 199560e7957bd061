//! The values of one tensor, and their checks.

use std::borrow::Cow;

use safetensors::{Dtype, tensor::View};

use super::ConvertError;

/// A tensor in row-major order.
#[derive(Debug, PartialEq)]
pub(super) struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Rejects a tensor with another shape or number type than VGG16's, before its values are read.
/// `name` is the file's; `dtype` is `None` for unsupported types, and `found` describes the type.
pub(super) fn check(
    name: &str,
    (shape, expected): (&[usize], &[usize]),
    dtype: Option<Dtype>,
    found: &str,
) -> Result<Dtype, ConvertError> {
    if shape != expected {
        return Err(ConvertError::Shape {
            tensor: name.to_owned(),
            // A file may declare any number of them.
            found: shape.iter().take(8).copied().collect(),
            expected: expected.to_vec(),
        });
    }
    dtype.ok_or_else(|| ConvertError::Dtype { tensor: name.to_owned(), found: found.to_owned() })
}

impl Tensor {
    /// The tensor of these bytes, which [`check`] found fit.
    ///
    /// # Errors
    /// A value is NaN or infinite.
    pub(super) fn new(
        name: &str,
        dtype: Dtype,
        shape: Vec<usize>,
        bytes: Vec<u8>,
    ) -> Result<Self, ConvertError> {
        if !all_finite(dtype, &bytes) {
            return Err(ConvertError::NotFinite { tensor: name.to_owned() });
        }
        Ok(Self { dtype, shape, bytes })
    }

    /// A kernel `[out, in, height, width]` from `[height, width, in, out]`.
    pub(super) fn outputs_first(self) -> Self {
        let [height, width, inputs, outputs] = self.shape[..] else { return self };
        let size = self.dtype.bitsize() / 8;
        let mut bytes = Vec::with_capacity(self.bytes.len());
        for output in 0..outputs {
            for input in 0..inputs {
                for place in 0..height * width {
                    let start = ((place * inputs + input) * outputs + output) * size;
                    bytes.extend_from_slice(&self.bytes[start..start + size]);
                }
            }
        }
        Self { dtype: self.dtype, shape: vec![outputs, inputs, height, width], bytes }
    }
}

/// Whether no value is NaN or infinite: those have all bits of the exponent set.
fn all_finite(dtype: Dtype, bytes: &[u8]) -> bool {
    let halves = |exponent: u16| {
        let (numbers, _) = bytes.as_chunks();
        numbers.iter().all(|&number| u16::from_le_bytes(number) & exponent != exponent)
    };
    match dtype {
        Dtype::F16 => halves(0x7c00),
        Dtype::BF16 => halves(0x7f80),
        _ => {
            const EXPONENT: u32 = 0x7f80_0000;
            let (numbers, _) = bytes.as_chunks();
            numbers.iter().all(|&number| u32::from_le_bytes(number) & EXPONENT != EXPONENT)
        }
    }
}

impl View for Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(numbers: &[f32], shape: [usize; 4]) -> Tensor {
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        Tensor::new("x", Dtype::F32, shape.to_vec(), bytes).unwrap()
    }

    #[test]
    fn kernels_are_turned_outputs_first() {
        // [height 2, width 1, in 2, out 3], each number its own four indices.
        let keras = [0, 1, 2, 10, 11, 12, 1000, 1001, 1002, 1010, 1011, 1012].map(|n| n as f32);
        let ours = [0, 1000, 10, 1010, 1, 1001, 11, 1011, 2, 1002, 12, 1012].map(|n| n as f32);
        assert_eq!(tensor(&keras, [2, 1, 2, 3]).outputs_first(), tensor(&ours, [3, 2, 2, 1]));
    }

    #[test]
    fn numbers_that_are_none_are_refused_in_every_kind() {
        let refused = |dtype, number: &[u8]| {
            let zeros = vec![0; number.len()];
            let bytes = [&zeros, number].concat();
            let made = Tensor::new("x", dtype, vec![2], bytes);
            matches!(made, Err(ConvertError::NotFinite { tensor }) if tensor == "x")
        };
        for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(refused(Dtype::F32, &number.to_le_bytes()), "{number}");
            // The upper half of an f32 is a bf16.
            assert!(refused(Dtype::BF16, &number.to_le_bytes()[2..]), "{number}");
        }
        for number in [0x7c00_u16, 0xfc00, 0x7e00] {
            assert!(refused(Dtype::F16, &number.to_le_bytes()), "{number:#x}");
        }
        assert!(!refused(Dtype::F32, &f32::MAX.to_le_bytes()));
        assert!(!refused(Dtype::F16, &0x7bff_u16.to_le_bytes()));
        assert!(!refused(Dtype::BF16, &0xff7f_u16.to_le_bytes()));
    }
}
