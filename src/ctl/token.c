/* SPDX-License-Identifier: MIT
 *
 * gatewayctl principal and token: who may speak, and with which token. A token is printed once, to
 * stdout, and is nowhere else: the database has its SHA-256.
 */
#include "base/token.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "ctl/ctl.h"

#define DEFAULT_OPERATOR "operator"
#define DEFAULT_PROGRAM  "send,workflows:read"
#define EXPIRY_MIN_MS    1

/* ---- who ---------------------------------------------------------------------------------------
 */

const char *ctl_who(struct arena *arena)
{
    struct passwd entry, *found = NULL;
    char buffer[4096];

    if (getpwuid_r(getuid(), &entry, buffer, sizeof(buffer), &found) == 0 && found)
        return arena_printf(arena, CTL_OPERATING_SYSTEM "%s", entry.pw_name);
    return arena_printf(arena, CTL_OPERATING_SYSTEM "%lu", (unsigned long)getuid());
}

struct principal ctl_principal(struct ctl *ctl)
{
    struct principal principal = {.scopes = SCOPE_OPERATOR};

    snprintf(principal.id, sizeof(principal.id), "%s", ctl_who(ctl->arena));
    return principal;
}

void ctl_call_audit(struct db_call *call, struct arena *arena, const char *act, const char *subject)
{
    db_call_init(call, arena, STATEMENT_AUDIT_ADD);
    db_add_string(call, ctl_who(arena));
    db_add_string(call, act);
    db_add_string(call, subject);
    db_add_null(call);
}

/* For a token that is being made; DB_INT_NULL: for ever. */
static enum error read_expiry(struct ctl *ctl, int64_t *ret_ms, struct failure *failure)
{
    enum error error = ctl_duration(ctl, FLAG_EXPIRES, DB_INT_NULL, ret_ms, failure);

    if (error == OK && *ret_ms != DB_INT_NULL && *ret_ms < EXPIRY_MIN_MS)
        error = failure_set(failure, ERR_INVALID_REQUEST,
                            "--expires is more than nothing; without it the token never ends");
    return error;
}

static enum error find_principal(struct ctl *ctl, const char *name, struct text *ret_kind,
                                 struct failure *failure)
{
    struct db_call call;
    struct db_rows *rows;

    db_call_init(&call, ctl->arena, STATEMENT_PRINCIPAL_GET);
    db_add_string(&call, name);
    enum error error = db_run(ctl->db, &call, failure, &rows);
    if (error == OK)
        *ret_kind = db_rows_count(rows) > 0 ? db_text(rows, 0, 0) : TEXT_NONE;
    return error;
}

enum error ctl_principal_must_be_new(struct ctl *ctl, const char *name, struct failure *failure)
{
    struct text kind = TEXT_NONE;
    enum error error = find_principal(ctl, name, &kind, failure);

    if (error == OK && kind.data)
        return failure_set(failure, ERR_ALREADY_EXISTS,
                           "%s (%s); for a new token: gatewayctl token rotate %s, or token add %s "
                           "beside the one it has",
                           name, kind.data, name, name);
    return error;
}

enum error ctl_principal_must_exist(struct ctl *ctl, const char *name, struct failure *failure)
{
    struct text kind = TEXT_NONE;
    enum error error = find_principal(ctl, name, &kind, failure);

    if (error == OK && !kind.data)
        return failure_set(failure, ERR_NOT_FOUND,
                           "there is no agent and no other principal %.80s; gatewayctl agent list "
                           "and principal list show them, agent add makes one",
                           name);
    return error;
}

/* A token may have less than its principal, never more. */
static enum error scopes_must_be_had(struct ctl *ctl, const char *name, const struct scopes *asked,
                                     struct failure *failure)
{
    struct db_call call;
    struct db_rows *rows;
    unsigned had = 0;
    size_t count = 0;

    db_call_init(&call, ctl->arena, STATEMENT_PRINCIPAL_GET);
    db_add_string(&call, name);
    enum error error = db_run(ctl->db, &call, failure, &rows);
    if (error != OK || db_rows_count(rows) == 0)
        return error;
    struct text *names = db_texts(rows, 0, 1, &count);
    for (size_t i = 0; i < count; i++)
        had |= scope_from_name(names[i]);
    for (size_t i = 0; i < asked->count && !(had & SCOPE_OPERATOR); i++)
        if (!(had & scope_from_name(asked->names[i])))
            return failure_set(
                failure, ERR_FORBIDDEN,
                "%s does not have the scope %.*s itself, and no token of its has more", name,
                (int)asked->names[i].len, asked->names[i].data);
    return OK;
}

enum error ctl_agent_must_exist(struct ctl *ctl, const char *name, struct failure *failure)
{
    struct text kind = TEXT_NONE;
    enum error error = find_principal(ctl, name, &kind, failure);

    if (error == OK && !text_is(kind, "agent"))
        return failure_set(failure, ERR_NOT_FOUND,
                           "there is no agent %.80s; gatewayctl agent list shows them", name);
    return error;
}

enum error ctl_scopes_parse(const char *list, struct scopes *ret_scopes, struct failure *failure)
{
    struct scopes scopes = {.count = 0};

    for (const char *at = list; *at; at += strspn(at, ", ")) {
        struct text name = {at, strcspn(at, ", ")};
        if (scope_from_name(name) == 0 || scopes.count == SCOPES_MAX)
            return failure_set(
                failure, ERR_INVALID_REQUEST,
                "there is no scope \"%.*s\"; there are: send, inbox, workflows:read, "
                "workflows:write, agents:write, operator, metrics",
                (int)(name.len > 40 ? 40 : name.len), at);
        scopes.names[scopes.count++] = name;
        at += name.len;
    }
    if (scopes.count == 0)
        return failure_set(failure, ERR_INVALID_REQUEST, "no scope is given");
    *ret_scopes = scopes;
    return OK;
}

/* ---- a new token -------------------------------------------------------------------------------
 */

static void print_token(const struct ctl *ctl, const char *principal, const char *token,
                        struct text credential)
{
    struct document *answer = document_object(ctl->arena);

    if (!ctl->json) {
        fprintf(stderr, "the token of %s, shown only this once:\n", principal);
        puts(token);
        return;
    }
    document_put_string(answer, "principal", principal);
    document_put_string(answer, "token", token);
    ctl_print_object(ctl, document_put_text(answer, "credentialId", credential));
}

enum error ctl_give_token(struct ctl *ctl, const struct token_request *request,
                          struct failure *failure)
{
    struct arena *arena = ctl->arena;
    struct db_call add, audit;
    struct db_rows *credential = NULL;
    char token[TOKEN_SIZE], hash[TOKEN_HASH_SIZE];
    int64_t expires_ms;
    enum error error = read_expiry(ctl, &expires_ms, failure);

    if (error != OK)
        return error;
    struct db_tx *tx = db_tx_begin(ctl->db, arena);
    token_new(token);
    token_hash(text_of(token), hash);
    for (size_t i = 0; i < request->call_count; i++)
        db_tx_call(tx, request->calls[i], NULL);
    db_call_init(&add, arena, STATEMENT_CREDENTIAL_ADD);
    db_add_string(&add, hash);
    db_add_string(&add, request->principal);
    if (expires_ms == DB_INT_NULL)
        db_add_null(&add);
    else
        db_add_int(&add, expires_ms);
    db_tx_call(tx, &add, &credential);
    ctl_call_audit(&audit, arena, request->act, request->principal);
    db_tx_call(tx, &audit, NULL);

    error = db_tx_commit(tx, failure);
    if (error == OK)
        print_token(ctl, request->principal, token, db_text(credential, 0, 0));
    memset(token, 0, sizeof(token));
    return error;
}

/* ---- principals ---------------------------------------------------------------------------------
 */

enum error ctl_principal_add(struct ctl *ctl, struct failure *failure)
{
    const char *name = ctl_operand(ctl, 0);
    const char *kind = ctl_flag(ctl, FLAG_KIND);
    const char *list = ctl_flag(ctl, FLAG_SCOPES);
    struct scopes scopes;
    struct db_call add, *const calls[] = {&add};
    const struct token_request request = {
        .principal = name, .act = "principal.add", .calls = calls, .call_count = 1};
    enum error error;

    if (!kind || (strcmp(kind, "operator") != 0 && strcmp(kind, "program") != 0))
        return failure_set(failure, ERR_INVALID_REQUEST,
                           "--kind operator or --kind program is needed (an agent is made by "
                           "gatewayctl agent add)");
    if (!list)
        list = strcmp(kind, "operator") == 0 ? DEFAULT_OPERATOR : DEFAULT_PROGRAM;
    if ((error = ctl_principal_name(name, failure)) != OK ||
        (error = ctl_scopes_parse(list, &scopes, failure)) != OK ||
        (error = ctl_principal_must_be_new(ctl, name, failure)) != OK)
        return error;
    db_call_init(&add, ctl->arena, STATEMENT_PRINCIPAL_ADD);
    db_add_string(&add, name);
    db_add_string(&add, kind);
    db_add_texts(&add, scopes.names, scopes.count);
    return ctl_give_token(ctl, &request, failure);
}

enum error ctl_principal_list(struct ctl *ctl, struct failure *failure)
{
    static const struct field fields[] = {
        {"id", "PRINCIPAL", FIELD_TEXT},      {"kind", "KIND", FIELD_TEXT},
        {"scopes", "SCOPES", FIELD_TEXTS},    {"tokens", "TOKENS", FIELD_INT},
        {"createdAt", "CREATED", FIELD_TIME}, {"lastUsedAt", "LAST USED", FIELD_TIME}};
    struct db_call call;

    db_call_init(&call, ctl->arena, STATEMENT_PRINCIPAL_LIST);
    return ctl_run_rows(ctl, &call, "principals", fields, FIELD_COUNT(fields), failure);
}

/* ---- tokens ------------------------------------------------------------------------------------
 */

/* A token beside the others (overlap_ms DB_INT_NULL), or in their place. */
static enum error new_token(struct ctl *ctl, int64_t overlap_ms, struct failure *failure)
{
    const char *principal = ctl_operand(ctl, 0), *list = ctl_flag(ctl, FLAG_SCOPES);
    char token[TOKEN_SIZE], hash[TOKEN_HASH_SIZE];
    struct scopes scopes;
    struct db_rows *rows;
    struct db_call call;
    int64_t expires_ms;
    enum error error;

    if ((error = read_expiry(ctl, &expires_ms, failure)) != OK ||
        (list && (error = ctl_scopes_parse(list, &scopes, failure)) != OK) ||
        (error = ctl_principal_must_exist(ctl, principal, failure)) != OK ||
        (list && (error = scopes_must_be_had(ctl, principal, &scopes, failure)) != OK))
        return error;
    token_new(token);
    token_hash(text_of(token), hash);
    db_call_init(&call, ctl->arena, STATEMENT_CREDENTIAL_ROTATE);
    db_add_string(&call, ctl_who(ctl->arena));
    db_add_string(&call, principal);
    db_add_null(&call); /* in place of all */
    db_add_string(&call, hash);
    ctl_add_int(&call, expires_ms);
    ctl_add_int(&call, overlap_ms);
    if (list)
        db_add_texts(&call, scopes.names, scopes.count);
    else
        db_add_null(&call);
    do
        error = db_run(ctl->db, &call, failure, &rows);
    while (error == ERR_IN_DOUBT);
    if (error == OK)
        print_token(ctl, principal, token, db_text(rows, 0, 0));
    memset(token, 0, sizeof(token));
    return error;
}

enum error ctl_token_add(struct ctl *ctl, struct failure *failure)
{
    return new_token(ctl, DB_INT_NULL, failure);
}

enum error ctl_token_rotate(struct ctl *ctl, struct failure *failure)
{
    int64_t overlap_ms;
    enum error error = ctl_duration(ctl, FLAG_OVERLAP, 0, &overlap_ms, failure);

    return error == OK ? new_token(ctl, overlap_ms, failure) : error;
}

enum error ctl_token_list(struct ctl *ctl, struct failure *failure)
{
    static const struct field fields[] = {
        {"id", "TOKEN", FIELD_TEXT},          {"principal", "PRINCIPAL", FIELD_TEXT},
        {"state", "STATE", FIELD_TEXT},       {"scopes", "SCOPES", FIELD_TEXTS},
        {"createdAt", "CREATED", FIELD_TIME}, {"expiresAt", "EXPIRES", FIELD_TIME},
        {"revokedAt", "REVOKED", FIELD_TIME}, {"lastUsedAt", "LAST USED", FIELD_TIME}};
    const char *principal = ctl->arguments.operand_count > 0 ? ctl_operand(ctl, 0) : NULL;
    struct db_call call;

    if (principal) {
        enum error error = ctl_principal_must_exist(ctl, principal, failure);
        if (error != OK)
            return error;
    }
    db_call_init(&call, ctl->arena, STATEMENT_TOKEN_LIST);
    db_add_string(&call, principal);
    return ctl_run_rows(ctl, &call, "tokens", fields, FIELD_COUNT(fields), failure);
}

enum error ctl_token_revoke(struct ctl *ctl, struct failure *failure)
{
    const char *name = ctl_operand(ctl, 0), *only = ctl_flag(ctl, FLAG_TOKEN);
    struct document *answer = document_object(ctl->arena);
    struct db_rows *rows;
    struct db_call call;

    enum error error = ctl_principal_must_exist(ctl, name, failure);
    if (error != OK)
        return error;
    db_call_init(&call, ctl->arena, STATEMENT_CREDENTIAL_END);
    db_add_string(&call, ctl_who(ctl->arena));
    db_add_string(&call, name);
    db_add_string(&call, only);
    if ((error = db_run(ctl->db, &call, failure, &rows)) != OK)
        return error;
    if (only && db_rows_count(rows) == 0)
        return failure_set(
            failure, ERR_NOT_FOUND,
            "%.80s has no such token that is not revoked; gatewayctl token list %.80s "
            "shows them",
            name, name);
    document_put_string(answer, "principal", name);
    ctl_print_object(ctl, document_put_int(answer, "revoked", (int64_t)db_rows_count(rows)));
    return OK;
}

/* ---- the audit ----------------------------------------------------------------------------------
 */

enum error ctl_audit_list(struct ctl *ctl, struct failure *failure)
{
    static const struct field fields[] = {{"id", NULL, FIELD_INT},
                                          {"at", "AT", FIELD_TIME},
                                          {"by", "BY", FIELD_TEXT},
                                          {"act", "ACT", FIELD_TEXT},
                                          {"subject", "SUBJECT", FIELD_TEXT},
                                          {"detail", "DETAIL", FIELD_JSON}};
    struct page page = {.number_column = 0};
    int64_t since_at, until_at;
    struct db_call call;
    enum error error;

    if ((error = ctl_ago(ctl, FLAG_SINCE, &since_at, failure)) != OK ||
        (error = ctl_ago(ctl, FLAG_UNTIL, &until_at, failure)) != OK ||
        (error = ctl_page(ctl, &page, failure)) != OK)
        return error;
    db_call_init(&call, ctl->arena, STATEMENT_AUDIT_LIST);
    db_add_string(&call, ctl_flag(ctl, FLAG_PRINCIPAL));
    db_add_string(&call, ctl_flag(ctl, FLAG_ACT));
    db_add_string(&call, ctl->arguments.operand_count > 0 ? ctl_operand(ctl, 0) : NULL);
    ctl_add_int(&call, since_at);
    ctl_add_int(&call, until_at);
    ctl_add_page(&page, &call);
    return ctl_run_page(ctl, &call, &page, "audit", fields, FIELD_COUNT(fields), failure);
}
