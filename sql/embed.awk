# SPDX-License-Identifier: MIT
# Turns SQL files into C at build time. POSIX awk; run it with LC_ALL=C.
#
#   awk -f embed.awk mode=enum    statement/*.sql               the enum        statement.gen.h
#   awk -f embed.awk mode=table   statement/*.sql               the table       statement.gen.c
#   awk -f embed.awk mode=scripts array=NAME FILE… array=       NULL-ended lists script.gen.c
#
# What a statement file must look like is in README.md beside this file. A fault is reported as
# FILE: what is wrong, and fails the build.

BEGIN {
    declare_types()
    for (i = 1; i < 256; i++)
        escape[sprintf("%c", i)] = (i < 32 || i > 126) ? sprintf("\\%03o", i) : sprintf("%c", i)
    escape["\\"] = "\\\\"
    escape["\""] = "\\\""
    escape["?"] = "\\?" # two of them would begin a trigraph
    escape["\t"] = "\\t"

    split(ARGV[1], option, "=")
    mode = option[2]
    if (option[1] != "mode" || mode !~ /^(enum|table|scripts)$/)
        fail("embed.awk", "the first argument is mode=enum, mode=table or mode=scripts")
    if (mode == "scripts")
        scripts()
    else
        statements()
    exit 0
}

function fail(file, what)
{
    print file ": " what >"/dev/stderr"
    exit_code = 1
    exit 1
}

END {
    if (exit_code)
        exit exit_code
}

function declare_types(    i)
{
    oid["bool"] = 16
    oid["bytea"] = 17
    oid["int8"] = 20
    oid["int4"] = 23
    oid["text"] = 25
    oid["json"] = 114
    oid["float8"] = 701
    oid["uuid"] = 2950
    oid["jsonb"] = 3802
    oid["bool[]"] = 1000
    oid["bytea[]"] = 1001
    oid["int8[]"] = 1016
    oid["int4[]"] = 1007
    oid["text[]"] = 1009
    oid["json[]"] = 199
    oid["float8[]"] = 1022
    oid["uuid[]"] = 2951
    oid["jsonb[]"] = 3807
    for (i in oid)
        if (i ~ /\[\]$/)
            is_array[oid[i]] = 1
    rows_enum["none"] = "ROWS_NONE"
    rows_enum["one"] = "ROWS_ONE"
    rows_enum["optional"] = "ROWS_OPTIONAL"
    rows_enum["any"] = "ROWS_ANY"
}

function base_name(file)
{
    sub(/^.*\//, "", file)
    sub(/\.sql$/, "", file)
    return file
}

# Reads a file into line[1..count]; returns count.
function read_file(file, line,    count, got)
{
    count = 0
    while ((got = (getline line[count + 1] < file)) > 0)
        count++
    if (got < 0)
        fail(file, "cannot be read")
    close(file)
    return count
}

function literal(text,    out, i, n)
{
    n = length(text)
    out = ""
    for (i = 1; i <= n; i++)
        out = out escape[substr(text, i, 1)]
    return out
}

function print_lines(line, first, last,    i)
{
    if (first > last)
        print "        \"\""
    for (i = first; i <= last; i++)
        print "        \"" literal(line[i]) "\\n\""
}

function scripts(    i, count, line, array, name, entries, previous)
{
    print "/* Made by sql/embed.awk. */"
    print "#include <stddef.h>\n\n#include \"db/script.h\"\n"
    for (i = 2; i < ARGC; i++) {
        if (ARGV[i] ~ /^array=/) {
            if (array != "")
                print "    {NULL, NULL},\n};\n"
            array = substr(ARGV[i], 7)
            previous = ""
            if (array != "")
                print "const struct sql_script " array "[] = {"
            continue
        }
        name = base_name(ARGV[i])
        if (name !~ /^[a-z0-9_]+$/)
            fail(ARGV[i], "a file name is made of a-z, 0-9 and _")
        if (name <= previous)
            fail(ARGV[i], "the files are not in the order of their names")
        previous = name
        count = read_file(ARGV[i], line)
        if (count == 0)
            fail(ARGV[i], "is empty")
        print "    {\"" name "\","
        print_lines(line, 1, count)
        print "    },"
    }
}

# Fills header["name"], ["params"], ["rows"] and perhaps ["effect"] and ["merges"]; returns the number of the first line of SQL.
function read_header(file, line, count, header,    i, key, value)
{
    delete header["name"]
    delete header["params"]
    delete header["rows"]
    delete header["effect"]
    delete header["merges"]
    for (i = 1; i <= count && line[i] ~ /^(--.*|[ \t]*)$/; i++) {
        if (line[i] !~ /^-- (name|params|rows|effect|merges):/)
            continue
        key = line[i]
        sub(/^-- /, "", key)
        value = key
        sub(/:.*$/, "", key)
        sub(/^[a-z]*:[ \t]*/, "", value)
        sub(/[ \t]+$/, "", value)
        if (key in header)
            fail(file, "the header has '-- " key ":' twice")
        header[key] = value
    }
    if (!("name" in header))
        fail(file, "the header has no line '-- name: " base_name(file) "'")
    if (!("params" in header))
        fail(file, "the header has no line '-- params: TYPE, TYPE…' (or none)")
    if (!("rows" in header))
        fail(file, "the header has no line '-- rows: none|one|optional|any'")
    if (header["name"] != base_name(file))
        fail(file, "the header names it '" header["name"] "'; name and file name must be the same")
    if (header["name"] !~ /^[a-z][a-z0-9_]*$/)
        fail(file, "a name is made of a-z, 0-9 and _")
    if (!(header["rows"] in rows_enum))
        fail(file, "'-- rows: " header["rows"] "' is not one of none, one, optional, any")
    if (("effect" in header) && header["effect"] != "none")
        fail(file, "'-- effect: " header["effect"] "' is not none; without the line it may write")
    if (i > count)
        fail(file, "there is no SQL behind the header")
    return i
}

# Fills type[1..n] with OIDs; returns n. A parameter is TYPE or TYPE name.
function read_params(file, params, type,    n, i, part, word, words)
{
    if (params == "" || params == "none")
        return 0
    n = split(params, part, /[ \t]*,[ \t]*/)
    for (i = 1; i <= n; i++) {
        words = split(part[i], word, /[ \t]+/)
        if (words < 1 || words > 2 || !(word[1] in oid))
            fail(file, "parameter " i " '" part[i] "' is not a known type, or a type and a name")
        type[i] = oid[word[1]]
    }
    return n
}

# '-- merges: SIGNS' or '-- merges: SIGNS into NAME': fills merge["signs"] and ["into"].
function read_merges(file, header, type, n, merge,    word, words, i, sign)
{
    merge["signs"] = merge["into"] = ""
    if (!("merges" in header))
        return
    words = split(header["merges"], word, /[ \t]+/)
    if (words != 1 && (words != 3 || word[2] != "into"))
        fail(file, "'-- merges: " header["merges"] "' is not SIGNS or SIGNS into NAME")
    if (length(word[1]) != n)
        fail(file, "'-- merges: " header["merges"] "' needs one sign for each of " n " parameters")
    for (i = 1; i <= n; i++) {
        sign = substr(word[1], i, 1)
        if (index("=+#?*", sign) == 0)
            fail(file, "'" sign "' in '-- merges: " header["merges"] "' is none of = + # ? *")
        if (index("+#?", sign) && !(type[i] in is_array))
            fail(file, "parameter " i " merges by '" sign "', but is no array")
    }
    merge["signs"] = word[1]
    merge["into"] = words == 3 ? word[3] : header["name"]
}

# The SQL without comments, quoted names and string literals, in which $1 and ; mean what they say.
function bare(file, line, first, count,    i, text, out, c, two, state)
{
    state = ""
    out = ""
    for (i = first; i <= count; i++) {
        text = line[i] "\n"
        while (text != "") {
            c = substr(text, 1, 1)
            two = substr(text, 1, 2)
            if (state == "") {
                if (two == "--")
                    break
                if (two == "/*") {
                    state = "*"
                    text = substr(text, 2)
                } else if (c == "'" || c == "\"")
                    state = c
                else
                    out = out c
            } else if (state == "*") {
                if (two == "*/") {
                    state = ""
                    text = substr(text, 2)
                }
            } else if (c == state)
                state = ""
            text = substr(text, 2)
        }
    }
    if (state != "")
        fail(file, "a quotation or a comment is not closed")
    return out
}

function check_body(file, line, first, count, declared,    text, number, used, i)
{
    text = bare(file, line, first, count)
    if (text ~ /\$\$|\$[A-Za-z_]/)
        fail(file, "dollar quoting belongs into functions, not into statements")
    sub(/;[ \t\n]*$/, "", text)
    if (index(text, ";"))
        fail(file, "one file is one statement; there is a ';' before the end")
    if (text !~ /[A-Za-z]/)
        fail(file, "there is no SQL behind the header")
    while (match(text, /\$[0-9]+/)) {
        number = substr(text, RSTART + 1, RLENGTH - 1) + 0
        if (number < 1 || number > declared)
            fail(file, "uses $" number ", but params declares " declared)
        used[number] = 1
        text = substr(text, RSTART + RLENGTH)
    }
    for (i = 1; i <= declared; i++)
        if (!(i in used))
            fail(file, "params declares $" i ", which is not used")
}

function statements(    i, j, count, first, line, header, type, n, upper, merge)
{
    print "/* Made by sql/embed.awk. */"
    if (mode == "enum") {
        print "#ifndef OPENCLAW_STATEMENT_GEN_H\n#define OPENCLAW_STATEMENT_GEN_H\n"
        print "enum statement {"
    } else
        print "#include \"db/statement.h\"\n"

    for (i = 2; i < ARGC; i++) {
        count = read_file(ARGV[i], line)
        first = read_header(ARGV[i], line, count, header)
        split("", type)
        n = read_params(ARGV[i], header["params"], type)
        check_body(ARGV[i], line, first, count, n)
        upper = toupper(header["name"])
        if (mode == "enum")
            print "    STATEMENT_" upper ", /* (" header["params"] "): " header["rows"] " */"
        else if (n > 0) {
            printf "static const unsigned types_%s[] = {", header["name"]
            for (j = 1; j <= n; j++)
                printf "%s%d", (j > 1 ? ", " : ""), type[j]
            print "};"
        }
    }
    if (mode == "enum") {
        if (ARGC == 2)
            print "    STATEMENT__PLACEHOLDER, /* an empty enum or array is not C */"
        print "    STATEMENT__MAX\n};\n\n#endif"
        return
    }
    print "\nconst struct statement_info statement_infos[STATEMENT__MAX] = {"
    for (i = 2; i < ARGC; i++) {
        count = read_file(ARGV[i], line)
        first = read_header(ARGV[i], line, count, header)
        split("", type)
        n = read_params(ARGV[i], header["params"], type)
        print "    [STATEMENT_" toupper(header["name"]) "] = {"
        print "        .name = \"" header["name"] "\","
        print "        .param_count = " n ","
        if (n > 0)
            print "        .param_types = types_" header["name"] ","
        print "        .rows = " rows_enum[header["rows"]] ","
        if ("effect" in header)
            print "        .reads_only = true,"
        read_merges(ARGV[i], header, type, n, merge)
        if (merge["signs"] != "") {
            print "        .merge_signs = \"" literal(merge["signs"]) "\","
            print "        .merge_into = STATEMENT_" toupper(merge["into"]) ","
        }
        print "        .text ="
        print_lines(line, first, count)
        print "    },"
    }
    if (ARGC == 2)
        print "    [STATEMENT__PLACEHOLDER] = {.name = \"\"},"
    print "};"
}
