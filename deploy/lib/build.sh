# SPDX-License-Identifier: MIT
# Building out of tree.

# build_tree DIR LOG CONFIGURE-OPTION...: configure if need be, then make
build_tree() {
    local dir=$1 log=$2
    shift 2
    mkdir -p "$dir" "$root/build"
    current_log=$log
    exec 8>"$root/build/.lock"
    flock 8    # quickstart and check may run at once; autoreconf writes into the source tree
    if [ ! -x "$root/configure" ] || [ "$root/configure.ac" -nt "$root/configure" ]; then
        note 'autoreconf'
        (cd "$root" && quietly "$log" autoreconf -fi) || exit 1
    fi
    exec 8>&-
    if [ ! -e "$dir/Makefile" ] || [ "$(cat "$dir/.configured-with" 2>/dev/null)" != "$*" ]; then
        note "configure $*"
        # by a relative path: configure refuses one with a space in it
        (cd "$dir" && quietly "$log" "$(realpath --relative-to=. "$root")/configure" "$@") || exit 1
        printf '%s\n' "$*" >"$dir/.configured-with"
    fi
    note "make (log: $log)"
    quietly "$log" make -C "$dir" -j "$(nproc)"
}
