/* SPDX-License-Identifier: MIT */
#include "http/server.h"

#include "base/clock.h"
#include "base/log.h"
#include "durable/bells.h"
#include "http/authenticate.h"
#include "http/committer.h"
#include "http/metrics.h"
#include "http/probe.h"
#include "http/waiting_room.h"
#include "workflow/registry.h"

#define RETRY_PAUSE_MS 50

void http_server_init(struct http_server *server, const struct options *options)
{
    *server = (struct http_server){.options = options};
    pthread_mutex_init(&server->starts_lock, NULL);
    db_configure(options);
    engine_init(&server->engine, options, workflow_definitions, EXECUTOR_HTTP);
    server->pool = db_pool_new((size_t)options->db_pool_size);
    server->committer = committer_new(server);
    server->waiting_room = waiting_room_new(server);
    server->authenticator = authenticator_new(server);
    server->probe = probe_new(server);
    server->metrics = metrics_new(server);
}

static bool is_worth_a_retry(enum error error)
{
    return error == ERR_UNAVAILABLE || error == ERR_IN_DOUBT || error == ERR_SERIALIZATION;
}

enum error http_database_retry(struct http_server *server, struct db *db,
                               const struct db_call *call, struct failure *failure,
                               struct db_rows **ret_rows)
{
    int64_t deadline = clock_ms() + server->options->db_timeout_ms;

    for (;;) {
        enum error error = db_run(db, call, failure, ret_rows);
        int64_t pause = clock_jitter_ms(RETRY_PAUSE_MS);

        if (!is_worth_a_retry(error) || clock_ms() + pause >= deadline)
            return error;
        clock_sleep_ms(pause);
    }
}

enum error http_database_run(struct http_server *server, const struct db_call *call,
                             struct failure *failure, struct db_rows **ret_rows)
{
    struct db *db;
    enum error error = db_pool_take(server->pool, failure, &db);

    if (error != OK)
        return error;
    error = http_database_retry(server, db, call, failure, ret_rows);
    http_database_give(server, db);
    return error;
}

void http_database_give(struct http_server *server, struct db *db)
{
    db_pool_give(server->pool, db);
    committer_nudge(server->committer);
}

static void begin_start(struct http_server *server)
{
    pthread_mutex_lock(&server->starts_lock);
    server->starts++;
    pthread_mutex_unlock(&server->starts_lock);
}

static void end_start(struct http_server *server, bool owed)
{
    pthread_mutex_lock(&server->starts_lock);
    server->starts--;
    server->start_owed = server->start_owed || owed;
    pthread_mutex_unlock(&server->starts_lock);
}

enum error http_server_start(struct http_server *server, struct arena *arena,
                             const struct workflow_start *start, struct failure *failure,
                             struct workflow_outcome *ret_outcome)
{
    struct db *db;
    enum error error = db_pool_take(server->pool, failure, &db);

    if (error != OK)
        return error;
    begin_start(server);
    error = engine_start(&server->engine, db, arena, start, failure, ret_outcome);
    if (error == ERR_IN_DOUBT) { /* the same id is the same workflow */
        end_start(server, true);
        begin_start(server);
        error = engine_start(&server->engine, db, arena, start, failure, ret_outcome);
    }
    end_start(server, error != OK);
    http_database_give(server, db);
    return error;
}

void http_server_bells(struct http_server *server)
{
    struct db *db = bells_owed() ? db_pool_try(server->pool) : NULL;

    if (db == NULL)
        return;
    bells_send(db);
    http_database_give(server, db);
}

void http_server_tidy(struct http_server *server)
{
    struct failure failure = {0};
    struct db *db = NULL;

    metrics_show(server->metrics);
    /* the lock is held during the call: a start that comes now waits, and is not given back */
    pthread_mutex_lock(&server->starts_lock);
    if (server->start_owed && server->starts == 0)
        db = db_pool_try(server->pool);
    if (db != NULL) {
        if (engine_give_back(&server->engine, db, &failure) == OK)
            server->start_owed = false;
        else
            log_failure("workflow.give_back", &failure);
    }
    pthread_mutex_unlock(&server->starts_lock);
    if (db != NULL)
        http_database_give(server, db);
}
