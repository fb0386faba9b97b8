/* SPDX-License-Identifier: MIT
 *
 * The table of verbs, and the usage text that is made of it.
 */
#include <string.h>

#include "ctl/ctl.h"
#include "gateway/inbox.h"

#define PAGED   (TAKES(FLAG_LIMIT) | TAKES(FLAG_CURSOR))
#define WATCHED (TAKES(FLAG_WATCH) | TAKES(FLAG_INTERVAL))
#define AGENT_FLAGS                                                                                \
    (TAKES(FLAG_NAME) | TAKES(FLAG_ALLOW) | TAKES(FLAG_DBOS_QUEUE) | TAKES(FLAG_DBOS_WORKFLOW) |   \
     TAKES(FLAG_APPLICATION) | TAKES(FLAG_PERSONA) | TAKES(FLAG_MODEL) | TAKES(FLAG_USER_ID) |     \
     TAKES(FLAG_SESSION_KEY) | TAKES(FLAG_INBOX_LIMIT) | TAKES(FLAG_HEARTBEAT) |                   \
     TAKES(FLAG_CONFIGURATION))
#define MANY                                                                                       \
    (TAKES(FLAG_INBOX) | TAKES(FLAG_FROM) | TAKES(FLAG_REASON) | TAKES(FLAG_SINCE) |               \
     TAKES(FLAG_OLDER_THAN) | TAKES(FLAG_ALL) | TAKES(FLAG_LIMIT) | TAKES(FLAG_DRY_RUN))

static const struct verb verbs[] = {
    {{"migrate", NULL},
     "",
     0,
     0,
     TAKES(FLAG_STATUS) | TAKES(FLAG_DRY_RUN) | TAKES(FLAG_APP_ROLE),
     "bring the database to the schema of this version",
     ctl_migrate},
    {{"doctor", NULL},
     "",
     0,
     0,
     0,
     "look at everything the gateway needs; says what to do",
     ctl_doctor},

    {{"health", NULL},
     "",
     0,
     0,
     WATCHED,
     "can messages be accepted, and was a sweeper heard of within EXECUTOR_LEASE_MS",
     ctl_health},
    {{"prune", NULL},
     "",
     0,
     0,
     TAKES(FLAG_DRY_RUN) | TAKES(FLAG_OLDER_THAN),
     "delete what ended long ago, as the sweeper does; never a mailbox or what is unread in it",
     ctl_prune},

    {{"agent", "add"},
     " NAME",
     1,
     1,
     AGENT_FLAGS | TAKES(FLAG_SCOPES) | TAKES(FLAG_EXPIRES),
     "make an agent and its mailbox; prints its token, once",
     ctl_agent_add},
    {{"agent", "list"},
     "",
     0,
     0,
     WATCHED,
     "agents, their scopes and whether a WebSocket of theirs has subscribed",
     ctl_agent_list},
    {{"agent", "show"}, " NAME", 1, 1, WATCHED, "one, and how full its inbox is", ctl_agent_show},
    {{"agent", "set"},
     " NAME",
     1,
     1,
     AGENT_FLAGS | TAKES(FLAG_NO_BRIDGE) | TAKES(FLAG_IF_MATCH),
     "change what is known of it, and who may write to it",
     ctl_agent_set},
    {{"agent", "pause"},
     " NAME",
     1,
     1,
     TAKES(FLAG_REASON),
     "deliver nothing to it; what is sent to it waits",
     ctl_agent_pause},
    {{"agent", "resume"}, " NAME", 1, 1, 0, "deliver to it again", ctl_agent_resume},
    {{"agent", "remove"},
     " NAME",
     1,
     1,
     TAKES(FLAG_IF_MATCH),
     "end it and its tokens; what waits for it is withdrawn, and its senders are told",
     ctl_agent_remove},

    {{"principal", "add"},
     " NAME",
     1,
     1,
     TAKES(FLAG_KIND) | TAKES(FLAG_SCOPES) | TAKES(FLAG_EXPIRES),
     "make an operator or a program, which has no mailbox; prints its token, once",
     ctl_principal_add},
    {{"principal", "list"},
     "",
     0,
     0,
     0,
     "who may speak: agents, operators and programs",
     ctl_principal_list},
    {{"token", "add"},
     " PRINCIPAL",
     1,
     1,
     TAKES(FLAG_SCOPES) | TAKES(FLAG_EXPIRES),
     "a further token of an agent or another principal, printed once",
     ctl_token_add},
    {{"token", "list"},
     " [PRINCIPAL]",
     0,
     1,
     0,
     "tokens: their ids, when they were used last, when they end",
     ctl_token_list},
    {{"token", "rotate"},
     " PRINCIPAL",
     1,
     1,
     TAKES(FLAG_OVERLAP) | TAKES(FLAG_SCOPES) | TAKES(FLAG_EXPIRES),
     "a new token, printed once, in place of the old ones",
     ctl_token_rotate},
    {{"token", "revoke"},
     " PRINCIPAL",
     1,
     1,
     TAKES(FLAG_TOKEN),
     "end all its tokens, within 5 s; open WebSockets end within a minute",
     ctl_token_revoke},
    {{"token", "ticket"},
     " PRINCIPAL",
     1,
     1,
     TAKES(FLAG_TOKEN) | TAKES(FLAG_SCOPES),
     "a ticket for one WebSocket in its name, printed once; it lives 30 s",
     ctl_token_ticket},
    {{"agent", "rotate"},
     " NAME",
     1,
     1,
     TAKES(FLAG_OVERLAP) | TAKES(FLAG_EXPIRES),
     NULL,
     ctl_token_rotate},
    {{"agent", "revoke"}, " NAME", 1, 1, 0, NULL, ctl_token_revoke},

    {{"audit", "list"},
     " [SUBJECT]",
     0,
     1,
     TAKES(FLAG_PRINCIPAL) | TAKES(FLAG_ACT) | TAKES(FLAG_SINCE) | TAKES(FLAG_UNTIL) | PAGED,
     "privileged acts, the newest first: who did what, to whom",
     ctl_audit_list},

    {{"message", "send"},
     " AGENT TEXT",
     2,
     2,
     TAKES(FLAG_FROM) | TAKES(FLAG_KEY) | TAKES(FLAG_AS_JSON) | TAKES(FLAG_METADATA) |
         TAKES(FLAG_DELAY) | TAKES(FLAG_TTL) | TAKES(FLAG_PRIORITY) | TAKES(FLAG_WAIT),
     "send a message, as `system` or whom --from names; TEXT - reads it from the standard input",
     ctl_message_send},
    {{"message", "batch"},
     "",
     0,
     0,
     TAKES(FLAG_FROM),
     "send up to 1000, all in one transaction; the standard input has one JSON object on each line",
     ctl_message_batch},
    {{"message", "show"},
     " MESSAGE",
     1,
     1,
     WATCHED,
     "one: where it is, what is in it, what was answered",
     ctl_message_show},
    {{"message", "list"},
     "",
     0,
     0,
     TAKES(FLAG_INBOX) | TAKES(FLAG_FROM) | TAKES(FLAG_STATE) | TAKES(FLAG_SINCE) | PAGED | WATCHED,
     "messages, the newest first",
     ctl_message_list},
    {{"message", "tail"},
     "",
     0,
     0,
     TAKES(FLAG_INBOX) | TAKES(FLAG_FROM) | TAKES(FLAG_INTERVAL),
     "a line for each message that comes, and again when its state changes, until interrupted",
     ctl_message_tail},
    {{"message", "dead"},
     " [MESSAGE]",
     0,
     1,
     TAKES(FLAG_INBOX) | PAGED | WATCHED,
     "dead letters: messages delivered too often, or refused for good, the newest first; or one",
     ctl_dead_list},
    {{"message", "redrive"},
     " [MESSAGE]",
     0,
     1,
     MANY,
     "deliver a dead letter again, as if new; or all of which the flags are true",
     ctl_dead_redrive},
    {{"message", "purge"},
     " [MESSAGE]",
     0,
     1,
     MANY,
     "delete a dead letter, or all of which the flags are true; their workflows stay",
     ctl_dead_purge},
    {{"dead", "list"}, "", 0, 0, TAKES(FLAG_INBOX) | PAGED, NULL, ctl_dead_list},
    {{"dead", "show"}, " MESSAGE", 1, 1, 0, NULL, ctl_dead_show},
    {{"dead", "redrive"}, " MESSAGE", 1, 1, 0, NULL, ctl_dead_redrive},
    {{"dead", "purge"}, " MESSAGE", 1, 1, 0, NULL, ctl_dead_purge},

    {{"heartbeat", "start"},
     " AGENT",
     1,
     1,
     TAKES(FLAG_FROM) | TAKES(FLAG_KEY) | TAKES(FLAG_CHECKLIST) | TAKES(FLAG_WAIT),
     "ask an agent to go through its checklist now, and wait (a minute, or --wait) for its answer",
     ctl_heartbeat_start},
    {{"heartbeat", "list"},
     " AGENT",
     1,
     1,
     PAGED | WATCHED,
     "the heartbeats an agent has had, the newest first",
     ctl_heartbeat_list},

    {{"chat", "send"},
     " AGENT TEXT",
     2,
     2,
     TAKES(FLAG_CONVERSATION) | TAKES(FLAG_HISTORY) | TAKES(FLAG_WORKSPACE) | TAKES(FLAG_USER_ID) |
         TAKES(FLAG_FROM) | TAKES(FLAG_KEY) | TAKES(FLAG_TTL) | TAKES(FLAG_WAIT),
     "ask an agent in a conversation that is kept, and wait (a minute, or --wait) for the answer",
     ctl_chat_send},
    {{"chat", "list"},
     " [AGENT]",
     0,
     1,
     TAKES(FLAG_FROM) | PAGED | WATCHED,
     "conversations, the newest first; each principal has its own",
     ctl_chat_list},
    {{"chat", "show"},
     " CONVERSATION",
     1,
     1,
     TAKES(FLAG_FROM) | PAGED | WATCHED,
     "what was said in one (1000, or --limit)",
     ctl_chat_show},
    {{"chat", "delete"},
     " CONVERSATION",
     1,
     1,
     TAKES(FLAG_FROM),
     "forget one; its messages and workflows stay",
     ctl_chat_delete},

    {{"inbox", "stats"},
     " [AGENT]",
     0,
     1,
     WATCHED,
     "how full inboxes are, and how old what waits in them is",
     ctl_inbox_stats},
    {{"inbox", "pull"},
     " AGENT",
     1,
     1,
     TAKES(FLAG_LIMIT) | TAKES(FLAG_WAIT) | TAKES(FLAG_LEASE),
     "take what is due from it (10, or --limit up to 100); who took it must acknowledge it",
     ctl_inbox_pull},
    {{"inbox", "ack"},
     " AGENT DELIVERY...",
     2,
     1 + INBOX_ACK_MAX,
     TAKES(FLAG_RESULT),
     "acknowledge what was taken",
     ctl_inbox_ack},
    {{"inbox", "nack"},
     " AGENT DELIVERY",
     2,
     2,
     TAKES(FLAG_DELAY) | TAKES(FLAG_REASON) | TAKES(FLAG_DEAD),
     "refuse what was taken: it comes again, later, unless --dead",
     ctl_inbox_nack},
    {{"inbox", "extend"},
     " AGENT DELIVERY...",
     2,
     1 + INBOX_ACK_MAX,
     TAKES(FLAG_LEASE),
     "keep what was taken for longer",
     ctl_inbox_extend},
    {{"session", "list"},
     "",
     0,
     0,
     TAKES(FLAG_LIMIT) | WATCHED,
     "WebSocket connections, and those that ended in the last five minutes",
     ctl_session_list},
    {{"metrics", NULL},
     "",
     0,
     0,
     WATCHED,
     "what /metrics has from the database, without its openclaw_; times are milliseconds",
     ctl_metrics},
    {{"queue", "list"}, "", 0, 0, WATCHED, "DBOS queues and what waits in them", ctl_queue_list},

    {{"workflow", "start"},
     " NAME [INPUT]",
     1,
     2,
     TAKES(FLAG_FROM) | TAKES(FLAG_KEY) | TAKES(FLAG_WAIT),
     "start one by its name; INPUT is JSON, - reads it from the standard input",
     ctl_workflow_start},
    {{"workflow", "list"},
     "",
     0,
     0,
     TAKES(FLAG_STATE) | TAKES(FLAG_WORKFLOW) | TAKES(FLAG_QUEUE) | TAKES(FLAG_PRINCIPAL) |
         TAKES(FLAG_ATTRIBUTE) | TAKES(FLAG_SINCE) | TAKES(FLAG_UNTIL) | PAGED | WATCHED,
     "workflows, the newest first",
     ctl_workflow_list},
    {{"workflow", "get"},
     " ID",
     1,
     1,
     WATCHED,
     "one workflow: state, input, output",
     ctl_workflow_get},
    {{"workflow", "steps"},
     " ID",
     1,
     1,
     WATCHED,
     "the checkpoints of its steps",
     ctl_workflow_steps},
    {{"workflow", "events"}, " ID", 1, 1, WATCHED, "its event log", ctl_workflow_events},
    {{"workflow", "cancel"},
     " ID",
     1,
     1,
     TAKES(FLAG_CHILDREN),
     "end it; what runs notices at its next checkpoint",
     ctl_workflow_cancel},
    {{"workflow", "resume"},
     " ID",
     1,
     1,
     TAKES(FLAG_QUEUE),
     "let one that was cancelled or given up go on from its last checkpoint",
     ctl_workflow_resume},
    {{"workflow", "recover"},
     " ID",
     1,
     1,
     TAKES(FLAG_QUEUE),
     "the same as resume, by the name that HTTP has for it",
     ctl_workflow_recover},
    {{"workflow", "fork"},
     " ID",
     1,
     1,
     TAKES(FLAG_STEP) | TAKES(FLAG_ID) | TAKES(FLAG_VERSION) | TAKES(FLAG_QUEUE),
     "a new workflow with the past of this one up to a step",
     ctl_workflow_fork},
    {{"workflow", "restart"},
     " ID",
     1,
     1,
     TAKES(FLAG_ID) | TAKES(FLAG_VERSION) | TAKES(FLAG_QUEUE),
     "a new workflow with the input of this one",
     ctl_workflow_restart},
    {{"workflow", "rewind"},
     " ID",
     1,
     1,
     TAKES(FLAG_STEP) | TAKES(FLAG_QUEUE),
     "take one that has ended back to a step, and let it run on",
     ctl_workflow_rewind},
    {{"workflow", "delete"},
     " ID",
     1,
     1,
     TAKES(FLAG_CHILDREN),
     "cancel it and delete all of it",
     ctl_workflow_delete},
};
#define VERB_COUNT (sizeof(verbs) / sizeof(verbs[0]))

/* ---- the usage text ----------------------------------------------------------------------------
 */

static bool begins_with(const struct verb *verb, const struct arguments *arguments)
{
    for (unsigned i = 0; i < 2 && arguments && i < arguments->operand_count; i++)
        if (verb->words[i] && strcmp(verb->words[i], arguments->operands[i]) != 0)
            return false;
    return true;
}

static void add_verb(const struct verb *verb, struct buffer *out)
{
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

const char *verb_usage(const struct arguments *arguments, struct buffer *out)
{
    bool found = false;

    buffer_append_string(out, "usage: gatewayctl [--config FILE] VERB [ARGUMENT...] [--json]\n"
                              "       gatewayctl --check-config | --version | [VERB] -h, --help\n");
    for (size_t i = 0; i < VERB_COUNT; i++)
        if (verbs[i].summary && begins_with(&verbs[i], arguments)) {
            add_verb(&verbs[i], out);
            found = true;
        }
    if (!found) {
        buffer_clear(out);
        return verb_usage(NULL, out);
    }
    buffer_append_string(
        out, "\nThe exit status is 0, or tells the error: 64 usage, 65 bad data, 66 not found,\n"
             "67 no such recipient, 69 database away, 73 it exists already, 74 not written,\n"
             "75 try again, 77 not allowed, 78 configuration or schema.\n\n"
             "On a terminal a table is cut to its width; behind | cat it is whole.\n\n");
    return out->data;
}

/* ---- finding -----------------------------------------------------------------------------------
 */

static enum error usage_of(const struct verb *verb, struct failure *failure)
{
    return failure_set(failure, ERR_INVALID_REQUEST,
                       "usage: gatewayctl %s%s%s%s; --help behind it says more", verb->words[0],
                       verb->words[1] ? " " : "", verb->words[1] ? verb->words[1] : "",
                       verb->operands);
}

static bool is_group(const char *word)
{
    for (size_t i = 0; i < VERB_COUNT; i++)
        if (strcmp(verbs[i].words[0], word) == 0 && verbs[i].summary)
            return true;
    return false;
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
        if (arguments->operand_count < verb->operands_min ||
            arguments->operand_count > verb->operands_max)
            return usage_of(verb, failure);
        for (unsigned f = 0; f < FLAG__MAX; f++)
            if (arguments->flags[f] && f != FLAG_JSON && !(verb->flags & TAKES(f)))
                return failure_set(failure, ERR_INVALID_REQUEST,
                                   "%s is no flag of gatewayctl %s%s%s", flag_rows[f].name, first,
                                   words == 2 ? " " : "", words == 2 ? second : "");
        *ret_verb = verb;
        return OK;
    }
    if (!*first)
        return failure_set(failure, ERR_INVALID_REQUEST, "no verb is given; see gatewayctl --help");
    bool group = is_group(first);
    return failure_set(
        failure, ERR_INVALID_REQUEST,
        "there is no verb \"%.40s%s%.40s\"; gatewayctl %.40s%s--help shows what there "
        "is",
        first, *second ? " " : "", second, group ? first : "", group ? " " : "");
}
