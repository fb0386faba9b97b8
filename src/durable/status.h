/* SPDX-License-Identifier: MIT
 *
 * The states a workflow may be in. Source: DBOS, WorkflowStatusString of its SDKs at schema 123.
 */
#ifndef OPENCLAW_DURABLE_STATUS_H
#define OPENCLAW_DURABLE_STATUS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/text.h"

#define WORKFLOW_STATUS_COUNT 7
#define WORKFLOW_STATUSES                                                                          \
    "PENDING, ENQUEUED, DELAYED, SUCCESS, ERROR, CANCELLED, MAX_RECOVERY_ATTEMPTS_EXCEEDED"

bool workflow_status_known(struct text name);

/* Reads "A,B, C" into at most WORKFLOW_STATUS_COUNT names that point into `list`. Errors:
 * INVALID_REQUEST (one that does not exist, none, or too many), with those that exist. */
enum error workflow_statuses_parse(struct text list, struct text ret_names[WORKFLOW_STATUS_COUNT],
                                   size_t *ret_count, struct failure *failure) MUST_CHECK;

#endif
