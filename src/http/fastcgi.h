/* SPDX-License-Identifier: MIT
 *
 * FastCGI, responder role: the only file that knows libfcgi. It turns a connection into a request
 * with variables and a body, and an answer into bytes; what is in between is the caller's.
 */
#ifndef OPENCLAW_HTTP_FASTCGI_H
#define OPENCLAW_HTTP_FASTCGI_H

#include "http/server.h"

/* Once in each process, before its threads. Aborts where the library cannot be had. */
void fastcgi_init(void);

/* Answers the one request of an accepted connection and closes it. Connections are not kept: a
 * thread that waited for the next request of an idle one would be missing elsewhere. */
void fastcgi_serve(struct http_server *server, int connection, struct arena *arena);

#endif
