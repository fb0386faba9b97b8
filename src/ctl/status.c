/* SPDX-License-Identifier: MIT
 *
 * gatewayctl inbox, session, queue: what is going on.
 */
#include "ctl/ctl.h"
#include "durable/engine.h"
#include "gateway/schema.h"

#define DEEPEST_INBOXES 50 /* that have a depth of their own in the metrics */

enum error ctl_inbox_stats(struct ctl *ctl, struct failure *failure)
{
    static const struct field fields[] = {{"inbox", "INBOX", FIELD_TEXT},
                                          {"status", "STATUS", FIELD_TEXT},
                                          {"subscribers", "RECEIVERS", FIELD_INT},
                                          {"ready", "READY", FIELD_INT},
                                          {"inFlight", "IN FLIGHT", FIELD_INT},
                                          {"retried", "RETRIED", FIELD_INT},
                                          {"dead", "DEAD", FIELD_INT},
                                          {"oldestMs", "OLDEST", FIELD_AGE},
                                          {"limit", "LIMIT", FIELD_INT}};
    const char *agent = ctl->arguments.operand_count > 0 ? ctl_operand(ctl, 0) : NULL;
    struct db_call call;
    enum error error;

    if (agent && (error = ctl_agent_must_exist(ctl, agent, failure)) != OK)
        return error;
    db_call_init(&call, ctl->arena, STATEMENT_INBOX_LIST);
    db_add_string(&call, agent);
    return ctl_run_rows(ctl, &call, "inboxes", fields, FIELD_COUNT(fields), failure);
}

enum error ctl_session_list(struct ctl *ctl, struct failure *failure)
{
    static const struct field fields[] = {
        {"id", "SESSION", FIELD_TEXT},        {"principal", "PRINCIPAL", FIELD_TEXT},
        {"host", "HOST", FIELD_TEXT},         {"client", NULL, FIELD_JSON},
        {"startedAt", "STARTED", FIELD_TIME}, {"seenAt", "SEEN", FIELD_TIME},
        {"state", "STATE", FIELD_TEXT}};
    struct page page = {.limit = 0};
    struct db_call call;
    enum error error = ctl_page(ctl, &page, failure);

    if (error != OK)
        return error;
    db_call_init(&call, ctl->arena, STATEMENT_PRESENCE_LIST);
    db_add_int(&call, EXECUTOR_SUSPECT_MS(&ctl->options));
    db_add_int(&call, page.limit);
    db_add_null(&call);
    db_add_null(&call); /* sees all */
    db_add_bool(&call, true);
    return ctl_run_rows(ctl, &call, "sessions", fields, FIELD_COUNT(fields), failure);
}

enum error ctl_queue_list(struct ctl *ctl, struct failure *failure)
{
    static const struct field fields[] = {{"name", "QUEUE", FIELD_TEXT},
                                          {"waiting", "WAITING", FIELD_INT},
                                          {"running", "RUNNING", FIELD_INT},
                                          {"oldestMs", "OLDEST", FIELD_AGE},
                                          {"application", "APPLICATION", FIELD_TEXT},
                                          {"concurrency", "CONCURRENCY", FIELD_INT},
                                          {"workerConcurrency", "PER WORKER", FIELD_INT},
                                          {"rateLimit", "RATE", FIELD_INT},
                                          {"ratePeriodMs", NULL, FIELD_INT},
                                          {"priorities", NULL, FIELD_BOOL},
                                          {"partitioned", NULL, FIELD_BOOL}};
    struct db_call call;

    db_call_init(&call, ctl->arena, STATEMENT_QUEUE_LIST);
    return ctl_run_rows(ctl, &call, "queues", fields, FIELD_COUNT(fields), failure);
}

enum error ctl_health(struct ctl *ctl, struct failure *failure)
{
    struct document *answer = document_object(ctl->arena);
    bool lives = false;
    struct db_rows *rows;
    struct db_call call;
    enum error error;

    schema_probe_call(&call, ctl->arena);
    if ((error = db_run(ctl->db, &call, failure, &rows)) != OK ||
        (error = schema_probe_result(rows, failure)) != OK)
        return error;
    db_call_init(&call, ctl->arena, STATEMENT_SWEEPER_LIST);
    if ((error = db_run(ctl->db, &call, failure, &rows)) != OK)
        return error;
    for (size_t row = 0; row < db_rows_count(rows); row++)
        lives = lives || db_bool(rows, row, 4) ||
                db_int(rows, row, 3) <= ctl->options.executor_lease_ms;
    if ((error = db_rows_error(rows, failure)) != OK)
        return error;
    document_put_string(answer, "status", lives ? "healthy" : "degraded");
    document_put_string(answer, "dbos", "connected");
    document_put_string(answer, "sweeper", lives ? "running" : "silent");
    ctl_print_object(ctl, answer);
    return OK;
}

enum error ctl_metrics(struct ctl *ctl, struct failure *failure)
{
    static const struct field fields[] = {{"name", "METRIC", FIELD_TEXT},
                                          {"labels", "LABELS", FIELD_TEXTS},
                                          {"value", "VALUE", FIELD_INT}};
    struct db_call call;

    db_call_init(&call, ctl->arena, STATEMENT_METRICS);
    db_add_int(&call, DEEPEST_INBOXES);
    return ctl_run_rows(ctl, &call, "metrics", fields, FIELD_COUNT(fields), failure);
}
