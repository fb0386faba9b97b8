/* SPDX-License-Identifier: MIT */
#include "db/merge.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/internal.h"

#define MERGE_CALLS_MAX    256
#define MERGE_ELEMENTS_MAX 256
#define MERGE_BYTES_MAX    1048576

struct member {
    const struct db_call *call;
    size_t elements; /* of the first array; 1 where the call is the element */
    size_t base;     /* how many elements stand before */
};

struct merge {
    struct arena *arena;
    const struct statement_info *info;
    struct member members[MERGE_CALLS_MAX];
    size_t count, elements, bytes;
    size_t *row_of;    /* rows in the order of members, and within them of the answer */
    size_t *first_row; /* of each member, and behind the last */
};

/* ---- array literals: ours (call.c), of one dimension --------------------------------------------
 */

static size_t literal_elements(const char *literal)
{
    size_t count = 1;
    bool quoted = false;

    if (literal[1] == '}')
        return 0;
    for (const char *at = literal; *at != '\0'; at++) {
        if (*at == '\\' && at[1] != '\0')
            at++;
        else if (*at == '"')
            quoted = !quoted;
        else if (*at == ',' && !quoted)
            count++;
    }
    return count;
}

static bool is_literal(const char *value)
{
    size_t len = value != NULL ? strlen(value) : 0;

    return len >= 2 && value[0] == '{' && value[len - 1] == '}';
}

static size_t call_elements(const struct statement_info *info, const struct db_call *call)
{
    const char *array = strchr(info->merge_signs, '+');

    return array != NULL ? literal_elements(call->values[array - info->merge_signs]) : 1;
}

static size_t call_bytes(const struct db_call *call)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < call->count; i++)
        bytes += call->values[i] != NULL ? strlen(call->values[i]) : 0;
    return bytes;
}

/* ---- which calls --------------------------------------------------------------------------------
 */

bool merge_can_begin(const struct db_call *call)
{
    const struct statement_info *info = &statement_infos[call->statement];

    if (info->merge_signs == NULL || call->count != info->param_count)
        return false;
    for (unsigned i = 0; i < call->count; i++) {
        char sign = info->merge_signs[i];

        if ((sign == '+' || sign == '#') && !is_literal(call->values[i]))
            return false;
        if (sign == '?' && call->values[i] != NULL && !is_literal(call->values[i]))
            return false;
    }
    return true;
}

static bool same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool fits(const struct merge *merge, const struct db_call *call)
{
    const struct db_call *first = merge->members[0].call;

    if (merge->count == MERGE_CALLS_MAX || call->statement != first->statement ||
        !merge_can_begin(call))
        return false;
    for (unsigned i = 0; i < call->count; i++)
        if (merge->info->merge_signs[i] == '=' && !same(call->values[i], first->values[i]))
            return false;
    return true;
}

static void add(struct merge *merge, const struct db_call *call, size_t elements, size_t bytes)
{
    merge->members[merge->count++] = (struct member){
        .call = call,
        .elements = elements,
        .base = merge->elements,
    };
    merge->elements += elements;
    merge->bytes += bytes;
}

struct merge *merge_new(struct arena *arena, const struct db_call *first)
{
    struct merge *merge = arena_alloc(arena, sizeof *merge);

    merge->arena = arena;
    merge->info = &statement_infos[first->statement];
    add(merge, first, call_elements(merge->info, first), call_bytes(first));
    return merge;
}

bool merge_add(struct merge *merge, const struct db_call *call)
{
    size_t elements, bytes;

    if (!fits(merge, call))
        return false;
    elements = call_elements(merge->info, call);
    bytes = call_bytes(call);
    if (merge->elements + elements > MERGE_ELEMENTS_MAX || merge->bytes + bytes > MERGE_BYTES_MAX)
        return false;
    add(merge, call, elements, bytes);
    return true;
}

size_t merge_count(const struct merge *merge)
{
    return merge->count;
}

/* ---- the one call
 * --------------------------------------------------------------------------------- */

static void separate(struct buffer *literal)
{
    if (literal->len > 1)
        buffer_append_byte(literal, ',');
}

/* The elements of an array literal. */
static void join(struct buffer *literal, const char *value)
{
    size_t len = strlen(value);

    if (len == 2)
        return;
    separate(literal);
    buffer_append(literal, (struct text){value + 1, len - 2});
}

static void join_nulls(struct buffer *literal, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        separate(literal);
        buffer_append_string(literal, "NULL");
    }
}

/* Ordinals of elements, moved behind those of the members before. */
static void join_moved(struct buffer *literal, const char *value, size_t base)
{
    for (const char *at = value + 1; *at != '}' && *at != '\0'; at += *at == ',') {
        separate(literal);
        if (*at == 'N')
            buffer_append_string(literal, "NULL");
        else
            buffer_printf(literal, "%jd", strtoimax(at, NULL, 10) + (intmax_t)base);
        at += strcspn(at, ",}");
    }
}

static bool all_null(const struct merge *merge, unsigned parameter)
{
    for (size_t i = 0; i < merge->count; i++)
        if (merge->members[i].call->values[parameter] != NULL)
            return false;
    return true;
}

static void append_member(struct buffer *literal, char sign, const struct member *member,
                          const char *value)
{
    if (sign == '#')
        join_moved(literal, value, member->base);
    else if (value != NULL)
        join(literal, value);
    else
        join_nulls(literal, member->elements);
}

static void release_buffer(void *buffer)
{
    buffer_release(buffer);
}

static const char *joined(const struct merge *merge, unsigned parameter)
{
    struct buffer *literal = arena_alloc(merge->arena, sizeof *literal);

    buffer_init(literal, SIZE_MAX);
    arena_defer(merge->arena, release_buffer, literal);
    buffer_append_byte(literal, '{');
    for (size_t i = 0; i < merge->count; i++)
        append_member(literal, merge->info->merge_signs[parameter], &merge->members[i],
                      merge->members[i].call->values[parameter]);
    buffer_append_byte(literal, '}');
    return literal->data;
}

/* An array of what each call has; a number is as good as its text. */
static void add_each(const struct merge *merge, unsigned parameter, struct db_call *call)
{
    struct text *values = arena_array(merge->arena, merge->count, sizeof *values);

    for (size_t i = 0; i < merge->count; i++)
        values[i] = text_of(merge->members[i].call->values[parameter]);
    db_add_texts(call, values, merge->count);
}

void merge_call(const struct merge *merge, struct db_call *ret_call)
{
    db_call_init(ret_call, merge->arena, merge->info->merge_into);
    for (unsigned i = 0; i < merge->info->param_count; i++) {
        char sign = merge->info->merge_signs[i];

        if (sign == '*')
            add_each(merge, i, ret_call);
        else if (sign == '=')
            ret_call->values[ret_call->count++] = merge->members[0].call->values[i];
        else if (sign == '?' && all_null(merge, i))
            db_add_null(ret_call);
        else
            ret_call->values[ret_call->count++] = joined(merge, i);
    }
}

/* ---- the rows
 * ------------------------------------------------------------------------------------- */

/* The member that has the element, or count: none. Members stand in the order of their bases. */
static size_t member_of(const struct merge *merge, int64_t ordinal)
{
    size_t low = 0, high = merge->count;

    if (ordinal < 1 || (uint64_t)ordinal > merge->elements)
        return merge->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (merge->members[middle].base < (uint64_t)ordinal)
            low = middle;
        else
            high = middle;
    }
    return low;
}

enum error merge_split(struct merge *merge, struct db_rows *rows, struct failure *failure)
{
    size_t count = db_rows_count(rows);
    size_t *owner = arena_array(merge->arena, count + 1, sizeof *owner);
    size_t *next;
    enum error error;

    merge->row_of = arena_array(merge->arena, count + 1, sizeof *merge->row_of);
    merge->first_row = arena_array(merge->arena, merge->count + 1, sizeof *merge->first_row);
    next = arena_array(merge->arena, merge->count + 1, sizeof *next);
    for (size_t row = 0; row < count; row++) {
        owner[row] = member_of(merge, db_int(rows, row, 0));
        if (owner[row] == merge->count)
            return failure_set(failure, ERR_CARDINALITY, "%s: a row for nobody", merge->info->name);
        merge->first_row[owner[row] + 1]++;
    }
    error = db_rows_error(rows, failure);
    if (error != OK)
        return error;
    for (size_t i = 0; i < merge->count; i++) {
        merge->first_row[i + 1] += merge->first_row[i];
        next[i] = merge->first_row[i];
    }
    for (size_t row = 0; row < count; row++)
        merge->row_of[next[owner[row]]++] = row;
    return OK;
}

struct rows_part merge_part(const struct merge *merge, size_t index)
{
    bool keeps_ordinal = merge->info == &statement_infos[merge->info->merge_into];
    size_t first = merge->first_row[index];

    return (struct rows_part){
        .rows = &merge->row_of[first],
        .count = merge->first_row[index + 1] - first,
        .skip = keeps_ordinal ? 0 : 1,
        .base = keeps_ordinal ? merge->members[index].base : 0,
    };
}
