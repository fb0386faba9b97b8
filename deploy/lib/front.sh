# SPDX-License-Identifier: MIT
# The front server, lighttpd, Apache httpd or nginx: each from its sample in deploy/.

# What FRONT may be: its program, and its Debian packages
declare -A FRONT_PROGRAM=([lighttpd]=lighttpd [apache]=apache2 [nginx]=nginx)
declare -A FRONT_PACKAGES=([lighttpd]='lighttpd' [apache]='apache2-bin' [nginx]='nginx-light')
declare -A FRONT_SAMPLE=(
    [lighttpd]=lighttpd.conf.in [apache]=apache/openclaw-gateway.conf.in [nginx]=nginx/nginx.conf.in
)

# render TEMPLATE: the file with what stands between at-signs replaced
render() {
    local name arguments=()
    local -A values=(
        [HOST]=$bind_host [PORT]=$PORT [WS_PORT]=$websocketd_port
        [EMPTY_DIR]=$state/front/empty [FRONT_DIR]=$state/front
        [PROBLEM_DIR]=$etc/problem
        [WEB_USER]=$web_user [WEB_GROUP]=$(id -gn "$web_user")
        [HTTP_SOCKET]=$run/gateway/http.sock
        [TLS_PORT]=${TLS_PORT-} [TLS_CERTIFICATE]=${TLS_CERTIFICATE-} [TLS_KEY]=${TLS_KEY-}
        [DATABASE]=$DATABASE [PG_SOCKET_DIR]=$run/postgres [PG_PORT]=$postgres_port
        [POOLER_PORT]=$pooler_port [POOLER_SOCKET_DIR]=$run/pooler [ETC]=$etc
        [POOL_GATEWAY]=$POOL_GATEWAY [POOL_SWEEPER]=$POOL_SWEEPER [MAX_CLIENTS]=$MAX_CLIENTS
    )
    for name in "${!values[@]}"; do
        arguments+=(-e "s|@$name@|${values[$name]}|g")
    done
    # what the samples show for TLS counts only where it is asked for
    [ -z "${TLS_PORT-}" ] || arguments+=(-e 's|^#TLS# *||')
    sed "${arguments[@]}" "$1"
}

front_command() {
    case $front in
    lighttpd) front_argv=("$(find_program lighttpd)" -D -f "$1") ;;
    apache) front_argv=("$(find_program apache2)" -D FOREGROUND -f "$1") ;;
    nginx) front_argv=("$(find_program nginx)" -e stderr -c "$1" -g 'daemon off;') ;;
    esac
}

start_front() {
    local configuration=$etc/$front.conf other front_argv
    for other in "${!FRONT_PROGRAM[@]}"; do    # one was chosen before, and this one now
        [ "$other" = "$front" ] || rm -f "$services/$other.service"
    done
    printf '%s\n' "$front" >"$var/front-server"
    folder 700 "$web_user" "$state/front" "$state/front/empty" "$state/front/tmp"
    folder 755 "" "$etc/problem"
    cp "$root"/deploy/problem/*.html "$etc/problem/" && chmod 644 "$etc"/problem/*.html ||
        fail "cannot copy deploy/problem to $etc"
    if ! is_running "$front" && port_in_use "$PORT" "$HOST"; then
        current_log=''
        fail "port $PORT is in use by another program; choose another: PORT=18790 deploy/quickstart"
    fi
    render "$root/deploy/${FRONT_SAMPLE[$front]}" >"$configuration.new"
    mv -f "$configuration.new" "$configuration"
    chmod 644 "$configuration"
    front_command "$configuration"
    # Apache's children hold the port for seconds after their parent was killed
    exclusive=1 define_service "$front" "$web_user" TERM 10 -- "${front_argv[@]}"
    current_log=$log_dir/$front.log
    # Apache opens /dev/stderr once more, as itself
    touch "$current_log" && if is_root; then chown "$web_user" "$current_log"; fi
    start_service "$front"
    wait_until 30 "$front" port_in_use "$PORT" "$HOST"
}

gateway_ready() { curl -fsS -m 5 -o /dev/null "http://$bind_host:$PORT/readyz"; }
