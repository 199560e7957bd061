//! Where and in which precision tensors are computed: CPUs, GPUs, and how libtorch reports errors.
//!
//! Below both training and inference.

use std::{num::NonZeroUsize, sync::OnceLock, thread};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use tch::{Cuda, Device, Kind, TchError, Tensor};

use crate::domain::{
    parameters::Params,
    recipe::{DeviceChoice, Precision, PrecisionChoice},
};

/// A device and the number format of its convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComputeConfig {
    /// Where tensors live.
    pub device: Device,
    /// How precise the convolutions are.
    pub precision: Precision,
}

impl ComputeConfig {
    /// The device and precision that `params` request, on this machine.
    ///
    /// # Errors
    /// CUDA is requested but can't be used; or the GPU's memory is in use by others.
    pub fn choose(params: &Params) -> Result<Self, GpuError> {
        let device = match params.device {
            DeviceChoice::Cpu => Device::Cpu,
            choice => match gpu() {
                Ok(gpu) => gpu,
                Err(error @ GpuError::OutOfMemory(_)) => return Err(error),
                Err(error) if choice == DeviceChoice::Cuda => return Err(error),
                Err(GpuError::Unusable(reason)) => {
                    tracing::info!(reason, "training on the CPU");
                    Device::Cpu
                }
            },
        };
        let precision = match params.precision {
            PrecisionChoice::Fp32 => Precision::Fp32,
            PrecisionChoice::Bf16 => Precision::Bf16,
            PrecisionChoice::Auto => fastest_precision(device),
        };
        Ok(Self { device, precision })
    }

    /// The CPU, in the precision that is fastest on it.
    #[must_use]
    pub fn cpu() -> Self {
        Self { device: Device::Cpu, precision: fastest_precision(Device::Cpu) }
    }

    /// The number format of the convolutions.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self.precision {
            Precision::Fp32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
        }
    }

    /// The API's name of the device.
    #[must_use]
    pub const fn device_name(self) -> &'static str {
        match self.device {
            Device::Cuda(_) => "cuda",
            _ => "cpu",
        }
    }
}

/// Whether there is a CUDA device. A process calls this before it computes anything: libtorch looks
/// for CUDA once, at the first convolution at the latest.
#[must_use]
pub fn cuda_is_available() -> bool {
    open_cuda().is_ok() && Cuda::is_available()
}

/// Opens libtorch's CUDA library, if it is installed, which registers CUDA with the CPU library
/// that this program links; the first time that may take seconds.
fn open_cuda() -> Result<(), &'static str> {
    static OPENED: OnceLock<Result<(), String>> = OnceLock::new();
    let opened = OPENED.get_or_init(|| {
        // SAFETY: what runs as it is loaded is libtorch's own code, of the version we link.
        let library = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) }
            .map_err(|error| format!("the libtorch CUDA library can't be loaded ({error})"))?;
        // For as long as the process lives.
        std::mem::forget(library);
        Ok(())
    });
    opened.as_ref().copied().map_err(String::as_str)
}

/// Why nothing can be computed on a GPU.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// There is none, or none that works.
    #[error("{0}")]
    Unusable(String),
    /// Its memory is in use by others; libtorch's message.
    #[error("{0}")]
    OutOfMemory(String),
}

/// The first NVIDIA GPU.
fn gpu() -> Result<Device, GpuError> {
    let device = Device::Cuda(0);
    open_cuda().map_err(|reason| GpuError::Unusable(reason.to_owned()))?;
    if !Cuda::is_available() {
        let reason = "no NVIDIA GPU or driver was found";
        return Err(GpuError::Unusable(reason.to_owned()));
    }
    // It may be older than what this libtorch was built for.
    try_convolution(device, Kind::Float).map_err(|error| {
        let words = first_line(&error.to_string());
        if is_out_of_memory(&words) {
            GpuError::OutOfMemory(words)
        } else {
            GpuError::Unusable(format!("the GPU is not supported by this libtorch build ({words})"))
        }
    })?;
    Ok(device)
}

/// bf16 if the hardware supports it; otherwise it is emulated, and slower than fp32.
fn fastest_precision(device: Device) -> Precision {
    let native = match device {
        Device::Cpu => cpu_has_native_bf16(),
        gpu => match try_convolution(gpu, Kind::BFloat16) {
            Ok(()) => true,
            Err(error) => {
                let error = first_line(&error.to_string());
                tracing::warn!(error, "this GPU does not support bf16");
                false
            }
        },
    };
    if native { Precision::Bf16 } else { Precision::Fp32 }
}

/// Runs a convolution in that number format, or returns libtorch's message.
fn try_convolution(device: Device, kind: Kind) -> Result<(), TchError> {
    let images = Tensor::f_ones([1, 8, 8, 8], (kind, device))?;
    let weights = Tensor::f_ones([8, 8, 3, 3], (kind, device))?;
    let maps = images.f_conv2d::<Tensor>(&weights, None, [1, 1], [1, 1], [1, 1], 1)?;
    // An error of the device is reported when it is waited for.
    maps.f_sum(Kind::Float)?.f_double_value(&[]).map(drop)
}

/// The number of CPUs this process may use, within its cgroup's quota.
#[must_use]
pub fn processors() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

#[cfg(target_arch = "x86_64")]
fn cpu_has_native_bf16() -> bool {
    std::is_x86_feature_detected!("avx512bf16")
}

#[cfg(target_arch = "aarch64")]
fn cpu_has_native_bf16() -> bool {
    std::arch::is_aarch64_feature_detected!("bf16")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn cpu_has_native_bf16() -> bool {
    false
}

/// Characters of libtorch's messages that are shown to users.
const MAX_MESSAGE: usize = 300;

/// What libtorch, CUDA and the C++ library call it, in lower case.
const OUT_OF_MEMORY: [&str; 9] = [
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "bad_alloc",
    "cudaerrormemoryallocation",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    // cuDNN's message if there is no room for a workspace.
    "unable to find an engine to execute this computation",
    // Rust's, if there is no room for a stack.
    "failed to spawn thread",
];

/// The first line of libtorch's message, which appends its C++ stack; `unwrap` escapes its end.
#[must_use]
pub fn first_line(message: &str) -> String {
    let line = message.split(['\n', '\r']).next().unwrap_or_default();
    let line = line.split("\\n").next().unwrap_or_default();
    line.chars().take(MAX_MESSAGE).collect()
}

/// Whether libtorch's message means that memory ran out.
#[must_use]
pub fn is_out_of_memory(message: &str) -> bool {
    let message = message.to_lowercase();
    // oneDNN's message if there is no room for the code that it generates; that of a primitive which it
    // does not support goes on with "descriptor".
    let mut primitives = message.split("could not create a primitive").skip(1);
    OUT_OF_MEMORY.iter().any(|words| message.contains(words))
        || primitives.any(|rest| !rest.starts_with(" descriptor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_tried_before_it_is_taken() {
        for kind in [Kind::Float, Kind::BFloat16] {
            assert!(try_convolution(Device::Cpu, kind).is_ok(), "{kind:?}");
        }
        assert!(try_convolution(Device::Cpu, Kind::Bool).is_err());
    }

    #[test]
    fn without_a_gpu_auto_is_the_processor_and_cuda_says_what_is_missing() {
        let params = Params::defaults(crate::domain::recipe::Recipe::ScratchCnn);
        let choose = |device| ComputeConfig::choose(&Params { device, ..params.clone() });
        let auto = choose(DeviceChoice::Auto).unwrap();
        match choose(DeviceChoice::Cuda) {
            Ok(cuda) => assert_eq!(cuda, auto),
            Err(error) => {
                assert_eq!(auto.device, Device::Cpu);
                let error = error.to_string();
                let words = ["CUDA library", "no NVIDIA GPU", "not supported by this libtorch"];
                assert!(words.iter().any(|reason| error.contains(reason)), "{error}");
            }
        }
    }
}
