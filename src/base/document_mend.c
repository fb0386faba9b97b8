/* SPDX-License-Identifier: MIT */
#include "base/document_mend.h"

#include <stdlib.h>

#define REPLACEMENT "\\ufffd"

/* The code unit that \uXXXX at the start of `text` stands for; -1 where there is none. */
static int code_unit(struct text text)
{
    char digits[5] = "";

    if (text.len < 6 || text.data[0] != '\\' || text.data[1] != 'u')
        return -1;
    memcpy(digits, text.data + 2, 4);
    return strspn(digits, "0123456789abcdefABCDEF") == 4 ? (int)strtol(digits, NULL, 16) : -1;
}

static size_t copy(char *out, struct text text, size_t len)
{
    memcpy(out, text.data, len);
    return len;
}

/* At a backslash within a string: how many bytes it and what belongs to it are, written to `out`.
 */
static size_t mend_escape(struct text rest, char *out)
{
    int unit = code_unit(rest), low;

    if (unit < 0)
        return copy(out, rest, rest.len < 2 ? rest.len : 2);
    if (unit >= 0xD800 && unit <= 0xDBFF && rest.len >= 12) {
        low = code_unit((struct text){rest.data + 6, rest.len - 6});
        if (low >= 0xDC00 && low <= 0xDFFF)
            return copy(out, rest, 12);
    }
    if (unit == 0 || (unit >= 0xD800 && unit <= 0xDFFF))
        return copy(out, TEXT_LITERAL(REPLACEMENT), 6);
    return copy(out, rest, 6);
}

static size_t number_length(struct text rest)
{
    size_t len = 0;

    while (len < rest.len && rest.data[len] != '\0' && strchr("+-.0123456789eE", rest.data[len]))
        len++;
    return len;
}

static bool is_large_integer(struct text number)
{
    int64_t value;

    for (size_t i = 0; i < number.len; i++)
        if (strchr(".eE", number.data[i]))
            return false;
    return text_int64(number, INT64_MIN, INT64_MAX, &value) == ERR_NUMBER_RANGE;
}

struct text document_mend(struct arena *arena, struct text text)
{
    /* a marked integer has 19 digits or more, so the text grows by less than half */
    char *out = arena_alloc(arena, text.len + text.len / 2 + sizeof DOCUMENT_MEND_MARK);
    bool in_string = false;
    size_t len = 0, at = 0;

    while (at < text.len) {
        struct text rest = {text.data + at, text.len - at};
        size_t step = 1;

        if (in_string && *rest.data == '\\') {
            step = mend_escape(rest, out + len);
            len += step;
        } else if (!in_string && (step = number_length(rest)) > 0) {
            len += copy(out + len, rest, step);
            if (is_large_integer((struct text){rest.data, step}))
                len +=
                    copy(out + len, TEXT_LITERAL(DOCUMENT_MEND_MARK), strlen(DOCUMENT_MEND_MARK));
        } else {
            step = 1;
            in_string ^= *rest.data == '"';
            out[len++] = *rest.data;
        }
        at += step;
    }
    return (struct text){out, len};
}
