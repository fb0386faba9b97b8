# SPDX-License-Identifier: MIT
# The private PostgreSQL cluster and the PgBouncer before it.
#
# Nobody needs a password on the Unix sockets: PostgreSQL maps operating system users to roles
# (pg_ident), and PgBouncer's socket lies in a folder only the web side may enter. Over TCP, which the
# operator's own clients use, both ask for the roles' passwords (SCRAM).

DATABASE=openclaw
# 16 + 3 through PgBouncer and the sweeper's own direct one: never more than 20 server connections. Of the 16
# the relay has 6 (RELAY_POOL_SIZE) and the responder 2; where there is no relay sessions share the rest.
POOL_GATEWAY=${POOL_GATEWAY:-16}
POOL_SWEEPER=${POOL_SWEEPER:-3}
MAX_CLIENTS=${MAX_CLIENTS:-2500}

find_postgres() {
    local dir
    if [ -z "${PG_BINDIR-}" ]; then
        for dir in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV); do
            [ -x "$dir/initdb" ] && PG_BINDIR=$dir && break
        done
    fi
    [ -x "${PG_BINDIR-}/initdb" ] || fail 'no initdb found; PG_BINDIR names the folder of PostgreSQL'"'"'s programs'
}

cluster=''    # set by create_cluster

create_cluster() {
    cluster=$state/postgres
    folder 700 "$db_user" "$cluster"
    if [ ! -s "$cluster/PG_VERSION" ]; then
        note "initdb ($("$PG_BINDIR/postgres" --version))"
        current_log=$log_dir/initdb.log
        # a run that was interrupted leaves a folder that initdb refuses
        find "$cluster" -mindepth 1 -delete
        (cd / && as "$db_user" "$PG_BINDIR/initdb" -D "$cluster" -U postgres --encoding=UTF8 --locale=C.UTF-8 \
            --auth=reject) >>"$log_dir/initdb.log" 2>&1 || fail "initdb ended with status $?"
    fi
    write_cluster_file postgresql.quickstart.conf <<END
# written by deploy/quickstart at every start; for settings of your own use $etc/postgresql.local.conf
listen_addresses = '127.0.0.1'
port = $postgres_port
unix_socket_directories = '$run/postgres'
max_connections = 60
shared_buffers = 256MB
max_wal_size = 2GB
checkpoint_timeout = 15min
wal_compression = on
random_page_cost = 1.1
password_encryption = 'scram-sha-256'
log_line_prefix = '%m [%p] %q%u@%d/%a '
include_if_exists '$etc/postgresql.local.conf'
END
    if ! grep -q '^include .postgresql.quickstart.conf' "$cluster/postgresql.conf"; then
        echo "include 'postgresql.quickstart.conf'" >>"$cluster/postgresql.conf"
    fi
    write_cluster_file pg_hba.conf <<END
# written by deploy/quickstart
local all all peer map=gateway
host  all all 127.0.0.1/32 scram-sha-256
END
    ident_map | write_cluster_file pg_ident.conf
}

# Who may be which role on the Unix socket. The owner of the cluster may be all of them.
ident_map() {
    local user role
    for user in $(printf '%s\n' "$(id -un)" "$db_user" | sort -u); do
        for role in postgres openclaw_owner openclaw_gateway openclaw_sweeper; do
            echo "gateway $user $role"
        done
    done
    if [ "$web_user" != "$db_user" ]; then
        echo "gateway $web_user openclaw_gateway"
        echo "gateway $web_user openclaw_sweeper"
    fi
}

write_cluster_file() {
    cat >"$cluster/$1.new" && chmod 600 "$cluster/$1.new" && mv -f "$cluster/$1.new" "$cluster/$1"
    if is_root; then chown "$db_user" "$cluster/$1"; fi
}

start_postgres() {
    define_service postgres "$db_user" INT 60 -- "$PG_BINDIR/postgres" -D "$cluster"
    current_log=$log_dir/postgres.log
    start_service postgres
    wait_until 60 PostgreSQL "$PG_BINDIR/pg_isready" -q -h "$run/postgres" -p "$postgres_port" -U postgres -d postgres
}

# superuser_sql [ARGUMENT...]: psql as the superuser, statements on stdin
superuser_sql() {
    (cd / && PGOPTIONS='' "$PG_BINDIR/psql" -X -q -v ON_ERROR_STOP=1 -h "$run/postgres" -p "$postgres_port" \
        -U postgres "$@")
}

create_roles() {
    current_log=$log_dir/roles.log
    superuser_sql -d postgres -v database="$DATABASE" -f "$root/deploy/sql/roles.sql" >>"$log_dir/roles.log" 2>&1 ||
        fail 'the roles or the database could not be made'
    # for TCP clients; by stdin, so that no password stands in an argument list
    superuser_sql -d postgres >>"$log_dir/roles.log" 2>&1 <<END || fail 'the passwords could not be set'
set log_min_error_statement = panic;
set log_statement = none;
alter role openclaw_owner password '$owner_password';
alter role openclaw_gateway password '$gateway_password';
alter role openclaw_sweeper password '$sweeper_password';
-- on this private cluster the owner may look at everything and end backends: tests and doctor do
grant pg_monitor, pg_signal_backend to openclaw_owner;
END
}

# The pooler knows the verifiers only, never a password.
write_pooler_files() {
    superuser_sql -d postgres -At <<'END' | secret_file "$db_user" "$etc/pgbouncer.users" || fail 'no verifiers'
select format('"%s" "%s"', rolname, rolpassword)
from pg_catalog.pg_authid
where rolname in ('openclaw_owner', 'openclaw_gateway', 'openclaw_sweeper');
END
    secret_file "$db_user" "$etc/pgbouncer.hba" <<'END'
local all all trust
host  all all 127.0.0.1/32 scram-sha-256
END
    render "$root/deploy/pgbouncer.ini.in" | secret_file "$db_user" "$etc/pgbouncer.ini"
}

start_pooler() {
    write_pooler_files
    define_service pgbouncer "$db_user" TERM 10 -- "$(find_program pgbouncer)" -q "$etc/pgbouncer.ini"
    current_log=$log_dir/pgbouncer.log
    start_service pgbouncer
    wait_until 20 PgBouncer pooler_answers
}

pooler_answers() {
    [ "$("$PG_BINDIR/psql" -X -At -h "$run/pooler" -p "$pooler_port" -U openclaw_gateway -d "$DATABASE" \
        -c 'select 1' 2>>"$log_dir/pgbouncer.log")" = 1 ]
}
