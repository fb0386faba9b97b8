/* SPDX-License-Identifier: MIT */
#include "durable/bells.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"

#define OWED_BYTES 128 /* a host's name has 64, an executor's id 36, a delivery's id less */

/* Of one kind, each once. */
struct owed {
    char each[BELLS_OWED_MAX][OWED_BYTES];
    size_t count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct owed owed_bells, owed_back;
static atomic_size_t hint; /* how many of both, to be looked at without the lock */
static atomic_uint_fast64_t sent;

static void owe(struct owed *owed, struct text what)
{
    size_t i = 0;

    if (!what.data || what.len == 0 || what.len >= OWED_BYTES)
        return;
    pthread_mutex_lock(&lock);
    while (i < owed->count && !text_is(what, owed->each[i]))
        i++;
    if (i == owed->count && owed->count < BELLS_OWED_MAX) {
        snprintf(owed->each[owed->count++], OWED_BYTES, "%.*s", (int)what.len, what.data);
        atomic_fetch_add(&hint, 1);
    }
    pthread_mutex_unlock(&lock);
}

/* All of one kind, owed no longer. */
static struct text *take(struct owed *owed, struct arena *arena, size_t *ret_count)
{
    struct text *taken = arena_array(arena, BELLS_OWED_MAX, sizeof(*taken));

    pthread_mutex_lock(&lock);
    *ret_count = owed->count;
    for (size_t i = 0; i < owed->count; i++)
        taken[i] = arena_text(arena, text_of(owed->each[i]));
    atomic_fetch_sub(&hint, owed->count);
    owed->count = 0;
    pthread_mutex_unlock(&lock);
    return taken;
}

void bells_owe(struct text bell)
{
    if (bell.data && memchr(bell.data, '/', bell.len))
        owe(&owed_bells, bell);
}

void bells_owe_back(struct text delivery_id)
{
    owe(&owed_back, delivery_id);
}

bool bells_owed(void)
{
    return atomic_load(&hint) > 0;
}

static void notify_call(struct arena *arena, const struct text *bells, size_t count,
                        struct db_call *ret_call)
{
    struct text *hosts = arena_array(arena, count, sizeof(*hosts));
    struct text *executors = arena_array(arena, count, sizeof(*executors));

    for (size_t i = 0; i < count; i++) {
        const char *slash = memchr(bells[i].data, '/', bells[i].len);

        hosts[i] = (struct text){bells[i].data, (size_t)(slash - bells[i].data)};
        executors[i] = text_of(slash + 1);
    }
    atomic_fetch_add(&sent, count);
    db_call_init(ret_call, arena, STATEMENT_BELL_NOTIFY);
    db_add_texts(ret_call, hosts, count);
    db_add_texts(ret_call, executors, count);
}

bool bells_call(struct arena *arena, struct db_call *ret_call)
{
    struct text *taken;
    size_t count;

    if (!bells_owed())
        return false;
    taken = take(&owed_back, arena, &count);
    if (count > 0) {
        db_call_init(ret_call, arena, STATEMENT_INBOX_GIVE_BACK);
        db_add_texts(ret_call, taken, count);
        return true;
    }
    taken = take(&owed_bells, arena, &count);
    if (count > 0)
        notify_call(arena, taken, count, ret_call);
    return count > 0; /* or another thread was faster */
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
    while (bells_call(arena, &call))
        if (db_run(db, &call, &unused, &rows) != OK)
            unused.error = OK; /* who waits there looks by itself */
    arena_free(arena);
}

uint64_t bells_sent(void)
{
    return atomic_load(&sent);
}
