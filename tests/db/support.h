/* SPDX-License-Identifier: MIT
 *
 * What the tests of this folder share: a configured database layer, and asking it in one line.
 */
#ifndef OPENCLAW_TESTS_DB_SUPPORT_H
#define OPENCLAW_TESTS_DB_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "db/db.h"

#define TEST_TIMEOUT_MS 1000

struct fixture {
    struct arena *arena;
    struct db *db;    /* through the pooler */
    struct db *other; /* a second one, direct */
    struct failure failure;
    struct db_rows *rows;
};

void configure(int64_t timeout_ms, const char *url); /* url NULL: DATABASE_URL as the test got it */
int fixture_setup(void **state);
int fixture_teardown(void **state);

struct db_call *call(struct fixture *fixture, enum statement statement);
struct db_call *call_int(struct fixture *fixture, enum statement statement, int64_t value);
struct db_call *call_string(struct fixture *fixture, enum statement statement, const char *value);
struct db_call *call_sleep(struct fixture *fixture, const char *seconds);
struct db_call *call_insert(struct fixture *fixture, int64_t id, const char *word);

enum error run(struct fixture *fixture, const struct db_call *one);
int64_t ask_int(struct fixture *fixture, struct db *db, enum statement statement);
char *read_whole_file(struct fixture *fixture, const char *path_in_source);

void assert_error(const struct fixture *fixture, enum error got, enum error expected,
                  const char *sqlstate); /* NULL: any */
void assert_detail(const struct fixture *fixture, const char *part);

#endif
