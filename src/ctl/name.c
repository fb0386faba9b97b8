/* SPDX-License-Identifier: MIT
 *
 * Names that filter a list: where it is empty, a mistyped one is told from one that has nothing.
 */
#include "ctl/ctl.h"
#include "workflow/registry.h"

/* Names that are known without a row of theirs. */
static bool needs_no_row(struct text name)
{
    return !name.data || text_is(name, CTL_SENDER) || text_starts(name, CTL_OPERATING_SYSTEM) ||
           text_starts(name, "_dbos");
}

static const char *looked_for(const struct ctl *ctl, enum flag flag)
{
    const char *name = ctl_flag(ctl, flag);

    return needs_no_row(text_of(name)) ? NULL : name;
}

static bool is_ours(const char *workflow)
{
    for (const struct workflow_definition *d = workflow_definitions; workflow && d->name; d++)
        if (text_is(text_of(workflow), d->name))
            return true;
    return false;
}

enum error ctl_names_must_be_known(struct ctl *ctl, struct failure *failure)
{
    enum flag who = ctl_flag(ctl, FLAG_FROM) ? FLAG_FROM : FLAG_PRINCIPAL;
    const char *workflow = looked_for(ctl, FLAG_WORKFLOW);
    const struct {
        const char *name, *advice;
        enum flag flag;
    } names[] = {
        {looked_for(ctl, who), "gatewayctl agent list and principal list show those there are",
         who},
        {looked_for(ctl, FLAG_QUEUE), "gatewayctl queue list shows those there are", FLAG_QUEUE},
        {is_ours(workflow) ? NULL : workflow,
         "no workflow of that name was ever started; gatewayctl workflow list shows the newest",
         FLAG_WORKFLOW},
    };
    const unsigned count = sizeof(names) / sizeof(names[0]);
    struct db_rows *rows;
    struct db_call call;
    bool given = false;
    enum error error;

    db_call_init(&call, ctl->arena, STATEMENT_NAME_PROBE);
    for (unsigned i = 0; i < count; i++) {
        db_add_string(&call, names[i].name);
        given = given || names[i].name;
    }
    if (!given)
        return OK;
    if ((error = db_run(ctl->db, &call, failure, &rows)) != OK)
        return error;
    for (unsigned i = 0; i < count; i++)
        if (!db_bool(rows, 0, i))
            return failure_set(failure, ERR_NOT_FOUND, "%s %.80s: %s",
                               flag_rows[names[i].flag].name, names[i].name, names[i].advice);
    return OK;
}
