/* SPDX-License-Identifier: MIT
 *
 * gatewayctl agent and principal: who may speak, and with which token. A token is printed once, to
 * stdout, and is nowhere else: the database has its SHA-256.
 */
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/token.h"
#include "ctl/ctl.h"
#include "durable/engine.h"
#include "gateway/principal.h"
#include "workflow/registry.h"

#define SCOPES_MAX       16
#define NAME_MAX_BYTES   200
#define DEFAULT_OPERATOR "operator"
#define DEFAULT_PROGRAM  "send,workflows:read"

/* As the check constraint on openclaw.principal: the gateway's own workflow ids begin so. */
static const char *const reserved[] = {"agent",   "provision", "heartbeat",
                                       "gateway", "system",    "sched"};

struct scopes {
    struct text names[SCOPES_MAX];
    size_t count;
};

/* What stands before the new token in the transaction that adds it. */
struct token_request {
    const char *principal;
    const char *act; /* for the audit */
    const struct scopes *scopes;
    const char *kind;     /* a new principal of this kind, with these scopes; NULL: it is there */
    bool set_scopes;      /* of a principal that is there */
    const char *name;     /* of an agent; NULL: leave it */
    int64_t overlap_ms;   /* the older tokens end after this; -1: they stay */
    int64_t expires_ms;   /* DB_INT_NULL: never */
    const char *workflow; /* for the answer, or NULL */
};

/* ---- checks -----------------------------------------------------------------------------------
 */

static enum error check_name(const char *name, struct failure *failure)
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

static enum error parse_scopes(const char *list, struct scopes *ret_scopes, struct failure *failure)
{
    struct scopes scopes = {.count = 0};

    for (const char *at = list; *at; at += strspn(at, ", ")) {
        struct text name = {at, strcspn(at, ", ")};
        if (scope_from_name(name) == 0 || scopes.count == SCOPES_MAX)
            return failure_set(
                failure, ERR_INVALID_REQUEST,
                "there is no scope \"%.*s\"; there are: send, inbox, workflows:read, "
                "workflows:write, agents:write, operator",
                (int)(name.len > 40 ? 40 : name.len), at);
        scopes.names[scopes.count++] = name;
        at += name.len;
    }
    if (scopes.count == 0)
        return failure_set(failure, ERR_INVALID_REQUEST, "no scope is given");
    *ret_scopes = scopes;
    return OK;
}

static enum error read_expiry(const struct ctl *ctl, int64_t *ret_ms, struct failure *failure)
{
    *ret_ms = DB_INT_NULL;
    return ctl_flag(ctl, FLAG_EXPIRES)
               ? duration_parse(ctl_flag(ctl, FLAG_EXPIRES), ret_ms, failure)
               : OK;
}

static enum error find_principal(struct ctl *ctl, const char *name, struct text *ret_kind,
                                 struct failure *failure)
{
    struct db_call call;
    struct db_rows *rows;

    db_call_init(&call, ctl->arena, STATEMENT_PRINCIPAL_GET);
    db_add_string(&call, name);
    enum error error = db_run(ctl->db, &call, failure, &rows);
    if (error == OK)
        *ret_kind = db_rows_count(rows) > 0 ? db_text(rows, 0, 0) : TEXT_NONE;
    return error;
}

static enum error must_be_new(struct ctl *ctl, const char *name, struct failure *failure)
{
    struct text kind = TEXT_NONE;
    enum error error = find_principal(ctl, name, &kind, failure);

    if (error == OK && kind.data)
        return failure_set(failure, ERR_ALREADY_EXISTS,
                           "%s (%s); for a new token: gatewayctl agent "
                           "rotate %s",
                           name, kind.data, name);
    return error;
}

static enum error must_exist(struct ctl *ctl, const char *name, struct failure *failure)
{
    struct text kind = TEXT_NONE;
    enum error error = find_principal(ctl, name, &kind, failure);

    if (error == OK && !kind.data)
        return failure_set(failure, ERR_NOT_FOUND,
                           "there is no agent and no other principal %.80s; gatewayctl agent list "
                           "shows the agents, gatewayctl agent add makes one",
                           name);
    return error;
}

/* ---- one transaction ---------------------------------------------------------------------------
 */

const char *ctl_who(struct arena *arena)
{
    struct passwd entry, *found = NULL;
    char buffer[4096];

    if (getpwuid_r(getuid(), &entry, buffer, sizeof(buffer), &found) == 0 && found)
        return arena_printf(arena, "os:%s", entry.pw_name);
    return arena_printf(arena, "os:%lu", (unsigned long)getuid());
}

static void call_audit(struct db_call *call, struct arena *arena, const char *act,
                       const char *subject)
{
    db_call_init(call, arena, STATEMENT_AUDIT_ADD);
    db_add_string(call, ctl_who(arena));
    db_add_string(call, act);
    db_add_string(call, subject);
    db_add_null(call);
}

static void call_scopes(struct db_call *call, struct arena *arena,
                        const struct token_request *request)
{
    db_call_init(call, arena, request->kind ? STATEMENT_PRINCIPAL_ADD : STATEMENT_PRINCIPAL_SCOPES);
    db_add_string(call, request->principal);
    if (request->kind)
        db_add_string(call, request->kind);
    db_add_texts(call, request->scopes->names, request->scopes->count);
}

static void print_token(const struct ctl *ctl, const struct token_request *request,
                        const char *token, struct text credential)
{
    struct document *answer = document_object(ctl->arena);

    if (!ctl->json) {
        fprintf(stderr, "the token of %s, shown only this once:\n", request->principal);
        puts(token);
        return;
    }
    document_put_string(answer, "principal", request->principal);
    document_put_string(answer, "token", token);
    document_put_text(answer, "credentialId", credential);
    document_put_string(answer, "workflowId", request->workflow);
    ctl_print_object(ctl, answer);
}

static enum error give_token(struct ctl *ctl, const struct token_request *request,
                             struct failure *failure)
{
    struct arena *arena = ctl->arena;
    struct db_tx *tx = db_tx_begin(ctl->db, arena);
    struct db_call scopes, name, revoke, add, audit;
    struct db_rows *made = NULL, *credential = NULL;
    char token[TOKEN_SIZE], hash[TOKEN_HASH_SIZE];

    token_new(token);
    token_hash(text_of(token), hash);
    if (request->kind || request->set_scopes) {
        call_scopes(&scopes, arena, request);
        db_tx_call(tx, &scopes, &made);
    }
    if (request->name) {
        db_call_init(&name, arena, STATEMENT_AGENT_RENAME);
        db_add_string(&name, request->principal);
        db_add_string(&name, request->name);
        db_tx_call(tx, &name, NULL);
    }
    if (request->overlap_ms >= 0) {
        db_call_init(&revoke, arena, STATEMENT_CREDENTIAL_REVOKE);
        db_add_string(&revoke, request->principal);
        db_add_int(&revoke, request->overlap_ms);
        db_tx_call(tx, &revoke, NULL);
    }
    db_call_init(&add, arena, STATEMENT_CREDENTIAL_ADD);
    db_add_string(&add, hash);
    db_add_string(&add, request->principal);
    if (request->expires_ms == DB_INT_NULL)
        db_add_null(&add);
    else
        db_add_int(&add, request->expires_ms);
    db_tx_call(tx, &add, &credential);
    call_audit(&audit, arena, request->act, request->principal);
    db_tx_call(tx, &audit, NULL);

    enum error error = db_tx_commit(tx, failure);
    if (error == OK)
        print_token(ctl, request, token, db_text(credential, 0, 0));
    memset(token, 0, sizeof(token));
    return error;
}

/* ---- verbs -------------------------------------------------------------------------------------
 */

static enum error provision(struct ctl *ctl, const char *name, const char *workflow_id,
                            struct failure *failure)
{
    struct engine engine;
    struct document *input = document_object(ctl->arena);
    struct workflow_outcome outcome = {.kind = WORKFLOW_COMMITTED};
    enum error error;

    engine_init(&engine, &ctl->options, workflow_definitions, EXECUTOR_CTL);
    document_put_string(input, "agentId", name);
    const struct workflow_start start = {.definition = workflow_provision_agent,
                                         .id = text_of(workflow_id),
                                         .principal = text_of(ctl_who(ctl->arena)),
                                         .input = input};
    do
        error = engine_start(&engine, ctl->db, ctl->arena, &start, failure, &outcome);
    while (error == ERR_IN_DOUBT);
    if (error != OK)
        return error;
    if (outcome.kind == WORKFLOW_REFUSED) {
        *failure = outcome.failure;
        return outcome.reason;
    }
    if (outcome.kind == WORKFLOW_COMMITTED && !outcome.error.data)
        return OK;
    if (outcome.kind == WORKFLOW_EXISTS && text_is(outcome.status, "SUCCESS"))
        return OK;
    return failure_set(failure, ERR_IN_PROGRESS,
                       "the workflow %s did not end well; see gatewayctl workflow get %s",
                       workflow_id, workflow_id);
}

/* An agent that is a DBOS application. */
static enum error add_bridge(struct ctl *ctl, const char *name, struct failure *failure)
{
    struct db_rows *rows;
    struct db_call call;

    if (!ctl_flag(ctl, FLAG_DBOS_QUEUE))
        return OK;
    db_call_init(&call, ctl->arena, STATEMENT_AGENT_BRIDGE);
    db_add_string(&call, name);
    db_add_string(&call, ctl_flag(ctl, FLAG_DBOS_QUEUE));
    db_add_string(&call, ctl_flag(ctl, FLAG_DBOS_WORKFLOW));
    db_add_string(&call, ctl_flag(ctl, FLAG_APPLICATION));
    return db_run(ctl->db, &call, failure, &rows);
}

enum error ctl_agent_add(struct ctl *ctl, struct failure *failure)
{
    const char *name = ctl_operand(ctl, 0);
    struct scopes scopes = {.count = 0};
    struct token_request request = {.principal = name,
                                    .act = "agent.add",
                                    .scopes = &scopes,
                                    .name = ctl_flag(ctl, FLAG_NAME),
                                    .overlap_ms = -1};
    enum error error;

    if ((error = check_name(name, failure)) != OK ||
        (error = read_expiry(ctl, &request.expires_ms, failure)) != OK)
        return error;
    if (request.name && strlen(request.name) > NAME_MAX_BYTES)
        return failure_set(failure, ERR_TOO_LARGE, "--name: at most %d bytes", NAME_MAX_BYTES);
    if (ctl_flag(ctl, FLAG_SCOPES)) {
        request.set_scopes = true;
        if ((error = parse_scopes(ctl_flag(ctl, FLAG_SCOPES), &scopes, failure)) != OK)
            return error;
    }
    if (!ctl_flag(ctl, FLAG_DBOS_QUEUE) != !ctl_flag(ctl, FLAG_DBOS_WORKFLOW) ||
        (ctl_flag(ctl, FLAG_APPLICATION) && !ctl_flag(ctl, FLAG_DBOS_QUEUE)))
        return failure_set(failure, ERR_INVALID_REQUEST,
                           "--dbos-queue and --dbos-workflow go together, --application with them");
    request.workflow = arena_printf(ctl->arena, "provision:%s", name);
    if ((error = must_be_new(ctl, name, failure)) != OK ||
        (error = provision(ctl, name, request.workflow, failure)) != OK ||
        (error = add_bridge(ctl, name, failure)) != OK)
        return error;
    return give_token(ctl, &request, failure);
}

enum error ctl_principal_add(struct ctl *ctl, struct failure *failure)
{
    const char *name = ctl_operand(ctl, 0);
    const char *kind = ctl_flag(ctl, FLAG_KIND);
    const char *list = ctl_flag(ctl, FLAG_SCOPES);
    struct scopes scopes;
    struct token_request request = {.principal = name,
                                    .act = "principal.add",
                                    .scopes = &scopes,
                                    .kind = kind,
                                    .overlap_ms = -1};
    enum error error;

    if (!kind || (strcmp(kind, "operator") != 0 && strcmp(kind, "program") != 0))
        return failure_set(failure, ERR_INVALID_REQUEST,
                           "--kind operator or --kind program is needed (an agent is made by "
                           "gatewayctl agent add)");
    if (!list)
        list = strcmp(kind, "operator") == 0 ? DEFAULT_OPERATOR : DEFAULT_PROGRAM;
    if ((error = check_name(name, failure)) != OK ||
        (error = read_expiry(ctl, &request.expires_ms, failure)) != OK ||
        (error = parse_scopes(list, &scopes, failure)) != OK ||
        (error = must_be_new(ctl, name, failure)) != OK)
        return error;
    return give_token(ctl, &request, failure);
}

enum error ctl_agent_rotate(struct ctl *ctl, struct failure *failure)
{
    const char *overlap = ctl_flag(ctl, FLAG_OVERLAP);
    struct token_request request = {.principal = ctl_operand(ctl, 0), .act = "credential.rotate"};
    enum error error;

    if ((overlap && (error = duration_parse(overlap, &request.overlap_ms, failure)) != OK) ||
        (error = read_expiry(ctl, &request.expires_ms, failure)) != OK ||
        (error = must_exist(ctl, request.principal, failure)) != OK)
        return error;
    return give_token(ctl, &request, failure);
}

enum error ctl_agent_revoke(struct ctl *ctl, struct failure *failure)
{
    const char *name = ctl_operand(ctl, 0);
    struct db_tx *tx = db_tx_begin(ctl->db, ctl->arena);
    struct db_call revoke, audit;
    struct db_rows *revoked = NULL;
    struct document *answer = document_object(ctl->arena);

    enum error error = must_exist(ctl, name, failure);
    if (error != OK)
        return error;
    db_call_init(&revoke, ctl->arena, STATEMENT_CREDENTIAL_REVOKE);
    db_add_string(&revoke, name);
    db_add_int(&revoke, 0);
    db_tx_call(tx, &revoke, &revoked);
    call_audit(&audit, ctl->arena, "credential.revoke", name);
    db_tx_call(tx, &audit, NULL);
    if ((error = db_tx_commit(tx, failure)) != OK)
        return error;
    document_put_string(answer, "principal", name);
    ctl_print_object(ctl, document_put_int(answer, "revoked", (int64_t)db_rows_count(revoked)));
    return OK;
}

static struct document *allow_document(const struct ctl *ctl, struct db_rows *rows, size_t row)
{
    struct document *list = document_array(ctl->arena);
    size_t count;

    if (db_is_null(rows, row, 8))
        return document_null(ctl->arena);
    struct text *names = db_texts(rows, row, 8, &count);
    for (size_t i = 0; i < count; i++)
        document_append(list, document_from_text(ctl->arena, names[i]));
    return list;
}

/* "*" is everybody, which is no list; "-" nobody, which is an empty one. */
static enum error parse_allow(const char *list, struct text *ret_names, size_t *ret_count,
                              bool *ret_everybody, struct failure *failure)
{
    size_t count = 0;

    *ret_everybody = strcmp(list, "*") == 0;
    *ret_count = 0;
    if (*ret_everybody || strcmp(list, "-") == 0)
        return OK;
    for (const char *at = list; *at; at += strspn(at, ", ")) {
        struct text name = {at, strcspn(at, ", ")};
        if (!text_is_agent_id(name) || count == AGENT_ALLOW_MAX)
            return failure_set(failure, ERR_INVALID_REQUEST,
                               "--allow is a list of at most %d names, or * for everybody, or - "
                               "for nobody; \"%.*s\" is no name",
                               AGENT_ALLOW_MAX, (int)(name.len > 64 ? 64 : name.len), at);
        ret_names[count++] = name;
        at += name.len;
    }
    if (count == 0)
        return failure_set(failure, ERR_INVALID_REQUEST, "--allow: no name is given");
    *ret_count = count;
    return OK;
}

enum error ctl_agent_set(struct ctl *ctl, struct failure *failure)
{
    const char *agent = ctl_operand(ctl, 0);
    const char *name = ctl_flag(ctl, FLAG_NAME), *allow = ctl_flag(ctl, FLAG_ALLOW);
    struct text allowed[AGENT_ALLOW_MAX];
    struct db_rows *changed = NULL;
    struct db_call set;
    bool everybody = true;
    size_t count = 0;
    enum error error;

    if (!name && !allow)
        return failure_set(failure, ERR_INVALID_REQUEST, "nothing to set; give --name or --allow");
    if (name && strlen(name) > NAME_MAX_BYTES)
        return failure_set(failure, ERR_TOO_LARGE, "--name: at most %d bytes", NAME_MAX_BYTES);
    if (allow && (error = parse_allow(allow, allowed, &count, &everybody, failure)) != OK)
        return error;
    db_call_init(&set, ctl->arena, STATEMENT_AGENT_SET);
    db_add_string(&set, ctl_who(ctl->arena));
    db_add_string(&set, agent);
    db_add_bool(&set, name != NULL);
    db_add_string(&set, name);
    db_add_bool(&set, allow != NULL);
    if (everybody)
        db_add_null(&set);
    else
        db_add_texts(&set, allowed, count);
    db_add_null(&set); /* status */
    if ((error = must_exist(ctl, agent, failure)) != OK ||
        (error = db_run(ctl->db, &set, failure, &changed)) != OK)
        return error;
    if (db_rows_count(changed) == 0)
        return failure_set(failure, ERR_NOT_FOUND, "%.80s is no agent", agent);
    ctl_print_object(ctl, document_put_string(document_object(ctl->arena), "changed", agent));
    return OK;
}

enum error ctl_agent_list(struct ctl *ctl, struct failure *failure)
{
    static const struct column columns[] = {{"id", "AGENT"},         {"name", "NAME"},
                                            {"status", "STATUS"},    {"connected", "CONNECTED"},
                                            {"tokens", "TOKENS"},    {"scopes", "SCOPES"},
                                            {"createdAt", "CREATED"}};
    struct document *agents = document_array(ctl->arena);
    struct db_call call;
    struct db_rows *rows;

    db_call_init(&call, ctl->arena, STATEMENT_AGENT_LIST);
    db_add_null(&call);
    enum error error = db_run(ctl->db, &call, failure, &rows);
    if (error != OK)
        return error;
    for (size_t i = 0; i < db_rows_count(rows); i++) {
        struct document *agent = document_object(ctl->arena);
        struct document *scopes = document_array(ctl->arena);
        size_t count;
        struct text *names = db_texts(rows, i, 5, &count);

        for (size_t s = 0; s < count; s++)
            document_append(scopes, document_from_text(ctl->arena, names[s]));
        document_put_text(agent, "id", db_text(rows, i, 0));
        document_put_text(agent, "name", db_text(rows, i, 1));
        document_put_text(agent, "status", db_text(rows, i, 2));
        document_put_text(agent, "model", db_text(rows, i, 3));
        document_put_bool(agent, "connected", db_bool(rows, i, 7));
        document_put_int(agent, "tokens", db_int(rows, i, 6));
        document_put(agent, "scopes", scopes);
        document_put(agent, "allowFrom", allow_document(ctl, rows, i));
        document_put(agent, "createdAt", ctl_time(ctl, rows, i, 4));
        document_append(agents, agent);
    }
    if ((error = db_rows_error(rows, failure)) == OK)
        ctl_print_rows(ctl, "agents", agents, columns, sizeof(columns) / sizeof(columns[0]));
    return error;
}
