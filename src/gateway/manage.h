/* SPDX-License-Identifier: MIT
 *
 * What people and programs do to workflows: cancel, resume, fork, restart, rewind, delete. The same
 * for HTTP, WebSocket and gatewayctl. A workflow that runs notices at its next checkpoint.
 */
#ifndef OPENCLAW_GATEWAY_MANAGE_H
#define OPENCLAW_GATEWAY_MANAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/document.h"
#include "durable/engine.h"

/* Who may: the principal that started it, or (principal NULL) anybody's workflow is meant. */
struct manage {
    const char *principal;
    const char *by;   /* who does it, for the audit */
    const char *verb; /* cancel, resume, fork, restart, rewind, delete */
    struct text id;
    struct text new_id;  /* fork, restart: absent makes a fresh one */
    struct text version; /* fork, restart: application version; absent: the origin's */
    struct text queue;   /* where it is to run; absent: the internal queue */
    int64_t step;        /* fork, rewind: the first step that runs again */
    bool children;       /* cancel, delete: all that descend from it, too */
    struct text traceparent, request_id; /* fork, restart: the new one's; each may be absent */
};

void manage_call(struct db_call *call, struct arena *arena, const struct engine *engine,
                 const struct manage *manage);
/* {workflowUuid,status,changed}; rings whoever waits for what was cancelled. */
enum error manage_result(const struct engine *engine, struct arena *arena, struct db_rows *rows,
                         struct failure *failure, struct document **ret_answer) MUST_CHECK;

#endif
