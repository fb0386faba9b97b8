/* SPDX-License-Identifier: MIT
 *
 * workflow.status, workflow.list, workflow.events: what one started oneself; an operator sees all.
 * What is not one's own does not exist.
 */
#include "durable/status.h"
#include "session/state.h"

#define WORKFLOW_LIST_MAX 200

struct asked {
    struct text id, status, name;
    enum workflow_reference reference;
    int64_t limit;
};

static bool sees_all(const struct session *session)
{
    return principal_may(&session->principal, SCOPE_OPERATOR);
}

static void fail(struct session *session, struct request *request, enum error error,
                 const struct failure *failure)
{
    frame_error(session, request, error, failure);
    request_end(session, request);
}

/* Portable JSON stands as it is; what another serializer wrote is a text. */
static struct document *value_document(struct arena *arena, struct text value, bool portable)
{
    struct text kept = value.data != NULL ? arena_text(arena, value) : value;

    if (kept.data == NULL)
        return document_null(arena);
    return portable ? document_from_json(arena, kept) : document_from_text(arena, kept);
}

static void put_copy(struct document *object, struct arena *arena, const char *key,
                     struct text value)
{
    if (value.data != NULL)
        document_put_text(object, key, arena_text(arena, value));
}

/* ---- status --------------------------------------------------------------------------------- */

static bool get_call(struct session *session, struct operation *operation, struct db_call *ret_call)
{
    const struct asked *asked = operation->requests->state;

    db_call_init(ret_call, operation->arena, STATEMENT_WORKFLOW_GET);
    message_add_meant(ret_call, operation->arena, &session->principal, asked->reference, asked->id);
    return true;
}

static bool found(struct session *session, struct request *request, enum error error,
                  struct failure *failure, struct db_rows *rows)
{
    if (error == OK && db_rows_count(rows) == 0)
        error = failure_set(failure, ERR_NOT_FOUND, "there is no such workflow of yours");
    if (error != OK)
        fail(session, request, error, failure);
    return error == OK;
}

static void status_answer(struct session *session, struct operation *operation, enum error error,
                          struct failure *failure, struct db_rows *rows)
{
    struct request *request = operation->requests;
    struct arena *arena = request->arena;
    struct document *payload;
    bool portable;

    if (!found(session, request, error, failure, rows))
        return;
    payload = document_object(arena);
    portable = text_is(db_text(rows, 0, 4), "portable_json");
    put_copy(payload, arena, "workflowUuid", db_text(rows, 0, 0));
    put_copy(payload, arena, "status", db_text(rows, 0, 1));
    put_copy(payload, arena, "name", db_text(rows, 0, 2));
    document_put(payload, "input", value_document(arena, db_text(rows, 0, 5), portable));
    document_put(payload, "output", value_document(arena, db_text(rows, 0, 6), portable));
    document_put(payload, "error", value_document(arena, db_text(rows, 0, 7), portable));
    document_put_int(payload, "recoveryAttempts", db_int_or(rows, 0, 12, 0));
    document_put_int(payload, "createdAt", db_int_or(rows, 0, 13, 0));
    document_put_int(payload, "updatedAt", db_int_or(rows, 0, 14, 0));
    if (!db_is_null(rows, 0, 16))
        document_put_int(payload, "completedAt", db_int_or(rows, 0, 16, 0));
    frame_result(session, request, payload);
    request_end(session, request);
}

static const struct operation_kind status_kind = {"workflow.status", get_call, status_answer, true};

/* ---- events ------------------------------------------------------------------------------------
 */

static bool events_call(struct session *session, struct operation *operation,
                        struct db_call *ret_call)
{
    const struct asked *asked = operation->requests->state;

    (void)session;
    db_call_init(ret_call, operation->arena, STATEMENT_WORKFLOW_EVENTS);
    db_add_text(ret_call, asked->id);
    return true;
}

static void events_answer(struct session *session, struct operation *operation, enum error error,
                          struct failure *failure, struct db_rows *rows)
{
    struct request *request = operation->requests;
    struct arena *arena = request->arena;
    const struct asked *asked = request->state;
    struct document *payload, *events;

    if (error != OK) {
        fail(session, request, error, failure);
        return;
    }
    payload = document_object(arena);
    events = document_array(arena);
    for (size_t row = 0; row < db_rows_count(rows); row++) {
        struct document *event = document_object(arena);
        bool portable = text_is(db_text(rows, row, 3), "portable_json");

        document_put_int(event, "step", db_int_or(rows, row, 0, 0));
        put_copy(event, arena, "key", db_text(rows, row, 1));
        document_put(event, "value", value_document(arena, db_text(rows, row, 2), portable));
        document_append(events, event);
    }
    document_put_text(payload, "workflowUuid", asked->id);
    frame_result(session, request, document_put(payload, "events", events));
    request_end(session, request);
}

static const struct operation_kind events_kind = {"workflow.events", events_call, events_answer,
                                                  true};

/* Whose it is must be known before its events are told. */
static void events_allowed(struct session *session, struct operation *operation, enum error error,
                           struct failure *failure, struct db_rows *rows)
{
    struct request *request = operation->requests;
    struct asked *asked = request->state;

    if (!found(session, request, error, failure, rows))
        return;
    asked->id = arena_text(request->arena, db_text(rows, 0, 0));
    operation_serve(operation_new(session, &events_kind), request);
}

static const struct operation_kind events_allowed_kind = {"workflow.events.allowed", get_call,
                                                          events_allowed, true};

/* ---- list
 * ---------------------------------------------------------------------------------------- */

/* Parameters: statuses, name, queue, since, until, principal, and after which row; the limit;
 * attributes. */
static bool list_call(struct session *session, struct operation *operation,
                      struct db_call *ret_call)
{
    const struct asked *asked = operation->requests->state;

    db_call_init(ret_call, operation->arena, STATEMENT_WORKFLOW_LIST);
    if (asked->status.data != NULL)
        db_add_texts(ret_call, &asked->status, 1);
    else
        db_add_null(ret_call);
    db_add_text(ret_call, asked->name);
    db_add_null(ret_call);
    db_add_null(ret_call);
    db_add_null(ret_call);
    if (sees_all(session))
        db_add_null(ret_call);
    else
        db_add_string(ret_call, session->principal.id);
    db_add_null(ret_call);
    db_add_null(ret_call);
    db_add_int(ret_call, asked->limit);
    db_add_null(ret_call);
    return true;
}

static void list_answer(struct session *session, struct operation *operation, enum error error,
                        struct failure *failure, struct db_rows *rows)
{
    struct request *request = operation->requests;
    struct arena *arena = request->arena;
    struct document *list;

    if (error != OK) {
        fail(session, request, error, failure);
        return;
    }
    list = document_array(arena);
    for (size_t row = 0; row < db_rows_count(rows); row++) {
        struct document *one = document_object(arena);

        put_copy(one, arena, "workflowUuid", db_text(rows, row, 0));
        put_copy(one, arena, "status", db_text(rows, row, 1));
        put_copy(one, arena, "name", db_text(rows, row, 2));
        document_put_int(one, "createdAt", db_int_or(rows, row, 6, 0));
        document_put_int(one, "updatedAt", db_int_or(rows, row, 7, 0));
        document_append(list, one);
    }
    frame_result(session, request, document_put(document_object(arena), "workflows", list));
    request_end(session, request);
}

static const struct operation_kind list_kind = {"workflow.list", list_call, list_answer, true};

/* ---- the methods
 * ------------------------------------------------------------------------------------ */

static bool need_id(struct session *session, struct request *request)
{
    struct asked *asked = arena_alloc(request->arena, sizeof(*asked));

    asked->id = document_get_string(request->params, "workflowUuid");
    asked->reference = asked->id.data != NULL ? BY_WORKFLOW_ID : BY_RUN_ID;
    if (asked->id.data == NULL)
        asked->id = document_get_string(request->params, "runId");
    if (!text_is_any_workflow_id(asked->id)) {
        request_invalid(session, request, "workflowUuid is required");
        return false;
    }
    request->state = asked;
    return true;
}

void method_workflow_status(struct session *session, struct request *request)
{
    if (need_id(session, request))
        operation_serve(operation_new(session, &status_kind), request);
}

void method_workflow_events(struct session *session, struct request *request)
{
    if (need_id(session, request))
        operation_serve(operation_new(session, &events_allowed_kind), request);
}

void method_workflow_list(struct session *session, struct request *request)
{
    struct asked *asked = arena_alloc(request->arena, sizeof(*asked));

    if (!request_int(session, request, "limit", 1, WORKFLOW_LIST_MAX, 50, &asked->limit))
        return;
    asked->status = document_get_string(request->params, "status");
    asked->name = document_get_string(request->params, "name");
    if (asked->status.data != NULL && !workflow_status_known(asked->status)) {
        request_invalid(session, request, "status is one of " WORKFLOW_STATUSES);
        return;
    }
    request->state = asked;
    operation_serve(operation_new(session, &list_kind), request);
}
