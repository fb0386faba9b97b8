/* SPDX-License-Identifier: MIT
 *
 * What a workflow function is written with.
 *
 * A workflow is a C function made of steps. It is called from its top as often as needed; a step
 * that has a checkpoint returns what it recorded and does not run, so that the function comes to
 * where it was. Therefore a workflow function itself has no clock, no random, no input, no output
 * and no SQL: those happen in steps, and the kind of each step is in the name of the call:
 *
 *   workflow_step_pure      computes; may run again when a checkpoint was not yet written
 *   workflow_step_call,     transactional: the effect is SQL, and is committed together with its
 *   workflow_step_send      checkpoint, exactly once
 *   workflow_step_external  the effect leaves the database: at least once, with a key by which
 *                           the other side can tell a repeat
 *
 * Checkpoints are written behind, up to a barrier: an external step, an output of a transactional
 * step that is asked for, parking, the end. Nothing outside sees what is not committed.
 *
 * Every call may return an error; the function then returns it at once. Where the engine has
 * interrupted the run (fenced, cancelled, the database away) that is no outcome of the workflow;
 * any other error a workflow function returns is: it becomes status ERROR.
 */
#ifndef OPENCLAW_DURABLE_WORKFLOW_H
#define OPENCLAW_DURABLE_WORKFLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/document.h"
#include "base/error.h"
#include "db/db.h"

struct workflow;

/* One row of the table of workflows (src/workflow/registry.def). */
struct workflow_definition {
    const char *name; /* DBOS workflow name; NULL ends the table */
    enum error (*run)(struct workflow *workflow);
    const char *summary; /* one line for people */
    bool startable;      /* may be started by name: POST /workflows/NAME, workflow.start */
};

const char *workflow_id(const struct workflow *workflow);
const char *workflow_principal(const struct workflow *workflow); /* who started it; "" if unknown */
const struct options *workflow_options(const struct workflow *workflow);
struct arena *workflow_arena(const struct workflow *workflow); /* lives as long as this run */

/* The trace that it belongs to, for what it sends: its attribute traceparent, which a child has
 * from its parent. Absent where it is none (W3C Trace Context). */
struct text workflow_traceparent(const struct workflow *workflow);

/* The first positional argument; NULL where there is none. */
struct document *workflow_input(const struct workflow *workflow);

/* All positional arguments (an array; NULL: none), and the named ones (an object; NULL: none). */
struct document *workflow_arguments(const struct workflow *workflow);
struct document *workflow_named_arguments(const struct workflow *workflow);

/* Has the engine ended this run: parked, fenced, cancelled, the database away? Then the function
 * must return the error it got; where it has not, the error is a step's own, and may be dealt with.
 */
bool workflow_interrupted(const struct workflow *workflow);

/* Inside a step: its own failure, to be filled by failure_set() and returned. */
struct failure *workflow_failure(struct workflow *workflow);

/* A step's function: fills *ret_output (NULL is JSON null) or returns an error, which is recorded
 * as the step's error and returned again at every replay. ERR_UNAVAILABLE and the other errors of
 * class RETRY_LATER are not recorded: the run ends and the workflow is tried again later. */
typedef enum error workflow_step_function(struct workflow *workflow, void *context,
                                          struct document **ret_output);

enum error workflow_step_pure(struct workflow *workflow, const char *name,
                              workflow_step_function *function, void *context,
                              struct document **ret_output) MUST_CHECK;

/* `key` given to the function by workflow_step_key(): "<workflow id>/<step id>". */
enum error workflow_step_external(struct workflow *workflow, const char *name,
                                  workflow_step_function *function, void *context,
                                  struct document **ret_output) MUST_CHECK;
const char *workflow_step_key(const struct workflow *workflow);

/* The effect is one statement; it leaves its output (JSON text) in the transaction's setting
 * openclaw.step_output_<step id>, where <step id> is workflow_next_step(), a parameter of the call
 * (see sql/statement/agent_provision.sql). With ret_output NULL it is written behind. */
enum error workflow_step_call(struct workflow *workflow, const char *name,
                              const struct db_call *call, struct document **ret_output) MUST_CHECK;
int workflow_next_step(const struct workflow *workflow);

/* The effect is a message in an agent's mailbox; its output is {messageId, inboxSeq}. */
struct workflow_message {
    struct text to;      /* agent id */
    struct text from;    /* principal id */
    struct text id;      /* notifications.message_uuid, unique in the database */
    struct text message; /* the envelope, JSON text */
    const char *waiter;  /* executor to ring when it is settled, or NULL */
    bool expects_reply;
    int64_t priority;     /* 0 to 9, 0 first */
    int64_t max_attempts; /* 1 … */
    int64_t delay_ms;     /* not delivered before */
    int64_t ttl_ms;       /* not delivered after */
};
/* An id that text_is_message_id() refuses: INVALID_ID. */
enum error workflow_step_send(struct workflow *workflow, const char *name,
                              const struct workflow_message *message) MUST_CHECK;

/* The last step of a workflow that waits for its message to be settled; it stands directly behind
 * the workflow_step_send. Parks the workflow for at most `ttl_ms`. Whoever settles the message
 * (openclaw.message_settle) writes this step's checkpoint and the workflow's outcome, which is the
 * same value, in one commit; so this call ends the run, and its return value is the function's. */
enum error workflow_step_settled(struct workflow *workflow, const char *name,
                                 int64_t ttl_ms) MUST_CHECK;

/* Durable sleep (DBOS.sleep): parks until `ms` have passed on the database's clock. */
enum error workflow_sleep(struct workflow *workflow, int64_t ms) MUST_CHECK;

/* Sets an event (DBOS.setEvent without a step of its own) in the name of the step that ran last;
 * `value` NULL stands for {"at":<now>}. Written with the next checkpoint. */
void workflow_event(struct workflow *workflow, const char *key, struct document *value);

/* ---- DBOS' own steps: communication.c. Each may be used by, and is visible to, workflows and
 * clients of every official SDK. A destination, id, key or name that is NULL where none may be is
 * refused as INVALID_REQUEST before anything is recorded.
 * -------------------------------------------------------------------------- */

/* DBOS.send, transactional: a message to another workflow's recv, or to an agent (`agent:<id>`).
 * topic NULL: none. Errors: NOT_FOUND. */
enum error workflow_send(struct workflow *workflow, struct text destination, const char *topic,
                         struct document *message) MUST_CHECK;
/* DBOS.recv: the oldest unread message of a topic (NULL: those without), waiting, parked, for at
 * most timeout_ms; then JSON null. */
enum error workflow_recv(struct workflow *workflow, const char *topic, int64_t timeout_ms,
                         struct document **ret_message) MUST_CHECK;
/* DBOS.setEvent: written behind. Clients see it from the next barrier on. */
enum error workflow_set_event(struct workflow *workflow, const char *key,
                              struct document *value) MUST_CHECK;
/* DBOS.getEvent: of another workflow, waiting, parked, for at most timeout_ms; then JSON null. */
enum error workflow_get_event(struct workflow *workflow, struct text id, const char *key,
                              int64_t timeout_ms, struct document **ret_value) MUST_CHECK;
/* DBOS.writeStream and DBOS.closeStream, transactional. */
enum error workflow_stream_write(struct workflow *workflow, const char *key,
                                 struct document *value) MUST_CHECK;
enum error workflow_stream_close(struct workflow *workflow, const char *key) MUST_CHECK;
/* Inside an external step: readers see the value at once; a repeat of the step writes it again. */
enum error workflow_step_stream(struct workflow *workflow, const char *key,
                                struct document *value) MUST_CHECK;

/* Starts a workflow that outlives this one's crash, and ends by its deadline. */
struct workflow_child {
    const char *name;           /* DBOS workflow name */
    struct text id;             /* absent: <parent's id>-<step id> */
    const char *application;    /* NULL: this one */
    const char *queue;          /* NULL: the internal one, which every application has */
    struct document *arguments; /* array; NULL: none */
};
enum error workflow_start_child(struct workflow *workflow, const struct workflow_child *child,
                                const char **ret_id) MUST_CHECK;
/* DBOS.getResult: waits, parked, until that workflow has ended; its error is this call's. */
enum error workflow_result(struct workflow *workflow, const char *id,
                           struct document **ret_output) MUST_CHECK;

/* DBOS.patch: true for a workflow that comes here for the first time or came here patched; false
 * for one that went on from here before the patch was made. */
bool workflow_patch(struct workflow *workflow, const char *name);

/* Ends the workflow with an error of its own, {name,message,code?,data?}; code and data may be
 * absent; its return value is the function's. */
enum error workflow_fail(struct workflow *workflow, const char *name, struct text message,
                         struct document *code, struct document *data) MUST_CHECK;

/* Ends the workflow with SUCCESS; its return value is the function's. */
enum error workflow_finish(struct workflow *workflow, struct document *output) MUST_CHECK;

#endif
