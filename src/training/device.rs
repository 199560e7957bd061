//! Where and how precisely a job computes.

use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use tch::{Cuda, Device, Kind};

use super::failure::Failure;
use crate::domain::recipe::{DeviceChoice, Params, Precision, PrecisionChoice};

/// A device and the kind of number its convolutions compute in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compute {
    /// Where tensors live.
    pub device: Device,
    /// How precise the convolutions are.
    pub precision: Precision,
}

impl Compute {
    /// What `params` ask for, on this machine.
    ///
    /// # Errors
    /// `device_unavailable`: CUDA is asked for, and there is none.
    pub fn choose(params: &Params) -> Result<Self, Failure> {
        let device = match params.device {
            DeviceChoice::Cpu => Device::Cpu,
            DeviceChoice::Auto if cuda_is_available() => Device::Cuda(0),
            DeviceChoice::Auto => Device::Cpu,
            DeviceChoice::Cuda if cuda_is_available() => Device::Cuda(0),
            DeviceChoice::Cuda => {
                return Err(Failure::new(
                    "device_unavailable",
                    "the job asks for CUDA, and this server has no CUDA device; use device `auto` or `cpu`",
                ));
            }
        };
        let precision = match params.precision {
            PrecisionChoice::Fp32 => Precision::Fp32,
            PrecisionChoice::Bf16 => Precision::Bf16,
            PrecisionChoice::Auto => fastest_precision(device),
        };
        Ok(Self { device, precision })
    }

    /// The processor, in the precision that is fastest on it.
    #[must_use]
    pub fn cpu() -> Self {
        Self { device: Device::Cpu, precision: fastest_precision(Device::Cpu) }
    }

    /// The kind of number of the convolutions.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self.precision {
            Precision::Fp32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
        }
    }

    /// The word of the API for the device.
    #[must_use]
    pub const fn device_name(self) -> &'static str {
        match self.device {
            Device::Cuda(_) => "cuda",
            _ => "cpu",
        }
    }
}

/// Whether there is a CUDA device. The first call opens libtorch's CUDA half, where it is
/// installed, which registers CUDA with the half that this program links; that may take seconds.
#[must_use]
pub fn cuda_is_available() -> bool {
    static OPENED: OnceLock<bool> = OnceLock::new();
    let opened = OPENED.get_or_init(|| {
        // SAFETY: what runs as it is loaded is libtorch's own, of the version we link; nothing
        // has asked libtorch about CUDA before.
        match unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) } {
            Ok(library) => {
                // For as long as the process lives.
                std::mem::forget(library);
                true
            }
            Err(error) => {
                tracing::debug!(%error, "no CUDA: libtorch_cuda.so can't be opened");
                false
            }
        }
    });
    *opened && Cuda::is_available()
}

/// bf16 where the hardware multiplies it; elsewhere it is emulated, and slower than fp32.
fn fastest_precision(device: Device) -> Precision {
    let native = match device {
        Device::Cpu => cpu_multiplies_bf16(),
        _ => true,
    };
    if native { Precision::Bf16 } else { Precision::Fp32 }
}

#[cfg(target_arch = "x86_64")]
fn cpu_multiplies_bf16() -> bool {
    std::is_x86_feature_detected!("avx512bf16")
}

#[cfg(target_arch = "aarch64")]
fn cpu_multiplies_bf16() -> bool {
    std::arch::is_aarch64_feature_detected!("bf16")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn cpu_multiplies_bf16() -> bool {
    false
}
