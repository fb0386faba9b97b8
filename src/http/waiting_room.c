/* SPDX-License-Identifier: MIT
 *
 * A waiter is on the stack of its thread and in the list as long as it waits. The looking thread
 * copies what it asks for under the mutex, asks without it, and looks the waiters up again by
 * their numbers to answer: who has left meanwhile is not found.
 */
#include "http/waiting_room.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bell.h"
#include "base/clock.h"
#include "base/log.h"
#include "db/statement.h"
#include "http/watch.h"

#define LOOK_INTERVAL_MS  600 /* with jitter: 300 to 900 */
#define LOOK_PAUSE_MS     5   /* between two looks, however often the bell rings */
#define REGISTER_RETRY_MS 1000
#define GONE_INTERVAL_MS  1000

struct waiter {
    struct waiter *next;
    uint64_t number;
    pthread_cond_t changed;
    bool done;
    struct arena *arena;             /* message: of its thread, which sleeps */
    struct message_receipt *receipt; /* message, else NULL */
    struct text agent;               /* inbox */
};

struct waiting_room {
    struct http_server *server;
    pthread_mutex_t mutex;
    pthread_condattr_t monotonic;
    struct waiter *first;
    struct watches watches;
    uint64_t last_number;
    uint64_t rings;                   /* how often the bell was heard */
    char (*places)[AGENT_ID_MAX + 1]; /* whose each is; "": free */
    size_t place_count;
    bool look_now, closed;
    int wake[2]; /* a byte wakes the looking thread */
    struct bell bell;
};

struct waiting_room *waiting_room_new(struct http_server *server)
{
    struct waiting_room *room = calloc(1, sizeof(*room));

    if (room == NULL || pipe(room->wake) != 0)
        abort();
    for (int i = 0; i < 2; i++) {
        (void)fcntl(room->wake[i], F_SETFL, O_NONBLOCK);
        (void)fcntl(room->wake[i], F_SETFD, FD_CLOEXEC);
    }
    room->server = server;
    room->bell.fd = -1;
    room->place_count = (size_t)(server->options->http_threads + 1) / 2;
    room->places = calloc(room->place_count, sizeof(*room->places));
    if (room->places == NULL)
        abort();
    pthread_mutex_init(&room->mutex, NULL);
    pthread_condattr_init(&room->monotonic);
    pthread_condattr_setclock(&room->monotonic, CLOCK_MONOTONIC);
    return room;
}

static void wake_looker(struct waiting_room *room)
{
    ssize_t ignored = write(room->wake[1], "", 1); /* full: it is awake already */

    (void)ignored;
}

bool message_is_settled(const struct message_receipt *receipt)
{
    return receipt->status != MESSAGE_QUEUED && receipt->status != MESSAGE_DELIVERED;
}

/* ---- the looking thread -----------------------------------------------------------------------
 */

struct question {
    struct arena *arena;
    size_t message_count, agent_count;
    uint64_t *message_numbers, *agent_numbers;
    struct text *ids, *agents;
    int64_t *seqs;
};

static void collect(struct waiting_room *room, struct question *question)
{
    size_t count = 0, m = 0, a = 0;

    for (const struct waiter *waiter = room->first; waiter != NULL; waiter = waiter->next)
        count++;
    question->message_numbers = arena_array(question->arena, count, sizeof(uint64_t));
    question->agent_numbers = arena_array(question->arena, count, sizeof(uint64_t));
    question->ids = arena_array(question->arena, count, sizeof(struct text));
    question->agents = arena_array(question->arena, count, sizeof(struct text));
    question->seqs = arena_array(question->arena, count, sizeof(int64_t));
    for (const struct waiter *waiter = room->first; waiter != NULL; waiter = waiter->next) {
        if (waiter->done)
            continue;
        if (waiter->receipt != NULL) {
            question->message_numbers[m] = waiter->number;
            question->seqs[m] = waiter->receipt->inbox_seq;
            question->ids[m++] = arena_text(question->arena, waiter->receipt->workflow_id);
        } else {
            question->agent_numbers[a] = waiter->number;
            question->agents[a++] = arena_text(question->arena, waiter->agent);
        }
    }
    question->message_count = m;
    question->agent_count = a;
}

static struct waiter *find(struct waiting_room *room, uint64_t number)
{
    for (struct waiter *waiter = room->first; waiter != NULL; waiter = waiter->next)
        if (waiter->number == number)
            return waiter;
    return NULL;
}

static void finish(struct waiter *waiter)
{
    waiter->done = true;
    pthread_cond_signal(&waiter->changed);
}

static void tell_message(struct waiter *waiter, const struct message_receipt *news)
{
    struct message_receipt *receipt = waiter->receipt;

    receipt->status = news->status;
    receipt->attempts = news->attempts;
    receipt->last_attempt = arena_text(waiter->arena, news->last_attempt);
    if (!message_is_settled(news))
        return;
    receipt->response = arena_text(waiter->arena, news->response);
    receipt->reason = arena_text(waiter->arena, news->reason);
    finish(waiter);
}

static void look_for_messages(struct waiting_room *room, struct question *question)
{
    struct message_receipt *receipts;
    struct failure failure = {.error = OK};
    struct db_rows *rows;
    struct db_call call;
    size_t count;

    message_look_call(&call, question->arena, question->ids, question->seqs,
                      question->message_count);
    if (http_database_run(room->server, &call, &failure, &rows) != OK ||
        message_look_result(question->arena, rows, &failure, &receipts, &count) != OK) {
        log_failure("wait.look", &failure);
        return;
    }
    pthread_mutex_lock(&room->mutex);
    for (size_t r = 0; r < count; r++)
        for (size_t i = 0; i < question->message_count; i++)
            if (text_equal(question->ids[i], receipts[r].workflow_id)) {
                struct waiter *waiter = find(room, question->message_numbers[i]);

                if (waiter != NULL && !waiter->done)
                    tell_message(waiter, &receipts[r]);
            }
    pthread_mutex_unlock(&room->mutex);
}

static void look_for_inboxes(struct waiting_room *room, struct question *question)
{
    struct failure failure = {.error = OK};
    struct db_rows *rows;
    struct db_call call;

    db_call_init(&call, question->arena, STATEMENT_INBOX_READY);
    db_add_texts(&call, question->agents, question->agent_count);
    if (http_database_run(room->server, &call, &failure, &rows) != OK) {
        log_failure("wait.look", &failure);
        return;
    }
    pthread_mutex_lock(&room->mutex);
    for (size_t r = 0; r < db_rows_count(rows); r++)
        for (size_t i = 0; i < question->agent_count; i++)
            if (text_equal(question->agents[i], db_text(rows, r, 0))) {
                struct waiter *waiter = find(room, question->agent_numbers[i]);

                if (waiter != NULL)
                    finish(waiter);
            }
    pthread_mutex_unlock(&room->mutex);
}

/* So that this process is rung for the inboxes that somebody waits for. */
static void tell_watches(struct waiting_room *room, const struct db_call *call)
{
    struct failure failure = {.error = OK};
    struct db_rows *rows = NULL;

    if (http_database_run(room->server, call, &failure, &rows) != OK) {
        log_failure("wait.watch", &failure);
        rows = NULL;
    }
    pthread_mutex_lock(&room->mutex);
    watches_result(&room->watches, rows, clock_ms());
    pthread_mutex_unlock(&room->mutex);
}

/* The watches first: what came before the database knew of them is found by the look. */
static void look(struct waiting_room *room)
{
    struct question question = {.arena = arena_new()};
    struct db_call call;
    bool news;

    pthread_mutex_lock(&room->mutex);
    room->look_now = false;
    collect(room, &question);
    news = watches_call(&room->watches, question.arena, room->server->engine.executor.id,
                        clock_ms(), &call);
    pthread_mutex_unlock(&room->mutex);
    if (news)
        tell_watches(room, &call);
    if (question.message_count > 0)
        look_for_messages(room, &question);
    if (question.agent_count > 0)
        look_for_inboxes(room, &question);
    arena_free(question.arena);
}

/* This process, as one that may be rung. True: the database knows it. */
static bool register_executor(struct waiting_room *room)
{
    struct arena *arena = arena_new();
    struct failure failure = {.error = OK};
    struct db_rows *rows;
    struct db_call call;
    enum error error;

    executor_register_call(&call, arena, &room->server->engine.executor, NULL, TEXT_NONE);
    error = http_database_run(room->server, &call, &failure, &rows);
    if (error != OK)
        log_failure("executor.register", &failure);
    arena_free(arena);
    return error == OK;
}

/* Until the bell rings, somebody wakes us, or the time has come. */
static void listen_for_bell(struct waiting_room *room, int64_t until_ms)
{
    struct pollfd fds[2] = {{.fd = room->wake[0], .events = POLLIN},
                            {.fd = room->bell.fd, .events = POLLIN}};
    int64_t pause = until_ms - clock_ms();
    char bytes[64];

    if (poll(fds, 2, pause > 0 ? (int)pause : 0) <= 0)
        return;
    while (read(room->wake[0], bytes, sizeof(bytes)) > 0)
        ;
    if ((fds[1].revents & POLLIN) == 0)
        return;
    bell_drain(&room->bell);
    pthread_mutex_lock(&room->mutex);
    room->rings++;
    room->look_now = room->first != NULL;
    log_event(LOG_DEBUG, "wait.rung", LOG_INT("rings", (int64_t)room->rings),
              LOG_INT("waiting", room->look_now));
    pthread_mutex_unlock(&room->mutex);
}

static void *looking_thread(void *argument)
{
    struct waiting_room *room = argument;
    int64_t next_register = 0, next_look = 0;

    for (;;) {
        bool waiting, look_now;
        int64_t now = clock_ms(), watch_at, until;

        if (now >= next_register) {
            bool known = register_executor(room);

            now = clock_ms();
            next_register = now + (known ? room->server->options->executor_lease_ms / 3
                                         : clock_jitter_ms(REGISTER_RETRY_MS));
        }
        pthread_mutex_lock(&room->mutex);
        waiting = room->first != NULL;
        look_now = room->look_now;
        watch_at = watches_due(&room->watches);
        pthread_mutex_unlock(&room->mutex);
        if ((waiting && (look_now || now >= next_look)) || now >= watch_at) {
            look(room);
            clock_sleep_ms(LOOK_PAUSE_MS);
            next_look = clock_ms() + clock_jitter_ms(LOOK_INTERVAL_MS);
            continue;
        }
        if (!waiting)
            next_look = now + clock_jitter_ms(LOOK_INTERVAL_MS);
        until = waiting && next_look < next_register ? next_look : next_register;
        listen_for_bell(room, watch_at < until ? watch_at : until);
    }
    return NULL;
}

void waiting_room_start(struct waiting_room *room)
{
    const struct options *options = room->server->options;
    struct failure failure = {.error = OK};
    pthread_attr_t attributes;
    pthread_t thread;

    if (bell_open(&room->bell, options->runtime_dir, room->server->engine.executor.id, &failure) !=
        OK)
        log_failure("bell.open", &failure); /* waits then end by looking: late, not lost */
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attributes, looking_thread, room) != 0)
        abort();
    pthread_attr_destroy(&attributes);
}

void waiting_room_close(struct waiting_room *room)
{
    pthread_mutex_lock(&room->mutex);
    room->closed = true;
    for (struct waiter *waiter = room->first; waiter != NULL; waiter = waiter->next)
        pthread_cond_signal(&waiter->changed);
    pthread_mutex_unlock(&room->mutex);
    if (room->bell.path[0] != '\0')
        (void)unlink(
            room->bell.path); /* nobody need ring any more; the looking thread still reads it */
}

/* ---- those who wait ---------------------------------------------------------------------------
 */

/* What one principal may have: the rest is there for the others. */
static size_t share_of(size_t places)
{
    return (places * 3 + 3) / 4;
}

/* Called with the mutex held. "": a place that is free; NULL: there is none. */
static char *find_place(struct waiting_room *room, const char *whose, size_t *ret_count)
{
    char *found = NULL;

    *ret_count = 0;
    for (size_t i = 0; i < room->place_count; i++) {
        if (strcmp(room->places[i], whose) != 0)
            continue;
        found = room->places[i];
        ++*ret_count;
    }
    return found;
}

enum error waiting_room_enter(struct waiting_room *room, const struct principal *principal,
                              struct failure *failure, uint64_t *ret_mark)
{
    size_t own, left;
    char *place;

    pthread_mutex_lock(&room->mutex);
    (void)find_place(room, principal->id, &own);
    place = find_place(room, "", &left);
    if (place != NULL && own < share_of(room->place_count)) {
        memcpy(place, principal->id, sizeof(*room->places));
        *ret_mark = room->rings;
    }
    pthread_mutex_unlock(&room->mutex);
    if (place == NULL)
        return failure_set(failure, ERR_OVERLOADED,
                           "too many requests are waiting; ask again without waiting, or later");
    if (own >= share_of(room->place_count))
        return failure_set(failure, ERR_OVERLOADED,
                           "%zu requests of yours are waiting here; ask again without waiting, or "
                           "when one of them is answered",
                           own);
    return OK;
}

void waiting_room_leave(struct waiting_room *room, const struct principal *principal)
{
    size_t own;
    char *place;

    pthread_mutex_lock(&room->mutex);
    place = find_place(room, principal->id, &own);
    if (place != NULL)
        place[0] = '\0';
    pthread_mutex_unlock(&room->mutex);
}

/* Called with the mutex held: sleeps until something may have changed, or it is time to see whether
 * anybody is still interested. */
static void sleep_a_while(struct waiting_room *room, struct waiter *waiter, int64_t deadline_ms)
{
    int64_t slice_ms = clock_ms() + GONE_INTERVAL_MS;
    int64_t until_ms = slice_ms < deadline_ms ? slice_ms : deadline_ms;
    struct timespec until = {.tv_sec = (time_t)(until_ms / 1000),
                             .tv_nsec = (long)(until_ms % 1000) * 1000000};

    (void)pthread_cond_timedwait(&waiter->changed, &room->mutex, &until);
}

/* Called with the mutex held. */
static bool wait_until(struct waiting_room *room, const struct http_request *request,
                       struct waiter *waiter, int64_t deadline_ms)
{
    struct waiter **link = &room->first;

    pthread_cond_init(&waiter->changed, &room->monotonic);
    waiter->number = ++room->last_number;
    waiter->next = room->first;
    room->first = waiter;
    wake_looker(room);
    while (!waiter->done && !room->closed && clock_ms() < deadline_ms &&
           (request->is_gone == NULL || !request->is_gone(request->is_gone_context)))
        sleep_a_while(room, waiter, deadline_ms);
    while (*link != waiter)
        link = &(*link)->next;
    *link = waiter->next;
    pthread_cond_destroy(&waiter->changed);
    return waiter->done;
}

bool waiting_room_message(struct waiting_room *room, const struct http_request *request,
                          uint64_t mark, int64_t deadline_ms, struct message_receipt *receipt)
{
    struct waiter waiter = {.arena = request->arena, .receipt = receipt};
    bool settled;

    http_server_bells(room->server); /* who is waited for may be on another host */
    pthread_mutex_lock(&room->mutex);
    room->look_now = room->look_now || room->rings != mark;
    settled = wait_until(room, request, &waiter, deadline_ms);
    pthread_mutex_unlock(&room->mutex);
    return settled;
}

uint64_t waiting_room_mark(struct waiting_room *room)
{
    uint64_t mark;

    pthread_mutex_lock(&room->mutex);
    mark = room->rings;
    pthread_mutex_unlock(&room->mutex);
    return mark;
}

bool waiting_room_inbox(struct waiting_room *room, const struct http_request *request,
                        struct text agent, uint64_t mark, int64_t deadline_ms)
{
    struct waiter waiter = {.agent = agent};
    struct watch *watch;
    bool ready, rung;

    http_server_bells(room->server);
    pthread_mutex_lock(&room->mutex);
    watch = watch_enter(&room->watches, agent, clock_ms(), &rung);
    room->look_now = room->look_now || !rung || room->rings != mark;
    ready = wait_until(room, request, &waiter, deadline_ms);
    watch_leave(watch, clock_ms());
    pthread_mutex_unlock(&room->mutex);
    return ready;
}
