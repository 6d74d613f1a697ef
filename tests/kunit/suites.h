/* SPDX-License-Identifier: GPL-2.0 */
/* The suites of zsrs_kunit.ko. */
#ifndef _ZSRS_KUNIT_SUITES_H
#define _ZSRS_KUNIT_SUITES_H

#include <kunit/test.h>

extern struct kunit_suite zsrs_api_suite;
extern struct kunit_suite zsrs_compact_suite;
extern struct kunit_suite zsrs_drain_suite;
extern struct kunit_suite zsrs_failure_suite;
extern struct kunit_suite zsrs_migrate_suite;
extern struct kunit_suite zsrs_reclaim_suite;
extern struct kunit_suite zsrs_spare_suite;
extern struct kunit_suite zsrs_stress_suite;

extern unsigned int zsrs_storm_s;

#endif
