/* SPDX-License-Identifier: MIT
 *
 * What every cmocka test includes, in the order cmocka wants it.
 */
#ifndef OPENCLAW_TESTS_UNIT_H
#define OPENCLAW_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"

#define assert_text(actual, expected)                                                              \
    do {                                                                                           \
        struct text assert_text_got = (actual);                                                    \
        const char *assert_text_wanted = (expected);                                               \
        assert_non_null(assert_text_got.data);                                                     \
        assert_int_equal(assert_text_got.len, strlen(assert_text_wanted));                         \
        assert_memory_equal(assert_text_got.data, assert_text_wanted, assert_text_got.len);        \
    } while (0)

#endif
