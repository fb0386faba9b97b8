/* SPDX-License-Identifier: MIT */
#include "http/probe.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/shared.h"
#include "db/statement.h"
#include "gateway/schema.h"

struct probe {
    struct http_server *server;
    pthread_mutex_t mutex;
    struct db *db;
    int64_t until_ms;
    enum error error;
    struct failure failure;
    const char *sweeper;
};

struct probe *probe_new(struct http_server *server)
{
    struct probe *probe = calloc(1, sizeof(*probe));

    if (probe == NULL)
        abort();
    probe->server = server;
    probe->sweeper = "unknown";
    probe->db = db_new(DB_POOLED);
    pthread_mutex_init(&probe->mutex, NULL);
    return probe;
}

/* Runs a call with a limit of our own, shorter than DB_TIMEOUT_MS may be. */
static enum error ask(struct db *db, int64_t deadline, const struct db_call *call,
                      struct failure *failure, struct db_rows **ret_rows)
{
    enum error error = OK;

    db_start(db, call);
    while (!db_advance(db, failure, &error, ret_rows)) {
        struct pollfd fd = {.fd = db_poll_fd(db), .events = db_poll_events(db)};
        int64_t now = clock_ms();
        int64_t until = db_poll_deadline(db) < deadline ? db_poll_deadline(db) : deadline;

        if (now >= deadline) {
            db_close(db);
            return failure_set(failure, ERR_UNAVAILABLE,
                               "the database does not answer within %d ms", PROBE_LIMIT_MS);
        }
        (void)poll(&fd, 1, until > now ? (int)(until - now) : 0);
    }
    return error;
}

/* A sweeper of this host that hangs does not say any more when it will be heard of again. 0: none
 * has ever said so, in this RUNTIME_DIR. */
static bool is_overdue(void)
{
    uint64_t due = counter_read(SWEEPER_DUE_COUNTER);

    return due != 0 && clock_ms() > (int64_t)due;
}

/* One on this host is looked for among the processes, so that its end is seen at once. */
static bool sweeper_lives(const struct probe *probe, struct db_rows *rows, size_t row)
{
    const struct engine *engine = &probe->server->engine;

    if (db_bool(rows, row, 4)) /* run by cron; the statement has judged it */
        return true;
    if (db_int(rows, row, 3) > engine->options->executor_lease_ms)
        return false;
    return !text_is(db_text(rows, row, 0), engine->executor.host) ||
           (executor_look((int)db_int(rows, row, 1), db_int(rows, row, 2)) != EXECUTOR_DEAD &&
            !is_overdue());
}

static enum error look_for_sweeper(struct probe *probe, int64_t deadline, struct arena *arena,
                                   struct failure *failure)
{
    struct db_rows *rows;
    struct db_call call;
    enum error error;

    db_call_init(&call, arena, STATEMENT_SWEEPER_LIST);
    error = ask(probe->db, deadline, &call, failure, &rows);
    if (error != OK)
        return error;
    probe->sweeper = "silent";
    for (size_t row = 0; row < db_rows_count(rows); row++)
        if (sweeper_lives(probe, rows, row))
            probe->sweeper = "running";
    return db_rows_error(rows, failure);
}

/* Only where somebody of this host was told that it is full, and until it is not. */
static enum error try_disk(struct probe *probe, int64_t deadline, struct arena *arena,
                           struct failure *failure)
{
    struct db_rows *rows;
    struct db_call call;
    enum error error;

    if (counter_read(DISK_FULL_COUNTER) == 0)
        return OK;
    db_call_init(&call, arena, STATEMENT_DISK_PROBE);
    error = ask(probe->db, deadline, &call, failure, &rows);
    if (error == OK)
        atomic_store(counter_of(DISK_FULL_COUNTER), 0);
    return error;
}

static enum error examine(struct probe *probe, struct failure *failure)
{
    int64_t deadline = clock_ms() + PROBE_LIMIT_MS;
    struct arena *arena = arena_new();
    struct db_rows *rows;
    struct db_call call;
    enum error error;

    schema_probe_call(&call, arena);
    error = ask(probe->db, deadline, &call, failure, &rows);
    if (error == OK)
        error = schema_probe_result(rows, failure);
    if (error == OK)
        error = try_disk(probe, deadline, arena, failure);
    probe->sweeper = "unknown";
    if (error == OK)
        error = look_for_sweeper(probe, deadline, arena, failure);
    db_close(probe->db);
    arena_free(arena);
    return error;
}

enum error probe_database(struct probe *probe, struct failure *failure)
{
    enum error error;

    pthread_mutex_lock(&probe->mutex);
    if (clock_ms() >= probe->until_ms) {
        probe->failure = (struct failure){.error = OK};
        probe->error = examine(probe, &probe->failure);
        probe->until_ms = clock_ms() + PROBE_CACHE_MS;
    }
    error = probe->error;
    if (error != OK && failure != NULL)
        *failure = probe->failure;
    pthread_mutex_unlock(&probe->mutex);
    return error;
}

const char *probe_sweeper(struct probe *probe)
{
    const char *sweeper;

    pthread_mutex_lock(&probe->mutex);
    sweeper = probe->sweeper;
    pthread_mutex_unlock(&probe->mutex);
    return sweeper;
}
