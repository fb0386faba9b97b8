# SPDX-License-Identifier: MIT
# Where the private stack keeps what it owns, and who owns it.
#
#   $var/                  var/ of the clone, or VAR_DIR
#   $state/                $var itself; where the service users cannot reach $var (a clone under /root), or
#                          a server cannot read its path (a space), a folder under /var/tmp that
#                          $var/state points to
#     postgres/            the cluster                              (database user, 0700)
#     bin/                 the programs as they were built          (everybody)
#     etc/                 configuration; what is secret is 0600
#     log/                 one log for each service
#   $run/                  Unix sockets: $state/run; where that is too long for a socket's path
#                          (107 bytes), a folder under /tmp that $var/runtime points to
#   $var/services/         what deploy/supervise keeps
#   $var/quickstart.env    what a client needs (0600)
#
# As root the database side runs as `postgres` and the web side as `www-data`; else all runs as we do.

SOCKET_NAME_RESERVE=62    # the longest name below $run, with its slash
SOCKET_PATH_MAX=107

choose_users() {
    if is_root; then
        db_user=${DB_USER:-postgres}
        web_user=${WEB_USER:-www-data}
    else
        db_user=$(id -un)
        web_user=$db_user
    fi
}

front_of_last_start() { cat "$var/front-server" 2>/dev/null || echo lighttpd; }

# find_state: set $state and $run if they exist; creates nothing
find_state() {
    var=${VAR_DIR:-$root/var}
    case $var in /*) ;; *) var=$PWD/$var ;; esac
    services=$var/services
    front=${FRONT:-$(front_of_last_start)}
    case $front in
    lighttpd | apache | nginx) ;;
    *) fail "FRONT is lighttpd, apache or nginx, not $front" ;;
    esac
    SERVICES=(postgres pgbouncer http relay websocketd "$front" sweeper)
    env_file=$var/quickstart.env
    state=$var
    [ -L "$var/state" ] && state=$(readlink "$var/state")
    run=$state/run
    [ -L "$var/runtime" ] && run=$(readlink "$var/runtime")
    log_dir=$state/log
    etc=$state/etc
    bin=$state/bin
}

# A folder of ours under /tmp may be gone after a reboot, and the name somebody else's.
forget_lost_folder() {
    local target
    [ -L "$1" ] || return 0
    target=$(readlink "$1")
    [ -d "$target" ] && [ ! -L "$target" ] && [ -O "$target" ] || rm -f "$1"
}

# claim_folder: $var becomes ours, and `delete` may empty it, only if nothing of anybody's is in it
claim_folder() {
    local entry
    mkdir -p "$var" || fail "cannot create $var"
    [ -e "$var/.quickstart" ] && return
    for entry in "$var"/* "$var"/.[!.]*; do
        case ${entry##*/} in
        '*' | '.[!.]*' | .lock) ;;
        etc)    # settings of one's own may be there before the first start
            [ -z "$(find "$entry" -mindepth 1 ! -name '*.local.env' ! -name '*.local.conf')" ] ||
                fail "$entry is not ours; VAR_DIR names a folder of its own" ;;
        *) fail "$var has other things in it ($entry); VAR_DIR names a folder of its own" ;;
        esac
    done
    : >"$var/.quickstart" || fail "cannot write to $var"
}

# move_state WHY
move_state() {
    state=$(mktemp -d /var/tmp/openclaw-gateway.XXXXXX) && ln -sfn "$state" "$var/state"
    note "$1: the data is in $state"
}

create_state() {
    choose_users
    forget_lost_folder "$var/state"
    forget_lost_folder "$var/runtime"
    find_state
    if [ ! -L "$var/state" ]; then
        if ! { as "$db_user" test -x "$var" && as "$web_user" test -x "$var"; }; then
            move_state "the users $db_user and $web_user cannot reach $var"
        elif [[ $var = *[!A-Za-z0-9_./+-]* ]] && [ ! -e "$var/postgres" ]; then
            move_state "not every server reads the path $var"
        fi
    fi
    find_state
    mkdir -p "$state"
    chmod 755 "$state"
    if [ ! -L "$var/runtime" ] && [ $((${#run} + SOCKET_NAME_RESERVE)) -gt $SOCKET_PATH_MAX ]; then
        run=$(mktemp -d /tmp/openclaw-gateway.XXXXXX) && ln -sfn "$run" "$var/runtime"
        note "a socket's path holds $SOCKET_PATH_MAX bytes: the sockets are in $run"
    fi
    find_state
    folder 755 "" "$run" "$bin" "$etc" "$services" "$log_dir"
    folder 755 "$db_user" "$run/postgres"
    folder 750 "$db_user:$(id -gn "$web_user")" "$run/pooler"
    folder 700 "$web_user" "$run/gateway" "$run/gateway/bells"
}

# folder MODE OWNER FOLDER...
folder() {
    local mode=$1 owner=$2
    shift 2
    mkdir -p "$@" && chmod "$mode" "$@" || fail "cannot create $*"
    if is_root && [ -n "$owner" ]; then chown "$owner" "$@"; fi
}

# secret_file OWNER FILE: what comes on stdin, in place at once, readable by OWNER only
secret_file() {
    local new
    new=$(mktemp "$2.XXXXXX") || fail "cannot write $2"
    cat >"$new"    # mktemp made it 0600
    if is_root && [ -n "$1" ]; then chown "$1" "$new"; fi
    mv -f "$new" "$2"
}

random_hex() { od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'; }

# The passwords of the three roles, for those who come over TCP; made once.
load_secrets() {
    if [ ! -s "$etc/secrets" ]; then
        secret_file '' "$etc/secrets" <<END
owner_password=$(random_hex 24)
gateway_password=$(random_hex 24)
sweeper_password=$(random_hex 24)
END
    fi
    . "$etc/secrets"
}

# choose_place: HOST, PORT and TLS_* are the user's, now or at the last start; TLS_PORT= is no TLS any more.
# bind_host is HOST as it stands before a port: an IPv6 address in brackets, with which HOST may be given, too
choose_place() {
    local saved_host='' saved_port='' saved_postgres saved_pooler saved_websocketd
    local saved_tls_port='' saved_tls_certificate='' saved_tls_key=''
    if [ -s "$var/ports" ]; then
        . "$var/ports"
    fi
    HOST=${HOST:-${saved_host:-127.0.0.1}}
    HOST=${HOST#[} HOST=${HOST%]}
    bind_host=$HOST
    case $HOST in *:*) bind_host=[$HOST] ;; esac
    PORT=${PORT:-${saved_port:-18789}}
    TLS_PORT=${TLS_PORT-$saved_tls_port}
    TLS_CERTIFICATE=${TLS_CERTIFICATE:-$saved_tls_certificate}
    TLS_KEY=${TLS_KEY:-$saved_tls_key}
    [ -z "$TLS_PORT" ] || { [ -r "$TLS_CERTIFICATE" ] && [ -r "$TLS_KEY" ]; } || {
        current_log=''
        fail "TLS_PORT needs TLS_CERTIFICATE and TLS_KEY, two files that can be read; TLS_PORT= is without TLS"
    }
    case $TLS_CERTIFICATE in '' | /*) ;; *) TLS_CERTIFICATE=$PWD/$TLS_CERTIFICATE ;; esac
    case $TLS_KEY in '' | /*) ;; *) TLS_KEY=$PWD/$TLS_KEY ;; esac
}

# choose_ports: the three inner ones are chosen once; all are kept in $var/ports
choose_ports() {
    local saved_host saved_port saved_postgres='' saved_pooler='' saved_websocketd=''
    local saved_tls_port saved_tls_certificate saved_tls_key
    choose_place
    if ! is_running "$front" && port_in_use "$PORT" "$HOST"; then
        current_log=''
        fail "port $PORT is in use by another program; choose another: PORT=18790 deploy/quickstart"
    fi
    if [ -s "$var/ports" ]; then
        . "$var/ports"
    fi
    choose_port postgres_port "${PG_PORT-}" "$saved_postgres" 5433 postgres
    choose_port pooler_port "${POOLER_PORT-}" "$saved_pooler" 6432 pgbouncer
    choose_port websocketd_port "${WS_PORT-}" "$saved_websocketd" 18800 websocketd
    {
        printf 'saved_host=%q\nsaved_port=%q\n' "$HOST" "$PORT"
        printf 'saved_tls_port=%q\nsaved_tls_certificate=%q\nsaved_tls_key=%q\n' \
            "$TLS_PORT" "$TLS_CERTIFICATE" "$TLS_KEY"
        echo "saved_postgres=$postgres_port"
        echo "saved_pooler=$pooler_port"
        echo "saved_websocketd=$websocketd_port"
    } >"$var/ports"
}

# choose_port RET ASKED SAVED FIRST SERVICE
choose_port() {
    local -n ret_port=$1
    local asked=$2 saved=$3 candidate=$4 service=$5
    if is_running "$service"; then
        ret_port=$saved
        return
    fi
    if [ -n "$asked" ]; then
        port_in_use "$asked" && fail "port $asked, asked for $service, is in use by another program"
        ret_port=$asked
        return
    fi
    if [ -n "$saved" ] && ! port_in_use "$saved"; then
        ret_port=$saved
        return
    fi
    while port_in_use "$candidate"; do
        candidate=$((candidate + 1))
    done
    ret_port=$candidate
}
