/* SPDX-License-Identifier: MIT
 *
 * One sweep: what nobody else sees to, done in bounded, repeatable duties, each by itself.
 * design.md, section 6.
 */
#ifndef OPENCLAW_SWEEPER_SWEEP_H
#define OPENCLAW_SWEEPER_SWEEP_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "durable/engine.h"

#define SWEEP_BATCH 200 /* rows that one call of a duty takes */

/* What is counted, and how a person reads it. */
enum count {
    COUNT_EXECUTORS,
    COUNT_RECOVERED,
    COUNT_RELEASED,
    COUNT_REDELIVERED,
    COUNT_DEAD,
    COUNT_EXPIRED,
    COUNT_WOKEN,
    COUNT_CANCELLED,
    COUNT_WITHDRAWN,
    COUNT_RAN,
    COUNT_BRIDGED,
    COUNT_FIRED,
    COUNT_RUNG,
    COUNT_PRUNED,
    COUNT_FAILED,
    COUNT__MAX
};
extern const char *const count_names[COUNT__MAX];
extern const char *const count_keys[COUNT__MAX]; /* of logs and metrics */

struct sweep {
    struct engine engine;
    struct db *db;
    struct engine_workers *workers;     /* who run workflows; NULL: this thread does, or none yet */
    struct arena *arena;                /* of the duty under way */
    const volatile sig_atomic_t *ended; /* looked at between two duties */
    int64_t counts[COUNT__MAX];
    bool ready;             /* the schema fits, this executor is known, the version registered */
    int64_t ready_since;    /* clock_ms */
    bool away;              /* the database could not be used the last time */
    int64_t away_attempts;  /* since when, in tries */
    bool once;              /* a single sweep, which cannot wait and see */
    struct failure failure; /* the first one of the last sweep */
};

/* One row of the table of duties (duty.c). */
struct duty {
    const char *name;
    int64_t interval_ms; /* at most so often; 0: with every sweep */
    /* Does a bounded batch. *ret_more: it was full, so do it again at once. */
    enum error (*run)(struct sweep *sweep, bool *ret_more, struct failure *failure);
};
extern const struct duty duties[];
extern const unsigned duty_count;

void sweep_init(struct sweep *sweep, const struct options *options,
                const volatile sig_atomic_t *ended);
void sweep_release(struct sweep *sweep);
/* Lets those who run workflows finish, for a moment. */
void sweep_stop_workers(struct sweep *sweep);

/* Goes through the duties once; with `all` without regard to their intervals, and again until
 * nothing more is found. Zeroes the counts first. Failures are logged. Returns the first one: the
 * others' duties were done nevertheless, unless the database is away. */
enum error sweep_run(struct sweep *sweep, bool all) MUST_CHECK;
bool sweep_did_something(const struct sweep *sweep);

/* Its row says that it has ended, and whatever it held is free at once. */
void sweep_end(struct sweep *sweep);

/* ---- executors.c ------------------------------------------------------------------------------
 */

/* CONFIG while a sweeper of this HOST_NAME lives on another machine: each would take the other's
 * programs for dead. Logged. One that was there before this machine's start is waited for no longer
 * than its lease. */
enum error sweep_alone(struct sweep *sweep, struct failure *failure) MUST_CHECK;

enum error duty_executors(struct sweep *sweep, bool *ret_more, struct failure *failure) MUST_CHECK;
enum error duty_silent(struct sweep *sweep, bool *ret_more, struct failure *failure) MUST_CHECK;

/* ---- measure.c --------------------------------------------------------------------------------
 */

#define MEASURE_MS 2000

/* Adds up for /metrics what has been done since, behind the traffic. */
enum error duty_measure(struct sweep *sweep, bool *ret_more, struct failure *failure) MUST_CHECK;
/* Counts a sweep, for all programs of this host to see. */
void measure_sweep(const struct sweep *sweep, int64_t took_ms);

/* ---- the sign of life --------------------------------------------------------------------------
 */

/* Says to who asks on this host (GET /health) that this sweeper lives, and will say so again within
 * `pause_ms` and a little more. */
void sweep_beat(int64_t pause_ms);
/* From now on each call says so, too, for as long as it waits for the database. */
void sweep_beat_in_calls(struct sweep *sweep);

#endif
