/* SPDX-License-Identifier: MIT
 *
 * gatewayctl inbox pull, ack, nack, extend: an operator in an agent's place. Each is in the audit.
 */
#include "gateway/inbox.h"

#include <stdio.h>

#include "base/clock.h"
#include "ctl/ctl.h"
#include "gateway/delivery_request.h"
#include "workflow/registry.h"

#define PULL_DEFAULT 10
#define LOOK_MS      500

/* Whoever may run this program is known by its user, whatever AUTH_MODE says. */
static void note(struct ctl *ctl, struct db_call *call)
{
    struct principal self = ctl_principal(ctl);

    snprintf(self.credential_id, sizeof(self.credential_id), "shell");
    inbox_call_audit(call, &self, text_of(ctl_operand(ctl, 0)));
}

/* ---- pull ---------------------------------------------------------------------------------------
 */

struct pull {
    int64_t limit, lease_ms, wait_ms;
    struct delivery *deliveries;
    size_t count;
};

static enum error read_pull(struct ctl *ctl, struct pull *pull, struct failure *failure)
{
    const char *limit = ctl_flag(ctl, FLAG_LIMIT);
    enum error error;

    *pull = (struct pull){.limit = PULL_DEFAULT};
    if (limit && text_int64(text_of(limit), 1, INBOX_IN_FLIGHT_MAX, &pull->limit) != OK)
        return failure_set(failure, ERR_INVALID_REQUEST, "--limit is a number from 1 to %d",
                           INBOX_IN_FLIGHT_MAX);
    if ((error = ctl_duration(ctl, FLAG_WAIT, 0, &pull->wait_ms, failure)) != OK ||
        (error = ctl_duration(ctl, FLAG_LEASE, ctl->options.lease_ms, &pull->lease_ms, failure)) !=
            OK)
        return error;
    if (pull->lease_ms < INBOX_LEASE_MIN_MS || pull->lease_ms > INBOX_LEASE_MAX_MS)
        return failure_set(failure, ERR_INVALID_REQUEST, "--lease is a time from 1s to 1h");
    return ctl_agent_must_exist(ctl, ctl_operand(ctl, 0), failure);
}

static enum error claim(struct ctl *ctl, struct pull *pull, struct failure *failure)
{
    struct text agent = text_of(ctl_operand(ctl, 0));
    struct db_rows *rows;
    struct db_call call;
    int64_t next_due;
    enum error error;

    inbox_claim_call(&call, ctl->arena, agent,
                     arena_printf(ctl->arena, "ctl:%s", ctl_who(ctl->arena)), 0, 0, pull->limit,
                     pull->lease_ms, inbox_claim_token(ctl->arena), -1);
    note(ctl, &call);
    do
        error = db_run(ctl->db, &call, failure, &rows);
    while (error == ERR_IN_DOUBT); /* with its token it takes what it took */
    return error == OK ? inbox_claim_result(ctl->arena, agent, rows, failure, &pull->deliveries,
                                            &pull->count, &next_due)
                       : error;
}

static void print_deliveries(const struct ctl *ctl, const struct pull *pull)
{
    static const struct column columns[] = {{"deliveryId", "DELIVERY"},
                                            {"from", "FROM"},
                                            {"attempt", "ATTEMPT"},
                                            {"messageId", "MESSAGE"},
                                            {"content", "CONTENT"}};
    struct document *list = document_array(ctl->arena);

    for (size_t i = 0; i < pull->count; i++)
        document_append(list, delivery_document(ctl->arena, &pull->deliveries[i]));
    ctl_print_rows(ctl, "messages", list, columns, sizeof(columns) / sizeof(columns[0]));
}

/* Only what was written counts as an attempt. Where this is lost, the lease ends and the message
 * comes again without one. */
static enum error hand_over(struct ctl *ctl, const struct engine *engine, const struct pull *pull,
                            struct failure *failure)
{
    struct text *ids = arena_array(ctl->arena, pull->count, sizeof(*ids));
    struct db_rows *rows;
    struct db_call call;
    enum error error;

    print_deliveries(ctl, pull);
    if (fflush(stdout) != 0)
        return failure_set(failure, ERR_IO, "the messages could not be written; they come again");
    for (size_t i = 0; i < pull->count; i++)
        ids[i] = pull->deliveries[i].delivery_id;
    inbox_handed_call(&call, ctl->arena, ids, pull->count);
    error = db_run(ctl->db, &call, failure, &rows);
    return error == OK ? inbox_handed_result(engine, ctl->arena, rows, failure) : error;
}

enum error ctl_inbox_pull(struct ctl *ctl, struct failure *failure)
{
    struct engine engine;
    struct pull pull;
    int64_t until;
    enum error error = read_pull(ctl, &pull, failure);

    if (error != OK)
        return error;
    engine_init(&engine, &ctl->options, workflow_definitions, EXECUTOR_CTL);
    until = clock_ms() + pull.wait_ms;
    while ((error = claim(ctl, &pull, failure)) == OK && pull.count == 0 && clock_ms() < until)
        clock_sleep_ms(clock_jitter_ms(LOOK_MS));
    if (error != OK)
        return error;
    if (pull.count > 0)
        return hand_over(ctl, &engine, &pull, failure);
    print_deliveries(ctl, &pull);
    return OK;
}

/* ---- ack, nack, extend --------------------------------------------------------------------------
 */

/* The operands and flags as the request that the other faces send. */
static struct document *request_of(struct ctl *ctl)
{
    struct document *request = document_object(ctl->arena), *ids = document_array(ctl->arena);

    for (unsigned i = 1; i < ctl->arguments.operand_count; i++)
        document_append(ids, document_from_text(ctl->arena, text_of(ctl_operand(ctl, i))));
    return document_put(request, "deliveryIds", ids);
}

enum error ctl_inbox_ack(struct ctl *ctl, struct failure *failure)
{
    static const char *const names[] = {
        [ACK_ACKED] = "acked", [ACK_ALREADY] = "already", [ACK_STALE] = "stale"};
    static const struct column columns[] = {{"deliveryId", "DELIVERY"}, {"outcome", "OUTCOME"}};
    struct document *request = request_of(ctl), *result, *list = document_array(ctl->arena);
    struct delivery_request said = {0};
    struct ack_request *requests;
    struct ack *acks;
    struct engine engine;
    struct db_rows *rows;
    struct db_call call;
    size_t count, stale = 0;
    enum error error;

    if (ctl_flag(ctl, FLAG_RESULT)) {
        if ((error = ctl_read_json(ctl, ctl_flag(ctl, FLAG_RESULT), &result, failure)) != OK)
            return error;
        document_put(request, "result", result);
    }
    if ((error = ack_request_read(ctl->arena, &ctl->options, request, failure, &said)) != OK ||
        (error = ctl_agent_must_exist(ctl, ctl_operand(ctl, 0), failure)) != OK)
        return error;
    requests = arena_array(ctl->arena, said.count, sizeof(*requests));
    for (size_t i = 0; i < said.count; i++)
        requests[i] = (struct ack_request){said.ids[i], said.response};
    engine_init(&engine, &ctl->options, workflow_definitions, EXECUTOR_CTL);
    inbox_ack_call(&call, ctl->arena, &engine, text_of(ctl_operand(ctl, 0)), requests, said.count);
    note(ctl, &call);
    do
        error = db_run(ctl->db, &call, failure, &rows);
    while (error == ERR_IN_DOUBT);
    if (error != OK ||
        (error = inbox_ack_result(&engine, ctl->arena, rows, failure, &acks, &count)) != OK)
        return error;
    for (size_t i = 0; i < count; i++) {
        struct document *one = document_object(ctl->arena);

        document_put_text(one, "deliveryId", said.ids[i]);
        document_append(list, document_put_string(one, "outcome", names[acks[i].outcome]));
        stale += acks[i].outcome == ACK_STALE;
    }
    ctl_print_rows(ctl, "deliveries", list, columns, 2);
    if (stale > 0)
        return failure_set(failure, ERR_STALE, "pull again for the current one");
    return OK;
}

enum error ctl_inbox_nack(struct ctl *ctl, struct failure *failure)
{
    struct document *request = request_of(ctl), *answer = document_object(ctl->arena);
    struct delivery_request said = {0};
    char iso[CLOCK_ISO_SIZE];
    struct engine engine;
    struct nack nack;
    struct db_rows *rows;
    struct db_call call;
    int64_t delay_ms;
    enum error error;

    if ((error = ctl_duration(ctl, FLAG_DELAY, -1, &delay_ms, failure)) != OK)
        return error;
    if (delay_ms >= 0)
        document_put_int(request, "delayMs", delay_ms);
    if (ctl_flag(ctl, FLAG_REASON))
        document_put_string(request, "reason", ctl_flag(ctl, FLAG_REASON));
    document_put_bool(request, "requeue", !ctl_flag(ctl, FLAG_DEAD));
    if ((error = nack_request_read(ctl->arena, request, failure, &said)) != OK ||
        (error = ctl_agent_must_exist(ctl, ctl_operand(ctl, 0), failure)) != OK)
        return error;
    engine_init(&engine, &ctl->options, workflow_definitions, EXECUTOR_CTL);
    inbox_nack_call(&call, ctl->arena, &engine, text_of(ctl_operand(ctl, 0)), said.ids[0],
                    said.delay_ms, said.requeue, said.reason);
    note(ctl, &call);
    if ((error = db_run(ctl->db, &call, failure, &rows)) != OK ||
        (error = inbox_nack_result(&engine, rows, failure, &nack)) != OK)
        return error;
    document_put_string(answer, "status", nack.dead ? "dead" : "requeued");
    document_put_int(answer, "attempt", nack.attempt);
    if (!nack.dead) {
        clock_iso(nack.next_attempt_at, iso);
        document_put_string(answer, "nextAttemptAt", iso);
    }
    ctl_print_object(ctl, answer);
    return OK;
}

enum error ctl_inbox_extend(struct ctl *ctl, struct failure *failure)
{
    struct document *request = request_of(ctl), *answer = document_object(ctl->arena);
    struct delivery_request said = {0};
    int64_t lease_ms, lease_expires_at;
    char iso[CLOCK_ISO_SIZE];
    struct engine engine;
    struct db_rows *rows;
    struct db_call call;
    size_t extended;
    enum error error;

    if ((error = ctl_duration(ctl, FLAG_LEASE, ctl->options.lease_ms, &lease_ms, failure)) != OK)
        return error;
    document_put_int(request, "leaseMs", lease_ms);
    if ((error = extend_request_read(ctl->arena, &ctl->options, request, failure, &said)) != OK ||
        (error = ctl_agent_must_exist(ctl, ctl_operand(ctl, 0), failure)) != OK)
        return error;
    engine_init(&engine, &ctl->options, workflow_definitions, EXECUTOR_CTL);
    inbox_extend_call(&call, ctl->arena, text_of(ctl_operand(ctl, 0)), said.ids, said.count,
                      said.lease_ms);
    note(ctl, &call);
    if ((error = db_run(ctl->db, &call, failure, &rows)) != OK ||
        (error = inbox_extend_result(&engine, rows, failure, &extended, &lease_expires_at)) != OK)
        return error;
    if (extended == 0)
        return failure_set(failure, ERR_STALE, "pull again for the current one");
    clock_iso(lease_expires_at, iso);
    document_put_int(answer, "extended", (int64_t)extended);
    ctl_print_object(ctl, document_put_string(answer, "leaseExpiresAt", iso));
    return OK;
}
