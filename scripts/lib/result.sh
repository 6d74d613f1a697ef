# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For the programs that scripts/lib/testrun.py runs as tests.

# result NAME WHY PLACE: a test's outcome: FAILED if there is a reason; what was printed is in the
# file or folder PLACE.
result() {
	if [ -z "$2" ]; then echo "RESULT $1 ok"; else echo "RESULT $1 FAILED: $2; see ${3#"$ROOT"/}"; fi
}
