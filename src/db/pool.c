/* SPDX-License-Identifier: MIT
 *
 * A few connections for many threads. The one given back last is taken first, so those that are
 * not needed stay closed or idle.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "db/internal.h"

struct db_pool {
    pthread_mutex_t mutex;
    pthread_cond_t given;
    size_t size;
    size_t free_count;
    size_t waiting;
    struct db **all;
    struct db **free; /* a stack */
};

struct db_pool *db_pool_new(size_t size)
{
    struct db_pool *pool = calloc(1, sizeof *pool);
    if (!pool || !(pool->all = calloc(size, sizeof *pool->all)) ||
        !(pool->free = calloc(size, sizeof *pool->free)))
        abort();

    pthread_condattr_t attributes;
    if (pthread_mutex_init(&pool->mutex, NULL) != 0 || pthread_condattr_init(&attributes) != 0 ||
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) != 0 ||
        pthread_cond_init(&pool->given, &attributes) != 0)
        abort();
    pthread_condattr_destroy(&attributes);

    pool->size = pool->free_count = size;
    for (size_t i = 0; i < size; i++)
        pool->free[i] = pool->all[i] = db_new(DB_POOLED);
    return pool;
}

void db_pool_free(struct db_pool *pool)
{
    if (!pool)
        return;
    for (size_t i = 0; i < pool->size; i++)
        db_free(pool->all[i]);
    pthread_cond_destroy(&pool->given);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->all);
    free(pool->free);
    free(pool);
}

static struct db *pop(struct db_pool *pool)
{
    return pool->free_count > 0 ? pool->free[--pool->free_count] : NULL;
}

enum error db_pool_take(struct db_pool *pool, struct failure *failure, struct db **ret_db)
{
    int64_t timeout_ms = db_settings()->timeout_ms;
    int64_t until = clock_ms() + timeout_ms;
    struct timespec deadline = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};

    pthread_mutex_lock(&pool->mutex);
    struct db *db;
    int waited = 0;
    pool->waiting++;
    while (!(db = pop(pool)) && waited != ETIMEDOUT)
        waited = pthread_cond_timedwait(&pool->given, &pool->mutex, &deadline);
    pool->waiting--;
    pthread_mutex_unlock(&pool->mutex);

    if (!db)
        return failure_set(failure, ERR_OVERLOADED,
                           "all %zu database connections of this process were in use for %lld ms; "
                           "DB_POOL_SIZE sets how many there are",
                           pool->size, (long long)timeout_ms);
    *ret_db = db;
    return OK;
}

void db_pool_use(struct db_pool *pool, size_t *ret_busy, size_t *ret_waiting)
{
    pthread_mutex_lock(&pool->mutex);
    *ret_busy = pool->size - pool->free_count;
    *ret_waiting = pool->waiting;
    pthread_mutex_unlock(&pool->mutex);
}

struct db *db_pool_try(struct db_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    struct db *db = pop(pool);
    pthread_mutex_unlock(&pool->mutex);
    return db;
}

void db_pool_give(struct db_pool *pool, struct db *db)
{
    if (db_busy(db))
        db_close(db); /* a call was abandoned on it */
    pthread_mutex_lock(&pool->mutex);
    pool->free[pool->free_count++] = db;
    pthread_cond_signal(&pool->given);
    pthread_mutex_unlock(&pool->mutex);
}
