#!/bin/sh
# SPDX-License-Identifier: MIT
# The pool against a throw-away PostgreSQL, through PgBouncer in transaction mode.
exec "$abs_top_srcdir/tests/run-python" "$abs_top_srcdir/tests/lib/cluster.py" --bouncer -- \
    "$abs_top_builddir/tests/db/pool_test"
