/* SPDX-License-Identifier: MIT
 *
 * gatewayctl token ticket: a ticket for one WebSocket, printed once, to stdout.
 */
#include <stdio.h>
#include <string.h>

#include "base/token.h"
#include "ctl/ctl.h"

/* The token that the ticket stands for: --token, else the newest that is valid. */
static enum error find_token(struct ctl *ctl, const char *principal, struct text *ret_credential,
                             unsigned *ret_scopes, struct failure *failure)
{
    struct text wanted = text_of(ctl_flag(ctl, FLAG_TOKEN));
    struct db_rows *rows;
    struct db_call call;
    enum error error;

    db_call_init(&call, ctl->arena, STATEMENT_CREDENTIAL_LIST);
    db_add_string(&call, principal);
    if ((error = db_run(ctl->db, &call, failure, &rows)) != OK)
        return error;
    for (size_t row = 0; row < db_rows_count(rows); row++) {
        struct text *names;
        size_t count;

        if (wanted.data && !text_is(db_text(rows, row, 0), wanted.data))
            continue;
        *ret_credential = db_text(rows, row, 0);
        names = db_texts(rows, row, 4, &count);
        *ret_scopes = 0;
        for (size_t i = 0; i < count; i++)
            *ret_scopes |= scope_from_name(names[i]);
        return db_rows_error(rows, failure);
    }
    return failure_set(failure, ERR_NOT_FOUND,
                       "%.80s has no such valid token; gatewayctl token list %.80s shows them",
                       principal, principal);
}

static enum error read_scopes(const struct ctl *ctl, unsigned has, unsigned *ret_scopes,
                              struct failure *failure)
{
    struct scopes asked;
    enum error error;

    *ret_scopes = has;
    if (!ctl_flag(ctl, FLAG_SCOPES))
        return OK;
    if ((error = ctl_scopes_parse(ctl_flag(ctl, FLAG_SCOPES), &asked, failure)) != OK)
        return error;
    *ret_scopes = 0;
    for (size_t i = 0; i < asked.count; i++)
        *ret_scopes |= scope_from_name(asked.names[i]);
    if ((*ret_scopes & ~has) != 0 && !(has & SCOPE_OPERATOR))
        return failure_set(failure, ERR_FORBIDDEN, "a requested scope is not the token's");
    return OK;
}

static void print_ticket(const struct ctl *ctl, const char *ticket, struct document *expires)
{
    struct document *answer = document_object(ctl->arena);

    if (!ctl->json) {
        fprintf(stderr, "a ticket for one WebSocket as %s, within %d s:\n", ctl_operand(ctl, 0),
                TICKET_LIFE_MS / 1000);
        puts(ticket);
        return;
    }
    document_put_string(answer, "principal", ctl_operand(ctl, 0));
    document_put_string(answer, "ticket", ticket);
    ctl_print_object(ctl, document_put(answer, "expiresAt", expires));
}

enum error ctl_token_ticket(struct ctl *ctl, struct failure *failure)
{
    const char *principal = ctl_operand(ctl, 0);
    char ticket[TOKEN_SIZE];
    unsigned has = 0, scopes = 0;
    struct db_call add, audit;
    struct db_rows *rows;
    struct text credential = TEXT_NONE;
    enum error error;

    if ((error = ctl_principal_must_exist(ctl, principal, failure)) != OK ||
        (error = find_token(ctl, principal, &credential, &has, failure)) != OK ||
        (error = read_scopes(ctl, has, &scopes, failure)) != OK)
        return error;
    principal_ticket_call(&add, ctl->arena, credential, scopes, ticket);
    do {
        struct db_tx *tx = db_tx_begin(ctl->db, ctl->arena);

        rows = NULL;
        db_tx_call(tx, &add, &rows);
        ctl_call_audit(&audit, ctl->arena, "token.ticket", principal);
        db_tx_call(tx, &audit, NULL);
        error = db_tx_commit(tx, failure);
    } while (error == ERR_IN_DOUBT);
    if (error == OK)
        print_ticket(ctl, ticket, ctl_time(ctl, rows, 0, 0));
    memset(ticket, 0, sizeof(ticket));
    return error;
}
