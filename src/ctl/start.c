/* SPDX-License-Identifier: MIT
 *
 * gatewayctl workflow start, heartbeat, chat: workflows that are started here, and go on whatever
 * becomes of this program.
 */
#include "gateway/start.h"

#include <stdio.h>

#include "base/clock.h"
#include "ctl/ctl.h"
#include "workflow/registry.h"

#define LOOK_MS           200
#define HEARTBEAT_WAIT_MS 60000
#define CHAT_WAIT_MS      60000
#define TELL_MAX          1000 /* messages of a conversation that one answer has */

/* ---- starting one and waiting for it ------------------------------------------------------------
 */

struct run {
    struct workflow_start start;
    struct workflow_state state;
    int64_t wait_ms;
};

/* On record before it is there, because the start is the engine's own transaction: no start is
 * without its row, though a row may be of one that was refused. */
static enum error note(struct ctl *ctl, const struct workflow_start *start, struct failure *failure)
{
    struct db_call audit;
    struct db_rows *rows;

    ctl_call_audit(&audit, ctl->arena, "workflow.start",
                   arena_printf(ctl->arena, "%s %s", start->definition->name, start->id.data));
    return db_run(ctl->db, &audit, failure, &rows);
}

static enum error begin(struct ctl *ctl, const struct engine *engine, struct run *run,
                        struct failure *failure)
{
    struct workflow_outcome outcome = {.kind = WORKFLOW_COMMITTED};
    enum error error = note(ctl, &run->start, failure);

    if (error != OK)
        return error;
    do
        error = engine_start(engine, ctl->db, ctl->arena, &run->start, failure, &outcome);
    while (error == ERR_IN_DOUBT); /* the same id is the same workflow */
    if (error == OK)
        error = start_refusal(&outcome, failure);
    if (error == OK)
        start_state(ctl->arena, &outcome, &run->state);
    return error;
}

static enum error wait_for(struct ctl *ctl, struct run *run, struct failure *failure)
{
    int64_t until = clock_ms() + run->wait_ms;

    while (!run->state.finished && clock_ms() < until) {
        struct db_rows *rows;
        struct db_call call;
        enum error error;

        clock_sleep_ms(clock_jitter_ms(LOOK_MS));
        start_look_call(&call, ctl->arena, run->start.id);
        if ((error = db_run(ctl->db, &call, failure, &rows)) != OK ||
            (error = start_look_result(ctl->arena, rows, failure, &run->state)) != OK)
            return error;
    }
    return OK;
}

static void print_state(const struct ctl *ctl, const struct run *run)
{
    struct document *answer = document_object(ctl->arena);

    document_put_text(answer, "workflowUuid", run->start.id);
    document_put_text(answer, "status", run->state.status);
    document_put_bool(answer, "duplicate", run->state.replayed);
    if (document_kind(run->state.output) > DOCUMENT_NULL)
        document_put(answer, "result", document_copy(ctl->arena, run->state.output));
    ctl_print_object(ctl, answer);
}

/* `definition` NULL: the one that operand 0 names. */
static enum error prepare(struct ctl *ctl, const struct engine *engine,
                          const struct workflow_definition *definition, struct document *input,
                          int64_t wait_ms, struct run *ret_run, struct failure *failure)
{
    struct start_request request = {.name = text_of(ctl_operand(ctl, 0)),
                                    .key = text_of(ctl_flag(ctl, FLAG_KEY)),
                                    .input = input};
    enum error error;

    *ret_run = (struct run){.state.finished = false};
    if ((error = ctl_duration(ctl, FLAG_WAIT, wait_ms, &ret_run->wait_ms, failure)) != OK ||
        (error = ctl_from(ctl, &request.principal, failure)) != OK)
        return error;
    return definition ? start_prepare_definition(ctl->arena, definition, &request, failure,
                                                 &ret_run->start)
                      : start_prepare(ctl->arena, engine, &request, failure, &ret_run->start);
}

/* Starts it, waits, and says why it failed where it did. */
static enum error carry_out(struct ctl *ctl, const struct engine *engine, struct run *run,
                            struct failure *failure)
{
    enum error error = begin(ctl, engine, run, failure);

    if (error == OK)
        error = wait_for(ctl, run, failure);
    if (error != OK)
        return error;
    return run->state.finished ? start_state_error(&run->state, failure) : OK;
}

static enum error not_finished(const struct run *run, struct failure *failure)
{
    return failure_set(failure, ERR_TIMEOUT,
                       "it goes on; gatewayctl workflow get %s tells what became of it",
                       run->start.id.data);
}

static enum error run_workflow(struct ctl *ctl, const struct workflow_definition *definition,
                               struct document *input, int64_t wait_ms, struct failure *failure)
{
    struct engine engine;
    struct run run;
    enum error error;

    engine_init(&engine, &ctl->options, workflow_definitions, EXECUTOR_CTL);
    if ((error = prepare(ctl, &engine, definition, input, wait_ms, &run, failure)) != OK ||
        (error = carry_out(ctl, &engine, &run, failure)) != OK)
        return error;
    print_state(ctl, &run);
    return run.wait_ms > 0 && !run.state.finished ? not_finished(&run, failure) : OK;
}

enum error ctl_workflow_start(struct ctl *ctl, struct failure *failure)
{
    struct document *input = NULL;
    enum error error = OK;

    if (ctl->arguments.operand_count > 1)
        error = ctl_read_json(ctl, ctl_operand(ctl, 1), &input, failure);
    return error == OK ? run_workflow(ctl, NULL, input, 0, failure) : error;
}

/* ---- heartbeats --------------------------------------------------------------------------------
 */

enum error ctl_heartbeat_start(struct ctl *ctl, struct failure *failure)
{
    struct document *input = document_object(ctl->arena);

    document_put_string(input, "agentId", ctl_operand(ctl, 0));
    if (ctl_flag(ctl, FLAG_CHECKLIST)) {
        struct document *checklist;
        enum error error = ctl_read_json(ctl, ctl_flag(ctl, FLAG_CHECKLIST), &checklist, failure);
        if (error != OK)
            return error;
        document_put(input, "checklist", checklist);
    }
    return run_workflow(ctl, workflow_heartbeat, input, HEARTBEAT_WAIT_MS, failure);
}

enum error ctl_heartbeat_list(struct ctl *ctl, struct failure *failure)
{
    static const struct field fields[] = {
        {"workflowUuid", "WORKFLOW", FIELD_TEXT}, {"status", "STATUS", FIELD_TEXT},
        {"response", "RESPONSE", FIELD_JSON},     {"reason", "REASON", FIELD_TEXT},
        {"startedAt", "STARTED", FIELD_TIME},     {"finishedAt", "FINISHED", FIELD_TIME}};
    struct page page = {.number_column = 5, .id_column = 0, .by_id = true};
    struct db_call call;
    enum error error;

    if ((error = ctl_page(ctl, &page, failure)) != OK ||
        (error = ctl_agent_must_exist(ctl, ctl_operand(ctl, 0), failure)) != OK)
        return error;
    db_call_init(&call, ctl->arena, STATEMENT_HEARTBEAT_LIST);
    db_add_string(&call, ctl_operand(ctl, 0));
    ctl_add_page(&page, &call);
    return ctl_run_page(ctl, &call, &page, "heartbeats", fields, FIELD_COUNT(fields), failure);
}

/* ---- conversations -----------------------------------------------------------------------------
 */

/* What goes with the question: whose it is, and what was said before. */
static enum error put_surroundings(struct ctl *ctl, struct document *input, struct failure *failure)
{
    struct document *history;
    enum error error;

    if (ctl_flag(ctl, FLAG_USER_ID))
        document_put_string(input, "userId", ctl_flag(ctl, FLAG_USER_ID));
    if (ctl_flag(ctl, FLAG_WORKSPACE))
        document_put_string(input, "workspaceId", ctl_flag(ctl, FLAG_WORKSPACE));
    if (!ctl_flag(ctl, FLAG_HISTORY))
        return OK;
    if ((error = ctl_read_json(ctl, ctl_flag(ctl, FLAG_HISTORY), &history, failure)) == OK)
        document_put(input, "conversationHistory", history);
    return error;
}

enum error ctl_chat_send(struct ctl *ctl, struct failure *failure)
{
    struct document *input = document_object(ctl->arena);
    const char *conversation = ctl_flag(ctl, FLAG_CONVERSATION);
    struct engine engine;
    struct text message;
    struct run run;
    int64_t ttl_ms;
    enum error error;

    if ((error = ctl_duration(ctl, FLAG_TTL, 0, &ttl_ms, failure)) != OK ||
        (error = ctl_read_text(ctl, ctl_operand(ctl, 1), &message, failure)) != OK)
        return error;
    engine_init(&engine, &ctl->options, workflow_definitions, EXECUTOR_CTL);
    document_put_string(input, "agentId", ctl_operand(ctl, 0));
    document_put_text(input, "message", message);
    if (ttl_ms > 0)
        document_put_int(input, "ttlMs", ttl_ms);
    if ((error = put_surroundings(ctl, input, failure)) != OK)
        return error;
    error = prepare(ctl, &engine, workflow_chat, input, CHAT_WAIT_MS, &run, failure);
    if (error != OK)
        return error;
    if (!conversation)
        conversation = ctl_flag(ctl, FLAG_KEY) ? ctl_flag(ctl, FLAG_KEY) : run.start.id.data;
    document_put_string(input, "conversationId", conversation);
    if ((error = carry_out(ctl, &engine, &run, failure)) != OK)
        return error;
    if (!run.state.finished) {
        print_state(ctl, &run);
        return run.wait_ms > 0 ? not_finished(&run, failure) : OK;
    }
    if (ctl->json) {
        ctl_print_object(ctl, run.state.output);
    } else {
        struct text answer = document_get_string(run.state.output, "response");
        if (!ctl_flag(ctl, FLAG_CONVERSATION))
            fprintf(stderr, "the conversation goes on with --conversation %s\n", conversation);
        printf("%.*s\n", (int)answer.len, answer.data ? answer.data : "");
    }
    return OK;
}

enum error ctl_chat_list(struct ctl *ctl, struct failure *failure)
{
    static const struct field fields[] = {{"conversationId", "CONVERSATION", FIELD_TEXT},
                                          {"agentId", "AGENT", FIELD_TEXT},
                                          {"workspaceId", NULL, FIELD_TEXT},
                                          {"userId", NULL, FIELD_TEXT},
                                          {"createdAt", "CREATED", FIELD_TIME},
                                          {"updatedAt", "UPDATED", FIELD_TIME}};
    struct page page = {.number_column = 5, .id_column = 0, .by_id = true};
    const char *from;
    struct db_call call;
    enum error error;

    if ((error = ctl_page(ctl, &page, failure)) != OK ||
        (error = ctl_from(ctl, &from, failure)) != OK ||
        (ctl->arguments.operand_count > 0 &&
         (error = ctl_agent_must_exist(ctl, ctl_operand(ctl, 0), failure)) != OK))
        return error;
    db_call_init(&call, ctl->arena, STATEMENT_CONVERSATION_LIST);
    db_add_string(&call, from);
    db_add_string(&call, ctl->arguments.operand_count > 0 ? ctl_operand(ctl, 0) : NULL);
    ctl_add_page(&page, &call);
    return ctl_run_page(ctl, &call, &page, "conversations", fields, FIELD_COUNT(fields), failure);
}

static enum error no_such(const char *conversation, const char *from, struct failure *failure)
{
    return failure_set(failure, ERR_NOT_FOUND,
                       "%s has no conversation %.128s; gatewayctl chat list --from %s shows those "
                       "there are",
                       from, conversation, from);
}

static void call_conversation(struct ctl *ctl, struct db_call *call, enum statement statement,
                              const char *from)
{
    db_call_init(call, ctl->arena, statement);
    db_add_string(call, from);
    db_add_string(call, ctl_operand(ctl, 0));
}

enum error ctl_chat_show(struct ctl *ctl, struct failure *failure)
{
    static const struct field fields[] = {
        {"position", NULL, FIELD_INT},      {"messageId", NULL, FIELD_TEXT},
        {"role", "WHO", FIELD_TEXT},        {"content", "TEXT", FIELD_TEXT},
        {"workflowUuid", NULL, FIELD_TEXT}, {"createdAt", "AT", FIELD_TIME}};
    struct page page = {.number_column = 0, .limit = TELL_MAX};
    const char *from;
    struct db_call get, call;
    struct db_rows *found;
    enum error error;

    if ((error = ctl_page(ctl, &page, failure)) != OK ||
        (error = ctl_from(ctl, &from, failure)) != OK)
        return error;
    call_conversation(ctl, &get, STATEMENT_CONVERSATION_GET, from);
    if ((error = db_run(ctl->db, &get, failure, &found)) != OK)
        return error;
    if (db_rows_count(found) == 0)
        return no_such(ctl_operand(ctl, 0), from, failure);
    call_conversation(ctl, &call, STATEMENT_CONVERSATION_MESSAGES, from);
    ctl_add_page(&page, &call);
    return ctl_run_page(ctl, &call, &page, "messages", fields, FIELD_COUNT(fields), failure);
}

enum error ctl_chat_delete(struct ctl *ctl, struct failure *failure)
{
    struct db_tx *tx;
    struct db_call remove, audit;
    struct db_rows *removed = NULL;
    const char *from;
    enum error error = ctl_from(ctl, &from, failure);

    if (error != OK)
        return error;
    tx = db_tx_begin(ctl->db, ctl->arena);
    call_conversation(ctl, &remove, STATEMENT_CONVERSATION_DELETE, from);
    db_tx_call(tx, &remove, &removed);
    ctl_call_audit(&audit, ctl->arena, "chat.delete",
                   arena_printf(ctl->arena, "%s/%s", from, ctl_operand(ctl, 0)));
    db_tx_call(tx, &audit, NULL);
    if ((error = db_tx_commit(tx, failure)) != OK)
        return error;
    if (db_rows_count(removed) == 0)
        return no_such(ctl_operand(ctl, 0), from, failure);
    ctl_print_object(
        ctl, document_put_string(document_object(ctl->arena), "removed", ctl_operand(ctl, 0)));
    return OK;
}
