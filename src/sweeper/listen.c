/* SPDX-License-Identifier: MIT */
#include "sweeper/listen.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/bell.h"
#include "base/clock.h"
#include "base/log.h"

#define RETRY_MS 2000

void listener_start(struct listener *listener, const struct engine *engine)
{
    *listener = (struct listener){.engine = engine};
    if (!*engine->options->direct_database_url)
        return;
    listener->db = db_new(DB_DIRECT);
    listener->arena = arena_new();
}

void listener_end(struct listener *listener)
{
    if (!listener->db)
        return;
    db_free(listener->db);
    arena_free(listener->arena);
    listener->db = NULL;
}

int listener_wait(struct listener *listener, fd_set *reads, fd_set *writes, int max,
                  int64_t *deadline)
{
    int fd;

    if (!listener->db)
        return max;
    if (db_busy(listener->db)) {
        short events = db_poll_events(listener->db);

        fd = db_poll_fd(listener->db);
        if (fd >= 0 && fd < FD_SETSIZE && (events & POLLIN))
            FD_SET(fd, reads);
        if (fd >= 0 && fd < FD_SETSIZE && (events & POLLOUT))
            FD_SET(fd, writes);
        if (db_poll_deadline(listener->db) < *deadline)
            *deadline = db_poll_deadline(listener->db);
    } else if (listener->listening) {
        fd = db_listen_fd(listener->db);
        if (fd >= 0 && fd < FD_SETSIZE)
            FD_SET(fd, reads);
    } else {
        fd = -1;
        if (listener->retry_at < *deadline)
            *deadline = listener->retry_at;
    }
    return fd > max && fd < FD_SETSIZE ? fd : max;
}

static void lost(struct listener *listener, const struct failure *failure)
{
    if (!listener->said_away)
        log_failure("bells.deaf", failure);
    listener->said_away = true;
    listener->listening = false;
    listener->retry_at = clock_ms() + clock_jitter_ms(RETRY_MS);
    db_close(listener->db);
}

static void begin(struct listener *listener)
{
    if (clock_ms() < listener->retry_at)
        return;
    arena_reset(listener->arena);
    db_call_init(&listener->call, listener->arena, STATEMENT_BELL_LISTEN);
    db_add_string(&listener->call, listener->engine->executor.host);
    db_start(listener->db, &listener->call);
}

static void go_on(struct listener *listener)
{
    struct failure failure = {.error = OK};
    struct db_rows *rows;
    enum error error;

    if (!db_advance(listener->db, &failure, &error, &rows))
        return;
    if (error != OK) {
        lost(listener, &failure);
        return;
    }
    listener->listening = true;
    listener->said_away = false;
    log_event(LOG_INFO, "bells.listening", LOG_STR("host", listener->engine->executor.host));
}

/* A payload is a list of executors of this host. */
static unsigned ring_all(const struct listener *listener, struct text payload)
{
    unsigned rung = 0;

    for (size_t at = 0; at < payload.len;) {
        char executor[UUID_SIZE];
        size_t len = 0;

        while (at + len < payload.len && payload.data[at + len] != ' ')
            len++;
        if (len > 0 && len < sizeof(executor)) {
            snprintf(executor, sizeof(executor), "%.*s", (int)len, payload.data + at);
            bell_ring(listener->engine->options->runtime_dir, executor);
            rung++;
        }
        at += len + 1;
    }
    return rung;
}

static void hear(struct listener *listener)
{
    struct failure failure = {.error = OK};
    struct text payload;
    unsigned rung = 0;

    do {
        if (db_listen_take(listener->db, listener->arena, &failure, &payload) != OK) {
            lost(listener, &failure);
            break;
        }
        rung += ring_all(listener, payload);
    } while (payload.data);
    arena_reset(listener->arena);
    if (rung > 0)
        log_event(LOG_DEBUG, "bells.heard", LOG_INT("rung", rung));
}

void listener_advance(struct listener *listener)
{
    if (!listener->db)
        return;
    if (!listener->listening && !db_busy(listener->db))
        begin(listener);
    if (db_busy(listener->db))
        go_on(listener);
    if (listener->listening)
        hear(listener);
}
