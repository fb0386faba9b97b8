/* SPDX-License-Identifier: MIT
 *
 * Threads that run what is enqueued, so that one long step holds up nobody else. Each claims one
 * workflow at a time, runs it, and comes again while there is work; who has claimed something calls
 * the next thread first. So an idle queue costs one claim for each wake, and a full one keeps
 * all threads busy.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "durable/run.h"

struct engine_workers {
    const struct engine *engine;
    struct claim_tokens tokens;
    pthread_mutex_t lock;
    pthread_cond_t work, ended;
    unsigned calls; /* how many threads are to look for work now */
    unsigned count, alive;
    bool stop;
    int64_t ran, failed;
};

struct worker {
    struct engine_workers *workers;
    size_t number;
};

static void call_one(void *context)
{
    struct engine_workers *workers = context;

    pthread_mutex_lock(&workers->lock);
    if (workers->calls < workers->count)
        workers->calls++;
    pthread_cond_signal(&workers->work);
    pthread_mutex_unlock(&workers->lock);
}

/* Waits to be called. False: the end. */
static bool await_call(struct engine_workers *workers, bool go_on)
{
    bool stop;

    pthread_mutex_lock(&workers->lock);
    while (!go_on && !workers->stop && workers->calls == 0)
        pthread_cond_wait(&workers->work, &workers->lock);
    if (!go_on && workers->calls > 0)
        workers->calls--;
    stop = workers->stop;
    pthread_mutex_unlock(&workers->lock);
    return !stop;
}

static void *work(void *argument)
{
    struct worker worker = *(struct worker *)argument;
    struct engine_workers *workers = worker.workers;
    struct db *db = db_new(DB_POOLED);
    int claimed = 0;

    free(argument);
    while (await_call(workers, claimed > 0)) {
        struct failure failure = {0};
        enum error error = claim_and_run(workers->engine, &workers->tokens, worker.number, db, 1,
                                         call_one, workers, &failure, &claimed);

        pthread_mutex_lock(&workers->lock);
        workers->ran += claimed;
        workers->failed += error != OK;
        pthread_mutex_unlock(&workers->lock);
        if (error) {
            log_failure("workflow.run_failed", &failure);
            claimed = 0; /* not again at once */
        }
    }
    db_free(db);
    pthread_mutex_lock(&workers->lock);
    workers->alive--;
    pthread_cond_signal(&workers->ended);
    pthread_mutex_unlock(&workers->lock);
    return NULL;
}

struct engine_workers *engine_workers_start(const struct engine *engine, int count)
{
    struct engine_workers *workers = calloc(1, sizeof *workers);
    pthread_condattr_t attributes;
    pthread_attr_t detached;
    sigset_t all, before;

    if (!workers)
        abort();
    workers->engine = engine;
    workers->count = count > CLAIM_RUNNERS_MAX ? CLAIM_RUNNERS_MAX : (unsigned)count;
    pthread_mutex_init(&workers->lock, NULL);
    pthread_mutex_init(&workers->tokens.lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&workers->work, NULL);
    pthread_cond_init(&workers->ended, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    /* signals are the main thread's */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 0; i < workers->count; i++) {
        struct worker *worker = calloc(1, sizeof *worker);
        pthread_t thread;

        if (!worker)
            abort();
        *worker = (struct worker){.workers = workers, .number = i};
        pthread_mutex_lock(&workers->lock);
        if (pthread_create(&thread, &detached, work, worker) == 0)
            workers->alive++;
        else
            free(worker);
        pthread_mutex_unlock(&workers->lock);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&detached);
    return workers;
}

void engine_workers_wake(struct engine_workers *workers)
{
    call_one(workers);
}

void engine_workers_counts(struct engine_workers *workers, int64_t *ret_ran, int64_t *ret_failed)
{
    pthread_mutex_lock(&workers->lock);
    *ret_ran = workers->ran;
    *ret_failed = workers->failed;
    workers->ran = workers->failed = 0;
    pthread_mutex_unlock(&workers->lock);
}

bool engine_workers_stop(struct engine_workers *workers, int64_t timeout_ms)
{
    struct timespec until;
    bool all;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&workers->lock);
    workers->stop = true;
    pthread_cond_broadcast(&workers->work);
    while (workers->alive > 0 &&
           pthread_cond_timedwait(&workers->ended, &workers->lock, &until) != ETIMEDOUT)
        ;
    all = workers->alive == 0;
    pthread_mutex_unlock(&workers->lock);
    if (!all)
        return false;
    pthread_cond_destroy(&workers->work);
    pthread_cond_destroy(&workers->ended);
    pthread_mutex_destroy(&workers->lock);
    pthread_mutex_destroy(&workers->tokens.lock);
    free(workers);
    return true;
}
