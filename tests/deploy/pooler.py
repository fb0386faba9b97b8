#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""PgBouncer as README.Debian and docs/setup.md set it up with passwords: their line of pg_hba.conf, their command for
the user list, and the two samples."""

import os
import re
import subprocess
import sys

from cluster import Cluster, find_program, free_tcp_port, skip_without
from stack import wait
from tap import Tap

SOURCE = os.environ["abs_top_srcdir"]
ROLES = ("openclaw_owner", "openclaw_gateway", "openclaw_sweeper")


def read(*path):
    with open(os.path.join(SOURCE, *path), encoding="utf-8") as file:
        return file.read()


def write(path, text, like):
    """A file of whoever owns `like`."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o600)
    owner = os.stat(like)
    if os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid)


def taken(guide):
    """What is typed of it: the line of pg_hba.conf, and the query."""
    line = re.search(r"(local openclaw openclaw_owner.*?scram-sha-256)", guide).group(1)
    query = re.search(r'psql -At -c "(select format.*?)" >/etc/pgbouncer/pgbouncer.users', guide, re.S).group(1)
    return line, " ".join(query.replace('\\"', '"').split())


def prepare(cluster, line, query):
    """The roles, the passwords, and pg_hba.conf; returns the user list."""
    cluster.execute("\\set database openclaw\n" + read("deploy", "sql", "roles.sql"))
    for role in ROLES:
        cluster.execute(f"alter role {role} password 'secret of {role}'", "postgres")
    hba = os.path.join(cluster.data, "pg_hba.conf")
    with open(hba, encoding="utf-8") as file:
        text = file.read()
    write(hba, f"{line}\n{text}", cluster.data)
    cluster.execute("select pg_reload_conf()", "postgres")
    return "\n".join(row["format"] for row in cluster.rows(query, "postgres")) + "\n"


def configuration(cluster, directory, port):
    values = {
        "DATABASE": "openclaw", "PG_SOCKET_DIR": cluster.socket_directory, "PG_PORT": str(cluster.port),
        "POOLER_PORT": str(port), "POOLER_SOCKET_DIR": directory, "ETC": directory,
        "POOL_GATEWAY": "16", "POOL_SWEEPER": "3", "MAX_CLIENTS": "100",
    }  # fmt: skip
    text = read("deploy", "pgbouncer.ini.in")
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def ask(directory, port, database, role, password=None):
    environment = {"PATH": os.environ["PATH"], "PGPASSFILE": os.path.join(directory, "pgpass")}
    write(environment["PGPASSFILE"], f"{directory}:{port}:*:{role}:{password}\n" if password else "", "/")
    return subprocess.run(
        [find_program("psql"), "-XAtw", "-h", directory, "-p", str(port), "-U", role, "-d", database]
        + ["-c", "select current_user"],
        env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def main():
    skip_without("initdb", "psql", "pgbouncer")
    tap = Tap()
    line, query = taken(read("debian", "README.Debian"))
    tap.equal(taken(read("docs", "setup.md")), (line, query), "README.Debian and docs/setup.md say the same")
    with Cluster() as cluster:
        directory, port = cluster.directory, free_tcp_port()
        write(os.path.join(directory, "pgbouncer.users"), prepare(cluster, line, query), cluster.data)
        write(os.path.join(directory, "pgbouncer.hba"), read("deploy", "pgbouncer.hba"), cluster.data)
        ini = os.path.join(directory, "pgbouncer.ini")
        write(ini, configuration(cluster, directory, port), cluster.data)
        become = {}
        if os.geteuid() == 0:
            owner = os.stat(cluster.data)
            become = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        with subprocess.Popen([find_program("pgbouncer"), "-q", ini], stderr=subprocess.DEVNULL, **become) as pooler:
            try:
                socket = os.path.join(directory, f".s.PGSQL.{port}")
                wait(lambda: os.path.exists(socket), "the pooler listens")
                for role, database in zip(ROLES, ("openclaw", "openclaw", "openclaw_sweeper")):
                    said = ask(directory, port, database, role, f"secret of {role}")
                    tap.equal((said.stdout.strip(), said.stderr), (role, ""), f"{role} comes in with its password")
                    said = ask(directory, port, database, role)
                    tap.ok(said.returncode and "password" in said.stderr, "and not without", said.stderr)
            finally:
                pooler.terminate()
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
