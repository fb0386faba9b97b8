/* SPDX-License-Identifier: MIT
 *
 * One answer, two forms: JSON for programs, a table for people. stdout has the answer and nothing
 * else. What is in a cell comes from anybody, so nothing of it may steer the terminal.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ctl/ctl.h"

#define GAP           2
#define CUT_MARK      "\xE2\x80\xA6" /* … */
#define NARROW        8              /* no column is made narrower than this */
#define HEADING_LINES 2  /* of the screen that are no rows: the heading, and the prompt */
#define ISO_SIZE      24 /* 2026-11-22T12:00:00.000Z */

/* ---- the terminal -------------------------------------------------------------------------------
 */

static unsigned number_of(const char *name, unsigned otherwise)
{
    int64_t number;

    return text_int64(text_of(getenv(name)), 1, USHRT_MAX, &number) == OK ? (unsigned)number
                                                                          : otherwise;
}

struct screen ctl_screen(bool watching)
{
    struct winsize size = {0};
    struct screen screen = {0};

    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
        return screen;
    screen.columns = number_of("COLUMNS", size.ws_col);
    if (watching && number_of("LINES", size.ws_row) > HEADING_LINES)
        screen.rows = number_of("LINES", size.ws_row) - HEADING_LINES;
    return screen;
}

/* ---- cells
 * ---------------------------------------------------------------------------------------- */

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

/* Characters that move the cursor, change what follows them or turn its direction: C0, DEL, C1, and
 * Unicode's line separators and bidirectional controls (UAX 9). */
static bool steers(const unsigned char *at, size_t left, size_t *ret_length)
{
    *ret_length = 1;
    if (at[0] < ' ' || at[0] == 0x7F)
        return true;
    if (left >= 2 &&
        ((at[0] == 0xC2 && at[1] >= 0x80 && at[1] <= 0x9F) || (at[0] == 0xD8 && at[1] == 0x9C))) {
        *ret_length = 2;
        return true;
    }
    *ret_length = 3;
    return left >= 3 && at[0] == 0xE2 &&
           ((at[1] == 0x80 &&
             (at[2] == 0x8E || at[2] == 0x8F || (at[2] >= 0xA8 && at[2] <= 0xAE))) ||
            (at[1] == 0x81 && at[2] >= 0xA6 && at[2] <= 0xA9));
}

static bool is_iso_time(struct text text)
{
    return text.len == ISO_SIZE && text.data[10] == 'T' && text.data[19] == '.' &&
           text.data[23] == 'Z' && strspn(text.data, "0123456789-:TZ.") >= ISO_SIZE;
}

/* On a terminal a time is shorter: to the second. */
static struct text shown(const struct ctl *ctl, struct text text)
{
    char *copy = arena_alloc(ctl->arena, text.len + 1);
    size_t len = 0, length;

    if (ctl->screen.columns > 0 && is_iso_time(text))
        return text_of(arena_printf(ctl->arena, "%.10s %.8sZ", text.data, text.data + 11));
    for (size_t i = 0; i < text.len; i += length) {
        if (steers((const unsigned char *)text.data + i, text.len - i, &length)) {
            copy[len++] = ' ';
        } else {
            length = 1;
            copy[len++] = text.data[i];
        }
    }
    return (struct text){copy, len};
}

struct text ctl_cell(const struct ctl *ctl, const struct document *value)
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
    return shown(ctl, text);
}

/* Characters, not bytes; wide ones count as one, which only costs alignment. */
static unsigned width_of(struct text text)
{
    unsigned width = 0;

    for (size_t i = 0; i < text.len; i++)
        width += ((unsigned char)text.data[i] & 0xC0) != 0x80;
    return width;
}

/* The beginning of what is too wide, with room for the mark. */
static struct text cut(struct text text, unsigned width)
{
    unsigned seen = 0;

    if (width_of(text) <= width)
        return text;
    for (size_t i = 0; i < text.len; i++)
        if (((unsigned char)text.data[i] & 0xC0) != 0x80 && ++seen == width)
            return (struct text){text.data, i};
    return text;
}

/* Takes from the widest until the table is as wide as the terminal. */
static void fit(const struct ctl *ctl, unsigned *widths, unsigned count)
{
    unsigned total = count > 0 ? (count - 1) * GAP : 0;

    for (unsigned c = 0; c < count; c++)
        total += widths[c];
    while (ctl->screen.columns > 0 && total > ctl->screen.columns) {
        unsigned widest = 0;

        for (unsigned c = 1; c < count; c++)
            if (widths[c] > widths[widest])
                widest = c;
        if (widths[widest] <= NARROW)
            return;
        widths[widest]--;
        total--;
    }
}

static void print_cell(struct text text, unsigned width, bool last)
{
    struct text begin = cut(text, width);
    unsigned pad = width + GAP - width_of(begin) - (begin.len < text.len);

    printf("%.*s%s%*s", (int)begin.len, begin.data, begin.len < text.len ? CUT_MARK : "",
           last ? 0 : (int)pad, "");
    if (last)
        putchar('\n');
}

void ctl_print_rows(const struct ctl *ctl, const char *name, struct document *rows,
                    const struct column *columns, unsigned column_count)
{
    unsigned widths[TABLE_COLUMNS_MAX] = {0};
    size_t count = document_count(rows);

    if (ctl->json) {
        ctl_print_object(ctl, document_put(document_object(ctl->arena), name, rows));
        return;
    }
    if (column_count > TABLE_COLUMNS_MAX)
        column_count = TABLE_COLUMNS_MAX;
    if (ctl->screen.rows > 0 && count > ctl->screen.rows)
        count = ctl->screen.rows;
    for (unsigned c = 0; c < column_count; c++) {
        widths[c] = width_of(text_of(columns[c].heading));
        for (size_t r = 0; r < count; r++) {
            unsigned width =
                width_of(ctl_cell(ctl, document_get(document_at(rows, r), columns[c].key)));
            if (width > widths[c])
                widths[c] = width;
        }
    }
    if (*columns[0].heading)
        fit(ctl, widths, column_count);
    for (unsigned c = 0; c < column_count && *columns[0].heading; c++)
        print_cell(text_of(columns[c].heading), widths[c], c + 1 == column_count);
    for (size_t r = 0; r < count; r++)
        for (unsigned c = 0; c < column_count; c++)
            print_cell(ctl_cell(ctl, document_get(document_at(rows, r), columns[c].key)), widths[c],
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
        print_cell(ctl_cell(ctl, document_get(object, name)), UINT_MAX, true);
    }
}

enum error ctl_print_line(const struct ctl *ctl, struct document *object,
                          const struct column *columns, const unsigned *widths,
                          unsigned column_count, struct failure *failure)
{
    if (ctl->json) {
        ctl_print_object(ctl, object);
    } else {
        for (unsigned c = 0; c < column_count; c++) {
            struct text text = object ? ctl_cell(ctl, document_get(object, columns[c].key))
                                      : text_of(columns[c].heading);
            unsigned width = width_of(text) > widths[c] ? width_of(text) : widths[c];
            print_cell(text, width, c + 1 == column_count);
        }
    }
    if (fflush(stdout) != 0)
        return failure_set(failure, ERR_IO, "the answer could not be written");
    return OK;
}
