/* SPDX-License-Identifier: MIT */
#include "base/error.h"
#include "unit.h"

static void every_row_is_sound(void **state)
{
    (void)state;
    for (int e = 0; e < ERR__MAX; e++) {
        enum error error = (enum error)e;

        assert_non_null(error_code(error));
        assert_true(strlen(error_code(error)) > 0);
        assert_true(strlen(error_phrase(error)) > 0);
        if (error == OK)
            continue;
        assert_in_range(error_http_status(error), 400, 599);
        assert_in_range(error_exit_code(error), 64, 78);
        for (const char *c = error_code(error); *c != '\0'; c++)
            assert_true((*c >= 'A' && *c <= 'Z') || *c == '_');
    }
}

static void ok_is_ok(void **state)
{
    (void)state;
    assert_string_equal(error_code(OK), "OK");
    assert_int_equal(error_http_status(OK), 200);
    assert_int_equal(error_exit_code(OK), 0);
}

static void rows_are_not_mixed_up(void **state)
{
    (void)state;
    assert_string_equal(error_code(ERR_TOO_LARGE), "TOO_LARGE");
    assert_int_equal(error_http_status(ERR_TOO_LARGE), 413);
    assert_int_equal(error_exit_code(ERR_CONFIG), 78);
    assert_int_equal(error_retry(ERR_IN_DOUBT), RETRY_SAME_KEY);
    assert_int_equal(error_retry(ERR_UNAVAILABLE), RETRY_LATER);
    assert_int_equal(error_retry(ERR_FORBIDDEN), RETRY_NEVER);
}

static void outside_of_the_table_is_internal(void **state)
{
    (void)state;
    assert_string_equal(error_code((enum error)ERR__MAX), "INTERNAL");
    assert_string_equal(error_code((enum error)9999), "INTERNAL");
}

static void a_failure_is_filled(void **state)
{
    struct failure failure;

    (void)state;
    memset(&failure, 'x', sizeof(failure));
    assert_int_equal(failure_set(&failure, ERR_IO, "file %d", 7), ERR_IO);
    assert_int_equal(failure.error, ERR_IO);
    assert_string_equal(failure.sqlstate, "");
    assert_string_equal(failure.detail, "file 7");
    assert_int_equal(failure_set(NULL, ERR_IO, "nobody asks"), ERR_IO);
}

static void a_long_detail_is_cut_between_characters(void **state)
{
    struct failure failure;
    char long_text[2 * sizeof(failure.detail)] = "x";

    (void)state;
    for (size_t i = 1; i + 2 < sizeof(long_text); i += 2)
        memcpy(long_text + i, "\xC3\xA9", 3);
    (void)failure_set(&failure, ERR_IO, "%s", long_text);
    assert_int_equal(strlen(failure.detail), sizeof(failure.detail) - 1);
    (void)failure_set(&failure, ERR_IO, "y%s", long_text);
    assert_int_equal(strlen(failure.detail), sizeof(failure.detail) - 2);
    assert_true(utf8_valid(text_of(failure.detail)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_sound),
        cmocka_unit_test(ok_is_ok),
        cmocka_unit_test(rows_are_not_mixed_up),
        cmocka_unit_test(outside_of_the_table_is_internal),
        cmocka_unit_test(a_failure_is_filled),
        cmocka_unit_test(a_long_detail_is_cut_between_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
