/* SPDX-License-Identifier: MIT
 *
 * One HTTP answer, and its bytes as a CGI program writes them (RFC 3875, section 6).
 */
#ifndef OPENCLAW_HTTP_RESPONSE_H
#define OPENCLAW_HTTP_RESPONSE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/document.h"
#include "base/error.h"
#include "base/text.h"

#define HTTP_RESPONSE_HEADERS_MAX 24

struct http_response {
    struct arena *arena;
    int status;
    struct {
        const char *name;
        struct text value;
    } headers[HTTP_RESPONSE_HEADERS_MAX];
    unsigned header_count;
    struct text etag;         /* among the headers, too; absent: it has none */
    const char *content_type; /* NULL: no body */
    struct text body;
    /* Called when all bytes have been taken by the web server; NULL: nothing to do then. */
    void (*written)(void *context);
    void *written_context;
};

void response_init(struct http_response *response, struct arena *arena);

/* A value with a control character, or one header too many, is left out: no id that somebody chose
 * can end a header. */
void response_header(struct http_response *response, const char *name, struct text value);
/* The ETag of what it represents: GET then heeds If-None-Match. */
void response_etag(struct http_response *response, struct text etag);
void response_json(struct http_response *response, int status, const struct document *document);

/* RFC 9457 from the error table: type, title, status, detail, code, error. What happened inside
 * (status 500) is for the log, not for the caller. Members may be put in before it is sent by
 * response_problem_document(). */
struct document *problem_document(struct arena *arena, const struct failure *failure);
void response_problem_document(struct http_response *response, const struct failure *failure,
                               struct document *problem);
void response_problem(struct http_response *response, const struct failure *failure);

/* Status line, headers and the empty line. */
struct text response_head(const struct http_response *response);

#endif
