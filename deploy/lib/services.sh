# SPDX-License-Identifier: MIT
# The stack's services under deploy/supervise.

SUPERVISE=$root/deploy/supervise
SERVICE_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

service_state() { "$SUPERVISE" --state "$services" "$1"; }

is_running() { [ -d "$services" ] && case $(service_state "$1") in running*) ;; *) false ;; esac; }

# define_service NAME USER SIGNAL SECONDS ENVIRONMENT-WORDS... -- COMMAND...
# With address_space=KIB before it, the service and what it starts may grow no larger; with exclusive=1,
# nothing that it leaves behind outlives it.
define_service() {
    local name=$1 user=$2 signal=$3 seconds=$4 environment=("PATH=$SERVICE_PATH" 'LC_ALL=C.UTF-8')
    shift 4
    while [ "$1" != -- ]; do
        environment+=("$1")
        shift
    done
    shift
    {
        printf 'log=%q\nuser=%q\nstop_signal=%q\nstop_seconds=%q\n' \
            "$log_dir/$name.log" "$user" "$signal" "$seconds"
        [ -z "${address_space-}" ] || printf 'address_space=%q\n' "$address_space"
        [ -z "${exclusive-}" ] || printf 'exclusive=%q\n' "$exclusive"
        printf 'environment=('; printf '%q ' "${environment[@]}"; printf ')\n'
        printf 'command=('; printf '%q ' "$@"; printf ')\n'
    } >"$services/$name.service.new"
    mv -f "$services/$name.service.new" "$services/$name.service"
}

start_service() {
    is_running "$1" && return 0
    stop_service "$1"    # one that keeps dying, or whose supervisor was killed, gets today's definition
    touch "$log_dir/$1.log" && chmod 640 "$log_dir/$1.log"
    setsid "$SUPERVISE" "$services" "$1" </dev/null >/dev/null 2>&1 9>&- &
    disown
    wait_until 10 "$1's supervisor" is_running "$1"
    started_anything=1
}

stop_service() {
    [ -e "$services/$1.service" ] || return 0
    [ "$(service_state "$1")" = stopped ] && return 0
    "$SUPERVISE" --stop "$services" "$1"
    note "$1 stopped"
}

# The keeper replaces a supervisor that was killed.
start_keeper() {
    define_service keeper '' TERM 5 -- "$SUPERVISE" --keep "$services"
    start_service keeper
}
