# SPDX-License-Identifier: MIT
"""Install the database schema of this source tree: sql/migration, then sql/function.

The files are run as `gatewayctl migrate` runs them on an empty database: in the order of their
names, the identifier dbos_system replaced by the configured schema.  sql/migration/dbos/ is not
for an empty database (see 0001) and is left out.
"""

import glob
import os

SOURCE = os.environ.get("abs_top_srcdir") or os.path.abspath(
    os.path.join(os.path.dirname(__file__), "..", "..")
)
DBOS_SCHEMA = "dbos_system"


def files():
    """Every file to run, in order."""
    paths = []
    for folder in ("migration", "function"):
        paths += sorted(glob.glob(os.path.join(SOURCE, "sql", folder, "*.sql")))
    return paths


def dbos_files():
    """Of these, what makes the DBOS schema (0001), and what we change in it (0002)."""
    return [path for path in files() if "_dbos_system_" in os.path.basename(path)]


def install(cluster, database, schema=DBOS_SCHEMA, user=None):
    for path in files():
        cluster.apply(path, database, user, {DBOS_SCHEMA: schema})
