# SPDX-License-Identifier: MIT
# Shared by deploy/quickstart and deploy/check: progress, failures, and becoming another user.
# Sourced by bash; `root` (the clone's folder) and `program` (for messages) are set before.

set -u
set -o pipefail

current_part='setting up'
current_log=''

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' plain=$'\e[0m'; else bold='' dim='' red='' plain=''; fi

say() { printf '%s\n' "$*"; }

# part NAME [LOG]: what is being done from here on; a failure names it and shows the end of LOG
part() {
    current_part=$1
    current_log=${2-}
    printf '%s[%3ds]%s %s\n' "$dim" "$SECONDS" "$plain" "$1"
}

note() { printf '       %s\n' "$*"; }

# fail WHY...: the end of everything, said in full
fail() {
    {
        printf '%s%s: %s failed.%s\n' "$red$bold" "$program" "$current_part" "$plain"
        printf '  why: %s\n' "$*"
        if [ -n "$current_log" ] && [ -s "$current_log" ]; then
            printf '  its log: %s; it ends with\n' "$current_log"
            tail -n 15 "$current_log" | sed 's/^/    | /'
        fi
    } >&2
    exit 1
}

# quietly LOG COMMAND...: run it with all output in LOG; fail with LOG's end when it fails
quietly() {
    local log=$1
    shift
    current_log=$log
    "$@" >>"$log" 2>&1 || fail "\`$*' ended with status $?"
}

is_root() { [ "$(id -u)" = 0 ]; }

# as USER COMMAND...: run as USER when we are root and USER is somebody else; as ourselves otherwise
as() {
    local user=$1
    shift
    if is_root && [ "$user" != root ]; then
        setpriv --reuid "$(id -u "$user")" --regid "$(id -g "$user")" --init-groups "$@"
    else
        "$@"
    fi
}

# wait_until SECONDS WHAT COMMAND...: poll COMMAND until it succeeds
wait_until() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || fail "$what did not come up in time"
        sleep 0.1
    done
}

# port_in_use PORT [HOST]: somebody listens there
port_in_use() {
    local host=${2-127.0.0.1}
    case $host in
    0.0.0.0) host=127.0.0.1 ;;
    ::) host=::1 ;;
    esac
    (exec 3<>"/dev/tcp/$host/$1") 2>/dev/null
}

# Debian's own python3 is the one that sees Debian's python3-websocket.
find_python() {
    local candidate
    for candidate in /usr/bin/python3 python3; do
        if "$candidate" -c 'import websocket' >/dev/null 2>&1; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}
