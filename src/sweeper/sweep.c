/* SPDX-License-Identifier: MIT
 *
 * Goes through the duties. What must hold: a duty that fails keeps no other from being done; state
 * is re-read from the database each time, so a sweeper that dies anywhere is replaced by the next
 * one without a trace.
 */
#include "sweeper/sweep.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/shared.h"
#include "gateway/schema.h"
#include "workflow/registry.h"

#define DUTIES_MAX          32
#define REPEATS_MAX         50 /* of a duty whose batches come back full, before the next has its turn */
#define ROUNDS_MAX          200  /* of a whole sweep with `all` */
#define LOG_PATIENCE        3    /* a failure that another try may mend is logged from so many on */
#define WORKERS_PATIENCE_MS 3000 /* for what they run at the end; another sweeper runs the rest */
#define BEAT_SLACK_MS       1000
#define BEAT_IN_CALL_MS     500
#define LOG_QUIET_MS        60000 /* the same duty's failure is not logged again within this time */

static int64_t due_at[DUTIES_MAX];
static int64_t logged_at[DUTIES_MAX];
static unsigned failures[DUTIES_MAX];

void sweep_init(struct sweep *sweep, const struct options *options,
                const volatile sig_atomic_t *ended)
{
    *sweep = (struct sweep){.ended = ended};
    engine_init(&sweep->engine, options, workflow_definitions, EXECUTOR_SWEEPER);
    sweep->db = db_new(DB_POOLED);
    sweep->arena = arena_new();
}

void sweep_stop_workers(struct sweep *sweep)
{
    if (sweep->workers && !engine_workers_stop(sweep->workers, WORKERS_PATIENCE_MS))
        log_event(LOG_WARN, "sweep.workers_left", LOG_INT("after_ms", WORKERS_PATIENCE_MS));
    sweep->workers = NULL;
}

void sweep_release(struct sweep *sweep)
{
    db_free(sweep->db);
    arena_free(sweep->arena);
}

bool sweep_did_something(const struct sweep *sweep)
{
    for (unsigned i = 0; i < COUNT__MAX; i++)
        if (i != COUNT_RUNG && sweep->counts[i] > 0)
            return true;
    return false;
}

/* ---- getting ready --------------------------------------------------------------------------- */

static enum error check_schema(struct sweep *sweep, struct failure *failure)
{
    struct db_call call;
    struct db_rows *rows;

    schema_check_call(&call, sweep->arena);
    enum error error = db_run(sweep->db, &call, failure, &rows);
    return error == OK ? schema_check_result(rows, failure) : error;
}

static void call_setting(struct db_call *call, struct arena *arena, const char *name, int64_t value)
{
    db_call_init(call, arena, STATEMENT_SETTING_SET);
    db_add_string(call, name);
    db_add_string(call, arena_printf(arena, "%lld", (long long)value));
}

/* What a sweeper says of itself. */
static struct text own_client(const struct sweep *sweep)
{
    struct document *client = document_object(sweep->arena);
    char machine[EXECUTOR_MACHINE_SIZE];

    executor_machine(machine);
    if (sweep->once)
        document_put_bool(client, "once", true);
    if (machine[0] != '\0')
        document_put_string(client, "machine", machine);
    return document_text(sweep->arena, client);
}

/* This process, the workflows' version, and the options that functions read, in one transaction. */
static enum error announce(struct sweep *sweep, struct failure *failure)
{
    const struct options *options = sweep->engine.options;
    struct db_tx *tx = db_tx_begin(sweep->db, sweep->arena);
    struct db_call executor, version, queue, attempts, ttl, limit, size;

    executor_register_call(&executor, sweep->arena, &sweep->engine.executor, NULL,
                           own_client(sweep));
    db_tx_call(tx, &executor, NULL);
    db_call_init(&version, sweep->arena, STATEMENT_VERSION_REGISTER);
    db_add_string(&version, options->app_name);
    db_add_string(&version, options->app_version);
    db_tx_call(tx, &version, NULL);
    db_call_init(&queue, sweep->arena, STATEMENT_QUEUE_REGISTER);
    db_add_string(&queue, options->app_name);
    db_tx_call(tx, &queue, NULL);
    call_setting(&attempts, sweep->arena, "max_attempts", options->max_attempts);
    db_tx_call(tx, &attempts, NULL);
    call_setting(&ttl, sweep->arena, "message_ttl_ms", options->message_ttl_ms);
    db_tx_call(tx, &ttl, NULL);
    call_setting(&limit, sweep->arena, "inbox_limit", options->inbox_limit);
    db_tx_call(tx, &limit, NULL);
    call_setting(&size, sweep->arena, "max_message_size", options->max_message_size);
    db_tx_call(tx, &size, NULL);
    return db_tx_commit(tx, failure);
}

static enum error get_ready(struct sweep *sweep, struct failure *failure)
{
    enum error error;

    if (sweep->ready)
        return OK;
    if ((error = check_schema(sweep, failure)) == OK &&
        (error = sweep_alone(sweep, failure)) == OK && (error = announce(sweep, failure)) == OK) {
        sweep->ready = true;
        sweep->ready_since = clock_ms();
    }
    return error;
}

/* ---- duties -----------------------------------------------------------------------------------
 */

static void log_duty(unsigned index, const struct failure *failure)
{
    int64_t now = clock_ms();

    failures[index]++;
    if (error_retry(failure->error) != RETRY_NEVER && failures[index] < LOG_PATIENCE)
        return;
    if (logged_at[index] != 0 && now - logged_at[index] < LOG_QUIET_MS)
        return;
    logged_at[index] = now;
    log_event(LOG_ERROR, "sweep.duty_failed", LOG_STR("duty", duties[index].name),
              LOG_STR("code", error_code(failure->error)), LOG_STR("detail", failure->detail),
              LOG_STR("sqlstate", failure->sqlstate), LOG_INT("failures", failures[index]));
}

/* A slow database is no hanging. */
static void beat_in_call(void)
{
    sweep_beat(BEAT_IN_CALL_MS);
}

void sweep_beat_in_calls(struct sweep *sweep)
{
    db_on_wait(sweep->db, BEAT_IN_CALL_MS, beat_in_call);
}

void sweep_beat(int64_t pause_ms)
{
    static shared_word *due;

    if (due == NULL)
        due = counter_of(SWEEPER_DUE_COUNTER);
    atomic_store(due, (uint64_t)(clock_ms() + pause_ms + BEAT_SLACK_MS));
}

static enum error run_duty(struct sweep *sweep, unsigned index, struct failure *failure)
{
    enum error error = OK;
    bool more = true;

    for (int i = 0; i < REPEATS_MAX && more && error == OK && !*sweep->ended; i++) {
        more = false;
        error = duties[index].run(sweep, &more, failure);
        arena_reset(sweep->arena);
    }
    if (error == OK) {
        failures[index] = 0;
        logged_at[index] = 0;
    } else {
        sweep->counts[COUNT_FAILED]++;
    }
    return error;
}

/* Without the database, or its schema, the other duties would only say the same. On a full disk one
 * may still find room. */
static bool is_hopeless(const struct sweep *sweep, const struct failure *failure)
{
    enum error error = failure->error;

    return error == ERR_SCHEMA ||
           (error == ERR_READ_ONLY && strcmp(failure->sqlstate, DB_STATE_DISK_FULL) != 0) ||
           ((error == ERR_UNAVAILABLE || error == ERR_IN_DOUBT) && !db_is_open(sweep->db));
}

static enum error run_round(struct sweep *sweep, bool all)
{
    enum error first = OK;

    for (unsigned i = 0; i < duty_count && !*sweep->ended; i++) {
        struct failure failure = {.error = OK};
        int64_t now = clock_ms();

        if (!all && now < due_at[i])
            continue;
        due_at[i] = now + duties[i].interval_ms;
        enum error error = run_duty(sweep, i, &failure);
        if (error == OK)
            continue;
        failure.error = error;
        if (first == OK) {
            first = error;
            sweep->failure = failure;
        }
        if (is_hopeless(sweep, &failure)) {
            sweep->failure = failure;
            return error;
        }
        log_duty(i, &failure);
    }
    return first;
}

/* Says once that the database is away, or does not fit, and once that it is back. */
static void note_state(struct sweep *sweep, bool away)
{
    if (away && !sweep->away)
        log_failure("sweep.database_away", &sweep->failure);
    if (!away && sweep->away)
        log_event(LOG_INFO, "sweep.database_back", LOG_INT("attempts", sweep->away_attempts));
    sweep->away_attempts = away ? sweep->away_attempts + 1 : 0;
    sweep->away = away;
    if (away)
        sweep->ready = false;
}

enum error sweep_run(struct sweep *sweep, bool all)
{
    enum error error = OK;

    for (unsigned i = 0; i < COUNT__MAX; i++)
        sweep->counts[i] = 0;
    sweep->failure = (struct failure){.error = OK};
    enum error ready = get_ready(sweep, &sweep->failure);
    arena_reset(sweep->arena);
    if (ready == ERR_CONFIG) /* it is logged, and ends when the other one does */
        return ready;
    if (ready != OK) {
        note_state(sweep, true);
        return ready;
    }
    note_state(sweep, false);
    for (int round = 0; round < (all ? ROUNDS_MAX : 1) && !*sweep->ended; round++) {
        int64_t before = 0, after = 0;
        for (unsigned i = 0; i < COUNT_RUNG; i++)
            before += sweep->counts[i];
        enum error this = run_round(sweep, all);
        for (unsigned i = 0; i < COUNT_RUNG; i++)
            after += sweep->counts[i];
        error = error == OK ? this : error;
        if (after == before || is_hopeless(sweep, &sweep->failure))
            break;
    }
    if (is_hopeless(sweep, &sweep->failure))
        note_state(sweep, true);
    return error;
}

void sweep_end(struct sweep *sweep)
{
    struct text self = text_of(sweep->engine.executor.id);
    struct failure failure;
    struct db_call call;
    struct db_rows *rows;

    if (!sweep->ready)
        return;
    db_call_init(&call, sweep->arena, STATEMENT_EXECUTOR_REAP);
    db_add_texts(&call, &self, 1);
    if (db_run(sweep->db, &call, &failure, &rows) != OK)
        log_failure("sweep.end", &failure); /* another sweeper, or the next, buries it */
}
