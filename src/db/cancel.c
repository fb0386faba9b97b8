/* SPDX-License-Identifier: MIT
 *
 * Asking the server to stop a statement. PQcancel opens a connection of its own and waits for the
 * other side to close it, for ever where that side is stopped; so it does that in a thread of its
 * own, which is left to itself where it takes too long.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "db/internal.h"

struct cancel {
    PGcancel *request;
    atomic_int holders; /* the thread and the connection; the last one frees */
    atomic_bool finished;
};

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
    PGcancel *request = PQgetCancel(conn);
    if (!request)
        return NULL;
    struct cancel *cancel = calloc(1, sizeof *cancel);
    if (!cancel)
        abort();
    cancel->request = request;
    atomic_init(&cancel->holders, 2);
    atomic_init(&cancel->finished, false);
    if (start_thread(cancel))
        return cancel;
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
