/* SPDX-License-Identifier: MIT
 *
 * Bells from other hosts: this one's sweeper is the only listener on its channel, through the
 * direct connection, and rings here whom it hears of. Without DIRECT_DATABASE_URL nobody listens,
 * and who waits looks by itself. design.md, section 7.
 */
#ifndef OPENCLAW_SWEEPER_LISTEN_H
#define OPENCLAW_SWEEPER_LISTEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/select.h>

#include "durable/engine.h"

struct listener {
    const struct engine *engine;
    struct db *db; /* NULL: there is no direct connection */
    struct arena *arena;
    struct db_call call;
    bool listening;
    bool said_away; /* in the log */
    int64_t retry_at;
};

void listener_start(struct listener *listener, const struct engine *engine);
void listener_end(struct listener *listener);
/* What to wait for: adds to the sets and returns the greatest descriptor, or `max`; *deadline is
 * when to come back at the latest. */
int listener_wait(struct listener *listener, fd_set *reads, fd_set *writes, int max,
                  int64_t *deadline);
/* Connects, listens, or rings whom it hears of; never blocks. */
void listener_advance(struct listener *listener);

#endif
