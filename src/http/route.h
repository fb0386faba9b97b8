/* SPDX-License-Identifier: MIT
 *
 * The one table of routes: whatever the HTTP face does is a row of it.
 */
#ifndef OPENCLAW_HTTP_ROUTE_H
#define OPENCLAW_HTTP_ROUTE_H

#include "gateway/message_list.h"
#include "http/server.h"

/* Writes context->response and returns OK, or returns an error with context->failure filled, which
 * becomes a problem. */
typedef enum error http_handler(struct http_context *context);

enum route_body {
    BODY_NONE,     /* what comes is read and dropped */
    BODY_JSON,     /* application/json, at most MAX_MESSAGE_SIZE */
    BODY_OPTIONAL, /* the same, where there is one */
    BODY_BATCH /* application/json or application/x-ndjson, at most HTTP_BATCH_BODY_MAX; the handler
                  parses */
};
#define HTTP_BATCH_BODY_MAX MESSAGE_LIST_BYTES_MAX

enum route_access {
    ACCESS_PUBLIC,
    ACCESS_PRINCIPAL,
    ACCESS_METRICS, /* as METRICS says */
    ACCESS_OPENAPI  /* as OPENAPI says: nobody, any principal, everybody */
};

struct http_route {
    unsigned methods; /* one of enum http_method; HEAD is with GET, unless a GET takes something */
    const char *path; /* "/agents/:id/inbox": a segment with a colon matches any */
    enum route_access access;
    unsigned scopes; /* of enum scope, any of them is enough; operator may all; 0: any principal */
    enum route_body body;
    const char *members; /* of the body, separated by spaces; NULL: the handler knows them */
    const char *query;   /* the parameters it knows, separated by spaces, or NULL */
    http_handler *handler;
};

extern const struct http_route http_routes[];                  /* ends with a NULL path */
enum http_method route_method(const struct http_route *route); /* the one that names it */

/* Answers a parsed request (`parsed` is what request_parse returned, with its failure). Reads the
 * body itself, once it is known that somebody wants it. */
void route_answer(struct http_context *context, enum error parsed, http_body_function *read_body,
                  void *body_context);

#endif
