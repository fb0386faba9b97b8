# SPDX-License-Identifier: MIT
# Debian packages: only what is missing is installed, and no service of theirs is started.

PACKAGES_BUILD=(gcc libc6-dev make autoconf automake pkg-config gawk libpq-dev libfcgi-dev libjson-c-dev nettle-dev)
PACKAGES_RUN=(postgresql pgbouncer websocketd curl jq python3 python3-websocket util-linux)
PACKAGES_TEST=(libcmocka-dev libfcgi-bin python3-psycopg2 python3-jsonschema git mandoc procps chromium
    lighttpd lighttpd-mod-openssl apache2-bin nginx-light openssl debhelper lintian)

POLICY=/usr/sbin/policy-rc.d

package_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null | cut -c1-2)" = ii ]
}

# keep_services_down: while packages are configured, invoke-rc.d asks this program and is told no
keep_services_down() {
    [ -e "$POLICY" ] && return 0
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$POLICY" >/dev/null
    $sudo chmod 755 "$POLICY"
    trap '$sudo rm -f "$POLICY"' EXIT
    policy_is_ours=1
}

# install_packages LOG PACKAGE...
install_packages() {
    local log=$1 missing=() name
    shift
    if ! command -v dpkg-query >/dev/null; then
        note "not a Debian system: taking it that these are present: $*"
        return 0
    fi
    for name; do
        package_installed "$name" || missing+=("$name")
    done
    if [ ${#missing[@]} = 0 ]; then
        note 'nothing is missing'
        return 0
    fi
    sudo=''
    if ! is_root; then
        sudo='sudo'
        command -v sudo >/dev/null ||
            fail "these packages are missing, and there is neither root nor sudo to install them: ${missing[*]}"
    fi
    note "installing ${#missing[@]}: ${missing[*]}"
    policy_is_ours=0
    keep_services_down
    current_log=$log
    apt_get "$log" update
    apt_get "$log" install -y --no-install-recommends "${missing[@]}"
    if [ "$policy_is_ours" = 1 ]; then
        $sudo rm -f "$POLICY"
        trap - EXIT
    fi
    leave_services_off "${missing[@]}"
}

apt_get() {
    local log=$1
    shift
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q "$@" >>"$log" 2>&1 ||
        fail "\`apt-get $*' ended with status $?"
}

# The packages' own servers (a web server on port 80, PostgreSQL on 5432, PgBouncer on 6432) were not asked
# for: those that came just now are not to start at the next boot either.
leave_services_off() {
    local name
    command -v systemctl >/dev/null && [ -d /run/systemd/system ] || return 0
    for name in postgresql pgbouncer lighttpd nginx; do
        case " $* " in *" $name "* | *" $name-light "*)
            $sudo systemctl disable --quiet "$name" >/dev/null 2>&1 &&
                note "$name's own system service is left off (systemctl enable --now $name turns it on)" ;;
        esac
    done
    return 0
}
