/* SPDX-License-Identifier: MIT
 *
 * The durable engine: starts workflows, runs them, recovers them. design.md, section 4.
 *
 * Two ways of running:
 *   a batch   starts any number of workflows in memory, each up to its first barrier, and commits
 *             them with ONE call; the caller waits for the database in its own way. So accepting
 *             one message or a thousand is one round trip and one commit.
 *   execute   runs one claimed workflow, waiting for the database at each barrier, until it is
 *             finished, parked or somebody else's.
 */
#ifndef OPENCLAW_DURABLE_ENGINE_H
#define OPENCLAW_DURABLE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/option.h"
#include "base/uuid.h"
#include "db/db.h"
#include "durable/workflow.h"

/* ---- this process --------------------------------------------------------------------------- */

enum executor_kind { EXECUTOR_HTTP, EXECUTOR_SESSION, EXECUTOR_SWEEPER, EXECUTOR_CTL };

/* One process start. The id is fresh, so nothing of a former life is taken for this one's. */
struct executor {
    char id[UUID_SIZE];
    enum executor_kind kind;
    char host[65]; /* HOST_NAME or the machine's, cut to 64 bytes; no '/' */
    int pid;
    int64_t pid_started; /* /proc/PID/stat, field 22: tells a pid that is used again */
};
void executor_init(struct executor *executor, enum executor_kind kind,
                   const struct options *options);
#define EXECUTOR_MACHINE_SIZE 96
/* Where a pid means the same as here: the boot of the kernel and the namespace of pids, which no
 * clone and no container shares. "": it cannot be told. */
void executor_machine(char ret_machine[EXECUTOR_MACHINE_SIZE]);
/* Registers, or says that it is alive. principal only for sessions; client (JSON) of these what
 * they say of themselves, of sweepers {"machine", "once"}. */
void executor_register_call(struct db_call *call, struct arena *arena,
                            const struct executor *executor, const char *principal,
                            struct text client);
/* Its seven parameters, for a statement that begins with them. */
void executor_add(struct db_call *call, const struct executor *executor, const char *principal,
                  struct text client);
/* What the process of this pid and start time is on this host. One that is stopped may go on, and
 * is owner of what it has; but it gives no sign of life. */
enum executor_life { EXECUTOR_DEAD, EXECUTOR_STOPPED, EXECUTOR_ALIVE };
enum executor_life executor_look(int pid, int64_t pid_started);

struct engine {
    const struct options *options;
    const struct workflow_definition *definitions; /* ends with a NULL name */
    struct executor executor;
};
void engine_init(struct engine *engine, const struct options *options,
                 const struct workflow_definition *definitions, enum executor_kind kind);
const struct workflow_definition *engine_find(const struct engine *engine,
                                              struct text name); /* or NULL */

/* ---- starting, in batches ---------------------------------------------------------------------
 */

struct workflow_start {
    const struct workflow_definition *definition;
    struct text id;         /* WORKFLOW_ID_MAX bytes at most; the same id is the same workflow */
    struct text principal;  /* authenticated_user */
    struct document *input; /* the positional argument */
    const char *waiter;     /* executor to ring when it is settled, or NULL */
    struct text traceparent, request_id; /* see workflow_attributes() */
};

/* What a client gave to be found by: attributes of the workflow, as JSON, no part of its identity.
 * Each may be absent, and a traceparent that is none is; absent where nothing was given. */
struct text workflow_attributes(struct arena *arena, struct text traceparent,
                                struct text request_id);

enum workflow_outcome_kind {
    WORKFLOW_COMMITTED, /* started by this call, or by an earlier one of the same batch */
    WORKFLOW_EXISTS,    /* the id is taken by an equal request; status, output, error are its */
    WORKFLOW_CONFLICT,  /* the id is taken by a different request */
    WORKFLOW_FENCED,
    WORKFLOW_REFUSED /* nothing was written; `reason` */
};

/* A message that was leased to its receiver, on this host, in the commit that accepted it: whoever
 * gets this outcome hands it over (gateway/hand_over.h). */
struct workflow_hand_over {
    struct text holder; /* executor; absent: there is nothing to hand over */
    struct text delivery_id;
    int64_t epoch, lease_expires_at;
    const struct workflow_message *message;
};

struct workflow_outcome {
    enum workflow_outcome_kind kind;
    enum error reason; /* REFUSED: UNKNOWN_RECIPIENT, FORBIDDEN, INBOX_FULL, or the error of a
                          pure step, in `failure` */
    struct failure failure;
    struct text status; /* DBOS status */
    struct text output; /* JSON text, or absent */
    struct text error;  /* portable error, JSON text, or absent */
    int64_t inbox_seq;  /* of the message it sent; 0: none */
    int64_t now_ms;     /* the database's clock at the commit */
    struct text *bells; /* "host/executor": who has something to look at now */
    size_t bell_count;
    struct workflow_hand_over hand_over; /* of a batch; absent where it starts by itself */
};

struct workflow_batch;
struct workflow_batch *workflow_batch_new(struct arena *arena, const struct engine *engine);
/* Runs the workflow in memory to its first barrier; returns its index in the batch. A pure step
 * that fails before anything is owed refuses the start: it never reaches the database. */
size_t workflow_batch_start(struct workflow_batch *batch, const struct workflow_start *start);
size_t workflow_batch_count(const struct workflow_batch *batch);
/* The call that commits them; false: there is nothing to commit (all refused). It may be sent
 * again after ERR_IN_DOUBT or ERR_UNAVAILABLE: it does once what it does. */
bool workflow_batch_call(struct workflow_batch *batch, struct db_call *ret_call);
/* Reads the answer (rows NULL: there was nothing to commit). */
enum error workflow_batch_result(struct workflow_batch *batch, struct db_rows *rows,
                                 struct failure *failure) MUST_CHECK;
const struct workflow_outcome *workflow_batch_outcome(const struct workflow_batch *batch,
                                                      size_t index);

/* Silent for so long is suspect, before it is dead; the living are reported three times as often as
 * they are given up. */
#define EXECUTOR_SUSPECT_MS(options) ((options)->executor_lease_ms * 2 / 3)

/* Rings those of `bells` that are on this host; returns how many were not, which are owed now
 * (bells.h). */
size_t engine_ring(const struct engine *engine, const struct text *bells, size_t count);
/* The same where the other hosts find out by themselves. */
size_t engine_ring_here(const struct engine *engine, const struct text *bells, size_t count);

/* ---- executing
 * ----------------------------------------------------------------------------------- */

/* Starts one workflow and runs it until it is finished, parked or left to others, waiting for the
 * database. On ERR_IN_DOUBT call it again with the same start. */
enum error engine_start(const struct engine *engine, struct db *db, struct arena *arena,
                        const struct workflow_start *start, struct failure *failure,
                        struct workflow_outcome *ret_outcome) MUST_CHECK;

/* Gives back all workflows that this executor owns and does not run: after an engine_start that the
 * database left in the middle. For a moment at which the executor runs none. */
enum error engine_give_back(const struct engine *engine, struct db *db,
                            struct failure *failure) MUST_CHECK;

/* Claims up to `limit` enqueued workflows, within the limits of their queues, and runs each.
 * *ret_claimed counts them. One that fails to run does not stop the others; it is tried again
 * later. For one thread of a process, and not beside engine_workers. */
enum error engine_run_queued(const struct engine *engine, struct db *db, int limit,
                             struct failure *failure, int *ret_claimed) MUST_CHECK;

/* The same in the background, by `count` threads (1 to 64), so that a long step holds up nothing
 * else. They look for work when woken, and go on as long as there is some. `engine` must live until
 * they have ended. */
struct engine_workers;
struct engine_workers *engine_workers_start(const struct engine *engine, int count);
void engine_workers_wake(struct engine_workers *workers);
/* Workflows run, and runs that failed (logged), since it was asked last. */
void engine_workers_counts(struct engine_workers *workers, int64_t *ret_ran, int64_t *ret_failed);
/* Has each end after what it runs. True: all have ended, and `workers` is freed. False: after the
 * timeout some still run; the process should end, which loses nothing. */
bool engine_workers_stop(struct engine_workers *workers, int64_t timeout_ms) MUST_CHECK;

#endif
