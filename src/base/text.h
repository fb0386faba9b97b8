/* SPDX-License-Identifier: MIT
 *
 * A string that carries its length. It does not own its bytes. `data == NULL` means "absent",
 * which is not the same as empty (`len == 0`, `data != NULL`).
 */
#ifndef OPENCLAW_BASE_TEXT_H
#define OPENCLAW_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"

struct text {
    const char *data;
    size_t len;
};

#define TEXT_NONE       ((struct text){NULL, 0})
#define TEXT_LITERAL(s) ((struct text){"" s, sizeof(s) - 1})

static inline struct text text_of(const char *string) /* NULL gives TEXT_NONE */
{
    return (struct text){string, string ? strlen(string) : 0};
}

bool text_equal(struct text a, struct text b);
bool text_is(struct text text, const char *string);
bool text_starts(struct text text, const char *prefix);
bool text_is_word_of(struct text text, const char *words); /* separated by spaces */

/* A whole decimal number within [min, max]; nothing before or after it. Errors: INVALID_REQUEST
 * (not a number), NUMBER_RANGE. */
enum error text_int64(struct text text, int64_t min, int64_t max, int64_t *ret_value) MUST_CHECK;

/* Strict (RFC 3629): no overlong forms, no surrogates; NUL is refused. */
bool utf8_valid(struct text text);
size_t utf8_valid_prefix(struct text text); /* how many bytes from the start are that */

/* Identifiers. All are ASCII, so that no two look alike and none can hide a control character; but
 * what DBOS clients choose, which may be any UTF-8 without those. */
#define AGENT_ID_MAX    64  /* agents and principals: a letter or digit, then [A-Za-z0-9._-] */
#define MESSAGE_KEY_MAX 200 /* idempotency keys, message ids: printable ASCII except space " \ */
#define MESSAGE_ID_MAX  512 /* of a message in a mailbox; DBOS clients choose theirs */
#define WORKFLOW_ID_MAX 320 /* "<principal>:<key>"; DBOS clients' are longer only by refusal */

bool text_is_agent_id(struct text text);
bool text_is_message_key(struct text text);
bool text_is_workflow_id(struct text text);
bool text_is_message_id(struct text text);
/* One by which a workflow is looked for: a DBOS client's may be anything that a message's may. */
bool text_is_any_workflow_id(struct text text);

/* An address without its zone (RFC 4007, "fe80::1%eth0"), which is this host's own affair. */
struct text text_without_zone(struct text address);

#define HTTP_REQUEST_ID_MAX 128 /* a client's X-Request-Id: letters, digits and -._:=+/ */
bool text_is_request_id(struct text text);

/* A traceparent of version 00, "00-<trace id>-<parent id>-<flags>", lower-case hexadecimal, no id
 * all zeros (W3C Trace Context, 3.2.2). */
#define TRACEPARENT_SIZE 55
bool text_is_traceparent(struct text text);
struct text text_trace_id(struct text traceparent); /* its 32 digits; absent: it is none */

#endif
