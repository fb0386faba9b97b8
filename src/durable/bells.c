/* SPDX-License-Identifier: MIT */
#include "durable/bells.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/arena.h"

#define BELL_MAX 128 /* a host's name has 64 bytes, an executor's id 36 */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char owed[BELLS_OWED_MAX][BELL_MAX];
static size_t owed_count;
static atomic_size_t hint; /* the same, to be looked at without the lock */
static atomic_uint_fast64_t sent;

void bells_owe(struct text bell)
{
    size_t i = 0;

    if (!bell.data || bell.len == 0 || bell.len >= BELL_MAX || !memchr(bell.data, '/', bell.len))
        return;
    pthread_mutex_lock(&lock);
    while (i < owed_count && !text_is(bell, owed[i]))
        i++;
    if (i == owed_count && owed_count < BELLS_OWED_MAX) {
        snprintf(owed[owed_count++], BELL_MAX, "%.*s", (int)bell.len, bell.data);
        atomic_store(&hint, owed_count);
    }
    pthread_mutex_unlock(&lock);
}

bool bells_owed(void)
{
    return atomic_load(&hint) > 0;
}

bool bells_call(struct arena *arena, struct db_call *ret_call)
{
    struct text *hosts, *executors;
    size_t count;

    if (!bells_owed())
        return false;
    hosts = arena_array(arena, BELLS_OWED_MAX, sizeof(*hosts));
    executors = arena_array(arena, BELLS_OWED_MAX, sizeof(*executors));
    pthread_mutex_lock(&lock);
    count = owed_count;
    for (size_t i = 0; i < count; i++) {
        struct text whole = arena_text(arena, text_of(owed[i]));
        const char *slash = memchr(whole.data, '/', whole.len);

        hosts[i] = (struct text){whole.data, (size_t)(slash - whole.data)};
        executors[i] = text_of(slash + 1);
    }
    owed_count = 0;
    atomic_store(&hint, 0);
    pthread_mutex_unlock(&lock);
    if (count == 0) /* another thread was faster */
        return false;
    atomic_fetch_add(&sent, count);
    db_call_init(ret_call, arena, STATEMENT_BELL_NOTIFY);
    db_add_texts(ret_call, hosts, count);
    db_add_texts(ret_call, executors, count);
    return true;
}

void bells_send(struct db *db)
{
    struct failure unused = {.error = OK};
    struct arena *arena;
    struct db_rows *rows;
    struct db_call call;

    if (!bells_owed())
        return;
    arena = arena_new();
    if (bells_call(arena, &call) && db_run(db, &call, &unused, &rows) != OK)
        unused.error = OK; /* who waits there looks by itself */
    arena_free(arena);
}

uint64_t bells_sent(void)
{
    return atomic_load(&sent);
}
