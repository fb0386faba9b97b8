/* SPDX-License-Identifier: MIT */
#include "gateway/inbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/uuid.h"

/* The sender that the inbox names for what a DBOS client put into a mailbox. */
#define SENDER_DBOS "dbos"

int64_t delivery_seq(struct text delivery_id)
{
    const char *dot = delivery_id.data && delivery_id.len <= DELIVERY_ID_MAX
                          ? memchr(delivery_id.data, '.', delivery_id.len)
                          : NULL;
    int64_t seq;

    if (!dot || !utf8_valid(delivery_id) ||
        text_int64((struct text){delivery_id.data, (size_t)(dot - delivery_id.data)}, 1, INT64_MAX,
                   &seq) != OK)
        return 0;
    return seq;
}

bool delivery_handed_over(struct text delivery_id)
{
    const char *dot = memchr(delivery_id.data, '.', delivery_id.len);

    return dot && dot + 1 < delivery_id.data + delivery_id.len && dot[1] == 'h';
}

/* The parameters that say which deliveries: their places and their ids. An id that cannot be one
 * becomes place 0, which is nobody's, and never reaches the database as text. */
static void add_deliveries(struct db_call *call, struct arena *arena, const struct text *ids,
                           size_t count)
{
    int64_t *seqs = arena_array(arena, count ? count : 1, sizeof *seqs);
    struct text *safe = arena_array(arena, count ? count : 1, sizeof *safe);

    for (size_t i = 0; i < count; i++) {
        seqs[i] = delivery_seq(ids[i]);
        safe[i] = seqs[i] ? ids[i] : TEXT_LITERAL("");
    }
    db_add_ints(call, seqs, count);
    db_add_texts(call, safe, count);
}

static void ring_column(const struct engine *engine, struct db_rows *rows, unsigned column)
{
    for (size_t row = 0; row < db_rows_count(rows); row++) {
        struct text bell = db_text(rows, row, column);

        if (bell.data)
            engine_ring(engine, &bell, 1);
    }
}

void inbox_call_audit(struct db_call *call, const struct principal *by, struct text agent)
{
    static const struct {
        enum statement plain, audited;
    } pairs[] = {
        {STATEMENT_INBOX_SUBSCRIBE, STATEMENT_INBOX_SUBSCRIBE_AUDITED},
        {STATEMENT_INBOX_CLAIM, STATEMENT_INBOX_CLAIM_AUDITED},
        {STATEMENT_INBOX_ACK, STATEMENT_INBOX_ACK_AUDITED},
        {STATEMENT_INBOX_NACK, STATEMENT_INBOX_NACK_AUDITED},
        {STATEMENT_INBOX_EXTEND, STATEMENT_INBOX_EXTEND_AUDITED},
    };

    if (by->credential_id[0] == '\0' || text_is(agent, by->id))
        return;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (call->statement == pairs[i].plain) {
            call->statement = pairs[i].audited;
            db_add_string(call, by->id);
            return;
        }
    }
    abort();
}

void inbox_subscribe_call(struct db_call *call, struct arena *arena, const struct engine *engine,
                          struct text agent, struct text consumer, bool exclusive,
                          int64_t max_in_flight, int64_t lease_ms, int64_t number)
{
    db_call_init(call, arena, STATEMENT_INBOX_SUBSCRIBE);
    db_add_text(call, agent);
    db_add_string(call, engine->executor.id);
    db_add_text(call, consumer);
    db_add_bool(call, exclusive);
    db_add_int(call, max_in_flight);
    db_add_int(call, lease_ms);
    db_add_int(call, number);
}

enum error inbox_subscribe_result(const struct engine *engine, struct db_rows *rows,
                                  struct failure *failure,
                                  struct inbox_subscription *ret_subscription)
{
    struct inbox_subscription subscription = {
        .epoch = db_int(rows, 0, 0),
        .pending = db_int(rows, 0, 1),
        .in_flight = db_int(rows, 0, 2),
    };
    size_t count;
    struct text *bells = db_texts(rows, 0, 3, &count);
    enum error error = db_rows_error(rows, failure);

    if (error)
        return error;
    engine_ring(engine, bells, count);
    *ret_subscription = subscription;
    return OK;
}

void inbox_unsubscribe_call(struct db_call *call, struct arena *arena, const struct engine *engine,
                            struct text agent, int64_t number)
{
    db_call_init(call, arena, STATEMENT_INBOX_UNSUBSCRIBE);
    db_add_text(call, agent);
    db_add_string(call, engine->executor.id);
    db_add_int(call, number);
}

void inbox_resume_call(struct db_call *call, struct arena *arena, const struct engine *engine,
                       struct text agent, int64_t epoch, const struct text *known, size_t count,
                       int64_t number)
{
    db_call_init(call, arena, STATEMENT_INBOX_RESUME);
    db_add_text(call, agent);
    db_add_string(call, engine->executor.id);
    db_add_int(call, epoch);
    db_add_texts(call, known, count);
    db_add_int(call, number);
}

void inbox_claim_call(struct db_call *call, struct arena *arena, struct text agent,
                      const char *holder, int64_t epoch, int64_t max_in_flight, int64_t limit,
                      int64_t lease_ms, const char *token, int64_t known)
{
    db_call_init(call, arena, STATEMENT_INBOX_CLAIM);
    db_add_text(call, agent);
    db_add_string(call, holder);
    if (epoch)
        db_add_int(call, epoch);
    else
        db_add_null(call);
    if (max_in_flight)
        db_add_int(call, max_in_flight);
    else
        db_add_null(call);
    db_add_int(call, limit);
    db_add_int(call, lease_ms);
    if (token)
        db_add_string(call, token);
    else
        db_add_null(call);
    if (known >= 0)
        db_add_int(call, known);
    else
        db_add_null(call);
}

const char *inbox_claim_token(struct arena *arena)
{
    unsigned char bytes[INBOX_TOKEN_LEN / 2];
    char *token = arena_alloc(arena, INBOX_TOKEN_LEN + 1);

    random_bytes(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        (void)snprintf(token + 2 * i, 3, "%02x", bytes[i]);
    return token;
}

#define SUPERJSON_HEAD "{\"json\":"
#define SUPERJSON_TAIL ",\"__dbos_serializer\":\"superjson\"}"

/* The value within a superjson envelope that cannot be parsed; absent where it is not the envelope
 * that the SDK writes around a value of JSON. */
static struct text enveloped(struct text message)
{
    size_t head = strlen(SUPERJSON_HEAD), around = head + strlen(SUPERJSON_TAIL);

    if (message.len <= around || memcmp(message.data, SUPERJSON_HEAD, head) != 0 ||
        memcmp(message.data + message.len - (around - head), SUPERJSON_TAIL, around - head) != 0)
        return TEXT_NONE;
    return (struct text){message.data + head, message.len - around};
}

/* What a DBOS client sent: any value, in its serialization. What cannot be read arrives as text,
 * and the metadata say in which serialization that is. */
static void read_foreign(struct arena *arena, struct text serialization, struct text message,
                         struct delivery *delivery)
{
    bool native = text_is(serialization, "js_superjson");
    bool readable = native || !serialization.data || text_is(serialization, "portable_json");
    struct document *value = NULL;

    if (readable && document_parse_stored(arena, message, NULL, &value) == OK) {
        if (native && document_get(value, "__dbos_serializer"))
            value = document_get(value, "json");
        delivery->content = value ? value : document_null(arena);
        return;
    }
    if (native && enveloped(message).data) {
        message = enveloped(message);
        serialization = TEXT_LITERAL("portable_json");
    }
    delivery->content = document_from_text(arena, message);
    delivery->metadata =
        document_put_text(document_object(arena), "serialization",
                          serialization.data ? serialization : TEXT_LITERAL("portable_json"));
}

void delivery_read_message(struct arena *arena, struct text agent, struct text serialization,
                           struct text message, struct delivery *delivery)
{
    struct document *envelope = NULL;

    delivery->to = agent;
    if (text_is(delivery->from, SENDER_DBOS) ||
        document_parse_stored(arena, message, NULL, &envelope) != OK) {
        read_foreign(arena, serialization, message, delivery);
        return;
    }
    delivery->session_key = document_get_string(envelope, "sessionKey");
    delivery->traceparent = document_get_string(envelope, "traceparent");
    delivery->content = document_get(envelope, "content");
    delivery->metadata = document_get(envelope, "metadata");
}

enum error inbox_claim_result(struct arena *arena, struct text agent, struct db_rows *rows,
                              struct failure *failure, struct delivery **ret_deliveries,
                              size_t *ret_count, int64_t *ret_next_due_ms)
{
    size_t count = db_rows_count(rows);
    struct delivery *deliveries;
    enum error error;

    *ret_next_due_ms = -1;
    if (count > 0 && db_is_null(rows, count - 1, 1))
        *ret_next_due_ms = db_int_or(rows, --count, 0, -1);
    deliveries = arena_array(arena, count ? count : 1, sizeof *deliveries);
    for (size_t row = 0; row < count; row++) {
        struct delivery *delivery = &deliveries[row];

        delivery->inbox_seq = db_int(rows, row, 1);
        delivery->delivery_id = db_text(rows, row, 2);
        delivery->message_id = db_text(rows, row, 3);
        delivery->from = db_text(rows, row, 5);
        delivery->workflow_id = db_text(rows, row, 6);
        delivery->attempt = db_int(rows, row, 9);
        delivery->max_attempts = db_int(rows, row, 10);
        delivery->redelivered = db_bool(rows, row, 11);
        delivery->expects_reply = db_bool(rows, row, 12);
        delivery->accepted_at = db_int(rows, row, 13);
        delivery->expires_at = db_int(rows, row, 14);
        delivery->lease_expires_at = db_int(rows, row, 15);
        delivery->bytes = db_text(rows, row, 8).len;
        delivery_read_message(arena, agent, db_text(rows, row, 7), db_text(rows, row, 8), delivery);
    }
    error = db_rows_error(rows, failure);
    if (error)
        return error;
    *ret_deliveries = deliveries;
    *ret_count = count;
    return OK;
}

struct document *delivery_document(struct arena *arena, const struct delivery *delivery)
{
    struct document *document = document_object(arena);

    document_put_text(document, "deliveryId", delivery->delivery_id);
    document_put_text(document, "messageId", delivery->message_id);
    document_put_text(document, "inbox", delivery->to);
    document_put_int(document, "inboxSeq", delivery->inbox_seq);
    document_put_int(document, "attempt", delivery->attempt);
    document_put_int(document, "maxAttempts", delivery->max_attempts);
    document_put_bool(document, "redelivered", delivery->redelivered);
    document_put_text(document, "from", delivery->from);
    document_put_text(document, "to", delivery->to);
    document_put(document, "sessionKey", document_from_text(arena, delivery->session_key));
    document_put(document, "content", document_copy(arena, delivery->content));
    document_put(document, "metadata",
                 delivery->metadata ? document_copy(arena, delivery->metadata)
                                    : document_object(arena));
    document_put(document, "workflowUuid", document_from_text(arena, delivery->workflow_id));
    document_put_int(document, "enqueuedAt", delivery->accepted_at);
    document_put_int(document, "expiresAt", delivery->expires_at);
    document_put_int(document, "leaseExpiresAt", delivery->lease_expires_at);
    document_put_bool(document, "expectsReply", delivery->expects_reply);
    if (delivery->traceparent.data)
        document_put_text(document, "traceparent", delivery->traceparent);
    return document;
}

/* Room in a frame for what stands around an answer. */
#define RESPONSE_OVERHEAD 4096 /* bytes */

int64_t inbox_response_max(const struct options *options)
{
    return (options->max_message_size - RESPONSE_OVERHEAD) / 2; /* escaping may double it */
}

enum error inbox_response(struct arena *arena, const struct options *options,
                          const struct document *result, struct failure *failure,
                          struct text *ret_response)
{
    int64_t most = inbox_response_max(options);
    struct text response = TEXT_NONE;

    if (document_kind(result) > DOCUMENT_NULL)
        response = document_text(arena, result);
    if ((int64_t)response.len > most)
        return failure_set(failure, ERR_TOO_LARGE, "a result may have %lld bytes of JSON",
                           (long long)most);
    *ret_response = response;
    return OK;
}

void inbox_ack_call(struct db_call *call, struct arena *arena, const struct engine *engine,
                    struct text agent, const struct ack_request *requests, size_t count)
{
    struct text *ids = arena_array(arena, count ? count : 1, sizeof *ids);
    struct text *responses = arena_array(arena, count ? count : 1, sizeof *responses);
    struct text *agents = arena_array(arena, count ? count : 1, sizeof *agents);

    for (size_t i = 0; i < count; i++) {
        agents[i] = agent;
        ids[i] = requests[i].delivery_id;
        responses[i] = requests[i].response;
    }
    db_call_init(call, arena, STATEMENT_INBOX_ACK);
    db_add_string(call, engine->options->app_name);
    db_add_bool(call, engine->options->legacy_payloads != 0);
    db_add_texts(call, agents, count);
    add_deliveries(call, arena, ids, count);
    db_add_texts(call, responses, count);
}

enum error inbox_ack_result(const struct engine *engine, struct arena *arena, struct db_rows *rows,
                            struct failure *failure, struct ack **ret_acks, size_t *ret_count)
{
    size_t count = db_rows_count(rows);
    struct ack *acks = arena_array(arena, count ? count : 1, sizeof *acks);
    enum error error;

    for (size_t row = 0; row < count; row++) {
        struct text outcome = db_text(rows, row, 2);

        acks[row].delivery_id = db_text(rows, row, 1);
        acks[row].outcome = text_is(outcome, "acked")     ? ACK_ACKED
                            : text_is(outcome, "already") ? ACK_ALREADY
                                                          : ACK_STALE;
    }
    error = db_rows_error(rows, failure);
    if (error)
        return error;
    ring_column(engine, rows, 3);
    *ret_acks = acks;
    *ret_count = count;
    return OK;
}

void inbox_nack_call(struct db_call *call, struct arena *arena, const struct engine *engine,
                     struct text agent, struct text delivery_id, int64_t delay_ms, bool requeue,
                     struct text reason)
{
    int64_t seq = delivery_seq(delivery_id);

    db_call_init(call, arena, STATEMENT_INBOX_NACK);
    db_add_string(call, engine->options->app_name);
    db_add_bool(call, engine->options->legacy_payloads != 0);
    db_add_text(call, agent);
    db_add_int(call, seq);
    db_add_text(call, seq ? delivery_id : TEXT_LITERAL(""));
    if (delay_ms >= 0)
        db_add_int(call, delay_ms);
    else
        db_add_null(call);
    db_add_bool(call, requeue);
    db_add_text(call, reason);
    db_add_int(call, engine->options->retry_base_ms);
    db_add_int(call, engine->options->retry_max_ms);
}

enum error inbox_nack_result(const struct engine *engine, struct db_rows *rows,
                             struct failure *failure, struct nack *ret_nack)
{
    struct nack nack;
    enum error error;

    if (db_rows_count(rows) == 0)
        return failure_set(failure, ERR_STALE,
                           "it is not the current delivery of a message of this inbox");
    nack.dead = text_is(db_text(rows, 0, 0), "dead");
    nack.attempt = db_int(rows, 0, 1);
    nack.next_attempt_at = db_int(rows, 0, 2);
    nack.next_attempt_in_ms = db_int(rows, 0, 3);
    error = db_rows_error(rows, failure);
    if (error)
        return error;
    ring_column(engine, rows, 4);
    *ret_nack = nack;
    return OK;
}

void inbox_extend_call(struct db_call *call, struct arena *arena, struct text agent,
                       const struct text *delivery_ids, size_t count, int64_t lease_ms)
{
    db_call_init(call, arena, STATEMENT_INBOX_EXTEND);
    db_add_text(call, agent);
    add_deliveries(call, arena, delivery_ids, count);
    db_add_int(call, lease_ms);
}

enum error inbox_extend_result(const struct engine *engine, struct db_rows *rows,
                               struct failure *failure, size_t *ret_count,
                               int64_t *ret_lease_expires_at)
{
    size_t count = db_rows_count(rows);
    int64_t least = 0;
    enum error error;

    for (size_t row = 0; row < count; row++) {
        int64_t expires_at = db_int(rows, row, 1);

        if (row == 0 || expires_at < least)
            least = expires_at;
    }
    error = db_rows_error(rows, failure);
    if (error)
        return error;
    ring_column(engine, rows, 2);
    *ret_count = count;
    *ret_lease_expires_at = least;
    return OK;
}

void inbox_handed_call(struct db_call *call, struct arena *arena, const struct text *delivery_ids,
                       size_t count)
{
    db_call_init(call, arena, STATEMENT_INBOX_HANDED);
    add_deliveries(call, arena, delivery_ids, count);
}

enum error inbox_handed_result(const struct engine *engine, struct arena *arena,
                               struct db_rows *rows, struct failure *failure)
{
    enum error error;

    (void)arena;
    ring_column(engine, rows, 0);
    error = db_rows_error(rows, failure);
    return error;
}

void inbox_stats_call(struct db_call *call, struct arena *arena, struct text agent)
{
    db_call_init(call, arena, STATEMENT_INBOX_STATS);
    db_add_text(call, agent);
}

enum error inbox_stats_result(struct db_rows *rows, struct failure *failure,
                              struct inbox_stats *ret_stats)
{
    struct inbox_stats stats = {
        .ready = db_int(rows, 0, 0),
        .in_flight = db_int(rows, 0, 1),
        .redelivered = db_int(rows, 0, 2),
        .oldest_ms = db_int_or(rows, 0, 3, -1),
        .dead = db_int(rows, 0, 4),
    };
    enum error error = db_rows_error(rows, failure);

    if (error)
        return error;
    *ret_stats = stats;
    return OK;
}
