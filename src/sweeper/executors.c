/* SPDX-License-Identifier: MIT
 *
 * Who is dead. On the own host the kernel says so, at once; of other hosts only their silence does.
 * Who is stopped is not dead here, however long: its leases end by themselves. But nobody says for
 * it that it is alive, so it becomes suspect, and to the other hosts dead.
 */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "sweeper/sweep.h"

#define BURIALS_MAX   64 /* the last are remembered */
#define TWINS_SAID_MS 60000

static enum error reap(struct sweep *sweep, const struct text *ids, size_t count,
                       struct failure *failure)
{
    struct db_call call;
    struct db_rows *rows;

    db_call_init(&call, sweep->arena, STATEMENT_EXECUTOR_REAP);
    db_add_texts(&call, ids, count);
    enum error error = db_run(sweep->db, &call, failure, &rows);
    if (error != OK)
        return error;
    sweep->counts[COUNT_EXECUTORS] += db_int(rows, 0, 0);
    sweep->counts[COUNT_RECOVERED] += db_int(rows, 0, 1);
    sweep->counts[COUNT_RELEASED] += db_int(rows, 0, 2);
    size_t bell_count;
    struct text *bells = db_texts(rows, 0, 3, &bell_count);
    engine_ring(&sweep->engine, bells, bell_count);
    return db_rows_error(rows, failure);
}

/* Together; where that fails, one by one, so that one that cannot be buried keeps no other. With
 * nobody to bury it still finds what a buried one's last statement has left. */
static enum error reap_each(struct sweep *sweep, const struct text *ids, size_t count,
                            struct failure *failure)
{
    struct failure together = {.error = OK};
    enum error error = reap(sweep, ids, count, &together);

    if (error == OK || error_retry(error) != RETRY_NEVER || count < 2) {
        if (error != OK)
            *failure = together;
        return error;
    }
    for (size_t i = 0; i < count; i++) {
        struct failure alone = {.error = OK};
        if (reap(sweep, &ids[i], 1, &alone) != OK) {
            sweep->counts[COUNT_FAILED]++;
            log_event(LOG_ERROR, "sweep.executor_not_reaped", LOG_TEXT("executor", ids[i]),
                      LOG_STR("detail", alone.detail), LOG_STR("sqlstate", alone.sqlstate));
        }
    }
    return OK;
}

/* And this one by registering anew: should another host have taken it for dead, it is not. */
static enum error tell_alive(struct sweep *sweep, const struct text *ids, size_t count,
                             struct failure *failure)
{
    struct db_tx *tx = db_tx_begin(sweep->db, sweep->arena);
    struct db_call seen, self;

    db_call_init(&seen, sweep->arena, STATEMENT_EXECUTOR_SEEN);
    db_add_texts(&seen, ids, count);
    db_tx_call(tx, &seen, NULL);
    executor_register_call(&self, sweep->arena, &sweep->engine.executor, NULL, TEXT_NONE);
    db_tx_call(tx, &self, NULL);
    return db_tx_commit(tx, failure);
}

static struct burial {
    char id[UUID_SIZE];
    bool gone; /* it was not among the living any more */
} burials[BURIALS_MAX];

static struct burial *burial_of(struct text id)
{
    for (size_t i = 0; i < BURIALS_MAX; i++)
        if (text_is(id, burials[i].id))
            return &burials[i];
    return NULL;
}

static void note_burials(const struct text *dead, size_t count)
{
    static size_t next;

    for (size_t k = 0; k < BURIALS_MAX; k++) {
        bool listed = false;

        for (size_t i = 0; i < count && !listed; i++)
            listed = text_is(dead[i], burials[k].id);
        burials[k].gone = burials[k].gone || !listed;
    }
    for (size_t i = 0; i < count; i++) {
        struct burial *burial = &burials[next];

        if (dead[i].len >= UUID_SIZE || burial_of(dead[i]) != NULL)
            continue;
        next = (next + 1) % BURIALS_MAX;
        *burial = (struct burial){.gone = false};
        memcpy(burial->id, dead[i].data, dead[i].len);
    }
}

enum error sweep_alone(struct sweep *sweep, struct failure *failure)
{
    static int64_t said_at;
    const char *host = sweep->engine.executor.host;
    char machine[EXECUTOR_MACHINE_SIZE];
    struct db_call call;
    struct db_rows *rows;

    executor_machine(machine);
    if (machine[0] == '\0')
        return OK;
    db_call_init(&call, sweep->arena, STATEMENT_SWEEPER_ELSEWHERE);
    db_add_string(&call, host);
    db_add_string(&call, machine);
    db_add_int(&call, sweep->engine.options->executor_lease_ms);
    enum error error = db_run(sweep->db, &call, failure, &rows);
    if (error != OK || db_rows_count(rows) == 0)
        return error;
    error =
        failure_set(failure, ERR_CONFIG,
                    "another machine has this HOST_NAME too (%s), and its sweeper was seen %lld ms "
                    "ago; give each its own (after a machine or container was killed, this ends "
                    "with EXECUTOR_LEASE_MS)",
                    host, (long long)db_int(rows, 0, 0));
    if (said_at == 0 || clock_ms() - said_at >= TWINS_SAID_MS) {
        said_at = clock_ms();
        log_event(LOG_ERROR, "sweep.host_name_shared", LOG_STR("host", host),
                  LOG_STR("note", failure->detail));
    }
    return error;
}

/* Who was buried here and is in the list once more has registered anew: it lives, on another
 * machine under this one's name, and the sweeper there does the same to us. */
static void look_for_twins(const struct sweep *sweep, const struct text *dead, size_t count)
{
    static int64_t said_at;

    for (size_t i = 0; i < count; i++) {
        const struct burial *burial = burial_of(dead[i]);

        if (burial == NULL || !burial->gone ||
            (said_at != 0 && clock_ms() - said_at < TWINS_SAID_MS))
            continue;
        said_at = clock_ms();
        log_event(LOG_ERROR, "sweep.host_name_shared", LOG_STR("host", sweep->engine.executor.host),
                  LOG_TEXT("executor", dead[i]),
                  LOG_STR("note", "it was found dead here and lives: another machine has this "
                                  "HOST_NAME too, and each takes the other's programs for dead; "
                                  "give each its own"));
    }
    note_burials(dead, count);
}

enum error duty_executors(struct sweep *sweep, bool *ret_more, struct failure *failure)
{
    static int64_t told_at, told_since; /* when the living were last reported, since which start */
    const struct options *options = sweep->engine.options;
    struct db_call call;
    struct db_rows *rows;

    *ret_more = false;
    db_call_init(&call, sweep->arena, STATEMENT_EXECUTOR_LIST);
    db_add_string(&call, sweep->engine.executor.host);
    enum error error = db_run(sweep->db, &call, failure, &rows);
    if (error != OK)
        return error;
    size_t count = db_rows_count(rows), dead_count = 0, alive_count = 0;
    struct text *dead = arena_array(sweep->arena, count + 1, sizeof(*dead));
    struct text *alive = arena_array(sweep->arena, count + 1, sizeof(*alive));
    for (size_t i = 0; i < count; i++) {
        enum executor_life life = executor_look((int)db_int(rows, i, 2), db_int(rows, i, 3));

        if (life == EXECUTOR_ALIVE)
            alive[alive_count++] = db_text(rows, i, 0);
        else if (life == EXECUTOR_STOPPED)
            continue;
        else if (dead_count < SWEEP_BATCH)
            dead[dead_count++] = db_text(rows, i, 0);
        else
            *ret_more = true;
    }
    if ((error = db_rows_error(rows, failure)) != OK ||
        (error = reap_each(sweep, dead, dead_count, failure)) != OK)
        return error;
    look_for_twins(sweep, dead, dead_count);
    if (told_since == sweep->ready_since && clock_ms() - told_at < options->executor_lease_ms / 3)
        return OK;
    if ((error = tell_alive(sweep, alive, alive_count, failure)) == OK) {
        told_at = clock_ms();
        told_since = sweep->ready_since;
    }
    return error;
}

enum error duty_silent(struct sweep *sweep, bool *ret_more, struct failure *failure)
{
    struct db_call call;
    struct db_rows *rows;

    *ret_more = false;
    /* after an outage of the database nobody could say that he lives: give them the time to */
    if (!sweep->once && clock_ms() - sweep->ready_since < sweep->engine.options->executor_lease_ms)
        return OK;
    db_call_init(&call, sweep->arena, STATEMENT_EXECUTOR_SILENT);
    db_add_string(&call, sweep->engine.executor.host);
    db_add_int(&call, sweep->engine.options->executor_lease_ms);
    enum error error = db_run(sweep->db, &call, failure, &rows);
    if (error != OK || db_rows_count(rows) == 0)
        return error;
    size_t count = db_rows_count(rows);
    *ret_more = count > SWEEP_BATCH;
    if (count > SWEEP_BATCH)
        count = SWEEP_BATCH;
    struct text *silent = arena_array(sweep->arena, count, sizeof(*silent));
    for (size_t i = 0; i < count; i++)
        silent[i] = db_text(rows, i, 0);
    return reap_each(sweep, silent, count, failure);
}
