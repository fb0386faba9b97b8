/* SPDX-License-Identifier: MIT
 *
 * Workflows that a request starts and waits for: those of an agent's life. They go on whatever
 * becomes of the request; the same key again finds them.
 */
#include "http/handler.h"

#include "base/clock.h"
#include "base/log.h"
#include "gateway/message.h"
#include "http/waiting_room.h"
#include "workflow/agent_rules.h"
#include "workflow/registry.h"

#define LIFECYCLE_LIMIT_S 30

/* As it stands in the database now. */
static enum error look(struct http_context *context, struct text id, struct workflow_state *state)
{
    struct db_rows *rows;
    struct db_call call;
    enum error error;

    start_look_call(&call, context->arena, id);
    error = handler_run(context, &call, &rows);
    return error == OK ? start_look_result(context->arena, rows, &context->failure, state) : error;
}

/* Until it has ended, or nobody waits any more. It is committed: where the database does not say
 * what became of it, the answer is where to look, as for one that has not ended. */
static enum error wait_for(struct http_context *context, const struct workflow_start *start,
                           uint64_t mark, int64_t until_ms, struct workflow_state *state)
{
    struct message_receipt receipt = {.workflow_id = start->id, .status = MESSAGE_QUEUED};
    enum error error;

    if (!waiting_room_message(context->server->waiting_room, context->request, mark, until_ms,
                              &receipt))
        return OK;
    error = look(context, start->id, state);
    if (error == OK || error_retry(error) == RETRY_NEVER)
        return error;
    log_failure("wait.look", &context->failure);
    context->failure = (struct failure){.error = OK};
    return OK;
}

static enum error in_progress(struct http_context *context, const struct workflow_start *start)
{
    handler_workflow_location(context, start->id);
    return failure_set(&context->failure, ERR_IN_PROGRESS,
                       "the first request with this key is being worked on; ask again, or with "
                       "Prefer: wait=N to wait for it here");
}

/* An error that we know is the answer's own. */
static enum error outcome_error(struct http_context *context, const struct workflow_start *start,
                                const struct workflow_state *state)
{
    struct failure failure = {.error = OK};
    enum error error = start_state_error(state, &failure);
    struct document *problem;

    if (error == OK || error_http_status(error) >= 500)
        return OK; /* it is in the answer as it is */
    context->failure = failure;
    problem = problem_document(context->arena, &context->failure);
    document_put_bool(problem, "success", false);
    document_put_text(problem, "workflowUuid", start->id);
    response_problem_document(context->response, &context->failure, problem);
    return error;
}

/* until_ms: clock_ms, or 0 to wait for nothing. */
static enum error start_and_wait(struct http_context *context, const struct workflow_start *start,
                                 uint64_t mark, int64_t until_ms, struct workflow_state *state)
{
    const struct http_request *request = context->request;
    struct workflow_outcome outcome = {.kind = WORKFLOW_COMMITTED};
    enum error error =
        http_server_start(context->server, context->arena, start, &context->failure, &outcome);

    if (error == OK)
        error = start_refusal(&outcome, &context->failure);
    if (error != OK)
        return error;
    start_state(context->arena, &outcome, state);
    if (state->finished)
        return OK;
    if (state->replayed && request->wait_s < 0 && !request->respond_async)
        return in_progress(context, start);
    return until_ms > 0 ? wait_for(context, start, mark, until_ms, state) : OK;
}

enum error handler_run_workflow(struct http_context *context, const struct workflow_start *start,
                                int64_t limit_s, struct workflow_state *ret_state)
{
    struct waiting_room *room = context->server->waiting_room;
    const struct http_request *request = context->request;
    int64_t wait_s = request->wait_s >= 0 && request->wait_s < limit_s ? request->wait_s
                     : request->wait_s < 0 && request->respond_async   ? 0
                                                                       : limit_s;
    int64_t until_ms = wait_s > 0 ? clock_ms() + wait_s * 1000 : 0;
    struct workflow_state state = {.finished = false};
    uint64_t mark = 0;
    enum error error;

    if (wait_s > 0) {
        error = waiting_room_enter(room, &context->principal, &context->failure, &mark);
        if (error != OK)
            return error;
    }
    error = start_and_wait(context, start, mark, until_ms, &state);
    if (wait_s > 0)
        waiting_room_leave(room, &context->principal);
    if (error != OK)
        return error;
    handler_preference_applied(context, wait_s);
    if (state.replayed)
        response_header(context->response, "Idempotency-Replayed", TEXT_LITERAL("true"));
    if (state.finished)
        error = outcome_error(context, start, &state);
    *ret_state = state;
    return error;
}

void handler_not_finished(struct http_context *context, const struct workflow_start *start,
                          const struct workflow_state *state)
{
    struct document *answer = document_object(context->arena);

    document_put_bool(answer, "success", true);
    document_put_text(answer, "workflowUuid", start->id);
    document_put_text(answer, "status", state->status);
    handler_workflow_location(context, start->id);
    response_json(context->response, 202, answer);
}

/* 200 {success,workflowUuid,status,result}, or 202. */
static enum error answer(struct http_context *context, const struct workflow_start *start)
{
    struct document *answer = document_object(context->arena);
    struct workflow_state state;
    enum error error = handler_run_workflow(context, start, LIFECYCLE_LIMIT_S, &state);
    bool failed;

    if (error != OK)
        return error;
    if (!state.finished) {
        handler_not_finished(context, start, &state);
        return OK;
    }
    failed = !text_is(state.status, "SUCCESS");
    document_put_bool(answer, "success", !failed);
    document_put_text(answer, "workflowUuid", start->id);
    document_put_text(answer, "status", state.status);
    document_put(answer, "result", state.output);
    if (failed)
        document_put(answer, "error", state.error);
    response_json(context->response, 200, answer);
    return OK;
}

/* ---- provisioning ---------------------------------------------------------------------------- */

/* *ret_start with the body as its input; without a key `otherwise` is its id. */
static enum error start_from_body(struct http_context *context,
                                  const struct workflow_definition *definition,
                                  struct workflow_start *ret_start, struct text *ret_key)
{
    struct start_request request = {.principal = context->principal.id,
                                    .input = context->body,
                                    .traceparent = context->request->traceparent,
                                    .request_id = context->request->given_id};
    enum error error = idempotency_key(context, TEXT_NONE, &request.key);

    *ret_key = request.key;
    return error == OK ? start_prepare_definition(context->arena, definition, &request,
                                                  &context->failure, ret_start)
                       : error;
}

static enum error check_agent_id(struct http_context *context)
{
    return agent_id_check(document_get_string(context->body, "agentId"), &context->failure);
}

enum error handle_agent_provision(struct http_context *context)
{
    struct workflow_start start;
    struct text agent, key;
    enum error error = check_agent_id(context);

    if (error == OK)
        error = start_from_body(context, workflow_provision_agent, &start, &key);
    if (error != OK)
        return error;
    agent = document_get_string(context->body, "agentId");
    if (key.data == NULL)
        start.id =
            text_of(arena_printf(context->arena, "provision:%.*s", (int)agent.len, agent.data));
    error = answer(context, &start);
    if (error == ERR_IDEMPOTENCY_CONFLICT && key.data == NULL)
        return failure_set(&context->failure, ERR_ALREADY_EXISTS,
                           "this agent was provisioned otherwise; PATCH changes it");
    return error;
}

enum error handle_agent_create(struct http_context *context)
{
    struct text agent = document_get_string(context->body, "agentId");
    struct workflow_start start;
    struct workflow_state state;
    struct text key;
    enum error error = check_agent_id(context);

    if (error == OK)
        error = start_from_body(context, workflow_provision_agent, &start, &key);
    if (error != OK)
        return error;
    document_put_bool(context->body, "mustBeNew", true);
    error = handler_run_workflow(context, &start, LIFECYCLE_LIMIT_S, &state);
    if (error != OK)
        return error;
    if (!state.finished) {
        handler_not_finished(context, &start, &state);
        return OK;
    }
    error = start_state_error(&state, &context->failure);
    if (error != OK)
        return error;
    if (!text_is(state.status, "SUCCESS"))
        return failure_set(&context->failure, ERR_CANCELLED, "its provisioning has ended as %.*s",
                           (int)state.status.len, state.status.data);
    response_header(
        context->response, "Location",
        text_of(arena_printf(context->arena, "/agents/%.*s", (int)agent.len, agent.data)));
    return handler_agent_answer(context, agent, 201);
}

/* ---- heartbeat, pause and resume ------------------------------------------------------------- */

enum error handle_heartbeat(struct http_context *context)
{
    struct workflow_start start;
    struct text key;
    enum error error = start_from_body(context, workflow_heartbeat, &start, &key);

    return error == OK ? answer(context, &start) : error;
}

/* Those who receive its messages look again now, not only when they would by themselves. */
static void ring_receivers(struct http_context *context, struct text agent)
{
    struct failure failure = {.error = OK};
    struct db_rows *rows;
    struct db_call call;

    db_call_init(&call, context->arena, STATEMENT_AGENT_BELLS);
    db_add_text(&call, agent);
    if (http_database_run(context->server, &call, &failure, &rows) != OK)
        return; /* the sweeper rings, too */
    for (size_t row = 0; row < db_rows_count(rows); row++) {
        struct text bell = db_text(rows, row, 0);

        engine_ring(&context->server->engine, &bell, 1);
    }
}

enum error handle_pause_resume(struct http_context *context)
{
    struct workflow_start start;
    struct text key;
    enum error error = start_from_body(context, workflow_pause_resume, &start, &key);

    if (error == OK)
        error = answer(context, &start);
    if (error == OK && text_is(document_get_string(context->body, "action"), "resume"))
        ring_receivers(context, document_get_string(context->body, "agentId"));
    return error;
}
