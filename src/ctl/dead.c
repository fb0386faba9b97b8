/* SPDX-License-Identifier: MIT
 *
 * gatewayctl dead: messages that were delivered too often, or refused for good.
 */
#include <stdio.h>

#include "base/clock.h"
#include "ctl/ctl.h"
#include "gateway/dead_letter.h"
#include "workflow/registry.h"

#define LIMIT_DEFAULT 50
#define LIMIT_MAX     1000

/* Whoever may run gatewayctl against this database may do everything; the audit says who it was. */
static struct principal operator_here(struct ctl *ctl)
{
    struct principal principal = {.scopes = SCOPE_OPERATOR};

    snprintf(principal.id, sizeof(principal.id), "%s", ctl_who(ctl->arena));
    return principal;
}

static struct document *time_of(const struct ctl *ctl, int64_t ms)
{
    char iso[CLOCK_ISO_SIZE];

    if (ms == 0)
        return document_null(ctl->arena);
    clock_iso(ms, iso);
    return document_from_text(ctl->arena, text_of(iso));
}

static enum error need_id(const struct ctl *ctl, struct text *ret_id, struct failure *failure)
{
    *ret_id = text_of(ctl_operand(ctl, 0));
    if (dead_letter_id_valid(*ret_id))
        return OK;
    return failure_set(failure, ERR_INVALID_ID,
                       "an id has 1 to %d bytes; gatewayctl dead list shows them",
                       DEAD_LETTER_ID_MAX);
}

static enum error no_such(struct text id, struct failure *failure)
{
    return failure_set(failure, ERR_NOT_FOUND,
                       "there is no dead letter %.120s; gatewayctl dead list shows them", id.data);
}

enum error ctl_dead_list(struct ctl *ctl, struct failure *failure)
{
    static const struct column columns[] = {
        {"id", "MESSAGE"},        {"inbox", "INBOX"},          {"from", "FROM"},
        {"attempts", "ATTEMPTS"}, {"deadSince", "DEAD SINCE"}, {"reason", "REASON"}};
    struct principal self = operator_here(ctl);
    struct text inbox = text_of(ctl_flag(ctl, FLAG_INBOX));
    struct document *list = document_array(ctl->arena);
    struct dead_letter *letters;
    int64_t limit = LIMIT_DEFAULT;
    struct db_rows *rows;
    struct db_call call;
    size_t count;
    enum error error;

    if (ctl_flag(ctl, FLAG_LIMIT) &&
        text_int64(text_of(ctl_flag(ctl, FLAG_LIMIT)), 1, LIMIT_MAX, &limit) != OK)
        return failure_set(failure, ERR_INVALID_REQUEST, "--limit is a number from 1 to %d",
                           LIMIT_MAX);
    if (inbox.data && !text_is_agent_id(inbox))
        return failure_set(failure, ERR_INVALID_ID, "--inbox is the name of an agent");
    dead_letter_list_call(&call, ctl->arena, &self, inbox, 0, limit);
    if ((error = db_run(ctl->db, &call, failure, &rows)) != OK ||
        (error = dead_letter_result(ctl->arena, rows, failure, &letters, &count)) != OK)
        return error;
    for (size_t i = 0; i < count; i++)
        document_append(list, document_put(dead_letter_document(ctl->arena, &letters[i]),
                                           "deadSince", time_of(ctl, letters[i].dead_at)));
    ctl_print_rows(ctl, "deadLetters", list, columns, sizeof(columns) / sizeof(columns[0]));
    return OK;
}

enum error ctl_dead_show(struct ctl *ctl, struct failure *failure)
{
    struct principal self = operator_here(ctl);
    struct dead_letter *letters;
    struct db_rows *rows;
    struct db_call call;
    struct text id;
    size_t count;
    enum error error = need_id(ctl, &id, failure);

    if (error != OK)
        return error;
    dead_letter_get_call(&call, ctl->arena, &self, id);
    if ((error = db_run(ctl->db, &call, failure, &rows)) != OK ||
        (error = dead_letter_result(ctl->arena, rows, failure, &letters, &count)) != OK)
        return error;
    if (count == 0)
        return no_such(id, failure);
    ctl_print_object(ctl, document_put(dead_letter_document(ctl->arena, &letters[0]), "deadSince",
                                       time_of(ctl, letters[0].dead_at)));
    return OK;
}

enum error ctl_dead_redrive(struct ctl *ctl, struct failure *failure)
{
    struct principal self = operator_here(ctl);
    struct text *forks = dead_letter_forks(ctl->arena, 1);
    struct redriven *redriven;
    struct engine engine;
    struct db_rows *rows;
    struct db_call call;
    struct text id;
    size_t count;
    enum error error = need_id(ctl, &id, failure);

    if (error != OK)
        return error;
    engine_init(&engine, &ctl->options, workflow_definitions, EXECUTOR_CTL);
    dead_letter_redrive_call(&call, ctl->arena, &engine, &self, &id, forks, 1);
    do
        error = db_run(ctl->db, &call, failure, &rows);
    while (error == ERR_IN_DOUBT);
    if (error != OK || (error = dead_letter_redrive_result(&engine, ctl->arena, rows, failure,
                                                           &redriven, &count)) != OK)
        return error;
    if (count != 1 || redriven[0].outcome == REDRIVE_UNKNOWN)
        return no_such(id, failure);
    if (redriven[0].outcome == REDRIVE_FULL)
        return failure_set(failure, ERR_INBOX_FULL,
                           "redrive it again when some of its messages were read");
    ctl_print_object(ctl, redriven_document(ctl->arena, &redriven[0]));
    return OK;
}

enum error ctl_dead_purge(struct ctl *ctl, struct failure *failure)
{
    struct principal self = operator_here(ctl);
    struct db_rows *rows;
    struct db_call call;
    struct text id;
    enum error error = need_id(ctl, &id, failure);

    if (error != OK)
        return error;
    dead_letter_purge_call(&call, ctl->arena, &self, &id, 1);
    if ((error = db_run(ctl->db, &call, failure, &rows)) != OK)
        return error;
    if (db_rows_count(rows) == 0)
        return no_such(id, failure);
    ctl_print_object(ctl, document_put_text(document_object(ctl->arena), "purged", id));
    return OK;
}
