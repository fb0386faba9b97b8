/* SPDX-License-Identifier: MIT */
#include "http/server.h"

#include "base/clock.h"
#include "http/authenticate.h"
#include "http/committer.h"
#include "http/probe.h"
#include "http/waiting_room.h"
#include "workflow/registry.h"

#define RETRY_PAUSE_MS 50

void http_server_init(struct http_server *server, const struct options *options)
{
    *server = (struct http_server){.options = options};
    db_configure(options);
    engine_init(&server->engine, options, workflow_definitions, EXECUTOR_HTTP);
    server->pool = db_pool_new((size_t)options->db_pool_size);
    server->committer = committer_new(server);
    server->waiting_room = waiting_room_new(server);
    server->authenticator = authenticator_new(server);
    server->probe = probe_new(server);
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
