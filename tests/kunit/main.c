// SPDX-License-Identifier: GPL-2.0
/*
 * zsrs_kunit.ko: the KUnit suites of zsmalloc_rs that leave the kernel log
 * clean. Every case checks that the module holds what it held before.
 */

#include <linux/module.h>
#include "suites.h"

unsigned int zsrs_storm_s;
module_param_named(storm_s, zsrs_storm_s, uint, 0444);
MODULE_PARM_DESC(storm_s, "Least seconds that the stress tests run, reclaim's a quarter as long (0: until their operations are done)");

kunit_test_suites(&zsrs_api_suite, &zsrs_compact_suite, &zsrs_drain_suite, &zsrs_failure_suite,
		  &zsrs_migrate_suite, &zsrs_reclaim_suite, &zsrs_spare_suite, &zsrs_stress_suite);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The zsmalloc_rs developers");
MODULE_DESCRIPTION("KUnit tests of zsmalloc_rs");
