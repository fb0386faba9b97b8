/* SPDX-License-Identifier: MIT
 *
 * Workflows that somebody starts by name: the same for HTTP, WebSocket and gatewayctl. How the
 * start is run is the caller's affair: to its first barrier (a batch), or by itself (engine_start).
 */
#ifndef OPENCLAW_GATEWAY_START_H
#define OPENCLAW_GATEWAY_START_H

#include <stdbool.h>

#include "base/document.h"
#include "durable/engine.h"

struct start_request {
    struct text name;                    /* of a row of the table of workflows that is startable */
    struct text key;                     /* idempotency key; absent makes a fresh id */
    const char *principal;               /* who starts it */
    struct document *input;              /* its argument; NULL: none */
    struct text traceparent, request_id; /* each may be absent */
};

/* "<principal>:<key>", or without a key a fresh one. */
struct text start_workflow_id(struct arena *arena, const char *principal, struct text key);

/* Errors: UNKNOWN_WORKFLOW, INVALID_REQUEST (a message, which is sent as one), INVALID_ID (the
 * key). What *ret_start points to lives in `arena` and in the request. */
enum error start_prepare(struct arena *arena, const struct engine *engine,
                         const struct start_request *request, struct failure *failure,
                         struct workflow_start *ret_start) MUST_CHECK;

/* The same of one that its caller knows, startable by name or not; request->name is not looked at.
 * Errors: INVALID_ID. */
enum error start_prepare_definition(struct arena *arena,
                                    const struct workflow_definition *definition,
                                    const struct start_request *request, struct failure *failure,
                                    struct workflow_start *ret_start) MUST_CHECK;

/* Why it came to nothing: IDEMPOTENCY_CONFLICT, or why it was refused; OK where it did not. */
enum error start_refusal(const struct workflow_outcome *outcome,
                         struct failure *failure) MUST_CHECK;

/* Has it ended, as far as the outcome says? */
bool start_finished(const struct workflow_outcome *outcome);

/* What became of one, for whoever waits for it. */
struct workflow_state {
    bool finished, replayed; /* replayed: it was there before the start */
    struct text status;
    struct document *output, *error; /* JSON null where there is none */
};
void start_state(struct arena *arena, const struct workflow_outcome *outcome,
                 struct workflow_state *ret_state);
/* As it stands in the database now; `replayed` stays. ERR_NOT_FOUND: it was deleted. */
void start_look_call(struct db_call *call, struct arena *arena, struct text id);
enum error start_look_result(struct arena *arena, struct db_rows *rows, struct failure *failure,
                             struct workflow_state *state) MUST_CHECK;
/* Why one failed that has ended: its error where our table has it, else INTERNAL; OK where it did
 * not, or was cancelled. */
enum error start_state_error(const struct workflow_state *state,
                             struct failure *failure) MUST_CHECK;

/* {success,workflowUuid,status,result?,error?}; result where it has ended. */
struct document *start_answer(struct arena *arena, const struct workflow_start *start,
                              const struct workflow_outcome *outcome);

#endif
