#!/bin/sh
# SPDX-License-Identifier: MIT
# Every statement of sql/statement, parsed by a server that has the migrated schema.
exec "$abs_top_srcdir/tests/run-python" "$abs_top_srcdir/tests/lib/cluster.py" --schema --bouncer -- \
    "$abs_top_builddir/tests/db/statements"
