/* SPDX-License-Identifier: MIT
 *
 * gatewayctl prune: what the sweeper's retention deletes by and by, now; or what it would delete.
 */
#include "base/text.h"
#include "ctl/ctl.h"

#define BATCH   1000     /* rows of each kind that one transaction deletes */
#define AGE_MIN 86400000 /* as RETENTION_MS: an idempotency key is good for a day */

static const char *const kinds[] = {"messages", "workflows", "orphans", "executors"};
#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

static enum error retention(const struct ctl *ctl, int64_t *ret_ms, struct failure *failure)
{
    const char *age = ctl_flag(ctl, FLAG_OLDER_THAN);
    int64_t ms = ctl->options.retention_ms;

    if (age) {
        enum error error = duration_parse(age, &ms, failure);
        if (error != OK)
            return error;
    }
    if (ms < AGE_MIN)
        return failure_set(failure, ERR_INVALID_REQUEST,
                           "--older-than is 1d or more: so long an idempotency key is remembered");
    *ret_ms = ms;
    return OK;
}

/* One batch: adds to the counts. *ret_more: a kind came back full. */
static enum error delete_batch(struct ctl *ctl, int64_t retention_ms, int64_t counts[KIND_COUNT],
                               bool *ret_more, struct failure *failure)
{
    struct db_call call;
    struct db_rows *rows;

    *ret_more = false;
    db_call_init(&call, ctl->arena, STATEMENT_PRUNE_AUDITED);
    db_add_string(&call, ctl->options.app_name);
    db_add_int(&call, retention_ms);
    db_add_int(&call, BATCH);
    db_add_string(&call, ctl_who(ctl->arena));
    enum error error = db_run(ctl->db, &call, failure, &rows);
    if (error != OK)
        return error;
    for (unsigned i = 0; i < KIND_COUNT; i++) {
        int64_t gone = db_int(rows, 0, i);
        counts[i] += gone;
        /* orphans are of three tables, each with the limit */
        *ret_more = *ret_more || gone >= BATCH;
    }
    bool busy = db_bool(rows, 0, KIND_COUNT);
    if ((error = db_rows_error(rows, failure)) == OK && busy)
        error = failure_set(failure, ERR_UNAVAILABLE,
                            "another process is pruning this database; try again in a moment");
    return error;
}

static enum error preview(struct ctl *ctl, int64_t retention_ms, int64_t counts[KIND_COUNT],
                          struct failure *failure)
{
    struct db_call call;
    struct db_rows *rows;

    db_call_init(&call, ctl->arena, STATEMENT_PRUNE_PREVIEW);
    db_add_string(&call, ctl->options.app_name);
    db_add_int(&call, retention_ms);
    enum error error = db_run(ctl->db, &call, failure, &rows);
    if (error != OK)
        return error;
    for (unsigned i = 0; i < KIND_COUNT; i++)
        counts[i] = db_int(rows, 0, i);
    return db_rows_error(rows, failure);
}

enum error ctl_prune(struct ctl *ctl, struct failure *failure)
{
    bool dry_run = ctl_flag(ctl, FLAG_DRY_RUN) != NULL, more = !dry_run;
    struct document *answer = document_object(ctl->arena);
    int64_t counts[KIND_COUNT] = {0}, retention_ms = 0;
    enum error error = retention(ctl, &retention_ms, failure);

    if (error == OK && dry_run)
        error = preview(ctl, retention_ms, counts, failure);
    while (error == OK && more)
        error = delete_batch(ctl, retention_ms, counts, &more, failure);
    if (error != OK)
        return error;
    for (unsigned i = 0; i < KIND_COUNT; i++)
        document_put_int(answer, kinds[i], counts[i]);
    document_put_int(answer, "olderThanMs", retention_ms);
    document_put(answer, "dryRun", document_from_bool(ctl->arena, dry_run));
    ctl_print_object(ctl, answer);
    return OK;
}
