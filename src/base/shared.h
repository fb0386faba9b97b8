/* SPDX-License-Identifier: MIT
 *
 * Memory that the programs of one host share, in a file of RUNTIME_DIR: counters, and how often
 * somebody may still try. It outlives every process that uses it, and is only a count: nothing that
 * decides about a message or a workflow is in it. All of it is single atomic words, so that a
 * process may be killed at any line and leaves nothing locked and nothing half written.
 *
 * A process that did not open it, or could not, has such memory of its own.
 */
#ifndef OPENCLAW_BASE_SHARED_H
#define OPENCLAW_BASE_SHARED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

/* Once, before threads and before fork. Makes RUNTIME_DIR (0700) and the file where they are
 * missing. An error is no reason to end. Errors: CONFIG (the path is too long), IO. */
enum error shared_open(const char *runtime_dir, struct failure *failure) MUST_CHECK;

/* ---- counters ------------------------------------------------------------------------------- */

typedef _Atomic uint64_t shared_word;

#define COUNTER_NAME_MAX 103 /* bytes */
#define COUNTERS_MAX     2048

/* The counter of this name, made where there is none. Never NULL: what has no room any more is
 * counted where nobody reads it. Look it up once, and keep it. */
shared_word *counter_of(const char *name) __attribute__((returns_nonnull));
static inline void counter_add(shared_word *counter, uint64_t count)
{
    atomic_fetch_add_explicit(counter, count, memory_order_relaxed);
}
/* Its value; 0 where there is none. */
uint64_t counter_read(const char *name);

/* No count: the time (clock_ms()) by which this host's sweeper is heard of again, or it hangs. */
#define SWEEPER_DUE_COUNTER "sweeper_due"
/* No count: not 0 while the last that the database said of its disk, to any program of this host,
 * is that it is full. */
#define DISK_FULL_COUNTER "disk_full"

/* ---- how often somebody may try -------------------------------------------------------------- */

/* For `key`, an address, say, `per_minute` attempts at once, and then as many in each minute (GCRA,
 * the leaky bucket as one time stamp). Returns 0, or how many milliseconds to wait. Counts nothing.
 */
int64_t limiter_wait_ms(struct text key, int64_t per_minute);
void limiter_count(struct text key, int64_t per_minute);

/* What was seen in the last day, as far as there was room to remember it. */
bool seen_lately(struct text key);
void seen_now(struct text key);

/* ---- what the processes of a kind are doing ---------------------------------------------------
 */

#define WORKERS_SHOWN_MAX 64

struct worker_state {
    shared_word pid; /* 0: free */
    shared_word threads, threads_busy;
    shared_word connections, connections_busy, waiting;
};

/* A place for this process; never NULL. That of a process which has died is taken over. */
struct worker_state *worker_state_take(void) __attribute__((returns_nonnull));
/* The sum over those who live; ret_sum->pid is how many these are. */
void worker_state_sum(struct worker_state *ret_sum);

#endif
