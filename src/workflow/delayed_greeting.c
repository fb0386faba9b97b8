/* SPDX-License-Identifier: MIT
 *
 * delayedGreeting: the README's example of a workflow. Waits, durably, and then leaves a greeting
 * in an agent's inbox. Kill whatever you like in between.
 *
 *   composeGreeting  pure           the text
 *   DBOS.sleep       parked         for delayMs
 *   sendGreeting     transactional  the message is in the agent's mailbox
 *
 * Input: {to,name,delayMs?}. Output: {greeting}.
 */
#include "base/text.h"
#include "workflow/workflows.h"

#define GREETING_DELAY_MAX_MS 86400000 /* a day */
#define GREETING_NAME_MAX     100      /* bytes */

static enum error compose_greeting(struct workflow *workflow, void *context,
                                   struct document **ret_output)
{
    struct document *input = workflow_input(workflow);
    struct text name = document_get_string(input, "name");
    struct arena *arena = workflow_arena(workflow);

    (void)context;
    if (!text_is_agent_id(document_get_string(input, "to")))
        return failure_set(workflow_failure(workflow), ERR_INVALID_ID, "to must be an agent id");
    if (name.len == 0 || name.len > GREETING_NAME_MAX)
        return failure_set(workflow_failure(workflow), ERR_INVALID_REQUEST,
                           "name must have 1 to %d bytes", GREETING_NAME_MAX);
    *ret_output = document_from_text(
        arena, text_of(arena_printf(arena, "Good day, %.*s!", (int)name.len, name.data)));
    return OK;
}

enum error delayed_greeting(struct workflow *workflow)
{
    struct arena *arena = workflow_arena(workflow);
    struct document *input = workflow_input(workflow);
    int64_t delay = document_int(document_get(input, "delayMs"), 1000);
    struct document *greeting = NULL;
    struct workflow_message message = {0};
    enum error error;

    error = workflow_step_pure(workflow, "composeGreeting", compose_greeting, NULL, &greeting);
    if (error)
        return error;
    error = workflow_sleep(workflow, delay < 0                       ? 0
                                     : delay > GREETING_DELAY_MAX_MS ? GREETING_DELAY_MAX_MS
                                                                     : delay);
    if (error)
        return error;

    message.to = document_get_string(input, "to");
    message.from = text_of("gateway");
    message.id = text_of(arena_printf(arena, "%s/greeting", workflow_id(workflow)));
    message.message =
        document_text(arena, document_put_string(document_put(document_object(arena), "content",
                                                              document_copy(arena, greeting)),
                                                 "from", "gateway"));
    message.max_attempts = workflow_options(workflow)->max_attempts;
    message.ttl_ms = workflow_options(workflow)->message_ttl_ms;
    error = workflow_step_send(workflow, "sendGreeting", &message);
    if (error)
        return error;

    return workflow_finish(
        workflow, document_put(document_object(arena), "greeting", document_copy(arena, greeting)));
}
