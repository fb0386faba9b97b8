/* SPDX-License-Identifier: MIT
 *
 * workflow.start: any workflow that may be started by name. It runs to its first barrier here, in
 * memory, and is committed by one call; a sweeper goes on with it. Params
 * {name,input?,idempotencyKey?,traceparent?}.
 */
#include "gateway/start.h"
#include "session/state.h"

struct starting {
    struct workflow_start start;
    struct text run_id; /* the key, or where there is none the workflow's id */
};

static bool call(struct session *session, struct operation *operation, struct db_call *ret_call)
{
    const struct starting *starting = operation->requests->state;

    /* the same batch at each try: only so is a try whose answer was lost the same start */
    if (operation->state == NULL) {
        struct workflow_batch *batch = workflow_batch_new(operation->arena, session->engine);

        (void)workflow_batch_start(batch, &starting->start);
        operation->state = batch;
    }
    return workflow_batch_call(operation->state, ret_call);
}

static void answer(struct session *session, struct operation *operation, enum error error,
                   struct failure *failure, struct db_rows *rows)
{
    struct request *request = operation->requests;
    const struct starting *starting = request->state;
    const struct workflow_outcome *outcome = NULL;
    struct document *payload;

    if (error == OK)
        error = workflow_batch_result(operation->state, rows, failure);
    if (error == OK) {
        outcome = workflow_batch_outcome(operation->state, 0);
        error = start_refusal(outcome, failure);
    }
    if (error != OK) {
        frame_error(session, request, error, failure);
        request_end(session, request);
        return;
    }
    engine_ring(session->engine, outcome->bells, outcome->bell_count);
    payload = start_answer(request->arena, &starting->start, outcome);
    document_put_text(payload, "runId", starting->run_id);
    document_put_bool(payload, "duplicate", outcome->kind == WORKFLOW_EXISTS);
    frame_result(session, request, payload);
    request_end(session, request);
}

static const struct operation_kind start_kind = {"workflow.start", call, answer, true};

void method_workflow_start(struct session *session, struct request *request)
{
    struct starting *starting = arena_alloc(request->arena, sizeof(*starting));
    struct start_request asked = {
        .name = document_get_string(request->params, "name"),
        .key = document_get_string(request->params, "idempotencyKey"),
        .principal = session->principal.id,
        .input = document_get(request->params, "input"),
        .traceparent = request_traceparent(session, request),
        .request_id = session->peer->request_id,
    };
    struct failure failure = {0};
    enum error error;

    if (asked.name.len == 0) {
        request_invalid(session, request, "name is required, a string that is not empty");
        return;
    }
    error = start_prepare(request->arena, session->engine, &asked, &failure, &starting->start);
    if (error != OK) {
        frame_error(session, request, error, &failure);
        request_end(session, request);
        return;
    }
    starting->run_id = asked.key.data != NULL ? asked.key : starting->start.id;
    request->state = starting;
    operation_serve(operation_new(session, &start_kind), request);
}
