/* SPDX-License-Identifier: MIT
 *
 * gatewayctl workflow: what became of workflows, read from the DBOS tables.
 */
#include <string.h>

#include "base/clock.h"
#include "ctl/ctl.h"
#include "durable/status.h"
#include "gateway/message.h"

static enum error not_found(const char *id, struct failure *failure)
{
    return failure_set(failure, ERR_NOT_FOUND,
                       "there is no workflow %.120s; gatewayctl workflow list shows the newest",
                       id);
}

/* ---- list --------------------------------------------------------------------------------------
 */

static enum error add_states(const struct ctl *ctl, struct db_call *call, struct failure *failure)
{
    struct text states[WORKFLOW_STATUS_COUNT];
    size_t count;

    if (!ctl_flag(ctl, FLAG_STATE)) {
        db_add_null(call);
        return OK;
    }
    enum error error =
        workflow_statuses_parse(text_of(ctl_flag(ctl, FLAG_STATE)), states, &count, failure);
    if (error == OK)
        db_add_texts(call, states, count);
    return error;
}

/* "name:value", a string among the workflow's attributes. */
static enum error add_attribute(struct ctl *ctl, struct db_call *call, struct failure *failure)
{
    const char *wanted = ctl_flag(ctl, FLAG_ATTRIBUTE);
    const char *colon = wanted ? strchr(wanted, ':') : NULL;
    struct document *object = document_object(ctl->arena);

    if (!wanted) {
        db_add_null(call);
        return OK;
    }
    if (!colon || colon == wanted)
        return failure_set(failure, ERR_INVALID_REQUEST,
                           "--attribute is a name and a value, as "
                           "traceId:4bf92f3577b34da6a3ce929d0e0e4736");
    struct text name = {wanted, (size_t)(colon - wanted)};
    document_put_string(object, arena_text(ctl->arena, name).data, colon + 1);
    db_add_text(call, document_text(ctl->arena, object));
    return OK;
}

static enum error list_call(struct ctl *ctl, struct db_call *call, struct page *page,
                            struct failure *failure)
{
    int64_t since_at, until_at;
    enum error error;

    if ((error = ctl_page(ctl, page, failure)) != OK ||
        (error = ctl_ago(ctl, FLAG_SINCE, &since_at, failure)) != OK ||
        (error = ctl_ago(ctl, FLAG_UNTIL, &until_at, failure)) != OK)
        return error;
    db_call_init(call, ctl->arena, STATEMENT_WORKFLOW_LIST);
    if ((error = add_states(ctl, call, failure)) != OK)
        return error;
    db_add_string(call, ctl_flag(ctl, FLAG_WORKFLOW));
    db_add_string(call, ctl_flag(ctl, FLAG_QUEUE));
    ctl_add_int(call, since_at);
    ctl_add_int(call, until_at);
    db_add_string(call, ctl_flag(ctl, FLAG_PRINCIPAL));
    ctl_add_page(page, call);
    return add_attribute(ctl, call, failure);
}

enum error ctl_workflow_list(struct ctl *ctl, struct failure *failure)
{
    static const struct field fields[] = {{"id", "WORKFLOW", FIELD_TEXT},
                                          {"status", "STATUS", FIELD_TEXT},
                                          {"name", "NAME", FIELD_TEXT},
                                          {"principal", "PRINCIPAL", FIELD_TEXT},
                                          {"queue", NULL, FIELD_TEXT},
                                          {"attempts", "ATTEMPTS", FIELD_INT},
                                          {"createdAt", "CREATED", FIELD_TIME},
                                          {"updatedAt", NULL, FIELD_TIME},
                                          {"completedAt", "COMPLETED", FIELD_TIME},
                                          {"application", NULL, FIELD_TEXT},
                                          {"executor", NULL, FIELD_TEXT}};
    struct page page = {.number_column = 6, .id_column = 0, .by_id = true};
    struct db_call call;
    enum error error = list_call(ctl, &call, &page, failure);

    if (error != OK)
        return error;
    return ctl_run_page(ctl, &call, &page, "workflows", fields, FIELD_COUNT(fields), failure);
}

/* ---- one ---------------------------------------------------------------------------------------
 */

enum error ctl_workflow_get(struct ctl *ctl, struct failure *failure)
{
    struct document *answer = document_object(ctl->arena);
    struct db_call call;
    struct db_rows *rows;

    db_call_init(&call, ctl->arena, STATEMENT_WORKFLOW_GET);
    message_add_meant(&call, ctl->arena, NULL, BY_WORKFLOW_ID, text_of(ctl_operand(ctl, 0)));
    enum error error = db_run(ctl->db, &call, failure, &rows);
    if (error != OK)
        return error;
    if (db_rows_count(rows) == 0)
        return not_found(ctl_operand(ctl, 0), failure);
    document_put_text(answer, "id", db_text(rows, 0, 0));
    document_put_text(answer, "status", db_text(rows, 0, 1));
    document_put_text(answer, "name", db_text(rows, 0, 2));
    document_put_text(answer, "principal", db_text(rows, 0, 3));
    document_put_text(answer, "serialization", db_text(rows, 0, 4));
    document_put(answer, "input", ctl_value(ctl, db_text(rows, 0, 5)));
    document_put(answer, "output", ctl_value(ctl, db_text(rows, 0, 6)));
    document_put(answer, "error", ctl_value(ctl, db_text(rows, 0, 7)));
    document_put_text(answer, "executor", db_text(rows, 0, 8));
    document_put_text(answer, "application", db_text(rows, 0, 9));
    document_put_text(answer, "version", db_text(rows, 0, 10));
    document_put_text(answer, "queue", db_text(rows, 0, 11));
    document_put_int(answer, "attempts", db_int_or(rows, 0, 12, 0));
    document_put(answer, "createdAt", ctl_time(ctl, rows, 0, 13));
    document_put(answer, "updatedAt", ctl_time(ctl, rows, 0, 14));
    document_put(answer, "startedAt", ctl_time(ctl, rows, 0, 15));
    document_put(answer, "completedAt", ctl_time(ctl, rows, 0, 16));
    document_put(answer, "delayedUntil", ctl_time(ctl, rows, 0, 17));
    document_put(answer, "deadline", ctl_time(ctl, rows, 0, 18));
    document_put_text(answer, "parent", db_text(rows, 0, 19));
    document_put_text(answer, "forkedFrom", db_text(rows, 0, 20));
    document_put_int(answer, "priority", db_int_or(rows, 0, 21, 0));
    document_put(answer, "attributes", ctl_value(ctl, db_text(rows, 0, 22)));
    if ((error = db_rows_error(rows, failure)) == OK)
        ctl_print_object(ctl, answer);
    return error;
}

/* A workflow without steps, or events, is something else than no workflow. */
static enum error read_of_workflow(struct ctl *ctl, enum statement statement,
                                   struct db_rows **ret_rows, struct failure *failure)
{
    struct db_call call, get;
    struct db_rows *found;

    db_call_init(&get, ctl->arena, STATEMENT_WORKFLOW_GET);
    message_add_meant(&get, ctl->arena, NULL, BY_WORKFLOW_ID, text_of(ctl_operand(ctl, 0)));
    enum error error = db_run(ctl->db, &get, failure, &found);
    if (error == OK && db_rows_count(found) == 0)
        return not_found(ctl_operand(ctl, 0), failure);
    if (error != OK)
        return error;
    db_call_init(&call, ctl->arena, statement);
    db_add_string(&call, ctl_operand(ctl, 0));
    return db_run(ctl->db, &call, failure, ret_rows);
}

enum error ctl_workflow_steps(struct ctl *ctl, struct failure *failure)
{
    static const struct column columns[] = {{"step", "STEP"},         {"name", "NAME"},
                                            {"output", "OUTPUT"},     {"error", "ERROR"},
                                            {"startedAt", "STARTED"}, {"completedAt", "COMPLETED"}};
    struct document *steps = document_array(ctl->arena);
    struct db_rows *rows;

    enum error error = read_of_workflow(ctl, STATEMENT_WORKFLOW_STEPS, &rows, failure);
    if (error != OK)
        return error;
    for (size_t i = 0; i < db_rows_count(rows); i++) {
        struct document *step = document_object(ctl->arena);
        document_put_int(step, "step", db_int(rows, i, 0));
        document_put_text(step, "name", db_text(rows, i, 1));
        document_put(step, "output", ctl_value(ctl, db_text(rows, i, 2)));
        document_put(step, "error", ctl_value(ctl, db_text(rows, i, 3)));
        document_put_text(step, "child", db_text(rows, i, 4));
        document_put(step, "startedAt", ctl_time(ctl, rows, i, 5));
        document_put(step, "completedAt", ctl_time(ctl, rows, i, 6));
        document_append(steps, step);
    }
    if ((error = db_rows_error(rows, failure)) == OK)
        ctl_print_rows(ctl, "steps", steps, columns, sizeof(columns) / sizeof(columns[0]));
    return error;
}

enum error ctl_workflow_events(struct ctl *ctl, struct failure *failure)
{
    static const struct column columns[] = {{"step", "STEP"}, {"key", "EVENT"}, {"value", "VALUE"}};
    struct document *events = document_array(ctl->arena);
    struct db_rows *rows;

    enum error error = read_of_workflow(ctl, STATEMENT_WORKFLOW_EVENTS, &rows, failure);
    if (error != OK)
        return error;
    for (size_t i = 0; i < db_rows_count(rows); i++) {
        struct document *event = document_object(ctl->arena);
        document_put_int(event, "step", db_int(rows, i, 0));
        document_put_text(event, "key", db_text(rows, i, 1));
        document_put(event, "value", ctl_value(ctl, db_text(rows, i, 2)));
        document_append(events, event);
    }
    if ((error = db_rows_error(rows, failure)) == OK)
        ctl_print_rows(ctl, "events", events, columns, sizeof(columns) / sizeof(columns[0]));
    return error;
}
