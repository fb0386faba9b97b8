/* SPDX-License-Identifier: MIT
 *
 * Dead letters. Who sees which: gateway/dead_letter.h; what one may not see is not there.
 */
#include "http/handler.h"

#include "db/statement.h"
#include "gateway/dead_letter.h"

#define LIST_DEFAULT 50

static enum error no_such(struct http_context *context)
{
    return failure_set(&context->failure, ERR_NOT_FOUND, "there is no such dead letter");
}

static enum error check_id(struct http_context *context)
{
    return dead_letter_id_valid(context->params[0]) ? OK : no_such(context);
}

enum error handle_dead_letter_list(struct http_context *context)
{
    struct document *answer = document_object(context->arena);
    struct document *list = document_array(context->arena);
    struct text inbox = request_query(context->request, "inbox");
    struct dead_letter *letters;
    int64_t limit, before;
    struct db_rows *rows;
    struct db_call call;
    size_t count;
    enum error error;

    if ((error = request_query_int(context->request, "limit", 1, DEAD_LETTER_LIST_MAX, LIST_DEFAULT,
                                   &context->failure, &limit)) != OK ||
        (error = request_query_int(context->request, "cursor", 1, INT64_MAX, 0, &context->failure,
                                   &before)) != OK)
        return error;
    if (inbox.data != NULL && !text_is_agent_id(inbox))
        return failure_set(&context->failure, ERR_INVALID_ID, "inbox is the id of an agent");
    dead_letter_list_call(&call, context->arena, &context->principal, inbox, before, limit);
    error = handler_run(context, &call, &rows);
    if (error == OK)
        error = dead_letter_result(context->arena, rows, &context->failure, &letters, &count);
    if (error != OK)
        return error;
    for (size_t i = 0; i < count; i++)
        document_append(list, dead_letter_document(context->arena, &letters[i]));
    document_put(answer, "deadLetters", list);
    document_put(answer, "nextCursor",
                 count > 0 && (int64_t)count == limit
                     ? handler_number(context, letters[count - 1].inbox_seq)
                     : document_null(context->arena));
    response_json(context->response, 200, answer);
    return OK;
}

enum error handle_dead_letter_get(struct http_context *context)
{
    struct dead_letter *letters;
    struct db_rows *rows;
    struct db_call call;
    size_t count;
    enum error error = check_id(context);

    if (error != OK)
        return error;
    dead_letter_get_call(&call, context->arena, &context->principal, context->params[0]);
    error = handler_run(context, &call, &rows);
    if (error == OK)
        error = dead_letter_result(context->arena, rows, &context->failure, &letters, &count);
    if (error == OK && count == 0)
        error = no_such(context);
    if (error == OK)
        response_json(context->response, 200, dead_letter_document(context->arena, &letters[0]));
    return error;
}

enum error handle_dead_letter_redrive(struct http_context *context)
{
    const struct engine *engine = &context->server->engine;
    struct redriven *redriven;
    struct db_rows *rows;
    struct db_call call;
    size_t count;
    enum error error = check_id(context);

    if (error != OK)
        return error;
    dead_letter_redrive_call(&call, context->arena, engine, &context->principal, context->params,
                             dead_letter_forks(context->arena, 1), 1);
    error = handler_run(context, &call, &rows);
    if (error == OK)
        error = dead_letter_redrive_result(engine, context->arena, rows, &context->failure,
                                           &redriven, &count);
    if (error != OK)
        return error;
    if (count != 1 || redriven[0].outcome == REDRIVE_UNKNOWN)
        return no_such(context);
    if (redriven[0].outcome == REDRIVE_FULL)
        return failure_set(&context->failure, ERR_INBOX_FULL,
                           "redrive it again when some of its messages were read");
    response_json(context->response, 200, redriven_document(context->arena, &redriven[0]));
    return OK;
}

enum error handle_dead_letter_purge(struct http_context *context)
{
    struct db_rows *rows;
    struct db_call call;
    enum error error = check_id(context);

    if (error != OK)
        return error;
    dead_letter_purge_call(&call, context->arena, &context->principal, context->params, 1);
    error = handler_run(context, &call, &rows);
    if (error == OK)
        error = db_rows_error(rows, &context->failure);
    if (error == OK && db_rows_count(rows) == 0)
        error = no_such(context);
    if (error == OK)
        context->response->status = 204;
    return error;
}
