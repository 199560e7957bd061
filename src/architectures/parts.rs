//! Large batches on the CPU, a few images at a time.

use tch::{Device, Kind, Tensor};

/// Images of a part for each thread, times the bytes of a value: 2 in fp32, 4 in bf16. The largest
/// maps of EfficientNet-Lite0 then have 10 MB a thread.
const IMAGE_BYTES_PER_THREAD: usize = 8;

/// Images of a part for values of that kind.
pub(super) fn images_of_part(kind: Kind) -> i64 {
    let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1).max(1);
    (threads * IMAGE_BYTES_PER_THREAD / kind.elt_size_in_bytes()).max(1) as i64
}

/// `forward` of `images`, `[n, …]`, whose result begins with the same dimension. On the CPU, a large
/// batch is computed in parts: the next layer finds the maps of the one before in the cache, and the
/// C library keeps memory of that size for the next maps instead of returning it to the system.
pub(super) fn in_parts(images: &Tensor, forward: impl Fn(&Tensor) -> Tensor) -> Tensor {
    let part = images_of_part(images.kind());
    if images.device() != Device::Cpu || images.size()[0] <= part {
        return forward(images);
    }
    let parts: Vec<_> = images.split(part, 0).iter().map(forward).collect();
    Tensor::cat(&parts, 0)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn each_image_is_in_one_part_and_the_results_are_in_order() {
        let threads = i64::from(tch::get_num_threads());
        for (kind, part) in [(Kind::Float, 2 * threads), (Kind::BFloat16, 4 * threads)] {
            for images in [1, part, part + 1, 3 * part] {
                let numbers = Tensor::arange(images, (kind, Device::Cpu)).view([images, 1]);
                let sizes = RefCell::new(Vec::new());
                let doubled = in_parts(&numbers, |some| {
                    sizes.borrow_mut().push(some.size()[0]);
                    some + some
                });
                assert_eq!(doubled, &numbers * 2);
                let sizes = sizes.into_inner();
                assert_eq!(sizes.iter().sum::<i64>(), images, "{sizes:?}");
                assert!(sizes.iter().all(|&size| size <= part), "{sizes:?}");
            }
        }
    }
}
