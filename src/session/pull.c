/* SPDX-License-Identifier: MIT
 *
 * inbox.pull: for clients that take no pushes. One that finds nothing and waits has the database
 * know that it is to be rung (inbox_watch.sql), and looks by itself too until its time is up. What
 * it took is held by this connection and given back when that ends.
 */
#include "session/state.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define PULL_MAX        100
#define PULL_WAIT_MAX   30000
#define RESULT_OVERHEAD 128 /* bytes of a frame around the messages and the request's id */
#define PULL_LOOK_MS    400 /* where nobody rings; else as subscribers do */

static struct lost_pull **lost_find(struct session *session, struct text agent)
{
    struct lost_pull **at = &session->lost_pulls;

    while (*at != NULL && !text_is(agent, (*at)->agent))
        at = &(*at)->next;
    return at;
}

static void lost_drop(struct lost_pull **at)
{
    struct lost_pull *lost = *at;

    *at = lost->next;
    free(lost);
}

/* Its answer will not come, but it may have taken something: what the next pull of the inbox then
 * gets first, or a later message of the same sender would come before it. */
static void lost_note(struct session *session, const struct pull *pull)
{
    struct lost_pull **at = &session->lost_pulls, *lost;
    unsigned count = 0;

    if (*lost_find(session, pull->agent) != NULL)
        return; /* it was asked for by this pull, too */
    lost = session_allocate(sizeof(*lost));
    memcpy(lost->agent, pull->agent.data, pull->agent.len);
    memcpy(lost->token, pull->token, INBOX_TOKEN_LEN);
    for (; *at != NULL; at = &(*at)->next)
        count++;
    *at = lost;
    if (count == PULLS_MAX)
        lost_drop(&session->lost_pulls);
}

/* The token is chosen here, one call after the other, so that no two pulls get the same. */
static bool pull_call(struct session *session, struct operation *operation,
                      struct db_call *ret_call)
{
    struct pull *pull = operation->state;

    if (pull == NULL)
        return false;
    if (pull->token == NULL) {
        const struct lost_pull *lost = *lost_find(session, pull->agent);

        pull->token = lost != NULL ? arena_printf(pull->request->arena, "%s", lost->token)
                                   : inbox_claim_token(pull->request->arena);
    }
    inbox_claim_call(ret_call, operation->arena, pull->agent, session->engine->executor.id, 0, 0,
                     earlier(pull->max, session->claim_size), pull->lease_ms, pull->token, 0);
    inbox_call_audit(ret_call, &session->principal, pull->agent);
    return true;
}

static void take_out(struct session *session, struct pull *pull)
{
    struct pull **at = &session->pulls;

    while (*at != NULL && *at != pull)
        at = &(*at)->next;
    if (*at != NULL)
        *at = pull->next;
    if (pull->operation != NULL)
        pull->operation->state = NULL;
}

static void leftovers_drop(struct backlog **at)
{
    struct backlog *backlog = *at;

    *at = backlog->next;
    arena_free(backlog->arena);
}

/* Moves what there is for the pull into the answer: at most `max`, and no more than one frame may
 * have. What is left is the next pull's, while its lease lasts. */
static void take_leftovers(struct session *session, struct pull *pull, struct document *messages)
{
    struct backlog **at = &session->leftovers;
    size_t bytes = 0, most = (size_t)session->options->max_message_size - FRAME_OVERHEAD;
    int64_t taken = 0;

    while (*at != NULL) {
        struct backlog *backlog = *at;

        if (session->now >= backlog->lease_ends || backlog->at == backlog->count) {
            leftovers_drop(at);
            continue;
        }
        if (!text_equal(backlog->agent, pull->agent)) {
            at = &backlog->next;
            continue;
        }
        const struct delivery *delivery = &backlog->deliveries[backlog->at];
        struct document *message = delivery_document(backlog->arena, delivery);
        size_t len = document_text(backlog->arena, message).len + 1;

        if (len + pull->request->id.len + RESULT_OVERHEAD > most + FRAME_OVERHEAD) {
            backlog->at++;
            delivery_refuse(session, delivery);
            continue;
        }
        if (taken >= pull->max || (taken > 0 && bytes + len > most))
            return;
        bytes += len;
        taken++;
        backlog->at++;
        document_append(messages, document_copy(pull->request->arena, message));
        flight_add(session, NULL, pull->agent, delivery, backlog->lease_ends);
    }
}

static void pull_finish(struct session *session, struct pull *pull)
{
    struct request *request = pull->request;
    struct document *messages = document_array(request->arena);

    take_out(session, pull);
    take_leftovers(session, pull, messages);
    frame_result(session, request,
                 document_put(document_object(request->arena), "messages", messages));
    for (struct flight *each = session->flights; each != NULL; each = each->next) {
        if (each->output_end == FLIGHT_OUTPUT_LATER)
            each->output_end = session->put_out;
    }
    request_end(session, request);
}

static void pull_fail(struct session *session, struct pull *pull, enum error error,
                      const struct failure *failure)
{
    struct request *request = pull->request;

    take_out(session, pull);
    frame_error(session, request, error, failure);
    request_end(session, request);
}

static void keep(struct session *session, struct operation *operation, const struct pull *pull,
                 struct delivery *deliveries, size_t count)
{
    struct backlog **end = &session->leftovers;
    struct backlog *backlog = arena_alloc(operation->arena, sizeof(*backlog));

    backlog->arena = operation->arena;
    backlog->agent = arena_text(operation->arena, pull->agent);
    backlog->deliveries = deliveries;
    backlog->count = count;
    backlog->lease_ends = session->now + pull->lease_ms;
    session->arena_kept = true;
    while (*end != NULL)
        end = &(*end)->next;
    *end = backlog;
}

static bool has_leftovers(const struct session *session, const struct pull *pull)
{
    for (const struct backlog *each = session->leftovers; each != NULL; each = each->next) {
        if (text_equal(each->agent, pull->agent) && each->at < each->count &&
            session->now < each->lease_ends)
            return true;
    }
    return false;
}

static bool watch_call(struct session *session, struct operation *operation,
                       struct db_call *ret_call)
{
    const struct pull *pull = operation->state;

    if (pull == NULL)
        return false;
    db_call_init(ret_call, operation->arena, STATEMENT_INBOX_WATCH);
    db_add_string(ret_call, session->engine->executor.id);
    db_add_texts(ret_call, &pull->agent, 1);
    db_add_texts(ret_call, NULL, 0);
    return true;
}

/* What came before the database knew is found by one more look. */
static void watch_answer(struct session *session, struct operation *operation, enum error error,
                         struct failure *failure, struct db_rows *rows)
{
    struct pull *pull = operation->state;

    (void)failure;
    if (pull == NULL)
        return;
    pull->operation = NULL;
    pull->watched = error == OK && rows != NULL && db_rows_count(rows) > 0;
    pull->look_at =
        earlier(pull->look_at, session->now + (pull->watched ? 0 : clock_jitter_ms(PULL_LOOK_MS)));
}

static const struct operation_kind watch_kind = {"inbox.watch", watch_call, watch_answer, false};

/* It found nothing, and has time left. */
static void pull_wait(struct session *session, struct pull *pull, int64_t next_due_ms)
{
    /* earlier: a bell that rang while the look was under way may be of what it did not see */
    pull->look_at = earlier(pull->look_at,
                            session->now + clock_jitter_ms(pull->watched ? LOOK_MS : PULL_LOOK_MS));
    if (next_due_ms >= 0)
        pull->look_at = earlier(pull->look_at, session->now + next_due_ms + 1);
    if (pull->watched || pull->watch_asked)
        return;
    pull->watch_asked = true; /* once, whatever comes of it */
    pull->operation = operation_new(session, &watch_kind);
    pull->operation->state = pull;
}

static void pull_answer(struct session *session, struct operation *operation, enum error error,
                        struct failure *failure, struct db_rows *rows)
{
    struct pull *pull = operation->state;
    struct delivery *deliveries = NULL;
    struct lost_pull **lost;
    size_t count = 0;
    int64_t next_due_ms = -1;

    if (pull == NULL)
        return;
    pull->operation = NULL;
    if (error == OK)
        /* the deliveries keep the agent's name, and may outlive this request */
        error = inbox_claim_result(operation->arena, arena_text(operation->arena, pull->agent),
                                   rows, failure, &deliveries, &count, &next_due_ms);
    if (error != OK && operation->in_doubt)
        lost_note(session, pull);
    if (error != OK) {
        pull_fail(session, pull, error, failure);
        return;
    }
    lost = lost_find(session, pull->agent);
    if (*lost != NULL && strcmp((*lost)->token, pull->token) == 0)
        lost_drop(lost);
    claim_size_learn(session, count, deliveries_bytes(deliveries, count));
    if (count > 0)
        keep(session, operation, pull, deliveries, count);
    if (count > 0 || session->now >= pull->deadline) {
        pull_finish(session, pull);
        return;
    }
    pull_wait(session, pull, next_due_ms);
}

static const struct operation_kind pull_kind = {"inbox.pull", pull_call, pull_answer, true};

void method_inbox_pull(struct session *session, struct request *request)
{
    struct pull *pull = arena_alloc(request->arena, sizeof(*pull));
    int64_t wait_ms;
    unsigned count = 0;

    if (!request_inbox(session, request, &pull->agent) ||
        !request_int(session, request, "max", 1, PULL_MAX, 10, &pull->max) ||
        !request_int(session, request, "waitMs", 0, PULL_WAIT_MAX, 0, &wait_ms) ||
        !request_int(session, request, "leaseMs", INBOX_LEASE_MIN_MS, INBOX_LEASE_MAX_MS,
                     session->options->lease_ms, &pull->lease_ms))
        return;
    for (struct pull *each = session->pulls; each != NULL; each = each->next)
        count++;
    if (count >= PULLS_MAX) {
        frame_error(session, request, ERR_OVERLOADED, NULL);
        request_end(session, request);
        return;
    }
    pull->request = request;
    pull->deadline = session->now + wait_ms;
    pull->look_at = session->now;
    pull->next = session->pulls;
    session->pulls = pull;
    if (has_leftovers(session, pull))
        pull_finish(session, pull);
}

/* Looks once more when the time is up, so that the last answer is of now. */
void pulls_advance(struct session *session)
{
    for (struct pull *each = session->pulls; each != NULL; each = each->next) {
        if (each->operation != NULL || session->now < earlier(each->look_at, each->deadline) ||
            !session_output_room(session))
            continue;
        each->token = NULL;
        each->look_at = INT64_MAX;
        each->operation = operation_new(session, &pull_kind);
        each->operation->state = each;
    }
}

void pulls_wake(struct session *session)
{
    for (struct pull *each = session->pulls; each != NULL; each = each->next)
        each->look_at = session->now;
}

void pulls_unwatched(struct session *session, struct text agent)
{
    for (struct pull *each = session->pulls; each != NULL; each = each->next) {
        if (!text_equal(each->agent, agent))
            continue;
        if (each->operation != NULL && each->operation->kind == &watch_kind) {
            each->operation->state = NULL; /* what it finds is not so any more */
            each->operation = NULL;
        }
        each->watched = each->watch_asked = false;
        each->look_at = earlier(each->look_at, session->now + clock_jitter_ms(PULL_LOOK_MS));
    }
}

void pulls_drop(struct session *session)
{
    while (session->leftovers != NULL)
        leftovers_drop(&session->leftovers);
    while (session->lost_pulls != NULL)
        lost_drop(&session->lost_pulls);
    while (session->pulls != NULL)
        pull_finish(session, session->pulls);
}

int64_t pulls_deadline(const struct session *session)
{
    int64_t deadline = INT64_MAX;

    for (const struct pull *each = session->pulls; each != NULL; each = each->next) {
        if (each->operation == NULL && session_output_room(session))
            deadline = earlier(deadline, earlier(each->look_at, each->deadline));
    }
    return deadline;
}
