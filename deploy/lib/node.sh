# SPDX-License-Identifier: MIT
# Node.js for the tests that drive the official clients. A Node.js that is new enough is used as it is,
# wherever it came from; else npm's own `node` package goes into build/node and into PATH.

NODE_MINIMUM=22.19.0    # @openclaw/gateway-client 2026.9.1; the DBOS SDK is content with 20
NODE_PACKAGE=node@22

node_is_new_enough() {
    local version
    version=$(node --version 2>/dev/null) || return 1
    [ "$(printf '%s\n' "$NODE_MINIMUM" "${version#v}" | sort -V | head -1)" = "$NODE_MINIMUM" ]
}

# ensure_node LOG: never fails; tests that miss node SKIP and say so
ensure_node() {
    local log=$1 prefix=$root/build/node
    [ -d "$prefix/node_modules/.bin" ] && PATH=$prefix/node_modules/.bin:$PATH
    if ! node_is_new_enough; then
        if ! command -v npm >/dev/null; then
            install_packages "$log" nodejs npm
        fi
        note "the node there is ($(node --version 2>/dev/null)) is older than $NODE_MINIMUM: npm's $NODE_PACKAGE into build/node"
        mkdir -p "$prefix"
        npm install --prefix "$prefix" --no-audit --no-fund --loglevel=error "$NODE_PACKAGE" >>"$log" 2>&1 ||
            note "npm could not install $NODE_PACKAGE (see $log); tests that need it will be skipped"
        PATH=$prefix/node_modules/.bin:$PATH
    fi
    export PATH
    note "node $(node --version 2>/dev/null || echo is missing)"
}

# install_node_packages BUILD-DIR LOG: what tests/node pins, where the tests look for it
install_node_packages() {
    local dir=$1/tests/node log=$2 name
    mkdir -p "$dir"
    if [ -d "$dir/node_modules" ] && cmp -s "$root/tests/node/package-lock.json" "$dir/package-lock.json"; then
        return
    fi
    for name in package.json package-lock.json .npmrc; do
        [ ! -e "$root/tests/node/$name" ] || cp "$root/tests/node/$name" "$dir/"
    done
    (cd "$dir" && npm ci --no-audit --no-fund --loglevel=error) >>"$log" 2>&1 || {
        rm -rf "$dir/node_modules" "$dir/package-lock.json"
        note "npm could not install the official clients (see $log); their tests will be skipped"
    }
}
