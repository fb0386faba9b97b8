/* SPDX-License-Identifier: MIT
 *
 * Cross-origin requests of browsers (Fetch standard, CORS protocol): pages of the origins that
 * CORS_ORIGINS lists, compared whole, may call this interface and read its answers. Without that
 * option nothing here adds a header.
 */
#ifndef OPENCLAW_HTTP_CORS_H
#define OPENCLAW_HTTP_CORS_H

#include "http/server.h"

/* To every answer: may the page of this request's Origin read it? Credentials are tokens, which the
 * page itself sends; cookies are none of ours, so they are not allowed. */
void cors_add(struct http_context *context);
/* To the answer of OPTIONS for a request that a browser asks about first; `methods` as in Allow. */
void cors_add_preflight(struct http_context *context, const char *methods);

#endif
