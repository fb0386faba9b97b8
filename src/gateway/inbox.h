/* SPDX-License-Identifier: MIT
 *
 * Receiving: the same calls for a WebSocket and for the HTTP inbox. protocol.md, Receiving.
 *
 * A delivery id is "<inbox_seq>.<random>"; one per attempt. Each *_call builds one statement, each
 * *_result reads its answer; how the caller waits in between is its own affair.
 */
#ifndef OPENCLAW_GATEWAY_INBOX_H
#define OPENCLAW_GATEWAY_INBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/document.h"
#include "durable/engine.h"
#include "gateway/principal.h"

#define INBOX_IN_FLIGHT_MAX 100
#define INBOX_ACK_MAX       1000 /* delivery ids in one request */
#define INBOX_LEASE_MIN_MS  1000
#define INBOX_LEASE_MAX_MS  3600000
#define DELIVERY_ID_MAX     64
#define INBOX_TOKEN_LEN     32 /* hexadecimal: 128 bits that nobody guesses */

/* Makes of a call to subscribe, claim, acknowledge, refuse or extend one that leaves its row in the
 * audit, in the same transaction, where `by` is somebody else than the agent whose inbox it is. The
 * agent's own costs nothing; nor does anybody's with AUTH_MODE=none, where nobody is known. */
void inbox_call_audit(struct db_call *call, const struct principal *by, struct text agent);

/* Subscribe: rows of one: see result. ERR_NOT_FOUND: no such agent. ERR_FENCED: the receiver is not
 * registered (any more). `number`, here and below: of the receiver's calls of these three kinds,
 * rising from 1; an earlier one that comes late, for its connection was lost, does nothing. */
struct inbox_subscription {
    int64_t epoch, pending, in_flight;
};
void inbox_subscribe_call(struct db_call *call, struct arena *arena, const struct engine *engine,
                          struct text agent, struct text consumer, bool exclusive,
                          int64_t max_in_flight, int64_t lease_ms, int64_t number);
enum error inbox_subscribe_result(const struct engine *engine, struct db_rows *rows,
                                  struct failure *failure,
                                  struct inbox_subscription *ret_subscription) MUST_CHECK;
void inbox_unsubscribe_call(struct db_call *call, struct arena *arena, const struct engine *engine,
                            struct text agent,
                            int64_t number); /* the row: was there a subscription */

/* After a claim whose answer was lost: what this executor holds of the inbox but for `known` is
 * ready again. The row has the new epoch; ERR_FENCED: a newer subscriber has the inbox. */
void inbox_resume_call(struct db_call *call, struct arena *arena, const struct engine *engine,
                       struct text agent, int64_t epoch, const struct text *known, size_t count,
                       int64_t number);

/* One message leased to one receiver. Texts live in the rows' arena. */
struct delivery {
    struct text delivery_id;
    int64_t inbox_seq;
    struct text message_id, workflow_id; /* workflow_id absent: sent by a DBOS client */
    struct text from, to, session_key;
    struct text traceparent; /* the sender's, or absent */
    struct document *content, *metadata;
    int64_t attempt, max_attempts, accepted_at, expires_at, lease_expires_at;
    bool redelivered, expects_reply;
    size_t bytes; /* of the message as it is stored */
};
/* Claim; fewer than `limit` come where they are large (050_inbox.sql). holder: the executor's id,
 * or a name of the caller's for a pull; epoch 0: no subscription; max_in_flight 0: not bounded but
 * by limit. token: of a pull, from inbox_claim_token(): called again with it, because an answer was
 * lost, the claim gives what it gave; NULL for a subscription, which resumes. It may be followed by
 * '.' and the number of a portion. known: of a session, the place of the last message handed over
 * to its subscription that it knows of, 0 where there was none; later ones come with the claim; -1
 * of a holder that does not know what it holds: it gets no message of a sender while an earlier one
 * is not noted as handed over (inbox_handed_call). ERR_FENCED: a newer subscriber has the inbox.
 * *ret_next_due_ms says when one more may be due: -1 where none is waiting, and after a pull that
 * was repeated, where it is not known. */
void inbox_claim_call(struct db_call *call, struct arena *arena, struct text agent,
                      const char *holder, int64_t epoch, int64_t max_in_flight, int64_t limit,
                      int64_t lease_ms, const char *token, int64_t known);
const char *inbox_claim_token(struct arena *arena);
enum error inbox_claim_result(struct arena *arena, struct text agent, struct db_rows *rows,
                              struct failure *failure, struct delivery **ret_deliveries,
                              size_t *ret_count, int64_t *ret_next_due_ms) MUST_CHECK;
/* Fills in what the message itself says; delivery->from must be set. */
void delivery_read_message(struct arena *arena, struct text agent, struct text serialization,
                           struct text message, struct delivery *delivery);
/* The frame's payload and the HTTP element: every field of `event inbox.message`. */
struct document *delivery_document(struct arena *arena, const struct delivery *delivery);

/* Acknowledge. `response` (JSON text or absent) completes whoever waits. Sets each id's outcome. */
enum ack_outcome { ACK_ACKED, ACK_ALREADY, ACK_STALE };
struct ack {
    struct text delivery_id;
    enum ack_outcome outcome;
};
struct ack_request {
    struct text delivery_id;
    struct text response;
};
/* Bytes of JSON of an answer that fits into the frame that tells the sender, where it stands as a
 * text within a text. Only a DBOS application that carries a message may give a longer one. */
int64_t inbox_response_max(const struct options *options);
/* The recipient's answer as JSON text; absent or null gives TEXT_NONE. ERR_TOO_LARGE: it would not
 * fit into the frame that tells the sender, where it stands as a text within a text. */
enum error inbox_response(struct arena *arena, const struct options *options,
                          const struct document *result, struct failure *failure,
                          struct text *ret_response) MUST_CHECK;
void inbox_ack_call(struct db_call *call, struct arena *arena, const struct engine *engine,
                    struct text agent, const struct ack_request *requests, size_t count);
/* Rings the senders that wait. */
enum error inbox_ack_result(const struct engine *engine, struct arena *arena, struct db_rows *rows,
                            struct failure *failure, struct ack **ret_acks,
                            size_t *ret_count) MUST_CHECK;

struct nack {
    bool dead;       /* it is a dead letter now */
    int64_t attempt; /* used up so far */
    int64_t next_attempt_at, next_attempt_in_ms;
};
/* delay_ms -1: backoff. requeue false: dead letter. ERR_STALE: not the current delivery. */
void inbox_nack_call(struct db_call *call, struct arena *arena, const struct engine *engine,
                     struct text agent, struct text delivery_id, int64_t delay_ms, bool requeue,
                     struct text reason);
enum error inbox_nack_result(const struct engine *engine, struct db_rows *rows,
                             struct failure *failure, struct nack *ret_nack) MUST_CHECK;

/* Extend: how many are still current, and the first end of their leases. Rings who waits for their
 * being handed over, which this says too. */
void inbox_extend_call(struct db_call *call, struct arena *arena, struct text agent,
                       const struct text *delivery_ids, size_t count, int64_t lease_ms);
enum error inbox_extend_result(const struct engine *engine, struct db_rows *rows,
                               struct failure *failure, size_t *ret_count,
                               int64_t *ret_lease_expires_at) MUST_CHECK;

/* Notes that deliveries were written to the recipient's connection. */
void inbox_handed_call(struct db_call *call, struct arena *arena, const struct text *delivery_ids,
                       size_t count);
enum error inbox_handed_result(const struct engine *engine, struct arena *arena,
                               struct db_rows *rows, struct failure *failure) MUST_CHECK;

struct inbox_stats {
    int64_t ready, in_flight, redelivered, oldest_ms /* -1: empty */, dead;
};
void inbox_stats_call(struct db_call *call, struct arena *arena, struct text agent);
enum error inbox_stats_result(struct db_rows *rows, struct failure *failure,
                              struct inbox_stats *ret_stats) MUST_CHECK;

/* The number before the dot; 0 where it is no delivery id. */
int64_t delivery_seq(struct text delivery_id);
/* It was leased with its acceptance (hand_over.h), not by a claim. */
bool delivery_handed_over(struct text delivery_id);

#endif
