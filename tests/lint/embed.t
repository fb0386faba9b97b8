#!/bin/sh
# SPDX-License-Identifier: MIT
# sql/embed.awk: what it refuses, and that SQL survives verbatim on its way through C.
set -u
awk=${AWK:-awk}
embed=$abs_top_srcdir/sql/embed.awk
scratch=$(mktemp -d) || exit 99
trap 'rm -rf "$scratch"' EXIT
LC_ALL=C
export LC_ALL
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

# refuses WHAT 'expected words': the statement on stdin must fail the build with these words
refuses() {
    cat >"$scratch/demo.sql"
    "$awk" -f "$embed" mode=table "$scratch/demo.sql" >/dev/null 2>"$scratch/out"
    [ $? -ne 0 ] && grep -qF -- "demo.sql: " "$scratch/out" && grep -qF -- "$2" "$scratch/out"
    verdict $? "refuses $1"
}

accepts() {
    cat >"$scratch/demo.sql"
    "$awk" -f "$embed" mode=table "$scratch/demo.sql" >"$scratch/out" 2>&1
    verdict $? "accepts $1"
}

refuses 'an empty file' "has no line '-- name: demo'" </dev/null
refuses 'a missing name' "has no line '-- name: demo'" <<'SQL'
-- params: none
-- rows: one
select 1;
SQL
refuses 'a missing line of parameters' "has no line '-- params:" <<'SQL'
-- name: demo
-- rows: one
select 1;
SQL
refuses 'a missing line of rows' "has no line '-- rows:" <<'SQL'
-- name: demo
-- params: none
select 1;
SQL
refuses 'another name' "must be the same" <<'SQL'
-- name: dema
-- params: none
-- rows: one
select 1;
SQL
refuses 'an unknown number of rows' "is not one of none, one, optional, any" <<'SQL'
-- name: demo
-- params: none
-- rows: many
select 1;
SQL
refuses 'an unknown type' "parameter 2 'int'" <<'SQL'
-- name: demo
-- params: text, int
-- rows: one
select $1, $2;
SQL
refuses 'a parameter that is not declared' 'uses $2, but params declares 1' <<'SQL'
-- name: demo
-- params: text
-- rows: one
select $1, $2;
SQL
refuses 'a parameter that is not used' 'params declares $2, which is not used' <<'SQL'
-- name: demo
-- params: text, text
-- rows: one
select $1, '$2' -- $2
  , "$2" /* $2 */;
SQL
refuses 'two statements' 'one file is one statement' <<'SQL'
-- name: demo
-- params: none
-- rows: one
select 1; select 2;
SQL
refuses 'no statement' 'there is no SQL' <<'SQL'
-- name: demo
-- params: none
-- rows: one
-- nothing
SQL
refuses 'an open quotation' 'is not closed' <<'SQL'
-- name: demo
-- params: none
-- rows: one
select 'x;
SQL
refuses 'dollar quoting' 'dollar quoting belongs into functions' <<'SQL'
-- name: demo
-- params: none
-- rows: none
do $$ begin end $$;
SQL
refuses 'a line that stands twice' "has '-- name:' twice" <<'SQL'
-- name: demo
-- name: demo
-- params: none
-- rows: one
select 1;
SQL
accepts 'every type, with and without names' <<'SQL'
-- name: demo
-- params: text a, uuid, int4, int8, bool, json, jsonb, bytea, float8, text[], int8[] ids
-- rows: optional
-- What it is for.
select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'it''s; $12'
SQL
"$awk" -f "$embed" mode=table "$scratch/missing.sql" >/dev/null 2>"$scratch/out"
[ $? -ne 0 ]
verdict $? 'refuses a file that is not there'

cat >"$scratch/0001_a.sql" <<'SQL'
select E'back\\slash "quote" ??! ??/ %s \n', '	tab', 'é€😀'; -- ?? */ /*

create function f() returns text language sql as $body$ select '??=' $body$;
SQL
printf 'select 2;\n' >"$scratch/0002_b.sql"
"$awk" -f "$embed" mode=scripts array=sql_migrations "$scratch/0001_a.sql" "$scratch/0002_b.sql" \
    array=sql_functions array= >"$scratch/script.c" 2>"$scratch/out"
verdict $? 'turns scripts into C'
cat >"$scratch/main.c" <<'C'
#include <stdio.h>
#include "db/script.h"
int main(void)
{
    for (const struct sql_script *script = sql_migrations; script->name; script++)
        printf("%s\n%s", script->name, script->text);
    return sql_functions[0].name != NULL;
}
C
{ echo 0001_a; cat "$scratch/0001_a.sql"; echo 0002_b; cat "$scratch/0002_b.sql"; } >"$scratch/wanted"
${TEST_CC_PLAIN:-cc} -std=c11 -Wall -Wno-overlength-strings -I"$abs_top_srcdir/src" -o "$scratch/print" \
    "$scratch/script.c" "$scratch/main.c" >"$scratch/out" 2>&1 &&
    "$scratch/print" >"$scratch/got" && diff "$scratch/wanted" "$scratch/got" >"$scratch/out"
verdict $? 'SQL survives verbatim'
"$awk" -f "$embed" mode=scripts array=sql_migrations "$scratch/0002_b.sql" "$scratch/0001_a.sql" \
    array= >/dev/null 2>"$scratch/out"
[ $? -ne 0 ] && grep -qF 'not in the order' "$scratch/out"
verdict $? 'refuses scripts that are out of order'

echo "1..$count"
