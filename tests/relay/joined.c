/* SPDX-License-Identifier: MIT
 *
 * Calls of the database layer by remote control: one by one, or joined as the relay joins them.
 * Reads commands, one a line, fields separated by tabs (\t \n \\ and \N, which is null, are
 * escapes):
 *
 *   call STATEMENT VALUE…   keeps a call
 *   one                     runs all that were kept one after the other, and forgets them
 *   joined                  the same, but as few calls as can be; where one fails, its members one
 * by one relayed                 the first of them by db_start, through the relay where there is
 * one
 *
 * Answers: for each call its rows, "row VALUE…", then "end ERROR SQLSTATE"; behind the last "calls
 * N": how many the database was given. joined TIMEOUT_MS; DATABASE_URL and RUNTIME_DIR say where.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "db/internal.h"
#include "db/merge.h"

#define CALLS_MAX  512
#define FIELDS_MAX (STATEMENT_PARAMS_MAX + 2)

static const char *const error_names[ERR__MAX] = {
    "OK",
#define ERROR(name, code, http, retry, exit, phrase) #name,
#include "base/error.def"
#undef ERROR
};

struct asked {
    struct db_call call;
    struct db_rows *rows;
    struct rows_part part;
    bool in_part, done;
    enum error error;
    struct failure failure;
};

static struct asked asked[CALLS_MAX];
static size_t count;
static unsigned calls;

/* ---- fields -----------------------------------------------------------------------------------
 */

static char *unescape(char *field)
{
    char *out = field;

    if (strcmp(field, "\\N") == 0)
        return NULL;
    for (char *at = field; *at != '\0'; at++) {
        if (*at == '\\' && at[1] != '\0') {
            at++;
            *out++ = (char)(*at == 't' ? '\t' : *at == 'n' ? '\n' : *at);
        } else {
            *out++ = *at;
        }
    }
    *out = '\0';
    return field;
}

static void put_escaped(struct text value)
{
    if (value.data == NULL) {
        fputs("\t\\N", stdout);
        return;
    }
    putchar('\t');
    for (size_t i = 0; i < value.len; i++) {
        switch (value.data[i]) {
        case '\t':
            fputs("\\t", stdout);
            break;
        case '\n':
            fputs("\\n", stdout);
            break;
        case '\\':
            fputs("\\\\", stdout);
            break;
        default:
            putchar(value.data[i]);
        }
    }
}

static size_t split(char *line, char **fields)
{
    size_t found = 0;

    line[strcspn(line, "\n")] = '\0';
    while (line != NULL && found < FIELDS_MAX) {
        char *tab = strchr(line, '\t');

        fields[found++] = line;
        if (tab != NULL)
            *tab++ = '\0';
        line = tab;
    }
    return found;
}

static void keep_call(struct arena *arena, char **fields, size_t fields_count)
{
    struct asked *one = &asked[count++];
    int statement = 0;

    if (count > CALLS_MAX)
        abort();
    while (statement < STATEMENT__MAX && strcmp(statement_infos[statement].name, fields[1]) != 0)
        statement++;
    if (statement == STATEMENT__MAX)
        abort();
    *one = (struct asked){.error = OK};
    db_call_init(&one->call, arena, (enum statement)statement);
    for (size_t i = 2; i < fields_count; i++)
        db_add_string(&one->call, unescape(fields[i]));
}

/* ---- running ------------------------------------------------------------------------------------
 */

static void run_alone(struct db *db, struct asked *one)
{
    one->error = db_run(db, &one->call, &one->failure, &one->rows);
    one->done = true;
    calls++;
}

static void run_joined(struct db *db, struct arena *arena, size_t first)
{
    struct merge *merge = merge_new(arena, &asked[first].call);
    size_t members[CALLS_MAX] = {first};
    struct failure failure = {.error = OK};
    struct db_call *call = arena_alloc(arena, sizeof *call);
    struct db_rows *rows = NULL;
    enum error error;

    for (size_t i = first + 1; i < count; i++)
        if (!asked[i].done && merge_add(merge, &asked[i].call))
            members[merge_count(merge) - 1] = i;
    if (merge_count(merge) == 1) {
        run_alone(db, &asked[first]);
        return;
    }
    merge_call(merge, call);
    calls++;
    error = db_run(db, call, &failure, &rows);
    if (error == OK)
        error = merge_split(merge, rows, &failure);
    for (size_t i = 0; i < merge_count(merge); i++) {
        struct asked *one = &asked[members[i]];

        if (error != OK) {
            run_alone(db, one);
            continue;
        }
        one->rows = rows;
        one->part = merge_part(merge, i);
        one->in_part = one->done = true;
    }
}

static void run_relayed(struct db *db, struct asked *one)
{
    one->done = true;
    calls++;
    db_start(db, &one->call);
    while (!db_advance(db, &one->failure, &one->error, &one->rows)) {
        int64_t left = db_poll_deadline(db) - clock_ms();
        struct pollfd fd = {.fd = db_poll_fd(db), .events = db_poll_events(db)};

        poll(&fd, 1, left < 0 ? 0 : (int)left);
    }
}

/* ---- answering ----------------------------------------------------------------------------------
 */

/* Through bytes, as a caller of the relay gets them. */
static struct db_rows *rows_of(const struct asked *one)
{
    struct buffer bytes;
    struct db_rows *rows;

    buffer_init(&bytes, SIZE_MAX);
    wire_put_rows(&bytes, one->rows, one->in_part ? &one->part : NULL);
    rows = wire_get_rows(buffer_text(&bytes), &one->call);
    if (rows == NULL)
        abort();
    buffer_release(&bytes);
    return rows;
}

static void answer(const struct asked *one)
{
    struct db_rows *rows = one->error == OK && one->rows ? rows_of(one) : NULL;

    for (size_t row = 0; rows && row < db_rows_count(rows); row++) {
        fputs("row", stdout);
        for (unsigned column = 0; column < rows_columns(rows); column++)
            put_escaped(rows_value(rows, row, column));
        putchar('\n');
    }
    printf("end\t%s\t%s\n", error_names[one->error], one->error == OK ? "" : one->failure.sqlstate);
}

static void run(struct db *db, struct arena *arena, const char *how)
{
    calls = 0;
    for (size_t i = 0; i < count; i++) {
        if (asked[i].done)
            continue;
        if (strcmp(how, "joined") == 0 && merge_can_begin(&asked[i].call))
            run_joined(db, arena, i);
        else if (strcmp(how, "relayed") == 0)
            run_relayed(db, &asked[i]);
        else
            run_alone(db, &asked[i]);
    }
    for (size_t i = 0; i < count; i++)
        answer(&asked[i]);
    printf("calls\t%u\n", calls);
    (void)fflush(stdout);
    count = 0;
    arena_reset(arena);
}

int main(int argc, char **argv)
{
    struct options options = {
        .database_url = getenv("DATABASE_URL"),
        .dbos_schema = "dbos_system",
        .runtime_dir = getenv("RUNTIME_DIR"),
        .db_timeout_ms = argc > 1 ? strtol(argv[1], NULL, 10) : 30000,
    };
    struct arena *arena = arena_new();
    struct db *db;
    char *line = NULL;
    size_t size = 0;

    db_configure(&options);
    db = db_new(DB_RELAYED);
    while (getline(&line, &size, stdin) > 0) {
        char *fields[FIELDS_MAX];
        size_t fields_count = split(line, fields);

        if (strcmp(fields[0], "call") == 0)
            keep_call(arena, fields, fields_count);
        else
            run(db, arena, fields[0]);
    }
    free(line);
    db_free(db);
    arena_free(arena);
    return 0;
}
