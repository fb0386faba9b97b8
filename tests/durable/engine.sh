#!/bin/sh
# SPDX-License-Identifier: MIT
# The engine against a throw-away PostgreSQL, through PgBouncer in transaction mode.
exec "$abs_top_srcdir/tests/run-python" "$abs_top_srcdir/tests/lib/cluster.py" --bouncer --schema -- \
    "$abs_top_builddir/tests/durable/engine_test"
