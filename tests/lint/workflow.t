#!/bin/sh
# SPDX-License-Identifier: MIT
# Adding a workflow is one file and one row: does just that, to a copy of the tree, and nothing else.
set -u
scratch=$(mktemp -d) || exit 99
trap 'rm -rf "$scratch"' EXIT
count=0

verdict() {
    count=$((count + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $count - $2"
    else
        echo "not ok $count - $2"
        sed 's/^/# /' "$scratch/out"
    fi
}

# The tree as links; what is added is a file of its own.
tree=$scratch/tree
mkdir -p "$tree" "$scratch/build"
for name in src sql tests deploy; do
    cp -Rs "$abs_top_srcdir/$name" "$tree/" || exit 99
done
chmod -R u+w "$tree" # a tarball's tree may not be written
find "$tree" \( -name '*.o' -o -name '*.a' \) -delete # of a build in the tree
cp "$abs_top_builddir/Makefile" "$scratch/build/" || exit 99
rm "$tree/src/workflow/registry.def"
cp "$abs_top_srcdir/src/workflow/registry.def" "$tree/src/workflow/"
chmod u+w "$tree/src/workflow/registry.def"

cat >"$tree/src/workflow/say_twice.c" <<'C'
/* SPDX-License-Identifier: MIT */
#include "workflow/workflows.h"

static enum error say(struct workflow *workflow, void *context, struct document **ret_output)
{
    (void)context;
    *ret_output = document_copy(workflow_arena(workflow), workflow_input(workflow));
    return OK;
}

enum error say_twice(struct workflow *workflow)
{
    struct document *once = NULL, *twice = NULL;
    enum error error = workflow_step_pure(workflow, "once", say, NULL, &once);

    if (!error)
        error = workflow_step_pure(workflow, "twice", say, NULL, &twice);
    return error ? error : workflow_finish(workflow, twice);
}
C
echo 'WORKFLOW("sayTwice", say_twice, "says it twice", true)' >>"$tree/src/workflow/registry.def"

# The Makefile of this build, on that tree; -o: it is not made anew.
build() {
    "${MAKE:-make}" -C "$scratch/build" -o Makefile srcdir="$tree" top_srcdir="$tree" VPATH="$tree" \
        abs_srcdir="$tree" abs_top_srcdir="$tree" abs_builddir="$scratch/build" \
        abs_top_builddir="$scratch/build" "$@" >"$scratch/out" 2>&1
}
unset MAKEFLAGS MFLAGS

build src/workflow/say_twice.o src/workflow/registry.o
verdict $? 'a file and a row are compiled'
build -n libgateway.a && grep -q 'ar .*libgateway\.a.* src/workflow/say_twice\.o' "$scratch/out"
verdict $? 'and are part of the library'
nm "$scratch/build/src/workflow/registry.o" >"$scratch/out" && grep -qw say_twice "$scratch/out"
verdict $? 'and the table names the function'
strings "$scratch/build/src/workflow/registry.o" >"$scratch/out" && grep -qx sayTwice "$scratch/out"
verdict $? 'under its name'

echo "1..$count"
