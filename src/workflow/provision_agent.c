/* SPDX-License-Identifier: MIT
 *
 * provisionAgent: makes an agent and its mailbox `agent:<id>`, and says of it what is given.
 *
 *   validateAgent   pure           the id is one, the settings are some
 *   createAgent     transactional  principal, agent and mailbox
 *   configureAgent  transactional  the settings; plans its first heartbeat. Left out where there
 * are no settings
 *
 * Input: {agentId,mustBeNew?} and the settings of agent_rules.h. Output:
 * {agentId,mailbox,created,version?}; created is false where there was one, which ends in
 * ALREADY_EXISTS where it must be new.
 */
#include "base/text.h"
#include "workflow/agent_rules.h"
#include "workflow/ask.h"
#include "workflow/workflows.h"

static enum error validate_agent(struct workflow *workflow, void *context,
                                 struct document **ret_output)
{
    (void)context;
    (void)ret_output;
    enum error error = agent_id_check(document_get_string(workflow_input(workflow), "agentId"),
                                      workflow_failure(workflow));

    if (error != OK)
        return error;
    return agent_settings_check(workflow_input(workflow),
                                document_get_string(workflow_input(workflow), "agentId"),
                                "agentId mustBeNew", workflow_failure(workflow));
}

/* What is said of the agent, beyond its id. */
static struct document *settings_of(struct workflow *workflow)
{
    struct arena *arena = workflow_arena(workflow);
    struct document *input = workflow_input(workflow);
    struct document *settings = document_object(arena);

    for (size_t i = 0; i < document_count(input); i++) {
        const char *key = arena_text(arena, document_key(input, i)).data;

        if (!text_is(text_of(key), "agentId") && !text_is(text_of(key), "mustBeNew"))
            document_put(settings, key, document_copy(arena, document_get(input, key)));
    }
    return settings;
}

static enum error create_agent(struct workflow *workflow, struct document **ret_agent)
{
    const struct options *options = workflow_options(workflow);
    struct arena *arena = workflow_arena(workflow);
    struct db_call call;

    db_call_init(&call, arena, STATEMENT_AGENT_PROVISION);
    db_add_text(&call, document_get_string(workflow_input(workflow), "agentId"));
    db_add_string(&call, options->app_name);
    db_add_string(&call, options->app_version);
    db_add_string(&call, arena_printf(arena, "%d", workflow_next_step(workflow)));
    db_add_string(&call, workflow_principal(workflow));
    return workflow_step_call(workflow, "createAgent", &call, ret_agent);
}

static enum error configure_agent(struct workflow *workflow, const struct document *settings,
                                  struct document **ret_configured)
{
    struct arena *arena = workflow_arena(workflow);
    struct db_call call;

    db_call_init(&call, arena, STATEMENT_AGENT_CONFIGURE);
    db_add_string(&call, workflow_actor(workflow));
    db_add_text(&call, document_get_string(workflow_input(workflow), "agentId"));
    db_add_text(&call, document_text(arena, settings));
    db_add_string(&call, arena_printf(arena, "%d", workflow_next_step(workflow)));
    return workflow_step_call(workflow, "configureAgent", &call, ret_configured);
}

enum error provision_agent(struct workflow *workflow)
{
    struct arena *arena = workflow_arena(workflow);
    struct document *settings = settings_of(workflow);
    struct document *agent = NULL, *configured = NULL;
    enum error error;

    error = workflow_step_pure(workflow, "validateAgent", validate_agent, NULL, NULL);
    if (error)
        return error;
    error = create_agent(workflow, &agent);
    if (error)
        return error;
    if (document_bool(document_get(workflow_input(workflow), "mustBeNew"), false) &&
        !document_bool(document_get(agent, "created"), false))
        return workflow_fail(workflow, "AgentExists",
                             TEXT_LITERAL("there is an agent of this id; PATCH changes it"),
                             document_from_text(arena, TEXT_LITERAL("ALREADY_EXISTS")), NULL);
    if (document_count(settings) == 0)
        return workflow_finish(workflow, agent);

    error = configure_agent(workflow, settings, &configured);
    if (error)
        return error;
    agent = document_copy(arena, agent);
    document_put(agent, "version", document_copy(arena, document_get(configured, "version")));
    return workflow_finish(workflow, agent);
}
