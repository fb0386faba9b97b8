#!/bin/sh
# SPDX-License-Identifier: MIT
# The workflows that only tests use are in the table, and in the programs, only where they were asked for.
rows=$(grep -c '^WORKFLOW.*"only for tests' "$abs_top_srcdir/src/workflow/registry.def")
names() { # names FLAG: how many of them the compiler sees
    # shellcheck disable=SC2086 # a command with its options
    $TEST_CC "$1" -E "$abs_top_srcdir/src/workflow/registry.c" | grep -c 'only for tests'
}
in_programs() {
    for program in http sweeper; do
        if grep -q 'only for tests' "$abs_top_builddir/openclaw-gateway-$program"; then echo 1; else echo 0; fi
    done | sort -u | tr '\n' ' '
}
echo 1..4
[ "$rows" -ge 3 ] || printf 'not '
echo "ok 1 - there are test workflows, and each row says that it is one"
[ "$(names -UOPENCLAW_TEST_WORKFLOWS)" -eq 0 ] || printf 'not '
echo "ok 2 - without --enable-test-workflows there are none"
[ "$(names -DOPENCLAW_TEST_WORKFLOWS=1)" -gt 0 ] || printf 'not '
echo "ok 3 - with it there are"
if printf '%s' "$TEST_CC" | grep -q DOPENCLAW_TEST_WORKFLOWS; then
    wanted='1 '
else
    wanted='0 '
fi
[ "$(in_programs)" = "$wanted" ] || printf 'not '
echo "ok 4 - the programs of this build have them as it was configured ($wanted)"
