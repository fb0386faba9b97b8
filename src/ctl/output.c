/* SPDX-License-Identifier: MIT
 *
 * One answer, two forms: JSON for programs, a table for people. stdout has the answer and nothing
 * else.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/ctl.h"

#define COLUMNS_MAX 16
#define GAP         2

/* "a,b" for a list of texts. */
static struct text joined(const struct ctl *ctl, const struct document *array)
{
    struct text list = TEXT_LITERAL("");

    for (size_t i = 0; i < document_count(array); i++) {
        struct text element = document_string(document_at(array, i));
        if (!element.data)
            return document_text(ctl->arena, array);
        list = text_of(arena_printf(ctl->arena, "%s%s%.*s", list.data, i > 0 ? "," : "",
                                    (int)element.len, element.data));
    }
    return list;
}

/* What a person reads: no quotes, - for nothing, and nothing that moves the cursor. */
static struct text cell(const struct ctl *ctl, const struct document *value)
{
    struct text text;

    switch (document_kind(value)) {
    case DOCUMENT_ABSENT:
    case DOCUMENT_NULL:
        return TEXT_LITERAL("-");
    case DOCUMENT_STRING:
        text = document_string(value);
        break;
    case DOCUMENT_BOOL:
        return document_bool(value, false) ? TEXT_LITERAL("yes") : TEXT_LITERAL("no");
    case DOCUMENT_ARRAY:
        text = joined(ctl, value);
        break;
    default:
        text = document_text(ctl->arena, value);
        break;
    }
    char *copy = arena_alloc(ctl->arena, text.len + 1);
    for (size_t i = 0; i < text.len; i++)
        copy[i] = (unsigned char)text.data[i] < ' ' || text.data[i] == 0x7f ? ' ' : text.data[i];
    return (struct text){copy, text.len};
}

/* Characters, not bytes; wide ones count as one, which only costs alignment. */
static unsigned width_of(struct text text)
{
    unsigned width = 0;

    for (size_t i = 0; i < text.len; i++)
        width += ((unsigned char)text.data[i] & 0xC0) != 0x80;
    return width;
}

static void print_cell(struct text text, unsigned width, bool last)
{
    printf("%.*s%*s", (int)text.len, text.data, last ? 0 : (int)(width - width_of(text) + GAP), "");
    if (last)
        putchar('\n');
}

void ctl_print_rows(const struct ctl *ctl, const char *name, struct document *rows,
                    const struct column *columns, unsigned column_count)
{
    unsigned widths[COLUMNS_MAX] = {0};
    size_t count = document_count(rows);

    if (ctl->json) {
        ctl_print_object(ctl, document_put(document_object(ctl->arena), name, rows));
        return;
    }
    if (column_count > COLUMNS_MAX)
        column_count = COLUMNS_MAX;
    for (unsigned c = 0; c < column_count; c++) {
        widths[c] = width_of(text_of(columns[c].heading));
        for (size_t r = 0; r < count; r++) {
            unsigned width =
                width_of(cell(ctl, document_get(document_at(rows, r), columns[c].key)));
            if (width > widths[c])
                widths[c] = width;
        }
    }
    for (unsigned c = 0; c < column_count && *columns[0].heading; c++)
        print_cell(text_of(columns[c].heading), widths[c], c + 1 == column_count);
    for (size_t r = 0; r < count; r++)
        for (unsigned c = 0; c < column_count; c++)
            print_cell(cell(ctl, document_get(document_at(rows, r), columns[c].key)), widths[c],
                       c + 1 == column_count);
}

void ctl_print_object(const struct ctl *ctl, struct document *object)
{
    if (ctl->json) {
        struct text text = document_text(ctl->arena, object);
        fwrite(text.data, 1, text.len, stdout);
        putchar('\n');
        return;
    }
    unsigned width = 0;
    for (size_t i = 0; i < document_count(object); i++)
        if (width_of(document_key(object, i)) > width)
            width = width_of(document_key(object, i));
    for (size_t i = 0; i < document_count(object); i++) {
        struct text key = document_key(object, i);
        const char *name = arena_text(ctl->arena, key).data;
        print_cell(key, width, false);
        print_cell(cell(ctl, document_get(object, name)), 0, true);
    }
}

struct document *ctl_time(const struct ctl *ctl, struct db_rows *rows, size_t row, unsigned column)
{
    char iso[CLOCK_ISO_SIZE];

    if (db_is_null(rows, row, column))
        return NULL;
    clock_iso(db_int(rows, row, column), iso);
    return document_from_text(ctl->arena, text_of(iso));
}
