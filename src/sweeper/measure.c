/* SPDX-License-Identifier: MIT
 *
 * Counting, for /metrics: what the tables say is added up here, so that no transition of the hot
 * path has to count; what the sweeper does is counted in the memory that all programs of a host
 * share.
 */
#include <stdio.h>

#include "base/shared.h"
#include "sweeper/sweep.h"

#define FOLD_BATCH 20000 /* rows of a kind that one call adds up */
#define SLACK_MS   5000 /* beyond DB_TIMEOUT_MS: between looking at the clock and the first write */

const char *const count_keys[COUNT__MAX] = {
    [COUNT_EXECUTORS] = "executors", [COUNT_RECOVERED] = "recovered",
    [COUNT_RELEASED] = "released",   [COUNT_REDELIVERED] = "redelivered",
    [COUNT_DEAD] = "dead",           [COUNT_EXPIRED] = "expired",
    [COUNT_WOKEN] = "woken",         [COUNT_CANCELLED] = "cancelled",
    [COUNT_WITHDRAWN] = "withdrawn", [COUNT_RAN] = "ran",
    [COUNT_BRIDGED] = "bridged",     [COUNT_FIRED] = "fired",
    [COUNT_RUNG] = "bells",          [COUNT_PRUNED] = "pruned",
    [COUNT_FAILED] = "failed",
};

enum error duty_measure(struct sweep *sweep, bool *ret_more, struct failure *failure)
{
    struct db_call call;
    struct db_rows *rows;

    *ret_more = false;
    db_call_init(&call, sweep->arena, STATEMENT_METRIC_FOLD);
    db_add_string(&call, sweep->engine.options->app_name);
    db_add_int(&call, sweep->engine.options->db_timeout_ms + SLACK_MS);
    db_add_int(&call, MEASURE_MS / 2);
    db_add_int(&call, FOLD_BATCH);
    return db_run(sweep->db, &call, failure, &rows);
}

void measure_sweep(const struct sweep *sweep, int64_t took_ms)
{
    static shared_word *counters[COUNT__MAX], *sweeps, *took;

    if (sweeps == NULL) {
        sweeps = counter_of("sweeps");
        took = counter_of("sweep_ms");
        for (unsigned i = 0; i < COUNT__MAX; i++) {
            char name[COUNTER_NAME_MAX + 1];

            (void)snprintf(name, sizeof(name), "swept %s", count_keys[i]);
            counters[i] = counter_of(name);
        }
    }
    counter_add(sweeps, 1);
    counter_add(took, (uint64_t)(took_ms > 0 ? took_ms : 0));
    for (unsigned i = 0; i < COUNT__MAX; i++)
        counter_add(counters[i], (uint64_t)(sweep->counts[i] > 0 ? sweep->counts[i] : 0));
}
