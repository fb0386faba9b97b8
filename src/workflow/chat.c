/* SPDX-License-Identifier: MIT
 *
 * chat: asks an agent in a conversation that is kept.
 *
 *   validateChat           pure           whom, what, within the limits
 *   storeUserMessage       transactional  the question is in the conversation; what was said before
 *   routeAgentMessage      child          the question, a message as any other
 *   DBOS.getResult         parked         until it is answered
 *   storeAssistantMessage  transactional  the answer is in the conversation
 *
 * Input: {agentId,message,conversationId,workspaceId?,userId?,conversationHistory?,ttlMs?}; without
 * a history of the caller's the agent is told what is kept of it. Output: {conversationId,
 * userMessageId,assistantMessageId,response,tokensUsed,processingTimeMs}; tokensUsed is null where
 * the agent does not say. Without an answer it ends as its message did.
 */
#include "base/text.h"
#include "workflow/ask.h"
#include "workflow/message_rules.h"
#include "workflow/workflows.h"

#define CHAT_NAME_MAX          256 /* bytes of workspaceId and userId */
#define CHAT_HISTORY_MAX       100 /* messages */
#define CHAT_HISTORY_MAX_BYTES 49152

static enum error check_name(const struct document *input, const char *name,
                             struct failure *failure)
{
    const struct document *value = document_get(input, name);

    if (value == NULL || document_kind(value) == DOCUMENT_NULL)
        return OK;
    if (document_kind(value) != DOCUMENT_STRING || document_string(value).len > CHAT_NAME_MAX)
        return failure_set(failure, ERR_INVALID_REQUEST, "%s is a string of at most %d bytes", name,
                           CHAT_NAME_MAX);
    return OK;
}

static enum error check_history(struct arena *arena, const struct document *history,
                                struct failure *failure)
{
    if (history == NULL || document_kind(history) == DOCUMENT_NULL)
        return OK;
    if (document_kind(history) != DOCUMENT_ARRAY || document_count(history) > CHAT_HISTORY_MAX)
        return failure_set(failure, ERR_INVALID_REQUEST,
                           "conversationHistory is an array of at most %d messages",
                           CHAT_HISTORY_MAX);
    for (size_t i = 0; i < document_count(history); i++)
        if (document_get_string(document_at(history, i), "role").data == NULL ||
            document_get_string(document_at(history, i), "content").data == NULL)
            return failure_set(failure, ERR_INVALID_REQUEST,
                               "conversationHistory: element %zu has no role and content", i);
    if (document_text(arena, history).len > CHAT_HISTORY_MAX_BYTES)
        return failure_set(failure, ERR_TOO_LARGE, "conversationHistory may have %d bytes",
                           CHAT_HISTORY_MAX_BYTES);
    return OK;
}

static enum error validate_chat(struct workflow *workflow, void *context,
                                struct document **ret_output)
{
    const struct document *input = workflow_input(workflow);
    struct text conversation = document_get_string(input, "conversationId");
    struct text message = document_get_string(input, "message");
    const struct document *ttl = document_get(input, "ttlMs");
    struct failure *failure = workflow_failure(workflow);
    enum error error;

    (void)context;
    (void)ret_output;
    if (!text_is_agent_id(document_get_string(input, "agentId")))
        return failure_set(failure, ERR_INVALID_ID, "agentId must be an agent's id");
    if (!text_is_message_key(conversation) || conversation.len > CHAT_CONVERSATION_MAX)
        return failure_set(failure, ERR_INVALID_ID,
                           "conversationId has 1 to %d printable ASCII characters, without space, "
                           "quote and backslash",
                           CHAT_CONVERSATION_MAX);
    if (message.data == NULL || message.len == 0)
        return failure_set(failure, ERR_INVALID_REQUEST,
                           "message must be a string of one character or more");
    /* with its metadata it has to pass as a message */
    if (message.len > (size_t)workflow_options(workflow)->max_message_size / 2)
        return failure_set(failure, ERR_TOO_LARGE, "message may have %lld bytes",
                           (long long)workflow_options(workflow)->max_message_size / 2);
    if (ttl != NULL && (document_kind(ttl) != DOCUMENT_INT || document_int(ttl, 0) < 1 ||
                        document_int(ttl, 0) > MESSAGE_DELAY_MAX_MS))
        return failure_set(failure, ERR_INVALID_REQUEST, "ttlMs is a number of milliseconds");
    if ((error = check_name(input, "workspaceId", failure)) != OK ||
        (error = check_name(input, "userId", failure)) != OK)
        return error;
    return check_history(workflow_arena(workflow), document_get(input, "conversationHistory"),
                         failure);
}

static enum error store(struct workflow *workflow, const char *step, const char *role,
                        struct text content, struct document **ret_stored)
{
    struct arena *arena = workflow_arena(workflow);
    const struct document *input = workflow_input(workflow);
    bool asks = text_is(text_of(role), "user");
    struct db_call call;

    db_call_init(&call, arena, STATEMENT_CONVERSATION_ADD);
    db_add_string(&call, workflow_actor(workflow));
    db_add_text(&call, document_get_string(input, "conversationId"));
    db_add_text(&call, document_get_string(input, "agentId"));
    db_add_text(&call, document_get_string(input, "workspaceId"));
    db_add_text(&call, document_get_string(input, "userId"));
    db_add_string(&call, arena_printf(arena, "%s/%s", workflow_id(workflow), role));
    db_add_string(&call, role);
    db_add_text(&call, content);
    db_add_string(&call, workflow_id(workflow));
    db_add_bool(&call, asks);
    db_add_bool(&call, workflow_options(workflow)->auto_provision != 0);
    db_add_string(&call, arena_printf(arena, "%d", workflow_next_step(workflow)));
    return workflow_step_call(workflow, step, &call, ret_stored);
}

static struct document *metadata_of(struct workflow *workflow, const struct document *asked)
{
    static const char *const names[] = {"conversationId", "workspaceId", "userId"};
    struct arena *arena = workflow_arena(workflow);
    const struct document *input = workflow_input(workflow);
    const struct document *history = document_get(input, "conversationHistory");
    struct document *metadata = document_object(arena);

    if (document_kind(history) != DOCUMENT_ARRAY)
        history = document_get(asked, "history");
    document_put_string(metadata, "kind", "chat");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        document_put_text(metadata, names[i], document_get_string(input, names[i]));
    document_put_text(metadata, "userMessageId", document_get_string(asked, "messageId"));
    document_put(metadata, "conversationHistory",
                 history ? document_copy(arena, history) : document_array(arena));
    return metadata;
}

/* An answer is a text, or an object that has one in it; whatever else it is stands as JSON. */
static struct text answer_text(struct arena *arena, const struct document *response)
{
    static const char *const names[] = {"response", "text", "content", "message"};

    if (document_kind(response) == DOCUMENT_STRING)
        return document_string(response);
    if (document_kind(response) == DOCUMENT_NULL)
        return TEXT_LITERAL("");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (document_get_string(response, names[i]).data != NULL)
            return document_get_string(response, names[i]);
    return document_text(arena, response);
}

static enum error finish(struct workflow *workflow, const struct document *asked,
                         const struct document *answered, const struct document *response)
{
    struct arena *arena = workflow_arena(workflow);
    const struct document *tokens = document_get(response, "tokensUsed");
    struct document *output = document_object(arena);

    document_put_text(output, "conversationId",
                      document_get_string(workflow_input(workflow), "conversationId"));
    document_put_text(output, "userMessageId", document_get_string(asked, "messageId"));
    document_put_text(output, "assistantMessageId", document_get_string(answered, "messageId"));
    document_put_text(output, "response", answer_text(arena, response));
    document_put(output, "tokensUsed",
                 document_kind(tokens) == DOCUMENT_INT
                     ? document_from_int(arena, document_int(tokens, 0))
                     : document_null(arena));
    document_put_int(output, "processingTimeMs",
                     document_int(document_get(answered, "at"), 0) -
                         document_int(document_get(asked, "at"), 0));
    return workflow_finish(workflow, output);
}

enum error chat(struct workflow *workflow)
{
    struct arena *arena = workflow_arena(workflow);
    const struct document *input = workflow_input(workflow);
    struct document *asked = NULL, *answered = NULL, *response = NULL;
    struct ask ask = {.to = document_get_string(input, "agentId"),
                      .content = document_get_string(input, "message")};
    struct text conversation = document_get_string(input, "conversationId");
    enum error error;

    error = workflow_step_pure(workflow, "validateChat", validate_chat, NULL, NULL);
    if (error)
        return error;
    error = store(workflow, "storeUserMessage", "user", ask.content, &asked);
    if (error)
        return error;
    ask.session_key = text_of(arena_printf(arena, "agent:%.*s:chat:%.*s", (int)ask.to.len,
                                           ask.to.data, (int)conversation.len, conversation.data));
    ask.metadata = metadata_of(workflow, asked);
    ask.ttl_ms = document_int(document_get(input, "ttlMs"), 0);
    error = workflow_ask(workflow, &ask, &response);
    if (error)
        return error;
    error = store(workflow, "storeAssistantMessage", "assistant", answer_text(arena, response),
                  &answered);
    if (error)
        return error;
    return finish(workflow, asked, answered, response);
}
