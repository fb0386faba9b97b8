/* SPDX-License-Identifier: MIT */
#include "ctl/arguments.h"

#include <string.h>

#include "base/text.h"

#define DURATION_MAX_MS (INT64_C(100) * 365 * 86400 * 1000)

const struct flag_row flag_rows[FLAG__MAX] = {
    [FLAG_JSON] = {"--json", NULL, "print one JSON object"},
    [FLAG_STATUS] = {"--status", NULL, "say what the database has, and change nothing"},
    [FLAG_DRY_RUN] = {"--dry-run", NULL, "say what would be done, and change nothing"},
    [FLAG_APP_ROLE] = {"--app-role", "ROLE",
                       "the role the gateway's programs use (openclaw_gateway where there is one)"},
    [FLAG_NAME] = {"--name", "TEXT", "a name for people"},
    [FLAG_KIND] = {"--kind", "KIND", "operator or program"},
    [FLAG_SCOPES] = {"--scopes", "LIST", "scopes, separated by commas"},
    [FLAG_EXPIRES] = {"--expires", "TIME", "the token is valid for so long (never ends)"},
    [FLAG_OVERLAP] = {"--overlap", "TIME", "the old token stays valid for so long (0)"},
    [FLAG_STATE] = {"--state", "LIST", "only those in these states, separated by commas"},
    [FLAG_WORKFLOW] = {"--workflow", "NAME", "only workflows of this name"},
    [FLAG_ATTRIBUTE] = {"--attribute", "NAME:VALUE",
                        "only those with this attribute, as traceparent:00-..."},
    [FLAG_PRINCIPAL] = {"--principal", "NAME", "only what this principal did or started"},
    [FLAG_ACT] = {"--act", "ACT", "only such acts; agent is agent.add, agent.set and so on"},
    [FLAG_SINCE] = {"--since", "TIME", "only what came within this time"},
    [FLAG_UNTIL] = {"--until", "TIME", "only what came longer ago than this"},
    [FLAG_LIMIT] = {"--limit", "N", "at most so many; of a list 1 to 1000 (50)"},
    [FLAG_CURSOR] = {"--cursor", "CURSOR", "go on where a list ended; it says with what"},
    [FLAG_INBOX] = {"--inbox", "NAME", "only of this agent's inbox"},
    [FLAG_ALLOW] = {"--allow", "LIST",
                    "who may write to it, separated by commas; * everybody, - nobody"},
    [FLAG_STEP] = {"--step", "N", "the first step that runs again (0)"},
    [FLAG_ID] = {"--id", "ID", "the id of the new workflow (a fresh one)"},
    [FLAG_VERSION] = {"--version-name", "NAME", "the application version that runs it"},
    [FLAG_QUEUE] = {"--queue", "NAME", "the queue it runs in (the internal one)"},
    [FLAG_DBOS_QUEUE] = {"--dbos-queue", "NAME", "its messages are workflows, in this DBOS queue"},
    [FLAG_DBOS_WORKFLOW] = {"--dbos-workflow", "NAME", "of this name; their result is the reply"},
    [FLAG_APPLICATION] = {"--application", "NAME", "of this DBOS application (whichever knows it)"},
    [FLAG_NO_BRIDGE] = {"--no-dbos", NULL, "it is no DBOS application any more"},
    [FLAG_HELP] = {"--help", NULL, "say how the verb is used"},
    [FLAG_WATCH] = {"--watch", NULL, "show it again and again, until interrupted"},
    [FLAG_INTERVAL] = {"--interval", "TIME", "the pause between two looks (2s)"},
    [FLAG_FROM] = {"--from", "NAME", "the sender; whose it is (system)"},
    [FLAG_KEY] = {"--key", "KEY",
                  "its idempotency key: sent again with the same, it is one message"},
    [FLAG_AS_JSON] = {"--as-json", NULL, "the text is JSON, and its value the content"},
    [FLAG_METADATA] = {"--metadata", "JSON", "an object that goes with it"},
    [FLAG_DELAY] = {"--delay", "TIME", "deliver it no sooner than so long from now"},
    [FLAG_TTL] = {"--ttl", "TIME", "let it live so long (MESSAGE_TTL_MS)"},
    [FLAG_PRIORITY] = {"--priority", "N", "0 first, to 9 (0)"},
    [FLAG_WAIT] = {"--wait", "TIME", "wait so long for what comes of it"},
    [FLAG_REASON] = {"--reason", "TEXT", "the reason; of a list: what it contains"},
    [FLAG_OLDER_THAN] = {"--older-than", "TIME",
                         "only what ended longer ago (prune: 1d or more, RETENTION_MS)"},
    [FLAG_ALL] = {"--all", NULL, "all there are"},
    [FLAG_TOKEN] = {"--token", "ID", "only the one of this id, as token list shows it"},
    [FLAG_PERSONA] = {"--persona", "TEXT", "what it is to be like"},
    [FLAG_MODEL] = {"--model", "PROVIDER/NAME", "the model behind it"},
    [FLAG_USER_ID] = {"--user-id", "ID", "whose it is"},
    [FLAG_SESSION_KEY] = {"--session-key", "KEY", "agent:NAME:SESSION, what heartbeats ask with"},
    [FLAG_INBOX_LIMIT] = {"--inbox-limit", "N", "so many messages may wait for it (INBOX_LIMIT)"},
    [FLAG_HEARTBEAT] =
        {"--heartbeat", "JSON",
         "when it is asked what; {\"enabled\":true,\"interval\":\"1h\",\"checklist\":[\"...\"]}"},
    [FLAG_CONFIGURATION] = {"--configuration", "JSON", "an object of its own"},
    [FLAG_IF_MATCH] = {"--if-match", "VERSION",
                       "only where this is its version, as agent show has it"},
    [FLAG_CHECKLIST] = {"--checklist", "JSON",
                        "what it goes through this time, [\"...\"] (its own)"},
    [FLAG_LEASE] = {"--lease", "TIME", "nobody else gets it for so long, 1s to 1h (LEASE_MS)"},
    [FLAG_RESULT] = {"--result", "JSON", "the answer to who sent it; - reads the standard input"},
    [FLAG_DEAD] = {"--dead", NULL, "not again: it becomes a dead letter"},
    [FLAG_CONVERSATION] = {"--conversation", "ID", "what it belongs to (a new conversation)"},
    [FLAG_HISTORY] =
        {"--history", "JSON",
         "what was said before, [{\"role\":\"user\",\"content\":\"...\"}] (what is kept of it)"},
    [FLAG_WORKSPACE] = {"--workspace-id", "ID", "the workspace it belongs to"},
    [FLAG_CHILDREN] = {"--children", NULL, "with all that descend from it"},
};

static enum error parse_flag(struct arguments *arguments, const char *argument, const char *next,
                             bool *ret_took_next, struct failure *failure)
{
    size_t len = strcspn(argument, "=");
    const char *value = argument[len] ? argument + len + 1 : NULL;

    for (unsigned i = 0; i < FLAG__MAX; i++) {
        const struct flag_row *row = &flag_rows[i];
        if (strlen(row->name) != len || strncmp(row->name, argument, len) != 0)
            continue;
        if (!row->value && value)
            return failure_set(failure, ERR_INVALID_REQUEST, "%s takes no value", row->name);
        if (row->value && !value) {
            if (!next)
                return failure_set(failure, ERR_INVALID_REQUEST, "%s needs a value: %s %s",
                                   row->name, row->name, row->value);
            value = next;
            *ret_took_next = true;
        }
        if (arguments->flags[i])
            return failure_set(failure, ERR_INVALID_REQUEST, "%s is given twice", row->name);
        arguments->flags[i] = row->value ? value : "";
        return OK;
    }
    return failure_set(failure, ERR_INVALID_REQUEST, "there is no flag %.*s; see gatewayctl --help",
                       (int)(len > 100 ? 100 : len), argument);
}

enum error arguments_parse(struct arguments *ret_arguments, int argc, char **argv,
                           struct failure *failure)
{
    struct arguments arguments = {.operand_count = 0};
    bool flags_end = false;

    for (int i = 0; i < argc; i++) {
        if (!flags_end && strcmp(argv[i], "--") == 0) {
            flags_end = true;
        } else if (!flags_end && strcmp(argv[i], "-h") == 0) {
            arguments.flags[FLAG_HELP] = "";
        } else if (!flags_end && argv[i][0] == '-' && argv[i][1] != '\0') {
            bool took_next = false;
            enum error error = parse_flag(&arguments, argv[i], i + 1 < argc ? argv[i + 1] : NULL,
                                          &took_next, failure);
            if (error != OK)
                return error;
            i += took_next;
        } else if (arguments.operand_count == OPERANDS_MAX) {
            return failure_set(failure, ERR_INVALID_REQUEST,
                               "too many arguments; see gatewayctl --help");
        } else {
            arguments.operands[arguments.operand_count++] = argv[i];
        }
    }
    *ret_arguments = arguments;
    return OK;
}

enum error duration_parse(const char *string, int64_t *ret_ms, struct failure *failure)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    struct text number = {string, strspn(string, "0123456789")};
    int64_t value;

    if (strcmp(string, "0") == 0) {
        *ret_ms = 0;
        return OK;
    }
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (strcmp(string + number.len, units[i].unit) == 0 &&
            text_int64(number, 0, DURATION_MAX_MS / units[i].ms, &value) == OK) {
            *ret_ms = value * units[i].ms;
            return OK;
        }
    return failure_set(failure, ERR_INVALID_REQUEST,
                       "\"%.40s\" is no time; write it as 500ms, 30s, 5m, 2h or 7d", string);
}
