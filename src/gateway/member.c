/* SPDX-License-Identifier: MIT */
#include "gateway/member.h"

enum error member_text(const struct document *object, const char *key, struct failure *failure,
                       struct text *ret_text)
{
    const struct document *value = document_get(object, key);

    switch (document_kind(value)) {
    case DOCUMENT_ABSENT:
    case DOCUMENT_NULL:
        *ret_text = TEXT_NONE;
        return OK;
    case DOCUMENT_STRING:
        *ret_text = document_string(value);
        return OK;
    default:
        return failure_set(failure, ERR_INVALID_REQUEST, "%s must be a string", key);
    }
}

enum error member_int(const struct document *object, const char *key, int64_t otherwise,
                      struct failure *failure, int64_t *ret_value)
{
    const struct document *value = document_get(object, key);

    switch (document_kind(value)) {
    case DOCUMENT_ABSENT:
    case DOCUMENT_NULL:
        *ret_value = otherwise;
        return OK;
    case DOCUMENT_INT:
        *ret_value = document_int(value, otherwise);
        return OK;
    default:
        return failure_set(failure, ERR_INVALID_REQUEST, "%s must be a whole number", key);
    }
}
