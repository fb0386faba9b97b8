/* SPDX-License-Identifier: MIT
 *
 * Claiming enqueued workflows and running them.
 *
 * What must hold: whatever is claimed is run, or given back. A failure leaves a claim behind that
 * nobody runs although its executor lives; so after a failure the executor gives back all that it
 * holds beyond the claims it is running, and it asks again until the database has heard it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "durable/run.h"

/* The executors die at so many claims of one workflow, and it ends as
 * MAX_RECOVERY_ATTEMPTS_EXCEEDED; DBOS' own number. */
#define MAX_RECOVERY_ATTEMPTS 100

#define NAMES_MAX 256 /* workflows of one program */

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
            .child = db_text(rows, i, 5),
        };
    return db_rows_error(rows, failure);
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
    workflow->traceparent = arena_text(arena, db_text(claimed, row, 7));
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

static void claim_token_new(struct claim_tokens *tokens, size_t runner)
{
    pthread_mutex_lock(&tokens->lock);
    uuid_v4(tokens->token[runner]);
    pthread_mutex_unlock(&tokens->lock);
}

static void claim_token_end(struct claim_tokens *tokens, size_t runner, bool failed)
{
    pthread_mutex_lock(&tokens->lock);
    tokens->token[runner][0] = '\0';
    tokens->owed = tokens->owed || failed;
    pthread_mutex_unlock(&tokens->lock);
}

/* Gives back what this executor owns under other tokens than these. */
static enum error give_back(const struct engine *engine, struct db *db, struct arena *arena,
                            const struct text *running, size_t count, struct failure *failure)
{
    struct db_rows *rows;
    struct db_call call;
    enum error error;

    db_call_init(&call, arena, STATEMENT_WORKFLOW_GIVE_BACK);
    db_add_string(&call, engine->executor.id);
    db_add_texts(&call, running, count);
    db_add_int(&call, engine->options->retry_base_ms);
    db_add_int(&call, engine->options->retry_max_ms);
    error = db_run(db, &call, failure, &rows);
    if (!error && db_int(rows, 0, 0) > 0)
        log_event(LOG_WARN, "workflow.given_back", LOG_INT("count", db_int(rows, 0, 0)));
    return error;
}

enum error engine_give_back(const struct engine *engine, struct db *db, struct failure *failure)
{
    struct arena *arena = arena_new();
    enum error error = give_back(engine, db, arena, NULL, 0, failure);

    arena_free(arena);
    return error;
}

enum error claim_give_back(const struct engine *engine, struct claim_tokens *tokens, struct db *db,
                           struct failure *failure)
{
    struct arena *arena;
    struct text running[CLAIM_RUNNERS_MAX];
    size_t count = 0;
    enum error error;

    pthread_mutex_lock(&tokens->lock);
    if (!tokens->owed) {
        pthread_mutex_unlock(&tokens->lock);
        return OK;
    }
    tokens->owed = false;
    arena = arena_new();
    for (size_t i = 0; i < CLAIM_RUNNERS_MAX; i++)
        if (tokens->token[i][0])
            running[count++] = arena_text(arena, text_of(tokens->token[i]));
    pthread_mutex_unlock(&tokens->lock);

    error = give_back(engine, db, arena, running, count, failure);
    if (error) {
        pthread_mutex_lock(&tokens->lock);
        tokens->owed = true;
        pthread_mutex_unlock(&tokens->lock);
    }
    arena_free(arena);
    return error;
}

static void claim_call(struct db_call *call, struct arena *arena, const struct engine *engine,
                       const char *token, int limit)
{
    struct text names[NAMES_MAX];
    size_t count = 0;

    for (const struct workflow_definition *d = engine->definitions; d->name && count < NAMES_MAX;
         d++)
        names[count++] = text_of(d->name);
    db_call_init(call, arena, STATEMENT_WORKFLOW_CLAIM);
    db_add_string(call, engine->executor.id);
    db_add_string(call, token);
    db_add_string(call, engine->options->app_name);
    db_add_string(call, engine->options->app_version);
    db_add_texts(call, names, count);
    db_add_int(call, MAX_RECOVERY_ATTEMPTS);
    db_add_int(call, limit);
}

enum error claim_and_run(const struct engine *engine, struct claim_tokens *tokens, size_t runner,
                         struct db *db, int limit, void (*claimed)(void *context), void *context,
                         struct failure *failure, int *ret_claimed)
{
    struct arena *arena = arena_new();
    const char *token = tokens->token[runner];
    struct db_call call;
    struct db_rows *rows = NULL;
    enum error error, first = claim_give_back(engine, tokens, db, failure);

    *ret_claimed = 0;
    if (first) {
        arena_free(arena);
        return first;
    }
    claim_token_new(tokens, runner);
    claim_call(&call, arena, engine, token, limit);
    first = db_run(db, &call, failure, &rows);
    if (!first)
        *ret_claimed = (int)db_rows_count(rows);
    if (*ret_claimed > 0 && claimed)
        claimed(context);
    for (int row = 0; row < *ret_claimed; row++) {
        struct failure one = {0};

        FAULT_POINT("workflow.claimed");
        error = run_claimed(engine, db, token, rows, (size_t)row, &one);
        if (error && !first) {
            first = error;
            *failure = one;
        }
        if (error == ERR_UNAVAILABLE && !db_is_open(db))
            break; /* the others are not tried against a database that is away */
    }
    /* even where the claim has failed, it may have been made */
    claim_token_end(tokens, runner, first != OK);
    arena_free(arena);
    return first;
}

enum error engine_run_queued(const struct engine *engine, struct db *db, int limit,
                             struct failure *failure, int *ret_claimed)
{
    static struct claim_tokens tokens = {.lock = PTHREAD_MUTEX_INITIALIZER};
    enum error error =
        claim_and_run(engine, &tokens, 0, db, limit, NULL, NULL, failure, ret_claimed);
    struct failure second = {0};

    if (error && claim_give_back(engine, &tokens, db, &second) != OK)
        log_failure("workflow.give_back", &second);
    return error;
}
