/* SPDX-License-Identifier: MIT
 *
 * What a client says of its deliveries, as a frame's params or a request's body: one reading for
 * both. protocol.md, Receiving.
 */
#ifndef OPENCLAW_GATEWAY_DELIVERY_REQUEST_H
#define OPENCLAW_GATEWAY_DELIVERY_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/document.h"
#include "base/option.h"

#define NACK_REASON_MAX 1000 /* bytes */

/* Texts are the document's. */
struct delivery_request {
    struct text *ids; /* 1 to INBOX_ACK_MAX of 1 to DELIVERY_ID_MAX bytes */
    size_t count;
    struct text response; /* of an acknowledgement: JSON text, or absent */
    struct text reason;   /* of a nack: at most NACK_REASON_MAX bytes, or absent */
    int64_t delay_ms;     /* of a nack: 0 to MESSAGE_DELAY_MAX_MS; -1: not given */
    bool requeue;         /* of a nack */
    int64_t lease_ms;     /* of an extend: INBOX_LEASE_MIN_MS to INBOX_LEASE_MAX_MS */
};

/* ERR_INVALID_REQUEST, also for a member that is none of the request's; ERR_TOO_LARGE: the answer
 * would not fit into the frame that tells the sender. */
enum error ack_request_read(struct arena *arena, const struct options *options,
                            const struct document *params, struct failure *failure,
                            struct delivery_request *ret_request) MUST_CHECK;
enum error nack_request_read(struct arena *arena, const struct document *params,
                             struct failure *failure,
                             struct delivery_request *ret_request) MUST_CHECK;
enum error extend_request_read(struct arena *arena, const struct options *options,
                               const struct document *params, struct failure *failure,
                               struct delivery_request *ret_request) MUST_CHECK;

#endif
