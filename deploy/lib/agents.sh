# SPDX-License-Identifier: MIT
# The quick start's agents, what a client needs to know, and the demonstration.

# A token is shown once; it is kept in $etc/tokens (0600). Where that file was lost, or the token has ended, it is
# rotated.
provision_agents() {
    local name token
    touch "$etc/tokens" && chmod 600 "$etc/tokens"
    for name in alice bob operator; do
        token_is_taken "$(token_of "$name")" && continue
        token=$(new_token "$name") || fail "no token for $name"
        { sed "/^$name /d" "$etc/tokens"; echo "$name $token"; } | secret_file '' "$etc/tokens"
        note "$name"
    done
}

# Only 401 says that it is not: a gateway that is busy says nothing of tokens.
token_is_taken() {
    [ -n "$1" ] && [ "$(printf 'Authorization: Bearer %s\n' "$1" |
        curl -s -o /dev/null -w '%{http_code}' -H @- "http://$bind_host:$PORT/workflows?limit=1")" != 401 ]
}

new_token() {
    local answer add=(agent add "$1")
    [ "$1" = operator ] && add=(principal add "$1" --kind operator)
    answer=$("$var/gatewayctl" "${add[@]}" --json 2>>"$log_dir/agents.log") ||
        answer=$("$var/gatewayctl" agent rotate "$1" --json 2>>"$log_dir/agents.log") || return 1
    sed -n 's/.*"token" *: *"\([^"]*\)".*/\1/p' <<<"$answer" | grep .
}

token_of() { sed -n "s/^$1 //p" "$etc/tokens"; }

write_client_environment() {
    secret_file '' "$env_file" <<END
GATEWAY_URL=http://$bind_host:$PORT
GATEWAY_WS_URL=ws://$bind_host:$PORT/
DATABASE_URL=postgresql://openclaw_gateway:$gateway_password@127.0.0.1:$pooler_port/$DATABASE
DIRECT_DATABASE_URL=postgresql://openclaw_owner:$owner_password@127.0.0.1:$postgres_port/$DATABASE
ALICE_TOKEN=$(token_of alice)
BOB_TOKEN=$(token_of bob)
OPERATOR_TOKEN=$(token_of operator)
GATEWAYCTL=$state/gatewayctl
GATEWAY_ENV=$etc/gateway.env
END
}

run_demo() {
    local python
    python=$(find_python) || fail 'no python3 that has the module websocket (python3-websocket)'
    current_log=''
    "$python" "$root/deploy/demo.py" "$env_file" || fail 'the demonstration did not go through; see above'
}
