/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

struct error_row {
    const char *code;
    const char *phrase;
    int http;
    int exit;
    enum error_retry retry;
};

static const struct error_row rows[ERR__MAX] = {
    [OK] = {"OK", "ok", 200, 0, RETRY_NEVER},
#define ERROR(name, code, http, retry, exit, phrase)                                               \
    [ERR_##name] = {code, phrase, http, exit, RETRY_##retry},
#include "base/error.def"
#undef ERROR
};

/* A value from outside the enum can only be a bug; it must not become a wild read as well. */
static const struct error_row *row_of(enum error error)
{
    unsigned index = (unsigned)error;

    return &rows[index < ERR__MAX ? index : (unsigned)ERR_INTERNAL];
}

const char *error_code(enum error error)
{
    return row_of(error)->code;
}

const char *error_phrase(enum error error)
{
    return row_of(error)->phrase;
}

enum error error_from_code(const char *code, size_t len)
{
    for (enum error error = OK + 1; error < ERR__MAX; error++)
        if (strlen(rows[error].code) == len && memcmp(rows[error].code, code, len) == 0)
            return error;
    return ERR_INTERNAL;
}

int error_http_status(enum error error)
{
    return row_of(error)->http;
}

int error_exit_code(enum error error)
{
    return row_of(error)->exit;
}

enum error_retry error_retry(enum error error)
{
    return row_of(error)->retry;
}

enum error failure_set(struct failure *failure, enum error error, const char *format, ...)
{
    va_list arguments;
    int wanted;

    if (failure == NULL)
        return error;
    failure->error = error;
    failure->sqlstate[0] = '\0';
    failure->inside = false;
    failure->retry_ms = 0;
    va_start(arguments, format);
    wanted = vsnprintf(failure->detail, sizeof(failure->detail), format, arguments);
    va_end(arguments);
    if (wanted < 0)
        failure->detail[0] = '\0';
    /* A detail that was cut may end within a character; it travels on as JSON. */
    if (wanted >= (int)sizeof(failure->detail))
        failure->detail[utf8_valid_prefix(text_of(failure->detail))] = '\0';
    return error;
}
