/* SPDX-License-Identifier: MIT
 *
 * Messages as HTTP has them: a body to a request, a receipt to an answer.
 */
#ifndef OPENCLAW_HTTP_MESSAGE_BODY_H
#define OPENCLAW_HTTP_MESSAGE_BODY_H

#include "gateway/message_list.h"
#include "http/server.h"

/* message_request_read(), with the trace of the request. */
enum error message_from_body(struct http_context *context, const struct document *body,
                             struct message_request *ret_request) MUST_CHECK;

/* The principal a message is from: whoever has the token; with AUTH_MODE=none whoever it says. */
struct principal message_principal(const struct http_context *context,
                                   const struct message_request *request);

#endif
