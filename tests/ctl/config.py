#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""--check-config of every program: each fault, its line and what is allowed; nothing secret."""

import os
import re
import sys
import tempfile

from programs import BUILD, run
from tap import Tap

PROGRAMS = (
    "gatewayctl",
    "openclaw-gateway-http",
    "openclaw-gateway-relay",
    "openclaw-gateway-session",
    "openclaw-gateway-sweeper",
)
PASSWORD = "hunter2"

# A line of the file, and what is said about it; None: nothing.
LINES = (
    ("PORT=99999", "PORT: .*a number from 1 to 65535"),
    ("LOG_LEVEL=loud", "LOG_LEVEL: .*debug|info|warn|error"),
    ("AUTH_MODE=none", "AUTH_MODE: .*HOST must then be 127.0.0.1"),
    ("HOST=0.0.0.0", None),
    ("PROT=1", "PROT: there is no such option; is PORT meant"),
    (f'DATABASE_URL="flavour=sweet password={PASSWORD}"', "DATABASE_URL: .*what libpq reads"),
    (
        f"DIRECT_DATABASE_URL=postgresql://u:{PASSWORD}@h:notaport/d",
        "DIRECT_DATABASE_URL: .*port is a number from 1 to 65535",
    ),
    ("PGHOTS=/run/postgresql", "PGHOTS: libpq has no such variable"),
    ("PGPORT=0", "PGPORT: its port must be a number from 1 to 65535"),
    ("PGHOST=/run/postgresql", None),
    ("PGSSLMODE=disable", None),
    (f"PGPASSWORD={PASSWORD}", None),
    ("RETRY_BASE_MS=70000", r"RETRY_BASE_MS: .*\(70000\) must not be more than RETRY_MAX_MS"),
    ("nonsense", "a line is NAME=value"),
)
FINE = (
    "DATABASE_URL=postgresql://u@/d?host=/run/postgresql&port=6432",
    "DATABASE_URL='host=a,b port=5432,5433 dbname=d'",
    "PGPORT=5432,",
    "PGSERVICEFILE=/etc/services.conf",
)


def check(program, directory, text):
    path = os.path.join(directory, "gateway.env")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    clean = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return path, run([os.path.join(BUILD, program), "--config", path, "--check-config"], clean)


def main():
    tap = Tap()
    with tempfile.TemporaryDirectory() as directory:
        for program in PROGRAMS:
            path, result = check(program, directory, "".join(line + "\n" for line, _ in LINES))
            tap.equal(result.code, 78, f"{program}: exit 78")
            said = result.err.splitlines()
            wrong = []
            for number, (line, wanted) in enumerate(LINES, 1):
                about = [s for s in said if s.startswith(f"{path}:{number}: ")]
                if len(about) != (wanted is not None) or (wanted and not re.search(wanted, about[0])):
                    wrong.append(f"{line}: {about}")
            tap.equal(wrong, [], f"{program}: each fault, its line and what is allowed")
            tap.equal(
                len(said), sum(wanted is not None for _, wanted in LINES), f"{program}: nothing else"
            )
            tap.ok(PASSWORD not in result.err + result.out, f"{program}: no secret")
        for line in FINE:
            _, result = check("gatewayctl", directory, line + "\n")
            tap.ok(result.code == 0, f"allowed: {line}", str(result))
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
