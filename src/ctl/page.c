/* SPDX-License-Identifier: MIT
 *
 * Lists that are longer than one answer: --limit, --cursor, and what the next page is asked with.
 */
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"

#define LIMIT_DEFAULT 50
#define LIMIT_MAX     1000

static enum error read_cursor(const struct ctl *ctl, struct page *page, struct failure *failure)
{
    struct text cursor = text_of(ctl_flag(ctl, FLAG_CURSOR));
    struct text number = {cursor.data, cursor.len > 0 ? strspn(cursor.data, "0123456789") : 0};
    bool has_id = number.len < cursor.len && cursor.data[number.len] == '.';

    page->number = DB_INT_NULL;
    page->id = TEXT_NONE;
    if (!cursor.data)
        return OK;
    if (text_int64(number, 0, INT64_MAX, &page->number) != OK || has_id != page->by_id ||
        (!has_id && number.len < cursor.len))
        return failure_set(failure, ERR_INVALID_REQUEST,
                           "--cursor is not one that this list has given");
    if (has_id)
        page->id = text_of(cursor.data + number.len + 1);
    return OK;
}

enum error ctl_page(const struct ctl *ctl, struct page *page, struct failure *failure)
{
    if (page->limit == 0)
        page->limit = LIMIT_DEFAULT;
    if (ctl_flag(ctl, FLAG_LIMIT) &&
        text_int64(text_of(ctl_flag(ctl, FLAG_LIMIT)), 1, LIMIT_MAX, &page->limit) != OK)
        return failure_set(failure, ERR_INVALID_REQUEST, "--limit is a number from 1 to %d",
                           LIMIT_MAX);
    return read_cursor(ctl, page, failure);
}

void ctl_add_page(const struct page *page, struct db_call *call)
{
    ctl_add_int(call, page->number);
    if (page->by_id)
        db_add_text(call, page->id);
    db_add_int(call, page->limit + 1);
}

struct document *ctl_cursor(const struct ctl *ctl, const struct page *page, int64_t number,
                            struct text id)
{
    const char *text =
        page->by_id ? arena_printf(ctl->arena, "%lld.%.*s", (long long)number, (int)id.len, id.data)
                    : arena_printf(ctl->arena, "%lld", (long long)number);

    return document_from_text(ctl->arena, text_of(text));
}

void ctl_print_page(const struct ctl *ctl, const char *name, struct document *list,
                    struct document *cursor, const struct column *columns, unsigned column_count)
{
    if (ctl->json) {
        struct document *answer = document_put(document_object(ctl->arena), name, list);

        ctl_print_object(
            ctl, document_put(answer, "nextCursor", cursor ? cursor : document_null(ctl->arena)));
        return;
    }
    ctl_print_rows(ctl, name, list, columns, column_count);
    if (cursor && !ctl_flag(ctl, FLAG_WATCH)) {
        struct text shown = ctl_cell(ctl, cursor);

        fflush(stdout);
        fprintf(stderr, "there are more: --cursor '%.*s'\n", (int)shown.len, shown.data);
    }
}

enum error ctl_print_found_page(struct ctl *ctl, struct db_rows *rows, const struct page *page,
                                const char *name, const struct field *fields, unsigned count,
                                struct failure *failure)
{
    struct document *list = document_array(ctl->arena), *cursor = NULL;
    struct column columns[TABLE_COLUMNS_MAX];
    unsigned column_count = ctl_columns(fields, count, columns);
    size_t shown = db_rows_count(rows);
    enum error error;

    if (shown == 0 && (error = ctl_names_must_be_known(ctl, failure)) != OK)
        return error;
    if (shown > (size_t)page->limit) {
        shown = (size_t)page->limit;
        cursor = ctl_cursor(ctl, page, db_int(rows, shown - 1, page->number_column),
                            page->by_id ? db_text(rows, shown - 1, page->id_column) : TEXT_NONE);
    }
    for (size_t row = 0; row < shown; row++)
        document_append(list, ctl_row_document(ctl, rows, row, fields, count));
    if ((error = db_rows_error(rows, failure)) == OK)
        ctl_print_page(ctl, name, list, cursor, columns, column_count);
    return error;
}

enum error ctl_run_page(struct ctl *ctl, const struct db_call *call, const struct page *page,
                        const char *name, const struct field *fields, unsigned count,
                        struct failure *failure)
{
    struct db_rows *rows;
    enum error error = db_run(ctl->db, call, failure, &rows);

    return error == OK ? ctl_print_found_page(ctl, rows, page, name, fields, count, failure)
                       : error;
}
