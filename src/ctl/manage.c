/* SPDX-License-Identifier: MIT
 *
 * gatewayctl workflow cancel, resume, recover, fork, restart, rewind, delete.
 */
#include "gateway/manage.h"
#include "base/text.h"
#include "ctl/ctl.h"
#include "workflow/registry.h"

static enum error run(struct ctl *ctl, const char *verb, struct failure *failure)
{
    struct manage manage = {
        .by = ctl_who(ctl->arena),
        .verb = verb,
        .id = text_of(ctl_operand(ctl, 0)),
        .new_id = text_of(ctl_flag(ctl, FLAG_ID)),
        .version = text_of(ctl_flag(ctl, FLAG_VERSION)),
        .queue = text_of(ctl_flag(ctl, FLAG_QUEUE)),
        .children = ctl_flag(ctl, FLAG_CHILDREN) != NULL,
    };
    struct document *answer;
    struct engine engine;
    struct db_rows *rows;
    struct db_call call;
    enum error error;

    if (ctl_flag(ctl, FLAG_STEP) &&
        text_int64(text_of(ctl_flag(ctl, FLAG_STEP)), 0, INT32_MAX, &manage.step) != OK)
        return failure_set(failure, ERR_INVALID_REQUEST, "--step is a number, 0 or more");
    if (!text_is_any_workflow_id(manage.id) ||
        (manage.new_id.data && !text_is_workflow_id(manage.new_id)))
        return failure_set(failure, ERR_INVALID_ID, "that is no workflow id");
    engine_init(&engine, &ctl->options, workflow_definitions, EXECUTOR_CTL);
    manage_call(&call, ctl->arena, &engine, &manage);
    do
        error = db_run(ctl->db, &call, failure, &rows);
    while (error == ERR_IN_DOUBT); /* the same request: it is carried out once */
    if (error != OK || (error = manage_result(&engine, ctl->arena, rows, failure, &answer)) != OK)
        return error;
    ctl_print_object(ctl, answer);
    return OK;
}

enum error ctl_workflow_cancel(struct ctl *ctl, struct failure *failure)
{
    return run(ctl, "cancel", failure);
}

enum error ctl_workflow_resume(struct ctl *ctl, struct failure *failure)
{
    return run(ctl, "resume", failure);
}

/* The same, by the name that POST /workflows/:id/recover has: whoever held it, it goes on. */
enum error ctl_workflow_recover(struct ctl *ctl, struct failure *failure)
{
    return run(ctl, "resume", failure);
}

enum error ctl_workflow_fork(struct ctl *ctl, struct failure *failure)
{
    return run(ctl, "fork", failure);
}

enum error ctl_workflow_restart(struct ctl *ctl, struct failure *failure)
{
    return run(ctl, "restart", failure);
}

enum error ctl_workflow_rewind(struct ctl *ctl, struct failure *failure)
{
    return run(ctl, "rewind", failure);
}

enum error ctl_workflow_delete(struct ctl *ctl, struct failure *failure)
{
    return run(ctl, "delete", failure);
}
