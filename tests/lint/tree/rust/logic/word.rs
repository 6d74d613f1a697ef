// SPDX-License-Identifier: GPL-2.0

//! Packed words.

use super::conv::widen as widened;
use core::fmt::{Debug as Shown, Display};

const TABLE: [u8; 2] = [1, 2];
const FIRST: u8 = TABLE[0];
const _: () = assert!(FIRST == 1);

/// An element, or nothing.
pub fn element(table: &[u8], at: u16) -> Option<u8> {
    table.get(widened(at)).copied()
}

/// The same, where it is known to exist.
pub fn known(table: &[u8; 4], at: u16) -> u8 {
    let index = widened(at) & 3;
    // PANIC: The mask keeps the index below the array's length.
    table[index]
}

/// The whole of it, and a name from a trait.
pub fn whole<T: Default + Shown + Display>(table: &[u8]) -> (&[u8], T) {
    (&table[..], <T as Default>::default())
}

/// One byte of it.
pub fn low(v: u64) -> u8 {
    (v & 0xff) as u8 // CAST: Masked to eight bits before.
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    #[test]
    fn words() {
        let v: Vec<u64> = [1u64].to_vec();
        assert_eq!(v[0] as u8, super::known(&[1; 4], 0));
        v.first().unwrap();
    }
}
