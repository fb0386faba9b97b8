/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/buffer.h"
#include "unit.h"

static void a_new_buffer_is_empty(void **state)
{
    struct buffer buffer;

    (void)state;
    buffer_init(&buffer, 10);
    assert_text(buffer_text(&buffer), "");
    buffer_consume(&buffer, 5);
    buffer_clear(&buffer);
    buffer_release(&buffer);
}

static void appending(void **state)
{
    struct buffer buffer;

    (void)state;
    buffer_init(&buffer, 100);
    buffer_append(&buffer, TEXT_LITERAL("ab"));
    buffer_append_byte(&buffer, 'c');
    buffer_append_string(&buffer, "de");
    buffer_printf(&buffer, "%d", 42);
    buffer_append(&buffer, TEXT_NONE);
    assert_text(buffer_text(&buffer), "abcde42");
    assert_int_equal(buffer.data[buffer.len], '\0');
    buffer_release(&buffer);
    assert_null(buffer.data);
}

static void the_limit_is_exact_and_sticky(void **state)
{
    struct buffer buffer;

    (void)state;
    buffer_init(&buffer, 4);
    buffer_append_string(&buffer, "abcd");
    assert_false(buffer.overflowed);
    buffer_append_byte(&buffer, 'e');
    assert_true(buffer.overflowed);
    assert_text(buffer_text(&buffer), "abcd");
    buffer_consume(&buffer, 3);
    buffer_append_byte(&buffer, 'x');
    assert_text(buffer_text(&buffer), "d");
    buffer_clear(&buffer);
    assert_false(buffer.overflowed);
    buffer_printf(&buffer, "%s", "wxyz");
    assert_text(buffer_text(&buffer), "wxyz");
    buffer_printf(&buffer, "%d", 1);
    assert_true(buffer.overflowed);
    assert_text(buffer_text(&buffer), "wxyz");
    buffer_release(&buffer);
}

static void consuming_more_than_there_is(void **state)
{
    struct buffer buffer;

    (void)state;
    buffer_init(&buffer, 10);
    buffer_append_string(&buffer, "abc");
    buffer_consume(&buffer, 99);
    assert_text(buffer_text(&buffer), "");
    buffer_append_string(&buffer, "def");
    assert_text(buffer_text(&buffer), "def");
    buffer_release(&buffer);
}

/* Against a plain model: what was appended and not consumed stands there, in order. */
static void against_a_model(void **state)
{
    static char model[20000];
    size_t from = 0, to = 0;
    struct buffer buffer;
    unsigned seed = 7;

    (void)state;
    buffer_init(&buffer, 5000);
    for (int round = 0; round < 20000; round++) {
        size_t count;

        seed = seed * 1103515245U + 12345U;
        count = (seed >> 16) % 300;
        if ((seed >> 8) % 2 == 0 && to - from + count <= 5000) {
            if (to + count > sizeof(model)) {
                memmove(model, model + from, to - from);
                to -= from;
                from = 0;
            }
            for (size_t i = 0; i < count; i++)
                model[to + i] = (char)('a' + (seed + i) % 26);
            buffer_append(&buffer, (struct text){model + to, count});
            to += count;
        } else {
            if (count > to - from)
                count = to - from;
            buffer_consume(&buffer, count);
            from += count;
        }
        assert_false(buffer.overflowed);
        assert_int_equal(buffer.len, to - from);
        assert_true(buffer.capacity + buffer.given <= 5001);
        if (buffer.len > 0)
            assert_memory_equal(buffer.data, model + from, buffer.len);
    }
    buffer_release(&buffer);
}

static void a_large_empty_buffer_is_given_back(void **state)
{
    struct buffer buffer;
    char *large = calloc(1, 1 << 20);

    (void)state;
    assert_non_null(large);
    buffer_init(&buffer, SIZE_MAX);
    buffer_append(&buffer, (struct text){large, 1 << 20});
    assert_int_equal(buffer.len, 1 << 20);
    buffer_consume(&buffer, 1 << 20);
    assert_null(buffer.data);
    assert_int_equal(buffer.capacity, 0);
    buffer_append_string(&buffer, "again");
    assert_text(buffer_text(&buffer), "again");
    buffer_release(&buffer);
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_buffer_is_empty),
        cmocka_unit_test(appending),
        cmocka_unit_test(the_limit_is_exact_and_sticky),
        cmocka_unit_test(consuming_more_than_there_is),
        cmocka_unit_test(against_a_model),
        cmocka_unit_test(a_large_empty_buffer_is_given_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
