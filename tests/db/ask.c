/* SPDX-License-Identifier: MIT
 *
 * The database layer by remote control, for tests that break things around it. Reads commands,
 * one a line, fields separated by tabs; answers each with one line.
 *
 *   run STATEMENT VALUE…              db_run; \N is null
 *   poll STATEMENT VALUE…             the same through db_start and db_advance
 *   tx STATEMENT VALUE… ; STATEMENT…  one transaction
 *   open                              is the connection open? "yes", "no"
 *
 * The answer is the error's name, SQLSTATE, detail and milliseconds; or OK, the values of the
 * first row, and milliseconds. ask TIMEOUT_MS; DATABASE_URL says where.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "db/db.h"

#define FIELDS_MAX 64

static const char *const error_names[ERR__MAX] = {
    "OK",
#define ERROR(name, code, http, retry, exit, phrase) #name,
#include "base/error.def"
#undef ERROR
};

struct command {
    char *fields[FIELDS_MAX];
    int count;
};

static void split(char *line, struct command *command)
{
    command->count = 0;
    line[strcspn(line, "\n")] = '\0';
    for (char *field = line; field && command->count < FIELDS_MAX;) {
        char *tab = strchr(field, '\t');
        command->fields[command->count++] = field;
        if (tab)
            *tab++ = '\0';
        field = tab;
    }
}

/* One call from fields[*at …] up to the end or a ";". */
static struct db_call *read_call(struct arena *arena, const struct command *command, int *at)
{
    struct db_call *call = arena_alloc(arena, sizeof *call);
    enum statement statement = 0;
    while (statement < STATEMENT__MAX &&
           strcmp(statement_infos[statement].name, command->fields[*at]) != 0)
        statement++;
    if (statement == STATEMENT__MAX)
        abort();
    db_call_init(call, arena, statement);
    for (++*at; *at < command->count && strcmp(command->fields[*at], ";") != 0; ++*at)
        db_add_string(call, strcmp(command->fields[*at], "\\N") == 0 ? NULL : command->fields[*at]);
    ++*at;
    return call;
}

static enum error poll_call(struct db *db, const struct db_call *call, struct failure *failure,
                            struct db_rows **ret_rows)
{
    enum error error = OK;
    db_start(db, call);
    while (!db_advance(db, failure, &error, ret_rows)) {
        int64_t left = db_poll_deadline(db) - clock_ms();
        struct pollfd fd = {.fd = db_poll_fd(db), .events = db_poll_events(db)};
        poll(&fd, 1, left < 0 ? 0 : (int)left);
    }
    return error;
}

static enum error transaction(struct db *db, struct arena *arena, const struct command *command,
                              struct failure *failure, struct db_rows **ret_rows)
{
    struct db_tx *tx = db_tx_begin(db, arena);
    for (int at = 1; at < command->count;)
        db_tx_call(tx, read_call(arena, command, &at), ret_rows);
    return db_tx_commit(tx, failure);
}

static void answer(struct db *db, struct arena *arena, const struct command *command)
{
    struct failure failure = {.error = OK};
    struct db_rows *rows = NULL;
    int64_t before = clock_ms();
    enum error error;
    int at = 1;
    if (strcmp(command->fields[0], "open") == 0) {
        puts(db_is_open(db) ? "yes" : "no");
        return;
    }
    if (strcmp(command->fields[0], "tx") == 0)
        error = transaction(db, arena, command, &failure, &rows);
    else if (strcmp(command->fields[0], "poll") == 0)
        error = poll_call(db, read_call(arena, command, &at), &failure, &rows);
    else
        error = db_run(db, read_call(arena, command, &at), &failure, &rows);
    printf("%s", error_names[error]);
    if (error != OK)
        printf("\t%s\t%s", failure.sqlstate, failure.detail);
    for (unsigned i = 0; rows && db_rows_count(rows) > 0 && !db_is_null(rows, 0, i); i++)
        printf("\t%s", db_text(rows, 0, i).data);
    printf("\t%lld\n", (long long)(clock_ms() - before));
}

int main(int argc, char **argv)
{
    struct options options = {
        .database_url = getenv("DATABASE_URL"),
        .dbos_schema = "dbos_system",
        .db_timeout_ms = argc > 1 ? strtol(argv[1], NULL, 10) : 5000,
    };
    db_configure(&options);
    struct db *db = db_new(DB_POOLED);
    struct arena *arena = arena_new();
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        struct command command;
        split(line, &command);
        answer(db, arena, &command);
        fflush(stdout);
        arena_reset(arena);
    }
    db_free(db);
    arena_free(arena);
    return 0;
}
