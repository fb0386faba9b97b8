# SPDX-License-Identifier: MIT
# The gateway's own programs, and websocketd.

MAX_SESSIONS=${MAX_SESSIONS:-1200}    # websocketd's children; above it a client gets 429
# MiB of addresses that websocketd may have: it takes a frame of any size, up to what lighttpd lets
# through, and each costs four times its size. Beyond this it ends and is started again, before the
# host has nothing left. An idle Go program has 1 GiB of addresses, nearly none of it memory.
WEBSOCKETD_ADDRESS_SPACE=${WEBSOCKETD_ADDRESS_SPACE:-5120}
# Added to a session's time to leave (websocketd: 100 ms, then SIGINT, SIGTERM, SIGKILL)
SESSION_CLOSE_MS=1000

find_program() {
    local candidate
    for candidate in "/usr/sbin/$1" "/usr/bin/$1" "$(command -v "$1")"; do
        [ -x "$candidate" ] && echo "$candidate" && return 0
    done
    fail "$1 is not installed"
}

PROGRAMS=(openclaw-gateway-http openclaw-gateway-relay openclaw-gateway-session openclaw-gateway-sweeper gatewayctl)

# stage_programs BUILD-DIR: what runs is a copy, so that the next `make` does not change it halfway and
# the service users need not reach the clone
stage_programs() {
    local name
    for name in "${PROGRAMS[@]}"; do
        [ -x "$1/$name" ] || fail "$1/$name was not built"
        cmp -s "$1/$name" "$bin/$name" && continue
        cp "$1/$name" "$bin/$name.new" && chmod 755 "$bin/$name.new" && mv -f "$bin/$name.new" "$bin/$name" ||
            fail "cannot copy $name to $bin"
    done
}

# environment_file POOLER-NAME ROLE: gateway.env for one side of the pooler. No password: see database.sh.
# A name may stand in it once: a line of gateway.local.env takes the place of ours.
environment_file() {
    local own=$etc/gateway.local.env
    [ -r "$own" ] || own=/dev/null
    our_lines "$1" "$2" | awk -F= -v own="$own" '
        BEGIN { while ((getline line <own) > 0) { sub(/^export[ \t]+/, "", line); sub(/=.*/, "", line); set[line] } }
        !($1 in set)'
    cat "$own"
}

our_lines() {
    cat <<END
# written by deploy/quickstart at every start; put settings of your own into $etc/gateway.local.env
HOST=$HOST
PORT=$PORT
DATABASE_URL='postgresql://$2@/$1?host=$run/pooler&port=$pooler_port'
DIRECT_DATABASE_URL='postgresql://$2@/$DATABASE?host=$run/postgres&port=$postgres_port'
RUNTIME_DIR='$run/gateway/bells'
HTTP_SOCKET='$run/gateway/http.sock'
ALLOWED_ORIGINS='http://$bind_host:$PORT http://localhost:$PORT'
END
}

write_environment() {
    environment_file "$DATABASE" openclaw_gateway | secret_file "$web_user" "$etc/gateway.env"
    environment_file "${DATABASE}_sweeper" openclaw_sweeper | secret_file "$web_user" "$etc/sweeper.env"
    write_ctl
    quietly "$log_dir/configuration.log" "$bin/gatewayctl" --config "$etc/gateway.env" --check-config
    quietly "$log_dir/configuration.log" "$bin/gatewayctl" --config "$etc/sweeper.env" --check-config
}

# $state/gatewayctl is gatewayctl with this stack's settings, for people: it needs nothing in the environment.
# $var/gatewayctl is the same.
# Whoever may run it is, on PostgreSQL's own socket, the owner of the schemas: so `migrate` works.
write_ctl() {
    cat >"$state/gatewayctl.new" <<END
#!/bin/sh
# written by deploy/quickstart
: "\${GATEWAY_ENV:=$etc/gateway.env}"
: "\${DIRECT_DATABASE_URL:=$(owner_socket_url)}"
export GATEWAY_ENV DIRECT_DATABASE_URL
exec $(printf %q "$bin/gatewayctl") "\$@"
END
    chmod 755 "$state/gatewayctl.new" && mv -f "$state/gatewayctl.new" "$state/gatewayctl"
    [ "$state" = "$var" ] || ln -sfn "$state/gatewayctl" "$var/gatewayctl"
}

migrate() { quietly "$log_dir/migrate.log" "$var/gatewayctl" migrate; }

owner_socket_url() { echo "postgresql://openclaw_owner@/$DATABASE?host=$run/postgres&port=$postgres_port"; }

start_responder() {
    define_service http "$web_user" TERM 40 "GATEWAY_ENV=$etc/gateway.env" -- "$bin/openclaw-gateway-http"
    current_log=$log_dir/http.log
    start_service http
    wait_until 20 'the responder' test -S "$run/gateway/http.sock"
}

start_relay() {
    define_service relay "$web_user" TERM 10 "GATEWAY_ENV=$etc/gateway.env" -- "$bin/openclaw-gateway-relay"
    current_log=$log_dir/relay.log
    start_service relay
    wait_until 10 'the relay' test -S "$run/gateway/bells/relay.sock"
}

start_sweeper() {
    define_service sweeper "$web_user" TERM 20 "GATEWAY_ENV=$etc/sweeper.env" -- "$bin/openclaw-gateway-sweeper"
    current_log=$log_dir/sweeper.log
    start_service sweeper
}

# websocketd copies what a session says on stderr into its own log, with the whole URL before it: a
# ticket may stand in that. And a line over 4096 bytes stops its reader. So sessions log by themselves.
# By the launcher's name `gatewayctl doctor` knows this websocketd for ours.
session_launcher() { echo "$bin/openclaw-gateway-session.sh"; }

write_session_launcher() {
    touch "$log_dir/session.log" && chmod 640 "$log_dir/session.log"
    if is_root; then chown "$web_user" "$log_dir/session.log"; fi
    cat >"$(session_launcher).new" <<END
#!/bin/sh
exec $(printf %q "$bin/openclaw-gateway-session") 2>>$(printf %q "$log_dir/session.log")
END
    chmod 755 "$(session_launcher).new" && mv -f "$(session_launcher).new" "$(session_launcher)"
}

start_websocketd() {
    write_session_launcher
    address_space=$((WEBSOCKETD_ADDRESS_SPACE * 1024)) \
        define_service websocketd "$web_user" TERM 10 "GATEWAY_ENV=$etc/gateway.env" -- \
        "$(find_program websocketd)" --address=127.0.0.1 --port="$websocketd_port" --maxforks="$MAX_SESSIONS" \
        --passenv=GATEWAY_ENV,PATH,LC_ALL --closems="$SESSION_CLOSE_MS" --loglevel=error \
        "$(session_launcher)"
    current_log=$log_dir/websocketd.log
    start_service websocketd
    wait_until 10 websocketd port_in_use "$websocketd_port"
}
