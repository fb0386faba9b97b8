/* SPDX-License-Identifier: MIT
 *
 * Workflows that a request starts and waits for: those of an agent's life. They go on whatever
 * becomes of the request; the same key again finds them.
 */
#include "http/handler.h"

#include <string.h>

#include "base/clock.h"
#include "gateway/message.h"
#include "gateway/payload.h"
#include "gateway/start.h"
#include "http/waiting_room.h"
#include "workflow/agent_rules.h"
#include "workflow/registry.h"

#define LIFECYCLE_LIMIT_S 30

/* Columns of workflow_get.sql. */
enum { GET_STATUS = 1, GET_SERIALIZATION = 4, GET_OUTPUT = 6, GET_ERROR = 7 };

static bool is_finished(struct text status)
{
    return status.data != NULL && !text_is(status, "PENDING") && !text_is(status, "ENQUEUED") &&
           !text_is(status, "DELAYED");
}

static void set_state(struct arena *arena, struct workflow_state *state, struct text status,
                      struct document *output, struct document *error)
{
    state->status = status.data != NULL ? arena_text(arena, status) : TEXT_LITERAL("PENDING");
    state->finished = is_finished(state->status);
    state->output = output;
    state->error = error;
}

/* As it stands in the database now. */
static enum error look(struct http_context *context, struct text id, struct workflow_state *state)
{
    struct arena *arena = context->arena;
    struct text serialization;
    struct db_rows *rows;
    struct db_call call;
    enum error error;

    db_call_init(&call, arena, STATEMENT_WORKFLOW_GET);
    db_add_text(&call, id);
    error = handler_run(context, &call, &rows);
    if (error != OK)
        return error;
    if (db_rows_count(rows) == 0)
        return failure_set(&context->failure, ERR_NOT_FOUND, "the workflow was deleted");
    serialization = db_text(rows, 0, GET_SERIALIZATION);
    set_state(arena, state, db_text(rows, 0, GET_STATUS),
              payload_value(arena, serialization, db_text(rows, 0, GET_OUTPUT)),
              payload_value(arena, serialization, db_text(rows, 0, GET_ERROR)));
    return db_rows_error(rows, &context->failure);
}

/* Until it has ended, or nobody waits any more. */
static enum error wait_for(struct http_context *context, const struct workflow_start *start,
                           uint64_t mark, int64_t wait_s, struct workflow_state *state)
{
    struct message_receipt receipt = {.workflow_id = start->id, .status = MESSAGE_QUEUED};

    (void)waiting_room_message(context->server->waiting_room, context->request, mark,
                               clock_ms() + wait_s * 1000, &receipt);
    return look(context, start->id, state);
}

static enum error in_progress(struct http_context *context, const struct workflow_start *start)
{
    handler_workflow_location(context, start->id);
    return failure_set(&context->failure, ERR_IN_PROGRESS,
                       "the first request with this key is being worked on; ask again, or with "
                       "Prefer: wait=N to wait for it here");
}

/* A workflow's error says "phrase: detail"; a problem has the phrase as its title. */
static struct text without_phrase(struct text message, const char *phrase)
{
    size_t len = strlen(phrase);

    if (!text_starts(message, phrase))
        return message;
    message = (struct text){message.data + len, message.len - len};
    return text_starts(message, ": ") ? (struct text){message.data + 2, message.len - 2} : message;
}

/* An error that we know is the answer's own. */
static enum error outcome_error(struct http_context *context, const struct workflow_start *start,
                                const struct workflow_state *state)
{
    struct text code = document_get_string(state->error, "code");
    struct text message = document_get_string(state->error, "message");
    enum error error = code.data != NULL ? error_from_code(code.data, code.len) : ERR_INTERNAL;
    struct document *problem;

    if (error_http_status(error) >= 500)
        return OK; /* it is in the answer as it is */
    message = without_phrase(message, error_phrase(error));
    (void)failure_set(&context->failure, error, "%.*s", (int)message.len,
                      message.data != NULL ? message.data : "");
    problem = problem_document(context->arena, &context->failure);
    document_put_bool(problem, "success", false);
    document_put_text(problem, "workflowUuid", start->id);
    response_problem_document(context->response, &context->failure, problem);
    return error;
}

static enum error start_and_wait(struct http_context *context, const struct workflow_start *start,
                                 uint64_t mark, int64_t wait_s, struct workflow_state *state)
{
    const struct http_request *request = context->request;
    struct workflow_outcome outcome = {.kind = WORKFLOW_COMMITTED};
    enum error error =
        http_server_start(context->server, context->arena, start, &context->failure, &outcome);

    if (error == OK)
        error = start_refusal(&outcome, &context->failure);
    if (error != OK)
        return error;
    set_state(context->arena, state, outcome.status,
              payload_value(context->arena, TEXT_NONE, outcome.output),
              payload_value(context->arena, TEXT_NONE, outcome.error));
    state->replayed = outcome.kind == WORKFLOW_EXISTS;
    if (state->finished)
        return OK;
    if (state->replayed && request->wait_s < 0 && !request->respond_async)
        return in_progress(context, start);
    return wait_s > 0 ? wait_for(context, start, mark, wait_s, state) : OK;
}

enum error handler_run_workflow(struct http_context *context, const struct workflow_start *start,
                                int64_t limit_s, struct workflow_state *ret_state)
{
    struct waiting_room *room = context->server->waiting_room;
    const struct http_request *request = context->request;
    int64_t wait_s = request->wait_s >= 0 && request->wait_s < limit_s ? request->wait_s
                     : request->wait_s < 0 && request->respond_async   ? 0
                                                                       : limit_s;
    struct workflow_state state = {.finished = false};
    uint64_t mark = 0;
    enum error error;

    if (wait_s > 0) {
        error = waiting_room_enter(room, &context->failure, &mark);
        if (error != OK)
            return error;
    }
    error = start_and_wait(context, start, mark, wait_s, &state);
    if (wait_s > 0)
        waiting_room_leave(room);
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
    enum error error = idempotency_key(context, TEXT_NONE, ret_key);

    *ret_start = (struct workflow_start){
        .definition = definition,
        .principal = text_of(context->principal.id),
        .id = start_workflow_id(context->arena, context->principal.id, *ret_key),
        .input = context->body,
        .traceparent = context->request->traceparent,
        .request_id = context->request->given_id};
    return error;
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
