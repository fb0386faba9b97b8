/* SPDX-License-Identifier: MIT
 *
 * POST /workflows/:name. The workflows that are waited for: handler_lifecycle.c.
 */
#include "gateway/start.h"
#include "http/handler.h"

static void write_outcome(struct http_context *context, const struct workflow_start *start,
                          const struct workflow_outcome *outcome)
{
    bool finished = start_finished(outcome);

    if (outcome->kind == WORKFLOW_EXISTS)
        response_header(context->response, "Idempotency-Replayed", TEXT_LITERAL("true"));
    if (!finished)
        handler_workflow_location(context, start->id);
    if (!finished && context->request->respond_async)
        response_header(context->response, "Preference-Applied", TEXT_LITERAL("respond-async"));
    response_json(context->response, finished ? 200 : 202,
                  start_answer(context->arena, start, outcome));
}

enum error handle_workflow_start(struct http_context *context)
{
    struct http_server *server = context->server;
    struct start_request request = {
        .name = context->params[0],
        .principal = context->principal.id,
        .input = document_get(context->body, "input"),
        .traceparent = context->request->traceparent,
        .request_id = context->request->given_id,
    };
    struct workflow_outcome outcome = {.kind = WORKFLOW_COMMITTED};
    struct workflow_start start;
    enum error error = idempotency_key(context, TEXT_NONE, &request.key);

    if (error == OK)
        error = start_prepare(context->arena, &server->engine, &request, &context->failure, &start);
    if (error == OK)
        error = http_server_start(server, context->arena, &start, &context->failure, &outcome);
    if (error == OK)
        error = start_refusal(&outcome, &context->failure);
    if (error == OK)
        write_outcome(context, &start, &outcome);
    return error;
}
