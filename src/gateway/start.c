/* SPDX-License-Identifier: MIT */
#include "gateway/start.h"

#include "base/uuid.h"
#include "gateway/payload.h"
#include "workflow/registry.h"

struct text start_workflow_id(struct arena *arena, const char *principal, struct text key)
{
    char uuid[UUID_SIZE];

    if (key.data != NULL)
        return text_of(arena_printf(arena, "%s:%.*s", principal, (int)key.len, key.data));
    uuid_v7(uuid);
    return text_of(arena_string(arena, uuid));
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
