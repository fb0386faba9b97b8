/* SPDX-License-Identifier: MIT */
#include "gateway/start.h"

#include <string.h>

#include "base/uuid.h"
#include "gateway/message.h"
#include "gateway/payload.h"
#include "workflow/registry.h"

/* Columns of workflow_get.sql. */
enum { GET_STATUS = 1, GET_SERIALIZATION = 4, GET_OUTPUT = 6, GET_ERROR = 7 };

struct text start_workflow_id(struct arena *arena, const char *principal, struct text key)
{
    char uuid[UUID_SIZE];

    if (key.data != NULL)
        return text_of(arena_printf(arena, "%s:%.*s", principal, (int)key.len, key.data));
    uuid_v7(uuid);
    return text_of(arena_string(arena, uuid));
}

enum error start_prepare_definition(struct arena *arena,
                                    const struct workflow_definition *definition,
                                    const struct start_request *request, struct failure *failure,
                                    struct workflow_start *ret_start)
{
    if (request->key.data != NULL && !text_is_message_key(request->key))
        return failure_set(failure, ERR_INVALID_ID,
                           "an idempotency key has 1 to %d printable ASCII characters, without "
                           "space, quote and backslash",
                           MESSAGE_KEY_MAX);
    *ret_start = (struct workflow_start){
        .definition = definition,
        .id = start_workflow_id(arena, request->principal, request->key),
        .principal = text_of(request->principal),
        .input = request->input,
        .traceparent = request->traceparent,
        .request_id = request->request_id,
    };
    return OK;
}

enum error start_prepare(struct arena *arena, const struct engine *engine,
                         const struct start_request *request, struct failure *failure,
                         struct workflow_start *ret_start)
{
    const struct workflow_definition *definition = engine_find(engine, request->name);

    if (definition == NULL || !definition->startable)
        return failure_set(failure, ERR_UNKNOWN_WORKFLOW,
                           "the table of workflows has no startable one of this name");
    /* A message is a message, however it is sent: the scope, the checks and the id are the same. */
    if (definition == workflow_route_agent_message)
        return failure_set(failure, ERR_INVALID_REQUEST,
                           "a message is sent as one: POST /messages, the method send, or "
                           "gatewayctl message send");
    return start_prepare_definition(arena, definition, request, failure, ret_start);
}

enum error start_refusal(const struct workflow_outcome *outcome, struct failure *failure)
{
    switch (outcome->kind) {
    case WORKFLOW_CONFLICT:
        return failure_set(failure, ERR_IDEMPOTENCY_CONFLICT,
                           "repeat the same request, or use a new key");
    case WORKFLOW_REFUSED:
        *failure = outcome->failure;
        if (failure->error == OK)
            return failure_set(failure, outcome->reason, "%s", "");
        return outcome->reason;
    case WORKFLOW_FENCED: /* another executor has taken it over: it goes on there */
    case WORKFLOW_COMMITTED:
    case WORKFLOW_EXISTS:
        return OK;
    }
    return OK;
}

bool start_finished(const struct workflow_outcome *outcome)
{
    return outcome->output.data != NULL || outcome->error.data != NULL ||
           text_is(outcome->status, "SUCCESS") || text_is(outcome->status, "ERROR");
}

/* ---- waiting for one --------------------------------------------------------------------------
 */

static void set_state(struct arena *arena, struct workflow_state *state, struct text status,
                      struct document *output, struct document *error)
{
    state->status = status.data != NULL ? arena_text(arena, status) : TEXT_LITERAL("PENDING");
    state->finished = !text_is(state->status, "PENDING") && !text_is(state->status, "ENQUEUED") &&
                      !text_is(state->status, "DELAYED");
    state->output = output;
    state->error = error;
}

void start_state(struct arena *arena, const struct workflow_outcome *outcome,
                 struct workflow_state *ret_state)
{
    set_state(arena, ret_state, outcome->status, payload_value(arena, TEXT_NONE, outcome->output),
              payload_value(arena, TEXT_NONE, outcome->error));
    ret_state->replayed = outcome->kind == WORKFLOW_EXISTS;
}

void start_look_call(struct db_call *call, struct arena *arena, struct text id)
{
    db_call_init(call, arena, STATEMENT_WORKFLOW_GET);
    message_add_meant(call, arena, NULL, BY_WORKFLOW_ID, id);
}

enum error start_look_result(struct arena *arena, struct db_rows *rows, struct failure *failure,
                             struct workflow_state *state)
{
    struct text serialization;

    if (db_rows_count(rows) == 0)
        return failure_set(failure, ERR_NOT_FOUND, "the workflow was deleted");
    serialization = db_text(rows, 0, GET_SERIALIZATION);
    set_state(arena, state, db_text(rows, 0, GET_STATUS),
              payload_value(arena, serialization, db_text(rows, 0, GET_OUTPUT)),
              payload_value(arena, serialization, db_text(rows, 0, GET_ERROR)));
    return db_rows_error(rows, failure);
}

/* A workflow's error says "phrase: detail"; who shows a failure puts the phrase before it. */
static struct text without_phrase(struct text message, const char *phrase)
{
    size_t len = strlen(phrase);

    if (!text_starts(message, phrase))
        return message;
    message = (struct text){message.data + len, message.len - len};
    return text_starts(message, ": ") ? (struct text){message.data + 2, message.len - 2} : message;
}

enum error start_state_error(const struct workflow_state *state, struct failure *failure)
{
    struct text code = document_get_string(state->error, "code");
    struct text message = document_get_string(state->error, "message");
    enum error error;

    if (document_kind(state->error) <= DOCUMENT_NULL)
        return OK;
    error = code.data != NULL ? error_from_code(code.data, code.len) : ERR_INTERNAL;
    message = without_phrase(message, error_phrase(error));
    return failure_set(failure, error, "%.*s", (int)message.len,
                       message.data != NULL ? message.data : "");
}

/* ---- answering --------------------------------------------------------------------------------
 */

struct document *start_answer(struct arena *arena, const struct workflow_start *start,
                              const struct workflow_outcome *outcome)
{
    struct document *answer = document_object(arena);
    struct text status = outcome->status;

    document_put_bool(answer, "success", outcome->error.data == NULL);
    document_put_text(answer, "workflowUuid", start->id);
    document_put_text(answer, "status",
                      status.data != NULL ? arena_text(arena, status) : TEXT_LITERAL("PENDING"));
    if (start_finished(outcome))
        document_put(answer, "result", payload_value(arena, TEXT_NONE, outcome->output));
    if (outcome->error.data != NULL)
        document_put(answer, "error", payload_value(arena, TEXT_NONE, outcome->error));
    return answer;
}
