/* SPDX-License-Identifier: MIT
 *
 * The frames by which a client sends. All that were read while the database was busy go to it
 * together; each is answered in the shape of its own method. protocol.md, Sending.
 */
#include "session/state.h"

#include "base/clock.h"

/* What differs between the methods once the parameters are read. */
struct shape {
    struct document *(*answer)(struct session *session, struct request *request,
                               const struct message_receipt *receipt);
    struct document *(*accepted)(
        struct session *session, struct request *request,
        const struct message_receipt *receipt); /* NULL: never two answers */
    void (*finish)(struct session *session, struct request *request,
                   const struct message_receipt *receipt, bool late);
};

struct sending {
    const struct shape *shape;
    struct message_request message;
    struct principal principal;
    enum wait_for wait_for;
    bool in_two; /* "accepted" first, then the final answer */
    int64_t wait_ms, started;
    struct text channel;
};

/* ---- words for a receipt ------------------------------------------------------------------------
 */

static const char *status_sentence(const struct message_receipt *receipt)
{
    switch (receipt->status) {
    case MESSAGE_QUEUED:
        return "The message is accepted and waits for its recipient.";
    case MESSAGE_DELIVERED:
        return "The message was delivered; the recipient has not acknowledged it yet.";
    case MESSAGE_ACKNOWLEDGED:
        return "The recipient acknowledged the message.";
    case MESSAGE_FAILED:
        return "The message could not be delivered and is a dead letter.";
    case MESSAGE_EXPIRED:
        return "The message expired before it was acknowledged.";
    case MESSAGE_CANCELLED:
        return "The message was cancelled.";
    }
    return "";
}

/* A reply that is a JSON string is that text; anything else stands as JSON. Without a reply a
 * sentence says what became of the message. */
struct text receipt_reply_text(struct arena *arena, const struct message_receipt *receipt)
{
    struct document *reply = NULL;

    if (receipt->response.len == 0)
        return text_of(receipt->reason.len > 0
                           ? arena_printf(arena, "%s %.*s", status_sentence(receipt),
                                          (int)receipt->reason.len, receipt->reason.data)
                           : status_sentence(receipt));
    if (receipt->response.data[0] == '"' &&
        document_parse_stored(arena, receipt->response, NULL, &reply) == OK)
        return document_string(reply);
    return receipt->response;
}

/* A short text where the reply stands elsewhere in the answer: a long reply is there once only. */
static struct text short_text(struct session *session, struct request *request,
                              const struct message_receipt *receipt)
{
    struct text text = receipt_reply_text(request->arena, receipt);

    if ((int64_t)text.len <= session->options->max_message_size / 16)
        return text;
    return TEXT_LITERAL("The recipient acknowledged the message; its reply is in result.payloads.");
}

static struct document *result_document(struct session *session, struct request *request,
                                        const struct message_receipt *receipt, bool with_response)
{
    struct arena *arena = request->arena;
    const struct sending *sending = request->state;
    struct document *result = document_object(arena);
    struct document *payload = document_object(arena);
    struct document *meta = document_object(arena);
    struct text text = receipt_reply_text(arena, receipt);

    document_put_text(payload, "text", text);
    document_put(payload, "mediaUrl", document_null(arena));
    document_put_int(meta, "durationMs", session->now - sending->started);
    if (with_response)
        document_put_text(result, "response", short_text(session, request, receipt));
    document_put(result, "payloads", document_append(document_array(arena), payload));
    return document_put(result, "meta", meta);
}

/* ---- the shapes
 * ----------------------------------------------------------------------------------- */

static struct document *agent_send_answer(struct session *session, struct request *request,
                                          const struct message_receipt *receipt)
{
    struct document *payload = document_object(request->arena);

    document_put_text(payload, "response", short_text(session, request, receipt));
    document_put_text(payload, "message_id", receipt->message_id);
    document_put_text(payload, "id", receipt->message_id);
    document_put_string(payload, "status", message_status_name(receipt->status));
    document_put_text(payload, "runId", receipt->message_id);
    document_put_text(payload, "workflowUuid", receipt->workflow_id);
    document_put_bool(payload, "duplicate", receipt->duplicate);
    return document_put(payload, "result", result_document(session, request, receipt, true));
}

static struct document *agent_send_accepted(struct session *session, struct request *request,
                                            const struct message_receipt *receipt)
{
    struct document *payload = document_object(request->arena);

    (void)session;
    document_put_string(payload, "status", "accepted");
    document_put_text(payload, "runId", receipt->message_id);
    document_put_text(payload, "message_id", receipt->message_id);
    document_put_text(payload, "workflowUuid", receipt->workflow_id);
    return document_put_bool(payload, "duplicate", receipt->duplicate);
}

static void agent_send_finish(struct session *session, struct request *request,
                              const struct message_receipt *receipt, bool late)
{
    (void)late;
    frame_result(session, request, agent_send_answer(session, request, receipt));
    request_end(session, request);
}

static const struct shape agent_send_shape = {agent_send_answer, agent_send_accepted,
                                              agent_send_finish};

static struct document *agent_accepted(struct session *session, struct request *request,
                                       const struct message_receipt *receipt)
{
    struct document *payload = document_object(request->arena);

    (void)session;
    document_put_text(payload, "runId", receipt->message_id);
    document_put_string(payload, "status", "accepted");
    return document_put_int(payload, "acceptedAt", receipt->now_ms);
}

static const char *run_status(const struct message_receipt *receipt, bool late)
{
    if (receipt->status == MESSAGE_ACKNOWLEDGED)
        return "ok";
    return late && !receipt_settled(receipt) ? "timeout" : "error";
}

static void agent_finish(struct session *session, struct request *request,
                         const struct message_receipt *receipt, bool late)
{
    struct document *payload = document_object(request->arena);

    document_put_text(payload, "runId", receipt->message_id);
    document_put_string(payload, "status", run_status(receipt, late));
    document_put_text(payload, "summary", short_text(session, request, receipt));
    document_put(payload, "result", result_document(session, request, receipt, false));
    frame_result(session, request, payload);
    request_end(session, request);
}

static const struct shape agent_shape = {agent_accepted, agent_accepted, agent_finish};

static struct document *send_answer(struct session *session, struct request *request,
                                    const struct message_receipt *receipt)
{
    const struct sending *sending = request->state;
    struct document *payload = document_object(request->arena);

    (void)session;
    document_put_text(payload, "runId", receipt->message_id);
    document_put_text(payload, "messageId", receipt->message_id);
    document_put_text(payload, "channel",
                      sending->channel.len > 0 ? sending->channel : TEXT_LITERAL("inbox"));
    document_put_string(payload, "status", message_status_name(receipt->status));
    document_put_int(payload, "inboxSeq", receipt->inbox_seq);
    document_put_text(payload, "workflowUuid", receipt->workflow_id);
    return document_put_bool(payload, "duplicate", receipt->duplicate);
}

static const struct shape send_shape = {send_answer, NULL, NULL};

static struct document *chat_answer(struct session *session, struct request *request,
                                    const struct message_receipt *receipt)
{
    struct document *payload = document_object(request->arena);

    (void)session;
    document_put_text(payload, "runId", receipt->message_id);
    return document_put_string(payload, "status", "started");
}

static const struct shape chat_shape = {chat_answer, NULL, NULL};

static struct document *bare_answer(struct session *session, struct request *request,
                                    const struct message_receipt *receipt)
{
    struct document *answer = document_object(request->arena);

    (void)session;
    document_put_string(answer, "type", "workflow_result");
    document_put_text(answer, "workflowUUID", receipt->workflow_id);
    return document_put(answer, "result", message_result(request->arena, receipt));
}

static const struct shape bare_shape = {bare_answer, NULL, NULL};

/* ---- the database's part
 * --------------------------------------------------------------------------- */

static bool sending_call(struct session *session, struct operation *operation,
                         struct db_call *ret_call)
{
    if (operation->state == NULL) {
        struct message_batch *batch = message_batch_new(operation->arena, session->engine);

        operation->state = batch;
        for (struct request *each = operation->requests; each != NULL; each = each->next) {
            struct sending *sending = each->state;

            (void)message_batch_add(batch, &sending->principal, &sending->message);
        }
    }
    return message_batch_call(operation->state, ret_call);
}

/* The request is over, or waits. */
static void sending_answered(struct session *session, struct request *request,
                             const struct message_receipt *receipt)
{
    struct sending *sending = request->state;
    const struct shape *shape = sending->shape;
    struct message_receipt bounded = *receipt;
    bool done = receipt_reached(receipt, sending->wait_for);

    receipt_bound(session, &bounded);
    receipt = &bounded;
    if (receipt->error != OK) {
        frame_error(session, request, receipt->error, &receipt->failure);
        request_end(session, request);
        return;
    }
    session->sent++;
    if (sending->wait_for == WAIT_NOT) {
        if (request->method != NULL && !receipt_settled(receipt))
            fates_track(session, receipt->inbox_seq, false);
        frame_result(session, request, shape->answer(session, request, receipt));
        request_end(session, request);
        return;
    }
    if (sending->in_two && (!done || shape == &agent_shape))
        frame_result(session, request, shape->accepted(session, request, receipt));
    if (!done && waits_room(session)) {
        /* what its finish needs of the state is not in the frame */
        request = request_shrink(session, request, sizeof(*sending));
        sending = request->state;
        wait_new(session, request, receipt, sending->wait_for, sending->wait_ms)->finish =
            shape->finish;
        return;
    }
    if (!receipt_settled(receipt))
        fates_track(session, receipt->inbox_seq, done);
    shape->finish(session, request, receipt, !done);
}

static void sending_done(struct session *session, struct operation *operation, enum error error,
                         struct failure *failure, struct db_rows *rows)
{
    struct request *request, *next;
    size_t index = 0;

    if (error == OK)
        error = message_batch_result(operation->state, rows, failure);
    for (request = operation->requests; request != NULL; request = next, index++) {
        next = request->next;
        if (error == OK) {
            sending_answered(session, request, message_batch_receipt(operation->state, index));
        } else {
            frame_error(session, request, error, failure);
            request_end(session, request);
        }
    }
}

static const struct operation_kind sending_kind = {"message.accept", sending_call, sending_done,
                                                   true};

/* ---- reading parameters
 * -------------------------------------------------------------------------------- */

static struct sending *sending_new(struct session *session, struct request *request,
                                   const struct shape *shape)
{
    struct sending *sending = arena_alloc(request->arena, sizeof(*sending));

    sending->shape = shape;
    sending->principal = session->principal;
    sending->started = session->now;
    sending->message.key = document_get_string(request->params, "idempotencyKey");
    sending->message.from = document_get_string(request->params, "from");
    sending->message.metadata = document_get(request->params, "metadata");
    sending->message.delay_ms = sending->message.ttl_ms = sending->message.priority = -1;
    sending->message.waiter = session->engine->executor.id;
    sending->message.traceparent = request_traceparent(session, request);
    sending->message.request_id = session->peer->request_id;
    request->state = sending;
    return sending;
}

static void sending_submit(struct session *session, struct request *request)
{
    struct sending *sending = request->state;

    if (document_kind(sending->message.metadata) == DOCUMENT_NULL)
        sending->message.metadata = NULL;
    sending->message.expects_reply |= sending->wait_for == WAIT_REPLY;
    operation_serve(operation_join(session, &sending_kind, TEXT_NONE), request);
}

/* True: the member is there and a string that is not empty; else the request is over. */
static bool need_text(struct session *session, struct request *request, const char *key,
                      struct text *ret_text)
{
    struct text text = document_get_string(request->params, key);

    if (text.len == 0) {
        request_invalid(session, request, "%s is required, a string that is not empty", key);
        return false;
    }
    *ret_text = text;
    return true;
}

/* `message` is what the recipient gets: text, or any other JSON value but null. */
static bool need_message(struct session *session, struct request *request)
{
    struct sending *sending = request->state;
    struct document *message = document_get(request->params, "message");
    enum document_kind kind = document_kind(message);

    if (kind == DOCUMENT_ABSENT || kind == DOCUMENT_NULL ||
        (kind == DOCUMENT_STRING && document_string(message).len == 0)) {
        request_invalid(session, request, "message is required");
        return false;
    }
    sending->message.content = message;
    return true;
}

static bool need_key(struct session *session, struct request *request)
{
    struct sending *sending = request->state;

    return need_text(session, request, "idempotencyKey", &sending->message.key);
}

static bool read_wait_for(struct session *session, struct request *request, enum wait_for otherwise)
{
    struct sending *sending = request->state;
    struct text text = document_get_string(request->params, "waitFor");

    if (text.data == NULL)
        sending->wait_for = otherwise;
    else if (text_is(text, "accepted"))
        sending->wait_for = WAIT_NOT;
    else if (text_is(text, "delivered"))
        sending->wait_for = WAIT_DELIVERED;
    else if (text_is(text, "reply"))
        sending->wait_for = WAIT_REPLY;
    else {
        request_invalid(session, request, "waitFor is accepted, delivered or reply");
        return false;
    }
    return true;
}

/* ---- the methods
 * ------------------------------------------------------------------------------------------ */

void method_agent_send(struct session *session, struct request *request)
{
    struct sending *sending = sending_new(session, request, &agent_send_shape);
    int64_t timeout;

    if (!need_text(session, request, "sessionKey", &sending->message.to) ||
        !need_message(session, request) ||
        !request_int(session, request, "timeout", 0, WAIT_MAX_MS / 1000, -1, &timeout) ||
        !read_wait_for(session, request, timeout > 0 ? WAIT_REPLY : WAIT_NOT))
        return;
    sending->in_two = sending->message.key.len > 0 || timeout >= 0;
    sending->wait_ms = timeout >= 0 ? timeout * 1000 : WAIT_DEFAULT_MS;
    sending_submit(session, request);
}

void method_agent(struct session *session, struct request *request)
{
    struct sending *sending = sending_new(session, request, &agent_shape);
    int64_t timeout;

    if (!need_message(session, request) || !need_key(session, request) ||
        !request_int(session, request, "timeout", 0, WAIT_MAX_MS / 1000, 0, &timeout))
        return;
    sending->message.to = document_get_string(request->params, "agentId");
    if (sending->message.to.len == 0)
        sending->message.to = document_get_string(request->params, "sessionKey");
    if (sending->message.to.len == 0)
        sending->message.to = document_get_string(request->params, "to");
    if (sending->message.to.len == 0) {
        request_invalid(session, request, "agentId, sessionKey or to is required");
        return;
    }
    sending->wait_for = WAIT_REPLY;
    sending->in_two = true;
    sending->wait_ms = timeout > 0 ? timeout * 1000 : AGENT_WAIT_DEFAULT_MS;
    sending_submit(session, request);
}

void method_send(struct session *session, struct request *request)
{
    struct sending *sending = sending_new(session, request, &send_shape);
    struct message_request *message = &sending->message;

    if (!need_text(session, request, "to", &message->to) || !need_message(session, request) ||
        !need_key(session, request) ||
        !request_int(session, request, "delayMs", 0, MESSAGE_DELAY_MAX_MS, -1,
                     &message->delay_ms) ||
        !request_int(session, request, "ttlMs", 1, MESSAGE_DELAY_MAX_MS, -1, &message->ttl_ms) ||
        !request_int(session, request, "priority", 0, MESSAGE_PRIORITY_MAX, -1, &message->priority))
        return;
    sending->channel = document_get_string(request->params, "channel");
    sending_submit(session, request);
}

void method_chat_send(struct session *session, struct request *request)
{
    struct sending *sending = sending_new(session, request, &chat_shape);

    if (need_text(session, request, "sessionKey", &sending->message.to) &&
        need_message(session, request) && need_key(session, request)) {
        sending->message.expects_reply = true;
        sending_submit(session, request);
    }
}

void method_sessions_send(struct session *session, struct request *request)
{
    struct sending *sending = sending_new(session, request, &chat_shape);

    if (need_text(session, request, "key", &sending->message.to) && need_message(session, request))
        sending_submit(session, request);
}

/* {id,from,to,content,metadata?,timestamp?}. Where nobody authenticates, `from` says who speaks. */
void sending_bare(struct session *session, struct request *request)
{
    struct sending *sending = sending_new(session, request, &bare_shape);
    struct message_request *message = &sending->message;
    struct document *timestamp = document_get(request->params, "timestamp");

    message->key = request->id;
    message->to = document_get_string(request->params, "to");
    message->content = document_get(request->params, "content");
    if (message->to.len == 0 || document_kind(message->content) <= DOCUMENT_NULL) {
        request_invalid(session, request, "a message has id, from, to and content");
        return;
    }
    if (document_kind(document_get(request->params, "id")) > DOCUMENT_NULL &&
        !text_is_message_key(request->id)) {
        struct failure failure = {0};
        enum error error = failure_set(&failure, ERR_INVALID_ID,
                                       "id is 1 to 200 printable ASCII characters without space");

        request->id = TEXT_NONE;
        frame_error(session, request, error, &failure);
        request_end(session, request);
        return;
    }
    if (document_kind(timestamp) == DOCUMENT_INT)
        message->timestamp = document_int(timestamp, 0);
    if (!principal_may(&session->principal, SCOPE_SEND)) {
        frame_error(session, request, ERR_FORBIDDEN, NULL);
        request_end(session, request);
        return;
    }
    if (session->options->auth_mode == (int)AUTH_NONE && text_is_agent_id(message->from))
        principal_anybody(message->from, &sending->principal);
    sending_submit(session, request);
}
