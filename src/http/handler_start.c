/* SPDX-License-Identifier: MIT
 *
 * Starting workflows by name. Those that are waited for: handler_lifecycle.c.
 */
#include "http/handler.h"

#include "gateway/message.h"
#include "http/payload.h"
#include "workflow/registry.h"

enum error handler_start_refusal(struct http_context *context,
                                 const struct workflow_outcome *outcome)
{
    switch (outcome->kind) {
    case WORKFLOW_CONFLICT:
        return failure_set(&context->failure, ERR_IDEMPOTENCY_CONFLICT,
                           "repeat the same request, or use a new key");
    case WORKFLOW_REFUSED:
        context->failure = outcome->failure;
        if (context->failure.error == OK)
            return failure_set(&context->failure, outcome->reason, "%s", "");
        return outcome->reason;
    case WORKFLOW_FENCED: /* another executor has taken it over: it goes on there */
    case WORKFLOW_COMMITTED:
    case WORKFLOW_EXISTS:
        return OK;
    }
    return OK;
}

static void write_outcome(struct http_context *context, const struct workflow_start *start,
                          const struct workflow_outcome *outcome)
{
    struct document *answer = document_object(context->arena);
    bool finished = outcome->output.data != NULL || outcome->error.data != NULL ||
                    text_is(outcome->status, "SUCCESS") || text_is(outcome->status, "ERROR");

    document_put_bool(answer, "success", outcome->error.data == NULL);
    document_put_text(answer, "workflowUuid", start->id);
    document_put_text(answer, "status",
                      outcome->status.data != NULL ? outcome->status : TEXT_LITERAL("PENDING"));
    if (finished)
        document_put(answer, "result", payload_value(context->arena, TEXT_NONE, outcome->output));
    if (outcome->error.data != NULL)
        document_put(answer, "error", payload_value(context->arena, TEXT_NONE, outcome->error));
    if (outcome->kind == WORKFLOW_EXISTS)
        response_header(context->response, "Idempotency-Replayed", TEXT_LITERAL("true"));
    if (!finished)
        handler_workflow_location(context, start->id);
    if (!finished && context->request->respond_async)
        response_header(context->response, "Preference-Applied", TEXT_LITERAL("respond-async"));
    response_json(context->response, finished ? 200 : 202, answer);
}

static enum error start_and_answer(struct http_context *context, struct workflow_start *start)
{
    struct workflow_outcome outcome = {.kind = WORKFLOW_COMMITTED};
    enum error error =
        http_server_start(context->server, context->arena, start, &context->failure, &outcome);

    if (error == OK)
        error = handler_start_refusal(context, &outcome);
    if (error != OK)
        return error;
    write_outcome(context, start, &outcome);
    return OK;
}

enum error handle_workflow_start(struct http_context *context)
{
    struct workflow_start start = {
        .definition = engine_find(&context->server->engine, context->params[0]),
        .principal = text_of(context->principal.id),
        .input = document_get(context->body, "input"),
        .traceparent = context->request->traceparent,
        .request_id = context->request->given_id,
    };
    struct text key;
    enum error error = idempotency_key(context, TEXT_NONE, &key);

    if (error != OK)
        return error;
    if (start.definition == NULL || !start.definition->startable)
        return failure_set(&context->failure, ERR_UNKNOWN_WORKFLOW,
                           "the table of workflows has no startable one of this name");
    /* A message is a message, however it is sent: the scope, the checks and the id are the same. */
    if (start.definition == workflow_route_agent_message)
        return failure_set(&context->failure, ERR_INVALID_REQUEST,
                           "send messages by POST /messages");
    start.id = handler_workflow_id(context, key);
    return start_and_answer(context, &start);
}
