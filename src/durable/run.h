/* SPDX-License-Identifier: MIT
 *
 * One run of one workflow: what it replays, what it owes the database, and how it ended. Private
 * to src/durable.
 */
#ifndef OPENCLAW_DURABLE_RUN_H
#define OPENCLAW_DURABLE_RUN_H

#include <pthread.h>

#include "durable/engine.h"
#include "durable/workflow.h"

/* How the row stands after the commit that is owed. */
enum run_state {
    RUN_ON,     /* it goes on under the same owner: PENDING */
    RUN_PARKED, /* DELAYED for delay_ms */
    RUN_LEFT,   /* ENQUEUED, for whoever claims it */
    RUN_DONE,   /* SUCCESS */
    RUN_FAILED, /* ERROR */
    RUN_STOPPED /* nothing more is written: fenced, refused, settled by others, or away */
};

/* A checkpoint read from the database. */
struct checkpoint {
    int id;
    struct text name, output, error, serialization;
    struct text child; /* the workflow that the step started or waited for, or absent */
};

/* A step whose checkpoint is not yet written; of its effect, if any, one of call and send is set.
 */
struct owed_step {
    struct owed_step *next;
    int id;
    const char *name;
    struct text output, error;
    struct text serialization;       /* absent: portable_json */
    bool recorded;                   /* the call writes the checkpoint itself */
    int64_t started_ms, finished_ms; /* monotonic */
    const struct db_call *call;
    const struct workflow_message *send;
    bool awaited; /* the next step is workflow_step_settled */
};

struct owed_event {
    struct owed_event *next;
    int step;
    const char *key;
    struct text value; /* absent: the time of the commit */
};

/* Whom a commit wakes, outside: a DBOS channel and its payload. */
struct owed_notice {
    struct owed_notice *next;
    const char *channel;
    struct text payload;
};

struct workflow {
    const struct engine *engine;
    struct arena *arena;
    struct db *db; /* NULL: in a batch, which cannot wait for the database */
    const struct workflow_definition *definition;
    const char *id;
    const char *principal;
    const char *waiter;
    char token[UUID_SIZE];
    bool start; /* the row is yet to be made */
    struct document *input;
    struct document *arguments, *named; /* all of them, or NULL */
    struct text input_text;             /* as workflow_input.inputs has it */
    struct text attributes;             /* of a start: a JSON object, or absent */
    struct text traceparent;            /* of the request that it serves, or absent */
    struct text serialization;          /* of the row: how its outcome is to be written */
    int64_t now_ms;                     /* the database's clock at the claim */

    struct checkpoint *checkpoints;
    size_t checkpoint_count;
    int next_step;
    bool replaying; /* the step that ran last had a checkpoint */

    struct owed_step *steps, **steps_end;
    struct owed_event *events, **events_end;
    struct owed_step *call; /* the one owed step with a call, if any */

    enum run_state state;
    int64_t delay_ms;
    struct text output, error;
    struct failure failure;      /* of the step or the call that failed last */
    struct text failed_as;       /* that failure as it is recorded, or absent */
    struct owed_notice *notices; /* to be given when the commit that they tell of is done */
    enum error broken;           /* RUN_STOPPED because of this, not of the workflow's own doing */
    struct workflow_outcome outcome;
};

struct workflow *workflow_new(const struct engine *engine, struct arena *arena, struct db *db,
                              const struct workflow_definition *definition);

/* The claims that an executor is running now, one for each of its threads. */
#define CLAIM_RUNNERS_MAX 64
struct claim_tokens {
    pthread_mutex_t lock;
    char token[CLAIM_RUNNERS_MAX][UUID_SIZE]; /* "": none */
    bool owed; /* something failed: what is claimed and not run is to be given back */
};
/* Claims up to `limit` workflows and runs one after the other; `claimed` (may be NULL) is called
 * before the first one, if there is one. First gives back what is owed. */
enum error claim_and_run(const struct engine *engine, struct claim_tokens *tokens, size_t runner,
                         struct db *db, int limit, void (*claimed)(void *context), void *context,
                         struct failure *failure, int *ret_claimed) MUST_CHECK;
enum error claim_give_back(const struct engine *engine, struct claim_tokens *tokens, struct db *db,
                           struct failure *failure) MUST_CHECK;

/* ---- workflow.c, for communication.c ---- */

/* Takes the next id. Where it has a checkpoint, *ret_replayed is set, and the return value and
 * *ret_output (may be NULL) are what was recorded. */
enum error next_step(struct workflow *workflow, const char *name, bool *ret_replayed,
                     struct document **ret_output) MUST_CHECK;
/* Commits what is owed and goes on. A batch cannot wait: there the workflow is left to others. */
enum error barrier(struct workflow *workflow) MUST_CHECK;
struct owed_step *owe_step(struct workflow *workflow, int id, const char *name);
/* Owes a step whose effect is a call that writes its own checkpoint. */
enum error owe_recorded(struct workflow *workflow, const char *name,
                        const struct db_call *call) MUST_CHECK;
const struct checkpoint *find_checkpoint(const struct workflow *workflow, int id);
/* Ends the run without an outcome; the function sees the error and returns. */
enum error stop(struct workflow *workflow, enum run_state state, enum error error);
enum error stop_broken(struct workflow *workflow, enum error error);
/* Sets the failure to a recorded error, and returns it. */
enum error fail_as(struct workflow *workflow, struct text recorded, struct text serialization);

/* A value as somebody recorded it; absent is null. Errors: what document_parse gives,
 * INVALID_REQUEST for a serialization that is not known here. */
enum error decode_value(struct workflow *workflow, struct text value, struct text serialization,
                        struct document **ret_value) MUST_CHECK;

/* Calls the workflow function and settles how it ended; what is owed is still to be committed,
 * unless run->state is RUN_STOPPED. */
void run_function(struct workflow *workflow);

/* DBOS' channels; the payload is "<workflow>::<key>". */
#define NOTICE_EVENT  "dbos_workflow_events_channel"
#define NOTICE_STREAM "dbos_streams_channel"

/* Lets those who wait for this key of the workflow be woken when what is owed is committed. */
void owe_notice(struct workflow *workflow, const char *channel, const char *key);
/* Wakes them. */
void give_notices(struct workflow *workflow);

/* Portable errors ({name,message,code}), and back. */
struct text portable_error(struct arena *arena, const struct failure *failure);
enum error portable_error_read(struct arena *arena, struct text text, struct failure *failure);
/* The portable form of a recorded error, whatever its serialization. */
struct text portable_error_of(struct workflow *workflow, struct text error,
                              struct text serialization);
/* A portable value or error in the form of the row's serialization. */
struct text encode_output(struct workflow *workflow, struct text value);
struct text encode_error(struct workflow *workflow, struct text error);
/* The positional argument within the text of workflow_input, by the row's serialization. */
enum error decode_input(struct workflow *workflow, struct text inputs) MUST_CHECK;

/* The call of openclaw.workflow_commit for a set of workflows, and its answer, which sets each
 * workflow's outcome. host: of a caller that hands messages over; NULL: they are claimed. */
void commit_call(struct db_call *call, struct arena *arena, const struct engine *engine,
                 struct workflow *const *workflows, size_t count, const char *host);
enum error commit_result(struct workflow *const *workflows, size_t count, struct db_rows *rows,
                         struct failure *failure) MUST_CHECK;
/* Commits what one workflow owes, waiting for the database. Afterwards either nothing is owed, or
 * the state is RUN_STOPPED. An error: the database is away, and nothing is known to be written. */
enum error commit_run(struct workflow *workflow, struct failure *failure) MUST_CHECK;

#endif
