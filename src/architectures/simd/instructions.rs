//! What the CPU can compute with.

use super::{rgb, winograd};

/// The instructions that compute a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instructions {
    /// AVX2 with FMA: registers of 8 values.
    Avx2,
    /// AVX-512: registers of 16 values.
    Avx512,
}

impl Instructions {
    /// Those that this CPU has, the best first.
    pub(super) fn available() -> impl Iterator<Item = Self> {
        [Self::Avx512, Self::Avx2].into_iter().filter(|it| it.are_available())
    }

    fn are_available(self) -> bool {
        match self {
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
        }
    }

    /// Values in a register.
    pub(super) const fn lanes(self) -> usize {
        match self {
            Self::Avx2 => 8,
            Self::Avx512 => 16,
        }
    }

    /// Whether channels come in whole registers.
    pub(super) const fn fit(self, inputs: usize, outputs: usize) -> bool {
        let lanes = self.lanes();
        if inputs == rgb::INPUTS {
            outputs.is_multiple_of(rgb::registers(lanes) * lanes)
        } else {
            inputs.is_multiple_of(lanes) && outputs.is_multiple_of(winograd::panel(lanes))
        }
    }
}
