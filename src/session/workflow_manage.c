/* SPDX-License-Identifier: MIT
 *
 * workflow.cancel, resume, fork, restart, rewind, delete: of what one started oneself; an operator
 * of anybody's. Params {workflowUuid,step?,newId?,version?,queue?,children?,traceparent?}.
 */
#include <string.h>

#include "base/uuid.h"
#include "gateway/manage.h"
#include "session/state.h"

static bool call(struct session *session, struct operation *operation, struct db_call *ret_call)
{
    const struct manage *manage = operation->requests->state;

    manage_call(ret_call, operation->arena, session->engine, manage);
    return true;
}

static void answer(struct session *session, struct operation *operation, enum error error,
                   struct failure *failure, struct db_rows *rows)
{
    struct request *request = operation->requests;
    struct document *payload = NULL;

    if (error == OK)
        error = manage_result(session->engine, request->arena, rows, failure, &payload);
    if (error == OK)
        frame_result(session, request, payload);
    else
        frame_error(session, request, error, failure);
    request_end(session, request);
}

static const struct operation_kind manage_kind = {"workflow.manage", call, answer, true};

static bool find_call(struct session *session, struct operation *operation,
                      struct db_call *ret_call)
{
    const struct manage *manage = operation->requests->state;

    db_call_init(ret_call, operation->arena, STATEMENT_WORKFLOW_FIND);
    message_add_meant(ret_call, operation->arena, &session->principal, BY_WORKFLOW_ID, manage->id);
    return true;
}

static void find_answer(struct session *session, struct operation *operation, enum error error,
                        struct failure *failure, struct db_rows *rows)
{
    struct request *request = operation->requests;
    struct manage *manage = request->state;

    if (error == OK && db_rows_count(rows) == 0)
        error = failure_set(failure, ERR_NOT_FOUND, "there is no such workflow of yours");
    if (error != OK) {
        frame_error(session, request, error, failure);
        request_end(session, request);
        return;
    }
    manage->id = arena_text(request->arena, db_text(rows, 0, 0));
    operation_serve(operation_new(session, &manage_kind), request);
}

static const struct operation_kind find_kind = {"workflow.find", find_call, find_answer, true};

static void serve(struct session *session, struct request *request, const char *verb)
{
    struct manage *manage = arena_alloc(request->arena, sizeof(*manage));

    if (!principal_may(&session->principal, SCOPE_OPERATOR))
        manage->principal = session->principal.id;
    manage->by = session->principal.id;
    manage->verb = verb;
    manage->id = document_get_string(request->params, "workflowUuid");
    manage->new_id = document_get_string(request->params, "newId");
    manage->version = document_get_string(request->params, "version");
    manage->queue = document_get_string(request->params, "queue");
    manage->children = document_bool(document_get(request->params, "children"), false);
    manage->traceparent = request_traceparent(session, request);
    manage->request_id = session->peer->request_id;
    if (!request_int(session, request, "step", 0, INT32_MAX, 0, &manage->step))
        return;
    if (!text_is_any_workflow_id(manage->id) ||
        (manage->new_id.data && !text_is_workflow_id(manage->new_id))) {
        request_invalid(session, request, "workflowUuid, and newId, must be a workflow id");
        return;
    }
    if (manage->new_id.data) {
        manage->new_id =
            message_new_workflow_id(request->arena, &session->principal, manage->new_id);
    } else {
        /* one id however often the call is made */
        char fresh[UUID_SIZE];

        uuid_v4(fresh);
        manage->new_id = arena_text(request->arena, text_of(fresh));
    }
    request->state = manage;
    operation_serve(operation_new(session, &find_kind), request);
}

void method_workflow_cancel(struct session *session, struct request *request)
{
    serve(session, request, "cancel");
}

void method_workflow_resume(struct session *session, struct request *request)
{
    serve(session, request, "resume");
}

void method_workflow_fork(struct session *session, struct request *request)
{
    serve(session, request, "fork");
}

void method_workflow_restart(struct session *session, struct request *request)
{
    serve(session, request, "restart");
}

void method_workflow_rewind(struct session *session, struct request *request)
{
    serve(session, request, "rewind");
}

void method_workflow_delete(struct session *session, struct request *request)
{
    serve(session, request, "delete");
}
