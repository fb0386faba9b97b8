/* SPDX-License-Identifier: MIT
 *
 * What stands behind a verb: operands and flags.
 */
#ifndef OPENCLAW_CTL_ARGUMENTS_H
#define OPENCLAW_CTL_ARGUMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define OPERANDS_MAX 1024 /* an acknowledgement has many */

enum flag {
    FLAG_JSON,
    FLAG_STATUS,
    FLAG_DRY_RUN,
    FLAG_APP_ROLE,
    FLAG_NAME,
    FLAG_KIND,
    FLAG_SCOPES,
    FLAG_EXPIRES,
    FLAG_OVERLAP,
    FLAG_STATE,
    FLAG_WORKFLOW,
    FLAG_ATTRIBUTE,
    FLAG_PRINCIPAL,
    FLAG_ACT,
    FLAG_SINCE,
    FLAG_UNTIL,
    FLAG_LIMIT,
    FLAG_CURSOR,
    FLAG_INBOX,
    FLAG_ALLOW,
    FLAG_STEP,
    FLAG_ID,
    FLAG_VERSION,
    FLAG_QUEUE,
    FLAG_CHILDREN,
    FLAG_DBOS_QUEUE,
    FLAG_DBOS_WORKFLOW,
    FLAG_APPLICATION,
    FLAG_NO_BRIDGE,
    FLAG_HELP,
    FLAG_WATCH,
    FLAG_INTERVAL,
    FLAG_FROM,
    FLAG_KEY,
    FLAG_AS_JSON,
    FLAG_METADATA,
    FLAG_DELAY,
    FLAG_TTL,
    FLAG_PRIORITY,
    FLAG_WAIT,
    FLAG_REASON,
    FLAG_OLDER_THAN,
    FLAG_ALL,
    FLAG_TOKEN,
    FLAG_CONVERSATION,
    FLAG_HISTORY,
    FLAG_WORKSPACE,
    FLAG_PERSONA,
    FLAG_MODEL,
    FLAG_USER_ID,
    FLAG_SESSION_KEY,
    FLAG_INBOX_LIMIT,
    FLAG_HEARTBEAT,
    FLAG_CHECKLIST,
    FLAG_CONFIGURATION,
    FLAG_IF_MATCH,
    FLAG_LEASE,
    FLAG_RESULT,
    FLAG_DEAD,
    FLAG__MAX
};
#define TAKES(flag) (UINT64_C(1) << (flag))
_Static_assert(FLAG__MAX <= 64, "a verb's flags are the bits of one word");

struct flag_row {
    const char *name;  /* "--limit" */
    const char *value; /* what its value is called; NULL: it has none */
    const char *help;
};
extern const struct flag_row flag_rows[FLAG__MAX];

struct arguments {
    const char *operands[OPERANDS_MAX];
    unsigned operand_count;
    const char *flags[FLAG__MAX]; /* NULL: not given; "" for a flag without value */
};

/* Flags may stand anywhere, as --flag VALUE or --flag=VALUE, -h for --help; behind -- there are
 * none. Points into argv. Errors: INVALID_REQUEST. */
enum error arguments_parse(struct arguments *ret_arguments, int argc, char **argv,
                           struct failure *failure) MUST_CHECK;

/* "500ms", "30s", "5m", "2h", "7d", or 0; at most a hundred years. */
enum error duration_parse(const char *string, int64_t *ret_ms, struct failure *failure) MUST_CHECK;

#endif
