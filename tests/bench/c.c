// SPDX-License-Identifier: GPL-2.0
/* zsrs_bench_c.ko: the benchmark on the kernel's own zsmalloc. */

#define BENCH_SIDE "c"
#include "provider_c.h"
#include "main.h"
