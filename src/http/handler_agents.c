/* SPDX-License-Identifier: MIT
 *
 * The registry of agents. Who manages agents sees all and changes them; an agent sees itself.
 */
#include "http/handler.h"

#include "db/statement.h"
#include "http/etag.h"
#include "workflow/agent_rules.h"

#define LIST_DEFAULT 100
#define LIST_MAX     500
#define MATCHES_MAX  16

/* Columns of agent_page.sql. */
enum {
    AGENT_ID,
    AGENT_NAME,
    AGENT_STATUS,
    AGENT_MODEL,
    AGENT_CREATED,
    AGENT_SCOPES,
    AGENT_CREDENTIALS,
    AGENT_SUBSCRIBED,
    AGENT_ALLOW,
    AGENT_VERSION,
    AGENT_UPDATED,
    AGENT_PERSONA,
    AGENT_USER,
    AGENT_SESSION_KEY,
    AGENT_INBOX_LIMIT,
    AGENT_HEARTBEAT,
    AGENT_CONFIGURATION,
    AGENT_PAUSED,
    AGENT_NEXT_HEARTBEAT
};

static bool may_see_all(const struct http_context *context)
{
    return principal_may(&context->principal, SCOPE_AGENTS_WRITE);
}

static enum error no_such(struct http_context *context)
{
    return failure_set(&context->failure, ERR_NOT_FOUND, "there is no such agent");
}

static struct document *names(struct arena *arena, struct db_rows *rows, size_t row,
                              unsigned column)
{
    struct document *list = document_array(arena);
    struct text *texts;
    size_t count;

    if (db_is_null(rows, row, column))
        return document_null(arena);
    texts = db_texts(rows, row, column, &count);
    for (size_t i = 0; i < count; i++)
        document_append(list, document_from_text(arena, texts[i]));
    return list;
}

static struct document *agent_document(struct http_context *context, struct db_rows *rows,
                                       size_t row)
{
    struct arena *arena = context->arena;
    struct document *agent = document_object(arena);
    static const struct {
        const char *name;
        unsigned column;
    } texts[] = {{"name", AGENT_NAME},
                 {"persona", AGENT_PERSONA},
                 {"model", AGENT_MODEL},
                 {"userId", AGENT_USER},
                 {"sessionKey", AGENT_SESSION_KEY}};

    document_put_text(agent, "agentId", db_text(rows, row, AGENT_ID));
    document_put_text(agent, "status", db_text(rows, row, AGENT_STATUS));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        document_put(agent, texts[i].name,
                     document_from_text(arena, db_text(rows, row, texts[i].column)));
    document_put(agent, "inboxLimit",
                 db_is_null(rows, row, AGENT_INBOX_LIMIT)
                     ? document_null(arena)
                     : document_from_int(arena, db_int(rows, row, AGENT_INBOX_LIMIT)));
    /* null: everybody with the scope may write to it */
    document_put(agent, "allowFrom", names(arena, rows, row, AGENT_ALLOW));
    document_put(agent, "heartbeat",
                 document_from_json(arena, db_text(rows, row, AGENT_HEARTBEAT)));
    document_put(agent, "nextHeartbeatAt", handler_time(context, rows, row, AGENT_NEXT_HEARTBEAT));
    document_put(agent, "configuration",
                 document_from_json(arena, db_text(rows, row, AGENT_CONFIGURATION)));
    document_put(agent, "paused", document_from_json(arena, db_text(rows, row, AGENT_PAUSED)));
    document_put(agent, "scopes", names(arena, rows, row, AGENT_SCOPES));
    document_put_int(agent, "credentials", db_int(rows, row, AGENT_CREDENTIALS));
    document_put_bool(agent, "subscribed", db_bool(rows, row, AGENT_SUBSCRIBED));
    document_put_int(agent, "version", db_int(rows, row, AGENT_VERSION));
    document_put(agent, "createdAt", handler_time(context, rows, row, AGENT_CREATED));
    document_put(agent, "updatedAt", handler_time(context, rows, row, AGENT_UPDATED));
    return agent;
}

static enum error run_page(struct http_context *context, struct text agent, struct text after,
                           int64_t limit, struct db_rows **ret_rows)
{
    struct db_call call;

    db_call_init(&call, context->arena, STATEMENT_AGENT_PAGE);
    db_add_text(&call, agent);
    db_add_text(&call, after);
    db_add_int(&call, limit);
    return handler_run(context, &call, ret_rows);
}

static struct document *agent_cursor(struct http_context *context, struct db_rows *rows, size_t row)
{
    return document_from_text(context->arena, db_text(rows, row, AGENT_ID));
}

static const struct handler_list agents_list = {"agents", agent_document, agent_cursor};

enum error handle_agent_list(struct http_context *context)
{
    struct document *answer = document_object(context->arena);
    struct text cursor = request_query(context->request, "cursor");
    struct text only = may_see_all(context) ? TEXT_NONE : text_of(context->principal.id);
    struct db_rows *rows;
    int64_t limit;
    enum error error = request_query_int(context->request, "limit", 1, LIST_MAX, LIST_DEFAULT,
                                         &context->failure, &limit);

    if (error != OK)
        return error;
    if (cursor.data != NULL && !text_is_agent_id(cursor))
        return failure_set(&context->failure, ERR_INVALID_REQUEST,
                           "cursor is not one that a list has given");
    error = run_page(context, only, cursor, limit + 1, &rows);
    if (error == OK)
        error = handler_put_page(context, &agents_list, rows, limit, answer);
    if (error == OK)
        response_json(context->response, 200, answer);
    return error;
}

enum error handler_agent_answer(struct http_context *context, struct text id, int status)
{
    struct document *agent;
    struct db_rows *rows;
    enum error error = run_page(context, id, TEXT_NONE, 1, &rows);

    if (error != OK)
        return error;
    if (db_rows_count(rows) == 0)
        return no_such(context);
    agent = agent_document(context, rows, 0);
    response_etag(context->response,
                  etag_new(context->arena, db_int(rows, 0, AGENT_VERSION), agent));
    error = db_rows_error(rows, &context->failure);
    if (error == OK)
        response_json(context->response, status, agent);
    return error;
}

enum error handle_agent_get(struct http_context *context)
{
    struct text id = context->params[0];

    if (!text_is_agent_id(id) || (!may_see_all(context) && !text_is(id, context->principal.id)))
        return no_such(context);
    return handler_agent_answer(context, id, 200);
}

/* ---- changing -------------------------------------------------------------------------------- */

/* Adds the versions of If-Match to the call; null: any will do. Weak ones never match here
 * (RFC 9110, 13.1.1). */
static enum error add_match(struct http_context *context, struct db_call *call)
{
    struct text rest = context->request->if_match;
    int64_t versions[MATCHES_MAX];
    size_t count = 0;
    struct text tag;
    bool weak;

    if (context->request->if_none_match.data != NULL)
        return failure_set(&context->failure, ERR_INVALID_REQUEST,
                           "If-None-Match is for GET and HEAD; a change takes If-Match");
    if (rest.data == NULL || text_is(rest, "*")) {
        db_add_null(call);
        return OK;
    }
    while (etag_next(&rest, &tag, &weak)) {
        if (count == MATCHES_MAX)
            return failure_set(&context->failure, ERR_INVALID_REQUEST,
                               "If-Match takes %d entity tags", MATCHES_MAX);
        versions[count++] = weak ? ETAG_VERSION_UNLIKE : etag_version(tag);
    }
    if (rest.len > 0 || count == 0)
        return failure_set(&context->failure, ERR_INVALID_REQUEST,
                           "If-Match takes the ETag of an answer, with its quotes, or *");
    db_add_ints(call, versions, count);
    return OK;
}

enum error handle_agent_change(struct http_context *context)
{
    struct text id = context->params[0];
    struct db_rows *rows;
    struct db_call call;
    struct text *bells;
    size_t count;
    enum error error;

    if (!text_is_agent_id(id))
        return no_such(context);
    error = agent_settings_check(context->body, id, NULL, &context->failure);
    if (error != OK)
        return error;
    db_call_init(&call, context->arena, STATEMENT_AGENT_CHANGE);
    db_add_string(&call, context->principal.id);
    db_add_text(&call, id);
    db_add_text(&call, document_text(context->arena, context->body));
    error = add_match(context, &call);
    if (error == OK)
        error = handler_run(context, &call, &rows);
    if (error != OK)
        return error;
    if (db_rows_count(rows) == 0)
        return no_such(context);
    bells = db_texts(rows, 0, 3, &count);
    engine_ring(&context->server->engine, bells, count);
    return handler_agent_answer(context, id, 200);
}

enum error handle_agent_delete(struct http_context *context)
{
    const struct options *options = context->server->options;
    struct text id = context->params[0];
    struct db_rows *rows;
    struct db_call call;
    struct text *bells;
    size_t count;
    enum error error;

    if (!text_is_agent_id(id))
        return no_such(context);
    db_call_init(&call, context->arena, STATEMENT_AGENT_DELETE);
    db_add_string(&call, context->principal.id);
    db_add_string(&call, options->app_name);
    db_add_bool(&call, options->legacy_payloads != 0);
    db_add_text(&call, id);
    error = add_match(context, &call);
    if (error == OK)
        error = handler_run(context, &call, &rows);
    if (error != OK)
        return error;
    if (db_rows_count(rows) == 0)
        return no_such(context);
    bells = db_texts(rows, 0, 1, &count);
    engine_ring(&context->server->engine, bells, count);
    context->response->status = 204;
    return OK;
}

/* ---- heartbeats ------------------------------------------------------------------------------ */

static struct document *heartbeat_document(struct http_context *context, struct db_rows *rows,
                                           size_t row)
{
    struct arena *arena = context->arena;
    struct document *one = document_object(arena);

    document_put_text(one, "workflowUuid", db_text(rows, row, 0));
    document_put_text(one, "status", db_text(rows, row, 1));
    document_put(one, "response", document_from_json(arena, db_text(rows, row, 2)));
    document_put(one, "reason", document_from_text(arena, db_text(rows, row, 3)));
    document_put(one, "startedAt", handler_time(context, rows, row, 4));
    document_put(one, "finishedAt", handler_time(context, rows, row, 5));
    return one;
}

static struct document *heartbeat_cursor(struct http_context *context, struct db_rows *rows,
                                         size_t row)
{
    return handler_cursor(context, db_int(rows, row, 5), db_text(rows, row, 0));
}

static const struct handler_list heartbeats_list = {"heartbeats", heartbeat_document,
                                                    heartbeat_cursor};

enum error handle_heartbeat_list(struct http_context *context)
{
    struct document *answer = document_object(context->arena);
    struct text id = context->params[0];
    struct db_rows *rows;
    struct db_call call;
    int64_t limit;
    enum error error = request_query_int(context->request, "limit", 1, LIST_MAX, LIST_DEFAULT,
                                         &context->failure, &limit);

    if (error != OK)
        return error;
    if (!text_is_agent_id(id) || (!may_see_all(context) && !text_is(id, context->principal.id)))
        return no_such(context);
    db_call_init(&call, context->arena, STATEMENT_HEARTBEAT_LIST);
    db_add_text(&call, id);
    error = handler_add_cursor(context, &call);
    if (error != OK)
        return error;
    db_add_int(&call, limit + 1);
    error = handler_run(context, &call, &rows);
    if (error != OK)
        return error;
    document_put_text(answer, "agentId", id);
    error = handler_put_page(context, &heartbeats_list, rows, limit, answer);
    if (error == OK)
        response_json(context->response, 200, answer);
    return error;
}
