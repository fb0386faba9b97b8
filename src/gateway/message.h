/* SPDX-License-Identifier: MIT
 *
 * Sending: what both faces turn a request into, and what they read of a message's fate.
 * protocol.md, Sending.
 */
#ifndef OPENCLAW_GATEWAY_MESSAGE_H
#define OPENCLAW_GATEWAY_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/document.h"
#include "durable/engine.h"
#include "gateway/principal.h"
#include "workflow/message_rules.h"

/* A message somebody wants sent. Fields are as the client gave them; message_check() judges. */
struct message_request {
    struct text key;           /* idempotency key; absent: every request is a new message */
    struct text from;          /* what the client claims; must be the principal, or absent */
    struct text to;            /* agent id, or a session key agent:<id>:<rest> */
    struct document *content;  /* any JSON value but null */
    struct document *metadata; /* an object, or NULL */
    int64_t timestamp;         /* the client's own, milliseconds, or 0; not part of its identity */
    int64_t delay_ms, ttl_ms, priority; /* -1: not given */
    bool expects_reply;
    const char *waiter; /* executor to ring when it is settled, or NULL */
    /* Attributes of its workflow, not part of its identity; each may be absent. The recipient gets
     * the traceparent. One that is none is ignored. */
    struct text traceparent, request_id;
};

enum message_status {
    MESSAGE_QUEUED,
    MESSAGE_DELIVERED,
    MESSAGE_ACKNOWLEDGED,
    MESSAGE_FAILED,
    MESSAGE_EXPIRED,
    MESSAGE_CANCELLED
};
const char *message_status_name(enum message_status status); /* "queued" … */

/* What is known of a message; never better than the truth. */
struct message_receipt {
    enum error error; /* OK, or why there is no message: nothing was written */
    struct failure failure;
    bool duplicate; /* the key was used before, for the same message */
    enum message_status status;
    struct text workflow_id;
    struct text principal;  /* whose it is, where it was looked for */
    struct text message_id; /* the client's key where it gave one, else the workflow's id */
    int64_t inbox_seq;
    int64_t attempts;
    struct text last_attempt; /* RFC 3339, or absent */
    struct text response;     /* the recipient's answer, JSON text, or absent */
    struct text reason;       /* why it failed, or absent */
    int64_t now_ms;           /* the database's clock */
};

/* A set of messages accepted by one call. */
struct message_batch;
struct message_batch *message_batch_new(struct arena *arena, const struct engine *engine);
/* Checks (ids, sizes, from, scope `send`) and adds; returns the index. A message that is refused
 * here has its receipt at once and does not reach the database. */
size_t message_batch_add(struct message_batch *batch, const struct principal *principal,
                         const struct message_request *request);
size_t message_batch_count(const struct message_batch *batch);
bool message_batch_call(struct message_batch *batch,
                        struct db_call *ret_call); /* false: nothing to send */
/* Reads the answer and rings who has something to look at. */
enum error message_batch_result(struct message_batch *batch, struct db_rows *rows,
                                struct failure *failure) MUST_CHECK;
const struct message_receipt *message_batch_receipt(const struct message_batch *batch,
                                                    size_t index);

/* What became of messages that were accepted before. `ids` are workflow ids; seqs[i] the inbox_seq
 * of the receipt, or 0. Receipts come in the order of the rows; unknown ids have none. */
void message_look_call(struct db_call *call, struct arena *arena, const struct text *ids,
                       const int64_t *seqs, size_t count);
enum error message_look_result(struct arena *arena, struct db_rows *rows, struct failure *failure,
                               struct message_receipt **ret_receipts, size_t *ret_count) MUST_CHECK;

/* {messageId,status,deliveryAttempts,lastAttemptTime,response?}, the result of routeAgentMessage.
 */
struct document *message_result(struct arena *arena, const struct message_receipt *receipt);

/* What a principal calls a workflow: BY_RUN_ID, by what an answer called runId, which is its key,
 * or where it has none its id; or BY_WORKFLOW_ID, by its id, or by its key alone. A key may look
 * like an id, one with a colon as somebody else's; so what is meant is found among the principal's
 * own, under the first of two ids that is there. An operator finds anybody's. */
enum workflow_reference { BY_RUN_ID, BY_WORKFLOW_ID };
#define WORKFLOW_IDS_MEANT 2
void message_ids_meant(struct arena *arena, const struct principal *principal,
                       enum workflow_reference reference, struct text given,
                       struct text ret_ids[WORKFLOW_IDS_MEANT]);
/* The parameters of workflow_get.sql and workflow_find.sql. Whoever has no principal means the
 * workflow with this very id, whosever it is. */
void message_add_meant(struct db_call *call, struct arena *arena, const struct principal *principal,
                       enum workflow_reference reference, struct text given);
/* The id of a workflow that it makes: its own, also where it looks like a UUID, unless it is an
 * operator; so it learns nothing of others' ids, and takes none of them. */
struct text message_new_workflow_id(struct arena *arena, const struct principal *principal,
                                    struct text id);

/* "agent:alice:main" and "alice" give "alice"; absent where it is neither. */
struct text message_recipient(struct text to);

#endif
