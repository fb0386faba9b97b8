/* SPDX-License-Identifier: MIT */
#include "http/prefer.h"

#include <string.h>
#include <strings.h>

#define PREFER_WAIT_MAX_S                                                                          \
    86400 /* above it seconds make no difference: each route has its own limit */

static struct text trimmed(struct text text)
{
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
        text.len--;
    return text;
}

/* Up to the next separator that is not within quotes; moves *rest behind it. */
static struct text next_part(struct text *rest, char separator)
{
    struct text part = *rest;
    bool quoted = false;

    for (size_t i = 0; i < rest->len; i++) {
        char c = rest->data[i];

        if (quoted && c == '\\') {
            i++;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (c == separator && !quoted) {
            part.len = i;
            *rest = (struct text){rest->data + i + 1, rest->len - i - 1};
            return trimmed(part);
        }
    }
    *rest = TEXT_NONE;
    return trimmed(part);
}

static bool is_name(struct text text, const char *name)
{
    return text.len == strlen(name) && strncasecmp(text.data, name, text.len) == 0;
}

/* -1: no number of seconds. */
static int64_t seconds_of(struct text value)
{
    int64_t seconds;

    value = value.data != NULL ? trimmed(value) : TEXT_LITERAL("");
    if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"')
        value = (struct text){value.data + 1, value.len - 2};
    if (value.len == 0 || value.data[0] == '-')
        return -1;
    switch (text_int64(value, 0, PREFER_WAIT_MAX_S, &seconds)) {
    case OK:
        return seconds;
    case ERR_NUMBER_RANGE:
        return PREFER_WAIT_MAX_S;
    default:
        return -1;
    }
}

void prefer_parse(struct text header, bool *ret_respond_async, int64_t *ret_wait_s)
{
    bool respond_async = false;
    int64_t wait_s = -1;

    while (header.len > 0) {
        struct text preference = next_part(&header, ',');
        struct text value =
            next_part(&preference, ';'); /* parameters of a preference: none known */
        struct text name = next_part(&value, '=');

        if (is_name(name, "respond-async"))
            respond_async = true;
        else if (is_name(name, "wait") && wait_s < 0)
            wait_s = seconds_of(value);
    }
    *ret_respond_async = respond_async;
    *ret_wait_s = wait_s;
}
