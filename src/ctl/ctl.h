/* SPDX-License-Identifier: MIT
 *
 * gatewayctl: what its verbs share.
 */
#ifndef OPENCLAW_CTL_CTL_H
#define OPENCLAW_CTL_CTL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/document.h"
#include "base/option.h"
#include "ctl/arguments.h"
#include "db/db.h"

struct ctl {
    struct options options;
    struct arguments arguments; /* operands without the verb's own words */
    struct arena *arena;        /* lives as long as the program */
    struct db *db;              /* through the pooler; opened by the first call */
    bool json;
};

/* One row of the table of verbs (verbs.c), from which the usage text is made. */
struct verb {
    const char *words[2]; /* "agent", "add"; the second may be NULL */
    const char *operands; /* as the usage shows them */
    unsigned operand_count;
    unsigned flags; /* TAKES(…), FLAG_JSON apart, which all take */
    const char *summary;
    enum error (*run)(struct ctl *ctl, struct failure *failure);
};

/* Writes the usage text and returns it; it lives as long as `out`. */
const char *verb_usage(struct buffer *out);
/* Takes the verb's words off the operands, and checks what is left and the flags. */
enum error verb_find(struct arguments *arguments, const struct verb **ret_verb,
                     struct failure *failure) MUST_CHECK;

enum error ctl_migrate(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_agent_add(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_agent_set(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_agent_list(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_agent_rotate(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_agent_revoke(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_principal_add(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_workflow_list(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_workflow_get(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_workflow_steps(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_workflow_events(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_workflow_cancel(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_workflow_resume(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_workflow_fork(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_workflow_restart(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_workflow_rewind(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_workflow_delete(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_dead_list(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_dead_show(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_dead_redrive(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_dead_purge(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_prune(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_doctor(struct ctl *ctl, struct failure *failure) MUST_CHECK;

/* Who runs this program, for the audit: "os:NAME". */
const char *ctl_who(struct arena *arena);

/* ---- output.c ---------------------------------------------------------------------------------
 */

struct column {
    const char *key; /* of the rows' objects */
    const char *heading;
};

/* Prints {"<name>": rows} as JSON, or the rows' `columns` as a table, without headings where the
 * first is empty. */
void ctl_print_rows(const struct ctl *ctl, const char *name, struct document *rows,
                    const struct column *columns, unsigned column_count);
/* Prints an object as JSON, or one line "key: value" for each member. */
void ctl_print_object(const struct ctl *ctl, struct document *object);
/* RFC 3339 in UTC, or NULL where the column is null. */
struct document *ctl_time(const struct ctl *ctl, struct db_rows *rows, size_t row, unsigned column);

/* Operand `index`. */
static inline const char *ctl_operand(const struct ctl *ctl, unsigned index)
{
    return ctl->arguments.operands[index];
}
static inline const char *ctl_flag(const struct ctl *ctl, enum flag flag)
{
    return ctl->arguments.flags[flag];
}

#endif
