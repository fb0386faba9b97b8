/* SPDX-License-Identifier: MIT
 *
 * Tokens, tickets and the audit. A principal sees and ends its own tokens, an operator anybody's;
 * to all others somebody else's look like none at all.
 */
#include "http/handler.h"

#include <string.h>

#include "base/token.h"
#include "db/statement.h"
#include "gateway/attempt.h"

#define LIFE_MAX_MS   31536000000 /* a year, as of MESSAGE_TTL_MS */
#define OVERLAP_MS    60000       /* unless it says otherwise */
#define AUDIT_DEFAULT 50
#define AUDIT_MAX     500
#define SCOPES_MAX    16
#define SCOPES_HINT                                                                                \
    "scopes: send, inbox, workflows:read, workflows:write, agents:write, operator, metrics"
#define CREDENTIAL_MAX 64

static bool is_operator(const struct http_context *context)
{
    return principal_may(&context->principal, SCOPE_OPERATOR);
}

static void add_int_or_null(struct db_call *call, int64_t value)
{
    if (value == DB_INT_NULL)
        db_add_null(call);
    else
        db_add_int(call, value);
}

static void put_scopes(struct document *object, struct arena *arena, struct text *names,
                       size_t count)
{
    struct document *list = document_array(arena);

    for (size_t i = 0; i < count; i++)
        document_append(list, document_from_text(arena, names[i]));
    document_put(object, "scopes", list);
}

static enum error check_scopes(struct http_context *context, unsigned scopes)
{
    if ((scopes & ~context->principal.scopes) != 0 && !is_operator(context))
        return failure_set(&context->failure, ERR_FORBIDDEN,
                           "a requested scope is not the principal's");
    return OK;
}

/* What is answered holds a secret. */
static void response_secret(struct http_context *context, struct document *answer)
{
    response_header(context->response, "Cache-Control", TEXT_LITERAL("no-store"));
    response_json(context->response, 200, answer);
}

/* The body's "scopes", which may be no more than the principal has; 0: it has none. */
static enum error read_scopes(struct http_context *context, unsigned *ret_scopes)
{
    const struct document *list = document_get(context->body, "scopes");
    size_t count = document_count(list);
    unsigned scopes = 0;
    bool good = document_kind(list) == DOCUMENT_ARRAY && count > 0 && count <= SCOPES_MAX;

    *ret_scopes = 0;
    if (document_kind(list) == DOCUMENT_ABSENT || document_kind(list) == DOCUMENT_NULL)
        return OK;
    for (size_t i = 0; good && i < count; i++) {
        unsigned scope = scope_from_name(document_string(document_at(list, i)));

        good = scope != 0;
        scopes |= scope;
    }
    if (!good)
        return failure_set(&context->failure, ERR_INVALID_REQUEST,
                           "scopes is an array of " SCOPES_HINT);
    *ret_scopes = scopes;
    return check_scopes(context, scopes);
}

/* ---- tickets -------------------------------------------------------------------------------- */

/* Of the body or, as well, of the query. */
static enum error read_ticket_scopes(struct http_context *context, unsigned *ret_scopes)
{
    struct text asked = request_query(context->request, "scopes");
    unsigned scopes;
    enum error error = read_scopes(context, &scopes);

    if (error != OK)
        return error;
    *ret_scopes = scopes != 0 ? scopes : context->principal.scopes;
    if (scopes != 0 || asked.data == NULL)
        return OK;
    if (!scopes_parse(asked, ret_scopes))
        return failure_set(&context->failure, ERR_INVALID_REQUEST,
                           "scopes are separated by spaces; there are these " SCOPES_HINT);
    return check_scopes(context, *ret_scopes);
}

enum error handle_ws_ticket(struct http_context *context)
{
    struct arena *arena = context->arena;
    struct document *answer = document_object(arena);
    char ticket[TOKEN_SIZE];
    struct text *names;
    struct db_rows *rows;
    struct db_call call;
    unsigned scopes = 0;
    size_t count;
    enum error error =
        idempotency_key_refuse(context, "a ticket that was lost on its way ends by itself");

    if (error == OK)
        error = read_ticket_scopes(context, &scopes);
    if (error != OK)
        return error;
    if (context->principal.credential_id[0] == '\0')
        return failure_set(&context->failure, ERR_INVALID_REQUEST,
                           "with AUTH_MODE=none a WebSocket needs no ticket");
    principal_ticket_call(&call, arena, text_of(context->principal.credential_id), scopes, ticket);
    names = scope_names(arena, scopes, &count);
    error = handler_run(context, &call, &rows);
    if (error != OK)
        return error;
    document_put_string(answer, "ticket", ticket);
    document_put_int(answer, "expiresInMs", TICKET_LIFE_MS);
    document_put(answer, "expiresAt", handler_time(context, rows, 0, 0));
    put_scopes(answer, arena, names, count);
    attempt_succeeded(text_of(ticket)); /* as good as the token it comes from */
    response_secret(context, answer);
    return db_rows_error(rows, &context->failure);
}

/* ---- tokens --------------------------------------------------------------------------------- */

/* Whose tokens: the caller's own, or another's where an operator asks. */
static enum error whose(struct http_context *context, struct text asked, struct text *ret_principal)
{
    *ret_principal = text_of(context->principal.id);
    if (asked.data == NULL || text_is(asked, context->principal.id))
        return OK;
    if (!is_operator(context))
        return failure_set(&context->failure, ERR_FORBIDDEN,
                           "the tokens of others need the scope operator");
    *ret_principal = asked;
    return OK;
}

enum error handle_token_list(struct http_context *context)
{
    struct arena *arena = context->arena;
    struct document *answer = document_object(arena);
    struct document *tokens = document_array(arena);
    struct text principal;
    struct db_rows *rows;
    struct db_call call;
    enum error error = whose(context, request_query(context->request, "principal"), &principal);

    if (error != OK)
        return error;
    db_call_init(&call, arena, STATEMENT_CREDENTIAL_LIST);
    db_add_text(&call, principal);
    error = handler_run(context, &call, &rows);
    if (error != OK)
        return error;
    for (size_t row = 0; row < db_rows_count(rows); row++) {
        struct document *token = document_object(arena);
        struct text id = db_text(rows, row, 0);
        size_t count;
        struct text *names = db_texts(rows, row, 4, &count);

        document_put_text(token, "credentialId", id);
        document_put_text(token, "principal", db_text(rows, row, 1));
        document_put(token, "createdAt", handler_time(context, rows, row, 2));
        document_put(token, "expiresAt", handler_time(context, rows, row, 3));
        document_put(token, "lastUsedAt", handler_time(context, rows, row, 5));
        put_scopes(token, arena, names, count);
        document_put_bool(token, "current", text_is(id, context->principal.credential_id));
        document_append(tokens, token);
    }
    error = db_rows_error(rows, &context->failure);
    if (error == OK)
        response_json(context->response, 200, document_put(answer, "tokens", tokens));
    return error;
}

struct rotation {
    struct text principal;
    const char *replaced; /* NULL: all of them */
    int64_t lives_ms;     /* 0: for ever */
    int64_t overlap_ms;
    unsigned scopes; /* 0: as before */
};

static enum error read_rotation(struct http_context *context, struct rotation *ret_rotation)
{
    struct rotation rotation = {.replaced = context->principal.credential_id};
    struct text principal;
    enum error error = body_text(context, context->body, "principal", &principal);

    if (error != OK || (error = whose(context, principal, &rotation.principal)) != OK ||
        (error = body_int(context, context->body, "expiresInMs", 0, &rotation.lives_ms)) != OK ||
        (error = body_int(context, context->body, "overlapMs", OVERLAP_MS, &rotation.overlap_ms)) !=
            OK ||
        (error = read_scopes(context, &rotation.scopes)) != OK)
        return error;
    if (!text_is_agent_id(rotation.principal))
        return failure_set(&context->failure, ERR_NOT_FOUND, "there is no such principal");
    if (rotation.lives_ms < 0 || rotation.lives_ms > LIFE_MAX_MS || rotation.overlap_ms < 0 ||
        rotation.overlap_ms > LIFE_MAX_MS)
        return failure_set(&context->failure, ERR_INVALID_REQUEST,
                           "expiresInMs and overlapMs are at most %lld milliseconds, which is a "
                           "year; expiresInMs 0: for ever",
                           (long long)LIFE_MAX_MS);
    if (!text_is(rotation.principal, context->principal.id) || rotation.replaced[0] == '\0')
        rotation.replaced = NULL;
    *ret_rotation = rotation;
    return OK;
}

/* By the token itself: that one is replaced. By an operator for another: all of the other's. */
enum error handle_token_rotate(struct http_context *context)
{
    struct arena *arena = context->arena;
    struct document *answer = document_object(arena);
    struct rotation rotation = {.replaced = NULL};
    char token[TOKEN_SIZE], hash[TOKEN_HASH_SIZE];
    struct db_rows *rows;
    struct db_call call;
    enum error error =
        idempotency_key_refuse(context, "a token that was lost on its way is revoked");

    if (error == OK)
        error = read_rotation(context, &rotation);
    if (error != OK)
        return error;
    token_new(token);
    token_hash(text_of(token), hash);
    db_call_init(&call, arena, STATEMENT_CREDENTIAL_ROTATE);
    db_add_string(&call, context->principal.id);
    db_add_text(&call, rotation.principal);
    db_add_string(&call, rotation.replaced);
    db_add_string(&call, hash);
    add_int_or_null(&call, rotation.lives_ms == 0 ? DB_INT_NULL : rotation.lives_ms);
    db_add_int(&call, rotation.overlap_ms);
    if (rotation.scopes != 0) {
        size_t count;
        struct text *names = scope_names(arena, rotation.scopes, &count);

        db_add_texts(&call, names, count);
    } else {
        db_add_null(&call);
    }
    error = handler_run(context, &call, &rows);
    if (error != OK)
        return error;
    document_put_text(answer, "principal", rotation.principal);
    document_put_text(answer, "credentialId", db_text(rows, 0, 0));
    document_put_string(answer, "token", token);
    document_put(answer, "expiresAt", handler_time(context, rows, 0, 1));
    document_put_int(answer, "ended", db_int(rows, 0, 2));
    document_put_int(answer, "overlapMs", rotation.overlap_ms);
    response_secret(context, answer);
    return db_rows_error(rows, &context->failure);
}

/* A token that may do less than its principal ends none that may do more: whoever found the least
 * one could lock the principal out. */
static enum error must_not_be_wider(struct http_context *context, struct text credential)
{
    struct db_rows *rows;
    struct db_call call;
    enum error error;

    if (is_operator(context) || text_is(credential, context->principal.credential_id))
        return OK;
    db_call_init(&call, context->arena, STATEMENT_CREDENTIAL_LIST);
    db_add_string(&call, context->principal.id);
    error = handler_run(context, &call, &rows);
    for (size_t row = 0; error == OK && row < db_rows_count(rows); row++) {
        unsigned scopes = 0;
        size_t count;
        struct text *names = db_texts(rows, row, 4, &count);

        for (size_t i = 0; i < count; i++)
            scopes |= scope_from_name(names[i]);
        if (text_equal(db_text(rows, row, 0), credential) && (scopes & ~context->principal.scopes))
            return failure_set(&context->failure, ERR_FORBIDDEN,
                               "this token may do less than that one, and cannot end it");
    }
    return error == OK ? db_rows_error(rows, &context->failure) : error;
}

enum error handle_token_revoke(struct http_context *context)
{
    struct document *answer = document_object(context->arena);
    struct db_rows *rows;
    struct db_call call;
    enum error error;

    if (context->params[0].len > CREDENTIAL_MAX)
        return failure_set(&context->failure, ERR_NOT_FOUND, "there is no such token");
    if ((error = must_not_be_wider(context, context->params[0])) != OK)
        return error;
    db_call_init(&call, context->arena, STATEMENT_CREDENTIAL_END);
    db_add_string(&call, context->principal.id);
    db_add_string(&call, is_operator(context) ? NULL : context->principal.id);
    db_add_text(&call, context->params[0]);
    error = handler_run(context, &call, &rows);
    if (error != OK)
        return error;
    if (db_rows_count(rows) == 0)
        return failure_set(&context->failure, ERR_NOT_FOUND, "there is no such token");
    document_put_int(answer, "revoked", (int64_t)db_rows_count(rows));
    response_json(context->response, 200, answer);
    return OK;
}

/* ---- the audit ------------------------------------------------------------------------------ */

static enum error add_number(struct http_context *context, struct db_call *call, const char *name)
{
    int64_t value;
    enum error error = request_query_int(context->request, name, 0, INT64_MAX, DB_INT_NULL,
                                         &context->failure, &value);

    if (error == OK)
        add_int_or_null(call, value);
    return error;
}

enum error handle_audit(struct http_context *context)
{
    struct arena *arena = context->arena;
    struct http_request *request = context->request;
    struct document *answer = document_object(arena);
    struct document *acts = document_array(arena);
    struct db_rows *rows;
    struct db_call call;
    int64_t limit;
    enum error error;

    db_call_init(&call, arena, STATEMENT_AUDIT_LIST);
    db_add_text(&call, request_query(request, "principal"));
    db_add_text(&call, request_query(request, "act"));
    db_add_text(&call, request_query(request, "subject"));
    if ((error = add_number(context, &call, "since")) != OK ||
        (error = add_number(context, &call, "until")) != OK ||
        (error = add_number(context, &call, "cursor")) != OK ||
        (error = request_query_int(request, "limit", 1, AUDIT_MAX, AUDIT_DEFAULT, &context->failure,
                                   &limit)) != OK)
        return error;
    db_add_int(&call, limit);
    error = handler_run(context, &call, &rows);
    if (error != OK)
        return error;
    for (size_t row = 0; row < db_rows_count(rows); row++) {
        struct document *act = document_object(arena);

        document_put_int(act, "auditId", db_int(rows, row, 0));
        document_put(act, "at", handler_time(context, rows, row, 1));
        document_put_text(act, "principal", db_text(rows, row, 2));
        document_put_text(act, "act", db_text(rows, row, 3));
        document_put(act, "subject", document_from_text(arena, db_text(rows, row, 4)));
        document_put(act, "detail", document_from_json(arena, db_text(rows, row, 5)));
        document_append(acts, act);
    }
    document_put(answer, "audit", acts);
    document_put(answer, "nextCursor",
                 (int64_t)db_rows_count(rows) == limit
                     ? handler_number(context, db_int(rows, (size_t)limit - 1, 0))
                     : document_null(arena));
    error = db_rows_error(rows, &context->failure);
    if (error == OK)
        response_json(context->response, 200, answer);
    return error;
}
