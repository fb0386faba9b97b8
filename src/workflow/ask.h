/* SPDX-License-Identifier: MIT
 *
 * Asking an agent from within a workflow: a message of its own, carried by routeAgentMessage, whose
 * answer the workflow waits for, parked.
 */
#ifndef OPENCLAW_WORKFLOW_ASK_H
#define OPENCLAW_WORKFLOW_ASK_H

#include "durable/workflow.h"

struct ask {
    struct text to;            /* agent id */
    struct text session_key;   /* or absent */
    struct text content;       /* for a person or a model to read */
    struct document *metadata; /* an object; it is taken */
    int64_t ttl_ms;            /* for the answer; 0: as long as any message */
};

/* Two steps: routeAgentMessage (the child is there) and DBOS.getResult (it has ended).
 * *ret_response is what the agent answered, JSON null where it only acknowledged. Errors: what the
 * engine interrupts with; else why there is no answer, with workflow_failure() filled: as
 * routeAgentMessage's outcome says it. */
enum error workflow_ask(struct workflow *workflow, const struct ask *ask,
                        struct document **ret_response) MUST_CHECK;

/* In whose name this workflow acts: who started it, else the gateway. */
const char *workflow_actor(const struct workflow *workflow);

#endif
