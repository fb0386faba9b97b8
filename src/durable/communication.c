/* SPDX-License-Identifier: MIT
 *
 * DBOS' own steps: messages between workflows, events, streams, children, patches. Their names and
 * forms are those of the official SDKs (dbos-interop.md, sections 2.6 to 2.11). What waits does so
 * parked: a row, no process; the sweeper wakes it when there is what it waits for.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "durable/run.h"

#define NO_TOPIC       "__null__topic__"
#define STREAM_CLOSED  "\"__DBOS_STREAM_CLOSED__\""
#define INTERNAL_QUEUE "_dbos_internal_queue"
#define AWAIT_TRIES    5
#define NO_MARKER      (-1)

/* The first three parameters of every step_* function. */
static struct db_call *step_call(struct workflow *workflow, enum statement statement)
{
    struct db_call *call = arena_alloc(workflow->arena, sizeof *call);

    db_call_init(call, workflow->arena, statement);
    db_add_string(call, workflow->id);
    db_add_int(call, workflow->next_step - 1);
    db_add_string(call, workflow->engine->options->app_name);
    return call;
}

void owe_notice(struct workflow *workflow, const char *channel, const char *key)
{
    struct owed_notice *notice = arena_alloc(workflow->arena, sizeof *notice);

    notice->channel = channel;
    notice->payload = text_of(arena_printf(workflow->arena, "%s::%s", workflow->id, key));
    notice->next = workflow->notices;
    workflow->notices = notice;
}

/* A key, name or id that a workflow computed from its input may be missing. Nothing is recorded. */
static enum error need(struct workflow *workflow, bool given, const char *step, const char *what)
{
    if (given || workflow->state != RUN_ON)
        return OK;
    return failure_set(&workflow->failure, ERR_INVALID_REQUEST, "%s needs %s", step, what);
}

enum error workflow_send(struct workflow *workflow, struct text destination, const char *topic,
                         struct document *message)
{
    struct db_call *call;
    bool replayed;
    enum error error = need(workflow, destination.data != NULL, "DBOS.send", "a destination");

    if (!error)
        error = next_step(workflow, "DBOS.send", &replayed, NULL);
    if (error || replayed)
        return error;
    call = step_call(workflow, STATEMENT_STEP_SEND);
    db_add_text(call, destination);
    db_add_string(call, topic);
    db_add_text(call, message ? document_text(workflow->arena, message) : TEXT_LITERAL("null"));
    return owe_recorded(workflow, "DBOS.send", call);
}

enum error workflow_set_event(struct workflow *workflow, const char *key, struct document *value)
{
    struct owed_step *step;
    bool replayed;
    enum error error = need(workflow, key != NULL, "DBOS.setEvent", "a key");

    if (!error)
        error = next_step(workflow, "DBOS.setEvent", &replayed, NULL);
    if (error || replayed)
        return error;
    step = owe_step(workflow, workflow->next_step - 1, "DBOS.setEvent");
    step->output = TEXT_NONE;
    workflow_event(workflow, arena_string(workflow->arena, key),
                   value ? value : document_null(workflow->arena));
    if (workflow->start)
        owe_notice(workflow, NOTICE_EVENT, key);
    return OK;
}

static enum error stream_step(struct workflow *workflow, const char *name, const char *key,
                              struct text value)
{
    struct db_call *call;
    bool replayed;
    enum error error = need(workflow, key != NULL, name, "a key");

    if (!error)
        error = next_step(workflow, name, &replayed, NULL);
    if (error || replayed)
        return error;
    call = step_call(workflow, STATEMENT_STEP_STREAM);
    db_add_string(call, name);
    db_add_string(call, key);
    db_add_text(call, value);
    error = owe_recorded(workflow, name, call);
    if (!error)
        owe_notice(workflow, NOTICE_STREAM, key);
    return error;
}

enum error workflow_stream_write(struct workflow *workflow, const char *key, struct document *value)
{
    return stream_step(workflow, "DBOS.writeStream", key,
                       value ? document_text(workflow->arena, value) : TEXT_LITERAL("null"));
}

enum error workflow_stream_close(struct workflow *workflow, const char *key)
{
    return stream_step(workflow, "DBOS.closeStream", key, TEXT_LITERAL(STREAM_CLOSED));
}

enum error workflow_step_stream(struct workflow *workflow, const char *key, struct document *value)
{
    enum error error = need(workflow, key != NULL, "DBOS.writeStream", "a key");
    struct db_call *append, fence;
    struct db_tx *tx;

    if (error)
        return error;
    tx = db_tx_begin(workflow->db, workflow->arena);
    append = step_call(workflow, STATEMENT_STEP_STREAM);
    db_add_string(append, NULL);
    db_add_string(append, key);
    db_add_text(append, value ? document_text(workflow->arena, value) : TEXT_LITERAL("null"));
    db_call_init(&fence, workflow->arena, STATEMENT_WORKFLOW_FENCE);
    db_add_string(&fence, workflow->id);
    db_add_string(&fence, workflow->token);
    db_tx_call(tx, &fence, NULL);
    db_tx_call(tx, append, NULL);
    error = db_tx_commit(tx, &workflow->failure);
    if (!error) {
        owe_notice(workflow, NOTICE_STREAM, key);
        give_notices(workflow); /* now: the step may go on for long */
    }
    return error;
}

enum error workflow_start_child(struct workflow *workflow, const struct workflow_child *child,
                                const char **ret_id)
{
    const struct options *options = workflow->engine->options;
    struct document *inputs;
    struct db_call *call;
    bool replayed;
    enum error error = need(workflow, child->name != NULL, "a child", "a name");
    int id = workflow->next_step;

    if (!error)
        error = next_step(workflow, child->name, &replayed, NULL);
    else
        replayed = false;
    *ret_id = child->id.data ? arena_text(workflow->arena, child->id).data
                             : arena_printf(workflow->arena, "%s-%d", workflow->id, id);
    if (replayed) {
        /* a fork has the child of the one it was forked from, or a replacement */
        const struct checkpoint *checkpoint = find_checkpoint(workflow, id);

        if (checkpoint->child.data)
            *ret_id = arena_text(workflow->arena, checkpoint->child).data;
        return error;
    }
    if (error)
        return error;
    inputs = document_object(workflow->arena);
    document_put(inputs, "positionalArgs",
                 child->arguments ? document_copy(workflow->arena, child->arguments)
                                  : document_array(workflow->arena));
    document_put(inputs, "namedArgs", document_object(workflow->arena));

    call = step_call(workflow, STATEMENT_STEP_CHILD);
    db_add_string(call, options->app_version);
    db_add_bool(call, options->legacy_payloads != 0);
    db_add_string(call, *ret_id);
    db_add_string(call, child->name);
    db_add_string(call, child->application ? child->application : options->app_name);
    db_add_string(call, child->queue ? child->queue : INTERNAL_QUEUE);
    db_add_text(call, document_text(workflow->arena, inputs));
    return owe_recorded(workflow, child->name, call);
}

/* ---- what waits ---------------------------------------------------------------------------------
 */

struct wanted {
    const char *kind; /* the step's name */
    struct text target;
    const char *key;
    int marker; /* step id of the time limit, or NO_MARKER */
    int64_t timeout_ms;
};

static enum error await_call(struct workflow *workflow, int step, const struct wanted *wanted,
                             struct db_rows **ret_rows)
{
    struct db_call call;
    enum error error = OK;

    db_call_init(&call, workflow->arena, STATEMENT_WORKFLOW_AWAIT);
    db_add_string(&call, workflow->id);
    db_add_string(&call, workflow->token);
    db_add_string(&call, workflow->engine->options->app_name);
    db_add_string(&call, wanted->kind);
    db_add_int(&call, step);
    if (wanted->marker == NO_MARKER)
        db_add_null(&call);
    else
        db_add_int(&call, wanted->marker);
    db_add_text(&call, wanted->target);
    db_add_string(&call, wanted->key);
    db_add_int(&call, wanted->timeout_ms);
    for (int try = 0; try < AWAIT_TRIES; try++) {
        if (try > 0)
            clock_sleep_ms(clock_jitter_ms(20 << try));
        error = db_run(workflow->db, &call, &workflow->failure, ret_rows);
        if (!error || error_retry(error) == RETRY_NEVER)
            break;
    }
    return error;
}

static enum error await(struct workflow *workflow, const struct wanted *wanted,
                        struct document **ret_value)
{
    int step = workflow->next_step;
    struct db_rows *rows = NULL;
    struct text serialization;
    bool replayed;
    enum error error = need(workflow, wanted->target.data != NULL, wanted->kind, "a workflow's id");

    if (!error && wanted->marker != NO_MARKER)
        error = need(workflow, wanted->key != NULL, wanted->kind, "a key");
    if (error)
        return error;
    error = next_step(workflow, wanted->kind, &replayed, ret_value);
    if (wanted->marker != NO_MARKER && workflow->next_step > step)
        workflow->next_step++;
    if (error || replayed)
        return error;
    error = barrier(workflow);
    if (error)
        return error;
    error = await_call(workflow, step, wanted, &rows);
    if (error == ERR_FENCED) {
        workflow->outcome.kind = WORKFLOW_FENCED;
        return stop(workflow, RUN_STOPPED, ERR_FENCED);
    }
    if (error)
        return stop_broken(workflow, error);
    if (text_is(db_text(rows, 0, 0), "parked"))
        return stop(workflow, RUN_STOPPED, ERR_IN_PROGRESS);
    serialization = db_text(rows, 0, 3);
    if (!db_is_null(rows, 0, 2))
        return fail_as(workflow, db_text(rows, 0, 2), serialization);
    return decode_value(workflow, db_text(rows, 0, 1), serialization, ret_value);
}

enum error workflow_recv(struct workflow *workflow, const char *topic, int64_t timeout_ms,
                         struct document **ret_message)
{
    return await(workflow,
                 &(struct wanted){.kind = "DBOS.recv",
                                  .target = text_of(workflow->id),
                                  .key = topic ? topic : NO_TOPIC,
                                  .marker = workflow->next_step + 1,
                                  .timeout_ms = timeout_ms},
                 ret_message);
}

enum error workflow_get_event(struct workflow *workflow, struct text id, const char *key,
                              int64_t timeout_ms, struct document **ret_value)
{
    return await(workflow,
                 &(struct wanted){.kind = "DBOS.getEvent",
                                  .target = id,
                                  .key = key,
                                  .marker = workflow->next_step + 1,
                                  .timeout_ms = timeout_ms},
                 ret_value);
}

enum error workflow_result(struct workflow *workflow, const char *id, struct document **ret_output)
{
    return await(
        workflow,
        &(struct wanted){.kind = "DBOS.getResult", .target = text_of(id), .marker = NO_MARKER},
        ret_output);
}

/* ---- without an effect --------------------------------------------------------------------------
 */

bool workflow_patch(struct workflow *workflow, const char *name)
{
    const char *step = arena_printf(workflow->arena, "DBOS.patch-%s", name ? name : "");
    const struct checkpoint *checkpoint = find_checkpoint(workflow, workflow->next_step);
    bool replayed;

    if (workflow->state != RUN_ON || (checkpoint && !text_is(checkpoint->name, step)))
        return false;
    /* the name fits, so this cannot fail */
    if (next_step(workflow, step, &replayed, NULL) == OK && !replayed)
        owe_step(workflow, workflow->next_step - 1, step)->output = TEXT_NONE;
    return true;
}

enum error workflow_fail(struct workflow *workflow, const char *name, struct text message,
                         struct document *code, struct document *data)
{
    struct document *error = document_object(workflow->arena);

    if (workflow->state != RUN_ON)
        return workflow->failure.error ? workflow->failure.error : ERR_FENCED;
    document_put_string(error, "name", name);
    document_put_text(error, "message", message);
    if (code)
        document_put(error, "code", document_copy(workflow->arena, code));
    if (data)
        document_put(error, "data", document_copy(workflow->arena, data));
    workflow->error = document_text(workflow->arena, error);
    return stop(workflow, RUN_FAILED, ERR_INTERNAL);
}
