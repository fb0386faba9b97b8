/* SPDX-License-Identifier: MIT
 *
 * Threads take turns at the socket: the one that has the turn waits for a connection, hands the
 * turn on and serves. So a connection is taken only by a thread that is free for it, and those that
 * nobody has time for stay in the kernel's queue, where another worker finds them.
 */
#include "http/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h> /* mallopt, of glibc */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/fastcgi.h"
#include "http/metrics.h"
#include "http/server.h"
#include "http/waiting_room.h"

#define THREAD_STACK_BYTES 262144
#define SILENCE_MS         5000
#define ACCEPT_PAUSE_MS    50 /* out of descriptors or memory: others may give some back */

struct worker {
    struct http_server server;
    const struct listener *listener;
    int drain_pipe[2]; /* its end of file is the sign to stop */
    pthread_mutex_t turn;
    pthread_mutex_t mutex;
    pthread_cond_t ended;
    unsigned running;
};

static int accept_connection(const struct worker *worker)
{
    int fd = accept(worker->listener->fd, NULL, NULL);

    if (fd >= 0) {
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        return fd;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        log_event(LOG_WARN, "http.accept", LOG_STR("error", strerror(errno)));
        clock_sleep_ms(ACCEPT_PAUSE_MS);
    }
    return -1;
}

/* The next connection; -1: this worker is to end. Where the socket's file is ours, and gone, what
 * queued before it went is still served. */
static int next_connection(struct worker *worker)
{
    int connection = -1;
    bool draining = false;

    pthread_mutex_lock(&worker->turn);
    while (connection < 0 && !draining) {
        struct pollfd fds[2] = {{.fd = worker->listener->fd, .events = POLLIN},
                                {.fd = worker->drain_pipe[0], .events = POLLIN}};

        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            abort();
        draining = fds[1].revents != 0;
        if (fds[0].revents != 0 && (!draining || worker->listener->ours))
            connection = accept_connection(worker);
    }
    pthread_mutex_unlock(&worker->turn);
    return connection;
}

/* Somebody who connects has something to say. Who says nothing is not waited for at the end. */
static bool says_something(const struct worker *worker, int connection)
{
    struct pollfd fds[2] = {{.fd = connection, .events = POLLIN},
                            {.fd = worker->drain_pipe[0], .events = POLLIN}};

    return poll(fds, 2, SILENCE_MS) > 0 && fds[0].revents != 0;
}

static void *serving_thread(void *argument)
{
    struct worker *worker = argument;
    struct arena *arena = arena_new();
    int connection;

    while ((connection = next_connection(worker)) >= 0) {
        if (!says_something(worker, connection)) {
            (void)close(connection);
            continue;
        }
        fastcgi_serve(&worker->server, connection, arena);
        http_server_bells(&worker->server);
        arena_reset(arena);
    }
    arena_free(arena);
    pthread_mutex_lock(&worker->mutex);
    worker->running--;
    pthread_cond_signal(&worker->ended);
    pthread_mutex_unlock(&worker->mutex);
    return NULL;
}

static void start_threads(struct worker *worker)
{
    pthread_attr_t attributes;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (int64_t i = 0; i < worker->server.options->http_threads; i++) {
        pthread_t thread;

        pthread_mutex_lock(&worker->mutex);
        worker->running++;
        pthread_mutex_unlock(&worker->mutex);
        if (pthread_create(&thread, &attributes, serving_thread, worker) != 0)
            abort();
    }
    pthread_attr_destroy(&attributes);
}

/* Until the signal to end comes; in between, once a second, what has been left behind is put right.
 */
static void wait_for_signal(struct worker *worker)
{
    static const struct timespec second = {.tv_sec = 1};
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    while (sigtimedwait(&signals, NULL, &second) < 0) {
        http_server_tidy(&worker->server);
        http_server_bells(&worker->server);
    }
}

/* True: every request was answered in time. */
static bool drain(struct worker *worker)
{
    int64_t deadline = clock_ms() + WORKER_DRAIN_MS;
    struct timespec until = {.tv_sec = (time_t)(deadline / 1000),
                             .tv_nsec = (long)(deadline % 1000) * 1000000};
    int waited = 0;
    unsigned left;

    (void)close(worker->drain_pipe[1]);
    waiting_room_close(worker->server.waiting_room);
    pthread_mutex_lock(&worker->mutex);
    while (worker->running > 0 && waited != ETIMEDOUT)
        waited = pthread_cond_timedwait(&worker->ended, &worker->mutex, &until);
    left = worker->running;
    pthread_mutex_unlock(&worker->mutex);
    log_event(left == 0 ? LOG_INFO : LOG_WARN, "worker.drained", LOG_INT("left", left));
    return left == 0;
}

int worker_run(const struct options *options, const struct listener *listener)
{
    struct worker *worker = calloc(1, sizeof(*worker)); /* for as long as the process lives */
    pthread_condattr_t monotonic;

    if (worker == NULL || pipe(worker->drain_pipe) != 0)
        abort();
    /* Many threads that each do little: a heap for each would only hold memory back. */
    (void)mallopt(M_ARENA_MAX, 2);
    (void)mallopt(M_MMAP_THRESHOLD, 128 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 256 * 1024);
    pthread_mutex_init(&worker->turn, NULL);
    pthread_mutex_init(&worker->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&worker->ended, &monotonic);
    worker->listener = listener;
    fastcgi_init();
    http_server_init(&worker->server, options);
    waiting_room_start(worker->server.waiting_room);
    metrics_show(worker->server.metrics); /* before the first scrape */
    start_threads(worker);
    log_event(LOG_INFO, "worker.started", LOG_STR("executor", worker->server.engine.executor.id),
              LOG_INT("threads", options->http_threads),
              LOG_INT("connections", options->db_pool_size));
    wait_for_signal(worker);
    /* _exit: the looking thread and what it holds end with the process */
    _exit(drain(worker) ? 0 : error_exit_code(ERR_TIMEOUT));
}
