/* SPDX-License-Identifier: MIT
 *
 * The closed table of errors (error.def). Every fallible function returns `enum error`, and its
 * out-parameters are untouched unless it returned OK. The detail of a failure travels in a
 * `struct failure` of the caller's; only a boundary (a request, a frame, a sweep) logs it.
 */
#ifndef OPENCLAW_BASE_ERROR_H
#define OPENCLAW_BASE_ERROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_CHECK __attribute__((warn_unused_result))

enum error {
    OK = 0,
#define ERROR(name, code, http, retry, exit, phrase) ERR_##name,
#include "base/error.def"
#undef ERROR
    ERR__MAX
};

enum error_retry { RETRY_NEVER, RETRY_LATER, RETRY_SAME_KEY };

/* What happened, for the one who must act on it. `detail` is written for a person, says what to do
 * where that is known, and never contains a secret or a message's content. */
struct failure {
    enum error error;
    char sqlstate[6]; /* five characters, or "" where the database gave none */
    int64_t retry_ms; /* when to come again, where that is known exactly; 0: it is not */
    bool inside; /* the detail is the database's own words: for logs and operators, not for clients
                  */
    char detail[512];
};

const char *error_code(enum error error);                 /* stable, "OK" for OK */
const char *error_phrase(enum error error);               /* "ok" for OK */
enum error error_from_code(const char *code, size_t len); /* ERR_INTERNAL for one that is none */
int error_http_status(enum error error);                  /* 200 for OK */
int error_exit_code(enum error error);                    /* 0 for OK */
enum error_retry error_retry(enum error error);

/* Fills `failure` (which may be NULL) and returns `error`, so that a failing line reads
 * `return failure_set(failure, ERR_X, "…", …)`. */
enum error failure_set(struct failure *failure, enum error error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
