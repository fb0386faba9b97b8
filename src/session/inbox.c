/* SPDX-License-Identifier: MIT
 *
 * What a client says about its inbox. protocol.md, Receiving.
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/delivery_request.h"
#include "session/state.h"

#define LEASE_DEFAULT(session) ((session)->options->lease_ms)

static void refuse(struct session *session, struct request *request, enum error error,
                   const char *detail)
{
    struct failure failure = {0};

    error = failure_set(&failure, error, "%s", detail);
    frame_error(session, request, error, &failure);
    request_end(session, request);
}

/* Whether another's inbox exists is not said. */
bool request_inbox(struct session *session, struct request *request, struct text *ret_agent)
{
    struct text agent = document_get_string(request->params, "inbox");

    if (agent.data == NULL)
        agent = text_of(session->principal.id);
    agent = message_recipient(agent);
    if (!text_is_agent_id(agent)) {
        request_invalid(session, request, "inbox is the id of an agent");
        return false;
    }
    if (!principal_may_read_inbox(&session->principal, agent)) {
        refuse(session, request, ERR_FORBIDDEN, "an agent reads its own inbox only");
        return false;
    }
    *ret_agent = agent;
    return true;
}

/* ---- subscribe --------------------------------------------------------------------------------
 */

struct subscribing {
    struct text agent, consumer;
    bool exclusive;
    int64_t max_in_flight, lease_ms;
};

static bool subscribe_call(struct session *session, struct operation *operation,
                           struct db_call *ret_call)
{
    const struct subscribing *wanted = operation->requests->state;

    inbox_subscribe_call(ret_call, operation->arena, session->engine, wanted->agent,
                         wanted->consumer, wanted->exclusive, wanted->max_in_flight,
                         wanted->lease_ms, ++session->receiving_calls);
    inbox_call_audit(ret_call, &session->principal, wanted->agent);
    return true;
}

/* What was out is ready again in the database: a subscription begins with nothing in flight. */
static void subscribed(struct session *session, const struct subscribing *wanted,
                       const struct inbox_subscription *got)
{
    struct subscription *subscription = subscription_find(session, wanted->agent);

    if (subscription == NULL)
        subscription = subscription_add(session, wanted->agent);
    else
        subscription_clear(session, subscription);
    subscription->epoch = got->epoch;
    subscription->max_in_flight = wanted->max_in_flight;
    subscription->lease_ms = wanted->lease_ms;
    subscription->active = true;
    subscription->doubt = false;
    deliveries_wake(session, subscription, session->now);
}

static void subscribe_answer(struct session *session, struct operation *operation, enum error error,
                             struct failure *failure, struct db_rows *rows)
{
    struct request *request = operation->requests;
    const struct subscribing *wanted = request->state;
    struct inbox_subscription got;
    struct document *payload;

    if (error == OK)
        error = inbox_subscribe_result(session->engine, rows, failure, &got);
    if (error == ERR_FENCED) {
        session->register_again = true; /* that has not come about, or somebody has buried us */
        error = failure_set(failure, ERR_UNAVAILABLE, "this connection is being registered again");
    }
    if (error != OK) {
        /* where there was one before, its next claim finds out */
        if (operation->in_doubt && subscription_find(session, wanted->agent) == NULL)
            subscription_leave(session, wanted->agent);
        frame_error(session, request, error, failure);
        request_end(session, request);
        return;
    }
    if (session->state == SESSION_OPEN)
        subscribed(session, wanted, &got);
    payload = document_object(request->arena);
    document_put_text(payload, "inbox", wanted->agent);
    document_put_string(payload, "consumerId", session->engine->executor.id);
    document_put_int(payload, "epoch", got.epoch);
    document_put_int(payload, "pending", got.pending);
    document_put_int(payload, "inFlight", got.in_flight);
    document_put_int(payload, "maxInFlight", wanted->max_in_flight);
    document_put_int(payload, "leaseMs", wanted->lease_ms);
    frame_result(session, request, payload);
    request_end(session, request);
}

static const struct operation_kind subscribe_kind = {"inbox.subscribe", subscribe_call,
                                                     subscribe_answer, true};

void method_inbox_subscribe(struct session *session, struct request *request)
{
    struct subscribing *wanted = arena_alloc(request->arena, sizeof(*wanted));
    unsigned count = 0;

    request->state = wanted;
    if (!request_inbox(session, request, &wanted->agent) ||
        !request_int(session, request, "maxInFlight", 1, INBOX_IN_FLIGHT_MAX, 1,
                     &wanted->max_in_flight) ||
        !request_int(session, request, "leaseMs", INBOX_LEASE_MIN_MS, INBOX_LEASE_MAX_MS,
                     LEASE_DEFAULT(session), &wanted->lease_ms))
        return;
    wanted->exclusive = document_bool(document_get(request->params, "exclusive"), true);
    wanted->consumer = document_get_string(request->params, "consumer");
    if (wanted->consumer.len > CLIENT_FIELD_MAX) {
        request_invalid(session, request, "consumer is a string of at most %d bytes",
                        CLIENT_FIELD_MAX);
        return;
    }
    for (struct subscription *each = session->subscriptions; each != NULL; each = each->next)
        count++;
    if (count >= SUBSCRIPTIONS_MAX && subscription_find(session, wanted->agent) == NULL) {
        refuse(session, request, ERR_OVERLOADED, "a connection subscribes to at most 16 inboxes");
        return;
    }
    (void)handshake_register_again(session);
    deliveries_note(session);
    operation_serve(operation_new(session, &subscribe_kind), request);
}

/* ---- unsubscribe
 * ---------------------------------------------------------------------------------- */

struct unsubscribing {
    bool had; /* this session knew of a subscription, which a repeated call would not find */
};

/* Its own request, or of nobody's: then a subscription since then stays. */
static bool unsubscribe_call(struct session *session, struct operation *operation,
                             struct db_call *ret_call)
{
    if (operation->requests == NULL && subscription_find(session, operation->about) != NULL)
        return false;
    inbox_unsubscribe_call(ret_call, operation->arena, session->engine, operation->about,
                           ++session->receiving_calls);
    return true;
}

static void unsubscribe_answer(struct session *session, struct operation *operation,
                               enum error error, struct failure *failure, struct db_rows *rows)
{
    struct request *request = operation->requests;
    const struct unsubscribing *unsubscribing;
    struct document *payload;

    if (error != OK && error_retry(error) != RETRY_NEVER)
        subscription_leave(session, operation->about);
    if (request == NULL)
        return;
    unsubscribing = request->state;
    if (error != OK) {
        frame_error(session, request, error, failure);
    } else {
        payload = document_object(request->arena);
        document_put_text(payload, "inbox", operation->about);
        document_put_bool(payload, "unsubscribed", unsubscribing->had || db_bool(rows, 0, 0));
        frame_result(session, request, payload);
    }
    request_end(session, request);
}

static const struct operation_kind unsubscribe_kind = {"inbox.unsubscribe", unsubscribe_call,
                                                       unsubscribe_answer, true};

static struct operation *unsubscribe_new(struct session *session, struct text agent)
{
    struct operation *operation = operation_new(session, &unsubscribe_kind);

    operation->about = arena_text(operation->arena, agent);
    return operation;
}

/* Until it is done: what the database takes for subscribed keeps others from what comes. */
void subscription_leave(struct session *session, struct text agent)
{
    if (session->state != SESSION_OPEN || session->left)
        return; /* its end gives everything back */
    pulls_unwatched(session, agent);
    (void)unsubscribe_new(session, agent);
}

void method_inbox_unsubscribe(struct session *session, struct request *request)
{
    struct unsubscribing *unsubscribing = arena_alloc(request->arena, sizeof(*unsubscribing));
    struct subscription *subscription;
    struct text agent;

    request->state = unsubscribing;
    if (!request_inbox(session, request, &agent))
        return;
    deliveries_note(session);
    subscription = subscription_find(session, agent);
    unsubscribing->had = subscription != NULL;
    if (subscription != NULL)
        subscription_remove(session, subscription);
    operation_serve(unsubscribe_new(session, agent), request);
}

/* ---- the delivery ids of a request
 * ------------------------------------------------------------------ */

struct named {
    struct text agent;
    struct delivery_request said;
};

/* The inbox is that of the deliveries, or the one the client says, or the only one there is. */
static bool need_agent_of(struct session *session, struct request *request, struct named *named)
{
    struct subscription *only = session->subscriptions;
    struct text inbox = document_get_string(request->params, "inbox");

    for (size_t i = 0; i < named->said.count && inbox.data == NULL; i++) {
        struct flight *flight = flight_find(session, named->said.ids[i]);

        if (flight == NULL)
            continue;
        if (named->agent.data != NULL && !text_is(named->agent, flight->agent)) {
            request_invalid(session, request, "the deliveries of one request are of one inbox");
            return false;
        }
        named->agent = arena_text(request->arena, text_of(flight->agent));
    }
    if (inbox.data == NULL && named->agent.data == NULL && only != NULL && only->next == NULL)
        named->agent = arena_text(request->arena, text_of(only->agent));
    if (named->agent.data != NULL)
        return true;
    return request_inbox(session, request, &named->agent);
}

/* NULL: the request is over, as `error` says or because it is of no inbox. */
static struct named *need_named(struct session *session, struct request *request, enum error error,
                                const struct failure *failure, const struct delivery_request *said)
{
    struct named *named = arena_alloc(request->arena, sizeof(*named));

    request->state = named;
    named->said = *said;
    if (error != OK) {
        frame_error(session, request, error, failure);
        request_end(session, request);
        return NULL;
    }
    return need_agent_of(session, request, named) ? named : NULL;
}

/* It is settled or gone: there is room for the next, where one was left behind. */
static void landed(struct session *session, struct text delivery_id)
{
    struct flight *flight = flight_find(session, delivery_id);
    struct subscription *subscription = flight != NULL ? flight->subscription : NULL;

    if (flight == NULL)
        return;
    flight_remove(session, flight);
    if (subscription == NULL || !subscription->more)
        return; /* what comes from now on rings */
    /* a wide window is filled again half by half, so that acknowledgements share a claim */
    bool now = subscription->in_flight * 2 <= subscription->max_in_flight;
    subscription->claim_at =
        earlier(subscription->claim_at, session->now + (now ? 0 : CLAIM_DELAY_MS));
}

/* ---- acknowledge
 * ---------------------------------------------------------------------------------------- */

static bool ack_call(struct session *session, struct operation *operation, struct db_call *ret_call)
{
    struct ack_request *requests;
    size_t count = 0;

    for (struct request *each = operation->requests; each != NULL; each = each->next)
        count += ((const struct named *)each->state)->said.count;
    requests = arena_array(operation->arena, count, sizeof(*requests));
    count = 0;
    for (struct request *each = operation->requests; each != NULL; each = each->next) {
        const struct named *named = each->state;

        for (size_t i = 0; i < named->said.count; i++)
            requests[count++] = (struct ack_request){named->said.ids[i], named->said.response};
    }
    inbox_ack_call(ret_call, operation->arena, session->engine, operation->about, requests, count);
    inbox_call_audit(ret_call, &session->principal, operation->about);
    return true;
}

struct acked {
    struct text id;
    struct ack *ack;
};

static int compare_acked(const void *left, const void *right)
{
    const struct acked *a = left, *b = right;
    size_t len = a->id.len < b->id.len ? a->id.len : b->id.len;
    int order = memcmp(a->id.data, b->id.data, len);

    if (order == 0 && a->id.len != b->id.len)
        order = a->id.len < b->id.len ? -1 : 1;
    return order != 0 ? order : (a->ack > b->ack) - (a->ack < b->ack);
}

/* The database answers for a delivery, however often it is named: the first time settles it. */
static void ack_once(struct operation *operation, struct ack *acks, size_t count)
{
    struct acked *sorted = arena_array(operation->arena, count, sizeof(*sorted));
    size_t sorted_count = 0;

    for (struct request *each = operation->requests; each != NULL; each = each->next) {
        const struct named *named = each->state;

        for (size_t i = 0; i < named->said.count; i++, acks++) {
            if (acks->outcome == ACK_ACKED)
                sorted[sorted_count++] = (struct acked){named->said.ids[i], acks};
        }
    }
    if (sorted_count > 1)
        qsort(sorted, sorted_count, sizeof(*sorted), compare_acked);
    for (size_t i = 1; i < sorted_count; i++) {
        if (text_equal(sorted[i].id, sorted[i - 1].id))
            sorted[i].ack->outcome = ACK_ALREADY;
    }
}

static void ack_answered(struct session *session, struct request *request, const struct ack *acks)
{
    static const char *const names[] = {"acked", "already", "stale"};
    const struct named *named = request->state;
    struct document *payload = document_object(request->arena);
    struct document *lists[3];

    for (size_t k = 0; k < 3; k++)
        lists[k] = document_array(request->arena);
    for (size_t i = 0; i < named->said.count; i++) {
        document_append(lists[acks[i].outcome],
                        document_from_text(request->arena, named->said.ids[i]));
        session->acked += acks[i].outcome == ACK_ACKED;
        landed(session, named->said.ids[i]);
    }
    for (size_t k = 0; k < 3; k++)
        document_put(payload, names[k], lists[k]);
    frame_result(session, request, payload);
    request_end(session, request);
}

static void ack_answer(struct session *session, struct operation *operation, enum error error,
                       struct failure *failure, struct db_rows *rows)
{
    struct request *request, *next;
    struct ack *acks = NULL;
    size_t count = 0, at = 0, wanted = 0;

    if (error == OK)
        error = inbox_ack_result(session->engine, operation->arena, rows, failure, &acks, &count);
    for (request = operation->requests; request != NULL; request = request->next)
        wanted += ((const struct named *)request->state)->said.count;
    if (error == OK && count != wanted)
        error = failure_set(failure, ERR_INTERNAL, "%zu of %zu outcomes came", count, wanted);
    if (error == OK)
        ack_once(operation, acks, count);
    for (request = operation->requests; request != NULL; request = next) {
        const struct named *named = request->state;
        size_t own = named->said.count;

        next = request->next;
        if (error == OK) {
            ack_answered(session, request, acks + at);
        } else {
            frame_error(session, request, error, failure);
            request_end(session, request);
        }
        at += own;
    }
}

static const struct operation_kind ack_kind = {"inbox.ack", ack_call, ack_answer, true};

void method_inbox_ack(struct session *session, struct request *request)
{
    struct delivery_request said = {0};
    struct failure failure = {0};
    enum error error =
        ack_request_read(request->arena, session->options, request->params, &failure, &said);
    struct named *named = need_named(session, request, error, &failure, &said);

    if (named == NULL)
        return;
    for (size_t i = 0; i < named->said.count; i++) {
        struct flight *flight = flight_find(session, named->said.ids[i]);

        if (flight != NULL)
            flight->state = FLIGHT_NOTED; /* the acknowledgement says it too */
    }
    operation_serve(operation_join(session, &ack_kind, named->agent), request);
}

/* ---- refuse
 * ------------------------------------------------------------------------------------------------
 */

static bool nack_call(struct session *session, struct operation *operation,
                      struct db_call *ret_call)
{
    const struct named *named = operation->requests->state;

    inbox_nack_call(ret_call, operation->arena, session->engine, named->agent, named->said.ids[0],
                    named->said.delay_ms, named->said.requeue, named->said.reason);
    inbox_call_audit(ret_call, &session->principal, named->agent);
    return true;
}

static void nack_answer(struct session *session, struct operation *operation, enum error error,
                        struct failure *failure, struct db_rows *rows)
{
    struct request *request = operation->requests;
    const struct named *named = request->state;
    struct document *payload;
    struct nack nack;

    if (error == OK)
        error = inbox_nack_result(session->engine, rows, failure, &nack);
    if (error == OK || error == ERR_STALE)
        landed(session, named->said.ids[0]);
    if (error != OK) {
        frame_error(session, request, error, failure);
        request_end(session, request);
        return;
    }
    struct subscription *subscription = subscription_find(session, named->agent);
    if (subscription != NULL && !nack.dead)
        subscription->claim_at =
            earlier(subscription->claim_at, session->now + nack.next_attempt_in_ms + 1);
    payload = document_object(request->arena);
    document_put_string(payload, "status", nack.dead ? "dead" : "requeued");
    document_put_int(payload, "attempt", nack.attempt);
    if (!nack.dead)
        document_put_int(payload, "nextAttemptAt", nack.next_attempt_at);
    frame_result(session, request, payload);
    request_end(session, request);
}

static const struct operation_kind nack_kind = {"inbox.nack", nack_call, nack_answer, true};

void method_inbox_nack(struct session *session, struct request *request)
{
    struct delivery_request said = {0};
    struct failure failure = {0};
    enum error error = nack_request_read(request->arena, request->params, &failure, &said);

    if (need_named(session, request, error, &failure, &said) == NULL)
        return;
    deliveries_note(session);
    operation_serve(operation_new(session, &nack_kind), request);
}

/* ---- extend
 * ---------------------------------------------------------------------------------------------------
 */

static bool extend_call(struct session *session, struct operation *operation,
                        struct db_call *ret_call)
{
    const struct named *named = operation->requests->state;

    inbox_extend_call(ret_call, operation->arena, named->agent, named->said.ids, named->said.count,
                      named->said.lease_ms);
    inbox_call_audit(ret_call, &session->principal, named->agent);
    return true;
}

static void extend_answer(struct session *session, struct operation *operation, enum error error,
                          struct failure *failure, struct db_rows *rows)
{
    struct request *request = operation->requests;
    const struct named *named = request->state;
    struct document *payload;
    int64_t expires = 0;
    size_t count = 0;

    if (error == OK)
        error = inbox_extend_result(session->engine, rows, failure, &count, &expires);
    if (error == OK && count == 0)
        error = failure_set(failure, ERR_STALE, "none of these deliveries is current");
    if (error != OK) {
        frame_error(session, request, error, failure);
        request_end(session, request);
        return;
    }
    for (size_t i = 0; i < named->said.count; i++) {
        struct flight *flight = flight_find(session, named->said.ids[i]);

        if (flight != NULL)
            flight->lease_ends = session->now + named->said.lease_ms;
    }
    payload = document_object(request->arena);
    document_put_int(payload, "extended", (int64_t)count);
    document_put_int(payload, "leaseExpiresAt", expires);
    frame_result(session, request, payload);
    request_end(session, request);
}

static const struct operation_kind extend_kind = {"inbox.extend", extend_call, extend_answer, true};

void method_inbox_extend(struct session *session, struct request *request)
{
    struct delivery_request said = {0};
    struct failure failure = {0};
    enum error error =
        extend_request_read(request->arena, session->options, request->params, &failure, &said);

    if (need_named(session, request, error, &failure, &said) == NULL)
        return;
    deliveries_note(session);
    operation_serve(operation_new(session, &extend_kind), request);
}

/* ---- stats
 * --------------------------------------------------------------------------------------------------------
 */

static bool stats_call(struct session *session, struct operation *operation,
                       struct db_call *ret_call)
{
    const struct text *agent = operation->requests->state;

    (void)session;
    inbox_stats_call(ret_call, operation->arena, *agent);
    return true;
}

static void stats_answer(struct session *session, struct operation *operation, enum error error,
                         struct failure *failure, struct db_rows *rows)
{
    struct request *request = operation->requests;
    const struct text *agent = request->state;
    struct document *payload;
    struct inbox_stats stats;

    if (error == OK)
        error = inbox_stats_result(rows, failure, &stats);
    if (error != OK) {
        frame_error(session, request, error, failure);
        request_end(session, request);
        return;
    }
    payload = document_object(request->arena);
    document_put_text(payload, "inbox", *agent);
    document_put_int(payload, "depth", stats.ready + stats.in_flight);
    document_put_int(payload, "ready", stats.ready);
    document_put_int(payload, "inFlight", stats.in_flight);
    document_put_int(payload, "redelivered", stats.redelivered);
    document_put_int(payload, "dead", stats.dead);
    if (stats.oldest_ms >= 0)
        document_put_int(payload, "oldestMs", stats.oldest_ms);
    frame_result(session, request, payload);
    request_end(session, request);
}

static const struct operation_kind stats_kind = {"inbox.stats", stats_call, stats_answer, true};

void method_inbox_stats(struct session *session, struct request *request)
{
    struct text *agent = arena_alloc(request->arena, sizeof(*agent));

    request->state = agent;
    if (request_inbox(session, request, agent))
        operation_serve(operation_new(session, &stats_kind), request);
}
