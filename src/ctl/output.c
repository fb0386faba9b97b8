/* SPDX-License-Identifier: MIT
 *
 * What verbs answer, made of what the database said, and what their flags say.
 */
#include "base/clock.h"
#include "ctl/ctl.h"

#define INTERVAL_MIN_MS 20

struct document *ctl_time(const struct ctl *ctl, struct db_rows *rows, size_t row, unsigned column)
{
    char iso[CLOCK_ISO_SIZE];

    if (db_is_null(rows, row, column))
        return NULL;
    clock_iso(db_int(rows, row, column), iso);
    return document_from_text(ctl->arena, text_of(iso));
}

/* ---- from the database's rows -----------------------------------------------------------------
 */

struct document *ctl_value(const struct ctl *ctl, struct text text)
{
    struct document *parsed;

    if (!text.data)
        return NULL;
    if (document_parse_stored(ctl->arena, text, NULL, &parsed) == OK)
        return parsed;
    return document_from_text(ctl->arena, text);
}

static struct document *texts(const struct ctl *ctl, struct db_rows *rows, size_t row,
                              unsigned column)
{
    struct document *list = document_array(ctl->arena);
    size_t count;

    if (db_is_null(rows, row, column))
        return document_null(ctl->arena);
    struct text *elements = db_texts(rows, row, column, &count);
    for (size_t i = 0; i < count; i++)
        document_append(list, document_from_text(ctl->arena, elements[i]));
    return list;
}

/* For people: "42 s", "3 h 20 min"; with --json the milliseconds. */
static struct document *age(const struct ctl *ctl, int64_t ms)
{
    long long seconds = (long long)(ms / 1000);
    const char *text;

    if (ctl->json)
        return document_from_int(ctl->arena, ms);
    if (seconds < 60)
        text = arena_printf(ctl->arena, "%lld s", seconds);
    else if (seconds < 3600)
        text = arena_printf(ctl->arena, "%lld min %lld s", seconds / 60, seconds % 60);
    else if (seconds < 86400)
        text = arena_printf(ctl->arena, "%lld h %lld min", seconds / 3600, seconds % 3600 / 60);
    else
        text = arena_printf(ctl->arena, "%lld d %lld h", seconds / 86400, seconds % 86400 / 3600);
    return document_from_text(ctl->arena, text_of(text));
}

static struct document *member(const struct ctl *ctl, struct db_rows *rows, size_t row,
                               unsigned column, const struct field *field)
{
    if (db_is_null(rows, row, column))
        return document_null(ctl->arena);
    switch (field->kind) {
    case FIELD_INT:
        return document_from_int(ctl->arena, db_int(rows, row, column));
    case FIELD_BOOL:
        return document_from_bool(ctl->arena, db_bool(rows, row, column));
    case FIELD_TIME:
        return ctl_time(ctl, rows, row, column);
    case FIELD_AGE:
        return age(ctl, db_int(rows, row, column));
    case FIELD_TEXTS:
        return texts(ctl, rows, row, column);
    case FIELD_JSON:
        return ctl_value(ctl, db_text(rows, row, column));
    default:
        return document_from_text(ctl->arena, db_text(rows, row, column));
    }
}

struct document *ctl_row_document(const struct ctl *ctl, struct db_rows *rows, size_t row,
                                  const struct field *fields, unsigned count)
{
    struct document *object = document_object(ctl->arena);

    for (unsigned i = 0; i < count; i++)
        document_put(object, fields[i].key, member(ctl, rows, row, i, &fields[i]));
    return object;
}

unsigned ctl_columns(const struct field *fields, unsigned count, struct column *ret_columns)
{
    unsigned columns = 0;

    for (unsigned i = 0; i < count && columns < TABLE_COLUMNS_MAX; i++)
        if (fields[i].heading)
            ret_columns[columns++] = (struct column){fields[i].key, fields[i].heading};
    return columns;
}

enum error ctl_print_found(struct ctl *ctl, struct db_rows *rows, const char *name,
                           const struct field *fields, unsigned count, struct failure *failure)
{
    struct document *list = document_array(ctl->arena);
    struct column columns[TABLE_COLUMNS_MAX];
    unsigned column_count = ctl_columns(fields, count, columns);
    enum error error;

    for (size_t row = 0; row < db_rows_count(rows); row++)
        document_append(list, ctl_row_document(ctl, rows, row, fields, count));
    if ((error = db_rows_error(rows, failure)) != OK)
        return error;
    ctl_print_rows(ctl, name, list, columns, column_count);
    return OK;
}

enum error ctl_run_rows(struct ctl *ctl, const struct db_call *call, const char *name,
                        const struct field *fields, unsigned count, struct failure *failure)
{
    struct db_rows *rows;
    enum error error = db_run(ctl->db, call, failure, &rows);

    return error == OK ? ctl_print_found(ctl, rows, name, fields, count, failure) : error;
}

/* ---- what flags say ---------------------------------------------------------------------------
 */

enum error ctl_duration(const struct ctl *ctl, enum flag flag, int64_t otherwise, int64_t *ret_ms,
                        struct failure *failure)
{
    *ret_ms = otherwise;
    return ctl_flag(ctl, flag) ? duration_parse(ctl_flag(ctl, flag), ret_ms, failure) : OK;
}

enum error ctl_interval(const struct ctl *ctl, int64_t otherwise, int64_t *ret_ms,
                        struct failure *failure)
{
    enum error error = ctl_duration(ctl, FLAG_INTERVAL, otherwise, ret_ms, failure);

    if (error == OK && *ret_ms < INTERVAL_MIN_MS)
        error = failure_set(failure, ERR_INVALID_REQUEST, "--interval is %dms or more",
                            INTERVAL_MIN_MS);
    return error;
}

enum error ctl_ago(const struct ctl *ctl, enum flag flag, int64_t *ret_at, struct failure *failure)
{
    int64_t ms;
    enum error error = ctl_duration(ctl, flag, DB_INT_NULL, &ms, failure);

    *ret_at = error != OK || ms == DB_INT_NULL ? DB_INT_NULL : clock_wall_ms() - ms;
    return error;
}

enum error ctl_add_name(const struct ctl *ctl, struct db_call *call, enum flag flag,
                        struct failure *failure)
{
    const char *name = ctl_flag(ctl, flag);

    db_add_string(call, name);
    if (!name || text_is_agent_id(text_of(name)))
        return OK;
    return failure_set(failure, ERR_INVALID_ID, "%s is the name of an agent or another principal",
                       flag_rows[flag].name);
}
