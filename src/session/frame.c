/* SPDX-License-Identifier: MIT */
#include "session/state.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/uuid.h"

/* One line is one WebSocket message. What does not fit is the end: a client that takes nothing
 * cannot be told. False: it is longer than a frame may be, and is left out. */
static bool put_out(struct session *session, struct arena *arena, const struct document *frame)
{
    struct text text = document_text(arena, frame);
    struct buffer *output = &session->output;

    if (session->state == SESSION_OVER || session->left || output->overflowed)
        return true;
    if ((int64_t)text.len >= session->options->max_message_size)
        return false;
    if (text.len + 1 > output->limit - output->len) {
        output->overflowed = true;
        session_end(session, "the client does not read", 0);
        return true;
    }
    if (output->len == 0)
        session->output_moved = session->now;
    buffer_append(output, text);
    buffer_append_byte(output, '\n');
    session->put_out += text.len + 1;
    return true;
}

bool frame_event(struct session *session, struct arena *arena, const char *event,
                 struct document *payload)
{
    struct document *frame = document_object(arena);

    document_put_string(frame, "type", "event");
    document_put_string(frame, "event", event);
    document_put(frame, "payload", payload);
    document_put_int(frame, "seq", session->event_seq + 1);
    if (!put_out(session, arena, frame))
        return false;
    session->event_seq++;
    return true;
}

/* The challenge is not counted: OpenClaw's clients begin to count behind it. */
void frame_challenge(struct session *session)
{
    struct arena *arena = arena_new();
    struct document *frame = document_object(arena);
    struct document *payload = document_object(arena);
    char nonce[UUID_SIZE];

    uuid_v4(nonce);
    document_put_string(payload, "nonce", nonce);
    document_put_int(payload, "ts", clock_wall_ms());
    document_put_string(frame, "type", "event");
    document_put_string(frame, "event", "connect.challenge");
    document_put(frame, "payload", payload);
    (void)put_out(session, arena, frame);
    arena_free(arena);
}

void frame_shutdown(struct session *session, const char *reason)
{
    struct arena *arena = arena_new();
    struct document *payload = document_object(arena);

    document_put_string(payload, "reason", reason);
    (void)frame_event(session, arena, "shutdown", payload);
    arena_free(arena);
}

void frame_result(struct session *session, struct request *request, struct document *payload)
{
    struct document *frame = payload;
    struct failure failure = {0};

    if (request->method != NULL) {
        frame = document_object(request->arena);
        document_put_string(frame, "type", "res");
        document_put_text(frame, "id", request->id);
        document_put_bool(frame, "ok", true);
        document_put(frame, "payload", payload);
    }
    if (!put_out(session, request->arena, frame))
        frame_error(session, request,
                    failure_set(&failure, ERR_TOO_LARGE,
                                "the answer does not fit into a frame; over HTTP it is to be had"),
                    &failure);
}

static void put_retry(struct document *document, enum error_retry retry, int64_t retry_after_ms)
{
    if (retry == RETRY_NEVER)
        return;
    document_put_bool(document, "retryable", true);
    document_put_int(document, "retryAfterMs", retry_after_ms);
}

/* What is wrong, and then what there is to say about it. INVALID_REQUEST speaks for itself, in
 * words of OpenClaw's that clients compare; of the database's state the detail says all. */
static const char *error_message(struct arena *arena, enum error error,
                                 const struct failure *failure)
{
    if (failure == NULL || failure->error != error || failure->detail[0] == '\0')
        return error_phrase(error);
    if (error_http_status(error) == 500)
        return error_phrase(ERR_INTERNAL); /* inside matters end in the log */
    if (failure->inside)
        return error_phrase(error);
    if (error == ERR_INVALID_REQUEST || error_http_status(error) >= 500)
        return failure->detail;
    return arena_printf(arena, "%s: %s", error_phrase(error), failure->detail);
}

/* {type:"error",error,code}: the oldest dialect's. */
static void put_bare_error(struct session *session, struct arena *arena, struct text id,
                           const char *code, const char *message, enum error_retry retry,
                           int64_t retry_after_ms)
{
    struct document *frame = document_object(arena);

    document_put_string(frame, "type", "error");
    if (id.len > 0)
        document_put_text(frame, "id", id);
    document_put_string(frame, "error", message);
    document_put_string(frame, "code", code);
    put_retry(frame, retry, retry_after_ms);
    (void)put_out(session, arena, frame);
}

static void put_error(struct session *session, struct arena *arena, struct text id,
                      const char *code, const char *message, struct document *details,
                      enum error_retry retry, int64_t retry_after_ms)
{
    struct document *frame = document_object(arena);
    struct document *error = document_object(arena);

    document_put_string(error, "code", code);
    document_put_string(error, "message", message);
    document_put(error, "details", details);
    put_retry(error, retry, retry_after_ms);
    document_put_string(frame, "type", "res");
    document_put_text(frame, "id", id);
    document_put_bool(frame, "ok", false);
    document_put(frame, "error", error);
    (void)put_out(session, arena, frame);
}

void frame_error(struct session *session, struct request *request, enum error error,
                 const struct failure *failure)
{
    const char *message = error_message(request->arena, error, failure);
    const char *code = error_code(error);
    struct document *details = NULL;
    int64_t after = clock_jitter_ms(1000);

    session->refused++;
    if (error_http_status(error) == 500 && failure != NULL)
        log_failure("session.failure", failure);
    if (error == ERR_IN_DOUBT) {
        /* clients know what to do with UNAVAILABLE, and it is the same: ask again, same key */
        details = document_object(request->arena);
        document_put_string(details, "code", code);
        code = error_code(ERR_UNAVAILABLE);
    }
    if (request->method == NULL)
        put_bare_error(session, request->arena, request->id, code, message, error_retry(error),
                       after);
    else
        put_error(session, request->arena, request->id, code, message, details, error_retry(error),
                  after);
}

void frame_refusal(struct session *session, struct request *request, const char *code,
                   const char *message, struct document *details, int64_t retry_after_ms)
{
    enum error_retry retry = retry_after_ms >= 0 ? RETRY_LATER : RETRY_NEVER;

    if (request->method == NULL)
        put_bare_error(session, request->arena, request->id, code, message, retry, retry_after_ms);
    else
        put_error(session, request->arena, request->id, code, message, details, retry,
                  retry_after_ms);
}

/* Where no id can be told the answer's is "invalid", as OpenClaw's own gateway has it. */
void frame_bad(struct session *session, struct arena *arena, struct text id, enum error error,
               const struct failure *failure)
{
    const char *message = error_message(arena, error, failure);

    session->refused++;
    if (session->bare && id.len == 0)
        put_bare_error(session, arena, TEXT_NONE, error_code(error), message, RETRY_NEVER, 0);
    else
        put_error(session, arena, id.len > 0 ? id : TEXT_LITERAL("invalid"), error_code(error),
                  message, NULL, RETRY_NEVER, 0);
    if (++session->bad_frames >= BAD_FRAMES_MAX && session->state < SESSION_ENDING)
        session_end(session, "too many frames that are not valid", STOP_GRACE_MS);
}
