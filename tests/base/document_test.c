/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "base/document.h"
#include "unit.h"

static const struct document_limits limits = {4096, 8, 50};

static int start(void **state)
{
    *state = arena_new();
    return 0;
}

static int stop(void **state)
{
    arena_free(*state);
    return 0;
}

static struct document *parsed(struct arena *arena, const char *json)
{
    struct document *document = NULL;
    struct failure failure = {.error = OK};

    if (document_parse(arena, text_of(json), &limits, &failure, &document) != OK)
        fail_msg("%s: %s", json, failure.detail);
    return document;
}

/* Parsed and written again, it is the same, or what is given. */
static void good_texts(void **state)
{
    static const char *const rows[][2] = {
        {"null", NULL},
        {"true", NULL},
        {"false", NULL},
        {"0", NULL},
        {"-1", NULL},
        {"9223372036854775807", NULL},
        {"-9223372036854775808", NULL},
        {"9007199254740993", NULL}, /* a double would lose it */
        {"1.0", NULL},
        {"0.10", NULL},
        {"-0.0", NULL},
        {"1E5", NULL},
        {"1e+5", NULL},
        {"1.7976931348623157e308", NULL},
        {"5e-324", NULL},
        {"0e-5", NULL},
        {"0.1000000000000000055511151231257827", NULL},
        {"\"\"", NULL},
        {"\"a/b\"", NULL},
        {"\"a\\/b\"", "\"a/b\""},
        {"\"\\\"\\\\\\b\\f\\n\\r\\t\"", NULL},
        {"\"\\u0001\\u001f\"", NULL},
        {"\"\\u0041\\u00e9\\u20ac\"", "\"A\xC3\xA9\xE2\x82\xAC\""},
        {"\"\\ud83d\\uDE00\"", "\"\xF0\x9F\x98\x80\""},
        {"\"\\uffff\\ufffe\"", "\"\xEF\xBF\xBF\xEF\xBF\xBE\""},
        {"\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\x7F\"", NULL},
        {"\"\\ud7ff\\ue000\"", "\"\xED\x9F\xBF\xEE\x80\x80\""},
        {"[]", NULL},
        {"{}", NULL},
        {" \t\r\n[ ] \n", "[]"},
        {"[1,[2,[3]],{}]", NULL},
        {"{\"b\":1,\"a\":{\"b\":null},\"\":[]}", NULL}, /* the order of keys is kept */
        {"{ \"a\" : 1 , \"b\" : [ true , null ] }", "{\"a\":1,\"b\":[true,null]}"},
        {"[[[[[[[[]]]]]]]]", NULL},
        {"[{\"a\":1},{\"a\":2}]", NULL}, /* the same key in two objects */
        {"{\"a\":{\"a\":{\"a\":1}}}", NULL},
        {"{\"a\":1,\"A\":2,\"a \":3}", NULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const char *wanted = rows[i][1] != NULL ? rows[i][1] : rows[i][0];
        struct text text = document_text(*state, parsed(*state, rows[i][0]));

        assert_string_equal(text.data, wanted);
        assert_int_equal(text.len, strlen(wanted));
    }
}

struct refusal {
    const char *json;
    enum error error;
    int at; /* the byte that is named */
};

static void assert_refused(struct arena *arena, struct text json, enum error error, int at)
{
    struct document *document = document_null(arena), *before = document;
    struct failure failure = {.error = OK};
    enum error got = document_parse(arena, json, &limits, &failure, &document);
    char place[32];

    if (got != error)
        fail_msg("%.*s: %s instead of %s (%s)", (int)json.len, json.data, error_code(got),
                 error_code(error), failure.detail);
    assert_int_equal(failure.error, error);
    assert_ptr_equal(document, before);
    if (at < 0)
        return;
    (void)snprintf(place, sizeof(place), "at byte %d: ", at);
    if (strncmp(failure.detail, place, strlen(place)) != 0)
        fail_msg("%.*s: \"%s\" instead of \"%s\"", (int)json.len, json.data, failure.detail, place);
}

static void bad_grammar(void **state)
{
    static const char *const rows[] = {
        "",
        "^",
        " ",
        "[",
        "{",
        "]",
        "}",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[,]",
        "[1 2]",
        "[1:2]",
        "[}",
        "{]",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{,}",
        "{1:2}",
        "{a:1}",
        "{'a':1}",
        "{\"a\" 1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":}",
        "{\"a\",\"b\"}",
        "{\"a\":1}}",
        "[]]",
        "[] []",
        "{}{}",
        "1 2",
        "nullnull",
        "null,",
        "nul",
        "NULL",
        "True",
        "truefalse",
        "tru",
        "undefined",
        "NaN",
        "Infinity",
        "-Infinity",
        "-",
        "+1",
        "01",
        "-01",
        "00",
        "1.",
        ".5",
        "1.e5",
        "1e",
        "1e+",
        "1e-",
        "1.5.5",
        "0x10",
        "1_000",
        "--1",
        "1a",
        "\"",
        "\"abc",
        "\"\\",
        "\"\\\"",
        "\"\\x\"",
        "\"\\'\"",
        "\"\\a\"",
        "\"\\U0041\"",
        "\"\\u\"",
        "\"\\u1\"",
        "\"\\u12g4\"",
        "\"\\u 123\"",
        "\"\\u+123\"",
        "\"a\nb\"",
        "\"a\tb\"",
        "\"a\x1F\"",
        "'a'",
        "[1,/**/2]",
        "// x\n1",
        "# x\n1",
        "\v1",
        "\f1",
        "1\v",
        "\xC2\xA0"
        "1",
        "\xE2\x80\xA8"
        "1",
        "[\"a\",\n4\n,1,",
        "{\"a\":1,,\"b\":2}",
        "[1,,2]",
        "{\"a\":\"b\"",
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        assert_refused(*state, text_of(rows[i]), ERR_INVALID_JSON, -1);
    assert_refused(*state, TEXT_NONE, ERR_INVALID_JSON, 0);
}

static void the_place_is_named(void **state)
{
    static const struct refusal rows[] = {
        {"", ERR_INVALID_JSON, 0},
        {"[1,2,x]", ERR_INVALID_JSON, 5},
        {"{\"a\":1} x", ERR_INVALID_JSON, 8},
        {"[1", ERR_INVALID_JSON, 2},
        {"\"a\\qb\"", ERR_INVALID_JSON, 3},
        {"{\"a\":tru}", ERR_INVALID_JSON, 5},
        {"[\"ab\xFF\"]", ERR_INVALID_ENCODING, 4},
        {"[[[[[[[[[1]]]]]]]]]", ERR_TOO_DEEP, 8},
        {"[1,99999999999999999999]", ERR_NUMBER_RANGE, 3},
        {"{\"a\":1,\"b\":2,\"a\":3}", ERR_DUPLICATE_KEY, 13},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        assert_refused(*state, text_of(rows[i].json), rows[i].error, rows[i].at);
}

static void bad_encoding(void **state)
{
    static const char *const bytes[] = {
        "\x80",
        "\xC0\x80",
        "\xC1\xBF",
        "\xE0\x80\xAF",
        "\xED\xA0\x80",
        "\xED\xBF\xBF",
        "\xF0\x80\x80\xAF",
        "\xF4\x90\x80\x80",
        "\xF8\x88\x80\x80\x80",
        "\xFF",
        "\xC3",
        "\xE2\x82",
        "\\ud800",
        "\\udc00",
        "\\udfff",
        "\\ud800x",
        "\\ud800\\n",
        "\\ud800\\u0041",
        "\\ud800\\ud800",
        "\\udc00\\ud800",
        "\\udc00\\udc00",
        "\\uDBFF\\uE000",
        "\\u0000",
        "a\\u0000b",
    };

    for (size_t i = 0; i < sizeof(bytes) / sizeof(*bytes); i++) {
        char json[64];

        (void)snprintf(json, sizeof(json), "\"%s\"", bytes[i]);
        assert_refused(*state, text_of(json), ERR_INVALID_ENCODING, -1);
        (void)snprintf(json, sizeof(json), "{\"x\":[\"%s\"]}", bytes[i]);
        assert_refused(*state, text_of(json), ERR_INVALID_ENCODING, -1);
        (void)snprintf(json, sizeof(json), "{\"%s\":1}", bytes[i]);
        assert_refused(*state, text_of(json), ERR_INVALID_ENCODING, -1);
    }
    assert_refused(*state, TEXT_LITERAL("\xEF\xBB\xBF{}"), ERR_INVALID_ENCODING, 0);
    assert_refused(*state, TEXT_LITERAL("\"a\0b\""), ERR_INVALID_ENCODING, 2);
    assert_refused(*state, TEXT_LITERAL("{}\0"), ERR_INVALID_ENCODING, 2);
    assert_refused(*state, TEXT_LITERAL("\0{}"), ERR_INVALID_ENCODING, 0);
    assert_refused(*state, TEXT_LITERAL("\xFF\xFE{\0}\0"), ERR_INVALID_ENCODING, 0);
    assert_refused(*state, TEXT_LITERAL("\"\\ud83d"), ERR_INVALID_ENCODING, -1);
}

static void numbers_out_of_range(void **state)
{
    static const char *const rows[] = {
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "1e309",
        "-1e309",
        "1.8e308",
        "1e999999999999999999999",
        "1e-400",
        "0.0001e-99999",
        "0e99999",
        "1e1001",
        "1e-1001",
        "123456789012345678901234567890",
    };
    char digits[512] = "0.";

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char json[64];

        assert_refused(*state, text_of(rows[i]), ERR_NUMBER_RANGE, 0);
        (void)snprintf(json, sizeof(json), "[%s]", rows[i]);
        assert_refused(*state, text_of(json), ERR_NUMBER_RANGE, 1);
    }
    memset(digits + 2, '1', 398);
    assert_non_null(parsed(*state, digits));
    memset(digits + 2, '1', 399);
    assert_refused(*state, text_of(digits), ERR_NUMBER_RANGE, 0);
}

static void what_was_stored_is_read(void **state)
{
    static const char *const rows[][2] = {
        {"100000000000000000000", "100000000000000000000"},
        {"[18446744073709551616,-9223372036854775809]",
         "[18446744073709551616,-9223372036854775809]"},
        {"{\"a\":9223372036854775808, \"b\" : 1e20}", "{\"a\":9223372036854775808,\"b\":1e20}"},
        {"[9223372036854775808,1.50e-0000000]", "[9223372036854775808,1.50]"},
        {"\"a\\u0000b\"", "\"a\xEF\xBF\xBD"
                          "b\""},
        {"{\"a\\u0000\":\"\\ud800\"}", "{\"a\xEF\xBF\xBD\":\"\xEF\xBF\xBD\"}"},
        {"\"\\\\u0000\\udc00\\ud83d\\ude00\"", "\"\\\\u0000\xEF\xBF\xBD\xF0\x9F\x98\x80\""},
        {"\"\\ud800\\ud83d\\ude00\\\"9223372036854775808\"",
         "\"\xEF\xBF\xBD\xF0\x9F\x98\x80\\\"9223372036854775808\""},
        {"[1,\"x\",{}]", "[1,\"x\",{}]"},
    };
    static const struct refusal refused[] = {
        {"1e400", ERR_NUMBER_RANGE, 0},
        {"[9223372036854775808,1e400]", ERR_NUMBER_RANGE, -1},
        {"[9223372036854775808", ERR_INVALID_JSON, -1},
        {"\"\\u0000", ERR_INVALID_JSON, -1},
        {"\"\\ud800\\", ERR_INVALID_JSON, -1},
        {"\"\xFF\\u0000\"", ERR_INVALID_ENCODING, -1},
        {"{\"\\u0000\":1,\"\\ud800\":2}", ERR_DUPLICATE_KEY, -1},
    };
    char deep[600];
    struct document *document;
    struct failure failure;

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        assert_int_equal(document_parse_stored(*state, text_of(rows[i][0]), &failure, &document),
                         OK);
        assert_text(document_text(*state, document), rows[i][1]);
        assert_text(document_text(*state, document_copy(*state, document)), rows[i][1]);
    }
    assert_int_equal(document_parse_stored(*state, text_of(rows[0][0]), &failure, &document), OK);
    assert_int_equal(document_kind(document), DOCUMENT_DOUBLE);
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
        assert_int_equal(
            document_parse_stored(*state, text_of(refused[i].json), &failure, &document),
            refused[i].error);
    memset(deep, '[', 256);
    memset(deep + 256, ']', 256);
    assert_int_equal(document_parse_stored(*state, (struct text){deep, 512}, &failure, &document),
                     OK);
}

static void duplicate_keys(void **state)
{
    static const struct refusal rows[] = {
        {"{\"a\":1,\"a\":1}", ERR_DUPLICATE_KEY, 7},
        {"{\"a\":1,\"\\u0061\":2}", ERR_DUPLICATE_KEY, 7},
        {"{\"\\ud83d\\ude00\":1,\"\xF0\x9F\x98\x80\":2}", ERR_DUPLICATE_KEY, 18},
        {"{\"\\u00e9\":1,\"\xC3\xA9\":2}", ERR_DUPLICATE_KEY, 12},
        {"{\"\\/\\n\":1,\"/\\u000A\":2}", ERR_DUPLICATE_KEY, 10},
        {"{\"\":1,\"\":2}", ERR_DUPLICATE_KEY, 6},
        {"[{},{\"x\":{\"a\":1,\"b\":{\"a\":3},\"a\":2}}]", ERR_DUPLICATE_KEY, 28},
        {"{\"z\":1,\"b\":1,\"b\":2,\"a\":1,\"z\":2,\"a\":2}", ERR_DUPLICATE_KEY, 13},
        {"{\"a\":null,\"a\":null}", ERR_DUPLICATE_KEY, 10},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        assert_refused(*state, text_of(rows[i].json), rows[i].error, rows[i].at);
}

static void the_limits_are_exact(void **state)
{
    const struct document_limits tight = {10, 2, 3};
    struct failure failure;
    struct document *document;

#define PARSE(json) document_parse(*state, TEXT_LITERAL(json), &tight, &failure, &document)
    assert_int_equal(PARSE("\"12345678\""), OK);
    assert_int_equal(PARSE("\"123456789\""), ERR_TOO_LARGE);
    assert_int_equal(PARSE("[[]]"), OK);
    assert_int_equal(PARSE("[[[]]]"), ERR_TOO_DEEP);
    assert_int_equal(PARSE("{\"a\":[{}]}"), ERR_TOO_DEEP);
    assert_int_equal(PARSE("[1,2]"), OK);
    assert_int_equal(PARSE("[1,2,3]"), ERR_TOO_MANY_KEYS);
    assert_int_equal(PARSE("{\"a\":[]}"), OK);
#undef PARSE
}

static void without_limits_the_defaults_hold(void **state)
{
    char json[600];
    struct document *document;
    struct failure failure;

    memset(json, '[', DOCUMENT_DEPTH_MAX);
    memset(json + DOCUMENT_DEPTH_MAX, ']', DOCUMENT_DEPTH_MAX);
    assert_int_equal(document_parse(*state, (struct text){json, 2 * DOCUMENT_DEPTH_MAX}, NULL,
                                    &failure, &document),
                     OK);
    memset(json, '[', 600);
    assert_int_equal(document_parse(*state, (struct text){json, 600}, NULL, &failure, &document),
                     ERR_TOO_DEEP);
    {
        const struct document_limits deep = {100000, 100000, 100000};

        assert_int_equal(
            document_parse(*state, (struct text){json, 600}, &deep, &failure, &document),
            ERR_TOO_DEEP);
        memset(json, '[', 256);
        memset(json + 256, ']', 256);
        assert_int_equal(
            document_parse(*state, (struct text){json, 512}, &deep, &failure, &document), OK);
    }
}

static void reading(void **state)
{
    const struct document *d = parsed(
        *state, "{\"s\":\"x\",\"i\":-7,\"d\":1.5,\"t\":true,\"n\":null,\"a\":[1,null],\"o\":{}}");

    assert_int_equal(document_kind(d), DOCUMENT_OBJECT);
    assert_int_equal(document_count(d), 7);
    assert_text(document_key(d, 0), "s");
    assert_text(document_key(d, 6), "o");
    assert_null(document_key(d, 7).data);
    assert_int_equal(document_kind(document_get(d, "s")), DOCUMENT_STRING);
    assert_int_equal(document_kind(document_get(d, "i")), DOCUMENT_INT);
    assert_int_equal(document_kind(document_get(d, "d")), DOCUMENT_DOUBLE);
    assert_int_equal(document_kind(document_get(d, "t")), DOCUMENT_BOOL);
    assert_int_equal(document_kind(document_get(d, "n")), DOCUMENT_NULL);
    assert_int_equal(document_kind(document_get(d, "a")), DOCUMENT_ARRAY);
    assert_int_equal(document_kind(document_get(d, "o")), DOCUMENT_OBJECT);
    assert_int_equal(document_kind(document_get(d, "none")), DOCUMENT_ABSENT);
    assert_null(document_get(d, "none"));

    assert_text(document_get_string(d, "s"), "x");
    assert_null(document_get_string(d, "i").data);
    assert_null(document_get_string(d, "n").data);
    assert_int_equal(document_int(document_get(d, "i"), 3), -7);
    assert_int_equal(document_int(document_get(d, "d"), 3), 3);
    assert_int_equal(document_int(document_get(d, "s"), 3), 3);
    assert_int_equal(document_int(NULL, 3), 3);
    assert_true(document_bool(document_get(d, "t"), false));
    assert_true(document_bool(document_get(d, "i"), true));
    assert_false(document_bool(NULL, false));

    assert_int_equal(document_count(document_get(d, "a")), 2);
    assert_int_equal(document_int(document_at(document_get(d, "a"), 0), 0), 1);
    assert_int_equal(document_kind(document_at(document_get(d, "a"), 1)), DOCUMENT_NULL);
    assert_null(document_at(document_get(d, "a"), 2));
    assert_null(document_at(d, 0));
    assert_null(document_get(document_get(d, "a"), "x"));
    assert_null(document_get(document_get(d, "n"), "x"));
    assert_null(document_get(NULL, "x"));
    assert_int_equal(document_count(document_get(d, "s")), 0);
}

static void writing(void **state)
{
    struct arena *arena = *state;
    struct document *inner = document_put_int(document_object(arena), "k", INT64_MIN);
    struct document *d = document_object(arena);

    document_put_string(d, "slash", "a/b");
    document_put_text(d, "text", TEXT_LITERAL("\xC3\xA9\n\""));
    document_put_text(d, "absent", TEXT_NONE);
    document_put_string(d, "absent", NULL);
    document_put(d, "absent", NULL);
    document_put(d, "null", document_null(arena));
    document_put_bool(d, "yes", true);
    document_put_int(d, "big", INT64_MAX);
    document_put(d, "inner", inner);
    document_put(d, "again", inner);
    document_put(d, "list",
                 document_append(document_append(document_append(document_array(arena),
                                                                 document_from_bool(arena, false)),
                                                 NULL),
                                 document_from_text(arena, TEXT_NONE)));
    document_put(d, "text", document_from_text(arena, TEXT_LITERAL("replaced")));
    assert_text(document_text(arena, d),
                "{\"slash\":\"a/b\",\"text\":\"replaced\",\"null\":null,\"yes\":true,"
                "\"big\":9223372036854775807,\"inner\":{\"k\":-9223372036854775808},"
                "\"again\":{\"k\":-9223372036854775808},\"list\":[false,null]}");
    assert_text(document_text(arena, document_null(arena)), "null");
    assert_null(document_text(arena, NULL).data);
}

static void what_is_not_utf8_does_not_get_out(void **state)
{
    assert_text(
        document_text(*state, document_from_text(*state, TEXT_LITERAL("a\xFF\xC3(\0z\xE2\x82"))),
        "\"a\xEF\xBF\xBD\xEF\xBF\xBD(\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

static void json_of_the_database_stands_as_it_is(void **state)
{
    struct arena *arena = *state;
    struct document *d = document_object(arena);
    struct document *raw =
        document_from_json(arena, TEXT_LITERAL("{\"a\": 1.50,\n \"a\":\r\n[\"x/\\u0041\"]}"));

    document_put(d, "raw", raw);
    document_put(d, "none", document_from_json(arena, TEXT_NONE));
    assert_text(document_text(arena, d),
                "{\"raw\":{\"a\": 1.50,  \"a\":  [\"x/\\u0041\"]},\"none\":null}");
    assert_text(document_text(arena, document_copy(arena, d)),
                "{\"raw\":{\"a\": 1.50,  \"a\":  [\"x/\\u0041\"]},\"none\":null}");
    assert_int_equal(document_kind(raw), DOCUMENT_OBJECT);
    assert_null(document_string(raw).data);
    assert_null(document_get(raw, "a"));
    assert_int_equal(document_kind(document_from_json(arena, TEXT_LITERAL("\"s\""))),
                     DOCUMENT_STRING);
    assert_null(document_string(document_from_json(arena, TEXT_LITERAL("\"s\""))).data);
    assert_int_equal(document_kind(document_from_json(arena, TEXT_LITERAL(" []"))), DOCUMENT_ARRAY);
    assert_int_equal(document_kind(document_from_json(arena, TEXT_LITERAL("true"))), DOCUMENT_BOOL);
    assert_int_equal(document_kind(document_from_json(arena, TEXT_LITERAL("null"))), DOCUMENT_NULL);
    assert_int_equal(document_kind(document_from_json(arena, TEXT_LITERAL("-1"))), DOCUMENT_INT);
    assert_int_equal(document_kind(document_from_json(arena, TEXT_LITERAL("1e3"))),
                     DOCUMENT_DOUBLE);
}

/* The container keeps what was put in, also when the arena of that value is gone. */
static void values_live_as_long_as_their_container(void **state)
{
    struct arena *other = arena_new();
    struct document *d = document_object(*state);
    struct document *copy;

    document_put(d, "a", document_from_text(other, TEXT_LITERAL("alive")));
    document_put(d, "b", document_from_json(other, TEXT_LITERAL("[1]")));
    copy = document_copy(*state, parsed(other, "{\"x\":[1.50,null,{\"y\":\"z\"}]}"));
    arena_free(other);
    assert_text(document_text(*state, d), "{\"a\":\"alive\",\"b\":[1]}");
    assert_text(document_text(*state, copy), "{\"x\":[1.50,null,{\"y\":\"z\"}]}");
}

static void a_copy_is_independent(void **state)
{
    struct document *d = parsed(*state, "{\"a\":{\"b\":1}}");
    struct document *copy = document_copy(*state, d);

    document_put_int(document_get(copy, "a"), "b", 2);
    assert_text(document_text(*state, d), "{\"a\":{\"b\":1}}");
    assert_text(document_text(*state, copy), "{\"a\":{\"b\":2}}");
    assert_text(document_text(*state, document_copy(*state, NULL)), "null");
    assert_text(document_text(*state, document_copy(*state, document_null(*state))), "null");
}

/* Many keys, all different, then one twice: both found in reasonable time. */
static void many_keys(void **state)
{
    const struct document_limits wide = {1 << 20, 8, 30000};
    static char json[1 << 20];
    struct document *document;
    struct failure failure;
    size_t len = 1;

    json[0] = '{';
    for (int i = 0; i < 20000; i++)
        len += (size_t)snprintf(json + len, sizeof(json) - len, "\"key%d\":%d,", i, i);
    json[len - 1] = '}';
    assert_int_equal(document_parse(*state, (struct text){json, len}, &wide, &failure, &document),
                     OK);
    assert_int_equal(document_count(document), 20000);
    len += (size_t)snprintf(json + len - 1, sizeof(json) - len, ",\"key7\":1}") - 1;
    assert_int_equal(document_parse(*state, (struct text){json, len}, &wide, &failure, &document),
                     ERR_DUPLICATE_KEY);
}

/* The elements of `array`, each behind a '|', up to what is wrong with it. */
static const char *elements_of(const char *array)
{
    static char out[200];
    struct failure failure = {0};
    struct document_elements elements;
    enum error error = document_elements_begin(text_of(array), &failure, &elements);
    size_t len = 0;

    while (error == OK && !document_elements_end(&elements)) {
        struct text element = {0};

        error = document_elements_next(&elements, &failure, &element);
        len +=
            (size_t)snprintf(out + len, sizeof(out) - len, "|%.*s", (int)element.len, element.data);
    }
    (void)snprintf(out + len, sizeof(out) - len, "%s", error == OK ? "" : failure.detail);
    return out;
}

static void arrays_taken_apart(void **state)
{
    (void)state;
    assert_string_equal(elements_of(" [ ] "), "");
    assert_string_equal(elements_of("[1]"), "|1");
    assert_string_equal(elements_of("[1,[2,[3]],{\"a\":[4,5]} , 6]\n"),
                        "|1|[2,[3]]|{\"a\":[4,5]} | 6");
    assert_string_equal(elements_of("[\"a,]\\\"[\",\"\\\\\"]"), "|\"a,]\\\"[\"|\"\\\\\"");
    assert_string_equal(elements_of("[,1,]"), "||1|"); /* what is empty is no JSON */
    assert_string_equal(elements_of("[{]},1]"), "|{]}|1");
    assert_string_equal(elements_of(""), "this is no array");
    assert_string_equal(elements_of("{}"), "this is no array");
    assert_string_equal(elements_of("["), "at byte 1: the array does not end");
    assert_string_equal(elements_of("[1,[2]"), "|1|[2]at byte 6: the array does not end");
    assert_string_equal(elements_of("[1,\"]\\"), "|1|\"]\\at byte 6: the array does not end");
    assert_string_equal(elements_of("[1] ]"), "|1at byte 4: something stands behind the array");
    assert_string_equal(elements_of("[]]"), "at byte 2: something stands behind the array");
}

#define WITH_ARENA(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ARENA(good_texts),
        WITH_ARENA(bad_grammar),
        WITH_ARENA(the_place_is_named),
        WITH_ARENA(bad_encoding),
        WITH_ARENA(numbers_out_of_range),
        WITH_ARENA(what_was_stored_is_read),
        WITH_ARENA(duplicate_keys),
        WITH_ARENA(the_limits_are_exact),
        WITH_ARENA(without_limits_the_defaults_hold),
        WITH_ARENA(reading),
        WITH_ARENA(writing),
        WITH_ARENA(what_is_not_utf8_does_not_get_out),
        WITH_ARENA(json_of_the_database_stands_as_it_is),
        WITH_ARENA(values_live_as_long_as_their_container),
        WITH_ARENA(a_copy_is_independent),
        WITH_ARENA(many_keys),
        cmocka_unit_test(arrays_taken_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
