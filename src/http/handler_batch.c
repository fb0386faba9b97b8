/* SPDX-License-Identifier: MIT
 *
 * POST /messages/batch: an array, or one message on each line (NDJSON). All that are well-formed
 * go to the database in one call; each item has its own answer, in the order of the items.
 */
#include "http/handler.h"

#include "http/committer.h"
#include "http/message_body.h"

enum error handle_message_batch(struct http_context *context)
{
    struct arena *arena = context->arena;
    struct message_receipt *receipts = NULL;
    struct message_list list;
    enum error error = idempotency_key_refuse(context, "give each item an id");

    if (error == OK)
        error = message_list_read(arena, context->server->options, context->request->body,
                                  request_is_media(context->request, "application/x-ndjson", NULL),
                                  &context->failure, &list);
    if (error != OK)
        return error;
    for (size_t i = 0; i < list.sendable; i++) {
        list.requests[i].traceparent = context->request->traceparent;
        list.requests[i].request_id = context->request->given_id;
    }
    if (list.sendable > 0) {
        /* With AUTH_MODE=none all are from whoever the first says: one batch has one sender. */
        struct principal principal = message_principal(context, &list.requests[0]);

        receipts = arena_array(arena, list.sendable, sizeof(*receipts));
        error =
            committer_send(context->server->committer, arena, &principal, list.requests,
                           list.sendable, context->request->body.len, &context->failure, receipts);
        if (error != OK)
            return error;
    }
    response_json(context->response, 200,
                  message_list_answer(arena, &list, receipts, problem_document));
    return OK;
}
