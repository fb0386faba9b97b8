/* SPDX-License-Identifier: MIT
 *
 * Reading an answer: typed by the column's type, and sticky.
 */
#include <stdio.h>
#include <stdlib.h>

#include "db/internal.h"

/* Type OIDs that never change (PostgreSQL: pg_type.dat). */
enum {
    OID_BOOL = 16,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_OID = 26,
    OID_TEXT_ARRAY = 1009,
    OID_VARCHAR_ARRAY = 1015
};

/* As libpq has them, or, where the relay answered, as values. */
struct db_rows {
    struct arena *arena;
    const struct statement_info *info;
    PGresult *result; /* NULL: what follows */
    const unsigned *types;
    unsigned columns;
    const struct text *values; /* row by row */
    size_t count;
    struct failure failure; /* the first; error OK: none */
};

static void clear_result(void *result)
{
    PQclear(result);
}

struct db_rows *rows_take(struct arena *arena, struct item *item)
{
    struct db_rows *rows = arena_alloc(arena, sizeof *rows);
    *rows = (struct db_rows){.arena = arena, .info = item->info, .result = item->result};
    arena_defer(arena, clear_result, item->result);
    item->result = NULL;
    return rows;
}

struct db_rows *rows_of_values(const struct db_call *call, const unsigned *types, unsigned columns,
                               const struct text *values, size_t count)
{
    struct db_rows *rows = arena_alloc(call->arena, sizeof *rows);
    *rows = (struct db_rows){
        .arena = call->arena,
        .info = &statement_infos[call->statement],
        .types = types,
        .columns = columns,
        .values = values,
        .count = count,
    };
    return rows;
}

/* Arguments of PQgetvalue are int; what does not fit is out of range for it, too. */
static int column_index(unsigned column)
{
    return column > INT32_MAX ? -1 : (int)column;
}

static void fault(struct db_rows *rows, enum error error, unsigned column, const char *what)
{
    if (rows->failure.error == OK)
        failure_set(&rows->failure, error, "%s: column %u %s", rows->info->name, column, what);
}

unsigned rows_columns(const struct db_rows *rows)
{
    return rows->result ? (unsigned)PQnfields(rows->result) : rows->columns;
}

unsigned rows_type(const struct db_rows *rows, unsigned column)
{
    return rows->result ? PQftype(rows->result, column_index(column)) : rows->types[column];
}

struct text rows_value(const struct db_rows *rows, size_t row, unsigned column)
{
    if (!rows->result)
        return rows->values[row * rows->columns + column];
    if (PQgetisnull(rows->result, (int)row, column_index(column)))
        return TEXT_NONE;
    return (struct text){
        PQgetvalue(rows->result, (int)row, column_index(column)),
        (size_t)PQgetlength(rows->result, (int)row, column_index(column)),
    };
}

size_t db_rows_count(const struct db_rows *rows)
{
    return rows->result ? (size_t)PQntuples(rows->result) : rows->count;
}

static bool exists(struct db_rows *rows, size_t row, unsigned column)
{
    if (column >= rows_columns(rows)) {
        fault(rows, ERR_SCHEMA, column, "is not in the answer; run gatewayctl migrate");
        return false;
    }
    if (row >= db_rows_count(rows)) {
        fault(rows, ERR_INTERNAL, column, "was asked for in a row that is not in the answer");
        return false;
    }
    return true;
}

bool db_is_null(const struct db_rows *rows, size_t row, unsigned column)
{
    return row >= db_rows_count(rows) || column >= rows_columns(rows) ||
           !rows_value(rows, row, column).data;
}

struct text db_text(struct db_rows *rows, size_t row, unsigned column)
{
    return exists(rows, row, column) ? rows_value(rows, row, column) : TEXT_NONE;
}

static int64_t read_int(struct db_rows *rows, size_t row, unsigned column)
{
    switch (rows_type(rows, column)) {
    case OID_INT8:
    case OID_INT4:
    case OID_INT2:
    case OID_OID:
        break;
    default:
        fault(rows, ERR_SCHEMA, column, "is not an integer; run gatewayctl migrate");
        return 0;
    }
    int64_t value = 0;
    if (text_int64(rows_value(rows, row, column), INT64_MIN, INT64_MAX, &value) != OK)
        fault(rows, ERR_INTERNAL, column, "is not a readable integer");
    return value;
}

int64_t db_int(struct db_rows *rows, size_t row, unsigned column)
{
    if (!exists(rows, row, column))
        return 0;
    if (!rows_value(rows, row, column).data) {
        fault(rows, ERR_INTERNAL, column, "is null where an integer is expected");
        return 0;
    }
    return read_int(rows, row, column);
}

int64_t db_int_or(struct db_rows *rows, size_t row, unsigned column, int64_t otherwise)
{
    if (!exists(rows, row, column) || !rows_value(rows, row, column).data)
        return otherwise;
    return read_int(rows, row, column);
}

bool db_bool(struct db_rows *rows, size_t row, unsigned column)
{
    if (!exists(rows, row, column))
        return false;
    if (rows_type(rows, column) != OID_BOOL) {
        fault(rows, ERR_SCHEMA, column, "is not a boolean; run gatewayctl migrate");
        return false;
    }
    if (!rows_value(rows, row, column).data) {
        fault(rows, ERR_INTERNAL, column, "is null where a boolean is expected");
        return false;
    }
    return rows_value(rows, row, column).data[0] == 't';
}

/* ---- text arrays, as the server writes them: {a,"b c",NULL}, one dimension ---- */

struct array_reader {
    const char *at;
    const char *end;
};

static size_t count_elements(struct text literal)
{
    size_t count = 1;
    bool quoted = false;
    for (size_t i = 0; i < literal.len; i++) {
        if (literal.data[i] == '\\')
            i++;
        else if (literal.data[i] == '"')
            quoted = !quoted;
        else if (literal.data[i] == ',' && !quoted)
            count++;
    }
    return count;
}

/* One element, into `out` (which is large enough for the rest of the literal). */
static bool read_element(struct array_reader *reader, char **out, struct text *ret_element)
{
    bool quoted = reader->at < reader->end && *reader->at == '"';
    char *start = *out;
    if (quoted)
        reader->at++;
    while (reader->at < reader->end) {
        char c = *reader->at;
        if (quoted ? c == '"' : (c == ',' || c == '}'))
            break;
        if (c == '{') /* only arrays of arrays have one outside of quotes */
            if (!quoted)
                return false;
        if (c == '\\' && ++reader->at == reader->end)
            return false;
        *(*out)++ = *reader->at++;
    }
    if (quoted && (reader->at == reader->end || *reader->at++ != '"'))
        return false;
    *ret_element = (struct text){start, (size_t)(*out - start)};
    *(*out)++ = '\0';
    if (!quoted && text_is(*ret_element, "NULL"))
        *ret_element = TEXT_NONE;
    return true;
}

static bool parse_array(struct arena *arena, struct text literal, struct text **ret_elements,
                        size_t *ret_count)
{
    if (literal.len < 2 || literal.data[0] != '{')
        return false;
    size_t limit = count_elements(literal);
    struct text *elements = arena_array(arena, limit, sizeof *elements);
    struct array_reader reader = {literal.data + 1, literal.data + literal.len};
    size_t count = 0;
    if (*reader.at == '}') {
        *ret_elements = elements;
        *ret_count = 0;
        return literal.len == 2;
    }
    char *out = arena_alloc(arena, literal.len + limit);
    for (;;) {
        if (count == limit || !read_element(&reader, &out, &elements[count++]) ||
            reader.at == reader.end)
            return false;
        char c = *reader.at++;
        if (c == '}')
            break;
        if (c != ',')
            return false;
    }
    *ret_elements = elements;
    *ret_count = count;
    return reader.at == reader.end;
}

struct text *db_texts(struct db_rows *rows, size_t row, unsigned column, size_t *ret_count)
{
    *ret_count = 0;
    if (!exists(rows, row, column))
        return NULL;
    unsigned type = rows_type(rows, column);
    if (type != OID_TEXT_ARRAY && type != OID_VARCHAR_ARRAY) {
        fault(rows, ERR_SCHEMA, column, "is not an array of texts; run gatewayctl migrate");
        return NULL;
    }
    if (!rows_value(rows, row, column).data) {
        fault(rows, ERR_INTERNAL, column, "is null where an array is expected");
        return NULL;
    }
    struct text *elements = NULL;
    if (!parse_array(rows->arena, rows_value(rows, row, column), &elements, ret_count)) {
        fault(rows, ERR_INTERNAL, column, "is not an array of one dimension");
        *ret_count = 0;
        return NULL;
    }
    return elements;
}

enum error db_rows_error(const struct db_rows *rows, struct failure *failure)
{
    if (rows->failure.error != OK && failure)
        *failure = rows->failure;
    return rows->failure.error;
}
