/* SPDX-License-Identifier: MIT
 *
 * The queue of database operations: one connection, one operation at a time, in order. While the
 * database is away nothing starts before a jittered pause; who has waited for DB_TIMEOUT_MS is
 * answered, and may ask again. After an answer that was lost the same call goes out again: every
 * transition does once what it does.
 */
#include "session/state.h"

#include "base/clock.h"
#include "base/log.h"

struct operation *operation_new(struct session *session, const struct operation_kind *kind)
{
    struct arena *arena = arena_new();
    struct operation *operation = arena_alloc(arena, sizeof(*operation));

    operation->kind = kind;
    operation->arena = arena;
    operation->requests_end = &operation->requests;
    operation->deadline = session->now + session->options->db_timeout_ms;
    *session->queue_end = operation;
    session->queue_end = &operation->next;
    return operation;
}

struct operation *operation_join(struct session *session, const struct operation_kind *kind,
                                 struct text about)
{
    struct operation *operation;

    for (operation = session->queue; operation != NULL; operation = operation->next) {
        if (operation->kind == kind && !operation->started && operation->count < MERGE_MAX &&
            text_equal(operation->about, about))
            return operation;
    }
    operation = operation_new(session, kind);
    operation->about = about.data != NULL ? arena_text(operation->arena, about) : about;
    return operation;
}

void operation_serve(struct operation *operation, struct request *request)
{
    request->next = NULL;
    *operation->requests_end = request;
    operation->requests_end = &request->next;
    operation->count++;
}

/* Takes the operation out of the queue, wherever it stands. */
static void take_out(struct session *session, struct operation *operation)
{
    struct operation **at = &session->queue;

    while (*at != NULL && *at != operation)
        at = &(*at)->next;
    if (*at == NULL)
        return;
    *at = operation->next;
    if (session->queue_end == &operation->next)
        session->queue_end = at;
    operation->next = NULL;
}

static bool is_transient(enum error error)
{
    return error == ERR_UNAVAILABLE || error == ERR_SERIALIZATION || error == ERR_READ_ONLY ||
           error == ERR_IN_DOUBT || error == ERR_OVERLOADED || error == ERR_TIMEOUT;
}

static void finish(struct session *session, struct operation *operation, enum error error,
                   const struct failure *failure, struct db_rows *rows)
{
    struct failure own = {0};
    struct arena *arena;

    if (failure != NULL)
        own = *failure;
    if (operation->in_doubt && is_transient(error))
        error =
            failure_set(&own, ERR_IN_DOUBT,
                        "the database went away before it answered; ask again with the same key");
    arena = operation->arena;
    session->arena_kept = false;
    operation->kind->answer(session, operation, error, &own, rows);
    if (!session->arena_kept) /* else it may be gone by now, and the operation with it */
        arena_free(arena);
}

static void pause_database(struct session *session, enum error error)
{
    int64_t pause = RETRY_FIRST_MS;
    bool away = error != ERR_SERIALIZATION;

    for (unsigned i = 0; away && i < session->retries && pause < RETRY_MAX_MS; i++)
        pause *= 2;
    session->retries++;
    session->retry_at = session->now + clock_jitter_ms(pause < RETRY_MAX_MS ? pause : RETRY_MAX_MS);
}

const struct db_call *session_call(struct session *session, int64_t now)
{
    struct operation *operation;

    session->now = now;
    while ((operation = session->queue) != NULL) {
        bool asked;

        if (session->state >= SESSION_ENDING ? !session->wound_up : now < session->retry_at)
            return NULL;
        take_out(session, operation);
        operation->started = true;
        asked = operation->kind->call(session, operation, &operation->call);
        if (asked) {
            session->running = operation;
            return &operation->call;
        }
        finish(session, operation, OK, NULL, NULL);
    }
    return NULL;
}

void session_answer(struct session *session, enum error error, const struct failure *failure,
                    struct db_rows *rows, int64_t now)
{
    struct operation *operation = session->running;

    session->now = now;
    session->running = NULL;
    if (operation == NULL)
        return;
    operation->attempts++;
    operation->in_doubt |= error == ERR_IN_DOUBT;
    if (!is_transient(error)) {
        session->retries = 0;
        session->retry_at = 0;
    } else {
        bool first = session->retries == 0 && error != ERR_SERIALIZATION;

        pause_database(session, error);
        if (operation->kind->patient && now < operation->deadline &&
            session->state != SESSION_ENDING) {
            if (first) /* why the client waits; who gives up later does not know it any more */
                log_failure(operation->kind->name, failure);
            operation->next = session->queue;
            session->queue = operation;
            if (operation->next == NULL)
                session->queue_end = &operation->next;
            return;
        }
        if (operation->attempts == 1 || operation->kind->patient)
            log_failure(operation->kind->name, failure);
    }
    finish(session, operation, error, failure, rows);
    session_advance(session, now);
}

static void give_up(struct session *session, struct operation *operation, const char *why)
{
    struct failure failure = {0};
    enum error error = failure_set(&failure, ERR_UNAVAILABLE, "%s", why);

    take_out(session, operation);
    finish(session, operation, error, &failure, NULL);
}

/* Only while the database is away: otherwise the queue moves and everybody's turn comes. */
void operations_expire(struct session *session)
{
    struct operation *operation, *next;

    if (session->retry_at == 0 || session->running != NULL)
        return;
    for (operation = session->queue; operation != NULL; operation = next) {
        next = operation->next;
        if (session->now >= operation->deadline) {
            give_up(session, operation, "the database cannot be reached; nothing was done");
            next = session->queue; /* an answer may have changed the queue */
            if (session->retry_at == 0)
                return;
            while (next != NULL && session->now < next->deadline)
                next = next->next;
        }
    }
}

void operations_drop(struct session *session)
{
    while (session->queue != NULL)
        give_up(session, session->queue, "the connection is being closed; nothing was done");
}

int64_t operations_deadline(const struct session *session)
{
    int64_t deadline = INT64_MAX;

    if (session->queue == NULL || session->running != NULL)
        return INT64_MAX;
    if (session->retry_at > session->now) {
        deadline = session->retry_at;
        for (const struct operation *each = session->queue; each != NULL; each = each->next)
            deadline = earlier(deadline, each->deadline);
        return deadline;
    }
    return session->now;
}

void operation_abandon(struct session *session, struct operation *operation)
{
    struct failure failure = {0};
    enum error error = failure_set(&failure, ERR_IN_DOUBT,
                                   "the connection is being closed; the outcome is unknown");

    finish(session, operation, error, &failure, NULL);
}
