/* SPDX-License-Identifier: MIT
 *
 * The duties, as calls of the sweep's statements. Every one may be repeated, and by two sweepers at
 * once: each skips what the other holds and looks again under the lock.
 */
#include <string.h>

#include "base/bell.h"
#include "base/log.h"
#include "sweeper/sweep.h"

#define PRUNE_BATCH   1000
#define FIRE_BATCH    100 /* firings of one schedule in one call */
#define NAMES_MAX     64  /* workflows this program knows */
#define RUN_BATCH     50 /* workflows claimed at once: all are this executor's until they are run */
#define SECOND_MS     1000
#define MINUTE_MS     60000
#define HEARTBEATS_MS 5000
#define PRESENCE_MS   500 /* who watches presence hears of a change so late at most */

/* A call that answers with one number, of rows that were done. */
static enum error run_counted(struct sweep *sweep, const struct db_call *call, enum count count,
                              int64_t limit, bool *ret_more, struct failure *failure)
{
    struct db_rows *rows;
    enum error error = db_run(sweep->db, call, failure, &rows);

    if (error != OK)
        return error;
    int64_t done = db_int(rows, 0, 0);
    sweep->counts[count] += done;
    *ret_more = done >= limit;
    return db_rows_error(rows, failure);
}

/* After a set has failed for a reason that a repeat would not mend: the same, row by row. */
static enum error run_each(struct sweep *sweep, const char *duty, enum count count,
                           enum error error, struct failure *failure)
{
    const struct options *options = sweep->engine.options;
    struct db_call call;
    struct db_rows *rows;

    if (error_retry(error) != RETRY_NEVER)
        return error;
    db_call_init(&call, sweep->arena, STATEMENT_SWEEP_EACH);
    db_add_string(&call, duty);
    db_add_string(&call, options->app_name);
    db_add_bool(&call, options->legacy_payloads);
    db_add_int(&call, options->retry_base_ms);
    db_add_int(&call, options->retry_max_ms);
    db_add_int(&call, SWEEP_BATCH);
    if ((error = db_run(sweep->db, &call, failure, &rows)) != OK)
        return error;
    sweep->counts[count] += db_int(rows, 0, 0);
    size_t failed_count;
    struct text *failed = db_texts(rows, 0, 1, &failed_count);
    sweep->counts[COUNT_FAILED] += (int64_t)failed_count;
    for (size_t i = 0; i < failed_count; i++)
        log_event(LOG_ERROR, "sweep.row_failed", LOG_STR("duty", duty), LOG_TEXT("row", failed[i]));
    return db_rows_error(rows, failure);
}

static enum error duty_leases(struct sweep *sweep, bool *ret_more, struct failure *failure)
{
    const struct options *options = sweep->engine.options;
    struct db_call call;
    struct db_rows *rows;

    db_call_init(&call, sweep->arena, STATEMENT_INBOX_EXPIRE_LEASES);
    db_add_string(&call, options->app_name);
    db_add_bool(&call, options->legacy_payloads);
    db_add_int(&call, options->retry_base_ms);
    db_add_int(&call, options->retry_max_ms);
    db_add_int(&call, SWEEP_BATCH);
    enum error error = db_run(sweep->db, &call, failure, &rows);
    if (error != OK)
        return run_each(sweep, "leases", COUNT_REDELIVERED, error, failure);
    int64_t retried = db_int(rows, 0, 0), dead = db_int(rows, 0, 1);
    sweep->counts[COUNT_REDELIVERED] += retried;
    sweep->counts[COUNT_DEAD] += dead;
    *ret_more = retried + dead >= SWEEP_BATCH;
    size_t bell_count;
    struct text *bells = db_texts(rows, 0, 2, &bell_count);
    engine_ring(&sweep->engine, bells, bell_count);
    return db_rows_error(rows, failure);
}

static enum error duty_foreign(struct sweep *sweep, bool *ret_more, struct failure *failure)
{
    struct db_call call;

    db_call_init(&call, sweep->arena, STATEMENT_INBOX_EXPIRE_FOREIGN);
    db_add_string(&call, sweep->engine.options->app_name);
    db_add_bool(&call, sweep->engine.options->legacy_payloads);
    db_add_int(&call, SWEEP_BATCH);
    enum error error = run_counted(sweep, &call, COUNT_EXPIRED, SWEEP_BATCH, ret_more, failure);
    return error == OK ? OK : run_each(sweep, "foreign", COUNT_EXPIRED, error, failure);
}

static enum error duty_wake(struct sweep *sweep, bool *ret_more, struct failure *failure)
{
    struct db_call call;

    db_call_init(&call, sweep->arena, STATEMENT_WORKFLOW_WAKE);
    db_add_string(&call, sweep->engine.options->app_name);
    db_add_int(&call, SWEEP_BATCH);
    enum error error = run_counted(sweep, &call, COUNT_WOKEN, SWEEP_BATCH, ret_more, failure);
    return error == OK ? OK : run_each(sweep, "wake", COUNT_WOKEN, error, failure);
}

static enum error duty_deadlines(struct sweep *sweep, bool *ret_more, struct failure *failure)
{
    struct db_call call;

    db_call_init(&call, sweep->arena, STATEMENT_WORKFLOW_EXPIRE);
    db_add_string(&call, sweep->engine.options->app_name);
    db_add_int(&call, SWEEP_BATCH);
    enum error error = run_counted(sweep, &call, COUNT_CANCELLED, SWEEP_BATCH, ret_more, failure);
    return error == OK ? OK : run_each(sweep, "deadlines", COUNT_CANCELLED, error, failure);
}

/* The names of the workflows that this program has. */
static size_t known_names(const struct sweep *sweep, struct text names[NAMES_MAX])
{
    const struct workflow_definition *definition = sweep->engine.definitions;
    size_t count = 0;

    for (; definition->name && count < NAMES_MAX; definition++)
        names[count++] = text_of(definition->name);
    return count;
}

/* DBOS schedules: each firing is a workflow that is enqueued under the time's own id. */
static enum error duty_schedules(struct sweep *sweep, bool *ret_more, struct failure *failure)
{
    struct text names[NAMES_MAX];
    size_t count = known_names(sweep, names), failed_count;
    struct db_call call;
    struct db_rows *rows;

    *ret_more = false;
    db_call_init(&call, sweep->arena, STATEMENT_SCHEDULE_FIRE);
    db_add_string(&call, sweep->engine.options->app_name);
    db_add_bool(&call, sweep->engine.options->legacy_payloads);
    db_add_texts(&call, names, count);
    db_add_int(&call, FIRE_BATCH);
    enum error error = db_run(sweep->db, &call, failure, &rows);
    if (error != OK)
        return error;
    sweep->counts[COUNT_FIRED] += db_int(rows, 0, 0);
    *ret_more = db_bool(rows, 0, 1);
    struct text *failed = db_texts(rows, 0, 2, &failed_count);
    for (size_t i = 0; i < failed_count; i++)
        log_event(LOG_ERROR, "sweep.schedule_failed", LOG_TEXT("schedule", failed[i]));
    return db_rows_error(rows, failure);
}

static enum error duty_adopt(struct sweep *sweep, bool *ret_more, struct failure *failure)
{
    struct text names[NAMES_MAX];
    size_t count = known_names(sweep, names);
    struct db_call call;

    db_call_init(&call, sweep->arena, STATEMENT_WORKFLOW_ADOPT);
    db_add_string(&call, sweep->engine.options->app_name);
    db_add_texts(&call, names, count);
    db_add_int(&call, SWEEP_BATCH);
    return run_counted(sweep, &call, COUNT_RECOVERED, SWEEP_BATCH, ret_more, failure);
}

static enum error duty_run(struct sweep *sweep, bool *ret_more, struct failure *failure)
{
    int claimed = 0;
    int64_t ran, failed;

    *ret_more = false;
    if (!sweep->once && sweep->engine.options->sweeper_workers > 0) {
        if (!sweep->workers)
            sweep->workers =
                engine_workers_start(&sweep->engine, (int)sweep->engine.options->sweeper_workers);
        engine_workers_wake(sweep->workers);
        engine_workers_counts(sweep->workers, &ran, &failed);
        sweep->counts[COUNT_RAN] += ran;
        sweep->counts[COUNT_FAILED] += failed;
        return OK;
    }
    enum error error = engine_run_queued(&sweep->engine, sweep->db, RUN_BATCH, failure, &claimed);

    sweep->counts[COUNT_RAN] += claimed;
    *ret_more = claimed >= RUN_BATCH;
    return error;
}

/* Messages whose workflows somebody has ended, a DBOS client or a deadline, go with them. */
static enum error duty_withdraw(struct sweep *sweep, bool *ret_more, struct failure *failure)
{
    struct db_call call;
    struct db_rows *rows;
    size_t bell_count;

    *ret_more = false;
    db_call_init(&call, sweep->arena, STATEMENT_CARRIER_WITHDRAW);
    db_add_int(&call, SWEEP_BATCH);
    enum error error = db_run(sweep->db, &call, failure, &rows);
    if (error != OK)
        return error;
    sweep->counts[COUNT_WITHDRAWN] += db_int(rows, 0, 0);
    *ret_more = db_int(rows, 0, 0) >= SWEEP_BATCH;
    struct text *bells = db_texts(rows, 0, 1, &bell_count);
    engine_ring(&sweep->engine, bells, bell_count);
    return db_rows_error(rows, failure);
}

/* Agents that are DBOS applications: their messages become workflows, whose results are replies. */
static enum error duty_bridge(struct sweep *sweep, bool *ret_more, struct failure *failure)
{
    struct db_call call;
    struct db_rows *rows;
    size_t bell_count;

    *ret_more = false;
    db_call_init(&call, sweep->arena, STATEMENT_BRIDGE);
    db_add_string(&call, sweep->engine.options->app_name);
    db_add_bool(&call, sweep->engine.options->legacy_payloads);
    db_add_int(&call, SWEEP_BATCH);
    enum error error = db_run(sweep->db, &call, failure, &rows);
    if (error != OK)
        return error;
    sweep->counts[COUNT_BRIDGED] += db_int(rows, 0, 0) + db_int(rows, 0, 1);
    *ret_more = db_int(rows, 0, 0) >= SWEEP_BATCH || db_int(rows, 0, 1) >= SWEEP_BATCH;
    struct text *bells = db_texts(rows, 0, 2, &bell_count);
    engine_ring(&sweep->engine, bells, bell_count);
    return db_rows_error(rows, failure);
}

/* A bell was lost; or a DBOS client has sent, who rings nobody. */
static enum error duty_bells(struct sweep *sweep, bool *ret_more, struct failure *failure)
{
    struct db_call call;
    struct db_rows *rows;

    *ret_more = false;
    db_call_init(&call, sweep->arena, STATEMENT_INBOX_OVERDUE);
    db_add_int(&call, sweep->engine.options->sweep_interval_ms);
    enum error error = db_run(sweep->db, &call, failure, &rows);
    if (error != OK)
        return error;
    for (size_t i = 0; i < db_rows_count(rows); i++) {
        struct text bell = db_text(rows, i, 0);
        sweep->counts[COUNT_RUNG] += 1 - (int64_t)engine_ring_here(&sweep->engine, &bell, 1);
    }
    return db_rows_error(rows, failure);
}

static enum error duty_count_inboxes(struct sweep *sweep, bool *ret_more, struct failure *failure)
{
    struct db_call call;
    struct db_rows *rows;

    *ret_more = false;
    db_call_init(&call, sweep->arena, STATEMENT_INBOX_COUNT);
    return db_run(sweep->db, &call, failure, &rows);
}

/* What was killed could not take its bell along. Nothing that anybody waits for: no count. */
static enum error duty_dead_bells(struct sweep *sweep, bool *ret_more, struct failure *failure)
{
    size_t count = bell_sweep(sweep->engine.options->runtime_dir);

    (void)failure;
    *ret_more = false;
    if (count > 0)
        log_event(LOG_DEBUG, "sweep.dead_bells", LOG_INT("count", (int64_t)count));
    return OK;
}

/* Heartbeats that ended without planning the next one: cancelled, deleted, given up. */
static enum error duty_heartbeats(struct sweep *sweep, bool *ret_more, struct failure *failure)
{
    struct db_call call;
    struct db_rows *rows;

    *ret_more = false;
    db_call_init(&call, sweep->arena, STATEMENT_HEARTBEAT_MEND);
    db_add_int(&call, SWEEP_BATCH);
    enum error error = db_run(sweep->db, &call, failure, &rows);
    if (error != OK)
        return error;
    int64_t planned = db_int(rows, 0, 0);
    if (planned > 0)
        log_event(LOG_INFO, "sweep.heartbeats_planned", LOG_INT("count", planned));
    *ret_more = planned >= SWEEP_BATCH;
    return db_rows_error(rows, failure);
}

/* Sessions come and go: those who want to hear of it are rung. Only this sweeper's latency hangs on
 * when it last looked; the rows themselves say who is there. */
static enum error duty_presence(struct sweep *sweep, bool *ret_more, struct failure *failure)
{
    static int64_t since;
    struct db_call call;
    struct db_rows *rows;
    struct text *bells;
    size_t count;

    *ret_more = false;
    db_call_init(&call, sweep->arena, STATEMENT_PRESENCE_CHANGES);
    db_add_int(&call, since);
    db_add_int(&call, EXECUTOR_SUSPECT_MS(sweep->engine.options));
    enum error error = db_run(sweep->db, &call, failure, &rows);
    if (error != OK)
        return error;
    since = db_int(rows, 0, 0);
    bells = db_texts(rows, 0, 1, &count);
    engine_ring_here(&sweep->engine, bells, count);
    return db_rows_error(rows, failure);
}

static enum error duty_prune(struct sweep *sweep, bool *ret_more, struct failure *failure)
{
    struct db_call call;
    struct db_rows *rows;

    *ret_more = false;
    db_call_init(&call, sweep->arena, STATEMENT_PRUNE);
    db_add_string(&call, sweep->engine.options->app_name);
    db_add_int(&call, sweep->engine.options->retention_ms);
    db_add_int(&call, PRUNE_BATCH);
    enum error error = db_run(sweep->db, &call, failure, &rows);
    if (error != OK)
        return error;
    for (unsigned kind = 0; kind < 4; kind++) {
        int64_t gone = db_int(rows, 0, kind);
        sweep->counts[COUNT_PRUNED] += gone;
        *ret_more = *ret_more || gone >= PRUNE_BATCH;
    }
    return db_rows_error(rows, failure);
}

const struct duty duties[] = {
    {"executors", 0, duty_executors},
    {"silent", SECOND_MS, duty_silent},
    {"adopt", SECOND_MS, duty_adopt},
    {"leases", 0, duty_leases},
    {"foreign", SECOND_MS, duty_foreign},
    {"schedules", 0, duty_schedules},
    {"wake", 0, duty_wake},
    {"deadlines", 0, duty_deadlines},
    {"withdraw", 0, duty_withdraw},
    {"run", 0, duty_run},
    {"bridge", 0, duty_bridge},
    {"bells", 0, duty_bells},
    {"dead bells", MINUTE_MS, duty_dead_bells},
    {"presence", PRESENCE_MS, duty_presence},
    {"heartbeats", HEARTBEATS_MS, duty_heartbeats},
    {"count", SECOND_MS, duty_count_inboxes},
    {"measure", MEASURE_MS, duty_measure},
    {"prune", MINUTE_MS, duty_prune},
};
const unsigned duty_count = sizeof(duties) / sizeof(duties[0]);

const char *const count_names[COUNT__MAX] = {
    [COUNT_EXECUTORS] = "executors",
    [COUNT_RECOVERED] = "workflows recovered",
    [COUNT_RELEASED] = "deliveries released",
    [COUNT_REDELIVERED] = "redelivered",
    [COUNT_DEAD] = "dead letters",
    [COUNT_EXPIRED] = "expired",
    [COUNT_WOKEN] = "woken",
    [COUNT_CANCELLED] = "cancelled",
    [COUNT_WITHDRAWN] = "withdrawn",
    [COUNT_RAN] = "workflows run",
    [COUNT_BRIDGED] = "bridged",
    [COUNT_FIRED] = "schedules fired",
    [COUNT_RUNG] = "bells",
    [COUNT_PRUNED] = "pruned",
    [COUNT_FAILED] = "failed",
};
