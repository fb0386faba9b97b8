/* SPDX-License-Identifier: MIT
 *
 * What all threads of one worker process share, and what a handler gets.
 */
#ifndef OPENCLAW_HTTP_SERVER_H
#define OPENCLAW_HTTP_SERVER_H

#include <pthread.h>
#include <stdbool.h>

#include "base/option.h"
#include "db/db.h"
#include "durable/engine.h"
#include "gateway/principal.h"
#include "http/request.h"
#include "http/response.h"

struct committer;
struct waiting_room;
struct authenticator;
struct probe;
struct metrics;

struct http_server {
    const struct options *options;
    struct engine engine;
    struct db_pool *pool;
    struct committer *committer;
    struct waiting_room *waiting_room;
    struct authenticator *authenticator;
    struct probe *probe;
    struct metrics *metrics;
    /* Workflows that requests start run here; one that the database left in the middle is given
     * back as soon as it can be told, and no other is running. */
    pthread_mutex_t starts_lock;
    unsigned starts;
    bool start_owed;
};

/* Everything but the waiting room's thread, which waiting_room_start() starts. The server lives as
 * long as the process. */
void http_server_init(struct http_server *server, const struct options *options);

/* Starts a workflow and runs it, on a connection of the pool; once more where that is in doubt. */
enum error http_server_start(struct http_server *server, struct arena *arena,
                             const struct workflow_start *start, struct failure *failure,
                             struct workflow_outcome *ret_outcome) MUST_CHECK;
/* To be called about once a second: gives back what a start has left behind. */
/* Says the bells for other hosts, if a connection is free; who has one says them otherwise. */
void http_server_bells(struct http_server *server);
void http_server_tidy(struct http_server *server);

#define HTTP_PARAMS_MAX 2

struct http_context {
    struct http_server *server;
    struct http_request *request;
    struct http_response *response;
    struct arena *arena;
    struct principal principal;          /* of routes that need one */
    struct text params[HTTP_PARAMS_MAX]; /* what stands for the :names of the path */
    struct document *body;               /* of routes that take JSON */
    struct failure failure;              /* of a handler that returned an error */
};

/* One call on a connection of the pool, tried again while the database is away or the outcome is in
 * doubt, until DB_TIMEOUT_MS have passed since the first try: so only calls that may be made twice.
 * The rows live in the call's arena. */
enum error http_database_run(struct http_server *server, const struct db_call *call,
                             struct failure *failure, struct db_rows **ret_rows) MUST_CHECK;
/* The same on a connection the caller has. */
enum error http_database_retry(struct http_server *server, struct db *db,
                               const struct db_call *call, struct failure *failure,
                               struct db_rows **ret_rows) MUST_CHECK;
/* Gives a connection back to the pool, and lets whoever waits for one know. */
void http_database_give(struct http_server *server, struct db *db);

#endif
