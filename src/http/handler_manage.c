/* SPDX-License-Identifier: MIT
 *
 * POST /workflows/:id/cancel, resume, fork, restart, rewind, and DELETE /workflows/:id. What is
 * somebody else's does not exist.
 */
#include "gateway/manage.h"
#include "gateway/message.h"
#include "http/handler.h"

#define STEP_MAX INT32_MAX

enum error handle_workflow_manage(struct http_context *context)
{
    struct http_request *request = context->request;
    struct manage manage = {
        .principal =
            principal_may(&context->principal, SCOPE_OPERATOR) ? NULL : context->principal.id,
        .by = context->principal.id,
        .verb = "delete",
        .id = message_workflow_id(context->arena, &context->principal, context->params[0]),
        .new_id = request_query(request, "newId"),
        .version = request_query(request, "version"),
        .queue = request_query(request, "queue"),
        .children = text_is(request_query(request, "children"), "1"),
    };
    struct document *answer;
    struct db_rows *rows;
    struct db_call call;
    enum error error =
        request_query_int(request, "step", 0, STEP_MAX, 0, &context->failure, &manage.step);

    if (error != OK)
        return error;
    if (manage.new_id.data && !text_is_workflow_id(manage.new_id))
        return failure_set(&context->failure, ERR_INVALID_ID, "newId is no workflow id");
    if (manage.new_id.data)
        manage.new_id = message_workflow_id(context->arena, &context->principal, manage.new_id);
    if (request->method == HTTP_POST)
        manage.verb = arena_text(context->arena, request->segments[2]).data;
    if (!text_is_workflow_id(manage.id))
        return failure_set(&context->failure, ERR_NOT_FOUND, "there is no such workflow");
    manage_call(&call, context->arena, &context->server->engine, &manage);
    error = handler_run(context, &call, &rows);
    if (error == OK)
        error = manage_result(&context->server->engine, context->arena, rows, &context->failure,
                              &answer);
    if (error == OK)
        response_json(context->response, 200, answer);
    return error;
}
