// SPDX-License-Identifier: GPL-2.0

//! The locking protocol of `Documentation/locking.rst`, in all interleavings; of the larger
//! scenarios in those with at most three preemptions.
//!
//! [`model`] is a small allocator that keeps the rules with loom's locks, atomics and cells, and
//! with the real handle word, header, free list and spans of `rust/logic`. Memory is made of cells,
//! so that loom reports every access that is not ordered with another one. [`scenario`] lets two or
//! three threads loose on it and audits what is left.
//!
//! A [`Fault`](model::fault::Fault) is a variant of the model that breaks a rule, and that
//! loom must reject. A model that accepts its broken variants proves nothing.
//!
//! Objects that change their class have a model of their own, [`model::promote`]: two classes of
//! one page each. The other model has one class, or two where objects are promoted beside page
//! migration and reclaim, [`model::two_classes`].
//!
//! What is not modelled: preemption off (a mapper here may stop anywhere, which is harsher), the
//! magazines of words, pages that cannot be set movable.

#![cfg(loom)]

mod model;
mod scenario;
