/* SPDX-License-Identifier: MIT */
#include "workflow/ask.h"

const char *workflow_actor(const struct workflow *workflow)
{
    return workflow_principal(workflow)[0] ? workflow_principal(workflow) : "gateway";
}

enum error workflow_ask(struct workflow *workflow, const struct ask *ask,
                        struct document **ret_response)
{
    struct arena *arena = workflow_arena(workflow);
    struct document *message = document_object(arena);
    struct document *response;
    struct workflow_child child = {.name = "routeAgentMessage"};
    struct document *result = NULL;
    const char *id = NULL;
    enum error error;

    document_put_string(message, "from", workflow_actor(workflow));
    document_put_text(message, "to", ask->to);
    document_put_text(message, "sessionKey", ask->session_key);
    document_put_text(message, "content", ask->content);
    document_put(message, "metadata", ask->metadata);
    if (ask->ttl_ms > 0)
        document_put_int(message, "ttlMs", ask->ttl_ms);
    document_put_bool(message, "expectsReply", true);
    child.arguments = document_append(document_array(arena), message);

    error = workflow_start_child(workflow, &child, &id);
    if (error)
        return error;
    error = workflow_result(workflow, id, &result);
    if (error)
        return error;
    response = document_get(result, "response");
    *ret_response = response ? response : document_null(arena);
    return OK;
}
