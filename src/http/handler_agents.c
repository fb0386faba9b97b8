/* SPDX-License-Identifier: MIT
 *
 * The registry of agents, to read. Who manages agents sees all; an agent sees itself.
 */
#include "http/handler.h"

#include "db/statement.h"

static bool may_see_all(const struct http_context *context)
{
    return principal_may(&context->principal, SCOPE_AGENTS_WRITE);
}

static struct document *agent_document(struct http_context *context, struct db_rows *rows,
                                       size_t row)
{
    struct arena *arena = context->arena;
    struct document *agent = document_object(arena);
    struct document *scopes = document_array(arena);
    size_t count;
    struct text *names = db_texts(rows, row, 5, &count);

    for (size_t i = 0; i < count; i++)
        document_append(scopes, document_from_text(arena, names[i]));
    document_put_text(agent, "agentId", db_text(rows, row, 0));
    document_put(agent, "name", document_from_text(arena, db_text(rows, row, 1)));
    document_put_text(agent, "status", db_text(rows, row, 2));
    document_put(agent, "model", document_from_text(arena, db_text(rows, row, 3)));
    document_put(agent, "createdAt", handler_time(context, rows, row, 4));
    document_put(agent, "scopes", scopes);
    document_put_int(agent, "credentials", db_int(rows, row, 6));
    document_put_bool(agent, "subscribed", db_bool(rows, row, 7));
    return agent;
}

static enum error run_list(struct http_context *context, struct text agent,
                           struct db_rows **ret_rows)
{
    struct db_call call;

    db_call_init(&call, context->arena, STATEMENT_AGENT_LIST);
    db_add_text(&call, agent);
    return handler_run(context, &call, ret_rows);
}

enum error handle_agent_list(struct http_context *context)
{
    struct document *answer = document_object(context->arena);
    struct document *agents = document_array(context->arena);
    struct db_rows *rows;
    enum error error =
        run_list(context, may_see_all(context) ? TEXT_NONE : text_of(context->principal.id), &rows);

    if (error != OK)
        return error;
    for (size_t row = 0; row < db_rows_count(rows); row++)
        document_append(agents, agent_document(context, rows, row));
    error = db_rows_error(rows, &context->failure);
    if (error != OK)
        return error;
    response_json(context->response, 200, document_put(answer, "agents", agents));
    return OK;
}

enum error handle_agent_get(struct http_context *context)
{
    struct text id = context->params[0];
    struct document *agent;
    struct db_rows *rows;
    enum error error;

    if (!text_is_agent_id(id) || (!may_see_all(context) && !text_is(id, context->principal.id)))
        return failure_set(&context->failure, ERR_NOT_FOUND, "there is no such agent");
    error = run_list(context, id, &rows);
    if (error != OK)
        return error;
    if (db_rows_count(rows) == 0)
        return failure_set(&context->failure, ERR_NOT_FOUND, "there is no such agent");
    agent = agent_document(context, rows, 0);
    error = db_rows_error(rows, &context->failure);
    if (error == OK)
        response_json(context->response, 200, agent);
    return error;
}
