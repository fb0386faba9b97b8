/* SPDX-License-Identifier: MIT */
#include "http/message_body.h"

#include "http/handler.h"

enum error message_from_body(struct http_context *context, const struct document *body,
                             struct message_request *ret_request)
{
    enum error error = message_request_read(body, &context->failure, ret_request);

    if (error == OK) {
        ret_request->traceparent = context->request->traceparent;
        ret_request->request_id = context->request->given_id;
    }
    return error;
}

struct principal message_principal(const struct http_context *context,
                                   const struct message_request *request)
{
    struct principal principal = context->principal;

    if (context->server->options->auth_mode == AUTH_NONE && text_is_agent_id(request->from))
        principal_anybody(request->from, &principal);
    return principal;
}
