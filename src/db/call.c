/* SPDX-License-Identifier: MIT
 *
 * The parameters of a call. Building is sticky: the first misuse is kept in the call and comes
 * out as the error of whoever runs it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "db/internal.h"

#define INT_TEXT_SIZE 24

void db_call_init(struct db_call *call, struct arena *arena, enum statement statement)
{
    *call = (struct db_call){.statement = statement, .arena = arena};
}

static void misuse(struct db_call *call, enum error error)
{
    if (call->error == OK)
        call->error = error;
}

static void add(struct db_call *call, const char *value)
{
    if (call->count == STATEMENT_PARAMS_MAX) {
        misuse(call, ERR_INTERNAL);
        return;
    }
    call->values[call->count++] = value;
}

/* libpq takes C strings: a NUL would cut the value off without anybody noticing. */
static bool has_nul(struct text value)
{
    return value.len > 0 && memchr(value.data, '\0', value.len) != NULL;
}

void db_add_text(struct db_call *call, struct text value)
{
    if (!value.data) {
        add(call, NULL);
        return;
    }
    if (has_nul(value))
        misuse(call, ERR_INVALID_ENCODING);
    add(call, arena_text(call->arena, value).data);
}

void db_add_string(struct db_call *call, const char *value)
{
    db_add_text(call, text_of(value));
}

void db_add_int(struct db_call *call, int64_t value)
{
    add(call, arena_printf(call->arena, "%" PRId64, value));
}

void db_add_null(struct db_call *call)
{
    add(call, NULL);
}

void db_add_bool(struct db_call *call, bool value)
{
    add(call, value ? "t" : "f");
}

/* ---- array literals (PostgreSQL manual, 8.15.6): every element quoted, so that no content can
 * be taken for structure or for NULL ---- */

static size_t quoted_size(struct text value)
{
    size_t size = value.len + 2;
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] == '"' || value.data[i] == '\\')
            size++;
    return size;
}

static char *put_quoted(char *out, struct text value)
{
    *out++ = '"';
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] == '"' || value.data[i] == '\\')
            *out++ = '\\';
        *out++ = value.data[i];
    }
    *out++ = '"';
    return out;
}

static char *put_string(char *out, const char *string)
{
    size_t len = strlen(string);
    memcpy(out, string, len);
    return out + len;
}

void db_add_texts(struct db_call *call, const struct text *values, size_t count)
{
    size_t size = sizeof "{}";
    for (size_t i = 0; i < count; i++) {
        if (values[i].data && has_nul(values[i]))
            misuse(call, ERR_INVALID_ENCODING);
        size += 1 + (values[i].data ? quoted_size(values[i]) : strlen("NULL"));
    }

    char *literal = arena_alloc(call->arena, size);
    char *out = put_string(literal, "{");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            *out++ = ',';
        out = values[i].data ? put_quoted(out, values[i]) : put_string(out, "NULL");
    }
    put_string(out, "}");
    add(call, literal);
}

void db_add_ints(struct db_call *call, const int64_t *values, size_t count)
{
    char *literal = arena_alloc(call->arena, sizeof "{}" + count * INT_TEXT_SIZE);
    char *out = put_string(literal, "{");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            *out++ = ',';
        if (values[i] == DB_INT_NULL)
            out = put_string(out, "NULL");
        else
            out += snprintf(out, INT_TEXT_SIZE, "%" PRId64, values[i]);
    }
    put_string(out, "}");
    add(call, literal);
}

void db_add_bools(struct db_call *call, const bool *values, size_t count)
{
    char *literal = arena_alloc(call->arena, sizeof "{}" + 2 * count);
    char *out = put_string(literal, "{");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            *out++ = ',';
        *out++ = values[i] ? 't' : 'f';
    }
    put_string(out, "}");
    add(call, literal);
}
