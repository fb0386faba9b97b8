/* SPDX-License-Identifier: MIT */
#include "base/arena.h"
#include "unit.h"

static char order[16];
static size_t order_len;

static void note(void *resource)
{
    order[order_len++] = *(const char *)resource;
}

static int start(void **state)
{
    order_len = 0;
    memset(order, 0, sizeof(order));
    *state = arena_new();
    return 0;
}

static int stop(void **state)
{
    arena_free(*state);
    return 0;
}

static void memory_is_zeroed_and_aligned(void **state)
{
    struct arena *arena = *state;

    for (size_t round = 0; round < 3; round++) {
        for (size_t size = 0; size < 3000; size += 7) {
            unsigned char *memory = arena_alloc(arena, size);

            assert_int_equal((uintptr_t)memory % sizeof(void *), 0);
            for (size_t i = 0; i < size; i++)
                assert_int_equal(memory[i], 0);
            memset(memory, 0xAA, size);
        }
        arena_reset(arena);
    }
}

static void allocations_do_not_overlap(void **state)
{
    struct arena *arena = *state;
    unsigned char *memory[200];

    for (size_t i = 0; i < 200; i++) {
        memory[i] = arena_alloc(arena, i * 13);
        memset(memory[i], (int)i, i * 13);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t k = 0; k < i * 13; k++)
            assert_int_equal(memory[i][k], i);
}

static void a_large_object_leaves_the_block_in_use(void **state)
{
    struct arena *arena = *state;
    char *before = arena_alloc(arena, 16);
    char *large = arena_alloc(arena, 1 << 20);
    char *after = arena_alloc(arena, 16);

    memset(large, 1, 1 << 20);
    *before = 2;
    *after = 3;
    assert_int_equal(large[0] + large[(1 << 20) - 1], 2);
}

static void copies(void **state)
{
    struct arena *arena = *state;
    struct text text = arena_text(arena, (struct text){"hello world", 5});

    assert_text(text, "hello");
    assert_int_equal(text.data[5], '\0');
    assert_null(arena_text(arena, TEXT_NONE).data);
    assert_text(arena_text(arena, TEXT_LITERAL("")), "");
    assert_string_equal(arena_string(arena, "abc"), "abc");
    assert_string_equal(arena_printf(arena, "%s-%d", "x", 7), "x-7");
    assert_int_equal(strlen(arena_printf(arena, "%20000d", 1)), 20000);
}

static void deferred_runs_last_first(void **state)
{
    struct arena *arena = *state;

    arena_defer(arena, note, arena_string(arena, "a"));
    arena_defer(arena, note, arena_string(arena, "b"));
    arena_defer(arena, note, arena_string(arena, "c"));
    arena_reset(arena);
    assert_string_equal(order, "cba");
    arena_reset(arena);
    assert_string_equal(order, "cba");
    arena_defer(arena, note, arena_string(arena, "d"));
    arena_free(arena);
    assert_string_equal(order, "cbad");
    *state = NULL;
}

static struct arena *nested;
static char letter_a[] = "a", letter_b[] = "b", letter_z[] = "z";

static void defer_again(void *resource)
{
    note(resource);
    arena_defer(nested, note, letter_z);
}

static void a_release_may_defer(void **state)
{
    nested = *state;
    arena_defer(nested, note, letter_a);
    arena_defer(nested, defer_again, letter_b);
    arena_reset(nested);
    assert_string_equal(order, "bza");
}

static void freeing_nothing(void **state)
{
    (void)state;
    arena_free(NULL);
}

#define WITH_ARENA(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ARENA(memory_is_zeroed_and_aligned),
        WITH_ARENA(allocations_do_not_overlap),
        WITH_ARENA(a_large_object_leaves_the_block_in_use),
        WITH_ARENA(copies),
        WITH_ARENA(deferred_runs_last_first),
        WITH_ARENA(a_release_may_defer),
        cmocka_unit_test(freeing_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
