/* SPDX-License-Identifier: MIT
 *
 * The OpenAPI document: what people wrote of each route (src/http/openapi), and what the route
 * table says of it. So neither can say what the other does not: a route that nobody described is
 * there without an operationId, a description without a route lacks x-route.
 */
#ifndef OPENCLAW_HTTP_OPENAPI_H
#define OPENCLAW_HTTP_OPENAPI_H

#include "base/document.h"
#include "base/option.h"

extern const char *const openapi_parts[]; /* JSON texts; ends with NULL */

/* The whole document. Errors: those of document_parse, for a part that is no JSON. */
enum error openapi_document(struct arena *arena, const struct options *options,
                            struct failure *failure, struct document **ret_document) MUST_CHECK;

#endif
