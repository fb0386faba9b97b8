/* SPDX-License-Identifier: MIT
 *
 * pauseResume: pauses an agent, or lets it go on. While it is paused what is sent to it is accepted
 * and kept, and nothing is delivered and no attempt counted; what it had been given it may still
 * acknowledge.
 *
 *   validateRequest  pure           who, and what
 *   changeStatus     transactional  the agent's status, since when, by whom and why; its heartbeats
 * end with a pause and begin with a resumption
 *
 * Input: {agentId,action,reason?}; action is pause or resume. Output: {action,agentId,status,
 * previousStatus,changed,version,pending,inFlight,paused?,nextHeartbeat?}.
 */
#include "base/text.h"
#include "workflow/ask.h"
#include "workflow/workflows.h"

#define PAUSE_REASON_MAX 1000 /* bytes */

static enum error validate_request(struct workflow *workflow, void *context,
                                   struct document **ret_output)
{
    const struct document *input = workflow_input(workflow);
    const struct document *reason = document_get(input, "reason");
    struct text action = document_get_string(input, "action");
    struct failure *failure = workflow_failure(workflow);

    (void)context;
    (void)ret_output;
    if (!text_is_agent_id(document_get_string(input, "agentId")))
        return failure_set(failure, ERR_INVALID_ID, "agentId must be an agent's id");
    if (!text_is(action, "pause") && !text_is(action, "resume"))
        return failure_set(failure, ERR_INVALID_REQUEST, "action is pause or resume");
    if (reason != NULL && document_kind(reason) != DOCUMENT_NULL &&
        (document_kind(reason) != DOCUMENT_STRING ||
         document_string(reason).len > PAUSE_REASON_MAX))
        return failure_set(failure, ERR_INVALID_REQUEST, "reason is a string of at most %d bytes",
                           PAUSE_REASON_MAX);
    return OK;
}

enum error pause_resume(struct workflow *workflow)
{
    struct arena *arena = workflow_arena(workflow);
    const struct document *input = workflow_input(workflow);
    struct document *output = document_object(arena);
    struct text action = document_get_string(input, "action");
    struct document *changed = NULL;
    struct db_call change;
    enum error error;

    error = workflow_step_pure(workflow, "validateRequest", validate_request, NULL, NULL);
    if (error)
        return error;

    db_call_init(&change, arena, STATEMENT_AGENT_PAUSE);
    db_add_string(&change, workflow_actor(workflow));
    db_add_text(&change, document_get_string(input, "agentId"));
    db_add_string(&change, text_is(action, "pause") ? "paused" : "active");
    db_add_text(&change, document_get_string(input, "reason"));
    db_add_string(&change, arena_printf(arena, "%d", workflow_next_step(workflow)));
    error = workflow_step_call(workflow, "changeStatus", &change, &changed);
    if (error)
        return error;

    document_put_text(output, "action", action);
    for (size_t i = 0; i < document_count(changed); i++) {
        const char *key = arena_text(arena, document_key(changed, i)).data;

        document_put(output, key, document_copy(arena, document_get(changed, key)));
    }
    return workflow_finish(workflow, output);
}
