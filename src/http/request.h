/* SPDX-License-Identifier: MIT
 *
 * One HTTP request, from the CGI variables a web server hands over (RFC 3875) to checked values.
 * Knows neither FastCGI nor sockets: variables and body come through functions, so that plain CGI
 * and the tests are other callers of the same code.
 */
#ifndef OPENCLAW_HTTP_REQUEST_H
#define OPENCLAW_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/text.h"

#define HTTP_URI_MAX      8192 /* bytes of path and query, as sent */
#define HTTP_HEADER_MAX   4096 /* bytes of one header we read */
#define HTTP_SEGMENTS_MAX 8
#define HTTP_QUERY_MAX    32

enum http_method {
    HTTP_GET = 1 << 0,
    HTTP_HEAD = 1 << 1,
    HTTP_POST = 1 << 2,
    HTTP_PUT = 1 << 3,
    HTTP_PATCH = 1 << 4,
    HTTP_DELETE = 1 << 5,
    HTTP_OPTIONS = 1 << 6,
    HTTP_OTHER = 1 << 7
};
const char *http_method_name(enum http_method method); /* "GET" …; "OTHER" */

struct http_query {
    struct text name, value;
};

struct http_request {
    struct arena *arena; /* everything below lives in it */
    enum http_method method;
    bool whole_server;                       /* the target is "*", for OPTIONS */
    struct text segments[HTTP_SEGMENTS_MAX]; /* of the path, decoded; "/" has none */
    unsigned segment_count;
    struct http_query query[HTTP_QUERY_MAX]; /* decoded, no name twice */
    unsigned query_count;
    struct text host, content_type, content_encoding, authorization,
        idempotency_key; /* absent where not sent */
    struct text if_match, if_none_match, origin, access_control_request_method;
    struct text remote_address;
    bool is_secure;          /* the web server took it over TLS */
    struct text id;          /* X-Request-Id where it was sane, else a fresh one */
    struct text given_id;    /* the same, absent where it is a fresh one */
    struct text traceparent; /* absent where it is not one that text_is_traceparent() takes */
    bool respond_async;      /* Prefer: respond-async (RFC 7240) */
    int64_t wait_s;          /* Prefer: wait=N; -1: not asked for */
    bool has_length;
    struct text content_length; /* as sent; judged when the body is read */
    struct text body;           /* by request_read_body */
    int64_t started_ms;         /* clock_ms */
    /* Has whoever asked gone away? For those who make it wait. NULL: cannot be known. */
    bool (*is_gone)(void *context);
    void *is_gone_context;
};

/* A variable of the request, NULL where there is none. */
typedef const char *http_variable_function(void *context, const char *name);
/* Up to `size` bytes of the body; 0 at its end, negative on an error. */
typedef ptrdiff_t http_body_function(void *context, char *ret_bytes, size_t size);

/* Fills *ret_request; also where it returns an error, as far as it came, with method and id set.
 * Errors: INVALID_REQUEST, INVALID_ENCODING, NOT_FOUND (a path deeper than any of ours). */
enum error request_parse(struct arena *arena, http_variable_function *variable, void *context,
                         struct failure *failure, struct http_request *ret_request) MUST_CHECK;

/* Reads exactly Content-Length bytes. Errors: LENGTH_REQUIRED, INVALID_REQUEST (no number, or body
 * and length differ), TOO_LARGE (more than `limit`). */
enum error request_read_body(struct http_request *request, http_body_function *read, void *context,
                             size_t limit, struct failure *failure) MUST_CHECK;

struct text request_query(const struct http_request *request, const char *name);
/* A whole number within [min, max]; `otherwise` where it is not given. */
enum error request_query_int(const struct http_request *request, const char *name, int64_t min,
                             int64_t max, int64_t otherwise, struct failure *failure,
                             int64_t *ret_value) MUST_CHECK;
/* The first query name that is not among `known` (names separated by spaces); absent: none. */
struct text request_query_unknown(const struct http_request *request, const char *known);

/* Is the Content-Type this media type, or (suffix "+json") one that ends so? Parameters may follow.
 */
bool request_is_media(const struct http_request *request, const char *type, const char *suffix);

/* Decodes %XX, strictly: no bad hexadecimal, no NUL or other control, valid UTF-8. `plus`: a plus
 * stands for a space (query strings). */
enum error percent_decode(struct arena *arena, struct text text, bool plus, struct failure *failure,
                          struct text *ret_text) MUST_CHECK;
/* Encodes all but unreserved characters and ':' (RFC 3986), for one segment of a path. */
struct text percent_encode(struct arena *arena, struct text text);

#endif
