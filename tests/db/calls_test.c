/* SPDX-License-Identifier: MIT
 *
 * Calls, answers and transactions against a real server, through the pooler.
 */
#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"
#include "support.h"

/* ---- parameters and answers ---------------------------------------------------------------- */

static void values_travel_unchanged(void **state)
{
    struct fixture *fixture = *state;
    struct db_call *one = call(fixture, STATEMENT_TEST_ECHO);
    const char *nasty = "it's {a,\"b\"} \\ NULL \xF0\x9F\xA6\x9E \n\t $1";
    db_add_string(one, nasty);
    db_add_int(one, INT64_MIN);
    db_add_bool(one, true);
    db_add_null(one);
    assert_error(fixture, run(fixture, one), OK, NULL);
    assert_int_equal(db_rows_count(fixture->rows), 1);
    assert_true(text_is(db_text(fixture->rows, 0, 0), nasty));
    assert_int_equal(db_int(fixture->rows, 0, 1), INT64_MIN);
    assert_true(db_bool(fixture->rows, 0, 2));
    assert_true(db_is_null(fixture->rows, 0, 3));
    assert_null(db_text(fixture->rows, 0, 3).data);
    assert_int_equal(db_int(fixture->rows, 0, 4), strlen(nasty));
    assert_int_equal(db_rows_error(fixture->rows, NULL), OK);
}

static void text_arrays_round_trip(void **state)
{
    struct fixture *fixture = *state;
    const struct text values[] = {
        TEXT_LITERAL(""),
        TEXT_NONE,
        TEXT_LITERAL("NULL"),
        TEXT_LITERAL("null"),
        TEXT_LITERAL("a"),
        TEXT_LITERAL("a,b"),
        TEXT_LITERAL("{}"),
        TEXT_LITERAL("{"),
        TEXT_LITERAL("}"),
        TEXT_LITERAL("\""),
        TEXT_LITERAL("\\"),
        TEXT_LITERAL("\\\""),
        TEXT_LITERAL("\\\\\"\"\\"),
        TEXT_LITERAL(" lead and trail "),
        TEXT_LITERAL("line\nbreak\ttab\x01"),
        TEXT_LITERAL("'quote'; drop table x; --"),
        TEXT_LITERAL("na\xC3\xAFve \xE6\xBC\xA2\xE5\xAD\x97 \xF0\x9F\xA6\x9E"),
        TEXT_LITERAL("{\"json\": \"with \\\"quotes\\\"\", \"n\": [1, null]}"),
    };
    size_t count = sizeof values / sizeof values[0];
    struct db_call *one = call(fixture, STATEMENT_TEST_ECHO_TEXTS);
    db_add_texts(one, values, count);
    assert_error(fixture, run(fixture, one), OK, NULL);
    assert_int_equal(db_int(fixture->rows, 0, 1), count);
    size_t got_count = 0;
    struct text *got = db_texts(fixture->rows, 0, 0, &got_count);
    assert_int_equal(got_count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(got[i].data == NULL, values[i].data == NULL);
        if (values[i].data)
            assert_true(text_equal(got[i], values[i]));
    }
    assert_int_equal(db_rows_error(fixture->rows, NULL), OK);
}

/* More than a socket takes at once, in both directions, alone and in a pipeline. */
static void large_values_travel(void **state)
{
    struct fixture *fixture = *state;
    const size_t size = 8u << 20;
    configure(30000, NULL);
    char *text = arena_alloc(fixture->arena, size + 1);
    memset(text, 'x', size);
    struct db_call *calls[3];
    struct db_rows *rows[3] = {NULL, NULL, NULL};
    struct db_tx *tx = db_tx_begin(fixture->db, fixture->arena);
    for (int i = 0; i < 3; i++) {
        calls[i] = call_string(fixture, STATEMENT_TEST_ECHO, text);
        db_add_int(calls[i], i);
        db_add_bool(calls[i], false);
        db_add_null(calls[i]);
        db_tx_call(tx, calls[i], &rows[i]);
    }
    assert_error(fixture, run(fixture, calls[0]), OK, NULL);
    assert_int_equal(db_text(fixture->rows, 0, 0).len, size);
    assert_error(fixture, db_tx_commit(tx, &fixture->failure), OK, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(db_int(rows[i], 0, 1), i);
        assert_int_equal(db_text(rows[i], 0, 0).len, size);
    }
}

static void empty_and_null_arrays(void **state)
{
    struct fixture *fixture = *state;
    struct db_call *one = call(fixture, STATEMENT_TEST_ECHO_TEXTS);
    db_add_texts(one, NULL, 0);
    assert_error(fixture, run(fixture, one), OK, NULL);
    size_t count = 99;
    assert_non_null(db_texts(fixture->rows, 0, 0, &count));
    assert_int_equal(count, 0);
    assert_int_equal(db_rows_error(fixture->rows, NULL), OK);

    one = call(fixture, STATEMENT_TEST_ECHO_TEXTS);
    db_add_null(one);
    assert_error(fixture, run(fixture, one), OK, NULL);
    assert_null(db_texts(fixture->rows, 0, 0, &count));
    assert_int_equal(db_rows_error(fixture->rows, &fixture->failure), ERR_INTERNAL);
    assert_detail(fixture, "column 0");
}

static void int_and_bool_arrays(void **state)
{
    struct fixture *fixture = *state;
    const int64_t values[] = {0, -1, DB_INT_NULL, INT64_MAX, INT64_MIN + 1};
    const bool flags[] = {true, false};
    struct db_call *one = call(fixture, STATEMENT_TEST_ECHO_INTS);
    db_add_ints(one, values, 5);
    db_add_bools(one, flags, 2);
    assert_error(fixture, run(fixture, one), OK, NULL);
    size_t count = 0;
    struct text *got = db_texts(fixture->rows, 0, 0, &count);
    assert_int_equal(count, 5);
    assert_true(text_is(got[0], "0"));
    assert_true(text_is(got[1], "-1"));
    assert_null(got[2].data);
    assert_true(text_is(got[3], "9223372036854775807"));
    assert_true(text_is(got[4], "-9223372036854775807"));
    got = db_texts(fixture->rows, 0, 1, &count);
    assert_int_equal(count, 2);
    assert_true(text_is(got[0], "true"));
    assert_true(text_is(got[1], "false"));
}

static void reading_is_typed_and_sticky(void **state)
{
    struct fixture *fixture = *state;
    assert_error(fixture, run(fixture, call(fixture, STATEMENT_TEST_TYPES)), OK, NULL);
    struct db_rows *rows = fixture->rows;
    assert_int_equal(db_int(rows, 0, 0), 1);
    assert_int_equal(db_int(rows, 0, 1), 2);
    assert_int_equal(db_int(rows, 0, 2), 3);
    assert_true(db_bool(rows, 0, 3));
    assert_false(db_bool(rows, 0, 4));
    assert_int_equal(db_int_or(rows, 0, 5, 42), 42);
    assert_null(db_text(rows, 0, 6).data);
    assert_int_equal(db_rows_error(rows, NULL), OK);

    assert_int_equal(db_int(rows, 0, 7), 0); /* varchar */
    assert_int_equal(db_int(rows, 0, 5), 0); /* null: not the first fault */
    assert_int_equal(db_rows_error(rows, &fixture->failure), ERR_SCHEMA);
    assert_detail(fixture, "column 7");
}

static void each_misreading_is_a_fault(void **state)
{
    struct fixture *fixture = *state;
    size_t count = 0;
    for (int fault = 0; fault < 7; fault++) {
        assert_error(fixture, run(fixture, call(fixture, STATEMENT_TEST_TYPES)), OK, NULL);
        struct db_rows *rows = fixture->rows;
        switch (fault) {
        case 0:
            (void)db_int(rows, 0, 5);
            break;
        case 1:
            (void)db_bool(rows, 0, 1);
            break;
        case 2:
            (void)db_text(rows, 0, 10);
            break;
        case 3:
            (void)db_text(rows, 1, 0);
            break;
        case 4:
            (void)db_texts(rows, 0, 7, &count);
            break;
        case 5:
            (void)db_texts(rows, 0, 9, &count); /* two dimensions */
            break;
        default:
            (void)db_int_or(rows, 0, 3, 0);
            break;
        }
        assert_int_not_equal(db_rows_error(rows, NULL), OK);
    }
}

static void misbuilt_calls_are_refused(void **state)
{
    struct fixture *fixture = *state;
    assert_error(fixture, run(fixture, call(fixture, STATEMENT_TEST_SLEEP)), ERR_INTERNAL, NULL);
    assert_detail(fixture, "test_sleep");

    struct db_call *one = call(fixture, STATEMENT_TEST_CAST_INT);
    db_add_text(one, (struct text){"1\0002", 3});
    assert_error(fixture, run(fixture, one), ERR_INVALID_ENCODING, NULL);

    one = call(fixture, STATEMENT_TEST_CAST_INT);
    for (int i = 0; i <= STATEMENT_PARAMS_MAX; i++)
        db_add_int(one, i);
    assert_error(fixture, run(fixture, one), ERR_INTERNAL, NULL);
    assert_false(db_is_open(fixture->db));
}

static void cardinality_is_checked(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        enum statement statement;
        int64_t rows;
        enum error error;
    } cases[] = {
        {STATEMENT_TEST_ROWS_ONE, 0, ERR_CARDINALITY},
        {STATEMENT_TEST_ROWS_ONE, 1, OK},
        {STATEMENT_TEST_ROWS_ONE, 2, ERR_CARDINALITY},
        {STATEMENT_TEST_ROWS_OPTIONAL, 0, OK},
        {STATEMENT_TEST_ROWS_OPTIONAL, 1, OK},
        {STATEMENT_TEST_ROWS_OPTIONAL, 2, ERR_CARDINALITY},
        {STATEMENT_TEST_ROWS_ANY, 0, OK},
        {STATEMENT_TEST_ROWS_ANY, 3000, OK},
        {STATEMENT_TEST_ROWS_NONE, 0, OK},
        {STATEMENT_TEST_ROWS_NONE, 1, ERR_CARDINALITY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum error error = run(fixture, call_int(fixture, cases[i].statement, cases[i].rows));
        assert_error(fixture, error, cases[i].error, NULL);
        if (error == OK)
            assert_int_equal(db_rows_count(fixture->rows), cases[i].rows);
        else
            assert_null(fixture->rows);
    }
}

/* ---- transactions -------------------------------------------------------------------------- */

static enum error commit(struct fixture *fixture, struct db_tx *tx)
{
    fixture->failure = (struct failure){.error = OK};
    return db_tx_commit(tx, &fixture->failure);
}

static int64_t words(struct fixture *fixture)
{
    return ask_int(fixture, fixture->other, STATEMENT_TEST_COUNT);
}

static void transaction_commits_all(void **state)
{
    struct fixture *fixture = *state;
    struct db_rows *count = NULL;
    struct db_tx *tx = db_tx_begin(fixture->db, fixture->arena);
    db_tx_call(tx, call_insert(fixture, 1, "one"), NULL);
    db_tx_call(tx, call_insert(fixture, 2, "two"), NULL);
    db_tx_call(tx, call(fixture, STATEMENT_TEST_COUNT), &count);
    assert_error(fixture, commit(fixture, tx), OK, NULL);
    assert_int_equal(db_int(count, 0, 0), 2);
    assert_int_equal(words(fixture), 2);

    tx = db_tx_begin(fixture->db, fixture->arena);
    db_tx_call(tx, call_insert(fixture, 3, "three"), NULL); /* all in one flight */
    assert_error(fixture, commit(fixture, tx), OK, NULL);
    assert_int_equal(words(fixture), 3);
    assert_error(fixture, commit(fixture, tx), OK, NULL); /* nothing is left to commit */
    assert_int_equal(words(fixture), 3);
}

static void transaction_fails_as_its_first_failure(void **state)
{
    struct fixture *fixture = *state;
    for (int held = 0; held < 2; held++) {
        struct db_rows *untouched = NULL;
        struct db_tx *tx = db_tx_begin(fixture->db, fixture->arena);
        if (held)
            db_tx_call(tx, call(fixture, STATEMENT_TEST_COUNT), &untouched);
        db_tx_call(tx, call_insert(fixture, 1, "one"), NULL);
        db_tx_call(tx, call_insert(fixture, 2, "two"), NULL);
        db_tx_call(tx, call_insert(fixture, 1, "again"), NULL);
        db_tx_call(tx, call(fixture, STATEMENT_TEST_MISSING_TABLE), NULL);
        assert_error(fixture, commit(fixture, tx), ERR_DATABASE, "23505");
        assert_detail(fixture, "word_pkey");
        assert_null(strstr(fixture->failure.detail, "again"));
        assert_null(untouched);
        assert_int_equal(words(fixture), 0);
        /* the connection is of use again, and no transaction is left on it */
        assert_true(db_is_open(fixture->db));
        assert_error(fixture, run(fixture, call_insert(fixture, 9, "nine")), OK, NULL);
        assert_int_equal(words(fixture), 1);
        assert_int_equal(fixture_teardown(state), 0);
        assert_int_equal(fixture_setup(state), 0);
        fixture = *state;
    }
}

static void wrong_cardinality_is_no_commit(void **state)
{
    struct fixture *fixture = *state;
    struct db_tx *tx = db_tx_begin(fixture->db, fixture->arena);
    db_tx_call(tx, call_insert(fixture, 1, "one"), NULL);
    db_tx_call(tx, call_int(fixture, STATEMENT_TEST_ROWS_ONE, 2), NULL);
    assert_error(fixture, commit(fixture, tx), ERR_CARDINALITY, NULL);
    assert_int_equal(words(fixture), 0);
    assert_error(fixture, run(fixture, call_insert(fixture, 1, "one")), OK, NULL);
}

static void misbuilt_transactions_are_refused(void **state)
{
    struct fixture *fixture = *state;
    struct db_tx *tx = db_tx_begin(fixture->db, fixture->arena);
    for (int i = 0; i < DB_TX_CALLS_MAX; i++)
        db_tx_call(tx, call_insert(fixture, i, "x"), NULL);
    assert_error(fixture, commit(fixture, tx), OK, NULL);
    assert_int_equal(words(fixture), DB_TX_CALLS_MAX);

    tx = db_tx_begin(fixture->db, fixture->arena);
    for (int i = 0; i <= DB_TX_CALLS_MAX; i++)
        db_tx_call(tx, call_insert(fixture, 100 + i, "x"), NULL);
    assert_error(fixture, commit(fixture, tx), ERR_INTERNAL, NULL);

    tx = db_tx_begin(fixture->db, fixture->arena);
    db_tx_call(tx, call_insert(fixture, 200, "x"), NULL);
    db_tx_call(tx, call(fixture, STATEMENT_TEST_SLEEP), NULL);
    assert_error(fixture, commit(fixture, tx), ERR_INTERNAL, NULL);
    assert_int_equal(words(fixture), DB_TX_CALLS_MAX);
    assert_error(fixture, commit(fixture, db_tx_begin(fixture->db, fixture->arena)), OK, NULL);
}

/* The commit of a statement of its own comes after its first answer: an error there counts. */
static void failing_at_commit_is_failing(void **state)
{
    struct fixture *fixture = *state;
    assert_error(fixture, run(fixture, call_int(fixture, STATEMENT_TEST_INSERT_DEFERRED, 1)),
                 ERR_DATABASE, "23514");
    struct db_tx *tx = db_tx_begin(fixture->db, fixture->arena);
    db_tx_call(tx, call_insert(fixture, 1, "one"), NULL);
    db_tx_call(tx, call_int(fixture, STATEMENT_TEST_INSERT_DEFERRED, 1), NULL);
    assert_error(fixture, commit(fixture, tx), ERR_DATABASE, "23514");
    assert_int_equal(words(fixture), 0);
    assert_error(fixture, run(fixture, call(fixture, STATEMENT_PING)), OK, NULL);
}

/* ---- without blocking ---------------------------------------------------------------------- */

/* Advances until done; returns the longest time one step took, in microseconds. */
static int64_t advance(struct fixture *fixture, enum error *ret_error, int *ret_polls)
{
    int64_t longest = 0;
    *ret_polls = 0;
    for (;;) {
        int64_t before = clock_us();
        bool done = db_advance(fixture->db, &fixture->failure, ret_error, &fixture->rows);
        int64_t took = clock_us() - before;
        longest = took > longest ? took : longest;
        if (done)
            return longest;
        int64_t left = db_poll_deadline(fixture->db) - clock_ms();
        struct pollfd fd = {.fd = db_poll_fd(fixture->db), .events = db_poll_events(fixture->db)};
        assert_true(fd.fd >= 0);
        assert_true(fd.events != 0);
        assert_true(left < 10000);
        poll(&fd, 1, left < 0 ? 0 : (int)left);
        ++*ret_polls;
    }
}

static void advancing_never_blocks(void **state)
{
    struct fixture *fixture = *state;
    enum error error = ERR_INTERNAL;
    int polls = 0;
    configure(5000, NULL);
    assert_false(db_busy(fixture->db));
    assert_int_equal(db_poll_fd(fixture->db), -1);
    assert_true(db_poll_deadline(fixture->db) == INT64_MAX);

    int64_t before = clock_us();
    db_start(fixture->db, call_sleep(fixture, "1.5"));
    assert_true(clock_us() - before < 100000);
    assert_true(db_busy(fixture->db));
    int64_t longest = advance(fixture, &error, &polls);
    assert_error(fixture, error, OK, NULL);
    assert_true(clock_us() - before >= 1500000);
    assert_true(longest < 100000);
    assert_true(polls < 20); /* waits, does not spin */
    assert_int_equal(db_rows_count(fixture->rows), 1);
    assert_false(db_busy(fixture->db));

    db_start(fixture->db, call(fixture, STATEMENT_PING)); /* on the open connection */
    (void)advance(fixture, &error, &polls);
    assert_error(fixture, error, OK, NULL);
}

static void advancing_tells_errors(void **state)
{
    struct fixture *fixture = *state;
    enum error error = OK;
    int polls = 0;
    db_start(fixture->db, call(fixture, STATEMENT_TEST_MISSING_TABLE));
    (void)advance(fixture, &error, &polls);
    assert_error(fixture, error, ERR_SCHEMA, "42P01");

    db_start(fixture->db, call(fixture, STATEMENT_TEST_SLEEP)); /* misbuilt */
    assert_true(db_busy(fixture->db));
    assert_true(db_advance(fixture->db, &fixture->failure, &error, &fixture->rows));
    assert_error(fixture, error, ERR_INTERNAL, NULL);

    db_start(fixture->db, call_sleep(fixture, "30"));
    assert_true(advance(fixture, &error, &polls) < 100000);
    assert_error(fixture, error, ERR_UNAVAILABLE, "57014");

    db_start(fixture->db, call_sleep(fixture, "30"));
    db_close(fixture->db); /* abandoned */
    assert_false(db_busy(fixture->db));
    assert_error(fixture, run(fixture, call(fixture, STATEMENT_PING)), OK, NULL);
}

/* ---- scripts and statements ---------------------------------------------------------------- */

static void scripts_run_as_a_whole(void **state)
{
    struct fixture *fixture = *state;
    assert_error(fixture,
                 db_run_script(fixture->db,
                               "insert into test.word values (1, 'a'); select 1; select 2;"
                               "insert into test.word values (2, 'b')",
                               &fixture->failure),
                 OK, NULL);
    assert_int_equal(words(fixture), 2);
    assert_error(fixture,
                 db_run_script(fixture->db,
                               "insert into test.word values (3, 'c'); select 1 / 0;"
                               "insert into test.word values (4, 'd')",
                               &fixture->failure),
                 ERR_DATABASE, "22012");
    assert_int_equal(words(fixture), 2);
    assert_error(fixture,
                 db_run_script(fixture->db, "begin; insert into test.word values (5, 'e'); x",
                               &fixture->failure),
                 ERR_DATABASE, "42601");
    assert_error(fixture,
                 db_run_script(fixture->db, "begin; insert into test.word values (5, 'e')",
                               &fixture->failure),
                 OK, NULL);
    assert_false(db_is_open(fixture->db)); /* a transaction was open on it */
    assert_int_equal(words(fixture), 2);
}

static void schema_name_is_replaced_as_a_word(void **state)
{
    struct fixture *fixture = *state;
    static struct options options;
    options = (struct options){.database_url = getenv("DATABASE_URL"),
                               .dbos_schema = "other",
                               .db_timeout_ms = TEST_TIMEOUT_MS};
    db_configure(&options);
    assert_error(fixture, run(fixture, call(fixture, STATEMENT_TEST_SCHEMA_NAME)), OK, NULL);
    assert_true(text_is(db_text(fixture->rows, 0, 0), "other"));
    assert_true(text_is(db_text(fixture->rows, 0, 1), "dbos_system_x"));
    assert_true(text_is(db_text(fixture->rows, 0, 2), "xdbos_system"));
    assert_true(text_is(db_text(fixture->rows, 0, 3), "other.t"));
    assert_error(
        fixture,
        db_run_script(fixture->db,
                      "create schema dbos_system; create table dbos_system.dbos_system_t ()",
                      &fixture->failure),
        OK, NULL);
    assert_error(fixture,
                 db_run_script(fixture->db,
                               "select from other.dbos_system_t; drop schema other cascade",
                               &fixture->failure),
                 OK, NULL);
    configure(TEST_TIMEOUT_MS, NULL);
    assert_error(fixture, run(fixture, call(fixture, STATEMENT_TEST_SCHEMA_NAME)), OK, NULL);
    assert_true(text_is(db_text(fixture->rows, 0, 0), "dbos_system"));
}

struct report {
    int count;
    bool table, rows, ping;
};

static void note(void *context, const char *statement, const struct failure *failure)
{
    struct report *report = context;
    report->count++;
    report->table |= strcmp(statement, "test_missing_table") == 0 && failure->error == ERR_SCHEMA &&
                     strcmp(failure->sqlstate, "42P01") == 0;
    report->rows |= strcmp(statement, "test_rows_none") == 0 && failure->error == ERR_SCHEMA;
    report->ping |= strcmp(statement, "ping") == 0;
}

static void preparing_all_finds_what_does_not_fit(void **state)
{
    struct fixture *fixture = *state;
    struct report report = {.count = 0};
    assert_int_not_equal(db_prepare_all(fixture->db, note, &report, &fixture->failure), OK);
    assert_true(report.table);
    assert_true(report.rows);
    assert_false(report.ping);
    assert_true(db_is_open(fixture->db));
    assert_error(fixture, run(fixture, call(fixture, STATEMENT_PING)), OK, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(values_travel_unchanged),
        TEST(text_arrays_round_trip),
        TEST(large_values_travel),
        TEST(empty_and_null_arrays),
        TEST(int_and_bool_arrays),
        TEST(reading_is_typed_and_sticky),
        TEST(each_misreading_is_a_fault),
        TEST(misbuilt_calls_are_refused),
        TEST(cardinality_is_checked),
        TEST(transaction_commits_all),
        TEST(transaction_fails_as_its_first_failure),
        TEST(wrong_cardinality_is_no_commit),
        TEST(misbuilt_transactions_are_refused),
        TEST(failing_at_commit_is_failing),
        TEST(advancing_never_blocks),
        TEST(advancing_tells_errors),
        TEST(scripts_run_as_a_whole),
        TEST(schema_name_is_replaced_as_a_word),
        TEST(preparing_all_finds_what_does_not_fit),
    };
    return cmocka_run_group_tests_name("calls", tests, NULL, NULL);
}
