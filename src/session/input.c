/* SPDX-License-Identifier: MIT
 *
 * Bytes to frames. websocketd passes a message on as it is and adds a newline, so a frame may span
 * lines, several may stand on one line, and a binary message sticks to what follows. A value is
 * read as soon as it is whole. After what cannot be one, reading goes on at the next line; where a
 * value began and nothing more comes, it was cut off, and what it swallowed is looked at again.
 * While many requests are unanswered, what comes stays here unread: bytes are smaller than
 * requests. While a credential is looked at, what is over the limit is not even read
 * (session_wants_input): the client cannot know how long that takes, and all it sent gets its
 * answer.
 */
#include "session/state.h"

#include <string.h>

#define INPUT_PORTION 16384 /* looked at before more is taken */

static size_t input_limit(const struct session *session)
{
    size_t most = (size_t)session->options->max_message_size;
    bool early = session->state < SESSION_OPEN && !session->token_by_header;

    return early && most > PREAUTH_INPUT_MAX ? PREAUTH_INPUT_MAX : most;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static size_t line_length(struct text text)
{
    const char *end = text.len > 0 ? memchr(text.data, '\n', text.len) : NULL;

    return end != NULL ? (size_t)(end - text.data) + 1 : text.len;
}

/* ---- the id of a frame that is not valid ----------------------------------------------------- */

/* The string that begins behind the quote at `at`; false: it does not end. */
static bool skip_string(struct text bytes, size_t at, size_t *ret_end)
{
    while (at < bytes.len && bytes.data[at] != '"')
        at += bytes.data[at] == '\\' ? 2 : 1;
    if (at >= bytes.len)
        return false;
    *ret_end = at;
    return true;
}

/* The value of the top-level key "id", so that whoever asked hears that it was not understood.
 * Only a plain one: no escapes, valid UTF-8. */
struct text frame_id_guess(struct arena *arena, struct text bytes)
{
    unsigned depth = 0;
    size_t at = 0, end;
    bool is_id = false;

    if (bytes.len > 8192)
        bytes.len = 8192;
    for (; at < bytes.len; at++) {
        char c = bytes.data[at];

        if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && depth > 0)
            depth--;
        if (c != '"')
            continue;
        if (!skip_string(bytes, at + 1, &end))
            return TEXT_NONE;
        struct text string = {bytes.data + at + 1, end - at - 1};
        if (depth == 1 && is_id) {
            bool plain = string.len > 0 && string.len <= REQUEST_ID_MAX &&
                         memchr(string.data, '\\', string.len) == NULL && utf8_valid(string);
            return plain ? arena_text(arena, string) : TEXT_NONE;
        }
        at = end;
        while (end + 1 < bytes.len && is_space(bytes.data[end + 1]))
            end++;
        is_id = depth == 1 && text_is(string, "id") && end + 1 < bytes.len &&
                bytes.data[end + 1] == ':';
    }
    return TEXT_NONE;
}

/* ---- frames -----------------------------------------------------------------------------------
 */

static void consume(struct session *session, size_t count)
{
    buffer_consume(&session->input, count);
    session->framer = (struct document_framer){0};
}

/* What the framer stumbled over; nesting is told apart because it looks valid to its writer. */
static enum error bad_reason(struct text bytes, struct failure *failure)
{
    unsigned depth = 0;

    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.data[i] != '{' && bytes.data[i] != '[')
            continue;
        if (++depth > DOCUMENT_DEPTH_MAX)
            return failure_set(failure, ERR_TOO_DEEP, "JSON may be nested %d levels deep",
                               DOCUMENT_DEPTH_MAX);
    }
    if (!utf8_valid(bytes))
        return failure_set(failure, ERR_INVALID_ENCODING, "a frame is UTF-8 text");
    return failure_set(failure, ERR_INVALID_JSON, "a frame is a JSON object");
}

static void refuse(struct session *session, struct text bytes, enum error error,
                   const struct failure *failure)
{
    struct arena *arena = arena_new();

    frame_bad(session, arena, frame_id_guess(arena, bytes), error, failure);
    arena_free(arena);
}

static void take_value(struct session *session, size_t len)
{
    struct document_limits limits = {input_limit(session), DOCUMENT_DEPTH_MAX, DOCUMENT_VALUES_MAX};
    struct text bytes = {session->input.data, len};
    struct arena *arena = arena_new();
    struct failure failure = {0};
    struct document *document = NULL;
    enum error error = document_parse(arena, bytes, &limits, &failure, &document);

    if (error == OK && document_kind(document) != DOCUMENT_OBJECT)
        error = failure_set(&failure, ERR_INVALID_REQUEST, "a frame is a JSON object");
    if (error != OK) {
        arena_free(arena);
        refuse(session, bytes, error, &failure);
        consume(session, len);
        return;
    }
    consume(session, len);
    request_take(session, arena, document, len);
}

/* Requests that wait for a message's fate hold nobody up. */
bool input_must_wait(const struct session *session)
{
    size_t most = (size_t)session->options->max_message_size;
    bool busy = session->requests - session->wait_count >= REQUESTS_MAX ||
                session->request_bytes >= most * REQUEST_BYTES_FACTOR;

    return session->state == SESSION_CHECKING || (busy && session->input.len < most * INPUT_FACTOR);
}

void input_frames(struct session *session)
{
    struct buffer *input = &session->input;

    while (session->state < SESSION_ENDING) {
        size_t space = 0, len = 0;
        struct failure failure = {0};
        struct text pending;

        session->input_paused = input_must_wait(session);
        if (session->input_paused)
            return;
        while (!session->framer.started && space < input->len && is_space(input->data[space]))
            space++;
        if (space > 0)
            consume(session, space);
        if (input->len == 0)
            return;
        pending = buffer_text(input);
        switch (document_framer_scan(&session->framer, pending, DOCUMENT_DEPTH_MAX, &len)) {
        case FRAME_MORE:
            return;
        case FRAME_VALUE:
            take_value(session, len);
            break;
        case FRAME_BAD:
            pending.len = len;
            refuse(session, pending, bad_reason(pending, &failure), &failure);
            /* where the line has not ended yet, what is still to come of it goes too */
            session->discarding = len > 0 && pending.data[len - 1] != '\n';
            session->discarded = len;
            consume(session, len);
            if (session->discarding)
                return;
            break;
        }
    }
}

/* ---- bytes --------------------------------------------------------------------------------------
 */

static struct text discard(struct session *session, struct text bytes)
{
    size_t len = line_length(bytes);
    size_t most = (size_t)session->options->max_message_size * DISCARD_FACTOR;

    session->discarded += len;
    if (len > 0 && bytes.data[len - 1] == '\n')
        session->discarding = false;
    else if (session->discarded > most)
        session_end(session, "a frame is larger than can be taken", STOP_GRACE_MS);
    return (struct text){bytes.data + len, bytes.len - len};
}

static void too_large(struct session *session)
{
    struct failure failure = {0};
    size_t limit = input_limit(session);
    bool early = session->state < SESSION_OPEN;
    enum error error =
        failure_set(&failure, ERR_TOO_LARGE, "a frame may have %zu bytes%s", limit,
                    early && !session->token_by_header ? " before authentication" : "");

    refuse(session, buffer_text(&session->input), error, &failure);
    session->discarded = session->input.len;
    session->discarding = session->input.data[session->input.len - 1] != '\n';
    consume(session, session->input.len);
    if (early)
        session_end(session, "the first frame is too large", STOP_GRACE_MS);
}

static void check_length(struct session *session)
{
    if (session->state >= SESSION_ENDING || session->input.len <= input_limit(session))
        return;
    if (session->input_paused)
        return;
    too_large(session);
}

bool session_wants_input(const struct session *session)
{
    return session->state != SESSION_CHECKING || session->input.len < input_limit(session);
}

void input_take(struct session *session, struct text bytes)
{
    session->input_at = session->now;
    while (bytes.len > 0 && session->state < SESSION_ENDING) {
        size_t take = bytes.len < INPUT_PORTION ? bytes.len : INPUT_PORTION;

        if (session->discarding) {
            bytes = discard(session, bytes);
            continue;
        }
        buffer_append(&session->input, (struct text){bytes.data, take});
        bytes = (struct text){bytes.data + take, bytes.len - take};
        input_frames(session);
        check_length(session);
    }
}

int64_t input_deadline(const struct session *session)
{
    if (session->input_paused && session->state == SESSION_OPEN)
        return input_must_wait(session) ? INT64_MAX : session->now;
    if (session->input.len == 0 || session->state >= SESSION_ENDING ||
        session->state == SESSION_CHECKING)
        return INT64_MAX;
    return session->input_at + INPUT_STALL_MS;
}

static void check_stall(struct session *session)
{
    struct failure failure = {0};
    struct text pending = buffer_text(&session->input);

    pending.len = line_length(pending);
    refuse(session, pending,
           failure_set(&failure, ERR_INVALID_JSON, "the frame begins here and does not end"),
           &failure);
    consume(session, pending.len);
    session->input_at = session->now;
    input_frames(session);
}

void input_advance(struct session *session)
{
    if (session->input_paused) {
        if (input_must_wait(session))
            return;
        session->input_at = session->now;
        input_frames(session);
        check_length(session);
    }
    if (session->now >= input_deadline(session))
        check_stall(session);
}
