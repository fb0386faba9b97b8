/* SPDX-License-Identifier: MIT */
#include "base/document.h"

/* What begins a value may stand only at the start or behind one of these. */
static bool may_begin(char last)
{
    return last == '\0' || last == '{' || last == '[' || last == ',' || last == ':';
}

static enum document_frame refuse(struct document_framer *framer, struct text pending, size_t at,
                                  size_t *ret_len)
{
    const char *newline;

    if (framer->line > 0 && pending.data[at] != '\n') {
        *ret_len = framer->line;
    } else {
        newline = memchr(pending.data + at, '\n', pending.len - at);
        *ret_len = newline != NULL ? (size_t)(newline - pending.data) + 1 : pending.len;
    }
    *framer = (struct document_framer){0};
    return FRAME_BAD;
}

/* False where a raw newline stands in the string: it would swallow all that follows. */
static bool step_in_string(struct document_framer *framer, char c)
{
    if (framer->escaped) {
        framer->escaped = false;
    } else if (c == '\\') {
        framer->escaped = true;
    } else if (c == '"') {
        framer->in_string = false;
        framer->last = '"';
    }
    return c != '\n';
}

/* False where `c` cannot stand here. */
static bool step(struct document_framer *framer, char c, unsigned depth_max)
{
    switch (c) {
    case '{':
    case '[':
        if (!may_begin(framer->last) || framer->depth >= depth_max)
            return false;
        framer->started = true;
        framer->depth++;
        framer->last = c;
        return true;
    case '"':
        framer->in_string = true;
        return framer->started && may_begin(framer->last);
    case '}':
    case ']':
        if (!framer->started)
            return false;
        framer->depth--;
        framer->last = c;
        return true;
    case ',':
    case ':':
        framer->last = c;
        return framer->started;
    default:
        framer->last = '0';
        return framer->started;
    }
}

enum document_frame document_framer_scan(struct document_framer *framer, struct text pending,
                                         unsigned depth_max, size_t *ret_len)
{
    for (size_t i = framer->scanned; i < pending.len; i++) {
        char c = pending.data[i];

        if (framer->in_string) {
            if (!step_in_string(framer, c))
                return refuse(framer, pending, i, ret_len);
            continue;
        }
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            if (c == '\n' && framer->started)
                framer->line = i + 1;
            continue;
        }
        if (!step(framer, c, depth_max))
            return refuse(framer, pending, i, ret_len);
        if (framer->depth == 0) {
            *ret_len = i + 1;
            *framer = (struct document_framer){0};
            return FRAME_VALUE;
        }
    }
    framer->scanned = pending.len;
    return FRAME_MORE;
}
