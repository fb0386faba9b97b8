/* SPDX-License-Identifier: MIT
 *
 * routeAgentMessage: carries one message.
 *
 *   validateMessage  pure           who, to whom, what, within the limits
 *   storeMessage     transactional  the message is in the recipient's mailbox
 *   routeMessage     parked         until the recipient acknowledges or refuses it, or it expires
 *
 * Input:
 * {from,to,content,metadata?,sessionKey?,timestamp?,delayMs?,ttlMs?,priority?,expectsReply?,
 * traceparent?}.
 * Output: {messageId,status,deliveryAttempts,lastAttemptTime,response?}.
 */
#include "base/text.h"
#include "workflow/message_rules.h"
#include "workflow/workflows.h"

static enum error validate_message(struct workflow *workflow, void *context,
                                   struct document **ret_output)
{
    enum error error = message_rules_check(workflow_options(workflow), workflow_input(workflow),
                                           workflow_failure(workflow));

    (void)context;
    if (error)
        return error;
    *ret_output = document_put_bool(document_object(workflow_arena(workflow)), "valid", true);
    return OK;
}

/* Who sends: the authenticated principal; where a DBOS client started the workflow, whom it names.
 */
static struct text sender(const struct workflow *workflow)
{
    struct text named = document_get_string(workflow_input(workflow), "from");

    return workflow_principal(workflow)[0] ? text_of(workflow_principal(workflow)) : named;
}

/* The message as it lies in the mailbox. */
static struct text envelope(struct workflow *workflow)
{
    struct arena *arena = workflow_arena(workflow);
    struct document *input = workflow_input(workflow);
    struct document *envelope = document_object(arena);
    struct text from = sender(workflow);
    struct text traceparent = document_get_string(input, "traceparent");

    document_put_text(envelope, "messageId",
                      message_rules_id(arena, from, text_of(workflow_id(workflow))));
    document_put_text(envelope, "from", from);
    document_put_text(envelope, "to", document_get_string(input, "to"));
    document_put_text(envelope, "sessionKey", document_get_string(input, "sessionKey"));
    document_put(envelope, "content", document_copy(arena, document_get(input, "content")));
    if (document_get(input, "metadata"))
        document_put(envelope, "metadata", document_copy(arena, document_get(input, "metadata")));
    if (!text_is_traceparent(traceparent))
        traceparent = workflow_traceparent(workflow);
    if (traceparent.data)
        document_put_text(envelope, "traceparent", traceparent);
    return document_text(arena, envelope);
}

enum error route_agent_message(struct workflow *workflow)
{
    const struct options *options = workflow_options(workflow);
    struct document *input = workflow_input(workflow);
    struct workflow_message message = {0};
    enum error error;

    error = workflow_step_pure(workflow, "validateMessage", validate_message, NULL, NULL);
    if (error)
        return error;

    message.to = document_get_string(input, "to");
    message.from = sender(workflow);
    message.id = text_of(workflow_id(workflow));
    message.message = envelope(workflow);
    message.expects_reply = document_bool(document_get(input, "expectsReply"), false);
    message.priority = document_int(document_get(input, "priority"), 0);
    message.max_attempts = options->max_attempts;
    message.delay_ms = document_int(document_get(input, "delayMs"), 0);
    message.ttl_ms = document_int(document_get(input, "ttlMs"), options->message_ttl_ms);
    error = workflow_step_send(workflow, "storeMessage", &message);
    if (error)
        return error;
    workflow_event(workflow, "accepted", NULL);

    return workflow_step_settled(workflow, "routeMessage", message.ttl_ms);
}
