/* SPDX-License-Identifier: MIT */
#include "gateway/principal.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/token.h"

static const struct {
    const char *name;
    enum scope scope;
} scopes[] = {
    {"send", SCOPE_SEND},
    {"inbox", SCOPE_INBOX},
    {"workflows:read", SCOPE_WORKFLOWS_READ},
    {"workflows:write", SCOPE_WORKFLOWS_WRITE},
    {"agents:write", SCOPE_AGENTS_WRITE},
    {"operator", SCOPE_OPERATOR},
    {"metrics", SCOPE_METRICS},
};
#define SCOPE_COUNT (sizeof scopes / sizeof *scopes)

const char *scope_name(enum scope scope)
{
    for (size_t i = 0; i < SCOPE_COUNT; i++)
        if (scopes[i].scope == scope)
            return scopes[i].name;
    return "unknown";
}

unsigned scope_from_name(struct text name)
{
    for (size_t i = 0; i < SCOPE_COUNT; i++)
        if (text_is(name, scopes[i].name))
            return scopes[i].scope;
    return 0;
}

struct text *scope_names(struct arena *arena, unsigned wanted, size_t *ret_count)
{
    struct text *names = arena_array(arena, SCOPE_COUNT, sizeof(*names));

    *ret_count = 0;
    for (size_t i = 0; i < SCOPE_COUNT; i++)
        if (wanted & scopes[i].scope)
            names[(*ret_count)++] = text_of(scopes[i].name);
    return names;
}

const char *scopes_phrase(struct arena *arena, unsigned any_of)
{
    const char *phrase = "";
    size_t count;
    struct text *names = scope_names(arena, any_of, &count);

    for (size_t i = 0; i < count; i++)
        phrase = arena_printf(arena, "%s%s%s", phrase, i > 0 ? " or " : "", names[i].data);
    return phrase;
}

bool scopes_parse(struct text list, unsigned *ret_scopes)
{
    unsigned parsed = 0;
    size_t at = 0;

    while (at < list.len) {
        size_t start = at;
        unsigned scope;

        while (at < list.len && list.data[at] != ' ' && list.data[at] != ',')
            at++;
        scope = scope_from_name((struct text){list.data + start, at - start});
        if (scope == 0)
            return false;
        parsed |= scope;
        while (at < list.len && (list.data[at] == ' ' || list.data[at] == ','))
            at++;
    }
    if (parsed == 0)
        return false;
    *ret_scopes = parsed;
    return true;
}

void principal_check_call(struct db_call *call, struct arena *arena, struct text token)
{
    char hash[TOKEN_HASH_SIZE];

    token_hash(token, hash);
    db_call_init(call, arena, STATEMENT_CREDENTIAL_CHECK);
    db_add_string(call, hash);
}

void principal_recheck_call(struct db_call *call, struct arena *arena, const char *credential_id)
{
    db_call_init(call, arena, STATEMENT_CREDENTIAL_RECHECK);
    db_add_string(call, credential_id);
}

void principal_used_call(struct db_call *call, struct arena *arena, const char *credential_id)
{
    db_call_init(call, arena, STATEMENT_CREDENTIAL_USED);
    db_add_string(call, credential_id);
}

void principal_ticket_call(struct db_call *call, struct arena *arena, struct text credential_id,
                           unsigned granted, char *ticket)
{
    char hash[TOKEN_HASH_SIZE];
    struct text *names;
    size_t count;

    token_new(ticket);
    memcpy(ticket, "oct_", 4); /* so that nobody takes it for a token */
    token_hash(text_of(ticket), hash);
    names = scope_names(arena, granted, &count);
    db_call_init(call, arena, STATEMENT_TICKET_ADD);
    db_add_text(call, credential_id);
    db_add_string(call, hash);
    db_add_texts(call, names, count);
    db_add_int(call, TICKET_LIFE_MS);
    db_add_int(call, TICKETS_MAX);
}

void principal_redeem_call(struct db_call *call, struct arena *arena, struct text ticket,
                           const char *executor_id)
{
    char hash[TOKEN_HASH_SIZE];

    token_hash(ticket, hash);
    db_call_init(call, arena, STATEMENT_TICKET_REDEEM);
    db_add_string(call, hash);
    db_add_string(call, executor_id);
}

static enum error refuse(struct failure *failure)
{
    return failure_set(failure, ERR_UNAUTHORIZED,
                       "no such token, or it has expired or was revoked; "
                       "gatewayctl token rotate makes a new one");
}

enum error principal_check_result(struct db_rows *rows, struct failure *failure,
                                  struct principal *ret_principal)
{
    struct principal principal = {0};
    struct text id, credential;
    struct text *names;
    size_t count;
    bool valid;
    enum error error;

    if (db_rows_count(rows) == 0)
        return refuse(failure);
    id = db_text(rows, 0, 0);
    names = db_texts(rows, 0, 2, &count);
    credential = db_text(rows, 0, 3);
    principal.expires_in_ms = db_int_or(rows, 0, 4, INT64_MAX);
    valid = db_bool(rows, 0, 5);
    principal.use_is_news = db_bool(rows, 0, 6);
    error = db_rows_error(rows, failure);
    if (error)
        return error;

    snprintf(principal.id, sizeof principal.id, "%.*s", (int)id.len, id.data);
    if (!valid) {
        *ret_principal = principal;
        return refuse(failure);
    }
    snprintf(principal.credential_id, sizeof principal.credential_id, "%.*s", (int)credential.len,
             credential.data);
    for (size_t i = 0; i < count; i++)
        principal.scopes |= scope_from_name(names[i]);
    *ret_principal = principal;
    return OK;
}

void principal_anybody(struct text id, struct principal *ret_principal)
{
    memset(ret_principal, 0, sizeof *ret_principal);
    snprintf(ret_principal->id, sizeof ret_principal->id, "%.*s",
             id.data && text_is_agent_id(id) ? (int)id.len : 8,
             id.data && text_is_agent_id(id) ? id.data : "operator");
    for (size_t i = 0; i < SCOPE_COUNT; i++)
        ret_principal->scopes |= scopes[i].scope;
}

bool principal_may(const struct principal *principal, unsigned any_of)
{
    return (principal->scopes & (any_of | SCOPE_OPERATOR)) != 0;
}

bool principal_may_read_inbox(const struct principal *principal, struct text agent_id)
{
    return (principal->scopes & SCOPE_OPERATOR) ||
           ((principal->scopes & SCOPE_INBOX) && text_is(agent_id, principal->id));
}

bool principal_sees_all(const struct principal *principal)
{
    return principal_may(principal, SCOPE_AGENTS_WRITE);
}

void principal_add_viewer(struct db_call *call, const struct principal *principal)
{
    db_add_string(call, principal_sees_all(principal) ? NULL : principal->id);
    db_add_bool(call, principal_may(principal, SCOPE_SEND));
}

struct text bearer_token(struct text authorization)
{
    static const char scheme[] = "Bearer ";
    struct text token;

    if (!authorization.data || authorization.len <= sizeof scheme - 1 ||
        strncasecmp(authorization.data, scheme, sizeof scheme - 1) != 0)
        return TEXT_NONE;
    token.data = authorization.data + sizeof scheme - 1;
    token.len = authorization.len - (sizeof scheme - 1);
    while (token.len > 0 && *token.data == ' ') {
        token.data++;
        token.len--;
    }
    return token.len > 0 && token.len <= TOKEN_TEXT_MAX ? token : TEXT_NONE;
}

bool origin_allowed(const char *allowed_origins, struct text origin)
{
    const char *at = allowed_origins;

    if (!origin.data)
        return true;
    while (*at) {
        size_t length = strcspn(at, " ");

        if (length > 0 && text_equal((struct text){at, length}, origin))
            return true;
        at += length + (at[length] == ' ');
    }
    return false;
}
