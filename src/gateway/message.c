/* SPDX-License-Identifier: MIT */
#include "gateway/message.h"

#include <string.h>

#include "base/clock.h"
#include "base/uuid.h"
#include "gateway/hand_over.h"
#include "workflow/registry.h"

struct entry {
    struct message_receipt receipt;
    bool started;
    size_t start; /* its place in the batch of workflows */
};

struct message_batch {
    struct arena *arena;
    const struct engine *engine;
    struct workflow_batch *workflows;
    struct entry *entries;
    size_t count, capacity;
};

const char *message_status_name(enum message_status status)
{
    static const char *const names[] = {
        [MESSAGE_QUEUED] = "queued",
        [MESSAGE_DELIVERED] = "delivered",
        [MESSAGE_ACKNOWLEDGED] = "acknowledged",
        [MESSAGE_FAILED] = "failed",
        [MESSAGE_EXPIRED] = "expired",
        [MESSAGE_CANCELLED] = "cancelled",
    };

    return names[status];
}

struct text message_recipient(struct text to)
{
    const char *colon;
    struct text agent;

    if (text_is_agent_id(to))
        return to;
    if (!text_starts(to, "agent:"))
        return TEXT_NONE;
    agent = (struct text){to.data + 6, to.len - 6};
    colon = memchr(agent.data, ':', agent.len);
    if (colon)
        agent.len = (size_t)(colon - agent.data);
    return text_is_agent_id(agent) ? agent : TEXT_NONE;
}

static bool looks_like_uuid(struct text id)
{
    if (id.len != UUID_SIZE - 1)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? id.data[i] != '-' : !strchr("0123456789abcdefABCDEF", id.data[i]))
            return false;
    }
    return true;
}

static struct text id_of_key(struct arena *arena, const struct principal *principal,
                             struct text key)
{
    return text_of(arena_printf(arena, "%s:%.*s", principal->id, (int)key.len, key.data));
}

void message_ids_meant(struct arena *arena, const struct principal *principal,
                       enum workflow_reference reference, struct text given,
                       struct text ret_ids[WORKFLOW_IDS_MEANT])
{
    struct text of_key = id_of_key(arena, principal, given);

    ret_ids[0] = reference == BY_RUN_ID ? of_key : given;
    ret_ids[1] = reference == BY_RUN_ID ? given : of_key;
}

void message_add_meant(struct db_call *call, struct arena *arena, const struct principal *principal,
                       enum workflow_reference reference, struct text given)
{
    struct text ids[WORKFLOW_IDS_MEANT] = {given, TEXT_NONE};

    if (principal)
        message_ids_meant(arena, principal, reference, given, ids);
    for (size_t i = 0; i < WORKFLOW_IDS_MEANT; i++)
        db_add_text(call, ids[i]);
    if (principal && !principal_may(principal, SCOPE_OPERATOR))
        db_add_string(call, principal->id);
    else
        db_add_null(call);
}

struct text message_new_workflow_id(struct arena *arena, const struct principal *principal,
                                    struct text id)
{
    if (memchr(id.data, ':', id.len) ||
        (looks_like_uuid(id) && principal_may(principal, SCOPE_OPERATOR)))
        return id;
    return id_of_key(arena, principal, id);
}

/* ---- what is known of a message ------------------------------------------------------------- */

static struct document *parsed(struct arena *arena, struct text text)
{
    struct document *document = NULL;

    if (!text.data || document_parse_stored(arena, text, NULL, &document) != OK)
        return NULL;
    /* what a native TypeScript client started is answered in its own envelope */
    if (document_get(document, "__dbos_serializer"))
        return document_get(document, "json");
    return document;
}

/* Fills in what a settled workflow says of its message. */
static void receipt_from_outcome(struct arena *arena, struct message_receipt *receipt,
                                 struct text status, struct text output, struct text error)
{
    struct document *result = parsed(arena, output);

    if (text_is(status, "SUCCESS")) {
        receipt->status = MESSAGE_ACKNOWLEDGED;
    } else if (text_is(status, "CANCELLED")) {
        receipt->status = MESSAGE_CANCELLED;
        receipt->reason = TEXT_LITERAL("the message's workflow was cancelled");
    } else if (text_is(status, "ERROR") || text_is(status, "MAX_RECOVERY_ATTEMPTS_EXCEEDED")) {
        struct document *portable = parsed(arena, error);

        receipt->status = text_is(document_get_string(portable, "code"), "EXPIRED")
                              ? MESSAGE_EXPIRED
                              : MESSAGE_FAILED;
        receipt->reason = document_get_string(portable, "message");
        result = document_get(portable, "data");
    } else {
        return;
    }
    receipt->attempts = document_int(document_get(result, "deliveryAttempts"), receipt->attempts);
    if (document_get_string(result, "lastAttemptTime").data)
        receipt->last_attempt = document_get_string(result, "lastAttemptTime");
    if (document_get(result, "response"))
        receipt->response = document_text(arena, document_get(result, "response"));
}

struct document *message_result(struct arena *arena, const struct message_receipt *receipt)
{
    struct document *result = document_object(arena);

    document_put_text(result, "messageId", receipt->message_id);
    document_put_string(result, "status", message_status_name(receipt->status));
    document_put_int(result, "deliveryAttempts", receipt->attempts);
    document_put(result, "lastAttemptTime", document_from_text(arena, receipt->last_attempt));
    if (receipt->response.data)
        document_put(result, "response", document_from_json(arena, receipt->response));
    document_put_text(result, "reason", receipt->reason);
    return result;
}

/* ---- accepting --------------------------------------------------------------------------------
 */

struct message_batch *message_batch_new(struct arena *arena, const struct engine *engine)
{
    struct message_batch *batch = arena_alloc(arena, sizeof *batch);

    batch->arena = arena;
    batch->engine = engine;
    batch->workflows = workflow_batch_new(arena, engine);
    return batch;
}

static enum error check_request(const struct principal *principal,
                                const struct message_request *request, struct failure *failure)
{
    if (!principal_may(principal, SCOPE_SEND))
        return failure_set(failure, ERR_FORBIDDEN, "sending needs the scope send");
    if (request->from.data && !text_is(request->from, principal->id))
        return failure_set(failure, ERR_FORBIDDEN, "from must be the authenticated principal");
    if (request->key.data && !text_is_message_key(request->key))
        return failure_set(failure, ERR_INVALID_ID,
                           "an idempotency key has 1 to %d printable ASCII characters, "
                           "without space, quote and backslash",
                           MESSAGE_KEY_MAX);
    if (!message_recipient(request->to).data)
        return failure_set(failure, ERR_INVALID_ID,
                           "to must be an agent id or a session key agent:<id>:<session>");
    return OK;
}

/* The input of routeAgentMessage; what the client did not give is left out. */
static struct document *input_of(struct arena *arena, const struct principal *principal,
                                 const struct message_request *request)
{
    struct document *input = document_object(arena);

    document_put_string(input, "from", principal->id);
    document_put_text(input, "to", message_recipient(request->to));
    if (!text_is_agent_id(request->to))
        document_put_text(input, "sessionKey", request->to);
    if (request->content)
        document_put(input, "content", document_copy(arena, request->content));
    if (request->metadata)
        document_put(input, "metadata", document_copy(arena, request->metadata));
    if (request->timestamp)
        document_put_int(input, "timestamp", request->timestamp);
    if (request->delay_ms >= 0)
        document_put_int(input, "delayMs", request->delay_ms);
    if (request->ttl_ms >= 0)
        document_put_int(input, "ttlMs", request->ttl_ms);
    if (request->priority >= 0)
        document_put_int(input, "priority", request->priority);
    if (request->expects_reply)
        document_put_bool(input, "expectsReply", true);
    if (text_is_traceparent(request->traceparent))
        document_put_text(input, "traceparent", request->traceparent);
    return input;
}

static struct entry *new_entry(struct message_batch *batch)
{
    if (batch->count == batch->capacity) {
        size_t capacity = batch->capacity ? batch->capacity * 2 : 4;
        struct entry *entries = arena_array(batch->arena, capacity, sizeof *entries);

        if (batch->count)
            memcpy(entries, batch->entries, batch->count * sizeof *entries);
        batch->entries = entries;
        batch->capacity = capacity;
    }
    return &batch->entries[batch->count++];
}

size_t message_batch_add(struct message_batch *batch, const struct principal *principal,
                         const struct message_request *request)
{
    struct entry *entry = new_entry(batch);
    struct message_receipt *receipt = &entry->receipt;
    char uuid[UUID_SIZE];

    receipt->error = check_request(principal, request, &receipt->failure);
    if (receipt->error)
        return batch->count - 1;

    if (request->key.data) {
        receipt->message_id = arena_text(batch->arena, request->key);
        receipt->workflow_id = text_of(arena_printf(batch->arena, "%s:%.*s", principal->id,
                                                    (int)request->key.len, request->key.data));
    } else {
        uuid_v7(uuid);
        receipt->workflow_id = receipt->message_id = arena_text(batch->arena, text_of(uuid));
    }
    entry->started = true;
    entry->start = workflow_batch_start(batch->workflows,
                                        &(struct workflow_start){
                                            .definition = workflow_route_agent_message,
                                            .id = receipt->workflow_id,
                                            .principal = text_of(principal->id),
                                            .input = input_of(batch->arena, principal, request),
                                            .waiter = request->waiter,
                                            .traceparent = request->traceparent,
                                            .request_id = request->request_id,
                                        });
    return batch->count - 1;
}

size_t message_batch_count(const struct message_batch *batch)
{
    return batch->count;
}

bool message_batch_call(struct message_batch *batch, struct db_call *ret_call)
{
    return workflow_batch_call(batch->workflows, ret_call);
}

static void refuse(struct message_receipt *receipt, enum error error, const char *hint)
{
    receipt->error = failure_set(&receipt->failure, error, "%s", hint);
}

static void read_refusal(struct message_receipt *receipt, const struct workflow_outcome *outcome)
{
    switch (outcome->reason) {
    case ERR_UNKNOWN_RECIPIENT:
        refuse(receipt, ERR_UNKNOWN_RECIPIENT, "gatewayctl agent add makes one");
        break;
    case ERR_INBOX_FULL:
        refuse(receipt, ERR_INBOX_FULL, "send again when it has read some of its messages");
        break;
    case ERR_IDEMPOTENCY_CONFLICT:
        refuse(receipt, ERR_IDEMPOTENCY_CONFLICT,
               "a DBOS client's message of this id is on its way; use a new key");
        break;
    default:
        receipt->failure = outcome->failure;
        receipt->error = outcome->reason ? outcome->reason : ERR_INTERNAL;
    }
}

static void read_outcome(struct message_batch *batch, struct message_receipt *receipt,
                         const struct workflow_outcome *outcome)
{
    receipt->inbox_seq = outcome->inbox_seq;
    receipt->now_ms = outcome->now_ms;
    switch (outcome->kind) {
    case WORKFLOW_COMMITTED:
    case WORKFLOW_EXISTS:
        receipt->duplicate = outcome->kind == WORKFLOW_EXISTS;
        receipt_from_outcome(batch->arena, receipt, outcome->status, outcome->output,
                             outcome->error);
        break;
    case WORKFLOW_CONFLICT:
        refuse(receipt, ERR_IDEMPOTENCY_CONFLICT, "repeat the same message, or use a new key");
        break;
    case WORKFLOW_REFUSED:
        read_refusal(receipt, outcome);
        break;
    case WORKFLOW_FENCED:
        refuse(receipt, ERR_INTERNAL, "a start cannot be fenced");
        break;
    }
}

enum error message_batch_result(struct message_batch *batch, struct db_rows *rows,
                                struct failure *failure)
{
    enum error error = workflow_batch_result(batch->workflows, rows, failure);

    if (error)
        return error;
    for (size_t i = 0; i < batch->count; i++) {
        struct entry *entry = &batch->entries[i];
        const struct workflow_outcome *outcome;

        if (!entry->started)
            continue;
        outcome = workflow_batch_outcome(batch->workflows, entry->start);
        read_outcome(batch, &entry->receipt, outcome);
        hand_over_send(batch->engine, outcome, &entry->receipt);
        engine_ring(batch->engine, outcome->bells, outcome->bell_count);
    }
    return OK;
}

const struct message_receipt *message_batch_receipt(const struct message_batch *batch, size_t index)
{
    return &batch->entries[index].receipt;
}

/* ---- looking ------------------------------------------------------------------------------------
 */

void message_look_call(struct db_call *call, struct arena *arena, const struct text *ids,
                       const int64_t *seqs, size_t count)
{
    db_call_init(call, arena, STATEMENT_MESSAGE_LOOK);
    db_add_texts(call, ids, count);
    db_add_ints(call, seqs, count);
}

enum error message_look_result(struct arena *arena, struct db_rows *rows, struct failure *failure,
                               struct message_receipt **ret_receipts, size_t *ret_count)
{
    size_t count = db_rows_count(rows);
    struct message_receipt *receipts = arena_array(arena, count ? count : 1, sizeof *receipts);
    enum error error;

    for (size_t row = 0; row < count; row++) {
        struct message_receipt *receipt = &receipts[row];
        int64_t last_attempt = db_int_or(rows, row, 9, 0);

        receipt->workflow_id = db_text(rows, row, 1);
        receipt->message_id = db_text(rows, row, 10);
        receipt->principal = db_text(rows, row, 11);
        receipt->inbox_seq = db_int_or(rows, row, 5, 0);
        receipt->attempts = db_int_or(rows, row, 7, 0);
        if (!db_is_null(rows, row, 8) && db_bool(rows, row, 8))
            receipt->status = MESSAGE_DELIVERED;
        if (last_attempt) {
            char iso[CLOCK_ISO_SIZE];

            clock_iso(last_attempt, iso);
            receipt->last_attempt = arena_text(arena, text_of(iso));
        }
        receipt_from_outcome(arena, receipt, db_text(rows, row, 2), db_text(rows, row, 3),
                             db_text(rows, row, 4));
    }
    error = db_rows_error(rows, failure);
    if (error)
        return error;
    *ret_receipts = receipts;
    *ret_count = count;
    return OK;
}
