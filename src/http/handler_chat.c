/* SPDX-License-Identifier: MIT
 *
 * Conversations with agents. Each principal has its own: somebody else's are not there.
 */
#include "gateway/start.h"
#include "http/handler.h"

#include "base/token.h"
#include "db/statement.h"
#include "workflow/registry.h"
#include "workflow/workflows.h"

#define CHAT_LIMIT_S 60
#define LIST_DEFAULT 50
#define LIST_MAX     500

static enum error no_such(struct http_context *context)
{
    return failure_set(&context->failure, ERR_NOT_FOUND, "there is no such conversation");
}

/* The key itself, or where it is too long its digest: the same again for the same key. */
static struct text conversation_of_key(struct arena *arena, struct text key)
{
    char hash[TOKEN_HASH_SIZE];

    if (key.len <= CHAT_CONVERSATION_MAX)
        return key;
    token_hash(key, hash);
    return arena_text(arena, text_of(hash));
}

enum error handle_chat(struct http_context *context)
{
    struct document *answer = document_object(context->arena);
    struct workflow_start start = {.definition = workflow_chat,
                                   .principal = text_of(context->principal.id),
                                   .input = context->body,
                                   .traceparent = context->request->traceparent,
                                   .request_id = context->request->given_id};
    struct workflow_state state;
    struct text key;
    enum error error = idempotency_key(context, TEXT_NONE, &key);

    if (error != OK)
        return error;
    start.id = start_workflow_id(context->arena, context->principal.id, key);
    if (document_get(context->body, "conversationId") == NULL)
        document_put_text(context->body, "conversationId",
                          key.data == NULL ? start.id : conversation_of_key(context->arena, key));
    error = handler_run_workflow(context, &start, CHAT_LIMIT_S, &state);
    if (error != OK)
        return error;
    if (!state.finished) {
        handler_not_finished(context, &start, &state);
        return OK;
    }
    document_put_bool(answer, "success", text_is(state.status, "SUCCESS"));
    document_put_text(answer, "workflowUuid", start.id);
    if (text_is(state.status, "SUCCESS")) {
        for (size_t i = 0; i < document_count(state.output); i++) {
            const char *name = arena_text(context->arena, document_key(state.output, i)).data;

            document_put(answer, name,
                         document_copy(context->arena, document_get(state.output, name)));
        }
    } else {
        document_put_text(answer, "status", state.status);
        document_put(answer, "error", state.error);
    }
    response_json(context->response, 200, answer);
    return OK;
}

/* ---- reading --------------------------------------------------------------------------------- */

static struct document *conversation_document(struct http_context *context, struct db_rows *rows,
                                              size_t row)
{
    struct arena *arena = context->arena;
    struct document *one = document_object(arena);

    document_put_text(one, "conversationId", db_text(rows, row, 0));
    document_put_text(one, "agentId", db_text(rows, row, 1));
    document_put(one, "workspaceId", document_from_text(arena, db_text(rows, row, 2)));
    document_put(one, "userId", document_from_text(arena, db_text(rows, row, 3)));
    document_put(one, "createdAt", handler_time(context, rows, row, 4));
    document_put(one, "updatedAt", handler_time(context, rows, row, 5));
    return one;
}

static struct document *conversation_cursor(struct http_context *context, struct db_rows *rows,
                                            size_t row)
{
    return handler_cursor(context, db_int(rows, row, 5), db_text(rows, row, 0));
}

static const struct handler_list conversations_list = {"conversations", conversation_document,
                                                       conversation_cursor};

static enum error read_limit(struct http_context *context, int64_t *ret_limit)
{
    return request_query_int(context->request, "limit", 1, LIST_MAX, LIST_DEFAULT,
                             &context->failure, ret_limit);
}

enum error handle_chat_list(struct http_context *context)
{
    struct document *answer = document_object(context->arena);
    struct db_rows *rows;
    struct db_call call;
    int64_t limit;
    enum error error = read_limit(context, &limit);

    if (error != OK)
        return error;
    db_call_init(&call, context->arena, STATEMENT_CONVERSATION_LIST);
    db_add_string(&call, context->principal.id);
    db_add_text(&call, request_query(context->request, "agent"));
    error = handler_add_cursor(context, &call);
    if (error != OK)
        return error;
    db_add_int(&call, limit + 1);
    error = handler_run(context, &call, &rows);
    if (error == OK)
        error = handler_put_page(context, &conversations_list, rows, limit, answer);
    if (error == OK)
        response_json(context->response, 200, answer);
    return error;
}

static struct document *said_document(struct http_context *context, struct db_rows *rows,
                                      size_t row)
{
    struct document *one = document_object(context->arena);

    document_put_text(one, "messageId", db_text(rows, row, 1));
    document_put_text(one, "role", db_text(rows, row, 2));
    document_put_text(one, "content", db_text(rows, row, 3));
    document_put_text(one, "workflowUuid", db_text(rows, row, 4));
    document_put(one, "createdAt", handler_time(context, rows, row, 5));
    return one;
}

static struct document *said_cursor(struct http_context *context, struct db_rows *rows, size_t row)
{
    return handler_number(context, db_int(rows, row, 0));
}

static const struct handler_list messages_list = {"messages", said_document, said_cursor};

static enum error put_messages(struct http_context *context, struct document *answer)
{
    struct db_rows *rows;
    struct db_call call;
    int64_t limit, after;
    enum error error = read_limit(context, &limit);

    if (error == OK)
        error = request_query_int(context->request, "cursor", 0, INT64_MAX, 0, &context->failure,
                                  &after);
    if (error != OK)
        return error;
    db_call_init(&call, context->arena, STATEMENT_CONVERSATION_MESSAGES);
    db_add_string(&call, context->principal.id);
    db_add_text(&call, context->params[0]);
    db_add_int(&call, after);
    db_add_int(&call, limit + 1);
    error = handler_run(context, &call, &rows);
    if (error == OK)
        error = handler_put_page(context, &messages_list, rows, limit, answer);
    return error;
}

/* The call of a statement about the conversation of the path; NOT_FOUND where it can be none. */
static enum error run_for_path(struct http_context *context, enum statement statement,
                               struct db_rows **ret_rows)
{
    struct db_call call;
    enum error error;

    if (!text_is_message_key(context->params[0]))
        return no_such(context);
    db_call_init(&call, context->arena, statement);
    db_add_string(&call, context->principal.id);
    db_add_text(&call, context->params[0]);
    error = handler_run(context, &call, ret_rows);
    if (error == OK && db_rows_count(*ret_rows) == 0)
        return no_such(context);
    return error;
}

enum error handle_chat_get(struct http_context *context)
{
    struct document *answer;
    struct db_rows *rows;
    enum error error = run_for_path(context, STATEMENT_CONVERSATION_GET, &rows);

    if (error != OK)
        return error;
    answer = conversation_document(context, rows, 0);
    error = db_rows_error(rows, &context->failure);
    if (error == OK)
        error = put_messages(context, answer);
    if (error == OK)
        response_json(context->response, 200, answer);
    return error;
}

enum error handle_chat_delete(struct http_context *context)
{
    struct db_rows *rows;
    enum error error = run_for_path(context, STATEMENT_CONVERSATION_DELETE, &rows);

    if (error == OK)
        context->response->status = 204;
    return error;
}
