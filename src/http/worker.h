/* SPDX-License-Identifier: MIT
 *
 * One worker process: threads that take connections from the shared listening socket.
 */
#ifndef OPENCLAW_HTTP_WORKER_H
#define OPENCLAW_HTTP_WORKER_H

#include "base/option.h"
#include "http/listener.h"

/* How long requests that are being served when SIGTERM comes may take. */
#define WORKER_DRAIN_MS 20000

/* Serves until SIGTERM or SIGINT (which the caller has blocked) and all it had accepted is
 * answered. Returns the exit code. */
int worker_run(const struct options *options, const struct listener *listener);

#endif
