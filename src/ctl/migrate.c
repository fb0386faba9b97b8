/* SPDX-License-Identifier: MIT
 *
 * gatewayctl migrate. Here is decided whether a database may be brought forward, and said why not;
 * what is done then is one transaction, openclaw.migrate() (sql/migration/0000_migrate.sql), which
 * looks again under its lock. dbos-interop.md, section 1.4.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/ctl.h"
#include "db/script.h"
#include "gateway/schema.h"

#define RUNNER_PREFIX     "0000_" /* makes openclaw.migrate() */
#define DBOS_PREFIX       "0001_" /* makes the DBOS schema */
#define DBOS_VERSION_BASE 100     /* from here on all SDKs number their migrations alike */
#define APP_ROLE          "openclaw_gateway"
#define SCRIPTS_MAX       256
#define TIMEOUT_MS        600000
#define LOCK_TIMEOUT      "5s"
#define TRIES             5

/* What the database has. */
struct state {
    bool has_dbos, has_settings, has_list, is_foreign, has_role, may_create, is_granted;
    int64_t dbos_version;
    struct text dbos_schema, digest; /* as recorded; absent: none */
    struct text role, database;
    struct text owner;    /* of schemas that this role may not change; absent: none */
    const char *app_role; /* NULL: rights are granted to nobody */
    struct text applied[SCRIPTS_MAX];
    struct text applied_at[SCRIPTS_MAX];
    size_t applied_count;
};

static bool has_prefix(const struct sql_script *script, const char *prefix)
{
    return strncmp(script->name, prefix, strlen(prefix)) == 0;
}

static bool is_ours(const struct sql_script *script)
{
    return !has_prefix(script, RUNNER_PREFIX) && !has_prefix(script, DBOS_PREFIX);
}

static const struct sql_script *find_script(const char *prefix)
{
    for (const struct sql_script *script = sql_migrations; script->name; script++)
        if (has_prefix(script, prefix))
            return script;
    abort();
}

static bool is_known(struct text name)
{
    for (const struct sql_script *script = sql_migrations; script->name; script++)
        if (text_is(name, script->name))
            return true;
    return false;
}

static bool is_applied(const struct state *state, const struct sql_script *script)
{
    for (size_t i = 0; i < state->applied_count; i++)
        if (text_is(state->applied[i], script->name))
            return true;
    return false;
}

/* ---- looking ----------------------------------------------------------------------------------
 */

static enum error read_setting(struct ctl *ctl, struct db *db, const char *name,
                               struct text *ret_value, struct failure *failure)
{
    struct db_call call;
    struct db_rows *rows;

    db_call_init(&call, ctl->arena, STATEMENT_SETTING_GET);
    db_add_string(&call, name);
    enum error error = db_run(db, &call, failure, &rows);
    if (error == OK && db_rows_count(rows) > 0)
        *ret_value = db_text(rows, 0, 0);
    return error;
}

static enum error read_list(struct ctl *ctl, struct db *db, struct state *state,
                            struct failure *failure)
{
    struct db_call call;
    struct db_rows *rows;

    db_call_init(&call, ctl->arena, STATEMENT_MIGRATION_LIST);
    enum error error = db_run(db, &call, failure, &rows);
    if (error != OK)
        return error;
    for (size_t i = 0; i < db_rows_count(rows) && i < SCRIPTS_MAX; i++) {
        char iso[CLOCK_ISO_SIZE];
        clock_iso(db_int(rows, i, 1), iso);
        state->applied_at[i] = arena_text(ctl->arena, text_of(iso));
        state->applied[i] = db_text(rows, i, 0);
        state->applied_count = i + 1;
    }
    return db_rows_error(rows, failure);
}

static enum error read_version(struct ctl *ctl, struct db *db, struct state *state,
                               struct failure *failure)
{
    struct db_call call;
    struct db_rows *rows;

    db_call_init(&call, ctl->arena, STATEMENT_DBOS_VERSION);
    enum error error = db_run(db, &call, failure, &rows);
    if (error == OK)
        state->dbos_version = db_int_or(rows, 0, 0, 0);
    return error;
}

static enum error read_state(struct ctl *ctl, struct db *db, struct state *ret_state,
                             struct failure *failure)
{
    const char *role = ctl_flag(ctl, FLAG_APP_ROLE) ? ctl_flag(ctl, FLAG_APP_ROLE) : APP_ROLE;
    struct state state = {.dbos_version = 0};
    struct db_call probe, facts;
    struct db_rows *rows, *server;
    enum error error;

    db_call_init(&probe, ctl->arena, STATEMENT_MIGRATION_PROBE);
    db_add_string(&probe, role);
    db_call_init(&facts, ctl->arena, STATEMENT_SERVER_FACTS);
    if ((error = db_run(db, &probe, failure, &rows)) != OK ||
        (error = db_run(db, &facts, failure, &server)) != OK)
        return error;
    state.has_dbos = db_bool(rows, 0, 0);
    state.has_settings = db_bool(rows, 0, 1);
    state.has_list = db_bool(rows, 0, 2);
    state.is_foreign = db_bool(rows, 0, 3);
    state.has_role = db_bool(rows, 0, 4);
    state.may_create = db_bool(rows, 0, 5);
    state.owner = db_text(rows, 0, 6);
    state.is_granted = db_bool(rows, 0, 7);
    state.app_role = state.has_role ? role : NULL;
    state.role = db_text(server, 0, 3);
    state.database = db_text(server, 0, 5);
    if ((error = db_rows_error(rows, failure)) != OK ||
        (error = db_rows_error(server, failure)) != OK)
        return error;
    if (state.has_settings &&
        ((error = read_setting(ctl, db, "dbos_schema", &state.dbos_schema, failure)) != OK ||
         (error = read_setting(ctl, db, SCHEMA_DIGEST_SETTING, &state.digest, failure)) != OK))
        return error;
    if (state.has_list && (error = read_list(ctl, db, &state, failure)) != OK)
        return error;
    if (state.has_dbos && (error = read_version(ctl, db, &state, failure)) != OK)
        return error;
    *ret_state = state;
    return OK;
}

/* ---- judging ----------------------------------------------------------------------------------
 */

/* What must not be brought forward, and what to do about it. */
static enum error check(const struct ctl *ctl, const struct state *state, struct failure *failure)
{
    const char *schema = ctl->options.dbos_schema;

    if (state->dbos_schema.data && !text_is(state->dbos_schema, schema))
        return failure_set(
            failure, ERR_SCHEMA,
            "this database was made for DBOS_SCHEMA=%.63s, but DBOS_SCHEMA is %.63s; "
            "set it to %.63s, or use another database",
            state->dbos_schema.data, schema, state->dbos_schema.data);
    for (size_t i = 0; i < state->applied_count; i++)
        if (!is_known(state->applied[i]))
            return failure_set(failure, ERR_SCHEMA,
                               "the database has the migration %.100s, which this program does not "
                               "know: it is older than the schema; use the newer gatewayctl",
                               state->applied[i].data);
    if (state->is_foreign)
        return failure_set(failure, ERR_SCHEMA,
                           "the schema %.63s has tables but no dbos_migrations, so it is no DBOS "
                           "system database; set DBOS_SCHEMA to a name of its own",
                           schema);
    if (state->has_dbos && state->dbos_version < DBOS_VERSION_BASE)
        return failure_set(
            failure, ERR_SCHEMA,
            "the schema %.63s is a DBOS schema of version %d, which only its own SDK "
            "understands; upgrade it with an official SDK to %d or later first",
            schema, (int)state->dbos_version, DBOS_VERSION_BASE);
    return OK;
}

/* May this role do it, for that one? */
static enum error check_roles(const struct ctl *ctl, const struct state *state,
                              struct failure *failure)
{
    if (ctl_flag(ctl, FLAG_APP_ROLE) && !state->has_role)
        return failure_set(
            failure, ERR_NOT_FOUND,
            "there is no role %.63s; create it first (deploy/sql/roles.sql shows how)",
            ctl_flag(ctl, FLAG_APP_ROLE));
    if (!state->may_create && (!state->has_dbos || !state->has_list))
        return failure_set(failure, ERR_FORBIDDEN,
                           "the role %.63s may not create schemas in the database %.63s; set "
                           "DIRECT_DATABASE_URL to connect as its owner",
                           state->role.data, state->database.data);
    if (state->owner.data)
        return failure_set(failure, ERR_FORBIDDEN,
                           "the schemas are %.63s's, and the role %.63s is not; set "
                           "DIRECT_DATABASE_URL to connect as %.63s",
                           state->owner.data, state->role.data, state->owner.data);
    return OK;
}

static void warn(const struct ctl *ctl, const struct state *state)
{
    if (state->dbos_version > DBOS_VERSION)
        fprintf(
            stderr,
            "gatewayctl: warning: the schema %s is a DBOS schema of version %d; this program was "
            "built for %d and goes on\n",
            ctl->options.dbos_schema, (int)state->dbos_version, DBOS_VERSION);
    if (!state->app_role)
        fprintf(
            stderr,
            "gatewayctl: note: there is no role %s, so rights are granted to nobody; --app-role "
            "names the role the programs use, where it is not %.63s itself\n",
            APP_ROLE, state->role.data);
}

/* ---- saying -----------------------------------------------------------------------------------
 */

static void add_line(const struct ctl *ctl, struct document *lines, const char *did,
                     const char *what)
{
    struct document *line = document_object(ctl->arena);
    document_put_string(line, "did", did);
    document_append(lines, document_put_string(line, "what", what));
}

/* What openclaw.migrate() would do. */
static struct document *plan(const struct ctl *ctl, const struct state *state)
{
    struct document *lines = document_array(ctl->arena);
    const char *schema = ctl->options.dbos_schema;

    if (!state->has_dbos)
        add_line(ctl, lines, "create",
                 arena_printf(ctl->arena, "schema %s, a DBOS system database of version %d", schema,
                              DBOS_VERSION));
    for (const struct sql_script *script = sql_dbos_upgrades; script->name; script++)
        if (state->has_dbos && strtoll(script->name, NULL, 10) > state->dbos_version)
            add_line(ctl, lines, "upgrade",
                     arena_printf(ctl->arena, "schema %s by %s", schema, script->name));
    for (const struct sql_script *script = sql_migrations; script->name; script++)
        if (is_ours(script) && !is_applied(state, script))
            add_line(ctl, lines, "apply", script->name);
    if (!text_is(state->digest, schema_digest()))
        add_line(ctl, lines, "create",
                 arena_printf(ctl->arena, "functions %.12s", schema_digest()));
    if (state->app_role && (document_count(lines) > 0 || !state->is_granted))
        add_line(ctl, lines, "grant",
                 arena_printf(ctl->arena, "use of both schemas to %s", state->app_role));
    return lines;
}

static void print_lines(const struct ctl *ctl, const char *name, struct document *lines)
{
    if (ctl->json) {
        ctl_print_rows(ctl, name, lines, NULL, 0);
        return;
    }
    for (size_t i = 0; i < document_count(lines); i++) {
        struct document *line = document_at(lines, i);
        printf("%s %s\n", document_get_string(line, "did").data,
               document_get_string(line, "what").data);
    }
    if (document_count(lines) == 0)
        printf("nothing: the database has this schema already\n");
}

static void print_status(const struct ctl *ctl, const struct state *state)
{
    struct document *status = document_object(ctl->arena);
    struct document *applied = document_array(ctl->arena);
    bool complete = text_is(state->digest, schema_digest());

    document_put_string(status, "schema", ctl->options.dbos_schema);
    document_put(status, "dbosVersion",
                 state->has_dbos ? document_from_int(ctl->arena, state->dbos_version)
                                 : document_null(ctl->arena));
    document_put_int(status, "dbosVersionExpected", DBOS_VERSION);
    document_put(status, "functions",
                 state->digest.data ? document_from_text(ctl->arena, state->digest)
                                    : document_null(ctl->arena));
    document_put_string(status, "functionsExpected", schema_digest());
    for (size_t i = 0; i < state->applied_count; i++) {
        struct document *row = document_object(ctl->arena);
        document_put_text(row, "name", state->applied[i]);
        document_append(applied, document_put_text(row, "appliedAt", state->applied_at[i]));
    }
    document_put(status, "migrations", applied);
    document_put_bool(status, "upToDate", complete);
    ctl_print_object(ctl, status);
}

/* ---- doing ------------------------------------------------------------------------------------
 */

static void add_scripts(struct db_call *call, struct arena *arena, const struct sql_script *scripts,
                        bool names_too)
{
    struct text *names = arena_array(arena, SCRIPTS_MAX, sizeof(*names));
    struct text *texts = arena_array(arena, SCRIPTS_MAX, sizeof(*texts));
    size_t count = 0;

    for (; scripts->name; scripts++) {
        if (!is_ours(scripts))
            continue;
        if (count == SCRIPTS_MAX)
            abort();
        names[count] = text_of(scripts->name);
        texts[count++] = text_of(scripts->text);
    }
    if (names_too)
        db_add_texts(call, names, count);
    db_add_texts(call, texts, count);
}

static enum error run(struct ctl *ctl, struct db *db, const struct state *state,
                      struct document **ret_lines, struct failure *failure)
{
    struct arena *arena = ctl->arena;
    const struct options *options = &ctl->options;
    const struct text names[] = {TEXT_LITERAL("max_attempts"), TEXT_LITERAL("message_ttl_ms"),
                                 TEXT_LITERAL("inbox_limit"), TEXT_LITERAL("max_message_size")};
    const struct text values[] = {
        text_of(arena_printf(arena, "%lld", (long long)options->max_attempts)),
        text_of(arena_printf(arena, "%lld", (long long)options->message_ttl_ms)),
        text_of(arena_printf(arena, "%lld", (long long)options->inbox_limit)),
        text_of(arena_printf(arena, "%lld", (long long)options->max_message_size))};
    struct document *lines = document_array(arena);
    struct db_call call;
    struct db_rows *rows;

    enum error error = db_run_script(db, find_script(RUNNER_PREFIX)->text, failure);
    if (error != OK)
        return error;
    db_call_init(&call, arena, STATEMENT_MIGRATE);
    db_add_string(&call, LOCK_TIMEOUT);
    db_add_string(&call, find_script(DBOS_PREFIX)->text);
    add_scripts(&call, arena, sql_dbos_upgrades, true);
    add_scripts(&call, arena, sql_migrations, true);
    add_scripts(&call, arena, sql_functions, false);
    db_add_string(&call, schema_digest());
    db_add_texts(&call, names, sizeof(names) / sizeof(names[0]));
    db_add_texts(&call, values, sizeof(values) / sizeof(values[0]));
    db_add_string(&call, state->app_role);
    error = db_run(db, &call, failure, &rows);
    if (error != OK)
        return error;
    for (size_t i = 0; i < db_rows_count(rows); i++)
        add_line(ctl, lines, db_text(rows, i, 0).data, db_text(rows, i, 1).data);
    *ret_lines = lines;
    return db_rows_error(rows, failure);
}

/* Whatever was in the way (a lock, a lost answer, another migration) is tried again: it does only
 * what is left. */
static enum error run_with_patience(struct ctl *ctl, struct db *db, const struct state *state,
                                    struct document **ret_lines, struct failure *failure)
{
    for (int try = 1;; try++) {
        enum error error = run(ctl, db, state, ret_lines, failure);
        if (error == OK || try == TRIES || (error != ERR_SERIALIZATION && error != ERR_IN_DOUBT))
            return error;
        fprintf(stderr, "gatewayctl: %s; trying again\n", failure->detail);
        clock_sleep_ms(clock_jitter_ms(500));
    }
}

enum error ctl_migrate(struct ctl *ctl, struct failure *failure)
{
    struct state state;
    struct document *lines = NULL;

    /* an index is built, a lock is waited for */
    ctl->options.db_timeout_ms = TIMEOUT_MS;
    db_configure(&ctl->options);
    struct db *db = db_new(DB_DIRECT);
    enum error error = read_state(ctl, db, &state, failure);
    if (error == OK && ctl_flag(ctl, FLAG_STATUS)) {
        print_status(ctl, &state);
        error = check(ctl, &state, failure);
    } else if (error == OK && (error = check(ctl, &state, failure)) == OK &&
               (error = check_roles(ctl, &state, failure)) == OK) {
        warn(ctl, &state);
        if (ctl_flag(ctl, FLAG_DRY_RUN)) {
            print_lines(ctl, "wouldDo", plan(ctl, &state));
        } else if ((error = run_with_patience(ctl, db, &state, &lines, failure)) == OK) {
            print_lines(ctl, "done", lines);
        }
    }
    db_free(db);
    return error;
}
