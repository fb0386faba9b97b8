/* SPDX-License-Identifier: MIT
 *
 * provisionAgent: makes an agent and its mailbox `agent:<id>`.
 *
 *   validateAgent  pure           the id is one
 *   createAgent    transactional  principal, agent and mailbox
 *
 * Input: {agentId}. Output: {agentId,mailbox,created}; created is false where there was one.
 */
#include "base/text.h"
#include "workflow/workflows.h"

static enum error validate_agent(struct workflow *workflow, void *context,
                                 struct document **ret_output)
{
    (void)context;
    (void)ret_output;
    if (!text_is_agent_id(document_get_string(workflow_input(workflow), "agentId")))
        return failure_set(workflow_failure(workflow), ERR_INVALID_ID,
                           "agentId must be 1 to %d letters, digits, dots, dashes or underscores",
                           AGENT_ID_MAX);
    return OK;
}

enum error provision_agent(struct workflow *workflow)
{
    const struct options *options = workflow_options(workflow);
    struct document *agent = NULL;
    struct db_call create;
    enum error error;

    error = workflow_step_pure(workflow, "validateAgent", validate_agent, NULL, NULL);
    if (error)
        return error;

    db_call_init(&create, workflow_arena(workflow), STATEMENT_AGENT_PROVISION);
    db_add_text(&create, document_get_string(workflow_input(workflow), "agentId"));
    db_add_string(&create, options->app_name);
    db_add_string(&create, options->app_version);
    db_add_string(&create,
                  arena_printf(workflow_arena(workflow), "%d", workflow_next_step(workflow)));
    db_add_string(&create, workflow_principal(workflow));
    error = workflow_step_call(workflow, "createAgent", &create, &agent);
    if (error)
        return error;

    return workflow_finish(workflow, agent);
}
