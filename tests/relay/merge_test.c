/* SPDX-License-Identifier: MIT
 *
 * Calls of several callers as one, and its rows given back: without a database.
 */
#include "db/merge.h"

#include <stdio.h>
#include <stdlib.h>

#include "db/internal.h"
#include "unit.h"

enum { INT4 = 23, TEXT = 25, INT8 = 20, TEXTS = 1009 };
enum { ACK_APP, ACK_LEGACY, ACK_AGENTS, ACK_SEQS, ACK_DELIVERIES, ACK_RESPONSES };
enum { COMMIT_EXECUTOR, COMMIT_ID = 6, COMMIT_STEP_OF = 16, COMMIT_ATTRIBUTES = 38 };

static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = arena_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

/* ---- calls ------------------------------------------------------------------------------------
 */

static struct db_call *new_call(enum statement statement)
{
    struct db_call *call = arena_alloc(arena, sizeof *call);

    db_call_init(call, arena, statement);
    return call;
}

/* Acknowledgements: all arrays have the same elements, so that one look tells all. */
static struct db_call *ack(const struct text *values, size_t count)
{
    struct db_call *call = new_call(STATEMENT_INBOX_ACK);

    db_add_string(call, "app");
    db_add_bool(call, true);
    for (unsigned i = ACK_AGENTS; i <= ACK_RESPONSES; i++)
        db_add_texts(call, values, count);
    return call;
}

static struct db_call *ack_one(const char *value)
{
    const struct text text = text_of(value);

    return ack(&text, 1);
}

static struct db_call *claim(const char *agent, const char *token)
{
    struct db_call *call = new_call(STATEMENT_INBOX_CLAIM);

    db_add_string(call, agent);
    db_add_string(call, "holder");
    db_add_null(call);
    for (int i = 0; i < 3; i++)
        db_add_int(call, 7);
    db_add_string(call, token);
    db_add_null(call);
    return call;
}

/* `count` workflows; every array is as long as they are many, but for the ordinals. */
static struct db_call *commit(size_t count, const int64_t *ordinals, size_t ordinal_count,
                              bool attributes)
{
    const struct statement_info *info = &statement_infos[STATEMENT_WORKFLOW_COMMIT];
    struct db_call *call = new_call(STATEMENT_WORKFLOW_COMMIT);
    struct text *values = arena_array(arena, count + 1, sizeof *values);

    for (size_t i = 0; i < count; i++)
        values[i] = text_of(arena_printf(arena, "w%zu", i));
    for (unsigned i = 0; i < info->param_count; i++)
        switch (info->merge_signs[i]) {
        case '=':
            db_add_string(call, "same");
            break;
        case '#':
            db_add_ints(call, ordinals, ordinal_count);
            break;
        case '?':
            if (attributes)
                db_add_texts(call, values, count);
            else
                db_add_null(call);
            break;
        default:
            db_add_texts(call, values, count);
        }
    return call;
}

static struct merge *merge_of(struct db_call *const *calls, size_t count)
{
    struct merge *merge = merge_new(arena, calls[0]);

    for (size_t i = 1; i < count; i++)
        assert_true(merge_add(merge, calls[i]));
    assert_int_equal(merge_count(merge), count);
    return merge;
}

static struct db_call *joined(struct db_call *const *calls, size_t count)
{
    struct db_call *call = arena_alloc(arena, sizeof *call);

    merge_call(merge_of(calls, count), call);
    return call;
}

/* The elements, as they are read where the server writes such a literal. */
static struct text *elements(const struct db_call *call, unsigned parameter, size_t *ret_count)
{
    static const unsigned type = TEXTS;
    struct text *value = arena_alloc(arena, sizeof *value);
    struct db_rows *rows;
    struct text *texts;

    *value = text_of(call->values[parameter]);
    rows = rows_of_values(call, &type, 1, value, 1);
    texts = db_texts(rows, 0, 0, ret_count);
    assert_int_equal(db_rows_error(rows, NULL), OK);
    return texts;
}

#define WORDS(s)                                                                                   \
    {                                                                                              \
        "" s, sizeof(s) - 1                                                                        \
    }
static const struct text nasty[] = {
    WORDS(""),
    {NULL, 0},
    WORDS("NULL"),
    WORDS("a"),
    WORDS("a,b"),
    WORDS(","),
    WORDS("{}"),
    WORDS("{"),
    WORDS("}"),
    WORDS("\""),
    WORDS("\","),
    WORDS("\\"),
    WORDS("\\\""),
    WORDS("\\\\\"\"\\"),
    WORDS(" lead and trail "),
    WORDS("line\nbreak\ttab\x01"),
    WORDS("na\xC3\xAFve \xE6\xBC\xA2\xE5\xAD\x97 \xF0\x9F\xA6\x9E"),
    WORDS("{\"json\": \"with \\\"quotes\\\"\", \"n\": [1, null]}"),
};
#define NASTY_COUNT (sizeof nasty / sizeof nasty[0])

static void assert_element(struct text got, struct text expected)
{
    assert_int_equal(got.data == NULL, expected.data == NULL);
    if (expected.data)
        assert_true(text_equal(got, expected));
}

/* ---- joining ------------------------------------------------------------------------------------
 */

/* '+': whatever stands in the elements, and in front of and behind every other. */
static void arrays_are_joined(void **state)
{
    (void)state;
    for (size_t cut = 0; cut <= NASTY_COUNT; cut++) {
        struct db_call *calls[] = {ack(nasty, cut), ack(nasty + cut, NASTY_COUNT - cut),
                                   ack(nasty, NASTY_COUNT)};
        const struct db_call *call = joined(calls, 3);

        assert_int_equal(call->statement, STATEMENT_INBOX_ACK);
        assert_int_equal(call->count, 6);
        assert_string_equal(call->values[ACK_APP], "app");
        assert_string_equal(call->values[ACK_LEGACY], "t");
        for (unsigned i = ACK_AGENTS; i <= ACK_RESPONSES; i++) {
            size_t count;
            struct text *got = elements(call, i, &count);

            assert_int_equal(count, 2 * NASTY_COUNT);
            for (size_t at = 0; at < count; at++)
                assert_element(got[at], nasty[at % NASTY_COUNT]);
        }
    }
}

static void empty_arrays_are_joined(void **state)
{
    struct db_call *none = ack(NULL, 0), *one = ack_one("x");
    struct db_call *all[] = {none, none, none};
    struct db_call *first[] = {none, one};
    struct db_call *middle[] = {one, none, one};
    struct db_call *last[] = {one, none};

    (void)state;
    assert_string_equal(joined(all, 3)->values[ACK_SEQS], "{}");
    assert_string_equal(joined(first, 2)->values[ACK_SEQS], "{\"x\"}");
    assert_string_equal(joined(middle, 3)->values[ACK_SEQS], "{\"x\",\"x\"}");
    assert_string_equal(joined(last, 2)->values[ACK_SEQS], "{\"x\"}");
}

/* '*': a value becomes an element. */
static void values_become_arrays(void **state)
{
    (void)state;
    for (size_t i = 0; i < NASTY_COUNT; i++) {
        struct db_call *calls[] = {claim("first", nasty[i].data), claim("second", NULL),
                                   claim(nasty[i].data, "token")};
        const struct db_call *call = joined(calls, 3);
        size_t count;
        struct text *got = elements(call, 0, &count);

        assert_int_equal(call->statement, STATEMENT_INBOX_CLAIMS);
        assert_int_equal(call->count, statement_infos[STATEMENT_INBOX_CLAIMS].param_count);
        assert_int_equal(count, 3);
        assert_element(got[0], text_of("first"));
        assert_element(got[2], nasty[i]);
        got = elements(call, 6, &count);
        assert_int_equal(count, 3);
        assert_element(got[0], nasty[i]);
        assert_element(got[1], TEXT_NONE);
        assert_string_equal(call->values[2], "{NULL,NULL,NULL}");
        got = elements(call, 3, &count);
        assert_element(got[2], text_of("7"));
    }
}

/* '#': behind the elements of the calls before, null stays null. */
static void ordinals_are_moved(void **state)
{
    struct db_call *calls[] = {
        commit(2, (int64_t[]){1, 2, DB_INT_NULL, 2}, 4, false),
        commit(3, NULL, 0, false),
        commit(0, NULL, 0, false),
        commit(12, (int64_t[]){12, 1}, 2, false),
        commit(1, (int64_t[]){DB_INT_NULL, 1}, 2, false),
    };
    const struct db_call *call = joined(calls, 5);

    (void)state;
    assert_string_equal(call->values[COMMIT_STEP_OF], "{1,2,NULL,2,17,6,NULL,18}");
    assert_string_equal(call->values[COMMIT_EXECUTOR], "same");
}

/* '?': null where all are, else as many nulls as the call has elements. */
static void optional_arrays_are_joined(void **state)
{
    struct db_call *with = commit(2, NULL, 0, true), *without = commit(3, NULL, 0, false);
    struct db_call *none = commit(0, NULL, 0, false);
    struct db_call *nobody[] = {without, none, without};
    struct db_call *front[] = {with, none, without};
    struct db_call *behind[] = {without, with};

    (void)state;
    assert_null(joined(nobody, 3)->values[COMMIT_ATTRIBUTES]);
    assert_string_equal(joined(front, 3)->values[COMMIT_ATTRIBUTES],
                        "{\"w0\",\"w1\",NULL,NULL,NULL}");
    assert_string_equal(joined(behind, 2)->values[COMMIT_ATTRIBUTES],
                        "{NULL,NULL,NULL,\"w0\",\"w1\"}");
}

/* '=': what differs keeps apart, and the merge is as it was. */
static void what_must_be_equal_keeps_apart(void **state)
{
    struct db_call *first = ack_one("a"), *other = ack_one("b"), *null = ack_one("c");
    struct db_call *also_null = ack_one("d"), call;
    struct merge *merge = merge_new(arena, first);

    (void)state;
    other->values[ACK_APP] = "another";
    null->values[ACK_APP] = NULL;
    also_null->values[ACK_APP] = NULL;
    assert_false(merge_add(merge, other));
    assert_false(merge_add(merge, null));
    assert_int_equal(merge_count(merge), 1);
    assert_true(merge_add(merge, ack_one("e")));
    merge_call(merge, &call);
    assert_string_equal(call.values[ACK_SEQS], "{\"a\",\"e\"}");

    merge = merge_new(arena, null);
    assert_false(merge_add(merge, first));
    assert_true(merge_add(merge, also_null));
    merge_call(merge, &call);
    assert_null(call.values[ACK_APP]);
    null->values[ACK_APP] = "";
    merge = merge_new(arena, null);
    assert_false(merge_add(merge, also_null));
}

static void other_statements_keep_apart(void **state)
{
    struct merge *merge = merge_new(arena, ack_one("a"));
    struct db_call *broken = ack_one("b"), *null = ack_one("c"), *few = ack_one("d");

    (void)state;
    assert_false(merge_add(merge, claim("a", "t")));
    assert_false(merge_add(merge, commit(1, NULL, 0, false)));
    assert_false(merge_can_begin(new_call(STATEMENT_PING)));
    for (const char *const *at = (const char *const[]){"", "{", "}", "x", "{x", "x}", NULL}; *at;
         at++) {
        broken->values[ACK_SEQS] = *at;
        assert_false(merge_can_begin(broken));
        assert_false(merge_add(merge, broken));
    }
    null->values[ACK_SEQS] = NULL;
    assert_false(merge_can_begin(null));
    few->count--;
    assert_false(merge_can_begin(few));
    assert_int_equal(merge_count(merge), 1);
}

/* ---- limits
 * --------------------------------------------------------------------------------------- */

static void calls_are_limited(void **state)
{
    struct db_call *call = claim("a", "t"), one;
    struct merge *merge = merge_new(arena, call);
    size_t count;

    (void)state;
    for (int i = 1; i < 256; i++)
        assert_true(merge_add(merge, call));
    assert_false(merge_add(merge, call));
    assert_int_equal(merge_count(merge), 256);
    merge_call(merge, &one);
    (void)elements(&one, 0, &count);
    assert_int_equal(count, 256);
    /* without elements they are not many, but they are calls */
    call = ack(NULL, 0);
    merge = merge_new(arena, call);
    for (int i = 1; i < 256; i++)
        assert_true(merge_add(merge, call));
    assert_false(merge_add(merge, call));
}

static void elements_are_limited(void **state)
{
    struct text many[300];
    struct merge *merge;

    (void)state;
    for (size_t i = 0; i < 300; i++)
        many[i] = text_of("x,\"{");
    merge = merge_new(arena, ack(many, 200));
    assert_false(merge_add(merge, ack(many, 57)));
    assert_true(merge_add(merge, ack(many, 56)));
    assert_false(merge_add(merge, ack(many, 1)));
    assert_true(merge_add(merge, ack(many, 0)));
    merge = merge_new(arena, ack(many, 300)); /* alone it may be what it likes */
    assert_false(merge_add(merge, ack(many, 1)));
}

static void bytes_are_limited(void **state)
{
    size_t half = (size_t)1 << 19;
    char *large = arena_alloc(arena, 4 * half + 1);
    struct db_call *call, *rest;
    struct merge *merge;
    size_t bytes = 0;

    (void)state;
    memset(large, 'x', half);
    call = claim(large, "t");
    for (unsigned i = 0; i < call->count; i++)
        bytes += call->values[i] ? strlen(call->values[i]) : 0;
    merge = merge_new(arena, call);
    memset(large, 'x', 4 * half);
    large[2 * half - 2 * bytes + half] = '\0'; /* with the rest of its values just one MiB */
    rest = claim(large, "t");
    large[2 * half - 2 * bytes + half] = 'x';
    large[2 * half - 2 * bytes + half + 1] = '\0';
    assert_false(merge_add(merge, claim(large, "t")));
    assert_true(merge_add(merge, rest));
    assert_false(merge_add(merge, claim("a", "t")));
    memset(large, 'x', 4 * half);
    merge = merge_new(arena, claim(large, "t"));
    assert_false(merge_add(merge, claim("a", "t")));
}

/* ---- rows
 * ------------------------------------------------------------------------------------------- */

static struct db_rows *answer(const struct db_call *call, unsigned type,
                              const char *const *ordinals, size_t count)
{
    unsigned *types = arena_array(arena, 2, sizeof *types);
    struct text *values = arena_array(arena, 2 * count + 1, sizeof *values);

    types[0] = type;
    types[1] = TEXT;
    for (size_t i = 0; i < count; i++) {
        values[2 * i] = text_of(ordinals[i]);
        values[2 * i + 1] = text_of(arena_printf(arena, "%s/%zu", ordinals[i], i));
    }
    return rows_of_values(call, types, 2, values, count);
}

/* What the index-th caller gets, as it gets it: "first column,second column;…". */
static const char *part_of(struct merge *merge, size_t index, struct db_rows *rows,
                           const struct db_call *call)
{
    struct rows_part part = merge_part(merge, index);
    struct buffer bytes, line;
    struct db_rows *got;
    const char *shown;

    buffer_init(&bytes, SIZE_MAX);
    buffer_init(&line, SIZE_MAX);
    wire_put_rows(&bytes, rows, &part);
    assert_int_equal(wire_get_kind(buffer_text(&bytes)), ANSWER_ROWS);
    got = wire_get_rows(buffer_text(&bytes), call);
    assert_non_null(got);
    for (size_t row = 0; row < db_rows_count(got); row++)
        for (unsigned column = 0; column < rows_columns(got); column++)
            buffer_printf(&line, "%s%s", rows_value(got, row, column).data,
                          column + 1 < rows_columns(got) ? "," : ";");
    shown = arena_string(arena, line.data ? line.data : "");
    buffer_release(&bytes);
    buffer_release(&line);
    return shown;
}

static void rows_find_their_callers(void **state)
{
    struct db_call *calls[] = {claim("a", "t"), claim("b", "t"), claim("c", "t"), claim("d", "t")};
    struct merge *merge = merge_of(calls, 4);
    struct failure failure;
    /* in the order of the agents, say; and nothing for the third */
    struct db_rows *rows =
        answer(calls[0], INT4, (const char *const[]){"4", "2", "2", "1", "4"}, 5);

    (void)state;
    assert_int_equal(merge_split(merge, rows, &failure), OK);
    assert_string_equal(part_of(merge, 0, rows, calls[0]), "1/3;");
    assert_string_equal(part_of(merge, 1, rows, calls[1]), "2/1;2/2;");
    assert_string_equal(part_of(merge, 2, rows, calls[2]), "");
    assert_string_equal(part_of(merge, 3, rows, calls[3]), "4/0;4/4;");

    rows = answer(calls[0], INT4, NULL, 0);
    assert_int_equal(merge_split(merge, rows, &failure), OK);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(part_of(merge, i, rows, calls[i]), "");
}

/* Of a statement that merges into itself each counts from its own first. */
static void ordinals_are_moved_back(void **state)
{
    struct db_call *calls[] = {ack(nasty, 2), ack(NULL, 0), ack(nasty, 1), ack(NULL, 0),
                               ack(nasty, 3)};
    struct merge *merge = merge_of(calls, 5);
    struct failure failure;
    struct db_rows *rows =
        answer(calls[0], INT8, (const char *const[]){"6", "1", "3", "4", "2", "5"}, 6);

    (void)state;
    assert_int_equal(merge_split(merge, rows, &failure), OK);
    assert_string_equal(part_of(merge, 0, rows, calls[0]), "1,1/1;2,2/4;");
    assert_string_equal(part_of(merge, 1, rows, calls[1]), "");
    assert_string_equal(part_of(merge, 2, rows, calls[2]), "1,3/2;");
    assert_string_equal(part_of(merge, 3, rows, calls[3]), "");
    assert_string_equal(part_of(merge, 4, rows, calls[4]), "3,6/0;1,4/3;2,5/5;");
}

static void rows_for_nobody_are_an_error(void **state)
{
    struct db_call *calls[] = {ack(nasty, 2), ack(nasty, 1)};
    static const char *const wrong[] = {"0", "4", "-1", "9223372036854775807", NULL};
    struct failure failure;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct merge *merge = merge_of(calls, 2);
        struct db_rows *rows = answer(calls[0], INT8, (const char *const[]){"1", wrong[i], "2"}, 3);

        assert_int_not_equal(merge_split(merge, rows, &failure), OK);
    }
    /* a column that is no number is no ordinal either */
    assert_int_not_equal(merge_split(merge_of(calls, 2),
                                     answer(calls[0], TEXT, (const char *const[]){"1"}, 1),
                                     &failure),
                         OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(arrays_are_joined, setup, teardown),
        cmocka_unit_test_setup_teardown(empty_arrays_are_joined, setup, teardown),
        cmocka_unit_test_setup_teardown(values_become_arrays, setup, teardown),
        cmocka_unit_test_setup_teardown(ordinals_are_moved, setup, teardown),
        cmocka_unit_test_setup_teardown(optional_arrays_are_joined, setup, teardown),
        cmocka_unit_test_setup_teardown(what_must_be_equal_keeps_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(other_statements_keep_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(calls_are_limited, setup, teardown),
        cmocka_unit_test_setup_teardown(elements_are_limited, setup, teardown),
        cmocka_unit_test_setup_teardown(bytes_are_limited, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_find_their_callers, setup, teardown),
        cmocka_unit_test_setup_teardown(ordinals_are_moved_back, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_for_nobody_are_an_error, setup, teardown),
    };

    return cmocka_run_group_tests_name("merge", tests, NULL, NULL);
}
