/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *log_program = "openclaw-gateway";
static enum log_level log_least = LOG_INFO;
static atomic_uint_fast64_t log_dropped;

/* A line that is being put together. A piece that does not fit makes it `full`; the caller then
 * goes back to where it stood before, so what is there is always whole. */
struct line {
    char data[LOG_LINE_MAX];
    size_t len;
    bool full;
};

#define LINE_TAIL 16 /* kept free for `,"cut":true}` and the newline */

void log_open(const char *program, enum log_level level)
{
    log_program = program;
    log_least = level;
}

static void add(struct line *line, const char *data, size_t len)
{
    if (line->full || len > sizeof(line->data) - LINE_TAIL - line->len) {
        line->full = true;
        return;
    }
    memcpy(line->data + line->len, data, len);
    line->len += len;
}

static void add_string(struct line *line, const char *string)
{
    add(line, string, strlen(string));
}

/* A JSON string. Bytes that are not UTF-8 become U+FFFD one by one; a long value is cut between
 * two characters and ends with an ellipsis. */
static void add_quoted(struct line *line, struct text text)
{
    size_t len = text.len > LOG_VALUE_MAX ? LOG_VALUE_MAX : text.len;
    char escaped[8];

    if (text.len > LOG_VALUE_MAX) {
        while (len > 0 && ((unsigned char)text.data[len] & 0xC0) == 0x80)
            len--;
    }
    add(line, "\"", 1);
    for (size_t i = 0; i < len;) {
        size_t plain = utf8_valid_prefix((struct text){text.data + i, len - i});
        size_t end = i + plain;

        for (; i < end; i++) {
            unsigned char byte = (unsigned char)text.data[i];

            if (byte == '"' || byte == '\\') {
                add(line, (const char[]){'\\', (char)byte}, 2);
            } else if (byte < 0x20 || byte == 0x7F) {
                (void)snprintf(escaped, sizeof(escaped), "\\u%04x", (unsigned)byte);
                add_string(line, escaped);
            } else {
                add(line, text.data + i, 1);
            }
        }
        if (end < len) {
            add_string(line, "\\ufffd");
            i++;
        }
    }
    if (len < text.len)
        add_string(line, "\xE2\x80\xA6");
    add(line, "\"", 1);
}

static void add_text(struct line *line, const char *key, struct text text)
{
    add(line, line->len > 0 ? "," : "{", 1);
    add_quoted(line, text_of(key));
    add(line, ":", 1);
    add_quoted(line, text);
}

static void add_number(struct line *line, const char *key, int64_t number)
{
    char digits[24];

    add(line, ",", 1);
    add_quoted(line, text_of(key));
    (void)snprintf(digits, sizeof(digits), ":%" PRId64, number);
    add_string(line, digits);
}

/* A pipe that polls writable takes PIPE_BUF (4096) bytes at once, so the write that follows does
 * not block and is not torn, whether the descriptor is blocking or not. */
static bool put_out(const struct line *line)
{
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};

    return poll(&out, 1, 0) == 1 && (out.revents & POLLOUT) != 0 &&
           write(STDERR_FILENO, line->data, line->len) == (ssize_t)line->len;
}

void log_write(enum log_level level, const char *event, const struct log_field *fields,
               unsigned count)
{
    struct line line = {.len = 0};
    char stamp[CLOCK_ISO_SIZE];
    uint64_t dropped;
    bool cut = false;

    if (level < log_least)
        return;
    clock_iso(clock_wall_ms(), stamp);
    add_text(&line, "ts", text_of(stamp));
    add_text(&line, "level", text_of(level_names[level]));
    add_text(&line, "program", text_of(log_program));
    add_number(&line, "pid", getpid());
    add_text(&line, "event", text_of(event));
    dropped = atomic_exchange(&log_dropped, 0);
    if (dropped > 0)
        add_number(&line, "dropped", (int64_t)dropped);
    for (unsigned i = 0; i < count; i++) {
        size_t before = line.len;

        if (fields[i].kind == LOG_FIELD_INT)
            add_number(&line, fields[i].key, fields[i].number);
        else if (fields[i].text.data != NULL)
            add_text(&line, fields[i].key, fields[i].text);
        if (line.full) {
            line.len = before;
            line.full = false;
            cut = true;
        }
    }
    if (cut) {
        memcpy(line.data + line.len, ",\"cut\":true", 11);
        line.len += 11;
    }
    memcpy(line.data + line.len, "}\n", 2);
    line.len += 2;
    if (!put_out(&line))
        atomic_fetch_add(&log_dropped, dropped + 1);
}

void log_failure_of(const char *event, const struct failure *failure, struct text request,
                    struct text trace)
{
    enum error error = failure->error;

    log_event(error_retry(error) == RETRY_NEVER ? LOG_ERROR : LOG_WARN, event,
              LOG_STR("code", error_code(error)), LOG_STR("error", error_phrase(error)),
              LOG_STR("detail", failure->detail),
              LOG_STR("sqlstate", failure->sqlstate[0] != '\0' ? failure->sqlstate : NULL),
              LOG_TEXT("request", request), LOG_TEXT("trace", trace));
}

void log_failure(const char *event, const struct failure *failure)
{
    log_failure_of(event, failure, TEXT_NONE, TEXT_NONE);
}
