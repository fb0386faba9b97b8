/* SPDX-License-Identifier: MIT
 *
 * Starting, claiming and running workflows.
 */
#include "durable/engine.h"

#include <stdio.h>
#include <string.h>

#include "base/bell.h"
#include "base/log.h"
#include "durable/run.h"

/* An executor of ours dies at this claim of the same workflow, and it ends as
 * MAX_RECOVERY_ATTEMPTS_EXCEEDED; DBOS' own number. */
#define MAX_RECOVERY_ATTEMPTS 100

struct workflow_batch {
    struct arena *arena;
    const struct engine *engine;
    struct workflow **workflows; /* all, in the order of their starts */
    struct workflow **pending;   /* those with something to commit */
    size_t count, pending_count, capacity;
};

void engine_init(struct engine *engine, const struct options *options,
                 const struct workflow_definition *definitions, enum executor_kind kind)
{
    engine->options = options;
    engine->definitions = definitions;
    executor_init(&engine->executor, kind, options);
}

const struct workflow_definition *engine_find(const struct engine *engine, struct text name)
{
    for (const struct workflow_definition *d = engine->definitions; d->name; d++)
        if (text_is(name, d->name))
            return d;
    return NULL;
}

static struct workflow *workflow_new(const struct engine *engine, struct arena *arena,
                                     struct db *db, const struct workflow_definition *definition)
{
    struct workflow *workflow = arena_alloc(arena, sizeof *workflow);

    workflow->engine = engine;
    workflow->arena = arena;
    workflow->db = db;
    workflow->definition = definition;
    workflow->steps_end = &workflow->steps;
    workflow->events_end = &workflow->events;
    return workflow;
}

static struct workflow *workflow_begin(const struct engine *engine, struct arena *arena,
                                       struct db *db, const struct workflow_start *start)
{
    struct workflow *workflow = workflow_new(engine, arena, db, start->definition);

    workflow->id = arena_text(arena, start->id).data;
    workflow->principal = start->principal.data ? arena_text(arena, start->principal).data : "";
    workflow->waiter = start->waiter;
    workflow->start = true;
    workflow->input = start->input;
    workflow->serialization = TEXT_LITERAL("portable_json");
    uuid_v4(workflow->token);
    return workflow;
}

/* A start whose first steps, all pure, failed: there is nothing to keep. */
static bool refused_at_once(const struct workflow *workflow)
{
    if (workflow->state == RUN_STOPPED)
        return true;
    if (workflow->state != RUN_FAILED || !workflow->start)
        return false;
    for (const struct owed_step *step = workflow->steps; step; step = step->next)
        if (step->send || step->call)
            return false;
    return true;
}

static void refuse(struct workflow *workflow)
{
    workflow->outcome.kind = WORKFLOW_REFUSED;
    workflow->outcome.reason = workflow->failure.error;
    workflow->outcome.failure = workflow->failure;
}

struct workflow_batch *workflow_batch_new(struct arena *arena, const struct engine *engine)
{
    struct workflow_batch *batch = arena_alloc(arena, sizeof *batch);

    batch->arena = arena;
    batch->engine = engine;
    return batch;
}

static void batch_grow(struct workflow_batch *batch)
{
    size_t capacity = batch->capacity ? batch->capacity * 2 : 4;
    struct workflow **all = arena_array(batch->arena, 2 * capacity, sizeof(struct workflow *));

    if (batch->count)
        memcpy(all, batch->workflows, batch->count * sizeof *all);
    if (batch->pending_count)
        memcpy(all + capacity, batch->pending, batch->pending_count * sizeof *all);
    batch->workflows = all;
    batch->pending = all + capacity;
    batch->capacity = capacity;
}

size_t workflow_batch_start(struct workflow_batch *batch, const struct workflow_start *start)
{
    struct workflow *workflow = workflow_begin(batch->engine, batch->arena, NULL, start);

    if (batch->count == batch->capacity)
        batch_grow(batch);
    run_function(workflow);
    if (refused_at_once(workflow))
        refuse(workflow);
    else
        batch->pending[batch->pending_count++] = workflow;
    batch->workflows[batch->count] = workflow;
    return batch->count++;
}

size_t workflow_batch_count(const struct workflow_batch *batch)
{
    return batch->count;
}

bool workflow_batch_call(struct workflow_batch *batch, struct db_call *ret_call)
{
    if (batch->pending_count == 0)
        return false;
    commit_call(ret_call, batch->arena, batch->engine, batch->pending, batch->pending_count);
    return true;
}

enum error workflow_batch_result(struct workflow_batch *batch, struct db_rows *rows,
                                 struct failure *failure)
{
    if (!rows)
        return OK;
    return commit_result(batch->pending, batch->pending_count, rows, failure);
}

const struct workflow_outcome *workflow_batch_outcome(const struct workflow_batch *batch,
                                                      size_t index)
{
    return &batch->workflows[index]->outcome;
}

size_t engine_ring(const struct engine *engine, const struct text *bells, size_t count)
{
    size_t host_length = strlen(engine->executor.host);
    size_t elsewhere = 0;

    for (size_t i = 0; i < count; i++) {
        const char *slash = bells[i].data ? memchr(bells[i].data, '/', bells[i].len) : NULL;
        char executor[UUID_SIZE];

        if (!slash || (size_t)(slash - bells[i].data) != host_length ||
            memcmp(bells[i].data, engine->executor.host, host_length) != 0) {
            elsewhere++;
            continue;
        }
        snprintf(executor, sizeof executor, "%.*s", (int)(bells[i].len - host_length - 1),
                 slash + 1);
        bell_ring(engine->options->runtime_dir, executor);
    }
    return elsewhere;
}

/* Runs until nothing is owed: the function, and what it owes at its end. */
static enum error run_to_end(struct workflow *workflow, struct failure *failure)
{
    run_function(workflow);
    if (workflow->broken) {
        *failure = workflow->failure;
        return workflow->broken;
    }
    return workflow->state == RUN_STOPPED ? OK : commit_run(workflow, failure);
}

/* A workflow that runs has an owner that a sweeper knows, or it would not be recovered. */
static enum error register_executor(const struct engine *engine, struct db *db, struct arena *arena,
                                    struct failure *failure)
{
    struct db_call call;
    struct db_rows *rows;

    executor_register_call(&call, arena, &engine->executor, NULL, TEXT_NONE);
    return db_run(db, &call, failure, &rows);
}

enum error engine_start(const struct engine *engine, struct db *db, struct arena *arena,
                        const struct workflow_start *start, struct failure *failure,
                        struct workflow_outcome *ret_outcome)
{
    struct workflow *workflow = workflow_begin(engine, arena, db, start);
    enum error error = register_executor(engine, db, arena, failure);

    if (error)
        return error;
    run_function(workflow);
    if (workflow->broken) {
        *failure = workflow->failure;
        return workflow->broken;
    }
    if (workflow->state != RUN_STOPPED && refused_at_once(workflow))
        refuse(workflow);
    else if (workflow->state != RUN_STOPPED)
        error = commit_run(workflow, failure);
    if (error)
        return error;
    *ret_outcome = workflow->outcome;
    if (workflow->outcome.kind == WORKFLOW_COMMITTED && !ret_outcome->output.data) {
        ret_outcome->output = workflow->state == RUN_DONE ? workflow->output : TEXT_NONE;
        ret_outcome->error = workflow->error;
    }
    engine_ring(engine, ret_outcome->bells, ret_outcome->bell_count);
    return OK;
}

static enum error load_checkpoints(struct workflow *workflow, struct failure *failure)
{
    struct db_call call;
    struct db_rows *rows;
    enum error error;

    db_call_init(&call, workflow->arena, STATEMENT_WORKFLOW_CHECKPOINTS);
    db_add_string(&call, workflow->id);
    error = db_run(workflow->db, &call, failure, &rows);
    if (error)
        return error;
    workflow->checkpoint_count = db_rows_count(rows);
    workflow->checkpoints =
        arena_array(workflow->arena, workflow->checkpoint_count ? workflow->checkpoint_count : 1,
                    sizeof *workflow->checkpoints);
    for (size_t i = 0; i < workflow->checkpoint_count; i++)
        workflow->checkpoints[i] = (struct checkpoint){
            .id = (int)db_int(rows, i, 0),
            .name = db_text(rows, i, 1),
            .output = db_text(rows, i, 2),
            .error = db_text(rows, i, 3),
            .serialization = db_text(rows, i, 4),
        };
    return db_rows_error(rows, failure);
}

/* Runs one claimed workflow; row of STATEMENT_WORKFLOW_CLAIM. */
static enum error run_claimed(const struct engine *engine, struct db *db, const char *token,
                              struct db_rows *claimed, size_t row, struct failure *failure)
{
    struct arena *arena = arena_new();
    const struct workflow_definition *definition = engine_find(engine, db_text(claimed, row, 1));
    struct workflow *workflow = workflow_new(engine, arena, db, definition);
    struct text principal = db_text(claimed, row, 2);
    enum error error;

    workflow->id = arena_text(arena, db_text(claimed, row, 0)).data;
    workflow->principal = principal.data ? arena_text(arena, principal).data : "";
    workflow->serialization = db_text(claimed, row, 3);
    workflow->now_ms = db_int(claimed, row, 6);
    snprintf(workflow->token, sizeof workflow->token, "%s", token);

    error = load_checkpoints(workflow, failure);
    if (!error && decode_input(workflow, db_text(claimed, row, 4)) != OK) {
        workflow->error = portable_error(arena, &workflow->failure);
        workflow->state = RUN_FAILED;
        error = commit_run(workflow, failure);
    } else if (!error) {
        error = run_to_end(workflow, failure);
    }
    if (!error)
        engine_ring(engine, workflow->outcome.bells, workflow->outcome.bell_count);
    log_event(LOG_INFO, "workflow.ran", LOG_STR("workflow", workflow->id),
              LOG_STR("name", definition->name), LOG_INT("attempt", db_int(claimed, row, 5)),
              LOG_STR("result", error ? error_code(error) : "ok"));
    arena_free(arena);
    return error;
}

/* Gives back what this executor has claimed and could not run, for another try. */
static void give_back(const struct engine *engine, struct db *db, struct arena *arena)
{
    struct text self = text_of(engine->executor.id);
    struct failure failure = {0};
    struct db_rows *rows;
    struct db_call call;

    db_call_init(&call, arena, STATEMENT_WORKFLOW_RECOVER);
    db_add_texts(&call, &self, 1);
    if (db_run(db, &call, &failure, &rows) != OK)
        log_failure("workflow.give_back", &failure);
}

enum error engine_run_queued(const struct engine *engine, struct db *db, int limit,
                             struct failure *failure, int *ret_claimed)
{
    struct arena *arena = arena_new();
    struct text names[64];
    size_t count = 0;
    struct db_call call;
    struct db_rows *rows;
    char token[UUID_SIZE];
    enum error error, first = OK;

    for (const struct workflow_definition *d = engine->definitions; d->name && count < 64; d++)
        names[count++] = text_of(d->name);
    uuid_v4(token);
    db_call_init(&call, arena, STATEMENT_WORKFLOW_CLAIM);
    db_add_string(&call, engine->executor.id);
    db_add_string(&call, token);
    db_add_string(&call, engine->options->app_name);
    db_add_string(&call, engine->options->app_version);
    db_add_texts(&call, names, count);
    db_add_int(&call, MAX_RECOVERY_ATTEMPTS);
    db_add_int(&call, limit);
    error = db_run(db, &call, failure, &rows);
    if (error) {
        /* the claim may have been made: what it claimed is ours alone, and given back */
        if (error == ERR_IN_DOUBT)
            give_back(engine, db, arena);
        arena_free(arena);
        return error;
    }
    for (size_t row = 0; row < db_rows_count(rows); row++) {
        struct failure one = {0};

        error = run_claimed(engine, db, token, rows, row, &one);
        if (error && !first) {
            first = error;
            *failure = one;
        }
    }
    if (first)
        give_back(engine, db, arena);
    *ret_claimed = (int)db_rows_count(rows);
    arena_free(arena);
    return first;
}
