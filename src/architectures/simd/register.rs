//! Vector registers of fp32 values: AVX2's and AVX-512's.

use std::arch::x86_64::{
    __m256, __m512, _mm256_add_ps, _mm256_fmadd_ps, _mm256_fnmadd_ps, _mm256_loadu_ps,
    _mm256_max_ps, _mm256_mul_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
    _mm256_sub_ps, _mm512_add_ps, _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_loadu_ps,
    _mm512_max_ps, _mm512_mul_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
    _mm512_sub_ps,
};

/// A register; its methods work on each lane.
///
/// # Safety
/// The CPU has the register's instructions. All methods are inlined, into a function that enables these
/// instructions: otherwise each one becomes a call.
pub(super) trait Register: Copy {
    /// Values in a register.
    const LANES: usize;
    /// Sums that are kept in pairs of registers, beside two of weights and one of an input.
    const PAIRS: usize;

    unsafe fn zero() -> Self;
    /// The same value in each lane.
    unsafe fn splat(value: f32) -> Self;
    /// The first values of `from`.
    unsafe fn load(from: &[f32]) -> Self;
    /// Puts its values first in `to`.
    unsafe fn store(self, to: &mut [f32]);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    /// This plus `a` times `b`.
    unsafe fn plus(self, a: Self, b: Self) -> Self;
    /// This minus `a` times `b`.
    unsafe fn minus(self, a: Self, b: Self) -> Self;
    /// The larger one; `other` if either is NaN. So pooling may lose a NaN, which no pixels and finite weights make; one of
    /// a weight is in all results of its channel.
    unsafe fn max(self, other: Self) -> Self;
}

/// `Register` for a type, by its number of lanes and its instructions.
macro_rules! register {
    ($type:ty, $lanes:literal, $pairs:literal, $zero:ident, $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident, $fma:ident, $fnma:ident, $max:ident) => {
        impl Register for $type {
            const LANES: usize = $lanes;
            const PAIRS: usize = $pairs;

            #[inline(always)]
            unsafe fn zero() -> Self {
                unsafe { $zero() }
            }
            #[inline(always)]
            unsafe fn splat(value: f32) -> Self {
                unsafe { $splat(value) }
            }
            #[inline(always)]
            unsafe fn load(from: &[f32]) -> Self {
                let from = &from[..$lanes];
                unsafe { $load(from.as_ptr()) }
            }
            #[inline(always)]
            unsafe fn store(self, to: &mut [f32]) {
                let to = &mut to[..$lanes];
                unsafe { $store(to.as_mut_ptr(), self) }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                unsafe { $add(self, other) }
            }
            #[inline(always)]
            unsafe fn sub(self, other: Self) -> Self {
                unsafe { $sub(self, other) }
            }
            #[inline(always)]
            unsafe fn mul(self, other: Self) -> Self {
                unsafe { $mul(self, other) }
            }
            #[inline(always)]
            unsafe fn plus(self, a: Self, b: Self) -> Self {
                unsafe { $fma(a, b, self) }
            }
            #[inline(always)]
            unsafe fn minus(self, a: Self, b: Self) -> Self {
                unsafe { $fnma(a, b, self) }
            }
            #[inline(always)]
            unsafe fn max(self, other: Self) -> Self {
                unsafe { $max(self, other) }
            }
        }
    };
}

register!(
    __m256,
    8,
    6,
    _mm256_setzero_ps,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_add_ps,
    _mm256_sub_ps,
    _mm256_mul_ps,
    _mm256_fmadd_ps,
    _mm256_fnmadd_ps,
    _mm256_max_ps
);
register!(
    __m512,
    16,
    12,
    _mm512_setzero_ps,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_add_ps,
    _mm512_sub_ps,
    _mm512_mul_ps,
    _mm512_fmadd_ps,
    _mm512_fnmadd_ps,
    _mm512_max_ps
);
