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

#include "base/clock.h"
#include "ctl/ctl.h"

#define GAP           2
#define CUT_MARK      "\xE2\x80\xA6" /* … */
#define HEADING_LINES 2  /* of the screen that are no rows: the heading, and the prompt */
#define ISO_SIZE      24 /* 2026-11-22T12:00:00.000Z */
#define DATE_SIZE     10
#define LINE_WIDE     16 /* of a line of what goes on and on: no column but the last is wider */
#define LINE_NARROW   9  /* nor needs to be */

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

/* A time of day before a date: of today "16:00:00Z", else "11-22 16:00Z", of another year its date.
 */
static struct text brief_time(const struct ctl *ctl, const char *iso)
{
    char today[CLOCK_ISO_SIZE];

    clock_iso(clock_wall_ms(), today);
    if (strncmp(iso, today, DATE_SIZE) == 0)
        return text_of(arena_printf(ctl->arena, "%.8sZ", iso + 11));
    if (strncmp(iso, today, 5) == 0)
        return text_of(arena_printf(ctl->arena, "%.5s %.5sZ", iso + 5, iso + 11));
    return text_of(arena_printf(ctl->arena, "%.10s", iso));
}

/* On a terminal a time is shorter: to the second. */
static struct text shown(const struct ctl *ctl, struct text text, bool brief)
{
    char *copy = arena_alloc(ctl->arena, text.len + 1);
    size_t len = 0, length;

    if (ctl->screen.columns > 0 && is_iso_time(text))
        return brief ? brief_time(ctl, text.data)
                     : text_of(arena_printf(ctl->arena, "%.10s %.8sZ", text.data, text.data + 11));
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

static struct text cell(const struct ctl *ctl, const struct document *value, bool brief)
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
    return shown(ctl, text, brief);
}

struct text ctl_cell(const struct ctl *ctl, const struct document *value)
{
    return cell(ctl, value, false);
}

/* Characters, not bytes; wide ones count as one, which only costs alignment. */
static unsigned width_of(struct text text)
{
    unsigned width = 0;

    for (size_t i = 0; i < text.len; i++)
        width += ((unsigned char)text.data[i] & 0xC0) != 0x80;
    return width;
}

/* The beginning of what is too wide, or of an id the end, in which they differ; with room for the
 * mark. */
static struct text cut(struct text text, unsigned width, bool at_front)
{
    unsigned all = width_of(text), seen = 0;

    if (all <= width)
        return text;
    for (size_t i = 0; i < text.len; i++) {
        if (((unsigned char)text.data[i] & 0xC0) == 0x80)
            continue;
        seen++;
        if (!at_front && seen == width)
            return (struct text){text.data, i};
        if (at_front && all - seen + 1 == width - 1)
            return (struct text){text.data + i, text.len - i};
    }
    return text;
}

static void print_cell(struct text text, unsigned width, bool at_front, bool last)
{
    struct text part = cut(text, width, at_front);
    bool is_cut = part.len < text.len;
    unsigned used = width_of(part) + is_cut, pad = used < width + GAP ? width + GAP - used : 0;

    printf("%s%.*s%s%*s", is_cut && at_front ? CUT_MARK : "", (int)part.len, part.data,
           is_cut && !at_front ? CUT_MARK : "", last ? 0 : (int)pad, "");
    if (last)
        putchar('\n');
}

/* ---- a table ------------------------------------------------------------------------------------
 */

/* What a narrow terminal does without: first those before the NULL, then, when ids are short, the
 * others. */
static const char *const spare_columns[] = {"dueAt", "revokedAt", "completedAt", NULL, "createdAt"};
#define SPARE_COLUMNS (sizeof(spare_columns) / sizeof(spare_columns[0]))
static const char *const id_columns[] = {"id", "workflowUuid", "messageId", "deliveryId",
                                         "conversationId"};

enum nature { NATURE_TEXT, NATURE_TIME, NATURE_ID };

struct layout {
    const struct ctl *ctl;
    struct document *rows;
    size_t row_count;
    struct column columns[TABLE_COLUMNS_MAX];
    enum nature natures[TABLE_COLUMNS_MAX];
    unsigned widths[TABLE_COLUMNS_MAX];
    unsigned count;
    bool brief;
};

static const struct document *value_at(const struct layout *layout, size_t row, unsigned column)
{
    return document_get(document_at(layout->rows, row), layout->columns[column].key);
}

static void measure(struct layout *layout)
{
    for (unsigned c = 0; c < layout->count; c++) {
        layout->widths[c] = width_of(text_of(layout->columns[c].heading));
        for (size_t r = 0; r < layout->row_count; r++) {
            unsigned width = width_of(cell(layout->ctl, value_at(layout, r, c), layout->brief));
            if (width > layout->widths[c])
                layout->widths[c] = width;
        }
    }
}

static enum nature nature_of(const struct layout *layout, unsigned column)
{
    for (size_t i = 0; i < sizeof(id_columns) / sizeof(id_columns[0]); i++)
        if (strcmp(layout->columns[column].key, id_columns[i]) == 0)
            return NATURE_ID;
    for (size_t r = 0; r < layout->row_count; r++) {
        const struct document *value = value_at(layout, r, column);
        if (document_kind(value) == DOCUMENT_STRING && is_iso_time(document_string(value)))
            return NATURE_TIME;
    }
    return NATURE_TEXT;
}

static bool too_wide(const struct layout *layout)
{
    unsigned total = layout->count > 0 ? (layout->count - 1) * GAP : 0;

    for (unsigned c = 0; c < layout->count; c++)
        total += layout->widths[c];
    return total > layout->ctl->screen.columns;
}

/* Takes from the widest of its nature until the table fits, or none is wider than `least`. */
static void narrow(struct layout *layout, enum nature nature, unsigned least)
{
    while (too_wide(layout)) {
        unsigned widest = layout->count;

        for (unsigned c = 0; c < layout->count; c++)
            if (layout->natures[c] == nature && layout->widths[c] > least &&
                (widest == layout->count || layout->widths[c] > layout->widths[widest]))
                widest = c;
        if (widest == layout->count)
            return;
        layout->widths[widest]--;
    }
}

static void leave_out(struct layout *layout, const char *key)
{
    for (unsigned c = 0; c < layout->count; c++)
        if (strcmp(layout->columns[c].key, key) == 0) {
            size_t behind = --layout->count - c;
            memmove(&layout->columns[c], &layout->columns[c + 1], behind * sizeof(struct column));
            memmove(&layout->natures[c], &layout->natures[c + 1], behind * sizeof(enum nature));
            memmove(&layout->widths[c], &layout->widths[c + 1], behind * sizeof(unsigned));
            return;
        }
}

/* What tells one row from another stays for longest: the time of day, and the ends of ids. */
static void fit(struct layout *layout)
{
    size_t spare = 0;

    if (!too_wide(layout))
        return;
    for (unsigned c = 0; c < layout->count; c++)
        layout->natures[c] = nature_of(layout, c);
    layout->brief = true;
    measure(layout);
    narrow(layout, NATURE_TEXT, 16);
    for (; spare_columns[spare]; spare++)
        if (too_wide(layout))
            leave_out(layout, spare_columns[spare]);
    narrow(layout, NATURE_TEXT, 12);
    narrow(layout, NATURE_ID, 20);
    for (spare++; spare < SPARE_COLUMNS; spare++)
        if (too_wide(layout))
            leave_out(layout, spare_columns[spare]);
    narrow(layout, NATURE_TEXT, 8);
    narrow(layout, NATURE_ID, 12);
    narrow(layout, NATURE_TIME, 8);
}

void ctl_print_rows(const struct ctl *ctl, const char *name, struct document *rows,
                    const struct column *columns, unsigned column_count)
{
    struct layout layout = {.ctl = ctl, .rows = rows, .row_count = document_count(rows)};

    if (ctl->json) {
        ctl_print_object(ctl, document_put(document_object(ctl->arena), name, rows));
        return;
    }
    layout.count = column_count < TABLE_COLUMNS_MAX ? column_count : TABLE_COLUMNS_MAX;
    for (unsigned c = 0; c < layout.count; c++)
        layout.columns[c] = columns[c];
    if (ctl->screen.rows > 0 && layout.row_count > ctl->screen.rows)
        layout.row_count = ctl->screen.rows;
    measure(&layout);
    if (ctl->screen.columns > 0 && *columns[0].heading)
        fit(&layout);
    for (unsigned c = 0; c < layout.count && *columns[0].heading; c++)
        print_cell(text_of(layout.columns[c].heading), layout.widths[c], false,
                   c + 1 == layout.count);
    for (size_t r = 0; r < layout.row_count; r++)
        for (unsigned c = 0; c < layout.count; c++)
            print_cell(cell(ctl, value_at(&layout, r, c), layout.brief), layout.widths[c],
                       layout.natures[c] == NATURE_ID, c + 1 == layout.count);
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
        print_cell(key, width, false, false);
        print_cell(ctl_cell(ctl, document_get(object, name)), UINT_MAX, false, true);
    }
}

enum error ctl_print_line(const struct ctl *ctl, struct document *object,
                          const struct column *columns, const unsigned *widths,
                          unsigned column_count, struct failure *failure)
{
    unsigned left = ctl->screen.columns;

    if (ctl->json)
        ctl_print_object(ctl, object);
    for (unsigned c = 0; c < column_count && !ctl->json; c++) {
        struct text text = object ? cell(ctl, document_get(object, columns[c].key), true)
                                  : text_of(columns[c].heading);
        unsigned width = width_of(text) > widths[c] ? width_of(text) : widths[c];
        bool last = c + 1 == column_count;

        if (ctl->screen.columns > 0 && !last) {
            width = widths[c] > LINE_NARROW ? LINE_NARROW : widths[c];
            width = width_of(text) > width ? width_of(text) : width;
            width = width > LINE_WIDE ? LINE_WIDE : width;
            left = left > width + GAP ? left - width - GAP : 0;
        } else if (left > LINE_NARROW) {
            width = left;
        }
        print_cell(text, width, last, last);
    }
    if (fflush(stdout) != 0)
        return failure_set(failure, ERR_IO, "the answer could not be written");
    return OK;
}
