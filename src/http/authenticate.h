/* SPDX-License-Identifier: MIT
 *
 * Who sends a request: the bearer token (RFC 6750), looked up in the database, and remembered for
 * a few seconds where it was good.
 */
#ifndef OPENCLAW_HTTP_AUTHENTICATE_H
#define OPENCLAW_HTTP_AUTHENTICATE_H

#include "http/server.h"

/* So long a revoked token may still be taken by a process that has seen it. */
#define CREDENTIAL_CACHE_MS 5000

struct authenticator;

struct authenticator *authenticator_new(struct http_server *server);

/* Errors: UNAUTHORIZED, and those of the database. */
enum error authenticate(struct authenticator *authenticator, const struct http_request *request,
                        struct failure *failure, struct principal *ret_principal) MUST_CHECK;

/* Who has scraped /metrics with this token in the last day, on this host, may do so while the
 * database, which knows the tokens, is away: that is what they must be told. */
void authenticate_note_scraper(const struct http_request *request);
bool authenticate_known_scraper(const struct http_request *request);

#endif
