/* SPDX-License-Identifier: MIT */
#include "http/handler.h"

#include "base/clock.h"
#include "http/committer.h"
#include "http/message_body.h"
#include "http/waiting_room.h"

static void write_receipt(struct http_context *context, const struct message_receipt *receipt)
{
    struct http_response *response = context->response;
    const struct http_request *request = context->request;
    bool later = request->respond_async && !message_is_settled(receipt);

    if (receipt->duplicate)
        response_header(response, "Idempotency-Replayed", TEXT_LITERAL("true"));
    if (later)
        handler_workflow_location(context, receipt->workflow_id);
    response_json(response, later ? 202 : 200, message_answer(context->arena, receipt));
}

/* Sends, and waits where that is wanted: what was applied is said in Preference-Applied. */
static enum error send_and_wait(struct http_context *context, const struct principal *principal,
                                struct message_request *message)
{
    struct http_server *server = context->server;
    const struct http_request *request = context->request;
    int64_t wait_s = request->wait_s > WAIT_MAX_S ? WAIT_MAX_S : request->wait_s;
    bool waits = wait_s > 0;
    struct message_receipt receipt;
    uint64_t mark = 0;
    enum error error;

    if (waits) {
        error =
            waiting_room_enter(server->waiting_room, &context->principal, &context->failure, &mark);
        if (error != OK)
            return error;
        message->waiter = server->engine.executor.id;
    }
    error = committer_send(server->committer, context->arena, principal, message, 1,
                           request->body.len, &context->failure, &receipt);
    if (error == OK && receipt.error == OK && waits && !message_is_settled(&receipt))
        (void)waiting_room_message(server->waiting_room, request, mark, clock_ms() + wait_s * 1000,
                                   &receipt);
    if (waits)
        waiting_room_leave(server->waiting_room, &context->principal);
    if (error != OK)
        return error;
    if (receipt.error != OK) {
        context->failure = receipt.failure;
        return receipt.error;
    }
    handler_preference_applied(context, wait_s);
    write_receipt(context, &receipt);
    return OK;
}

enum error handle_message_send(struct http_context *context)
{
    struct message_request message;
    struct principal principal;
    enum error error = message_from_body(context, context->body, &message);

    if (error == OK)
        error = idempotency_key(context, message.key, &message.key);
    if (error != OK)
        return error;
    principal = message_principal(context, &message);
    return send_and_wait(context, &principal, &message);
}
