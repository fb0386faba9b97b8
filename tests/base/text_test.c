/* SPDX-License-Identifier: MIT */
#include "base/text.h"
#include "unit.h"

static void absent_is_not_empty(void **state)
{
    (void)state;
    assert_false(text_equal(TEXT_NONE, TEXT_LITERAL("")));
    assert_true(text_equal(TEXT_NONE, text_of(NULL)));
    assert_true(text_is(TEXT_LITERAL(""), ""));
    assert_false(text_is(TEXT_NONE, ""));
    assert_false(text_starts(TEXT_NONE, ""));
}

static void comparing(void **state)
{
    (void)state;
    assert_true(text_equal(TEXT_LITERAL("a\0b"), TEXT_LITERAL("a\0b")));
    assert_false(text_equal(TEXT_LITERAL("a\0b"), TEXT_LITERAL("a\0c")));
    assert_false(text_is(TEXT_LITERAL("ab"), "a"));
    assert_true(text_starts(TEXT_LITERAL("agent:alice"), "agent:"));
    assert_false(text_starts(TEXT_LITERAL("age"), "agent:"));
}

static void numbers(void **state)
{
    static const struct {
        const char *text;
        enum error error;
        int64_t value;
    } rows[] = {
        {"0", OK, 0},
        {"-0", OK, 0},
        {"007", OK, 7},
        {"-12", OK, -12},
        {"9223372036854775807", OK, INT64_MAX},
        {"-9223372036854775808", OK, INT64_MIN},
        {"9223372036854775808", ERR_NUMBER_RANGE, 0},
        {"-9223372036854775809", ERR_NUMBER_RANGE, 0},
        {"99999999999999999999999", ERR_NUMBER_RANGE, 0},
        {"", ERR_INVALID_REQUEST, 0},
        {"-", ERR_INVALID_REQUEST, 0},
        {"+1", ERR_INVALID_REQUEST, 0},
        {" 1", ERR_INVALID_REQUEST, 0},
        {"1 ", ERR_INVALID_REQUEST, 0},
        {"1e3", ERR_INVALID_REQUEST, 0},
        {"0x10", ERR_INVALID_REQUEST, 0},
        {"99999999999999999999999x", ERR_INVALID_REQUEST, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        int64_t value = 42;
        enum error error = text_int64(text_of(rows[i].text), INT64_MIN, INT64_MAX, &value);

        assert_int_equal(error, rows[i].error);
        assert_int_equal(value, error == OK ? rows[i].value : 42);
    }
}

static void numbers_within_bounds(void **state)
{
    int64_t value = 42;

    (void)state;
    assert_int_equal(text_int64(TEXT_LITERAL("5"), 5, 6, &value), OK);
    assert_int_equal(text_int64(TEXT_LITERAL("4"), 5, 6, &value), ERR_NUMBER_RANGE);
    assert_int_equal(text_int64(TEXT_LITERAL("7"), 5, 6, &value), ERR_NUMBER_RANGE);
    assert_int_equal(text_int64(TEXT_NONE, 5, 6, &value), ERR_INVALID_REQUEST);
    assert_int_equal(value, 5);
}

static void utf8(void **state)
{
    static const char *const good[] = {
        "",
        "plain",
        "\x7F",
        "\xC2\x80",
        "\xDF\xBF",
        "\xE0\xA0\x80",
        "\xED\x9F\xBF",
        "\xEE\x80\x80",
        "\xEF\xBF\xBF",
        "\xF0\x90\x80\x80",
        "\xF4\x8F\xBF\xBF",
    };
    static const char *const bad[] = {
        "\x80",             /* a continuation alone */
        "\xBF",             /* the same */
        "\xC0\x80",         /* overlong NUL */
        "\xC1\xBF",         /* overlong */
        "\xE0\x80\x80",     /* overlong */
        "\xE0\x9F\xBF",     /* overlong */
        "\xF0\x8F\xBF\xBF", /* overlong */
        "\xED\xA0\x80",     /* high surrogate */
        "\xED\xBF\xBF",     /* low surrogate */
        "\xF4\x90\x80\x80", /* above U+10FFFF */
        "\xF5\x80\x80\x80",
        "\xFE",
        "\xFF",
        "\xC3",
        "\xE2\x82",
        "\xF0\x9F\x98",
        "\xC3\x28",
        "\xE2\x28\xA1",
        "\xE2\x82\x28",
        "\xF0\x9F\x98",
        "\xF0\x28\x8C\xBC",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        assert_true(utf8_valid(text_of(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        char embedded[16] = "ab";

        assert_false(utf8_valid(text_of(bad[i])));
        memcpy(embedded + 2, bad[i], strlen(bad[i]) + 1);
        assert_int_equal(utf8_valid_prefix(text_of(embedded)), 2);
    }
    assert_false(utf8_valid(TEXT_LITERAL("a\0b")));
    assert_true(utf8_valid(TEXT_NONE));
}

/* Every code point, encoded by the book, is good; every surrogate is not. */
static void utf8_every_code_point(void **state)
{
    (void)state;
    for (uint32_t c = 1; c < 0x110000; c++) {
        char bytes[4];
        size_t len;

        if (c < 0x80) {
            bytes[0] = (char)c;
            len = 1;
        } else if (c < 0x800) {
            bytes[0] = (char)(0xC0 | c >> 6);
            bytes[1] = (char)(0x80 | (c & 63));
            len = 2;
        } else if (c < 0x10000) {
            bytes[0] = (char)(0xE0 | c >> 12);
            bytes[1] = (char)(0x80 | (c >> 6 & 63));
            bytes[2] = (char)(0x80 | (c & 63));
            len = 3;
        } else {
            bytes[0] = (char)(0xF0 | c >> 18);
            bytes[1] = (char)(0x80 | (c >> 12 & 63));
            bytes[2] = (char)(0x80 | (c >> 6 & 63));
            bytes[3] = (char)(0x80 | (c & 63));
            len = 4;
        }
        if (utf8_valid((struct text){bytes, len}) == (c >= 0xD800 && c <= 0xDFFF))
            fail_msg("U+%04X", c);
    }
}

static struct text repeated(char *memory, size_t count)
{
    memset(memory, 'a', count);
    return (struct text){memory, count};
}

static void identifiers(void **state)
{
    char memory[MESSAGE_ID_MAX + 1];

    (void)state;
    assert_true(text_is_agent_id(TEXT_LITERAL("alice")));
    assert_true(text_is_agent_id(TEXT_LITERAL("9.a_b-C")));
    assert_true(text_is_agent_id(repeated(memory, AGENT_ID_MAX)));
    assert_false(text_is_agent_id(repeated(memory, AGENT_ID_MAX + 1)));
    assert_false(text_is_agent_id(TEXT_LITERAL("")));
    assert_false(text_is_agent_id(TEXT_NONE));
    assert_false(text_is_agent_id(TEXT_LITERAL(".hidden")));
    assert_false(text_is_agent_id(TEXT_LITERAL("-rf")));
    assert_false(text_is_agent_id(TEXT_LITERAL("a:b")));
    assert_false(text_is_agent_id(TEXT_LITERAL("a b")));
    assert_false(text_is_agent_id(TEXT_LITERAL("a/b")));
    assert_false(text_is_agent_id(TEXT_LITERAL("a\0b")));
    assert_false(text_is_agent_id(TEXT_LITERAL("\xC3\xA9t\xC3\xA9")));

    assert_true(text_is_message_key(TEXT_LITERAL("a:b/c?d=#!~")));
    assert_true(text_is_message_key(repeated(memory, MESSAGE_KEY_MAX)));
    assert_false(text_is_message_key(repeated(memory, MESSAGE_KEY_MAX + 1)));
    assert_false(text_is_message_key(TEXT_LITERAL("")));
    assert_false(text_is_message_key(TEXT_LITERAL("a b")));
    assert_false(text_is_message_key(TEXT_LITERAL("a\"b")));
    assert_false(text_is_message_key(TEXT_LITERAL("a\\b")));
    assert_false(text_is_message_key(TEXT_LITERAL("a\nb")));
    assert_false(text_is_message_key(TEXT_LITERAL("a\x7F")));
    assert_false(text_is_message_key(TEXT_LITERAL("\xC3\xA9")));

    assert_true(text_is_workflow_id(repeated(memory, WORKFLOW_ID_MAX)));
    assert_false(text_is_workflow_id(repeated(memory, WORKFLOW_ID_MAX + 1)));
    assert_true(text_is_workflow_id(TEXT_LITERAL("alice:key-1")));

    assert_true(text_is_message_id(repeated(memory, MESSAGE_ID_MAX)));
    assert_false(text_is_message_id(repeated(memory, MESSAGE_ID_MAX + 1)));
    assert_true(text_is_message_id(TEXT_LITERAL("a \"b\"/\\ \xC3\xA9 \xC2\xA0 \xE2\x82\xAC")));
    assert_false(text_is_message_id(TEXT_LITERAL("")));
    assert_false(text_is_message_id(TEXT_LITERAL("a\nb")));
    assert_false(text_is_message_id(TEXT_LITERAL("a\x7F")));
    assert_false(text_is_message_id(TEXT_LITERAL("a\xC2\x9B")));
    assert_false(text_is_message_id(TEXT_LITERAL("a\xC2")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_is_not_empty),
        cmocka_unit_test(comparing),
        cmocka_unit_test(numbers),
        cmocka_unit_test(numbers_within_bounds),
        cmocka_unit_test(utf8),
        cmocka_unit_test(utf8_every_code_point),
        cmocka_unit_test(identifiers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
