/* SPDX-License-Identifier: MIT
 *
 * The registry of agents. Who manages agents sees all and changes them; an agent sees itself.
 */
#include "http/handler.h"

#include "db/statement.h"

static bool may_see_all(const struct http_context *context)
{
    return principal_may(&context->principal, SCOPE_AGENTS_WRITE);
}

/* Null: everybody with the scope may write to it. */
static struct document *allow_document(struct arena *arena, struct db_rows *rows, size_t row)
{
    struct document *list = document_array(arena);
    struct text *names;
    size_t count;

    if (db_is_null(rows, row, 8))
        return document_null(arena);
    names = db_texts(rows, row, 8, &count);
    for (size_t i = 0; i < count; i++)
        document_append(list, document_from_text(arena, names[i]));
    return list;
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
    document_put(agent, "allowFrom", allow_document(arena, rows, row));
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

/* ---- changing -------------------------------------------------------------------------------- */

#define AGENT_NAME_MAX 200 /* bytes, of the name for people */

struct change {
    bool sets_name, sets_allow;
    struct text name, status;
    struct text *allow; /* NULL: everybody */
    size_t allow_count;
};

static enum error read_allow(struct http_context *context, const struct document *list,
                             struct change *change)
{
    change->sets_allow = document_kind(list) != DOCUMENT_ABSENT;
    if (!change->sets_allow || document_kind(list) == DOCUMENT_NULL)
        return OK;
    change->allow_count = document_count(list);
    if (document_kind(list) != DOCUMENT_ARRAY || change->allow_count > AGENT_ALLOW_MAX)
        return failure_set(&context->failure, ERR_INVALID_REQUEST,
                           "allowFrom is an array of at most %d principals, or null for everybody",
                           AGENT_ALLOW_MAX);
    change->allow = arena_array(context->arena, change->allow_count + 1, sizeof(*change->allow));
    for (size_t i = 0; i < change->allow_count; i++) {
        change->allow[i] = document_string(document_at(list, i));
        if (!text_is_agent_id(change->allow[i]))
            return failure_set(&context->failure, ERR_INVALID_ID,
                               "allowFrom: element %zu is no principal's id", i);
    }
    return OK;
}

static enum error read_change(struct http_context *context, struct change *ret_change)
{
    static const char *const known[] = {"name", "status", "allowFrom", NULL};
    struct change change = {.sets_name = document_get(context->body, "name") != NULL};
    enum error error;

    for (size_t i = 0; i < document_count(context->body); i++) {
        struct text key = document_key(context->body, i);
        const char *const *name = known;

        while (*name != NULL && !text_is(key, *name))
            name++;
        if (*name == NULL)
            return failure_set(&context->failure, ERR_INVALID_REQUEST,
                               "an agent's name, status and allowFrom can be changed");
    }
    if ((error = body_text(context, context->body, "name", &change.name)) != OK ||
        (error = body_text(context, context->body, "status", &change.status)) != OK ||
        (error = read_allow(context, document_get(context->body, "allowFrom"), &change)) != OK)
        return error;
    if (change.name.len > AGENT_NAME_MAX)
        return failure_set(&context->failure, ERR_TOO_LARGE, "name may have %d bytes",
                           AGENT_NAME_MAX);
    if (change.status.data != NULL && !text_is(change.status, "active") &&
        !text_is(change.status, "paused"))
        return failure_set(&context->failure, ERR_INVALID_REQUEST, "status is active or paused");
    *ret_change = change;
    return OK;
}

enum error handle_agent_change(struct http_context *context)
{
    struct text id = context->params[0];
    struct change change = {0};
    struct db_rows *rows;
    struct db_call call;
    struct text *bells;
    size_t count;
    enum error error = read_change(context, &change);

    if (error != OK)
        return error;
    if (!text_is_agent_id(id))
        return failure_set(&context->failure, ERR_NOT_FOUND, "there is no such agent");
    db_call_init(&call, context->arena, STATEMENT_AGENT_SET);
    db_add_string(&call, context->principal.id);
    db_add_text(&call, id);
    db_add_bool(&call, change.sets_name);
    db_add_text(&call, change.name);
    db_add_bool(&call, change.sets_allow);
    if (change.allow != NULL)
        db_add_texts(&call, change.allow, change.allow_count);
    else
        db_add_null(&call);
    db_add_text(&call, change.status);
    error = handler_run(context, &call, &rows);
    if (error != OK)
        return error;
    if (db_rows_count(rows) == 0)
        return failure_set(&context->failure, ERR_NOT_FOUND, "there is no such agent");
    bells = db_texts(rows, 0, 1, &count);
    engine_ring(&context->server->engine, bells, count);
    return handle_agent_get(context);
}
