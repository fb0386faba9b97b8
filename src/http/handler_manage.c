/* SPDX-License-Identifier: MIT
 *
 * POST /workflows/:id/cancel, resume, recover, fork, restart, rewind, and DELETE /workflows/:id.
 * What is somebody else's does not exist.
 */
#include "gateway/manage.h"
#include "gateway/message.h"
#include "http/handler.h"

#define STEP_MAX INT32_MAX

/* {startStep?,newId?,version?,queue?,children?}, as far as the route knows them: the same as the
 * query says; what stands here counts. */
static enum error read_body(struct http_context *context, struct manage *manage)
{
    static const char *const names[] = {"newId", "version", "queue"};
    struct text *const values[] = {&manage->new_id, &manage->version, &manage->queue};
    const struct document *children = document_get(context->body, "children");
    int64_t step;
    enum error error = body_int(context, context->body, "startStep", manage->step, &step);

    if (error == OK && (step < 0 || step > STEP_MAX))
        error = failure_set(&context->failure, ERR_INVALID_REQUEST, "startStep is not negative");
    for (size_t i = 0; error == OK && i < sizeof(names) / sizeof(names[0]); i++) {
        struct text value;

        error = body_text(context, context->body, names[i], &value);
        if (error == OK && value.data != NULL)
            *values[i] = value;
    }
    if (error == OK && document_kind(children) > DOCUMENT_NULL &&
        document_kind(children) != DOCUMENT_BOOL)
        error =
            failure_set(&context->failure, ERR_INVALID_REQUEST, "children must be true or false");
    if (error != OK)
        return error;
    manage->children = document_bool(children, manage->children);
    manage->step = step;
    return OK;
}

static enum error read_children(struct http_context *context, bool *ret_children)
{
    struct text value = request_query(context->request, "children");

    if (value.data != NULL && !text_is(value, "0") && !text_is(value, "1"))
        return failure_set(&context->failure, ERR_INVALID_REQUEST, "children must be 0 or 1");
    *ret_children = text_is(value, "1");
    return OK;
}

enum error handle_workflow_manage(struct http_context *context)
{
    struct http_request *request = context->request;
    struct manage manage = {
        .principal =
            principal_may(&context->principal, SCOPE_OPERATOR) ? NULL : context->principal.id,
        .by = context->principal.id,
        .verb = "delete",
        .new_id = request_query(request, "newId"),
        .version = request_query(request, "version"),
        .queue = request_query(request, "queue"),
        .traceparent = request->traceparent,
        .request_id = request->given_id,
    };
    struct document *answer;
    struct db_rows *rows;
    struct db_call call;
    enum error error =
        request_query_int(request, "step", 0, STEP_MAX, 0, &context->failure, &manage.step);

    if (error == OK)
        error = idempotency_key_refuse(context, "newId is the key of what it makes");
    if (error == OK)
        error = read_children(context, &manage.children);
    if (error == OK && context->body != NULL)
        error = read_body(context, &manage);
    if (error == OK)
        error = handler_workflow_id(context, &manage.id);
    if (error != OK)
        return error;
    if (manage.new_id.data && !text_is_workflow_id(manage.new_id))
        return failure_set(&context->failure, ERR_INVALID_ID, "newId is no workflow id");
    if (manage.new_id.data)
        manage.new_id = message_new_workflow_id(context->arena, &context->principal, manage.new_id);
    if (request->method == HTTP_POST)
        manage.verb = arena_text(context->arena, request->segments[2]).data;
    if (text_is(text_of(manage.verb), "recover"))
        manage.verb = "resume"; /* from its last checkpoint, whoever held it */
    manage_call(&call, context->arena, &context->server->engine, &manage);
    error = handler_run(context, &call, &rows);
    if (error == OK)
        error = manage_result(&context->server->engine, context->arena, rows, &context->failure,
                              &answer);
    if (error == OK)
        response_json(context->response, 200, answer);
    return error;
}
