// SPDX-License-Identifier: GPL-2.0

//! Integer conversions of `logic`: those that widen on all targets the kernel crate supports with
//! this module (64 bit only: `Kbuild` refuses others), and `low_*`, which keep the low bits of a
//! value that the caller has bounded.
//!
//! `as` is written here and in `rust/kapi/conv.rs` only.

/// The sum of numbers, modulo 2^64. `Iterator::sum()` and `count()` panic if it is more, when the
/// kernel is built with `CONFIG_RUST_OVERFLOW_CHECKS`.
#[inline]
pub fn sum(numbers: impl Iterator<Item = usize>) -> usize {
    numbers.fold(0, usize::wrapping_add)
}

/// How many there are. See [`sum`].
#[inline]
pub fn count<T>(all: impl Iterator<Item = T>) -> usize {
    sum(all.map(|_| 1))
}

/// Widens an index or a byte count below 64 KiB.
#[inline(always)]
#[expect(clippy::as_conversions, reason = "the module for it")]
pub const fn u16_to_usize(v: u16) -> usize {
    v as usize // CAST: u16 to usize widens.
}

/// Widens `u16` to `u32`.
#[inline(always)]
#[expect(clippy::as_conversions, reason = "the module for it")]
pub const fn u16_to_u32(v: u16) -> u32 {
    v as u32 // CAST: u16 to u32 widens.
}

/// Widens `u8` to `u32`.
#[inline(always)]
#[expect(clippy::as_conversions, reason = "the module for it")]
pub const fn u8_to_u32(v: u8) -> u32 {
    v as u32 // CAST: u8 to u32 widens.
}

/// Widens `u32` to `u64`.
#[inline(always)]
#[expect(clippy::as_conversions, reason = "the module for it")]
pub const fn u32_to_u64(v: u32) -> u64 {
    v as u64 // CAST: u32 to u64 widens.
}

/// Widens `u32` to `usize`.
#[inline(always)]
#[expect(clippy::as_conversions, reason = "the module for it")]
pub const fn u32_to_usize(v: u32) -> usize {
    v as usize // CAST: usize has 64 bits on every supported target.
}

/// Widens `usize` to `u64`.
#[inline(always)]
#[expect(clippy::as_conversions, reason = "the module for it")]
pub const fn usize_to_u64(v: usize) -> u64 {
    v as u64 // CAST: usize has at most 64 bits.
}

/// Reads a count, far below `isize::MAX`, as a signed one.
#[inline(always)]
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_wrap,
    reason = "the module for it"
)]
pub const fn usize_to_isize(v: usize) -> isize {
    v as isize // CAST: the same bits; who has a count has one far below isize::MAX.
}

/// Reads `u64` as `usize`.
#[inline(always)]
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "the module for it"
)]
pub const fn u64_to_usize(v: u64) -> usize {
    v as usize // CAST: usize has 64 bits on every supported target.
}

/// Keeps the low 16 bits, for values that the caller has bounded.
#[inline(always)]
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "the module for it"
)]
pub const fn low_u16(v: u32) -> u16 {
    v as u16 // CAST: the caller has bounded `v` below 1 << 16.
}

/// Keeps the low 8 bits, for values that the caller has bounded.
#[inline(always)]
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "the module for it"
)]
pub const fn low_u8(v: u32) -> u8 {
    v as u8 // CAST: the caller has bounded `v` below 1 << 8.
}

/// Keeps the low 32 bits, for values that the caller has bounded.
#[inline(always)]
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "the module for it"
)]
pub const fn low_u32(v: u64) -> u32 {
    v as u32 // CAST: the caller has bounded `v` below 1 << 32.
}
