/* SPDX-License-Identifier: MIT
 *
 * Asking the server to stop a statement. PQcancel opens a connection of its own and waits for the
 * other side to close it, for ever where that side is stopped; so it does that in a thread of its
 * own, which is left to itself where it takes too long.
 *
 * A process that ends waits for it, for a while: PgBouncer before 1.20 ends itself ("bad client
 * state") where who asked has gone before the server has answered (its issue 801), and takes every
 * connection of everybody with it.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "db/internal.h"

struct cancel {
    PGcancel *request;
    atomic_int holders; /* the thread and the connection; the last one frees */
    atomic_bool finished;
};

static atomic_int unfinished; /* requests on their way, also those that nobody waits for any more */

static void wait_for_all(void)
{
    int64_t deadline = clock_ms() + DB_CANCEL_MS;

    while (atomic_load(&unfinished) > 0 && clock_ms() < deadline)
        clock_sleep_ms(1);
}

static void wait_at_exit(void)
{
    (void)atexit(wait_for_all);
}

static void release(struct cancel *cancel)
{
    if (atomic_fetch_sub(&cancel->holders, 1) > 1)
        return;
    PQfreeCancel(cancel->request);
    free(cancel);
}

static void *send_request(void *argument)
{
    struct cancel *cancel = argument;
    char ignored[256];
    (void)PQcancel(cancel->request, ignored, sizeof ignored);
    atomic_store(&cancel->finished, true);
    release(cancel);
    (void)atomic_fetch_sub(&unfinished, 1);
    return NULL;
}

/* Signals are for the threads that the program knows of. */
static bool start_thread(struct cancel *cancel)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    pthread_t thread;
    if (pthread_attr_init(&attributes) != 0)
        return false;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0 &&
                   pthread_create(&thread, &attributes, send_request, cancel) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return started;
}

struct cancel *cancel_start(PGconn *conn)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    PGcancel *request = PQgetCancel(conn);
    if (!request)
        return NULL;
    struct cancel *cancel = calloc(1, sizeof *cancel);
    if (!cancel)
        abort();
    cancel->request = request;
    atomic_init(&cancel->holders, 2);
    atomic_init(&cancel->finished, false);
    (void)pthread_once(&once, wait_at_exit);
    (void)atomic_fetch_add(&unfinished, 1);
    if (start_thread(cancel))
        return cancel;
    (void)atomic_fetch_sub(&unfinished, 1);
    atomic_store(&cancel->holders, 1);
    release(cancel);
    return NULL;
}

bool cancel_end(struct cancel *cancel)
{
    if (!cancel)
        return true;
    bool finished = atomic_load(&cancel->finished);
    release(cancel);
    return finished;
}
