/* SPDX-License-Identifier: MIT
 *
 * What is claimed and what is out. A message is leased by a claim, stands in the backlog until the
 * client has taken enough of what was put out before, is a flight from then on, and is forgotten
 * when it is acknowledged or its lease has ended. That a flight was written to the client is noted
 * in the database a little later, so that an acknowledgement that comes soon saves the call.
 */
#include "session/state.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/hand_over.h"

void *session_allocate(size_t size)
{
    void *memory = calloc(1, size);

    if (memory == NULL) {
        log_event(LOG_ERROR, "out of memory", LOG_INT("bytes", size));
        abort();
    }
    return memory;
}

/* ---- subscriptions -------------------------------------------------------------------------- */

struct subscription *subscription_find(struct session *session, struct text agent)
{
    struct subscription *each = session->subscriptions;

    while (each != NULL && !text_is(agent, each->agent))
        each = each->next;
    return each;
}

struct subscription *subscription_add(struct session *session, struct text agent)
{
    struct subscription *subscription = session_allocate(sizeof(*subscription));

    memcpy(subscription->agent, agent.data, agent.len);
    subscription->backlog_end = &subscription->backlog;
    subscription->claim_at = subscription->look_at = INT64_MAX;
    subscription->next = session->subscriptions;
    session->subscriptions = subscription;
    return subscription;
}

static void backlog_drop_first(struct subscription *subscription)
{
    struct backlog *backlog = subscription->backlog;

    subscription->in_flight -= (unsigned)(backlog->count - backlog->at);
    subscription->backlog = backlog->next;
    if (subscription->backlog == NULL)
        subscription->backlog_end = &subscription->backlog;
    arena_free(backlog->arena);
}

/* Nothing of it is out any more: a fence, a new subscription, its end. */
void subscription_clear(struct session *session, struct subscription *subscription)
{
    while (subscription->backlog != NULL)
        backlog_drop_first(subscription);
    for (struct flight **at = &session->flights; *at != NULL;) {
        struct flight *flight = *at;

        if (flight->subscription != subscription) {
            at = &flight->next;
            continue;
        }
        *at = flight->next;
        free(flight);
    }
    subscription->in_flight = 0;
    subscription->more = false;
}

void subscription_remove(struct session *session, struct subscription *subscription)
{
    struct subscription **at = &session->subscriptions;

    subscription_clear(session, subscription);
    pulls_unwatched(session, text_of(subscription->agent));
    if (subscription->claim != NULL)
        subscription->claim->state = NULL; /* its answer finds nobody */
    while (*at != NULL && *at != subscription)
        at = &(*at)->next;
    if (*at != NULL)
        *at = subscription->next;
    free(subscription);
}

void deliveries_drop(struct session *session)
{
    while (session->subscriptions != NULL)
        subscription_remove(session, session->subscriptions);
    while (session->flights != NULL)
        flight_remove(session, session->flights);
}

void deliveries_wake(struct session *session, struct subscription *subscription, int64_t at)
{
    (void)session;
    subscription->claim_at = earlier(subscription->claim_at, at);
    subscription->look_at = earlier(subscription->look_at, at + BELL_DELAY_MS);
}

/* ---- flights ------------------------------------------------------------------------------------
 */

void flight_add(struct session *session, struct subscription *subscription, struct text agent,
                const struct delivery *delivery, int64_t lease_ends)
{
    struct flight *flight = session_allocate(sizeof(*flight));

    if (delivery->delivery_id.len > DELIVERY_ID_MAX || agent.len > AGENT_ID_MAX)
        abort();
    memcpy(flight->id, delivery->delivery_id.data, delivery->delivery_id.len);
    memcpy(flight->agent, agent.data, agent.len);
    flight->subscription = subscription;
    flight->output_end = subscription != NULL ? session->put_out : FLIGHT_OUTPUT_LATER;
    flight->lease_ends = lease_ends;
    flight->next = session->flights;
    session->flights = flight;
    session->delivered++;
}

struct flight *flight_find(struct session *session, struct text delivery_id)
{
    struct flight *each = session->flights;

    while (each != NULL && !text_is(delivery_id, each->id))
        each = each->next;
    return each;
}

void flight_remove(struct session *session, struct flight *flight)
{
    struct flight **at = &session->flights;

    while (*at != NULL && *at != flight)
        at = &(*at)->next;
    if (*at == NULL)
        return;
    *at = flight->next;
    if (flight->subscription != NULL)
        flight->subscription->in_flight--;
    free(flight);
    if (session->flights == NULL)
        session->handed_at = INT64_MAX; /* an acknowledgement has said it: nothing to wake up for */
}

static void forget_ended_leases(struct session *session)
{
    struct flight *next;

    for (struct flight *each = session->flights; each != NULL; each = next) {
        next = each->next;
        if (session->now < each->lease_ends)
            continue;
        if (each->subscription != NULL)
            deliveries_wake(session, each->subscription, session->now);
        flight_remove(session, each);
    }
}

/* ---- noting what was handed over
 * -------------------------------------------------------------------- */

void deliveries_written(struct session *session)
{
    for (struct flight *each = session->flights; each != NULL; each = each->next) {
        if (each->state != FLIGHT_BUFFERED || each->output_end > session->written)
            continue;
        each->state = FLIGHT_WRITTEN;
        session->handed_at = earlier(session->handed_at, session->now + HANDED_DELAY_MS);
    }
}

struct handed {
    struct text *ids;
    size_t count;
};

static bool handed_call(struct session *session, struct operation *operation,
                        struct db_call *ret_call)
{
    const struct handed *handed = operation->state;

    (void)session;
    inbox_handed_call(ret_call, operation->arena, handed->ids, handed->count);
    return true;
}

static void handed_answer(struct session *session, struct operation *operation, enum error error,
                          struct failure *failure, struct db_rows *rows)
{
    session->noting = false;
    if (error == OK)
        error = inbox_handed_result(session->engine, operation->arena, rows, failure);
    if (error == OK)
        return;
    for (struct flight *each = session->flights; each != NULL; each = each->next) {
        if (each->state == FLIGHT_NOTED) /* noting twice does no harm */
            each->state = FLIGHT_WRITTEN;
    }
    session->handed_at = session->now + clock_jitter_ms(RETRY_MAX_MS);
}

static const struct operation_kind handed_kind = {"inbox.handed", handed_call, handed_answer,
                                                  false};

/* A message that ends its recipient must count its attempts; so this also goes before whatever
 * gives back. */
void deliveries_note(struct session *session)
{
    struct operation *operation;
    struct handed *handed;
    size_t count = 0;

    session->handed_at = INT64_MAX;
    for (struct flight *each = session->flights; each != NULL; each = each->next)
        count += each->state == FLIGHT_WRITTEN;
    if (count == 0)
        return;
    operation = operation_new(session, &handed_kind);
    handed = arena_alloc(operation->arena, sizeof(*handed));
    handed->ids = arena_array(operation->arena, count, sizeof(*handed->ids));
    for (struct flight *each = session->flights; each != NULL; each = each->next) {
        if (each->state != FLIGHT_WRITTEN)
            continue;
        handed->ids[handed->count++] = arena_text(operation->arena, text_of(each->id));
        each->state = FLIGHT_NOTED;
    }
    operation->state = handed;
    session->noting = true;
}

/* ---- what cannot be put out
 * ----------------------------------------------------------------------------------------- */

struct unfit {
    struct text agent, delivery_id;
};

static bool unfit_call(struct session *session, struct operation *operation,
                       struct db_call *ret_call)
{
    const struct unfit *unfit = operation->state;

    inbox_nack_call(ret_call, operation->arena, session->engine, unfit->agent, unfit->delivery_id,
                    -1, false, TEXT_LITERAL("it is too long for a frame of a WebSocket"));
    return true;
}

/* Where this fails the message comes again, and so does its refusal. */
static void unfit_answer(struct session *session, struct operation *operation, enum error error,
                         struct failure *failure, struct db_rows *rows)
{
    struct nack nack;

    (void)operation;
    if (error == OK)
        error = inbox_nack_result(session->engine, rows, failure, &nack);
    if (error != OK && error != ERR_STALE)
        log_failure("inbox.unfit", failure);
}

static const struct operation_kind unfit_kind = {"inbox.unfit", unfit_call, unfit_answer, true};

/* What no connection can be given would hold the inbox up for ever: it is a dead letter. */
void delivery_refuse(struct session *session, const struct delivery *delivery)
{
    struct operation *operation = operation_new(session, &unfit_kind);
    struct unfit *unfit = arena_alloc(operation->arena, sizeof(*unfit));

    unfit->agent = arena_text(operation->arena, delivery->to);
    unfit->delivery_id = arena_text(operation->arena, delivery->delivery_id);
    operation->state = unfit;
    log_event(LOG_WARN, "inbox.unfit", LOG_TEXT("message", delivery->message_id),
              LOG_TEXT("inbox", delivery->to), LOG_INT("bytes", (int64_t)delivery->bytes));
}

/* ---- putting out
 * --------------------------------------------------------------------------------------- */

static void put_out_backlog(struct session *session, struct subscription *subscription)
{
    while (subscription->backlog != NULL && session_output_room(session)) {
        struct backlog *backlog = subscription->backlog;
        const struct delivery *delivery;
        struct arena *arena;

        if (backlog->at == backlog->count || session->now >= backlog->lease_ends) {
            backlog_drop_first(subscription);
            continue;
        }
        delivery = &backlog->deliveries[backlog->at++];
        arena = arena_new(); /* not the backlog's: that would keep a copy of each to the end */
        if (frame_event(session, arena, "inbox.message", delivery_document(arena, delivery))) {
            flight_add(session, subscription, text_of(subscription->agent), delivery,
                       backlog->lease_ends);
        } else {
            delivery_refuse(session, delivery);
            subscription->in_flight--;
        }
        arena_free(arena);
        if (backlog->at == backlog->count)
            backlog_drop_first(subscription);
    }
}

/* ---- claiming
 * ------------------------------------------------------------------------------------------- */

/* The next claim should bring about CLAIM_BYTES: a mean of what came, the last counting half. */
void claim_size_learn(struct session *session, size_t count, size_t bytes)
{
    int64_t fits;

    if (count == 0)
        return;
    fits = (int64_t)(CLAIM_BYTES / (bytes / count + 256)) + 1;
    session->claim_size = (session->claim_size + fits + 1) / 2;
    if (session->claim_size > INBOX_IN_FLIGHT_MAX)
        session->claim_size = INBOX_IN_FLIGHT_MAX;
}

static size_t backlog_known(const struct backlog *backlog, struct text agent, struct text *ids)
{
    size_t count = 0;

    for (; backlog != NULL; backlog = backlog->next)
        for (size_t i = backlog->at; i < backlog->count; i++)
            if (backlog->agent.data == NULL || text_equal(backlog->agent, agent)) {
                if (ids != NULL)
                    ids[count] = backlog->deliveries[i].delivery_id;
                count++;
            }
    return count;
}

/* The deliveries of this inbox that the session knows to hold; how many, and where asked, which. */
static size_t deliveries_known(const struct session *session,
                               const struct subscription *subscription, struct text *ids)
{
    struct text agent = text_of(subscription->agent);
    size_t count = 0;

    for (const struct flight *each = session->flights; each != NULL; each = each->next)
        if (text_is(agent, each->agent)) {
            if (ids != NULL)
                ids[count] = text_of(each->id);
            count++;
        }
    count += backlog_known(subscription->backlog, agent, ids != NULL ? ids + count : NULL);
    count += backlog_known(session->leftovers, agent, ids != NULL ? ids + count : NULL);
    return count;
}

/* Before anything later is claimed: a message that is leased and unknown would come behind it. */
static void resume_call(struct session *session, struct operation *operation,
                        const struct subscription *subscription, struct db_call *ret_call)
{
    size_t count = deliveries_known(session, subscription, NULL);
    struct text *known = arena_array(operation->arena, count > 0 ? count : 1, sizeof(*known));

    (void)deliveries_known(session, subscription, known);
    inbox_resume_call(ret_call, operation->arena, session->engine, text_of(subscription->agent),
                      subscription->epoch, known, count, ++session->receiving_calls);
    operation->about = TEXT_LITERAL("resume");
}

static bool has_room(const struct session *session, const struct subscription *subscription)
{
    return subscription->in_flight < subscription->max_in_flight && subscription->backlog == NULL &&
           session_output_room(session) && session->farewell_at == INT64_MAX;
}

static bool claim_call(struct session *session, struct operation *operation,
                       struct db_call *ret_call)
{
    struct subscription *subscription = operation->state;
    int64_t limit;

    if (subscription == NULL || !subscription->active)
        return false;
    if (subscription->doubt) {
        resume_call(session, operation, subscription, ret_call);
        return true;
    }
    /* Without room too, but for nothing: that tells who was fenced, and keeps memory in bounds. */
    limit =
        has_room(session, subscription)
            ? earlier(subscription->max_in_flight - subscription->in_flight, session->claim_size)
            : 0;
    operation->limit = limit;
    inbox_claim_call(ret_call, operation->arena, text_of(subscription->agent),
                     session->engine->executor.id, subscription->epoch, subscription->max_in_flight,
                     limit, subscription->lease_ms, NULL, subscription->handed_over);
    inbox_call_audit(ret_call, &session->principal, text_of(subscription->agent));
    return true;
}

static void fenced(struct session *session, struct subscription *subscription)
{
    struct arena *arena = arena_new();
    struct document *payload = document_object(arena);

    document_put_string(payload, "inbox", subscription->agent);
    document_put_string(payload, "consumerId", session->engine->executor.id);
    document_put_int(payload, "epoch", subscription->epoch);
    document_put_string(payload, "reason",
                        "a newer subscription has the inbox, or its agent was deleted");
    (void)frame_event(session, arena, "inbox.fenced", payload);
    arena_free(arena);
    log_event(LOG_INFO, "inbox.fenced", LOG_STR("session", session->engine->executor.id),
              LOG_STR("inbox", subscription->agent));
    session->register_again = true;
    subscription_leave(session, text_of(subscription->agent)); /* it may be a late one of our own */
    subscription_remove(session, subscription);
}

static void claim_failed(struct session *session, struct subscription *subscription,
                         enum error error, const struct failure *failure)
{
    if (error == ERR_FENCED) {
        fenced(session, subscription);
        return;
    }
    if (error == ERR_IN_DOUBT)
        subscription->doubt = true;
    else if (error_retry(error) == RETRY_NEVER)
        log_failure("inbox.claim", failure);
    subscription->claim_at = subscription->look_at =
        session->now +
        clock_jitter_ms(error_retry(error) == RETRY_NEVER ? LOOK_MS : RETRY_FIRST_MS);
}

static void backlog_add(struct session *session, struct subscription *subscription,
                        struct arena *arena, struct delivery *deliveries, size_t count)
{
    struct backlog *backlog = arena_alloc(arena, sizeof(*backlog));

    backlog->arena = arena;
    backlog->deliveries = deliveries;
    backlog->count = count;
    backlog->lease_ends = session->now + subscription->lease_ms;
    *subscription->backlog_end = backlog;
    subscription->backlog_end = &backlog->next;
    subscription->in_flight += (unsigned)count;
}

/* The messages' part of what was claimed; it is what the claim's size is about. */
size_t deliveries_bytes(const struct delivery *deliveries, size_t count)
{
    size_t bytes = 0;

    for (size_t i = 0; i < count; i++)
        bytes += deliveries[i].bytes;
    return bytes;
}

static void claimed(struct session *session, struct subscription *subscription,
                    struct operation *operation, struct delivery *deliveries, size_t count,
                    int64_t next_due_ms)
{
    int64_t look = session->now + clock_jitter_ms(LOOK_MS), claim_at;

    subscription->more = count > 0 && next_due_ms == 0;
    /* earlier: a bell that rang while this claim was under way may be of what it did not see */
    subscription->look_at = earlier(subscription->look_at, look);
    if (operation->limit == 0)
        claim_at = session->now; /* as soon as there is room */
    else if (subscription->more)
        claim_at = session->now;
    else /* what is accepted from now on rings */
        claim_at = next_due_ms >= 0 ? earlier(look, session->now + next_due_ms + 1) : look;
    subscription->claim_at = earlier(subscription->claim_at, claim_at);
    if (count == 0)
        return;
    backlog_add(session, subscription, operation->arena, deliveries, count);
    session->arena_kept = true;
    claim_size_learn(session, count, deliveries_bytes(deliveries, count));
}

/* What was handed over comes with a claim too that did not know of it: then it is dropped here, or,
 * where the claim was faster, there. Returns how many are left. */
static size_t deliveries_unknown(struct subscription *subscription, struct delivery *deliveries,
                                 size_t count)
{
    size_t left = 0;

    for (size_t i = 0; i < count; i++) {
        if (delivery_handed_over(deliveries[i].delivery_id)) {
            if (deliveries[i].inbox_seq <= subscription->handed_over)
                continue;
            subscription->handed_over = deliveries[i].inbox_seq;
        }
        deliveries[left++] = deliveries[i];
    }
    return left;
}

/* Only what this subscription holds: one of before has lost what it held. */
bool deliveries_hand_over(struct session *session, struct text datagram)
{
    struct delivery *delivery;
    struct subscription *subscription;
    struct arena *arena = arena_new();
    struct text agent;
    int64_t epoch;

    delivery = arena_alloc(arena, sizeof(*delivery));
    if (!hand_over_read(arena, datagram, &agent, &epoch, delivery) ||
        (subscription = subscription_find(session, agent)) == NULL || !subscription->active ||
        subscription->doubt || subscription->epoch != epoch) {
        arena_free(arena);
        return false;
    }
    if (delivery->inbox_seq > subscription->handed_over) {
        subscription->handed_over = delivery->inbox_seq;
        backlog_add(session, subscription, arena, delivery, 1);
    } else {
        arena_free(arena);
    }
    return true;
}

static void claim_answer(struct session *session, struct operation *operation, enum error error,
                         struct failure *failure, struct db_rows *rows)
{
    struct subscription *subscription = operation->state;
    struct delivery *deliveries = NULL;
    size_t count = 0;
    int64_t next_due_ms = -1;

    if (subscription == NULL) {
        /* unsubscribed meanwhile: that call comes behind this one and gives it all back */
        return;
    }
    subscription->claim = NULL;
    if (error == OK && rows != NULL && operation->about.data != NULL) {
        subscription->doubt = false;
        subscription->epoch = db_int(rows, 0, 0);
        subscription->claim_at = session->now;
        return;
    }
    if (error == OK && rows != NULL)
        error = inbox_claim_result(operation->arena, text_of(subscription->agent), rows, failure,
                                   &deliveries, &count, &next_due_ms);
    if (error != OK) {
        claim_failed(session, subscription, error, failure);
        return;
    }
    if (rows == NULL)
        return;
    count = deliveries_unknown(subscription, deliveries, count);
    claimed(session, subscription, operation, deliveries, count, next_due_ms);
}

static const struct operation_kind claim_kind = {"inbox.claim", claim_call, claim_answer, false};

static int64_t claim_time(const struct session *session, const struct subscription *subscription)
{
    if (!subscription->active || subscription->claim != NULL)
        return INT64_MAX;
    return has_room(session, subscription) ? earlier(subscription->claim_at, subscription->look_at)
                                           : subscription->look_at;
}

void deliveries_advance(struct session *session)
{
    forget_ended_leases(session);
    if (session->now >= session->handed_at && !session->noting)
        deliveries_note(session);
    for (struct subscription *each = session->subscriptions; each != NULL; each = each->next) {
        put_out_backlog(session, each);
        if (session->now < claim_time(session, each))
            continue;
        (void)handshake_register_again(session);
        each->claim = operation_new(session, &claim_kind);
        each->claim->state = each;
        each->claim_at = each->look_at = INT64_MAX;
    }
}

int64_t deliveries_deadline(const struct session *session)
{
    int64_t deadline = session->noting ? INT64_MAX : session->handed_at;

    for (const struct subscription *each = session->subscriptions; each != NULL; each = each->next)
        deadline = earlier(deadline, claim_time(session, each));
    for (const struct flight *each = session->flights; each != NULL; each = each->next)
        deadline = earlier(deadline, each->lease_ends);
    return deadline;
}
