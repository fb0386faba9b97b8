#!/bin/sh
# SPDX-License-Identifier: MIT
# What a machine can see of the house's rules. Each finding is printed as FILE:LINE: text.
set -u
LC_ALL=C
export LC_ALL

top=${abs_top_srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${abs_top_builddir:-$top}
cc=${TEST_CC:-cc -std=c11 -D_POSIX_C_SOURCE=200809L -I$top/src -I$build/sql}
cd "$top" || exit 99

scratch=$(mktemp -d) || exit 99
trap 'rm -rf "$scratch"' EXIT
echo 0 >"$scratch/count"

sources=$(find src tests -name '*.[ch]' ! -name '*.gen.[ch]' | sort)
product=$(find src -name '*.[ch]' ! -name '*.gen.[ch]' | sort)
headers=$(find src -name '*.h' ! -name '*.gen.h' | sort)

# Counts in a file: report runs at the end of a pipe, in a process of its own.
next_number() {
    count=$(($(cat "$scratch/count") + 1))
    echo "$count" >"$scratch/count"
}

# report NAME: passes when the findings on stdin are empty.
report() {
    next_number
    cat >"$scratch/findings"
    if [ -s "$scratch/findings" ]; then
        echo "not ok $count - $1"
        sed 's/^/#   /' "$scratch/findings"
    else
        echo "ok $count - $1"
    fi
}

skip() {
    next_number
    echo "ok $count - $1 # SKIP $2"
}

rank() {
    case $1 in
    base) echo 1 ;;
    db) echo 2 ;;
    durable) echo 3 ;;
    workflow) echo 4 ;;
    gateway) echo 5 ;;
    http | session | relay | sweeper | ctl) echo 6 ;;
    *) echo 0 ;;
    esac
}

include_directions() {
    for file in $product; do
        layer=${file#src/}
        layer=${layer%%/*}
        own=$(rank "$layer")
        [ "$own" -gt 0 ] || echo "$file:1: src/$layer is not a known layer"
        grep -n '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$file" |
            sed 's/^\([0-9]*\):[^"]*"\([^"]*\)".*/\1 \2/' |
            while read -r line path; do
                case $path in
                statement.gen.h) continue ;;
                */*) ;;
                *) echo "$file:$line: \"$path\" is not written as \"layer/file.h\""; continue ;;
                esac
                target=${path%%/*}
                theirs=$(rank "$target")
                if [ "$theirs" -eq 0 ]; then
                    echo "$file:$line: \"$path\" is of no known layer"
                elif [ "$theirs" -gt "$own" ]; then
                    echo "$file:$line: src/$layer includes upward: \"$path\""
                elif [ "$theirs" -eq 6 ] && [ "$target" != "$layer" ]; then
                    echo "$file:$line: one program includes another's \"$path\""
                fi
            done
    done
}

# including PATTERN: which product files include a system header of that name
including() {
    grep -nE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($1)" $product /dev/null
}

comments_and_strings_gone() {
    awk '
        FNR == 1 { in_comment = 0 }
        {
            text = $0
            gsub(/\\./, "", text)
            gsub(/"[^"]*"/, "\"\"", text)
            if (in_comment) {
                if (!sub(/^.*\*\//, "", text))
                    next
                in_comment = 0
            }
            gsub(/\/\*([^*]|\*+[^*\/])*\*+\//, "", text)
            if (sub(/\/\*.*$/, "", text))
                in_comment = 1
            sub(/\/\/.*$/, "", text)
            if (text != "")
                print FILENAME ":" FNR ": " text
        }' "$@"
}

include_directions | report 'includes go downward'
including 'libpq|postgres_ext|pg_config' | grep -v '^src/db/' | report 'only src/db knows libpq'
including 'fcgi' | grep -v '^src/http/' | report 'only src/http knows libfcgi'
including 'fcgi' | cut -d: -f1 | sort -u | sed 1d | report 'only one file knows libfcgi'
including 'json' | grep -v '^src/base/document\.c:' | report 'only src/base/document.c knows json-c'

# A literal that begins as a statement does; a sentence that mentions one is fine.
grep -niE '"[[:space:]]*(select[[:space:]]+(1|\*|.*[[:space:]]from[[:space:]]|[a-z_]+[(.])|with[[:space:]]+[a-z_]+[[:space:]]+as|insert[[:space:]]+into[[:space:]]|update[[:space:]]+[a-z_.]+[[:space:]]+set[[:space:]]|delete[[:space:]]+from[[:space:]]|(create|drop|alter|truncate)[[:space:]]+(or[[:space:]]+replace[[:space:]]+)?(table|schema|function|index|role|view)[[:space:]]|set[[:space:]]+(local|session)[[:space:]]|select[[:space:]]+set_config[(]|returning[[:space:]]|(where|order[[:space:]]+by)[[:space:]]+[a-z_.]+[[:space:]]*[=<>$])' \
    $product /dev/null | report 'no SQL text in C'

comments_and_strings_gone $sources |
    grep -E '[^A-Za-z0-9_](strcpy|stpcpy|strcat|strncat|strncpy|sprintf|vsprintf|gets|atoi|atol|atoll|atof|strtok|scanf|sscanf|fscanf|alloca|system|popen|tmpnam|tempnam|mktemp|rand|srand|random|asctime|ctime|gmtime|localtime|setlocale|vfork|usleep)[[:space:]]*\(' |
    report 'no banned function'

for header in $headers; do
    # shellcheck disable=SC2086
    (cd "$build" && $cc -Wno-pedantic -Wno-unused-macros -Wno-unused-function -x c -fsyntax-only "$top/$header") \
        >"$scratch/out" 2>&1 ||
        sed "s|^|$header: |" "$scratch/out"
done | report 'every header compiles alone'

for file in $sources; do
    head -n 1 "$file" | grep -q '^/\* SPDX-License-Identifier: MIT' ||
        echo "$file:1: the first line is not the SPDX line"
done | report 'every file names its licence'

for header in $headers; do
    guard=OPENCLAW_$(echo "${header#src/}" | tr 'a-z/.-' 'A-Z___')
    grep -q "^#ifndef $guard\$" "$header" || echo "$header: the include guard is not $guard"
done | report 'include guards are named after their files'

grep -nE '^typedef struct|\} [a-z_]+_t;' $product /dev/null | report 'no typedef of a struct'

for file in $sources; do
    lines=$(wc -l <"$file")
    [ "$lines" -le 650 ] || echo "$file: $lines lines; split it (about 600 at most)"
done | report 'no file is too long'

options=$(sed -n 's/^OPTION_[A-Z]*([a-z_]*, "\([A-Z_]*\)".*/\1/p' src/base/option.def)
sample=deploy/gateway.env.example
if [ -f "$sample" ]; then
    for option in $options; do
        grep -qE "^#?[[:space:]]?$option=" "$sample" || echo "$sample: $option is missing"
    done | report 'every option is in the sample'
    sed -n 's/^#\{0,1\} \{0,1\}\([A-Z][A-Z0-9_]*\)=.*/\1/p' "$sample" | sort -u | while read -r name; do
        case $name in PG*) continue ;; esac
        echo "$options" | grep -qx "$name" || echo "$sample: $name is not an option"
    done | report 'the sample has only options'
    # OPTION_x(field, "NAME", default, …): what the sample shows behind a # is the default
    sed -n 's/^OPTION_[TIC][A-Z]*([a-z_]*, "\([A-Z_]*\)", "\{0,1\}\([^",]*\)"\{0,1\}, .*/\1=\2/p' \
        src/base/option.def | while IFS='=' read -r name default; do
        shown=$(sed -n "s/^# \{0,1\}$name=//p" "$sample" | sed -n "1s/[\"']//g;1p")
        if grep -qE "^# ?$name=" "$sample" && [ "$shown" != "$default" ]; then
            echo "$sample: $name=$shown, but the default is '$default'"
        fi
    done | report 'the sample shows the defaults'
else
    skip 'every option is in the sample' "no $sample yet"
    skip 'the sample has only options' "no $sample yet"
    skip 'the sample shows the defaults' "no $sample yet"
fi

# Written so that the patterns do not find this file.
grep -rnE '/wor[k]/|/tmp/w[t]|b-see[d]' --include='*' src sql deploy tests docs man m4 configure.ac \
    Makefile.am ./*.md 2>/dev/null | grep -v '\.gen\.' | report 'no path of somebody'\''s machine'

if command -v git >/dev/null 2>&1 && git rev-parse --is-inside-work-tree >/dev/null 2>&1 &&
    [ "$(git rev-parse --show-toplevel)" = "$(pwd -P)" ]; then
    git ls-files '*.gen.[ch]' 'configure' 'Makefile.in' | report 'nothing generated is committed'
    git ls-files src deploy tests m4 | while read -r file; do
        case $file in *Makefile.inc | m4/*.m4) continue ;; esac
        # named itself, by its folder, or by a wildcard over that
        grep -qF "$file" Makefile.am ./*/Makefile.inc ./*/*/Makefile.inc ||
            grep -qE "[[:space:]/]$(dirname "$file")(/\*|[[:space:]]|\$)" Makefile.am ./*/Makefile.inc ./*/*/Makefile.inc ||
            echo "$file is named in no Makefile.inc, so the tarball lacks it"
    done | report 'the tarball has every file'
else
    skip 'nothing generated is committed' 'not a git checkout'
    skip 'the tarball has every file' 'not a git checkout'
fi

echo "1..$(cat "$scratch/count")"
