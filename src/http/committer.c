/* SPDX-License-Identifier: MIT
 *
 * A batch belongs to the thread that leads it; the entries in it belong to threads that sleep
 * until theirs is done, so the leader may read their requests and write into their arenas.
 */
#include "http/committer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"

#define BATCH_MAX       256     /* messages of different callers in one call */
#define BATCH_BYTES_MAX 1048576 /* of their bodies */

/* A connection keeps buffers of the size of the largest call it has made. After one larger than
 * this it is closed: to open another costs less than the call did. */
#define CONNECTION_BYTES_MAX 262144

enum entry_state { ENTRY_QUEUED, ENTRY_TAKEN, ENTRY_DONE };

struct entry {
    struct entry *next;
    enum entry_state state;
    pthread_cond_t changed;
    struct arena *arena;
    const struct principal *principal;
    const struct message_request *requests;
    size_t count, bytes;
    struct message_receipt *receipts;
    enum error error;
    struct failure failure;
};

struct committer {
    struct http_server *server;
    pthread_mutex_t mutex;
    struct entry *first, **last; /* of those that are ENTRY_QUEUED */
    pthread_condattr_t monotonic;
};

struct committer *committer_new(struct http_server *server)
{
    struct committer *committer = calloc(1, sizeof(*committer));

    if (committer == NULL)
        abort();
    committer->server = server;
    committer->last = &committer->first;
    pthread_mutex_init(&committer->mutex, NULL);
    pthread_condattr_init(&committer->monotonic);
    pthread_condattr_setclock(&committer->monotonic, CLOCK_MONOTONIC);
    return committer;
}

static void remove_entry(struct committer *committer, struct entry *entry)
{
    struct entry **link = &committer->first;

    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
    if (committer->last == &entry->next)
        committer->last = link;
}

/* Takes what stands in the line, as far as one call carries it; at least the first. */
static struct entry *take_entries(struct committer *committer)
{
    struct entry *taken = committer->first;
    struct entry *end = taken;
    size_t count = taken->count, bytes = taken->bytes;

    taken->state = ENTRY_TAKEN;
    while (end->next != NULL && count + end->next->count <= BATCH_MAX &&
           bytes + end->next->bytes <= BATCH_BYTES_MAX) {
        end = end->next;
        end->state = ENTRY_TAKEN;
        count += end->count;
        bytes += end->bytes;
    }
    committer->first = end->next;
    if (committer->first == NULL)
        committer->last = &committer->first;
    end->next = NULL;
    return taken;
}

static void copy_receipt(struct arena *arena, const struct message_receipt *from,
                         struct message_receipt *to)
{
    *to = *from;
    to->workflow_id = arena_text(arena, from->workflow_id);
    to->message_id = arena_text(arena, from->message_id);
    to->last_attempt = arena_text(arena, from->last_attempt);
    to->response = arena_text(arena, from->response);
    to->reason = arena_text(arena, from->reason);
}

/* One call for all entries of the chain. */
static enum error commit(struct committer *committer, struct db *db, struct entry *chain,
                         struct failure *failure)
{
    struct arena *arena = arena_new();
    struct message_batch *batch = message_batch_new(arena, &committer->server->engine);
    struct db_rows *rows = NULL;
    struct db_call call;
    enum error error = OK;
    size_t index = 0, bytes = 0;

    for (struct entry *entry = chain; entry != NULL; entry = entry->next) {
        bytes += entry->bytes;
        for (size_t i = 0; i < entry->count; i++)
            (void)message_batch_add(batch, entry->principal, &entry->requests[i]);
    }
    if (message_batch_call(batch, &call))
        error = http_database_retry(committer->server, db, &call, failure, &rows);
    if (error == OK)
        error = message_batch_result(batch, rows, failure);
    if (error == OK)
        for (struct entry *entry = chain; entry != NULL; entry = entry->next)
            for (size_t i = 0; i < entry->count; i++)
                copy_receipt(entry->arena, message_batch_receipt(batch, index++),
                             &entry->receipts[i]);
    arena_free(arena);
    if (bytes > CONNECTION_BYTES_MAX)
        db_close(db);
    return error;
}

/* Commits the chain; where the database refuses the whole for a reason that lies in one of them,
 * each is tried by itself, so that it costs nobody else. */
static void commit_chain(struct committer *committer, struct db *db, struct entry *chain)
{
    struct failure failure = {.error = OK};
    enum error error = commit(committer, db, chain, &failure);

    for (struct entry *entry = chain, *next; entry != NULL; entry = next) {
        next = entry->next;
        if (error != OK && error_retry(error) == RETRY_NEVER && chain->next != NULL) {
            entry->next = NULL;
            entry->error = commit(committer, db, entry, &entry->failure);
            entry->next = next;
        } else {
            entry->error = error;
            entry->failure = failure;
        }
    }
}

/* Leads with this connection; called and returns with the mutex held. */
static void lead(struct committer *committer, struct db *db)
{
    struct entry *chain = take_entries(committer);

    pthread_mutex_unlock(&committer->mutex);
    commit_chain(committer, db, chain);
    db_pool_give(committer->server->pool, db);

    pthread_mutex_lock(&committer->mutex);
    for (struct entry *entry = chain, *next; entry != NULL; entry = next) {
        next = entry->next; /* its thread is gone as soon as it sees it done */
        entry->state = ENTRY_DONE;
        pthread_cond_signal(&entry->changed);
    }
    if (committer->first != NULL)
        pthread_cond_signal(&committer->first->changed);
}

static enum error wait_in_line(struct committer *committer, struct entry *entry)
{
    int64_t deadline = clock_ms() + committer->server->options->db_timeout_ms;
    struct timespec until = {.tv_sec = (time_t)(deadline / 1000),
                             .tv_nsec = (long)(deadline % 1000) * 1000000};

    while (entry->state != ENTRY_DONE) {
        struct db *db = entry->state == ENTRY_QUEUED ? db_pool_try(committer->server->pool) : NULL;

        if (db != NULL) {
            lead(committer, db);
        } else if (entry->state == ENTRY_TAKEN) {
            pthread_cond_wait(&entry->changed, &committer->mutex);
        } else if (pthread_cond_timedwait(&entry->changed, &committer->mutex, &until) ==
                       ETIMEDOUT &&
                   entry->state == ENTRY_QUEUED) {
            remove_entry(committer, entry);
            /* a nudge may have been meant for this entry */
            if (committer->first != NULL)
                pthread_cond_signal(&committer->first->changed);
            return failure_set(&entry->failure, ERR_OVERLOADED,
                               "no database connection became free in time");
        }
    }
    return entry->error;
}

enum error committer_send(struct committer *committer, struct arena *arena,
                          const struct principal *principal, const struct message_request *requests,
                          size_t count, size_t bytes, struct failure *failure,
                          struct message_receipt *ret_receipts)
{
    struct entry entry = {
        .arena = arena,
        .principal = principal,
        .requests = requests,
        .count = count,
        .bytes = bytes,
        .receipts = arena_array(arena, count, sizeof(*ret_receipts)),
    };
    enum error error;

    pthread_cond_init(&entry.changed, &committer->monotonic);
    pthread_mutex_lock(&committer->mutex);
    *committer->last = &entry;
    committer->last = &entry.next;
    error = wait_in_line(committer, &entry);
    pthread_mutex_unlock(&committer->mutex);
    pthread_cond_destroy(&entry.changed);

    if (error != OK) {
        if (failure != NULL)
            *failure = entry.failure;
        return error;
    }
    for (size_t i = 0; i < count; i++)
        ret_receipts[i] = entry.receipts[i];
    return OK;
}

void committer_nudge(struct committer *committer)
{
    pthread_mutex_lock(&committer->mutex);
    if (committer->first != NULL)
        pthread_cond_signal(&committer->first->changed);
    pthread_mutex_unlock(&committer->mutex);
}
