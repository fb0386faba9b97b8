/* SPDX-License-Identifier: MIT */
#include "http/message_body.h"

#include "http/handler.h"

static bool given(const struct document *body, const char *key)
{
    return document_kind(document_get(body, key)) == DOCUMENT_INT;
}

enum error message_from_body(struct http_context *context, const struct document *body,
                             struct message_request *ret_request)
{
    struct message_request request = {.delay_ms = -1,
                                      .ttl_ms = -1,
                                      .priority = -1,
                                      .traceparent = context->request->traceparent,
                                      .request_id = context->request->given_id};
    const struct document *metadata = document_get(body, "metadata");
    const struct document *timestamp = document_get(body, "timestamp");
    enum error error;

    if (document_kind(body) != DOCUMENT_OBJECT)
        return failure_set(&context->failure, ERR_INVALID_REQUEST,
                           "a message must be a JSON object");
    if ((error = body_text(context, body, "id", &request.key)) != OK ||
        (error = body_text(context, body, "from", &request.from)) != OK ||
        (error = body_text(context, body, "to", &request.to)) != OK ||
        (error = body_int(context, body, "delayMs", -1, &request.delay_ms)) != OK ||
        (error = body_int(context, body, "ttlMs", -1, &request.ttl_ms)) != OK ||
        (error = body_int(context, body, "priority", -1, &request.priority)) != OK)
        return error;
    /* -1 means "not given" below this; who gives a negative number must not be taken for that */
    if ((request.delay_ms < 0 && given(body, "delayMs")) ||
        (request.ttl_ms < 0 && given(body, "ttlMs")) ||
        (request.priority < 0 && given(body, "priority")))
        return failure_set(&context->failure, ERR_INVALID_REQUEST,
                           "delayMs, ttlMs and priority are not negative");
    if (document_kind(metadata) != DOCUMENT_ABSENT && document_kind(metadata) != DOCUMENT_NULL &&
        document_kind(metadata) != DOCUMENT_OBJECT)
        return failure_set(&context->failure, ERR_INVALID_REQUEST, "metadata must be an object");
    request.content = document_get(body, "content");
    request.metadata =
        document_kind(metadata) == DOCUMENT_OBJECT ? document_get(body, "metadata") : NULL;
    /* A client's own time is carried along where it is a number, and decides nothing. */
    request.timestamp = document_kind(timestamp) == DOCUMENT_INT ? document_int(timestamp, 0) : 0;
    *ret_request = request;
    return OK;
}

struct document *message_answer(struct arena *arena, const struct message_receipt *receipt)
{
    struct document *answer = document_object(arena);

    document_put_bool(answer, "success", true);
    document_put_text(answer, "workflowUuid", receipt->workflow_id);
    document_put(answer, "result", message_result(arena, receipt));
    return answer;
}

struct principal message_principal(const struct http_context *context,
                                   const struct message_request *request)
{
    struct principal principal = context->principal;

    if (context->server->options->auth_mode == AUTH_NONE && text_is_agent_id(request->from))
        principal_anybody(request->from, &principal);
    return principal;
}
