/* SPDX-License-Identifier: MIT
 *
 * Group commit. Messages that arrive at the same time are accepted by one call: a thread puts its
 * own in the line; whoever finds a free connection takes all that stand there, commits them
 * together and hands out the receipts. So the cost of a round trip and of a flush is shared under
 * load, and alone nothing waits for company.
 */
#ifndef OPENCLAW_HTTP_COMMITTER_H
#define OPENCLAW_HTTP_COMMITTER_H

#include "gateway/message.h"
#include "http/server.h"

struct committer;

struct committer *committer_new(struct http_server *server);

/* Accepts `count` messages of one principal in one call, with others' or without, and waits for the
 * commit. `bytes`: about how large they are together. OK: ret_receipts[i] tells of requests[i],
 * refused ones too; they live in `arena`. An error concerns all: UNAVAILABLE, IN_DOUBT (the same
 * keys may be sent again), OVERLOADED. */
enum error committer_send(struct committer *committer, struct arena *arena,
                          const struct principal *principal, const struct message_request *requests,
                          size_t count, size_t bytes, struct failure *failure,
                          struct message_receipt *ret_receipts) MUST_CHECK;

/* A connection has become free. */
void committer_nudge(struct committer *committer);

#endif
