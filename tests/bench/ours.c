// SPDX-License-Identifier: GPL-2.0
/* zsrs_bench_ours.ko: the benchmark on zsmalloc_rs. */

#define BENCH_SIDE "ours"
#include "provider_ours.h"
#include "main.h"
