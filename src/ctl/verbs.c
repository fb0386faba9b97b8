/* SPDX-License-Identifier: MIT
 *
 * The table of verbs, and the usage text that is made of it.
 */
#include <string.h>

#include "ctl/ctl.h"

#define TOKEN_FLAGS (TAKES(FLAG_EXPIRES))

static const struct verb verbs[] = {
    {{"migrate", NULL},
     "",
     0,
     TAKES(FLAG_STATUS) | TAKES(FLAG_DRY_RUN) | TAKES(FLAG_APP_ROLE),
     "bring the database to the schema of this version",
     ctl_migrate},
    {{"agent", "add"},
     " NAME",
     1,
     TAKES(FLAG_NAME) | TAKES(FLAG_SCOPES) | TAKES(FLAG_DBOS_QUEUE) | TAKES(FLAG_DBOS_WORKFLOW) |
         TAKES(FLAG_APPLICATION) | TOKEN_FLAGS,
     "make an agent and its mailbox; prints its token, once",
     ctl_agent_add},
    {{"agent", "list"},
     "",
     0,
     0,
     "agents, their scopes and whether they are connected",
     ctl_agent_list},
    {{"agent", "set"},
     " NAME",
     1,
     TAKES(FLAG_NAME) | TAKES(FLAG_ALLOW),
     "change what is known of it, and who may write to it",
     ctl_agent_set},
    {{"agent", "rotate"},
     " NAME",
     1,
     TAKES(FLAG_OVERLAP) | TOKEN_FLAGS,
     "a new token, printed once, in place of the old ones; also for other principals",
     ctl_agent_rotate},
    {{"agent", "revoke"},
     " NAME",
     1,
     0,
     "end all its tokens, within 5 s; open WebSockets end within a minute; also for other "
     "principals",
     ctl_agent_revoke},
    {{"principal", "add"},
     " NAME",
     1,
     TAKES(FLAG_KIND) | TAKES(FLAG_SCOPES) | TOKEN_FLAGS,
     "make an operator or a program, which has no mailbox; prints its token, once",
     ctl_principal_add},
    {{"workflow", "list"},
     "",
     0,
     TAKES(FLAG_STATE) | TAKES(FLAG_WORKFLOW) | TAKES(FLAG_PRINCIPAL) | TAKES(FLAG_SINCE) |
         TAKES(FLAG_LIMIT),
     "workflows, the newest first",
     ctl_workflow_list},
    {{"workflow", "get"}, " ID", 1, 0, "one workflow: state, input, output", ctl_workflow_get},
    {{"workflow", "steps"}, " ID", 1, 0, "the checkpoints of its steps", ctl_workflow_steps},
    {{"workflow", "events"}, " ID", 1, 0, "its event log", ctl_workflow_events},
    {{"workflow", "cancel"},
     " ID",
     1,
     TAKES(FLAG_CHILDREN),
     "end it; what runs notices at its next checkpoint",
     ctl_workflow_cancel},
    {{"workflow", "resume"},
     " ID",
     1,
     TAKES(FLAG_QUEUE),
     "let one that was cancelled or given up go on from its last checkpoint",
     ctl_workflow_resume},
    {{"workflow", "fork"},
     " ID",
     1,
     TAKES(FLAG_STEP) | TAKES(FLAG_ID) | TAKES(FLAG_VERSION) | TAKES(FLAG_QUEUE),
     "a new workflow with the past of this one up to a step",
     ctl_workflow_fork},
    {{"workflow", "restart"},
     " ID",
     1,
     TAKES(FLAG_ID) | TAKES(FLAG_VERSION) | TAKES(FLAG_QUEUE),
     "a new workflow with the input of this one",
     ctl_workflow_restart},
    {{"workflow", "rewind"},
     " ID",
     1,
     TAKES(FLAG_STEP) | TAKES(FLAG_QUEUE),
     "take one that has ended back to a step, and let it run on",
     ctl_workflow_rewind},
    {{"workflow", "delete"},
     " ID",
     1,
     TAKES(FLAG_CHILDREN),
     "cancel it and delete all of it",
     ctl_workflow_delete},
    {{"dead", "list"},
     "",
     0,
     TAKES(FLAG_INBOX) | TAKES(FLAG_LIMIT),
     "dead letters: messages delivered too often, or refused for good, the newest first",
     ctl_dead_list},
    {{"dead", "show"}, " MESSAGE", 1, 0, "one, and what is in it", ctl_dead_show},
    {{"dead", "redrive"}, " MESSAGE", 1, 0, "deliver it again, as if new", ctl_dead_redrive},
    {{"dead", "purge"}, " MESSAGE", 1, 0, "delete it; its workflow stays", ctl_dead_purge},
    {{"prune", NULL},
     "",
     0,
     TAKES(FLAG_DRY_RUN) | TAKES(FLAG_OLDER_THAN),
     "delete what ended long ago, as the sweeper does; never a mailbox or what is unread in it",
     ctl_prune},
    {{"doctor", NULL},
     "",
     0,
     0,
     "look at everything the gateway needs; says what to do",
     ctl_doctor},
};
#define VERB_COUNT (sizeof(verbs) / sizeof(verbs[0]))

const char *verb_usage(struct buffer *out)
{
    buffer_append_string(out, "usage: gatewayctl [--config FILE] VERB [ARGUMENT...] [--json]\n"
                              "       gatewayctl --check-config | --version | --help\n");
    for (size_t i = 0; i < VERB_COUNT; i++) {
        const struct verb *verb = &verbs[i];
        buffer_printf(out, "\n  %s%s%s%s\n        %s\n", verb->words[0], verb->words[1] ? " " : "",
                      verb->words[1] ? verb->words[1] : "", verb->operands, verb->summary);
        for (unsigned f = 0; f < FLAG__MAX; f++) {
            const struct flag_row *row = &flag_rows[f];
            if (verb->flags & TAKES(f))
                buffer_printf(out, "        %s%s%-*s %s\n", row->name, row->value ? " " : "",
                              (int)(17 - strlen(row->name) - (row->value ? 1 : 0)),
                              row->value ? row->value : "", row->help);
        }
    }
    buffer_append_string(out, "\nThe exit status is 0, or tells the error: 64 usage, 66 not found, "
                              "69 database away,\n77 not allowed, 78 configuration or schema.\n");
    return out->data;
}

enum error verb_find(struct arguments *arguments, const struct verb **ret_verb,
                     struct failure *failure)
{
    const char *first = arguments->operand_count > 0 ? arguments->operands[0] : "";
    const char *second = arguments->operand_count > 1 ? arguments->operands[1] : "";

    for (size_t i = 0; i < VERB_COUNT; i++) {
        const struct verb *verb = &verbs[i];
        unsigned words = verb->words[1] ? 2 : 1;
        if (strcmp(verb->words[0], first) != 0 ||
            (words == 2 && strcmp(verb->words[1], second) != 0))
            continue;
        arguments->operand_count -= words;
        memmove(arguments->operands, arguments->operands + words,
                arguments->operand_count * sizeof(arguments->operands[0]));
        if (arguments->operand_count != verb->operand_count)
            return failure_set(failure, ERR_INVALID_REQUEST, "usage: gatewayctl %s%s%s%s", first,
                               words == 2 ? " " : "", words == 2 ? second : "", verb->operands);
        for (unsigned f = 0; f < FLAG__MAX; f++)
            if (arguments->flags[f] && f != FLAG_JSON && !(verb->flags & TAKES(f)))
                return failure_set(failure, ERR_INVALID_REQUEST,
                                   "%s is no flag of gatewayctl %s%s%s", flag_rows[f].name, first,
                                   words == 2 ? " " : "", words == 2 ? second : "");
        *ret_verb = verb;
        return OK;
    }
    return failure_set(failure, ERR_INVALID_REQUEST,
                       *first ? "there is no verb \"%.40s %.40s\"; see gatewayctl --help"
                              : "no verb is given; see gatewayctl --help",
                       first, second);
}
