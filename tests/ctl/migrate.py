#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gatewayctl migrate: twice, two at once, what it refuses, and that every way leads to one schema."""

import re
import subprocess
import sys

from cluster import Cluster, find_program, skip_without
from programs import ctl, ctl_start
from tap import Tap

OWNER = "openclaw_owner"
APP = "openclaw_gateway"


def dump(cluster, database):
    """The schema, without the grants, and without the key that newer pg_dumps make up each time."""
    text = subprocess.run(
        [find_program("pg_dump"), "--schema-only", "--no-owner", database],
        capture_output=True,
        encoding="utf-8",
        env=cluster.environment(database),
        check=True,
    ).stdout
    return re.sub(r"(?m)^\\(un)?restrict .*\n", "", text)


def created(cluster, name):
    cluster.create_database(name)
    return name


def fresh(tap, cluster):
    database = created(cluster, "fresh")
    dry = ctl(cluster, database, "migrate", "--dry-run", "--json")
    tap.ok(
        dry.code == 0 and dry.json["wouldDo"][0]["did"] == "create",
        "--dry-run has a plan",
        str(dry),
    )
    schemas = "select count(*) from pg_namespace where nspname in ('openclaw', 'dbos_system')"
    tap.equal(cluster.value(schemas, database), "0", "--dry-run changes nothing")

    first = ctl(cluster, database, "migrate", "--json")
    tap.ok(first.code == 0, "an empty database is migrated", str(first))
    tap.equal(
        [
            line["did"].replace("create", "created").replace("apply", "applied").replace("dd", "d")
            for line in dry.json["wouldDo"]
        ],
        [line["did"] for line in first.json["done"]],
        "it does what --dry-run said",
    )
    tap.equal(
        cluster.value(
            "select string_agg(version::text, ',') from dbos_system.dbos_migrations", database
        ),
        "123",
        "dbos_migrations has the single row 123",
    )
    status = ctl(cluster, database, "migrate", "--status", "--json")
    tap.ok(status.code == 0 and status.json["upToDate"] is True, "--status says so", str(status))
    tap.equal(
        cluster.value(
            "select value from openclaw.setting where name = 'functions_digest'", database
        ),
        status.json["functionsExpected"],
        "the digest of the functions is in the database",
    )

    before = dump(cluster, database)
    xmin = (
        "select sum(xmin::text::bigint) from pg_proc where pronamespace = 'openclaw'::regnamespace"
    )
    functions = cluster.value(xmin + " and proname <> 'migrate'", database)
    second = ctl(cluster, database, "migrate", "--json")
    tap.ok(
        second.code == 0 and second.json["done"] == [], "a second time does nothing", str(second)
    )
    tap.equal(
        cluster.value(xmin + " and proname <> 'migrate'", database),
        functions,
        "no function is made anew",
    )
    tap.ok(dump(cluster, database) == before, "the schema is the same after the second time")
    acts = cluster.rows("select principal_id, detail from openclaw.audit where act = 'migrate'", database)
    tap.ok(
        len(acts) == 1 and acts[0]["principal_id"].startswith("db:") and "0100_openclaw" in str(acts[0]["detail"]),
        "what was migrated is on record, once", acts,
    )

    third = ctl(cluster, database, "migrate", MAX_ATTEMPTS="3", MESSAGE_TTL_MS="5000")
    settings = cluster.rows(
        "select name, value from openclaw.setting where name in ('max_attempts', 'message_ttl_ms')"
        " order by name",
        database,
    )
    tap.equal(
        (third.code, [row["value"] for row in settings]),
        (0, ["3", "5000"]),
        "the options that the database reads are stored",
    )
    return before


def functions_change(tap, cluster, expected):
    """Old functions: another body, another result, another signature, and one in use by a trigger."""
    database = created(cluster, "functions")
    ctl(cluster, database, "migrate")
    cluster.execute(
        """
        update openclaw.setting set value = 'older' where name = 'functions_digest';
        create or replace function openclaw.iso(p_ms bigint) returns text language sql as $$ select 'x' $$;
        drop function openclaw.inbox_count();
        create function openclaw.inbox_count() returns integer language sql as $$ select 1 $$;
        create function openclaw.workflow_recover(p_executors text) returns bigint
        language sql as $$ select 1::bigint $$;
        create or replace function openclaw.inbox_feed() returns trigger language plpgsql
        as $$ begin return null; end $$;
        """,
        database,
    )
    status = ctl(cluster, database, "migrate", "--status", "--json")
    tap.ok(status.json["upToDate"] is False, "--status tells that the functions are others")
    result = ctl(cluster, database, "migrate")
    tap.ok(
        result.code == 0,
        "functions whose result or signature has changed are replaced",
        str(result),
    )
    tap.ok(dump(cluster, database) == expected, "and the schema is as a fresh one")

    cluster.execute(
        "update openclaw.setting set value = 'older' where name = 'functions_digest';"
        " create function openclaw.workflow_recover(p_executors text) returns bigint"
        " language sql as $$ select 1::bigint $$;",
        database,
    )
    result = ctl(cluster, database, "migrate")
    tap.ok(
        "dropped openclaw.workflow_recover(text)" in result.out,
        "an older signature beside the new one goes",
        str(result),
    )
    tap.ok(dump(cluster, database) == expected, "and nothing else does")


def dbos_upgrade(tap, cluster, expected):
    """A DBOS schema of version 100 to 122 is brought to 123, one that is newer is left alone."""
    for version in (100, 108, 111, 117, 122):
        database = created(cluster, f"from{version}")
        ctl(cluster, database, "migrate")
        cluster.execute(f"update dbos_system.dbos_migrations set version = {version}", database)
        if version <= 108:
            cluster.execute(
                "drop table dbos_system.workflow_output;"
                "drop index dbos_system.idx_operation_outputs_retention;"
                "alter table dbos_system.operation_outputs drop column retention_timestamp;"
                "alter table dbos_system.operation_outputs add constraint"
                " operation_outputs_workflow_uuid_fkey foreign key (workflow_uuid)"
                " references dbos_system.workflow_status;",
                database,
            )
        result = ctl(cluster, database, "migrate")
        tap.ok(
            result.code == 0 and f"by {version + 1}_" in result.out,
            f"{version} is upgraded",
            str(result),
        )
        got, want = columns(cluster, database), columns(cluster, "fresh")
        difference = "\n".join(sorted(set(got.splitlines()) ^ set(want.splitlines())))
        tap.ok(
            got == want,
            f"{version} has the columns, indexes and constraints of a fresh one",
            difference,
        )
        if version > 108:
            tap.ok(dump(cluster, database) == expected, f"{version} dumps as a fresh one")

    database = created(cluster, "newer")
    ctl(cluster, database, "migrate")
    cluster.execute("update dbos_system.dbos_migrations set version = 130", database)
    result = ctl(cluster, database, "migrate")
    tap.ok(
        result.code == 0 and "130" in result.err, "a newer DBOS schema is a warning", str(result)
    )
    tap.equal(
        cluster.value("select version from dbos_system.dbos_migrations", database),
        "130",
        "and is left alone",
    )


def columns(cluster, database):
    """Order of columns apart, what a table is."""
    return cluster.execute(
        """
        select table_name, column_name, data_type, is_nullable, column_default
        from information_schema.columns where table_schema = 'dbos_system' order by 1, 2;
        select indexdef from pg_indexes where schemaname = 'dbos_system' order by 1;
        select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint
        where connamespace = 'dbos_system'::regnamespace order by 1, 2;
        """,
        database,
    )


def refusals(tap, cluster):
    def refuses(name, database, words, code=78, **extra):
        before = dump(cluster, database)
        result = ctl(cluster, database, "migrate", **extra)
        tap.ok(
            result.code == code and all(word in result.err for word in words),
            f"refused: {name}",
            str(result),
        )
        tap.ok(dump(cluster, database) == before, f"and nothing is changed: {name}")

    refuses(
        "another DBOS_SCHEMA", "fresh", ["DBOS_SCHEMA=dbos_system", "other"], DBOS_SCHEMA="other"
    )

    database = created(cluster, "old")
    cluster.execute(
        "create schema dbos_system; create table dbos_system.dbos_migrations (version bigint);"
        "insert into dbos_system.dbos_migrations values (68);",
        database,
    )
    refuses("a DBOS schema before the common numbers", database, ["version 68", "official SDK"])

    database = created(cluster, "foreign")
    cluster.execute(
        "create schema dbos_system; create table dbos_system.workflow_status ();", database
    )
    refuses("tables that are not DBOS'", database, ["no dbos_migrations", "DBOS_SCHEMA"])

    database = created(cluster, "ahead")
    ctl(cluster, database, "migrate")
    cluster.execute("insert into openclaw.migration (name) values ('9999_future')", database)
    refuses("a schema newer than the program", database, ["9999_future", "newer gatewayctl"])

    database = created(cluster, "poor")
    result = ctl(cluster, database, "migrate", "--app-role", "nobody_here")
    tap.ok(
        result.code == 66 and "nobody_here" in result.err,
        "refused: a role that does not exist",
        str(result),
    )
    result = ctl(
        cluster, database, "migrate", PGDATABASE="x", DATABASE_URL="postgresql://localhost:1/x"
    )
    tap.ok(result.code == 69, "a database that is away is exit status 69", str(result))


def roles(tap, cluster):
    database = created(cluster, "roles")
    cluster.execute(
        f"create role {OWNER} login; create role {APP} login;"
        f"grant create on database {database} to {OWNER};",
    )
    app_url = f"postgresql://{APP}@localhost:{cluster.port}/{database}?host={cluster.host}"
    owner_url = app_url.replace(APP, OWNER)
    result = ctl(cluster, database, "migrate", DATABASE_URL=app_url)
    tap.ok(
        result.code == 77 and "DIRECT_DATABASE_URL" in result.err,
        "a role without the right to create says what to set",
        str(result),
    )
    result = ctl(cluster, database, "migrate", DATABASE_URL=app_url, DIRECT_DATABASE_URL=owner_url)
    tap.ok(result.code == 0, "DIRECT_DATABASE_URL is used where it is set", str(result))
    missing = """
        select string_agg(format('%s %s', c.oid::regclass, r), ', ')
        from pg_class c, unnest(array['select', 'insert', 'update', 'delete']) r
        where c.relnamespace in ('openclaw'::regnamespace, 'dbos_system'::regnamespace)
          and c.relkind = 'r' and not has_table_privilege('openclaw_gateway', c.oid, r)
    """
    tap.equal(
        cluster.value(missing, database),
        "openclaw.migration insert, openclaw.migration update, openclaw.migration delete",
        "the application may use every table, and change all but the list of migrations",
    )
    tap.equal(
        cluster.value(
            "select string_agg(p.oid::regprocedure::text, ',') from pg_proc p"
            " where pronamespace in ('openclaw'::regnamespace, 'dbos_system'::regnamespace)"
            " and proname <> 'migrate' and not has_function_privilege('openclaw_gateway', p.oid, 'execute')",
            database,
        ),
        None,
        "and call every function",
    )
    tap.equal(
        cluster.value(
            "select has_schema_privilege('openclaw_gateway', 'openclaw', 'create')"
            " or has_function_privilege('openclaw_gateway', (select oid from pg_proc where proname = 'migrate'),"
            " 'execute')",
            database,
        ),
        "f",
        "but makes nothing, and does not migrate",
    )
    settings = {"DATABASE_URL": app_url, "DIRECT_DATABASE_URL": owner_url}
    dry = ctl(cluster, database, "migrate", "--dry-run", "--json", **settings)
    tap.equal(dry.json, {"wouldDo": []}, "--dry-run on a schema that is current has nothing to do")
    cluster.execute(f"revoke update on openclaw.inbox from {APP}", database)
    dry = ctl(cluster, database, "migrate", "--dry-run", "--json", **settings)
    tap.equal([line["did"] for line in dry.json["wouldDo"]], ["grant"], "a right that is missing is something")
    ctl(cluster, database, "migrate", **settings)
    dry = ctl(cluster, database, "migrate", "--dry-run", **settings)
    tap.ok(dry.out.startswith("nothing:"), "until it is given", str(dry))
    result = ctl(cluster, database, "migrate", DATABASE_URL=app_url)
    tap.ok(
        result.code == 77 and OWNER in result.err and "DIRECT_DATABASE_URL" in result.err,
        "who does not own the schemas is told who does",
        str(result),
    )
    result = ctl(cluster, database, "migrate", "--status", "--json", DATABASE_URL=app_url)
    tap.ok(result.code == 0 and result.json["upToDate"], "but may look", str(result))


def together(tap, cluster, expected):
    for turn in range(3):
        database = created(cluster, f"together{turn}")
        processes = [ctl_start(cluster, database, "migrate") for _ in range(4)]
        results = []
        for process in processes:
            out, err = process.communicate(timeout=120)
            results.append((process.returncode, out, err))
        tap.ok(
            all(code == 0 for code, _, _ in results),
            f"four at once all succeed ({turn})",
            str(results),
        )
        tap.equal(
            sum("created schema" in out for _, out, _ in results),
            1,
            f"one of them made the schema ({turn})",
        )
        tap.ok(dump(cluster, database) == expected, f"and it is whole ({turn})")


def in_use(tap, cluster):
    """A table that somebody holds is waited for, not for ever, and nothing is half done."""
    database = created(cluster, "busy")
    ctl(cluster, database, "migrate")
    cluster.execute("delete from openclaw.migration where name = '0002_dbos_system_ours'", database)
    with cluster.session(database) as holder:
        holder.run("begin; lock table dbos_system.notifications in access exclusive mode;")
        process = ctl_start(cluster, database, "migrate")
        cluster.wait_until(
            "select count(*) > 0 from pg_stat_activity where wait_event_type = 'Lock'", database
        )
        tap.ok(process.poll() is None, "a table in use is waited for")
        holder.run("commit;")
        out, err = process.communicate(timeout=60)
        tap.ok(process.returncode == 0, "and the migration goes through then", out + err)
    with cluster.session(database) as holder:
        cluster.execute(
            "delete from openclaw.migration where name = '0002_dbos_system_ours'", database
        )
        holder.run("begin; lock table dbos_system.notifications in access exclusive mode;")
        process = ctl_start(cluster, database, "migrate")
        out, err = process.communicate(timeout=120)
        tap.ok(
            process.returncode == 75 and "lock timeout" in err,
            "not for ever",
            f"{process.returncode} {out}{err}",
        )
        holder.run("rollback;")


def main():
    skip_without("initdb", "psql", "pg_dump")
    tap = Tap()
    with Cluster() as cluster:
        expected = fresh(tap, cluster)
        functions_change(tap, cluster, expected)
        dbos_upgrade(tap, cluster, expected)
        refusals(tap, cluster)
        together(tap, cluster, expected)
        in_use(tap, cluster)
        roles(tap, cluster)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
