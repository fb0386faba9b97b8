/* SPDX-License-Identifier: MIT
 *
 * gatewayctl agent: who receives, under which name, and from whom.
 */
#include <string.h>
#include <strings.h>

#include "ctl/ctl.h"
#include "durable/engine.h"
#include "workflow/agent_rules.h"
#include "workflow/registry.h"

#define NAME_MAX_BYTES   200
#define PAUSE_REASON_MAX 1000 /* bytes, as pauseResume takes them */

/* As the check constraint on openclaw.principal: the gateway's own workflow ids begin so. */
static const char *const reserved[] = {"agent",  "provision", "heartbeat", "gateway",
                                       "system", "sched",     "dbos"};

enum error ctl_principal_name(const char *name, struct failure *failure)
{
    if (!text_is_agent_id(text_of(name)))
        return failure_set(
            failure, ERR_INVALID_ID,
            "\"%.80s\": a name is a letter or digit, then letters, digits and . _ -, "
            "at most %d in all",
            name, AGENT_ID_MAX);
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
        if (strcasecmp(name, reserved[i]) == 0)
            return failure_set(failure, ERR_INVALID_ID,
                               "the name %s is the gateway's own; choose another", name);
    return OK;
}

/* ---- what flags say of an agent ----------------------------------------------------------------
 */

struct wanted {
    const char *name, *allow; /* NULL: leave it */
    const char *queue;        /* of the bridge; NULL: leave it, unless unbridge */
    bool unbridge;
    struct text allowed[AGENT_ALLOW_MAX];
    size_t allowed_count;
    bool everybody;
    struct document *settings; /* further ones, as a PATCH has them */
    int64_t version;           /* which it must have; 0: any */
};

/* Flags that are settings. An empty text clears one, as null clears one that is JSON. */
static const struct {
    enum flag flag;
    const char *member;
    bool is_json;
} setting_flags[] = {
    {FLAG_PERSONA, "persona", false},
    {FLAG_MODEL, "model", false},
    {FLAG_USER_ID, "userId", false},
    {FLAG_SESSION_KEY, "sessionKey", false},
    {FLAG_INBOX_LIMIT, "inboxLimit", true},
    {FLAG_HEARTBEAT, "heartbeat", true},
    {FLAG_CONFIGURATION, "configuration", true},
};

static enum error read_settings(struct ctl *ctl, struct wanted *wanted, struct failure *failure)
{
    wanted->settings = document_object(ctl->arena);
    for (size_t i = 0; i < sizeof(setting_flags) / sizeof(setting_flags[0]); i++) {
        const char *given = ctl_flag(ctl, setting_flags[i].flag);
        struct document *value;
        struct text text;
        enum error error;

        if (!given)
            continue;
        if (setting_flags[i].is_json) {
            if ((error = ctl_read_json(ctl, given, &value, failure)) != OK)
                return error;
        } else {
            if ((error = ctl_read_text(ctl, given, &text, failure)) != OK)
                return error;
            value = text.len > 0 ? document_from_text(ctl->arena, text) : document_null(ctl->arena);
        }
        document_put(wanted->settings, setting_flags[i].member, value);
    }
    return agent_settings_check(wanted->settings, text_of(ctl_operand(ctl, 0)), NULL, failure);
}

/* "*" is everybody, which is no list; "-" nobody, which is an empty one. */
static enum error parse_allow(const char *list, struct wanted *wanted, struct failure *failure)
{
    wanted->everybody = strcmp(list, "*") == 0;
    if (wanted->everybody || strcmp(list, "-") == 0)
        return OK;
    for (const char *at = list; *at; at += strspn(at, ", ")) {
        struct text name = {at, strcspn(at, ", ")};
        if (!text_is_agent_id(name) || wanted->allowed_count == AGENT_ALLOW_MAX)
            return failure_set(failure, ERR_INVALID_REQUEST,
                               "--allow is a list of at most %d names, or * for everybody, or - "
                               "for nobody; \"%.*s\" is no name",
                               AGENT_ALLOW_MAX, (int)(name.len > 64 ? 64 : name.len), at);
        wanted->allowed[wanted->allowed_count++] = name;
        at += name.len;
    }
    if (wanted->allowed_count == 0)
        return failure_set(failure, ERR_INVALID_REQUEST, "--allow: no name is given");
    return OK;
}

/* 0: any will do. */
static enum error read_version(const struct ctl *ctl, int64_t *ret_version, struct failure *failure)
{
    *ret_version = 0;
    if (!ctl_flag(ctl, FLAG_IF_MATCH) ||
        text_int64(text_of(ctl_flag(ctl, FLAG_IF_MATCH)), 1, INT64_MAX, ret_version) == OK)
        return OK;
    return failure_set(failure, ERR_INVALID_REQUEST,
                       "--if-match is a version: a number, as gatewayctl agent show has it");
}

static enum error read_wanted(struct ctl *ctl, struct wanted *wanted, struct failure *failure)
{
    wanted->name = ctl_flag(ctl, FLAG_NAME);
    wanted->allow = ctl_flag(ctl, FLAG_ALLOW);
    wanted->queue = ctl_flag(ctl, FLAG_DBOS_QUEUE);
    wanted->unbridge = ctl_flag(ctl, FLAG_NO_BRIDGE) != NULL;
    if (!wanted->queue != !ctl_flag(ctl, FLAG_DBOS_WORKFLOW) ||
        (ctl_flag(ctl, FLAG_APPLICATION) && !wanted->queue))
        return failure_set(failure, ERR_INVALID_REQUEST,
                           "--dbos-queue and --dbos-workflow go together, --application with them");
    if (wanted->queue && wanted->unbridge)
        return failure_set(failure, ERR_INVALID_REQUEST,
                           "--dbos-queue and --no-dbos exclude each other");
    if (wanted->name && strlen(wanted->name) > NAME_MAX_BYTES)
        return failure_set(failure, ERR_TOO_LARGE, "--name: at most %d bytes", NAME_MAX_BYTES);
    enum error error = read_version(ctl, &wanted->version, failure);
    if (error == OK && wanted->version > 0 && (wanted->queue || wanted->unbridge))
        error = failure_set(failure, ERR_INVALID_REQUEST,
                            "--if-match does not go with --dbos-queue and --no-dbos");
    if (error == OK && wanted->allow)
        error = parse_allow(wanted->allow, wanted, failure);
    return error == OK ? read_settings(ctl, wanted, failure) : error;
}

/* One change of all that is set: so it has one version more, and one row in the audit. */
static struct text change_of(const struct ctl *ctl, const struct wanted *wanted)
{
    struct document *change = wanted->settings;
    struct document *names = document_array(ctl->arena);

    if (wanted->name)
        document_put_string(change, "name", wanted->name);
    for (size_t i = 0; i < wanted->allowed_count; i++)
        document_append(names, document_from_text(ctl->arena, wanted->allowed[i]));
    if (wanted->allow)
        document_put(change, "allowFrom", wanted->everybody ? document_null(ctl->arena) : names);
    return document_text(ctl->arena, change);
}

static void call_change(const struct ctl *ctl, struct db_call *call, const struct wanted *wanted)
{
    db_call_init(call, ctl->arena, STATEMENT_AGENT_CHANGE);
    db_add_string(call, ctl_who(ctl->arena));
    db_add_string(call, ctl_operand(ctl, 0));
    db_add_text(call, change_of(ctl, wanted));
    if (wanted->version > 0)
        db_add_ints(call, &wanted->version, 1);
    else
        db_add_null(call); /* whatever version it has */
}

/* An agent that is a DBOS application, or is one no more. */
static void call_bridge(const struct ctl *ctl, struct db_call *call, const char *agent)
{
    db_call_init(call, ctl->arena, STATEMENT_AGENT_BRIDGE);
    db_add_string(call, agent);
    db_add_string(call, ctl_flag(ctl, FLAG_DBOS_QUEUE));
    db_add_string(call, ctl_flag(ctl, FLAG_DBOS_WORKFLOW));
    db_add_string(call, ctl_flag(ctl, FLAG_APPLICATION));
}

/* ---- verbs -------------------------------------------------------------------------------------
 */

enum error ctl_agent_add(struct ctl *ctl, struct failure *failure)
{
    const char *name = ctl_operand(ctl, 0);
    struct wanted *wanted = arena_alloc(ctl->arena, sizeof(*wanted));
    struct scopes scopes;
    struct db_call add, settings, bridge, limit, *calls[4];
    struct token_request request = {.principal = name, .act = "agent.add", .calls = calls};
    enum error error;

    if ((error = ctl_principal_name(name, failure)) != OK ||
        (error = read_wanted(ctl, wanted, failure)) != OK ||
        (ctl_flag(ctl, FLAG_SCOPES) &&
         (error = ctl_scopes_parse(ctl_flag(ctl, FLAG_SCOPES), &scopes, failure)) != OK) ||
        (error = ctl_principal_must_be_new(ctl, name, failure)) != OK)
        return error;
    db_call_init(&add, ctl->arena, STATEMENT_AGENT_ADD);
    db_add_string(&add, name);
    db_add_string(&add, ctl->options.app_name);
    db_add_string(&add, ctl->options.app_version);
    db_add_string(&add, ctl_who(ctl->arena));
    calls[request.call_count++] = &add;
    if (wanted->name || wanted->allow || document_count(wanted->settings) > 0) {
        call_change(ctl, &settings, wanted);
        calls[request.call_count++] = &settings;
    }
    if (wanted->queue) {
        call_bridge(ctl, &bridge, name);
        calls[request.call_count++] = &bridge;
    }
    if (ctl_flag(ctl, FLAG_SCOPES)) {
        db_call_init(&limit, ctl->arena, STATEMENT_PRINCIPAL_SCOPES);
        db_add_string(&limit, name);
        db_add_texts(&limit, scopes.names, scopes.count);
        calls[request.call_count++] = &limit;
    }
    error = ctl_give_token(ctl, &request, failure);
    if (error == ERR_CARDINALITY) /* somebody else was faster */
        return failure_set(failure, ERR_ALREADY_EXISTS, "%s was made a moment ago", name);
    return error;
}

static enum error change(struct ctl *ctl, const struct wanted *wanted, struct failure *failure)
{
    const char *agent = ctl_operand(ctl, 0);
    struct db_tx *tx = db_tx_begin(ctl->db, ctl->arena);
    struct db_rows *changed = NULL, *bridged = NULL;
    struct document *answer = document_object(ctl->arena);
    struct db_call set, bridge;
    struct engine engine;
    size_t count;
    enum error error;

    if ((error = ctl_principal_must_exist(ctl, agent, failure)) != OK)
        return error;
    call_change(ctl, &set, wanted);
    db_tx_call(tx, &set, &changed);
    if (wanted->queue || wanted->unbridge) {
        call_bridge(ctl, &bridge, agent);
        db_tx_call(tx, &bridge, &bridged);
    }
    error = db_tx_commit(tx, failure);
    if (error == ERR_CARDINALITY || (error == OK && db_rows_count(changed) == 0))
        return failure_set(failure, ERR_NOT_FOUND, "%.80s is no agent", agent);
    if (error != OK)
        return error;
    struct text *bells = db_texts(changed, 0, 3, &count);
    engine_init(&engine, &ctl->options, workflow_definitions, EXECUTOR_CTL);
    engine_ring(&engine, bells, count);
    document_put_string(answer, "changed", agent);
    if (!wanted->queue && !wanted->unbridge)
        document_put_int(answer, "version", db_int(changed, 0, 1));
    ctl_print_object(ctl, answer);
    return OK;
}

enum error ctl_agent_set(struct ctl *ctl, struct failure *failure)
{
    struct wanted *wanted = arena_alloc(ctl->arena, sizeof(*wanted));
    enum error error = read_wanted(ctl, wanted, failure);

    if (error != OK)
        return error;
    if (!wanted->name && !wanted->allow && !wanted->queue && !wanted->unbridge &&
        document_count(wanted->settings) == 0)
        return failure_set(
            failure, ERR_INVALID_REQUEST,
            "nothing to set; give --name, --allow, --persona or another setting, --dbos-queue with "
            "--dbos-workflow, or --no-dbos");
    return change(ctl, wanted, failure);
}

static struct wanted *status_change(const struct ctl *ctl, const char *status)
{
    struct wanted *wanted = arena_alloc(ctl->arena, sizeof(*wanted));

    wanted->settings = document_object(ctl->arena);
    document_put_string(wanted->settings, "status", status);
    return wanted;
}

enum error ctl_agent_pause(struct ctl *ctl, struct failure *failure)
{
    struct wanted *wanted = status_change(ctl, "paused");
    const char *reason = ctl_flag(ctl, FLAG_REASON);

    if (reason && strlen(reason) > PAUSE_REASON_MAX)
        return failure_set(failure, ERR_TOO_LARGE, "--reason has at most %d bytes",
                           PAUSE_REASON_MAX);
    if (reason)
        document_put_string(wanted->settings, "reason", reason);
    return change(ctl, wanted, failure);
}

enum error ctl_agent_resume(struct ctl *ctl, struct failure *failure)
{
    return change(ctl, status_change(ctl, "active"), failure);
}

enum error ctl_agent_remove(struct ctl *ctl, struct failure *failure)
{
    const char *agent = ctl_operand(ctl, 0);
    struct engine engine;
    struct db_call call;
    struct db_rows *rows;
    int64_t version;
    size_t count;
    enum error error = read_version(ctl, &version, failure);

    if (error != OK)
        return error;
    db_call_init(&call, ctl->arena, STATEMENT_AGENT_DELETE);
    db_add_string(&call, ctl_who(ctl->arena));
    db_add_string(&call, ctl->options.app_name);
    db_add_bool(&call, ctl->options.legacy_payloads);
    db_add_string(&call, agent);
    if (version > 0)
        db_add_ints(&call, &version, 1);
    else
        db_add_null(&call);
    error = db_run(ctl->db, &call, failure, &rows);
    if (error != OK)
        return error;
    if (db_rows_count(rows) == 0)
        return failure_set(failure, ERR_NOT_FOUND,
                           "there is no agent %.80s; gatewayctl agent list shows them", agent);
    struct text *bells = db_texts(rows, 0, 1, &count);
    engine_init(&engine, &ctl->options, workflow_definitions, EXECUTOR_CTL);
    engine_ring(&engine, bells, count);
    ctl_print_object(ctl, document_put_string(document_object(ctl->arena), "removed", agent));
    return OK;
}

enum error ctl_agent_list(struct ctl *ctl, struct failure *failure)
{
    static const struct field fields[] = {
        {"id", "AGENT", FIELD_TEXT},          {"name", "NAME", FIELD_TEXT},
        {"status", "STATUS", FIELD_TEXT},     {"model", NULL, FIELD_TEXT},
        {"createdAt", "CREATED", FIELD_TIME}, {"scopes", "SCOPES", FIELD_TEXTS},
        {"tokens", "TOKENS", FIELD_INT},      {"connected", "CONNECTED", FIELD_BOOL},
        {"allowFrom", NULL, FIELD_TEXTS}};
    struct db_call call;

    db_call_init(&call, ctl->arena, STATEMENT_AGENT_LIST);
    db_add_null(&call);
    return ctl_run_rows(ctl, &call, "agents", fields, FIELD_COUNT(fields), failure);
}

enum error ctl_agent_show(struct ctl *ctl, struct failure *failure)
{
    static const struct field fields[] = {
        {"id", NULL, FIELD_TEXT},           {"name", NULL, FIELD_TEXT},
        {"status", NULL, FIELD_TEXT},       {"persona", NULL, FIELD_TEXT},
        {"model", NULL, FIELD_TEXT},        {"scopes", NULL, FIELD_TEXTS},
        {"allowFrom", NULL, FIELD_TEXTS},   {"dbosQueue", NULL, FIELD_TEXT},
        {"dbosWorkflow", NULL, FIELD_TEXT}, {"dbosApplication", NULL, FIELD_TEXT},
        {"subscribers", NULL, FIELD_INT},   {"tokens", NULL, FIELD_INT},
        {"ready", NULL, FIELD_INT},         {"inFlight", NULL, FIELD_INT},
        {"dead", NULL, FIELD_INT},          {"inboxLimit", NULL, FIELD_INT},
        {"createdAt", NULL, FIELD_TIME},    {"updatedAt", NULL, FIELD_TIME},
        {"userId", NULL, FIELD_TEXT},       {"sessionKey", NULL, FIELD_TEXT},
        {"heartbeat", NULL, FIELD_JSON},    {"configuration", NULL, FIELD_JSON},
        {"paused", NULL, FIELD_JSON},       {"version", NULL, FIELD_INT}};
    struct document *agent;
    struct db_call call;
    struct db_rows *rows;
    enum error error;

    db_call_init(&call, ctl->arena, STATEMENT_AGENT_SHOW);
    db_add_string(&call, ctl_operand(ctl, 0));
    if ((error = db_run(ctl->db, &call, failure, &rows)) != OK)
        return error;
    if (db_rows_count(rows) == 0)
        return failure_set(failure, ERR_NOT_FOUND,
                           "there is no agent %.80s; gatewayctl agent list shows them",
                           ctl_operand(ctl, 0));
    agent = ctl_row_document(ctl, rows, 0, fields, FIELD_COUNT(fields));
    if ((error = db_rows_error(rows, failure)) == OK)
        ctl_print_object(ctl, agent);
    return error;
}
