/* SPDX-License-Identifier: MIT
 *
 * gatewayctl inbox, session, queue: what is going on.
 */
#include "ctl/ctl.h"
#include "durable/engine.h"

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
    struct db_call call;
    int64_t limit;
    enum error error = ctl_limit(ctl, &limit, failure);

    if (error != OK)
        return error;
    db_call_init(&call, ctl->arena, STATEMENT_PRESENCE_LIST);
    db_add_int(&call, EXECUTOR_SUSPECT_MS(&ctl->options));
    db_add_int(&call, limit);
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
