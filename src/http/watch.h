/* SPDX-License-Identifier: MIT
 *
 * The inboxes that requests of this process wait for, as the database is to know them, so that
 * whoever puts something into one rings. Kept for a while after the last request, for the next:
 * then a wait costs no write. What is lost here costs latency, never a message.
 *
 * No lock of its own: the waiting room's.
 */
#ifndef OPENCLAW_HTTP_WATCH_H
#define OPENCLAW_HTTP_WATCH_H

#include "db/db.h"

struct watches {
    struct watch *first;
};

struct watch; /* one inbox */

/* One more request waits for the inbox of `agent`, at most AGENT_ID_MAX bytes. True in *ret_rung:
 * the database knew that already. Each enter has its leave, after which *watch may be gone. */
struct watch *watch_enter(struct watches *watches, struct text agent, int64_t now_ms,
                          bool *ret_rung) __attribute__((returns_nonnull));
void watch_leave(struct watch *watch, int64_t now_ms);

/* When watches_call() has something to say; INT64_MAX: never. */
int64_t watches_due(const struct watches *watches);
/* False: nothing to say. Otherwise its answer is for watches_result(); rows NULL: there is none. */
bool watches_call(struct watches *watches, struct arena *arena, const char *executor_id,
                  int64_t now_ms, struct db_call *ret_call);
void watches_result(struct watches *watches, struct db_rows *rows, int64_t now_ms);

#endif
