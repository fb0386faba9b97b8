/* SPDX-License-Identifier: MIT
 *
 * The life of a session. Its state changes in session_enter() and nowhere else. Ending has two
 * parts: session_end() only says so, wherever in the code the need is seen; at the next
 * session_advance() who still waits is answered, goodbye is said, and what is held in the database
 * is given back with one call. What that does not achieve in time the sweeper does.
 */
#include "session/session.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/shared.h"
#include "durable/bells.h"
#include "session/state.h"

struct session *session_new(const struct engine *engine, const struct peer *peer, int64_t now)
{
    struct arena *life = arena_new();
    struct session *session = arena_alloc(life, sizeof(*session));

    session->life = life;
    session->engine = engine;
    session->options = engine->options;
    session->peer = peer;
    session->now = session->started = now;
    session->handshake_by = now + session->options->handshake_timeout_ms;
    session->scopes_asked = ~0U;
    session->queue_end = &session->queue;
    session->tick_at = session->recheck_at = session->end_at = INT64_MAX;
    session->handed_at = session->look_at = session->fates.look_at = INT64_MAX;
    session->presence.look_at = session->farewell_at = INT64_MAX;
    session->claim_size = CLAIM_FIRST;
    buffer_init(&session->input, (size_t)session->options->max_message_size * (INPUT_FACTOR + 1) +
                                     PREAUTH_INPUT_MAX);
    /* one frame more than what stops deliveries, so that whatever is put out then still fits */
    buffer_init(&session->output, (size_t)session->options->session_buffer_bytes +
                                      (size_t)session->options->max_message_size);
    frame_challenge(session);
    handshake_start(session);
    return session;
}

/* In the order in which things refer to each other; nothing is answered any more. */
void session_free(struct session *session)
{
    struct operation *operation;

    if (session == NULL)
        return;
    session->left = true;
    waits_drop(session);
    fates_drop(session);
    pulls_drop(session);
    operations_drop(session);
    operation = session->running;
    session->running = NULL;
    if (operation != NULL)
        operation_abandon(session, operation);
    deliveries_drop(session);
    if (session->opening != NULL)
        request_end(session, session->opening);
    buffer_release(&session->input);
    buffer_release(&session->output);
    arena_free(session->life);
}

static const char *const state_names[] = {"greeted", "checking", "open", "ending", "over"};

void session_enter(struct session *session, enum session_state state)
{
    if (session->state == state || session->state > SESSION_ENDING)
        return;
    log_event(LOG_DEBUG, "session.state", LOG_STR("session", session->engine->executor.id),
              LOG_STR("from", state_names[session->state]), LOG_STR("to", state_names[state]));
    session->state = state;
    if (state == SESSION_OPEN)
        counter_add(counter_of("sessions_opened"), 1);
    if (state == SESSION_OPEN)
        log_event(LOG_INFO, "session.open", LOG_STR("session", session->engine->executor.id),
                  LOG_STR("principal", session->principal.id),
                  LOG_TEXT("remote", session->peer->remote),
                  LOG_TEXT("request", session->peer->request_id),
                  LOG_TEXT("trace", text_trace_id(session->peer->traceparent)),
                  LOG_TEXT("client", session->client));
    if (state == SESSION_OVER)
        log_event(LOG_INFO, "session.close", LOG_STR("session", session->engine->executor.id),
                  LOG_STR("principal", session->principal.id), LOG_STR("reason", session->reason),
                  LOG_TEXT("request", session->peer->request_id),
                  LOG_TEXT("trace", text_trace_id(session->peer->traceparent)),
                  LOG_INT("ms", session->now - session->started), LOG_INT("sent", session->sent),
                  LOG_INT("delivered", session->delivered), LOG_INT("acked", session->acked),
                  LOG_INT("refused", session->refused));
}

void session_end(struct session *session, const char *reason, int64_t grace_ms)
{
    if (session->state >= SESSION_ENDING) {
        session->end_at = earlier(session->end_at, session->now + grace_ms + LEFT_GRACE_MS);
        return;
    }
    session->reason = reason;
    session->end_at = session->now + (grace_ms > LEFT_GRACE_MS ? grace_ms : LEFT_GRACE_MS);
    session_enter(session, SESSION_ENDING);
}

/* ---- giving back ---------------------------------------------------------------------------- */

static bool release_call(struct session *session, struct operation *operation,
                         struct db_call *ret_call)
{
    struct text id = text_of(session->engine->executor.id);

    db_call_init(ret_call, operation->arena, STATEMENT_EXECUTOR_REAP);
    db_add_texts(ret_call, &id, 1);
    return true;
}

static void release_answer(struct session *session, struct operation *operation, enum error error,
                           struct failure *failure, struct db_rows *rows)
{
    size_t count = 0;
    struct text *bells;

    (void)operation;
    (void)failure;
    if (error != OK || rows == NULL || db_rows_count(rows) == 0)
        return;
    session->registered = false;
    bells = db_texts(rows, 0, 3, &count);
    (void)engine_ring(session->engine, bells, count);
}

static const struct operation_kind release_kind = {"session.release", release_call, release_answer,
                                                   false};

/* Bells for other hosts are said behind whatever was to be done first. */
static bool bells_operation_call(struct session *session, struct operation *operation,
                                 struct db_call *ret_call)
{
    session->ringing = false;
    return bells_call(operation->arena, ret_call);
}

static void bells_operation_answer(struct session *session, struct operation *operation,
                                   enum error error, struct failure *failure, struct db_rows *rows)
{
    (void)session;
    (void)operation;
    (void)error;
    (void)failure;
    (void)rows;
}

static const struct operation_kind bells_kind = {"session.bells", bells_operation_call,
                                                 bells_operation_answer, false};

static void ring_other_hosts(struct session *session)
{
    if (!bells_owed() || session->ringing)
        return;
    session->ringing = true;
    (void)operation_new(session, &bells_kind);
}

static void wind_up(struct session *session)
{
    session->wound_up = true;
    waits_drop(session);
    pulls_drop(session);
    operations_drop(session);
    deliveries_note(session);
    deliveries_drop(session);
    if (session->opening != NULL) {
        request_end(session, session->opening);
        session->opening = NULL;
    }
    frame_shutdown(session, session->reason);
    if (session->registered)
        (void)operation_new(session, &release_kind);
    session->ringing = false; /* it was dropped with the others */
    ring_other_hosts(session);
}

/* ---- the client -------------------------------------------------------------------------------
 */

void session_input(struct session *session, struct text bytes, int64_t now)
{
    session->now = now;
    session->received += (int64_t)bytes.len;
    if (session->state < SESSION_ENDING)
        input_take(session, bytes);
}

void session_left(struct session *session, int64_t now)
{
    session->now = now;
    session->left = true;
    buffer_clear(&session->output);
    session_end(session, "the client left", LEFT_GRACE_MS);
    session_advance(session, now);
}

struct text session_output(const struct session *session)
{
    return session->left ? (struct text){"", 0} : buffer_text(&session->output);
}

void session_written(struct session *session, size_t count, int64_t now)
{
    session->now = now;
    if (count == 0)
        return;
    session->written += count;
    session->output_moved = now;
    buffer_consume(&session->output, count);
    deliveries_written(session);
    if (session->state == SESSION_ENDING)
        session_advance(session, now); /* goodbye may have been the last of it */
}

bool session_output_room(const struct session *session)
{
    return session->output.len < (size_t)session->options->session_buffer_bytes / 2;
}

/* ---- time and bells
 * ------------------------------------------------------------------------------ */

void session_continued(struct session *session, int64_t now)
{
    session->now = now;
    if (session->state != SESSION_OPEN)
        return;
    session->register_again = true;
    (void)handshake_register_again(session);
}

bool session_wants_bell(const struct session *session)
{
    return session->state == SESSION_CHECKING || session->state == SESSION_OPEN;
}

void session_bell(struct session *session, int64_t now)
{
    session->now = now;
    log_event(LOG_DEBUG, "session.rung", LOG_STR("session", session->engine->executor.id));
    session->retry_at = earlier(session->retry_at, now + clock_jitter_ms(RETRY_RUNG_MS));
    if (session->state != SESSION_OPEN)
        return;
    for (struct subscription *each = session->subscriptions; each != NULL; each = each->next)
        deliveries_wake(session, each, now);
    pulls_wake(session);
    if (session->waits != NULL)
        session->look_at = now;
    fates_wake(session);
    presence_wake(session);
}

bool session_hand_over(struct session *session, struct text datagram, int64_t now)
{
    session->now = now;
    return session->state == SESSION_OPEN && deliveries_hand_over(session, datagram);
}

void session_stop(struct session *session, const char *reason, int64_t now)
{
    session->now = now;
    session_end(session, reason, STOP_GRACE_MS);
    session_advance(session, now);
}

static int64_t write_deadline(const struct session *session)
{
    if (session->output.len == 0 || session->left)
        return INT64_MAX;
    return session->output_moved + session->options->write_timeout_ms;
}

int64_t session_deadline(const struct session *session)
{
    int64_t deadline = earlier(write_deadline(session), operations_deadline(session));

    switch (session->state) {
    case SESSION_OVER:
        return session->now;
    case SESSION_ENDING:
        return session->wound_up ? earlier(session->end_at, deadline) : session->now;
    case SESSION_GREETED:
    case SESSION_CHECKING:
        return earlier(earlier(deadline, session->handshake_by), input_deadline(session));
    case SESSION_OPEN:
        break;
    }
    deadline = earlier(deadline, earlier(session->tick_at, session->recheck_at));
    deadline = earlier(deadline, session->farewell_at);
    deadline = earlier(deadline, earlier(input_deadline(session), waits_deadline(session)));
    deadline = earlier(deadline, earlier(fates_deadline(session), presence_deadline(session)));
    return earlier(deadline, earlier(deliveries_deadline(session), pulls_deadline(session)));
}

static void tick(struct session *session)
{
    struct arena *arena;
    struct document *payload;

    if (session->now < session->tick_at)
        return;
    session->tick_at = session->now + session->options->tick_interval_ms;
    arena = arena_new();
    payload = document_object(arena);
    document_put_int(payload, "ts", clock_wall_ms());
    (void)frame_event(session, arena, "tick", payload);
    arena_free(arena);
}

/* The front server lets only so much through and then cuts, as it cannot tell a long conversation
 * from one frame without an end. So goodbye is said before: when nothing is under way, or it has
 * had its time. */
static void say_farewell(struct session *session)
{
    int64_t share = session->options->connection_bytes;
    bool idle = session->requests == session->wait_count && session->flights == NULL &&
                session->input.len == 0;

    if (session->received < share)
        return;
    if (session->farewell_at == INT64_MAX)
        session->farewell_at = session->now + FAREWELL_MS;
    if (idle || session->now >= session->farewell_at || session->received - share >= share / 2)
        session_end(session, "this connection has carried its share: connect again", STOP_GRACE_MS);
}

static void advance_open(struct session *session)
{
    tick(session);
    credentials_recheck(session);
    waits_expire(session);
    waits_look(session);
    fates_advance(session);
    presence_advance(session);
    pulls_advance(session);
    deliveries_advance(session);
    say_farewell(session);
}

static void advance_ending(struct session *session)
{
    if (!session->wound_up)
        wind_up(session);
    bool done = session->running == NULL && session->queue == NULL &&
                (session->output.len == 0 || session->left || session->output.overflowed);
    if (done || session->now >= session->end_at)
        session_enter(session, SESSION_OVER);
}

void session_advance(struct session *session, int64_t now)
{
    session->now = now;
    if (session->now >= write_deadline(session) && session->state < SESSION_ENDING) {
        session->left = true; /* there is nobody to say goodbye to */
        session_end(session, "the client does not read", LEFT_GRACE_MS);
    }
    if (session->state < SESSION_OPEN && now >= session->handshake_by &&
        !handshake_by_header(session))
        session_end(session, handshake_late(session), STOP_GRACE_MS);
    if (session->state < SESSION_ENDING) {
        input_advance(session);
        operations_expire(session);
    }
    if (session->state == SESSION_OPEN)
        advance_open(session);
    if (session->state == SESSION_OPEN || (session->state == SESSION_ENDING && session->wound_up))
        ring_other_hosts(session);
    if (session->state == SESSION_ENDING)
        advance_ending(session);
}

bool session_over(const struct session *session)
{
    return session->state == SESSION_OVER;
}
