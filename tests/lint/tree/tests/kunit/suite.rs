// SPDX-License-Identifier: GPL-2.0

//! Tests in the kernel.

fn low_bytes() {
    let table = [1, 2];
    assert!(table[0] == 1);
}
