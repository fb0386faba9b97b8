#!/bin/sh
# SPDX-License-Identifier: MIT
# The workflows that only tests use are in the table only where they were asked for.
names() { # names FLAG: how many of them the compiler sees
    # shellcheck disable=SC2086 # a command with its options
    $TEST_CC "$1" -E "$abs_top_srcdir/src/workflow/registry.c" | grep -c 'testScript\|canonicalWorkflow'
}
echo 1..2
[ "$(names -UOPENCLAW_TEST_WORKFLOWS)" -eq 0 ] || printf 'not '
echo "ok 1 - without --enable-test-workflows there are none"
[ "$(names -DOPENCLAW_TEST_WORKFLOWS=1)" -gt 0 ] || printf 'not '
echo "ok 2 - with it there are"
