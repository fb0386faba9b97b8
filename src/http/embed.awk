# SPDX-License-Identifier: MIT
# Turns the parts of the OpenAPI document into C at build time. POSIX awk; run it with LC_ALL=C.
#
#   awk -f embed.awk openapi/*.json     a NULL-ended list of texts, openapi_parts

BEGIN {
    print "/* Made by src/http/embed.awk. */"
    print "#include <stddef.h>\n\n#include \"http/openapi.h\"\n"
    print "const char *const openapi_parts[] = {"
    for (i = 1; i < ARGC; i++) {
        count = 0
        while ((got = (getline line < ARGV[i])) > 0) {
            gsub(/^ +/, "", line)
            gsub(/\\/, "\\\\", line)
            gsub(/"/, "\\\"", line)
            gsub(/\?/, "\\?", line) # two of them would begin a trigraph
            print "    \"" line "\""
            count++
        }
        close(ARGV[i])
        if (got < 0 || count == 0) {
            print ARGV[i] ": cannot be read" >"/dev/stderr"
            exit 1
        }
        print "    ,"
    }
    print "    NULL,\n};"
    exit 0
}
