/* SPDX-License-Identifier: MIT
 *
 * One JSON object per event on stderr, at most LOG_LINE_MAX bytes (websocketd stops reading a
 * longer line and then blocks the child), written by one write(2), never blocking: a line that
 * does not fit into a full pipe is dropped, and the next one that gets through says how many
 * (`dropped`). Ids and sizes, never contents or tokens.
 *
 *   {"ts":"…","level":"info","program":"…","pid":1,"event":"message.accepted","workflow":"…"}
 */
#ifndef OPENCLAW_BASE_LOG_H
#define OPENCLAW_BASE_LOG_H

#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

#define LOG_LINE_MAX  2048
#define LOG_VALUE_MAX 300 /* bytes of one value; the rest is cut */

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_open(const char *program, enum log_level level);

/* Fields that do not fit into the line are left out and "cut":true says so; fields whose text is
 * absent are left out. An event without fields: log_write(level, "event", NULL, 0). */

/* A field of an event: log_event(LOG_INFO, "sweep", LOG_STR("host", host), LOG_INT("count", 3)) */
struct log_field {
    const char *key;
    enum { LOG_FIELD_TEXT, LOG_FIELD_INT } kind;
    struct text text;
    int64_t number;
};
#define LOG_TEXT(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_TEXT, .text = (v)})
#define LOG_STR(k, v)  LOG_TEXT(k, text_of(v))
#define LOG_INT(k, v)  ((struct log_field){.key = (k), .kind = LOG_FIELD_INT, .number = (int64_t)(v)})

void log_write(enum log_level level, const char *event, const struct log_field *fields,
               unsigned count);
#define log_event(level, event, ...)                                                               \
    log_write((level), (event), (const struct log_field[]){__VA_ARGS__},                           \
              (unsigned)(sizeof((const struct log_field[]){__VA_ARGS__}) /                         \
                         sizeof(struct log_field)))
/* The failure's code, phrase, detail and SQLSTATE, at WARN where retrying helps, else ERROR. */
void log_failure(const char *event, const struct failure *failure);
/* The same, of a request: its id and its trace's, absent where there is none. */
void log_failure_of(const char *event, const struct failure *failure, struct text request,
                    struct text trace);

#endif
