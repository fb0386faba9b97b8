/* SPDX-License-Identifier: MIT
 *
 * Messages as HTTP has them: a body to a request, a receipt to an answer.
 */
#ifndef OPENCLAW_HTTP_MESSAGE_BODY_H
#define OPENCLAW_HTTP_MESSAGE_BODY_H

#include "gateway/message.h"
#include "http/server.h"

/* {id?,from?,to,content,metadata?,timestamp?,delayMs?,ttlMs?,priority?}. Judges types; whether it
 * may be sent is message_batch_add()'s affair. Errors: INVALID_REQUEST. */
enum error message_from_body(struct http_context *context, const struct document *body,
                             struct message_request *ret_request) MUST_CHECK;

/* {success,workflowUuid,result:{messageId,status,deliveryAttempts,lastAttemptTime,response?}} */
struct document *message_answer(struct arena *arena, const struct message_receipt *receipt);

/* The principal a message is from: whoever has the token; with AUTH_MODE=none whoever it says. */
struct principal message_principal(const struct http_context *context,
                                   const struct message_request *request);

#endif
