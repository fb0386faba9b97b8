/* SPDX-License-Identifier: MIT
 *
 * Steps: replay, run, owe. See workflow.h for the rules and run.h for the state.
 *
 * What must hold whatever line the process dies at:
 *   - a step's id is its place in the order of calls, so a replay finds its checkpoint;
 *   - nothing owed is seen outside: an external step, and whoever asks for the output of a
 *     transactional step, first commits what is owed (the barrier);
 *   - a transactional effect and its checkpoint are in one transaction, behind the fence.
 */
#include "durable/workflow.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "durable/run.h"

const char *workflow_id(const struct workflow *workflow)
{
    return workflow->id;
}

const char *workflow_principal(const struct workflow *workflow)
{
    return workflow->principal;
}

struct text workflow_traceparent(const struct workflow *workflow)
{
    return text_is_traceparent(workflow->traceparent) ? workflow->traceparent : TEXT_NONE;
}

const struct options *workflow_options(const struct workflow *workflow)
{
    return workflow->engine->options;
}

struct arena *workflow_arena(const struct workflow *workflow)
{
    return workflow->arena;
}

struct document *workflow_input(const struct workflow *workflow)
{
    return workflow->input;
}

struct document *workflow_arguments(const struct workflow *workflow)
{
    return workflow->arguments;
}

struct document *workflow_named_arguments(const struct workflow *workflow)
{
    return workflow->named;
}

bool workflow_interrupted(const struct workflow *workflow)
{
    return workflow->state != RUN_ON;
}

struct failure *workflow_failure(struct workflow *workflow)
{
    return &workflow->failure;
}

int workflow_next_step(const struct workflow *workflow)
{
    return workflow->next_step;
}

const char *workflow_step_key(const struct workflow *workflow)
{
    return arena_printf(workflow->arena, "%s/%d", workflow->id, workflow->next_step - 1);
}

enum error stop(struct workflow *workflow, enum run_state state, enum error error)
{
    workflow->state = state;
    return error;
}

/* Ends the run because something failed that is no outcome of the workflow; it is tried again. */
enum error stop_broken(struct workflow *workflow, enum error error)
{
    workflow->broken = error;
    return stop(workflow, RUN_STOPPED, error);
}

struct owed_step *owe_step(struct workflow *workflow, int id, const char *name)
{
    struct owed_step *step = arena_alloc(workflow->arena, sizeof *step);

    step->id = id;
    step->name = name;
    step->started_ms = step->finished_ms = clock_ms();
    *workflow->steps_end = step;
    workflow->steps_end = &step->next;
    return step;
}

const struct checkpoint *find_checkpoint(const struct workflow *workflow, int id)
{
    for (size_t i = 0; i < workflow->checkpoint_count; i++)
        if (workflow->checkpoints[i].id == id)
            return &workflow->checkpoints[i];
    return NULL;
}

enum error fail_as(struct workflow *workflow, struct text recorded, struct text serialization)
{
    workflow->failed_as = portable_error_of(workflow, recorded, serialization);
    return portable_error_read(workflow->arena, workflow->failed_as, &workflow->failure);
}

enum error next_step(struct workflow *workflow, const char *name, bool *ret_replayed,
                     struct document **ret_output)
{
    const struct checkpoint *checkpoint;

    *ret_replayed = false;
    if (workflow->state != RUN_ON)
        return workflow->failure.error ? workflow->failure.error : ERR_FENCED;
    checkpoint = find_checkpoint(workflow, workflow->next_step++);
    workflow->replaying = checkpoint != NULL;
    if (!checkpoint)
        return OK;

    *ret_replayed = true;
    if (!text_is(checkpoint->name, name))
        return failure_set(&workflow->failure, ERR_STEP_MISMATCH,
                           "step %d is recorded as %.*s but the code says %s",
                           workflow->next_step - 1, (int)checkpoint->name.len,
                           checkpoint->name.data, name);
    if (checkpoint->error.data)
        return fail_as(workflow, checkpoint->error, checkpoint->serialization);
    if (!ret_output)
        return OK;
    return decode_value(workflow, checkpoint->output, checkpoint->serialization, ret_output);
}

enum error barrier(struct workflow *workflow)
{
    enum error error;

    if (!workflow->db)
        return stop(workflow, RUN_LEFT, ERR_IN_PROGRESS);
    if (!workflow->steps && !workflow->events && !workflow->start)
        return OK;
    error = commit_run(workflow, &workflow->failure);
    if (error)
        return stop_broken(workflow, error);
    /* an effect that was refused has been committed as the outcome */
    if (workflow->state == RUN_FAILED)
        workflow->state = RUN_STOPPED;
    if (workflow->state == RUN_STOPPED)
        return workflow->failure.error ? workflow->failure.error : ERR_FENCED;
    return OK;
}

/* Runs a step's function and owes its checkpoint. */
static enum error run_step(struct workflow *workflow, const char *name,
                           workflow_step_function *function, void *context,
                           struct document **ret_output)
{
    struct document *output = NULL;
    int id = workflow->next_step - 1;
    int64_t started = clock_ms();
    struct owed_step *step;
    enum error error;

    workflow->failure = (struct failure){0};
    workflow->failed_as = TEXT_NONE;
    error = function(workflow, context, &output);
    if (error && workflow->failure.error != error)
        failure_set(&workflow->failure, error, "%s", "");
    if (error && error_retry(error) != RETRY_NEVER)
        return stop_broken(workflow, error);

    step = owe_step(workflow, id, name);
    step->started_ms = started;
    if (error)
        step->error = workflow->failed_as = portable_error(workflow->arena, &workflow->failure);
    else
        step->output = output ? document_text(workflow->arena, output) : TEXT_LITERAL("null");
    if (!error && ret_output)
        *ret_output = output ? output : document_null(workflow->arena);
    return error;
}

enum error workflow_step_pure(struct workflow *workflow, const char *name,
                              workflow_step_function *function, void *context,
                              struct document **ret_output)
{
    bool replayed;
    enum error error = next_step(workflow, name, &replayed, ret_output);

    if (error || replayed)
        return error;
    return run_step(workflow, name, function, context, ret_output);
}

enum error workflow_step_external(struct workflow *workflow, const char *name,
                                  workflow_step_function *function, void *context,
                                  struct document **ret_output)
{
    bool replayed;
    enum error error = next_step(workflow, name, &replayed, ret_output);

    if (error || replayed)
        return error;
    error = barrier(workflow);
    if (error)
        return error;
    FAULT_POINT("step.external");
    return run_step(workflow, name, function, context, ret_output);
}

/* Owes a step whose effect is a statement. */
static enum error owe_call(struct workflow *workflow, const char *name, const struct db_call *call,
                           bool recorded)
{
    int id = workflow->next_step - 1;
    struct owed_step *step;
    enum error error;

    /* the row must exist before an effect can be fenced by it; and one effect at a time, so that
     * what fails is known */
    if (workflow->start || workflow->call) {
        error = barrier(workflow);
        if (error)
            return error;
    }
    if (!workflow->db)
        return stop(workflow, RUN_LEFT, ERR_IN_PROGRESS);
    step = owe_step(workflow, id, name);
    step->call = call;
    step->recorded = recorded;
    workflow->call = step;
    return OK;
}

enum error owe_recorded(struct workflow *workflow, const char *name, const struct db_call *call)
{
    return owe_call(workflow, name, call, true);
}

enum error workflow_step_call(struct workflow *workflow, const char *name,
                              const struct db_call *call, struct document **ret_output)
{
    bool replayed;
    enum error error = next_step(workflow, name, &replayed, ret_output);
    const struct owed_step *step;

    if (error || replayed)
        return error;
    error = owe_call(workflow, name, call, false);
    if (error || !ret_output)
        return error;
    step = workflow->call;
    error = barrier(workflow);
    if (error)
        return error;
    return document_parse_stored(workflow->arena, step->output, &workflow->failure, ret_output);
}

enum error workflow_step_send(struct workflow *workflow, const char *name,
                              const struct workflow_message *message)
{
    struct workflow_message *copy;
    bool replayed;
    enum error error = next_step(workflow, name, &replayed, NULL);

    if (error || replayed)
        return error;
    if (!text_is_message_id(message->id)) /* nobody could name it when it is a dead letter */
        return failure_set(
            workflow_failure(workflow), ERR_INVALID_ID,
            "a message's id, which is its workflow's or begins so, has 1 to %d bytes, none of "
            "them a control character",
            MESSAGE_ID_MAX);
    copy = arena_alloc(workflow->arena, sizeof *copy);
    *copy = *message;
    if (!copy->waiter)
        copy->waiter = workflow->waiter;
    owe_step(workflow, workflow->next_step - 1, name)->send = copy;
    return OK;
}

/* The place in the inbox of the message that was sent last, from the checkpoint; 0: none. */
static int64_t sent_seq(struct workflow *workflow)
{
    for (size_t i = workflow->checkpoint_count; i-- > 0;) {
        struct document *output;

        if (workflow->checkpoints[i].output.data &&
            document_parse_stored(workflow->arena, workflow->checkpoints[i].output, NULL,
                                  &output) == OK &&
            document_get(output, "inboxSeq"))
            return document_int(document_get(output, "inboxSeq"), 0);
    }
    return 0;
}

/* Looks whether the message has reached its end; the look itself expires it where it is time. */
static enum error review(struct workflow *workflow, const char *name)
{
    struct db_call call;
    struct db_rows *rows;
    struct text state;
    struct owed_step *step;
    enum error error = barrier(workflow);

    if (error)
        return error;
    db_call_init(&call, workflow->arena, STATEMENT_MESSAGE_REVIEW);
    db_add_string(&call, workflow->engine->options->app_name);
    db_add_bool(&call, workflow->engine->options->legacy_payloads != 0);
    db_add_int(&call, sent_seq(workflow));
    db_add_string(&call, workflow->id);
    db_add_string(&call, workflow->token);
    error = db_run(workflow->db, &call, &workflow->failure, &rows);
    if (error == ERR_FENCED) {
        workflow->outcome.kind = WORKFLOW_FENCED;
        return stop(workflow, RUN_STOPPED, ERR_FENCED);
    }
    if (error)
        return stop_broken(workflow, error);
    state = db_text(rows, 0, 0);
    if (text_is(state, "parked"))
        return stop(workflow, RUN_STOPPED, ERR_IN_PROGRESS);
    if (text_is(state, "ready") || text_is(state, "leased")) {
        workflow->state = RUN_PARKED;
        workflow->delay_ms = db_int(rows, 0, 1);
        return db_rows_error(rows, &workflow->failure);
    }

    if (!db_is_null(rows, 0, 3)) {
        struct text bell = db_text(rows, 0, 3);

        engine_ring(workflow->engine, &bell, 1);
    }

    /* Who settled the message settled its workflow with it, and this outcome is fenced off. But a
     * fork waits for a message that another workflow carries, and has its outcome written here. */
    step = owe_step(workflow, workflow->next_step - 1, name);
    if (text_is(state, "acked")) {
        workflow->output = step->output = db_text(rows, 0, 2);
        workflow->state = RUN_DONE;
        return OK;
    }
    failure_set(&workflow->failure, text_is(state, "expired") ? ERR_TIMEOUT : ERR_NOT_FOUND,
                "the message was not acknowledged: %.*s", (int)state.len, state.data);
    step->error = workflow->error = db_text(rows, 0, 2);
    workflow->state = RUN_FAILED;
    return OK;
}

enum error workflow_step_settled(struct workflow *workflow, const char *name, int64_t ttl_ms)
{
    struct document *output = NULL;
    bool fresh = false, replayed;
    enum error error = next_step(workflow, name, &replayed, &output);

    if (error)
        return error;
    if (replayed)
        return workflow_finish(workflow, output);
    for (struct owed_step *step = workflow->steps; step; step = step->next)
        if (step->send && step->id == workflow->next_step - 2)
            fresh = step->awaited = true;
    if (!fresh)
        return review(workflow, name);
    workflow->state = RUN_PARKED;
    workflow->delay_ms = ttl_ms;
    return OK;
}

enum error workflow_sleep(struct workflow *workflow, int64_t ms)
{
    struct document *wake = NULL;
    struct db_call *call;
    bool replayed;
    enum error error = next_step(workflow, "DBOS.sleep", &replayed, &wake);

    if (error)
        return error;
    if (replayed) {
        workflow->delay_ms = document_int(wake, 0) - workflow->now_ms;
        return workflow->delay_ms > 0 ? stop(workflow, RUN_PARKED, ERR_IN_PROGRESS) : OK;
    }
    call = arena_alloc(workflow->arena, sizeof *call);
    db_call_init(call, workflow->arena, STATEMENT_STEP_SLEEP);
    db_add_string(call, workflow->id);
    db_add_int(call, workflow->next_step - 1);
    db_add_string(call, workflow->engine->options->app_name);
    db_add_int(call, ms);
    error = owe_recorded(workflow, "DBOS.sleep", call);
    if (error)
        return error;
    workflow->delay_ms = ms;
    return stop(workflow, RUN_PARKED, ERR_IN_PROGRESS);
}

void workflow_event(struct workflow *workflow, const char *key, struct document *value)
{
    struct owed_event *event;

    /* an event of a step that was replayed has been written with it */
    if (workflow->state != RUN_ON || workflow->replaying)
        return;
    event = arena_alloc(workflow->arena, sizeof *event);
    event->step = workflow->next_step > 0 ? workflow->next_step - 1 : 0;
    event->key = key;
    if (value)
        event->value = document_text(workflow->arena, value);
    *workflow->events_end = event;
    workflow->events_end = &event->next;
    /* a launched application of DBOS may wait for it; what is only being started is not waited for,
     * and a notice takes a lock of the whole database */
    if (!workflow->start)
        owe_notice(workflow, NOTICE_EVENT, key);
}

enum error workflow_finish(struct workflow *workflow, struct document *output)
{
    workflow->output = output ? document_text(workflow->arena, output) : TEXT_LITERAL("null");
    return stop(workflow, RUN_DONE, OK);
}

void run_function(struct workflow *workflow)
{
    enum error error;

    workflow->state = RUN_ON;
    workflow->next_step = 0;
    error = workflow->definition->run(workflow);
    if (workflow->state != RUN_ON)
        return;
    if (!error) {
        workflow->output = TEXT_LITERAL("null");
        workflow->state = RUN_DONE;
        return;
    }
    if (workflow->failure.error != error) {
        failure_set(&workflow->failure, error, "%s", "");
        workflow->failed_as = TEXT_NONE;
    }
    /* a step's error goes on as it is recorded, so that a replay ends with the same words */
    workflow->error = workflow->failed_as.data
                          ? workflow->failed_as
                          : portable_error(workflow->arena, &workflow->failure);
    workflow->state = RUN_FAILED;
}
