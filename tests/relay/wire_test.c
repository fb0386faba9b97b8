/* SPDX-License-Identifier: MIT
 *
 * Calls and answers as bytes, whole and broken.
 */
#include "db/wire.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "db/internal.h"
#include "unit.h"

enum { INT4 = 23, TEXT = 25 };
enum { LENGTH_AT = 0, BUILD_AT = 4, STATEMENT_AT = 12, COUNT_AT = 16, VALUES_AT = 20 };
enum { KIND_AT = 4, ROWS_AT = 8, COLUMNS_AT = 12 };

static struct arena *arena;
static struct buffer bytes;

static int setup(void **state)
{
    (void)state;
    arena = arena_new();
    buffer_init(&bytes, SIZE_MAX);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buffer_release(&bytes);
    arena_free(arena);
    return 0;
}

static struct db_call *claim(void)
{
    struct db_call *call = arena_alloc(arena, sizeof *call);

    db_call_init(call, arena, STATEMENT_INBOX_CLAIM);
    db_add_string(call, "bob");
    db_add_string(call, "");
    db_add_null(call);
    db_add_int(call, INT64_MIN);
    db_add_int(call, 1);
    db_add_int(call, 2);
    db_add_string(call, "\"{,\\} \xF0\x9F\xA6\x9E");
    db_add_null(call);
    return call;
}

/* In memory of just that size, so that a sanitizer sees who reads behind it. */
static char *exactly(const char *data, size_t len)
{
    char *copy = malloc(len ? len : 1);

    assert_non_null(copy);
    memcpy(copy, data, len);
    return copy;
}

static void set_number(char *data, size_t at, uint32_t number)
{
    memcpy(data + at, &number, sizeof number);
}

/* ---- calls
 * ---------------------------------------------------------------------------------------- */

static void a_call_travels(void **state)
{
    struct db_call *call = claim(), got;

    (void)state;
    wire_put_call(&bytes, call);
    assert_int_equal(wire_frame(buffer_text(&bytes)), bytes.len);
    assert_int_equal(wire_get_call(buffer_text(&bytes), arena, &got), WIRE_OK);
    assert_int_equal(got.statement, call->statement);
    assert_int_equal(got.count, call->count);
    for (unsigned i = 0; i < call->count; i++) {
        assert_int_equal(got.values[i] == NULL, call->values[i] == NULL);
        if (call->values[i])
            assert_string_equal(got.values[i], call->values[i]);
    }
}

/* As they stand in a stream: the first is taken, the second is no part of it. */
static void frames_are_told_apart(void **state)
{
    struct db_call got;
    size_t first;

    (void)state;
    wire_put_call(&bytes, claim());
    first = bytes.len;
    wire_put_kind(&bytes, ANSWER_ALIVE);
    assert_int_equal(wire_frame(buffer_text(&bytes)), first);
    assert_int_equal(wire_get_call((struct text){bytes.data, first}, arena, &got), WIRE_OK);
    buffer_consume(&bytes, first);
    assert_int_equal(wire_frame(buffer_text(&bytes)), 8);
    assert_int_equal(wire_get_kind(buffer_text(&bytes)), ANSWER_ALIVE);
}

static void no_part_of_a_frame_is_one(void **state)
{
    (void)state;
    wire_put_call(&bytes, claim());
    for (size_t len = 0; len < bytes.len; len++) {
        char *part = exactly(bytes.data, len);

        assert_int_equal(wire_frame((struct text){part, len}), 0);
        assert_int_equal(wire_announced((struct text){part, len}), len < 4 ? 0 : bytes.len);
        free(part);
    }
}

/* A frame that ends earlier than what is in it. */
static void a_call_that_is_cut_is_broken(void **state)
{
    struct db_call got;

    (void)state;
    wire_put_call(&bytes, claim());
    for (size_t len = 4; len < bytes.len; len++) {
        char *part = exactly(bytes.data, len);

        set_number(part, LENGTH_AT, (uint32_t)(len - 4));
        assert_int_equal(wire_frame((struct text){part, len}), len);
        assert_int_equal(wire_get_call((struct text){part, len}, arena, &got), WIRE_BROKEN);
        free(part);
    }
    buffer_append_byte(&bytes, '\0');
    assert_int_equal(wire_get_call(buffer_text(&bytes), arena, &got), WIRE_BROKEN);
}

static void lengths_that_lie_are_seen(void **state)
{
    static const uint32_t lies[] = {0, 1, 2, 3, 5, 8, 100, INT_MAX, UINT32_MAX - 1, UINT32_MAX};
    struct db_call got;

    (void)state;
    wire_put_call(&bytes, claim());
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        for (size_t at = STATEMENT_AT; at + 4 <= bytes.len; at++) {
            char *lie = exactly(bytes.data, bytes.len);

            set_number(lie, at, lies[i]);
            /* a text may become another; but whatever is taken for whole is whole */
            if (wire_get_call((struct text){lie, bytes.len}, arena, &got) == WIRE_OK)
                for (unsigned value = 0; value < got.count; value++)
                    assert_true(got.values[value] == NULL ||
                                (got.values[value] > lie &&
                                 got.values[value] + strlen(got.values[value]) < lie + bytes.len));
            free(lie);
        }
    }
    set_number(bytes.data, VALUES_AT, 2); /* "bo" and no NUL behind it */
    assert_int_equal(wire_get_call(buffer_text(&bytes), arena, &got), WIRE_BROKEN);
    set_number(bytes.data, VALUES_AT, 3);
    set_number(bytes.data, STATEMENT_AT, STATEMENT__MAX);
    assert_int_equal(wire_get_call(buffer_text(&bytes), arena, &got), WIRE_BROKEN);
    set_number(bytes.data, STATEMENT_AT, STATEMENT_INBOX_CLAIM);
    set_number(bytes.data, COUNT_AT, statement_infos[STATEMENT_INBOX_CLAIM].param_count - 1);
    assert_int_equal(wire_get_call(buffer_text(&bytes), arena, &got), WIRE_BROKEN);
    set_number(bytes.data, COUNT_AT, statement_infos[STATEMENT_INBOX_CLAIM].param_count);
    assert_int_equal(wire_get_call(buffer_text(&bytes), arena, &got), WIRE_OK);
}

static void another_build_is_seen_first(void **state)
{
    struct db_call got;

    (void)state;
    wire_put_call(&bytes, claim());
    for (size_t at = BUILD_AT; at < STATEMENT_AT; at++) {
        char *other = exactly(bytes.data, bytes.len);

        other[at] ^= 1;
        set_number(other, STATEMENT_AT, UINT32_MAX); /* what may mean another thing there */
        assert_int_equal(wire_get_call((struct text){other, bytes.len}, arena, &got),
                         WIRE_OTHER_BUILD);
        free(other);
    }
}

/* ---- answers
 * --------------------------------------------------------------------------------------- */

static struct db_rows *rows_of(const struct db_call *call)
{
    static const unsigned types[] = {INT4, TEXT};
    static const struct text values[] = {
        {"7", 1}, {"a\xC3\xAF", 3}, {"8", 1}, {NULL, 0}, {NULL, 0}, {"", 0},
    };

    return rows_of_values(call, types, 2, values, 3);
}

static void rows_travel(void **state)
{
    const struct db_call *call = claim();
    struct db_rows *got;

    (void)state;
    wire_put_rows(&bytes, rows_of(call), NULL);
    assert_int_equal(wire_frame(buffer_text(&bytes)), bytes.len);
    assert_int_equal(wire_get_kind(buffer_text(&bytes)), ANSWER_ROWS);
    got = wire_get_rows(buffer_text(&bytes), call);
    assert_non_null(got);
    buffer_clear(&bytes); /* they are a copy */
    buffer_append_string(&bytes, "something else");
    assert_int_equal(db_rows_count(got), 3);
    assert_int_equal(rows_columns(got), 2);
    assert_int_equal(db_int(got, 0, 0), 7);
    assert_text(db_text(got, 0, 1), "a\xC3\xAF");
    assert_int_equal(db_int(got, 1, 0), 8);
    assert_true(db_is_null(got, 1, 1));
    assert_int_equal(db_int_or(got, 2, 0, -1), -1);
    assert_text(db_text(got, 2, 1), "");
    assert_int_equal(db_rows_error(got, NULL), OK);
    (void)db_int(got, 0, 1); /* types, too */
    assert_int_equal(db_rows_error(got, NULL), ERR_SCHEMA);
}

static void parts_of_rows_travel(void **state)
{
    const struct db_call *call = claim();
    struct rows_part part = {.rows = (size_t[]){1, 0}, .count = 2, .skip = 1};
    struct db_rows *got;

    (void)state;
    wire_put_rows(&bytes, rows_of(call), &part);
    got = wire_get_rows(buffer_text(&bytes), call);
    assert_int_equal(db_rows_count(got), 2);
    assert_int_equal(rows_columns(got), 1);
    assert_true(db_is_null(got, 0, 0));
    assert_text(db_text(got, 1, 0), "a\xC3\xAF");

    buffer_clear(&bytes);
    part = (struct rows_part){.rows = (size_t[]){0, 1}, .count = 2, .base = 6};
    wire_put_rows(&bytes, rows_of(call), &part);
    got = wire_get_rows(buffer_text(&bytes), call);
    assert_int_equal(db_int(got, 0, 0), 1);
    assert_int_equal(db_int(got, 1, 0), 2);

    buffer_clear(&bytes);
    part = (struct rows_part){.rows = (size_t[]){0}, .count = 0, .skip = 1};
    wire_put_rows(&bytes, rows_of(call), &part);
    got = wire_get_rows(buffer_text(&bytes), call);
    assert_int_equal(db_rows_count(got), 0);
    assert_int_equal(rows_columns(got), 1);
}

static void broken_rows_are_seen(void **state)
{
    static const uint32_t lies[] = {0, 1, 4, 5, 1 << 20, INT_MAX, UINT32_MAX - 1, UINT32_MAX};
    const struct db_call *call = claim();

    (void)state;
    wire_put_rows(&bytes, rows_of(call), NULL);
    for (size_t len = 4; len < bytes.len; len++) {
        char *part = exactly(bytes.data, len);

        assert_null(wire_get_rows((struct text){part, len}, call));
        free(part);
    }
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++)
        for (size_t at = ROWS_AT; at <= COLUMNS_AT; at += COLUMNS_AT - ROWS_AT) {
            char *lie = exactly(bytes.data, bytes.len);

            set_number(lie, at, lies[i]);
            assert_null(wire_get_rows((struct text){lie, bytes.len}, call));
            free(lie);
        }
    buffer_append_byte(&bytes, 'x');
    assert_null(wire_get_rows(buffer_text(&bytes), call));
}

static void failures_travel(void **state)
{
    struct failure failure = {.error = ERR_FENCED, .sqlstate = "OC001", .retry_ms = 7};
    struct failure got = {.error = OK};

    (void)state;
    snprintf(failure.detail, sizeof failure.detail, "because");
    wire_put_failure(&bytes, &failure);
    assert_int_equal(wire_get_kind(buffer_text(&bytes)), ANSWER_FAILURE);
    assert_true(wire_get_failure(buffer_text(&bytes), &got));
    assert_int_equal(got.error, ERR_FENCED);
    assert_string_equal(got.sqlstate, "OC001");
    assert_int_equal(got.retry_ms, 7);
    assert_string_equal(got.detail, "because");
    for (size_t len = 0; len < bytes.len; len++) {
        char *part = exactly(bytes.data, len);

        assert_false(wire_get_failure((struct text){part, len}, &got));
        free(part);
    }
    buffer_clear(&bytes);
    failure.error = OK; /* no failure is none */
    wire_put_failure(&bytes, &failure);
    assert_false(wire_get_failure(buffer_text(&bytes), &got));
    buffer_clear(&bytes);
    failure.error = ERR__MAX;
    wire_put_failure(&bytes, &failure);
    assert_false(wire_get_failure(buffer_text(&bytes), &got));
}

static void values_travel(void **state)
{
    enum { GIVEN, ABSENT, EMPTY, BINARY, COUNT };
    const struct text values[COUNT] = {
        TEXT_LITERAL("one"), TEXT_NONE, TEXT_LITERAL(""), {"\0\xff", 2}};
    struct text got[COUNT];

    (void)state;
    wire_put_values(&bytes, values, COUNT);
    assert_true(wire_get_values(buffer_text(&bytes), got, COUNT));
    assert_text(got[GIVEN], "one");
    assert_null(got[ABSENT].data);
    assert_text(got[EMPTY], "");
    assert_int_equal(got[BINARY].len, 2);
    assert_memory_equal(got[BINARY].data, values[BINARY].data, 2);
    assert_false(wire_get_values(buffer_text(&bytes), got, COUNT - 1));
    for (size_t len = 0; len < bytes.len; len++) {
        char *part = exactly(bytes.data, len);

        assert_false(wire_get_values((struct text){part, len}, got, COUNT));
        free(part);
    }
    bytes.data[BUILD_AT] ^= 1;
    assert_false(wire_get_values(buffer_text(&bytes), got, COUNT));
}

static void addresses_fit(void **state)
{
    struct sockaddr_un address;
    char directory[200];

    (void)state;
    assert_true(relay_address("/run/x", &address));
    assert_string_equal(address.sun_path, "/run/x/relay.sock");
    for (size_t len = 90; len < sizeof directory; len++) {
        memset(directory, 'd', len);
        directory[len] = '\0';
        assert_int_equal(relay_address(directory, &address),
                         len + strlen("/relay.sock") < sizeof address.sun_path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_call_travels, setup, teardown),
        cmocka_unit_test_setup_teardown(frames_are_told_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(no_part_of_a_frame_is_one, setup, teardown),
        cmocka_unit_test_setup_teardown(a_call_that_is_cut_is_broken, setup, teardown),
        cmocka_unit_test_setup_teardown(lengths_that_lie_are_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(another_build_is_seen_first, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_travel, setup, teardown),
        cmocka_unit_test_setup_teardown(parts_of_rows_travel, setup, teardown),
        cmocka_unit_test_setup_teardown(broken_rows_are_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(failures_travel, setup, teardown),
        cmocka_unit_test_setup_teardown(values_travel, setup, teardown),
        cmocka_unit_test_setup_teardown(addresses_fit, setup, teardown),
    };

    return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
