/* SPDX-License-Identifier: MIT
 *
 * Many messages in one request, for HTTP and gatewayctl: a JSON array, or one message on each line
 * (NDJSON). Each item has its own answer, in the order of the items.
 */
#ifndef OPENCLAW_GATEWAY_MESSAGE_LIST_H
#define OPENCLAW_GATEWAY_MESSAGE_LIST_H

#include "base/option.h"
#include "gateway/message.h"

#define MESSAGE_LIST_MAX       1000
#define MESSAGE_LIST_BYTES_MAX 8388608 /* of the request */

/* {id?,from?,to,content,metadata?,timestamp?,delayMs?,ttlMs?,priority?}. Judges types; whether it
 * may be sent is message_batch_add()'s affair. Errors: INVALID_REQUEST. */
enum error message_request_read(const struct document *object, struct failure *failure,
                                struct message_request *ret_request) MUST_CHECK;
/* {success,workflowUuid,result:{messageId,status,deliveryAttempts,lastAttemptTime,response?}} */
struct document *message_answer(struct arena *arena, const struct message_receipt *receipt);

struct message_list {
    size_t count;             /* items */
    size_t sendable;          /* of them in `requests` */
    struct failure *failures; /* of item i; error OK: it is requests[positions[i]] */
    size_t *positions;
    struct message_request *requests;
};
/* `lines`: NDJSON. An item that is none has its failure; the others go on. Errors: of an array that
 * is none, TOO_LARGE for too many, INVALID_REQUEST for none at all. */
enum error message_list_read(struct arena *arena, const struct options *options, struct text body,
                             bool lines, struct failure *failure,
                             struct message_list *ret_list) MUST_CHECK;
/* {success,accepted,refused,results:[…]}; receipts[i] is of requests[i]; `refusal` makes an item
 * that says why. */
struct document *message_list_answer(struct arena *arena, const struct message_list *list,
                                     const struct message_receipt *receipts,
                                     struct document *(*refusal)(struct arena *arena,
                                                                 const struct failure *failure));

#endif
