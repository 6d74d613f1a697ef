// SPDX-License-Identifier: GPL-2.0
/*
 * Inline functions and macros of the kernel that Rust cannot call, wrapped.
 * One file per C header; each function forwards and does nothing else. The
 * one variable here is a lock whose type is a macro's business (local_lock.c).
 *
 * Sorted alphabetically.
 */

#include "bug.c"
#include "cpumask.c"
#include "debugfs.c"
#include "kmsan.c"
#include "local_lock.c"
#include "mm.c"
#include "module.c"
#include "pagemap.c"
#include "percpu.c"
#include "preempt.c"
#include "sched.c"
#include "workqueue.c"
