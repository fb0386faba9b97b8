/* SPDX-License-Identifier: MIT
 *
 * The master process: holds the listening socket, keeps HTTP_PROCESSES workers alive on it, and
 * does nothing else, so that it has no reason to die.
 */
#ifndef OPENCLAW_HTTP_MASTER_H
#define OPENCLAW_HTTP_MASTER_H

#include "base/option.h"
#include "http/listener.h"

/* Returns the exit code of the program, after SIGTERM or SIGINT and the end of the workers. */
int master_run(const struct options *options, const struct listener *listener);

#endif
