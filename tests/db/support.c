/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "support.h"

void configure(int64_t timeout_ms, const char *url)
{
    static struct options options;
    options.database_url = url ? url : getenv("DATABASE_URL");
    options.direct_database_url = getenv("DIRECT_DATABASE_URL");
    options.dbos_schema = "dbos_system";
    options.db_timeout_ms = timeout_ms;
    db_configure(&options);
}

char *read_whole_file(struct fixture *fixture, const char *path_in_source)
{
    const char *top = getenv("abs_top_srcdir");
    FILE *file = fopen(arena_printf(fixture->arena, "%s/%s", top ? top : ".", path_in_source), "r");
    assert_non_null(file);
    char *text = arena_alloc(fixture->arena, 65536);
    assert_true(fread(text, 1, 65535, file) > 0);
    fclose(file);
    return text;
}

int fixture_setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    configure(TEST_TIMEOUT_MS, NULL);
    fixture->arena = arena_new();
    fixture->db = db_new(DB_POOLED);
    fixture->other = db_new(DB_DIRECT);
    enum error error = db_run_script(
        fixture->other, read_whole_file(fixture, "tests/db/fixture.sql"), &fixture->failure);
    assert_error(fixture, error, OK, NULL);
    *state = fixture;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;
    db_free(fixture->db);
    db_free(fixture->other);
    arena_free(fixture->arena);
    free(fixture);
    return 0;
}

struct db_call *call(struct fixture *fixture, enum statement statement)
{
    struct db_call *one = arena_alloc(fixture->arena, sizeof *one);
    db_call_init(one, fixture->arena, statement);
    return one;
}

struct db_call *call_int(struct fixture *fixture, enum statement statement, int64_t value)
{
    struct db_call *one = call(fixture, statement);
    db_add_int(one, value);
    return one;
}

struct db_call *call_string(struct fixture *fixture, enum statement statement, const char *value)
{
    struct db_call *one = call(fixture, statement);
    db_add_string(one, value);
    return one;
}

struct db_call *call_sleep(struct fixture *fixture, const char *seconds)
{
    return call_string(fixture, STATEMENT_TEST_SLEEP, seconds);
}

struct db_call *call_insert(struct fixture *fixture, int64_t id, const char *word)
{
    struct db_call *one = call_int(fixture, STATEMENT_TEST_INSERT, id);
    db_add_string(one, word);
    return one;
}

enum error run(struct fixture *fixture, const struct db_call *one)
{
    fixture->rows = NULL;
    fixture->failure = (struct failure){.error = OK};
    return db_run(fixture->db, one, &fixture->failure, &fixture->rows);
}

int64_t ask_int(struct fixture *fixture, struct db *db, enum statement statement)
{
    struct db_rows *rows = NULL;
    assert_error(fixture, db_run(db, call(fixture, statement), &fixture->failure, &rows), OK, NULL);
    int64_t value = db_int(rows, 0, 0);
    assert_int_equal(db_rows_error(rows, NULL), OK);
    return value;
}

void assert_error(const struct fixture *fixture, enum error got, enum error expected,
                  const char *sqlstate)
{
    if (got != expected)
        print_error("%s: %s %s\n", error_code(got), fixture->failure.sqlstate,
                    fixture->failure.detail);
    assert_int_equal(got, expected);
    if (sqlstate)
        assert_string_equal(fixture->failure.sqlstate, sqlstate);
}

void assert_detail(const struct fixture *fixture, const char *part)
{
    if (!strstr(fixture->failure.detail, part))
        fail_msg("\"%s\" is not in the detail \"%s\"", part, fixture->failure.detail);
}
