/* SPDX-License-Identifier: MIT
 *
 * Starting workflows: many in memory for one commit, or one to its end. claim.c runs those that
 * were enqueued or recovered.
 */
#include "durable/engine.h"

#include <stdio.h>
#include <string.h>

#include "base/bell.h"
#include "base/log.h"
#include "durable/bells.h"
#include "durable/run.h"

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

struct workflow *workflow_new(const struct engine *engine, struct arena *arena, struct db *db,
                              const struct workflow_definition *definition)
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

/* None rather than an empty object: the index of attributes has then no entry for the row. */
struct text workflow_attributes(struct arena *arena, struct text traceparent,
                                struct text request_id)
{
    struct text trace_id = text_trace_id(traceparent);
    struct document *attributes;

    if (!trace_id.data && !request_id.data)
        return TEXT_NONE;
    attributes = document_object(arena);
    if (trace_id.data) {
        document_put_text(attributes, "traceparent", traceparent);
        document_put_text(attributes, "traceId", trace_id);
    }
    if (request_id.data)
        document_put_text(attributes, "requestId", request_id);
    return document_text(arena, attributes);
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
    workflow->attributes = workflow_attributes(arena, start->traceparent, start->request_id);
    workflow->traceparent = start->traceparent;
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
    commit_call(ret_call, batch->arena, batch->engine, batch->pending, batch->pending_count,
                batch->engine->executor.host);
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

static size_t ring(const struct engine *engine, const struct text *bells, size_t count, bool owe)
{
    size_t host_length = strlen(engine->executor.host);
    size_t elsewhere = 0;

    for (size_t i = 0; i < count; i++) {
        const char *slash = bells[i].data ? memchr(bells[i].data, '/', bells[i].len) : NULL;
        char executor[UUID_SIZE];

        if (!slash || (size_t)(slash - bells[i].data) != host_length ||
            memcmp(bells[i].data, engine->executor.host, host_length) != 0) {
            if (owe)
                bells_owe(bells[i]);
            elsewhere++;
            continue;
        }
        snprintf(executor, sizeof executor, "%.*s", (int)(bells[i].len - host_length - 1),
                 slash + 1);
        bell_ring(engine->options->runtime_dir, executor);
    }
    return elsewhere;
}

size_t engine_ring(const struct engine *engine, const struct text *bells, size_t count)
{
    return ring(engine, bells, count, true);
}

size_t engine_ring_here(const struct engine *engine, const struct text *bells, size_t count)
{
    return ring(engine, bells, count, false);
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
