/* SPDX-License-Identifier: MIT
 *
 * What is fixed before the first connection: where the database is, and the statements with the
 * configured schema name in them. Written once, then only read, by any thread.
 */
#include <stdlib.h>
#include <string.h>

#include "db/internal.h"

#define SCHEMA_PLACEHOLDER "dbos_system"

static struct db_settings settings = {
    .schema = SCHEMA_PLACEHOLDER,
    .runtime_dir = "",
    .timeout_ms = DB_TIMEOUT_MS_DEFAULT,
};

/* NULL where the text can be used as it was compiled in. */
static char *replaced[STATEMENT__MAX];

static const char *given(const char *text)
{
    return text && *text ? text : NULL;
}

void db_configure(const struct options *options)
{
    settings.url = given(options->database_url);
    settings.direct_url = given(options->direct_database_url);
    settings.schema = given(options->dbos_schema) ? options->dbos_schema : SCHEMA_PLACEHOLDER;
    settings.runtime_dir = options->runtime_dir ? options->runtime_dir : "";
    settings.timeout_ms = options->db_timeout_ms;

    for (unsigned i = 0; i < STATEMENT__MAX; i++) {
        free(replaced[i]);
        replaced[i] = NULL;
        if (strcmp(settings.schema, SCHEMA_PLACEHOLDER) != 0)
            replaced[i] = settings_replace_schema(statement_infos[i].text, settings.schema);
    }
}

const struct db_settings *db_settings(void)
{
    return &settings;
}

const char *settings_statement(enum statement statement)
{
    return replaced[statement] ? replaced[statement] : statement_infos[statement].text;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || (unsigned char)c >= 0x80;
}

/* The next place where the placeholder stands as a whole word. */
static const char *find_placeholder(const char *sql, const char *from)
{
    for (const char *at = from; (at = strstr(at, SCHEMA_PLACEHOLDER)) != NULL; at++) {
        const char *behind = at + strlen(SCHEMA_PLACEHOLDER);
        if ((at == sql || !is_word(at[-1])) && !is_word(*behind))
            return at;
    }
    return NULL;
}

char *settings_replace_schema(const char *sql, const char *schema)
{
    size_t places = 0;
    for (const char *at = sql; (at = find_placeholder(sql, at)) != NULL; at++)
        places++;

    char *out = malloc(strlen(sql) + places * strlen(schema) + 1);
    if (!out)
        abort();
    size_t len = 0;
    const char *from = sql;
    for (const char *at; (at = find_placeholder(sql, from)) != NULL;) {
        memcpy(out + len, from, (size_t)(at - from));
        len += (size_t)(at - from);
        memcpy(out + len, schema, strlen(schema));
        len += strlen(schema);
        from = at + strlen(SCHEMA_PLACEHOLDER);
    }
    memcpy(out + len, from, strlen(from) + 1);
    return out;
}

/* ---- what libpq would not understand ------------------------------------------------------- */

/* Variables that are no connection parameter and so not among PQconndefaults(). */
static const char *const other_variables[] = {"PGSYSCONFDIR", "PGLOCALEDIR", "PGSERVICEFILE",
                                              "PGTZ",         "PGDATESTYLE", "PGGEQO"};

static bool is_variable(const char *name)
{
    bool found = false;
    PQconninfoOption *defaults = PQconndefaults();
    for (PQconninfoOption *option = defaults; option && option->keyword && !found; option++)
        found = option->envvar && strcmp(option->envvar, name) == 0;
    PQconninfoFree(defaults);
    for (size_t i = 0; i < sizeof other_variables / sizeof other_variables[0]; i++)
        found = found || strcmp(other_variables[i], name) == 0;
    return found;
}

/* One port, or one for each host, separated by commas; an empty one is the default. */
static bool are_ports(const char *value)
{
    for (;;) {
        size_t len = strcspn(value, ",");
        int64_t port;
        if (len > 0 && text_int64((struct text){value, len}, 1, 65535, &port) != OK)
            return false;
        if (value[len] == '\0')
            return true;
        value += len + 1;
    }
}

/* The words are our own: libpq's repeat parts of what it cannot read, and that may be a password.
 */
const char *db_setting_fault(const char *name, const char *value)
{
    static const char ports[] = "its port must be a number from 1 to 65535";
    bool variable = strncmp(name, "PG", 2) == 0;
    if (PQlibVersion() == 0) /* libpq_late.c: it cannot be loaded */
        return variable ? PQerrorMessage(NULL)
                        : "what libpq reads, and that cannot be loaded; install libpq5";
    if (variable) {
        if (!is_variable(name))
            return "libpq has no such variable; see its manual, Environment Variables";
        return strcmp(name, "PGPORT") != 0 || are_ports(value) ? NULL : ports;
    }

    PQconninfoOption *options = PQconninfoParse(value, NULL);
    if (!options)
        return "what libpq reads: postgresql://USER@HOST:PORT/DATABASE?KEYWORD=VALUE, or "
               "KEYWORD=VALUE … with its keywords";
    bool good = true;
    for (PQconninfoOption *option = options; option->keyword; option++)
        if (strcmp(option->keyword, "port") == 0 && option->val)
            good = are_ports(option->val);
    PQconninfoFree(options);
    return good ? NULL : "a URL whose port is a number from 1 to 65535";
}
