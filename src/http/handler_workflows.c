/* SPDX-License-Identifier: MIT
 *
 * Reading workflows. A principal sees those it started, an operator all; somebody else's look the
 * same as none.
 */
#include "http/handler.h"

#include <string.h>

#include "db/statement.h"
#include "durable/status.h"
#include "gateway/message.h"
#include "gateway/payload.h"

#define LIST_LIMIT_DEFAULT  50
#define LIST_LIMIT_MAX      500
#define ATTRIBUTE_MAX       256 /* bytes */
#define PARTS_LIMIT_DEFAULT 500
#define PARTS_LIMIT_MAX     1000

/* Columns of workflow_get.sql. */
enum {
    GET_ID,
    GET_STATUS,
    GET_NAME,
    GET_PRINCIPAL,
    GET_SERIALIZATION,
    GET_INPUT,
    GET_OUTPUT,
    GET_ERROR,
    GET_EXECUTOR,
    GET_APP,
    GET_VERSION,
    GET_QUEUE,
    GET_ATTEMPTS,
    GET_CREATED,
    GET_UPDATED,
    GET_STARTED,
    GET_COMPLETED,
    GET_DELAY,
    GET_DEADLINE,
    GET_PARENT,
    GET_FORKED,
    GET_PRIORITY,
    GET_ATTRIBUTES
};

static enum error not_found(struct http_context *context, struct text id)
{
    struct document *problem;

    (void)failure_set(&context->failure, ERR_NOT_FOUND, "there is no such workflow");
    problem = problem_document(context->arena, &context->failure);
    document_put_text(problem, "workflowUuid", id);
    /* in the place of the number, which the status line has: clients switch on this word */
    document_put_string(problem, "status", "not_found");
    response_problem_document(context->response, &context->failure, problem);
    return ERR_NOT_FOUND;
}

/* Runs `statement` for the workflow of the path; no rows: there is none that one may see. */
static enum error run_for_path(struct http_context *context, enum statement statement,
                               struct db_rows **ret_rows)
{
    struct db_call call;
    enum error error;

    if (!text_is_any_workflow_id(context->params[0]))
        return not_found(context, context->params[0]);
    db_call_init(&call, context->arena, statement);
    message_add_meant(&call, context->arena, &context->principal, BY_WORKFLOW_ID,
                      context->params[0]);
    error = handler_run(context, &call, ret_rows);
    if (error == OK && db_rows_count(*ret_rows) == 0)
        return not_found(context, context->params[0]);
    return error;
}

enum error handler_workflow_id(struct http_context *context, struct text *ret_id)
{
    struct db_rows *rows;
    enum error error = run_for_path(context, STATEMENT_WORKFLOW_FIND, &rows);

    if (error == OK)
        *ret_id = db_text(rows, 0, 0);
    return error;
}

static struct document *column(struct http_context *context, struct db_rows *rows, size_t row,
                               unsigned column)
{
    return document_from_text(context->arena, db_text(rows, row, column));
}

static void put_workflow(struct http_context *context, struct db_rows *rows,
                         struct document *workflow)
{
    struct text serialization = db_text(rows, 0, GET_SERIALIZATION);
    struct arena *arena = context->arena;

    document_put_text(workflow, "workflowUuid", db_text(rows, 0, GET_ID));
    document_put_text(workflow, "status", db_text(rows, 0, GET_STATUS));
    document_put(workflow, "name", column(context, rows, 0, GET_NAME));
    document_put(workflow, "principal", column(context, rows, 0, GET_PRINCIPAL));
    document_put(workflow, "input",
                 payload_input(arena, serialization, db_text(rows, 0, GET_INPUT)));
    document_put(workflow, "output",
                 payload_value(arena, serialization, db_text(rows, 0, GET_OUTPUT)));
    document_put(workflow, "error",
                 payload_value(arena, serialization, db_text(rows, 0, GET_ERROR)));
    document_put(workflow, "createdAt", handler_time(context, rows, 0, GET_CREATED));
    document_put(workflow, "updatedAt", handler_time(context, rows, 0, GET_UPDATED));
    document_put(workflow, "startedAt", handler_time(context, rows, 0, GET_STARTED));
    document_put(workflow, "completedAt", handler_time(context, rows, 0, GET_COMPLETED));
    document_put(workflow, "delayUntil", handler_time(context, rows, 0, GET_DELAY));
    document_put(workflow, "deadline", handler_time(context, rows, 0, GET_DEADLINE));
    document_put(workflow, "executorId", column(context, rows, 0, GET_EXECUTOR));
    document_put(workflow, "applicationName", column(context, rows, 0, GET_APP));
    document_put(workflow, "applicationVersion", column(context, rows, 0, GET_VERSION));
    document_put(workflow, "queueName", column(context, rows, 0, GET_QUEUE));
    document_put_int(workflow, "recoveryAttempts", db_int_or(rows, 0, GET_ATTEMPTS, 0));
    document_put_int(workflow, "priority", db_int_or(rows, 0, GET_PRIORITY, 0));
    document_put(workflow, "parentWorkflowUuid", column(context, rows, 0, GET_PARENT));
    document_put(workflow, "forkedFrom", column(context, rows, 0, GET_FORKED));
    document_put(workflow, "attributes",
                 payload_value(arena, TEXT_NONE, db_text(rows, 0, GET_ATTRIBUTES)));
}

enum error handle_workflow_get(struct http_context *context)
{
    struct document *answer = document_object(context->arena);
    struct db_rows *rows;
    enum error error = run_for_path(context, STATEMENT_WORKFLOW_GET, &rows);

    if (error != OK)
        return error;
    put_workflow(context, rows, answer);
    error = db_rows_error(rows, &context->failure);
    if (error == OK)
        response_json(context->response, 200, answer);
    return error;
}

/* ---- the parts of one workflow ----------------------------------------------------------------
 */

/* Runs `statement` for a page of the workflow of the path, if its principal may see it. */
static enum error run_for_workflow(struct http_context *context, enum statement statement,
                                   struct text *ret_id, int64_t *ret_limit,
                                   struct db_rows **ret_rows)
{
    struct db_call call;
    enum error error = request_query_int(context->request, "limit", 1, PARTS_LIMIT_MAX,
                                         PARTS_LIMIT_DEFAULT, &context->failure, ret_limit);

    if (error == OK)
        error = handler_workflow_id(context, ret_id);
    if (error != OK)
        return error;
    db_call_init(&call, context->arena, statement);
    db_add_text(&call, *ret_id);
    error = handler_add_cursor(context, &call);
    if (error != OK)
        return error;
    db_add_int(&call, *ret_limit + 1);
    return handler_run(context, &call, ret_rows);
}

/* The page that run_for_workflow() has asked for. */
static enum error write_parts(struct http_context *context, enum statement statement,
                              const struct handler_list *list)
{
    struct document *answer = document_object(context->arena);
    struct db_rows *rows;
    struct text id;
    int64_t limit;
    enum error error = run_for_workflow(context, statement, &id, &limit, &rows);

    if (error != OK)
        return error;
    document_put_text(answer, "workflowUuid", id);
    error = handler_put_page(context, list, rows, limit, answer);
    if (error == OK)
        response_json(context->response, 200, answer);
    return error;
}

static struct document *step_document(struct http_context *context, struct db_rows *rows,
                                      size_t row)
{
    struct document *step = document_object(context->arena);
    struct text serialization = db_text(rows, row, 7);

    document_put_int(step, "stepId", db_int(rows, row, 0));
    document_put(step, "name", column(context, rows, row, 1));
    document_put(step, "output",
                 payload_value(context->arena, serialization, db_text(rows, row, 2)));
    document_put(step, "error",
                 payload_value(context->arena, serialization, db_text(rows, row, 3)));
    document_put(step, "childWorkflowUuid", column(context, rows, row, 4));
    document_put(step, "startedAt", handler_time(context, rows, row, 5));
    document_put(step, "completedAt", handler_time(context, rows, row, 6));
    return step;
}

static struct document *step_cursor(struct http_context *context, struct db_rows *rows, size_t row)
{
    return handler_cursor(context, db_int(rows, row, 0), TEXT_LITERAL(""));
}

static const struct handler_list steps_list = {"steps", step_document, step_cursor};

enum error handle_workflow_steps(struct http_context *context)
{
    return write_parts(context, STATEMENT_WORKFLOW_STEP_PAGE, &steps_list);
}

static struct document *event_document(struct http_context *context, struct db_rows *rows,
                                       size_t row)
{
    struct document *event = document_object(context->arena);

    document_put_int(event, "stepId", db_int(rows, row, 0));
    document_put(event, "key", column(context, rows, row, 1));
    document_put(event, "value",
                 payload_value(context->arena, db_text(rows, row, 3), db_text(rows, row, 2)));
    return event;
}

static struct document *event_cursor(struct http_context *context, struct db_rows *rows, size_t row)
{
    return handler_cursor(context, db_int(rows, row, 0), db_text(rows, row, 1));
}

static const struct handler_list events_list = {"events", event_document, event_cursor};

enum error handle_workflow_events(struct http_context *context)
{
    return write_parts(context, STATEMENT_WORKFLOW_EVENT_PAGE, &events_list);
}

/* ---- the list -----------------------------------------------------------------------------------
 */

static enum error add_statuses(struct http_context *context, struct db_call *call)
{
    struct text wanted = request_query(context->request, "status");
    struct text statuses[WORKFLOW_STATUS_COUNT];
    size_t count;

    if (wanted.data == NULL) {
        db_add_null(call);
        return OK;
    }
    enum error error = workflow_statuses_parse(wanted, statuses, &count, &context->failure);
    if (error == OK)
        db_add_texts(call, statuses, count);
    return error;
}

static enum error add_times(struct http_context *context, struct db_call *call)
{
    static const char *const names[] = {"since", "until"};

    for (int i = 0; i < 2; i++) {
        int64_t ms;
        enum error error =
            request_query_int(context->request, names[i], 0, INT64_MAX, -1, &context->failure, &ms);

        if (error != OK)
            return error;
        if (ms < 0)
            db_add_null(call);
        else
            db_add_int(call, ms);
    }
    return OK;
}

/* "name:value", a string among the workflow's attributes. */
static enum error add_attribute(struct http_context *context, struct db_call *call)
{
    struct text wanted = request_query(context->request, "attribute");
    const char *colon = wanted.len > 0 ? memchr(wanted.data, ':', wanted.len) : NULL;
    struct document *object = document_object(context->arena);
    struct text name;

    if (wanted.data == NULL) {
        db_add_null(call);
        return OK;
    }
    if (colon == NULL || colon == wanted.data || wanted.len > ATTRIBUTE_MAX)
        return failure_set(&context->failure, ERR_INVALID_REQUEST, "attribute is name:value");
    name = arena_text(context->arena, (struct text){wanted.data, (size_t)(colon - wanted.data)});
    document_put_text(object, name.data,
                      (struct text){colon + 1, wanted.len - (size_t)(colon + 1 - wanted.data)});
    db_add_text(call, document_text(context->arena, object));
    return OK;
}

static struct document *list_item(struct http_context *context, struct db_rows *rows, size_t row)
{
    struct document *item = document_object(context->arena);

    document_put_text(item, "workflowUuid", db_text(rows, row, 0));
    document_put_text(item, "status", db_text(rows, row, 1));
    document_put(item, "name", column(context, rows, row, 2));
    document_put(item, "principal", column(context, rows, row, 3));
    document_put(item, "queueName", column(context, rows, row, 4));
    document_put_int(item, "recoveryAttempts", db_int_or(rows, row, 5, 0));
    document_put(item, "createdAt", handler_time(context, rows, row, 6));
    document_put(item, "updatedAt", handler_time(context, rows, row, 7));
    document_put(item, "completedAt", handler_time(context, rows, row, 8));
    document_put(item, "applicationName", column(context, rows, row, 9));
    document_put(item, "executorId", column(context, rows, row, 10));
    return item;
}

static struct document *list_cursor(struct http_context *context, struct db_rows *rows, size_t row)
{
    return handler_cursor(context, db_int(rows, row, 6), db_text(rows, row, 0));
}

static const struct handler_list workflows_list = {"workflows", list_item, list_cursor};

enum error handle_workflow_list(struct http_context *context)
{
    struct document *answer = document_object(context->arena);
    struct http_request *request = context->request;
    struct db_rows *rows;
    struct db_call call;
    int64_t limit;
    enum error error = request_query_int(request, "limit", 1, LIST_LIMIT_MAX, LIST_LIMIT_DEFAULT,
                                         &context->failure, &limit);

    if (error != OK)
        return error;
    db_call_init(&call, context->arena, STATEMENT_WORKFLOW_LIST);
    error = add_statuses(context, &call);
    if (error != OK)
        return error;
    db_add_text(&call, request_query(request, "name"));
    db_add_text(&call, request_query(request, "queue"));
    error = add_times(context, &call);
    if (error != OK)
        return error;
    if (principal_may(&context->principal, SCOPE_OPERATOR))
        db_add_null(&call);
    else
        db_add_string(&call, context->principal.id);
    error = handler_add_cursor(context, &call);
    if (error != OK)
        return error;
    db_add_int(&call, limit + 1); /* one more tells whether there is a next page */
    error = add_attribute(context, &call);
    if (error != OK)
        return error;
    error = handler_run(context, &call, &rows);
    if (error == OK)
        error = handler_put_page(context, &workflows_list, rows, limit, answer);
    if (error == OK)
        response_json(context->response, 200, answer);
    return error;
}
