/* SPDX-License-Identifier: MIT
 *
 * Requests that wait for what becomes of a message. All of them are looked at with one call, when
 * the doorbell rings or after a while. A deadline ends the wait, never the message.
 */
#include "session/state.h"

#include "base/clock.h"

bool receipt_settled(const struct message_receipt *receipt)
{
    return receipt->status != MESSAGE_QUEUED && receipt->status != MESSAGE_DELIVERED;
}

bool receipt_reached(const struct message_receipt *receipt, enum wait_for until)
{
    switch (until) {
    case WAIT_NOT:
        return true;
    case WAIT_DELIVERED:
        return receipt->status != MESSAGE_QUEUED;
    case WAIT_REPLY:
        break;
    }
    return receipt_settled(receipt);
}

void receipt_bound(const struct session *session, struct message_receipt *receipt)
{
    if ((int64_t)receipt->response.len <= inbox_response_max(session->options))
        return;
    receipt->response = TEXT_NONE;
    receipt->reason = TEXT_LITERAL(REPLY_TOO_LONG);
}

/* The texts move into the request's arena; the failure is of no interest any more. */
static void keep_receipt(const struct session *session, struct wait *wait,
                         const struct message_receipt *receipt)
{
    struct arena *arena = wait->request->arena;
    struct message_receipt *kept = &wait->receipt;
    struct text message_id =
        wait->known ? kept->message_id : arena_text(arena, receipt->message_id);
    struct text workflow_id = kept->workflow_id;
    int64_t accepted = wait->known ? kept->now_ms : receipt->now_ms;
    int64_t seq = kept->inbox_seq;
    bool duplicate = wait->known ? kept->duplicate : receipt->duplicate;

    *kept = *receipt;
    receipt_bound(session, kept);
    kept->duplicate = duplicate;
    kept->now_ms = accepted;
    kept->principal = TEXT_NONE;
    kept->message_id = message_id;
    kept->workflow_id =
        workflow_id.data != NULL ? workflow_id : arena_text(arena, receipt->workflow_id);
    if (kept->inbox_seq == 0)
        kept->inbox_seq = seq;
    kept->last_attempt = TEXT_NONE;
    if (receipt->last_attempt.len > 0 && receipt->last_attempt.len < sizeof(wait->last_attempt)) {
        memcpy(wait->last_attempt, receipt->last_attempt.data, receipt->last_attempt.len);
        kept->last_attempt = (struct text){wait->last_attempt, receipt->last_attempt.len};
    }
    if (kept->response.data != NULL)
        kept->response = arena_text(arena, kept->response);
    if (kept->reason.data != NULL)
        kept->reason = arena_text(arena, kept->reason);
    wait->known = true;
}

bool waits_room(const struct session *session)
{
    return session->wait_count < WAITS_MAX && session->state < SESSION_ENDING;
}

struct wait *wait_new(struct session *session, struct request *request,
                      const struct message_receipt *receipt, enum wait_for until, int64_t wait_ms)
{
    struct wait *wait = arena_alloc(request->arena, sizeof(*wait));

    wait->request = request;
    wait->until = until;
    wait->deadline = session->now + wait_ms;
    if (receipt != NULL)
        keep_receipt(session, wait, receipt);
    wait->next = session->waits;
    session->waits = wait;
    session->wait_count++;
    session->look_at = earlier(session->look_at, session->now + clock_jitter_ms(WAIT_LOOK_MS));
    return wait;
}

static void finish_wait(struct session *session, struct wait **at, bool late)
{
    struct wait *wait = *at;

    *at = wait->next;
    session->wait_count--;
    if (wait->known) {
        if (!receipt_settled(&wait->receipt))
            fates_track(session, wait->receipt.inbox_seq, !late);
        wait->finish(session, wait->request, &wait->receipt, late);
        return;
    }
    if (late && wait->looked_in_vain) {
        frame_error(session, wait->request, ERR_UNAVAILABLE, NULL);
    } else {
        struct failure failure = {0};

        frame_error(session, wait->request,
                    failure_set(&failure, ERR_NOT_FOUND, "there is no such run of yours"),
                    &failure);
    }
    request_end(session, wait->request);
}

/* ---- looking
 * ------------------------------------------------------------------------------------- */

static bool look_call(struct session *session, struct operation *operation,
                      struct db_call *ret_call)
{
    size_t capacity = (size_t)session->wait_count * WORKFLOW_IDS_MEANT + 1;
    struct text *ids = arena_array(operation->arena, capacity, sizeof(*ids));
    int64_t *seqs = arena_array(operation->arena, capacity, sizeof(*seqs));
    size_t count = 0;

    for (struct wait *wait = session->waits; wait != NULL; wait = wait->next) {
        wait->asked = true;
        if (wait->known) {
            ids[count] = wait->receipt.workflow_id;
            seqs[count++] = wait->receipt.inbox_seq;
            continue;
        }
        for (size_t i = 0; i < WORKFLOW_IDS_MEANT; i++)
            ids[count++] = wait->meant[i];
    }
    if (count == 0)
        return false;
    message_look_call(ret_call, operation->arena, ids, seqs, count);
    return true;
}

static const struct message_receipt *find_receipt(const struct message_receipt *receipts,
                                                  size_t count, struct text workflow_id)
{
    for (size_t i = 0; i < count; i++) {
        if (text_equal(receipts[i].workflow_id, workflow_id))
            return &receipts[i];
    }
    return NULL;
}

/* What it waits for; before that is known, the first that is meant and that the principal may see.
 */
static const struct message_receipt *receipt_of(const struct session *session,
                                                const struct wait *wait,
                                                const struct message_receipt *receipts,
                                                size_t count)
{
    bool sees_all = principal_may(&session->principal, SCOPE_OPERATOR);

    if (wait->known)
        return find_receipt(receipts, count, wait->receipt.workflow_id);
    for (size_t i = 0; i < WORKFLOW_IDS_MEANT; i++) {
        const struct message_receipt *receipt = find_receipt(receipts, count, wait->meant[i]);

        if (receipt != NULL && (sees_all || text_is(receipt->principal, session->principal.id)))
            return receipt;
    }
    return NULL;
}

static void look_answer(struct session *session, struct operation *operation, enum error error,
                        struct failure *failure, struct db_rows *rows)
{
    struct message_receipt *receipts = NULL;
    struct wait **at = &session->waits;
    size_t count = 0;

    session->looking = false;
    if (session->waits != NULL)
        session->look_at = earlier(session->look_at, session->now + clock_jitter_ms(WAIT_LOOK_MS));
    if (error == OK && rows != NULL)
        error = message_look_result(operation->arena, rows, failure, &receipts, &count);
    while (*at != NULL) {
        struct wait *wait = *at;
        const struct message_receipt *receipt = NULL;

        if (wait->asked && error == OK && rows != NULL) {
            receipt = receipt_of(session, wait, receipts, count);
            if (receipt != NULL)
                keep_receipt(session, wait, receipt);
        } else if (wait->asked) {
            wait->looked_in_vain = true;
        }
        if (receipt != NULL && receipt_reached(receipt, wait->until)) {
            finish_wait(session, at, false);
        } else if (wait->asked && error == OK && rows != NULL && receipt == NULL) {
            wait->known = false; /* it is gone, or never was */
            finish_wait(session, at, false);
        } else {
            wait->asked = false;
            at = &wait->next;
        }
    }
}

static const struct operation_kind look_kind = {"message.look", look_call, look_answer, false};

void waits_look(struct session *session)
{
    if (session->looking || session->waits == NULL || session->now < session->look_at)
        return;
    session->looking = true;
    session->look_at = INT64_MAX;
    (void)operation_new(session, &look_kind);
}

void waits_expire(struct session *session)
{
    struct wait **at = &session->waits;

    while (*at != NULL) {
        struct wait *wait = *at;

        if (session->now < wait->deadline || (!wait->known && !wait->looked_in_vain))
            at = &wait->next;
        else
            finish_wait(session, at, true);
    }
}

void waits_drop(struct session *session)
{
    while (session->waits != NULL) {
        session->waits->looked_in_vain = true;
        finish_wait(session, &session->waits, true);
    }
}

int64_t waits_deadline(const struct session *session)
{
    int64_t deadline = INT64_MAX;

    for (const struct wait *wait = session->waits; wait != NULL; wait = wait->next) {
        if (wait->known || wait->looked_in_vain)
            deadline = earlier(deadline, wait->deadline);
    }
    if (session->waits != NULL && !session->looking)
        deadline = earlier(deadline, session->look_at);
    return deadline;
}

/* ---- agent.wait
 * -------------------------------------------------------------------------------------- */

/* {runId,status:"ok"|"error"|"timeout"}, and what the durable row says. */
static void agent_wait_finish(struct session *session, struct request *request,
                              const struct message_receipt *receipt, bool late)
{
    struct arena *arena = request->arena;
    struct document *payload = document_object(arena);
    const char *status = receipt->status == MESSAGE_ACKNOWLEDGED ? "ok"
                         : late && !receipt_settled(receipt)     ? "timeout"
                                                                 : "error";

    document_put_text(payload, "runId", document_get_string(request->params, "runId"));
    document_put_string(payload, "status", status);
    document_put_text(payload, "workflowUuid", receipt->workflow_id);
    document_put_string(payload, "messageStatus", message_status_name(receipt->status));
    if (text_is(text_of(status), "error"))
        document_put_text(payload, "error", receipt_reply_text(arena, receipt));
    if ((int64_t)receipt->response.len <= session->options->max_message_size / 16)
        document_put_text(payload, "response", receipt_reply_text(arena, receipt));
    document_put(payload, "result", message_result(arena, receipt));
    frame_result(session, request, payload);
    request_end(session, request);
}

void method_agent_wait(struct session *session, struct request *request)
{
    struct text run = document_get_string(request->params, "runId");
    struct wait *wait;
    int64_t timeout;

    if (!text_is_any_workflow_id(run)) {
        request_invalid(session, request, "runId is required");
        return;
    }
    if (!request_int(session, request, "timeoutMs", 0, WAIT_MAX_MS, WAIT_DEFAULT_MS, &timeout))
        return;
    if (!waits_room(session)) {
        frame_error(session, request, ERR_OVERLOADED, NULL);
        request_end(session, request);
        return;
    }
    wait = wait_new(session, request, NULL, WAIT_REPLY, timeout);
    message_ids_meant(request->arena, &session->principal, BY_RUN_ID, run, wait->meant);
    wait->finish = agent_wait_finish;
    session->look_at = session->now;
}
