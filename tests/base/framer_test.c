/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "base/buffer.h"
#include "base/document.h"
#include "unit.h"

#define DEPTH 4

/* Feeds `stream` in pieces of `piece` bytes. What comes out is written as "V<value>" and
 * "B<dropped>" one behind the other, and what is left pending as "…<rest>". */
static const char *framed(struct text stream, size_t piece)
{
    static struct buffer out;
    struct document_framer framer = {0};
    struct buffer pending;
    size_t len;

    buffer_release(&out);
    buffer_init(&out, 1 << 16);
    buffer_init(&pending, 1 << 16);
    for (size_t at = 0; at < stream.len; at += piece) {
        enum document_frame frame;

        buffer_append(&pending, (struct text){stream.data + at,
                                              stream.len - at < piece ? stream.len - at : piece});
        while ((frame = document_framer_scan(&framer, buffer_text(&pending), DEPTH, &len)) !=
               FRAME_MORE) {
            assert_in_range(len, 1, pending.len);
            buffer_append_byte(&out, frame == FRAME_VALUE ? 'V' : 'B');
            buffer_append_byte(&out, '<');
            buffer_append(&out, (struct text){pending.data, len});
            buffer_append_byte(&out, '>');
            buffer_consume(&pending, len);
        }
    }
    buffer_append_byte(&out, '|');
    buffer_append(&out, buffer_text(&pending));
    buffer_release(&pending);
    return out.data;
}

/* However the bytes arrive, the same comes out. */
static void assert_framed(const char *stream, const char *wanted)
{
    for (size_t piece = 1; piece <= strlen(stream) + 1; piece++)
        assert_string_equal(framed(text_of(stream), piece), wanted);
}

static void one_value_per_line(void **state)
{
    (void)state;
    assert_framed("{\"a\":1}\n{\"b\":2}\n", "V<{\"a\":1}>V<\n{\"b\":2}>|\n");
    assert_framed("[1]\n", "V<[1]>|\n");
    assert_framed("\n\n  {}\n", "V<\n\n  {}>|\n");
    assert_framed("", "|");
    assert_framed(" \n ", "| \n ");
}

static void several_on_a_line(void **state)
{
    (void)state;
    assert_framed("{}{}[1] {\"x\":[]}", "V<{}>V<{}>V<[1]>V< {\"x\":[]}>|");
}

static void values_of_several_lines(void **state)
{
    (void)state;
    assert_framed("{\n  \"a\": 1,\n  \"b\": [\n    true\n  ]\n}\n{}\n",
                  "V<{\n  \"a\": 1,\n  \"b\": [\n    true\n  ]\n}>V<\n{}>|\n");
    assert_framed("{\r\n\"a\"\r\n:\r\n1\r\n}", "V<{\r\n\"a\"\r\n:\r\n1\r\n}>|");
}

static void brackets_within_strings(void **state)
{
    (void)state;
    assert_framed("{\"a}{\":\"]\\\"}\\\\\"}{}", "V<{\"a}{\":\"]\\\"}\\\\\"}>V<{}>|");
    assert_framed("[\"\\\\\"]", "V<[\"\\\\\"]>|");
    assert_framed("[\"\\", "|[\"\\");
}

static void what_is_not_an_object_or_array(void **state)
{
    (void)state;
    assert_string_equal(framed(TEXT_LITERAL("hello {} x\n{}\n"), 99), "B<hello {} x\n>V<{}>|\n");
    assert_string_equal(framed(TEXT_LITERAL("\"text\"\n{}"), 99), "B<\"text\"\n>V<{}>|");
    assert_string_equal(framed(TEXT_LITERAL("}\n]\n,\n:\n42\n\xFF\n{}"), 99),
                        "B<}\n>B<]\n>B<,\n>B<:\n>B<42\n>B<\xFF\n>V<{}>|");
    assert_string_equal(framed(TEXT_LITERAL("no newline"), 99), "B<no newline>|");
    assert_string_equal(framed(TEXT_LITERAL("\n \nx\n{}"), 99), "B<\n \nx\n>V<{}>|");
}

static void a_newline_in_a_string_ends_it(void **state)
{
    (void)state;
    assert_framed("{\"a\":\"never closed}\n{\"b\":1}\n",
                  "B<{\"a\":\"never closed}\n>V<{\"b\":1}>|\n");
    assert_framed("{\"a\\\n{}", "B<{\"a\\\n>V<{}>|");
}

/* What was cut off does not take its successor along. */
static void a_value_cut_off_by_the_next_line(void **state)
{
    (void)state;
    assert_framed("{\"a\":1\n{\"b\":2}\n", "B<{\"a\":1\n>V<{\"b\":2}>|\n");
    assert_framed("{\"a\":[1,2]\n{\"b\":2}\n", "B<{\"a\":[1,2]\n>V<{\"b\":2}>|\n");
    assert_framed("{\"a\":\n\"x\"\n{}", "B<{\"a\":\n\"x\"\n>V<{}>|");
    assert_framed("[{}\n[]", "B<[{}\n>V<[]>|");
}

static void too_deep(void **state)
{
    (void)state;
    assert_framed("[[[[]]]]", "V<[[[[]]]]>|");
    assert_string_equal(framed(TEXT_LITERAL("[[[[[]]]]]\n{}"), 99), "B<[[[[[]]]]]\n>V<{}>|");
}

/* Whatever comes, each answer drops something, nothing is lost or made up, and what is called a
 * value begins and ends with a bracket. */
static void random_streams(void **state)
{
    static const char alphabet[] = "{}[]\",:\\1a \n";
    unsigned seed = 1;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        struct document_framer framer = {0};
        char stream[48];
        size_t len, at = 0, size = 0;

        for (; size < sizeof(stream); size++) {
            seed = seed * 1103515245U + 12345U;
            stream[size] = alphabet[(seed >> 16) % (sizeof(alphabet) - 1)];
        }
        for (;;) {
            struct text pending = {stream + at, size - at};
            enum document_frame frame = document_framer_scan(&framer, pending, DEPTH, &len);

            if (frame == FRAME_MORE)
                break;
            assert_in_range(len, 1, pending.len);
            if (frame == FRAME_VALUE) {
                char last = pending.data[len - 1];
                char first = pending.data[strspn(pending.data, " \n")];

                assert_true((first == '{' || first == '[') && (last == '}' || last == ']'));
            }
            at += len;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_value_per_line),
        cmocka_unit_test(several_on_a_line),
        cmocka_unit_test(values_of_several_lines),
        cmocka_unit_test(brackets_within_strings),
        cmocka_unit_test(what_is_not_an_object_or_array),
        cmocka_unit_test(a_newline_in_a_string_ends_it),
        cmocka_unit_test(a_value_cut_off_by_the_next_line),
        cmocka_unit_test(too_deep),
        cmocka_unit_test(random_streams),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
