/* SPDX-License-Identifier: MIT
 *
 * heartbeat: asks an agent to go through its checklist, writes down what it says, and plans the
 * next time.
 *
 *   validateHeartbeat  pure           whom
 *   beginHeartbeat     transactional  the agent's settings as they are now
 *   routeAgentMessage  child          the question, a message as any other; not for one that is
 * paused DBOS.getResult     parked         until it is answered, or its time is up recordHeartbeat
 * transactional  what became of it scheduleHeartbeat  transactional  the next one, parked until it
 * is due
 *
 * Input: {agentId,checklist?}; without one the agent's own counts. Output:
 * {agentId,status,response?,reason?,startedAt,finishedAt,nextHeartbeat}; status is completed,
 * failed (no answer, and why) or skipped.
 */
#include "base/buffer.h"
#include "base/text.h"
#include "workflow/agent_rules.h"
#include "workflow/ask.h"
#include "workflow/workflows.h"

struct execution {
    const char *status;
    struct text response; /* JSON, or absent */
    struct text reason;   /* or absent */
};

static enum error validate_heartbeat(struct workflow *workflow, void *context,
                                     struct document **ret_output)
{
    const struct document *input = workflow_input(workflow);

    (void)context;
    (void)ret_output;
    if (!text_is_agent_id(document_get_string(input, "agentId")))
        return failure_set(workflow_failure(workflow), ERR_INVALID_ID,
                           "agentId must be an agent's id");
    if (document_get(input, "checklist") == NULL)
        return OK;
    return heartbeat_checklist_check(document_get(input, "checklist"), workflow_failure(workflow));
}

static enum error begin(struct workflow *workflow, struct document **ret_agent)
{
    struct arena *arena = workflow_arena(workflow);
    struct db_call call;

    db_call_init(&call, arena, STATEMENT_HEARTBEAT_BEGIN);
    db_add_text(&call, document_get_string(workflow_input(workflow), "agentId"));
    db_add_string(&call, workflow_id(workflow));
    db_add_string(&call, arena_printf(arena, "%d", workflow_next_step(workflow)));
    return workflow_step_call(workflow, "beginHeartbeat", &call, ret_agent);
}

/* The question, for a person or a model to read. */
static struct text question(struct arena *arena, const struct document *checklist)
{
    struct buffer text;
    struct text result;

    buffer_init(&text, 1024);
    buffer_append_string(&text, "Heartbeat. Say what needs attention, or HEARTBEAT_OK if nothing "
                                "does.");
    for (size_t i = 0; i < document_count(checklist); i++) {
        buffer_append_string(&text, "\n- ");
        buffer_append(&text, document_string(document_at(checklist, i)));
    }
    result = arena_text(arena, buffer_text(&text));
    buffer_release(&text);
    return result;
}

/* An error is the engine's; that there is no answer is an execution that failed. */
static enum error ask_agent(struct workflow *workflow, const struct document *agent,
                            struct execution *ret_execution)
{
    struct arena *arena = workflow_arena(workflow);
    const struct document *settings = document_get(agent, "heartbeat");
    const struct document *own = document_get(workflow_input(workflow), "checklist");
    const struct document *checklist = own ? own : document_get(settings, "checklist");
    struct document *metadata = document_object(arena);
    struct document *response = NULL;
    struct ask ask = {
        .to = document_get_string(agent, "agentId"),
        .session_key = document_get_string(agent, "sessionKey"),
        .content = question(arena, checklist),
        .metadata = metadata,
        .ttl_ms = document_int(document_get(settings, "timeoutMs"), HEARTBEAT_TIMEOUT_MS),
    };
    enum error error;

    document_put_string(metadata, "kind", "heartbeat");
    document_put_string(metadata, "heartbeatId", workflow_id(workflow));
    document_put(metadata, "checklist",
                 checklist ? document_copy(arena, checklist) : document_array(arena));
    error = workflow_ask(workflow, &ask, &response);
    if (workflow_interrupted(workflow))
        return error;
    if (error) {
        ret_execution->status = "failed";
        ret_execution->reason = text_of(arena_string(arena, workflow_failure(workflow)->detail[0]
                                                                ? workflow_failure(workflow)->detail
                                                                : error_phrase(error)));
        return OK;
    }
    ret_execution->status = "completed";
    ret_execution->response = document_text(arena, response);
    return OK;
}

static enum error record(struct workflow *workflow, const struct document *agent,
                         const struct execution *execution, struct document **ret_recorded)
{
    struct arena *arena = workflow_arena(workflow);
    struct db_call *call = arena_alloc(arena, sizeof *call);

    db_call_init(call, arena, STATEMENT_HEARTBEAT_RECORD);
    db_add_string(call, workflow_id(workflow));
    db_add_text(call, document_get_string(agent, "agentId"));
    db_add_string(call, execution->status);
    db_add_text(call, execution->response);
    db_add_text(call, execution->reason);
    db_add_int(call, document_int(document_get(agent, "at"), 0));
    db_add_string(call, arena_printf(arena, "%d", workflow_next_step(workflow)));
    return workflow_step_call(workflow, "recordHeartbeat", call, ret_recorded);
}

static enum error schedule(struct workflow *workflow, struct document **ret_next)
{
    struct arena *arena = workflow_arena(workflow);
    struct db_call call;

    db_call_init(&call, arena, STATEMENT_HEARTBEAT_PLAN);
    db_add_text(&call, document_get_string(workflow_input(workflow), "agentId"));
    db_add_string(&call, workflow_actor(workflow));
    db_add_string(&call, workflow_id(workflow));
    db_add_string(&call, arena_printf(arena, "%d", workflow_next_step(workflow)));
    return workflow_step_call(workflow, "scheduleHeartbeat", &call, ret_next);
}

enum error heartbeat(struct workflow *workflow)
{
    struct execution execution = {.status = "skipped", .reason = TEXT_LITERAL("it is paused")};
    struct document *agent = NULL, *recorded = NULL, *next = NULL;
    enum error error;

    error = workflow_step_pure(workflow, "validateHeartbeat", validate_heartbeat, NULL, NULL);
    if (error)
        return error;
    error = begin(workflow, &agent);
    if (error)
        return error;
    if (text_is(document_get_string(agent, "status"), "active")) {
        execution.reason = TEXT_NONE;
        error = ask_agent(workflow, agent, &execution);
        if (error)
            return error;
    }
    error = record(workflow, agent, &execution, &recorded);
    if (error)
        return error;
    error = schedule(workflow, &next);
    if (error)
        return error;
    recorded = document_copy(workflow_arena(workflow), recorded);
    document_put(recorded, "nextHeartbeat", document_copy(workflow_arena(workflow), next));
    return workflow_finish(workflow, recorded);
}
