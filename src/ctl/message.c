/* SPDX-License-Identifier: MIT
 *
 * gatewayctl message send, show, list, tail.
 */
#include "gateway/message.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/ctl.h"
#include "workflow/registry.h"

#define LOOK_MS    200
#define STATES_MAX 6

/* The columns of message_list, message_tail, and the first ones of message_show. */
#define MESSAGE_FIELDS                                                                             \
    {"id", "MESSAGE", FIELD_TEXT}, {"messageId", NULL, FIELD_TEXT}, {"inboxSeq", NULL, FIELD_INT}, \
        {"inbox", "INBOX", FIELD_TEXT}, {"from", "FROM", FIELD_TEXT},                              \
        {"state", "STATE", FIELD_TEXT}, {"attempts", "ATTEMPTS", FIELD_INT},                       \
        {"maxAttempts", NULL, FIELD_INT}, {"priority", NULL, FIELD_INT},                           \
        {"acceptedAt", "ACCEPTED", FIELD_TIME}, {"dueAt", "DUE", FIELD_TIME},                      \
        {"expiresAt", NULL, FIELD_TIME}, {"lastAttemptAt", NULL, FIELD_TIME},                      \
        {"reason", "REASON", FIELD_TEXT},                                                          \
    {                                                                                              \
        "workflowUuid", NULL, FIELD_TEXT                                                           \
    }

/* ---- send ---------------------------------------------------------------------------------------
 */

enum error ctl_read_stdin(struct ctl *ctl, size_t max, struct text *ret_text,
                          struct failure *failure)
{
    struct text text = {NULL, 0};
    size_t size = 65536;
    char *data = arena_alloc(ctl->arena, size);

    while (text.len <= max) {
        size_t got = fread(data + text.len, 1, size - text.len, stdin);
        text.len += got;
        if (got == 0)
            break;
        if (text.len == size) {
            char *larger = arena_alloc(ctl->arena, 2 * size);
            memcpy(larger, data, size);
            data = larger;
            size *= 2;
        }
    }
    if (ferror(stdin))
        return failure_set(failure, ERR_IO, "cannot read the standard input: %s", strerror(errno));
    if (text.len > max)
        return failure_set(failure, ERR_TOO_LARGE, "the standard input has more than %zu bytes",
                           max);
    text.data = data;
    *ret_text = text;
    return OK;
}

enum error ctl_from(struct ctl *ctl, const char **ret_from, struct failure *failure)
{
    const char *from = ctl_flag(ctl, FLAG_FROM);

    *ret_from = CTL_SENDER;
    if (!from || text_is(text_of(from), CTL_SENDER))
        return OK;
    *ret_from = from;
    if (!text_is_agent_id(text_of(from)))
        return failure_set(failure, ERR_INVALID_ID,
                           "--from is the name of an agent or another principal");
    return ctl_principal_must_exist(ctl, from, failure);
}

enum error ctl_read_text(struct ctl *ctl, const char *operand, struct text *ret_text,
                         struct failure *failure)
{
    struct text text = text_of(operand);
    enum error error;

    if (text_is(text, "-") &&
        (error = ctl_read_stdin(ctl, (size_t)ctl->options.max_message_size, &text, failure)) != OK)
        return error;
    if (!utf8_valid(text))
        return failure_set(failure, ERR_INVALID_ENCODING, "the message is no UTF-8 text");
    *ret_text = text;
    return OK;
}

enum error ctl_read_json(struct ctl *ctl, const char *operand, struct document **ret_value,
                         struct failure *failure)
{
    const struct document_limits limits = {.bytes = (size_t)ctl->options.max_message_size,
                                           .depth = DOCUMENT_DEPTH_MAX,
                                           .values = DOCUMENT_VALUES_MAX};
    struct text text;
    enum error error = ctl_read_text(ctl, operand, &text, failure);

    return error == OK ? document_parse(ctl->arena, text, &limits, failure, ret_value) : error;
}

enum error ctl_read_object(struct ctl *ctl, enum flag flag, struct document **ret_object,
                           struct failure *failure)
{
    enum error error = ctl_read_json(ctl, ctl_flag(ctl, flag), ret_object, failure);

    if (error == OK && document_kind(*ret_object) != DOCUMENT_OBJECT)
        return failure_set(failure, ERR_INVALID_REQUEST, "%s is a JSON object",
                           flag_rows[flag].name);
    return error;
}

static enum error read_content(struct ctl *ctl, struct document **ret_content,
                               struct failure *failure)
{
    struct text text;
    enum error error;

    if (ctl_flag(ctl, FLAG_AS_JSON))
        return ctl_read_json(ctl, ctl_operand(ctl, 1), ret_content, failure);
    error = ctl_read_text(ctl, ctl_operand(ctl, 1), &text, failure);
    if (error == OK)
        *ret_content = document_from_text(ctl->arena, text);
    return error;
}

static enum error read_request(struct ctl *ctl, struct message_request *request,
                               struct principal *principal, struct failure *failure)
{
    const char *from;
    const char *priority = ctl_flag(ctl, FLAG_PRIORITY);
    enum error error;

    *principal = ctl_principal(ctl);
    *request = (struct message_request){.key = text_of(ctl_flag(ctl, FLAG_KEY)),
                                        .to = text_of(ctl_operand(ctl, 0)),
                                        .priority = -1};
    if ((error = ctl_duration(ctl, FLAG_DELAY, -1, &request->delay_ms, failure)) != OK ||
        (error = ctl_duration(ctl, FLAG_TTL, -1, &request->ttl_ms, failure)) != OK)
        return error;
    if (priority && text_int64(text_of(priority), 0, 9, &request->priority) != OK)
        return failure_set(failure, ERR_INVALID_REQUEST, "--priority is a number from 0 to 9");
    if ((error = ctl_from(ctl, &from, failure)) != OK)
        return error;
    snprintf(principal->id, sizeof(principal->id), "%s", from);
    if (ctl_flag(ctl, FLAG_METADATA) &&
        (error = ctl_read_object(ctl, FLAG_METADATA, &request->metadata, failure)) != OK)
        return error;
    return read_content(ctl, &request->content, failure);
}

enum error ctl_message_accept(struct ctl *ctl, struct message_batch *batch, const char *subject,
                              struct failure *failure)
{
    struct db_call send, audit;
    struct db_rows *rows;
    enum error error;

    if (!message_batch_call(batch, &send))
        return message_batch_result(batch, NULL, failure);
    do {
        struct db_tx *tx = db_tx_begin(ctl->db, ctl->arena);
        rows = NULL;
        db_tx_call(tx, &send, &rows);
        ctl_call_audit(&audit, ctl->arena, "message.send", subject);
        db_tx_call(tx, &audit, NULL);
        error = db_tx_commit(tx, failure);
    } while (error == ERR_IN_DOUBT);
    return error == OK ? message_batch_result(batch, rows, failure) : error;
}

static bool is_final(enum message_status status)
{
    return status != MESSAGE_QUEUED && status != MESSAGE_DELIVERED;
}

/* Until it has reached its end, or the time is up. */
static enum error wait_for(struct ctl *ctl, struct message_receipt *receipt, int64_t wait_ms,
                           struct failure *failure)
{
    int64_t until = clock_ms() + wait_ms;

    while (!is_final(receipt->status) && clock_ms() < until) {
        struct message_receipt *found;
        struct db_rows *rows;
        struct db_call call;
        size_t count;
        enum error error;

        clock_sleep_ms(clock_jitter_ms(LOOK_MS));
        message_look_call(&call, ctl->arena, &receipt->workflow_id, &receipt->inbox_seq, 1);
        if ((error = db_run(ctl->db, &call, failure, &rows)) != OK ||
            (error = message_look_result(ctl->arena, rows, failure, &found, &count)) != OK)
            return error;
        if (count > 0)
            *receipt = found[0];
    }
    return OK;
}

enum error ctl_message_send(struct ctl *ctl, struct failure *failure)
{
    struct document *answer = document_object(ctl->arena);
    struct message_receipt receipt;
    struct message_request request;
    struct message_batch *batch;
    struct principal principal;
    struct engine engine;
    int64_t wait_ms;
    enum error error;

    if ((error = read_request(ctl, &request, &principal, failure)) != OK ||
        (error = ctl_duration(ctl, FLAG_WAIT, 0, &wait_ms, failure)) != OK)
        return error;
    engine_init(&engine, &ctl->options, workflow_definitions, EXECUTOR_CTL);
    batch = message_batch_new(ctl->arena, &engine);
    size_t index = message_batch_add(batch, &principal, &request);
    if ((error = ctl_message_accept(
             ctl, batch, arena_printf(ctl->arena, "%s to %s", principal.id, ctl_operand(ctl, 0)),
             failure)) != OK)
        return error;
    receipt = *message_batch_receipt(batch, index);
    if (receipt.error != OK) {
        *failure = receipt.failure;
        return receipt.error;
    }
    bool duplicate = receipt.duplicate;
    if ((error = wait_for(ctl, &receipt, wait_ms, failure)) != OK)
        return error;
    document_put_text(answer, "id", receipt.workflow_id);
    document_put_text(answer, "messageId", receipt.message_id);
    document_put_string(answer, "status", message_status_name(receipt.status));
    document_put_bool(answer, "duplicate", duplicate);
    if (receipt.response.data)
        document_put(answer, "response", ctl_value(ctl, receipt.response));
    if (receipt.reason.data)
        document_put_text(answer, "reason", receipt.reason);
    ctl_print_object(ctl, answer);
    if (wait_ms > 0 && !is_final(receipt.status))
        return failure_set(failure, ERR_TIMEOUT,
                           "it is accepted and will be delivered; gatewayctl message show %s tells "
                           "what became of it",
                           receipt.workflow_id.data);
    return OK;
}

/* ---- show, list ---------------------------------------------------------------------------------
 */

enum error ctl_message_show(struct ctl *ctl, struct failure *failure)
{
    static const struct field fields[] = {MESSAGE_FIELDS,
                                          {"workflowStatus", NULL, FIELD_TEXT},
                                          {"handed", NULL, FIELD_BOOL},
                                          {"expectsReply", NULL, FIELD_BOOL},
                                          {"holder", NULL, FIELD_TEXT},
                                          {"message", NULL, FIELD_JSON},
                                          {"result", NULL, FIELD_JSON}};
    struct document *message;
    struct db_rows *rows;
    struct db_call call;
    enum error error;

    db_call_init(&call, ctl->arena, STATEMENT_MESSAGE_SHOW);
    db_add_string(&call, ctl_operand(ctl, 0));
    if ((error = db_run(ctl->db, &call, failure, &rows)) != OK)
        return error;
    if (db_rows_count(rows) == 0)
        return failure_set(failure, ERR_NOT_FOUND,
                           "there is no message %.120s; gatewayctl message list shows the newest",
                           ctl_operand(ctl, 0));
    message = ctl_row_document(ctl, rows, 0, fields, FIELD_COUNT(fields));
    if ((error = db_rows_error(rows, failure)) == OK)
        ctl_print_object(ctl, message);
    return error;
}

static enum error add_states(const struct ctl *ctl, struct db_call *call, struct failure *failure)
{
    static const char *const known[STATES_MAX] = {"ready", "leased",  "acked",
                                                  "dead",  "expired", "withdrawn"};
    struct text states[STATES_MAX];
    size_t count = 0;

    if (!ctl_flag(ctl, FLAG_STATE)) {
        db_add_null(call);
        return OK;
    }
    for (const char *at = ctl_flag(ctl, FLAG_STATE); *at; at += strspn(at, ", ")) {
        struct text name = {at, strcspn(at, ", ")};
        size_t i = 0;
        while (i < STATES_MAX && !text_is(name, known[i]))
            i++;
        if (i == STATES_MAX || count == STATES_MAX)
            return failure_set(failure, ERR_INVALID_REQUEST,
                               "there is no state \"%.*s\"; there are: ready, leased, acked, dead, "
                               "expired, withdrawn",
                               (int)(name.len > 40 ? 40 : name.len), at);
        states[count++] = name;
        at += name.len;
    }
    db_add_texts(call, states, count);
    return OK;
}

enum error ctl_message_list(struct ctl *ctl, struct failure *failure)
{
    static const struct field fields[] = {MESSAGE_FIELDS};
    struct page page = {.number_column = 2};
    struct db_rows *rows;
    struct db_call call;
    int64_t since_ms;
    enum error error;

    db_call_init(&call, ctl->arena, STATEMENT_MESSAGE_LIST);
    if ((error = ctl_page(ctl, &page, failure)) != OK ||
        (error = ctl_duration(ctl, FLAG_SINCE, DB_INT_NULL, &since_ms, failure)) != OK ||
        (error = ctl_add_name(ctl, &call, FLAG_INBOX, failure)) != OK ||
        (error = ctl_add_name(ctl, &call, FLAG_FROM, failure)) != OK ||
        (error = add_states(ctl, &call, failure)) != OK)
        return error;
    ctl_add_int(&call, since_ms);
    ctl_add_page(&page, &call);
    if ((error = db_run(ctl->db, &call, failure, &rows)) != OK)
        return error;
    /* of an agent that was removed there still are some */
    if (db_rows_count(rows) == 0 && ctl_flag(ctl, FLAG_INBOX) &&
        (error = ctl_agent_must_exist(ctl, ctl_flag(ctl, FLAG_INBOX), failure)) != OK)
        return error;
    return ctl_print_found_page(ctl, rows, &page, "messages", fields, FIELD_COUNT(fields), failure);
}

/* ---- tail ---------------------------------------------------------------------------------------
 */

#define TAIL_BACK                                                                                  \
    512 /* so many of the last messages are looked at again, for what became of them */
#define TAIL_BATCH 1000
#define TAIL_MS    500
#define SEEN_SIZE  4096 /* more than a batch and what is looked at again */

/* What was shown of a message last. Its place in the table is its number modulo the size. */
struct seen {
    int64_t seq, attempt;
    char state[16];
};

static bool is_news(struct seen *seen, int64_t seq, int64_t attempt, struct text state)
{
    struct seen *slot = &seen[seq % SEEN_SIZE];

    if (slot->seq == seq && slot->attempt == attempt && text_is(state, slot->state))
        return false;
    slot->seq = seq;
    slot->attempt = attempt;
    snprintf(slot->state, sizeof(slot->state), "%.*s", (int)state.len, state.data);
    return true;
}

static enum error tail_once(struct ctl *ctl, struct seen *seen, int64_t first, int64_t *last,
                            struct failure *failure)
{
    static const struct field fields[] = {MESSAGE_FIELDS};
    static const struct column columns[] = {{"acceptedAt", "ACCEPTED"}, {"state", "STATE"},
                                            {"attempts", "ATTEMPTS"},   {"from", "FROM"},
                                            {"inbox", "INBOX"},         {"id", "MESSAGE"}};
    static const unsigned widths[] = {24, 9, 8, 16, 16, 0};
    static bool headed;
    int64_t after = *last - TAIL_BACK > first ? *last - TAIL_BACK : first;
    struct db_call call;
    struct db_rows *rows;
    enum error error;

    db_call_init(&call, ctl->arena, STATEMENT_MESSAGE_TAIL);
    db_add_int(&call, after);
    if ((error = ctl_add_name(ctl, &call, FLAG_INBOX, failure)) != OK ||
        (error = ctl_add_name(ctl, &call, FLAG_FROM, failure)) != OK)
        return error;
    db_add_int(&call, TAIL_BATCH);
    if ((error = db_run(ctl->db, &call, failure, &rows)) != OK)
        return error;
    if (!headed && !ctl->json &&
        (error = ctl_print_line(ctl, NULL, columns, widths, 6, failure)) != OK)
        return error;
    headed = true;
    for (size_t row = 0; row < db_rows_count(rows); row++) {
        int64_t seq = db_int(rows, row, 2);
        if (seq > *last)
            *last = seq;
        if (is_news(seen, seq, db_int(rows, row, 6), db_text(rows, row, 5)) &&
            (error =
                 ctl_print_line(ctl, ctl_row_document(ctl, rows, row, fields, FIELD_COUNT(fields)),
                                columns, widths, 6, failure)) != OK)
            return error;
    }
    return db_rows_error(rows, failure);
}

/* A message's number is taken before it is committed, so that one may appear behind a later one; it
 * is seen nevertheless, as the last ones are looked at again. */
enum error ctl_message_tail(struct ctl *ctl, struct failure *failure)
{
    struct seen *seen = arena_array(ctl->arena, SEEN_SIZE, sizeof(*seen));
    struct arena *whole = ctl->arena, *round;
    int64_t last, first, pause_ms;
    struct db_call call;
    struct db_rows *rows;
    enum error error;

    db_call_init(&call, ctl->arena, STATEMENT_MESSAGE_LAST);
    if ((error = ctl_interval(ctl, TAIL_MS, &pause_ms, failure)) != OK ||
        (ctl_flag(ctl, FLAG_INBOX) &&
         (error = ctl_agent_must_exist(ctl, ctl_flag(ctl, FLAG_INBOX), failure)) != OK) ||
        (error = ctl_names_must_be_known(ctl, failure)) != OK ||
        (error = db_run(ctl->db, &call, failure, &rows)) != OK)
        return error;
    first = last = db_int(rows, 0, 0);
    ctl->arena = round = arena_new();
    while (error != ERR_IO && (error == OK || error_retry(error) != RETRY_NEVER)) {
        if (error != OK) {
            fprintf(stderr, "gatewayctl: %s: %s; trying again\n", error_phrase(error),
                    failure->detail);
            clock_sleep_ms(1000);
        }
        arena_reset(round);
        if ((error = tail_once(ctl, seen, first, &last, failure)) == OK)
            clock_sleep_ms(pause_ms > 0 ? pause_ms : 1);
    }
    ctl->arena = whole;
    arena_free(round);
    return error;
}
