/* SPDX-License-Identifier: MIT
 *
 * The inbox for clients without a WebSocket.
 */
#include "http/handler.h"

#include "base/clock.h"
#include "base/log.h"
#include "gateway/delivery_request.h"
#include "gateway/inbox.h"
#include "http/authenticate.h"
#include "http/waiting_room.h"

#define PULL_DEFAULT  10
#define PULL_PORTION  10      /* messages claimed by one call */
#define PULL_BYTES    1048576 /* an answer that has so many takes no further portion */
#define PULL_WAIT_MAX 30      /* seconds */
#define HANDED_DUE_MS 50      /* what is due so soon may wait for another pull's note_handed() */
#define HANDED_MS     500     /* for which this is waited, even by who does not wait */

/* Somebody else's inbox looks the same as none. */
static enum error check_inbox(struct http_context *context)
{
    if (text_is_agent_id(context->params[0]) &&
        principal_may_read_inbox(&context->principal, context->params[0]))
        return OK;
    return failure_set(&context->failure, ERR_NOT_FOUND, "there is no such inbox");
}

/* Who has waited may have lost its token meanwhile, or its scope. */
static enum error check_again(struct http_context *context)
{
    enum error error = authenticate(context->server->authenticator, context->request,
                                    &context->failure, &context->principal);

    return error == OK ? check_inbox(context) : error;
}

/* ---- pull ---------------------------------------------------------------------------------------
 */

struct pull {
    struct http_server *server;
    struct arena *arena;
    const char *token;
    int portions;     /* claimed with it */
    struct text *ids; /* of the deliveries in the answer */
    size_t count;
    struct document *messages;
    size_t bytes;        /* of them */
    int64_t next_due_ms; /* -1: nothing is waiting */
};

/* Only what was written to the web server counts as an attempt. Where this is lost, the lease ends
 * and the message comes again without one: more often, never less. */
static void note_handed(void *argument)
{
    struct pull *pull = argument;
    struct failure failure = {.error = OK};
    struct db_rows *rows;
    struct db_call call;

    inbox_handed_call(&call, pull->arena, pull->ids, pull->count);
    if (http_database_run(pull->server, &call, &failure, &rows) != OK ||
        inbox_handed_result(&pull->server->engine, pull->arena, rows, &failure) != OK)
        log_failure("inbox.handed", &failure);
}

/* One portion; *ret_count of them were there. */
static enum error claim_portion(struct http_context *context, struct pull *pull, int64_t limit,
                                int64_t lease_ms, size_t *ret_count)
{
    /* Not this process but the client holds the lease: it outlives our restart. */
    const char *holder = arena_printf(context->arena, "http:%s", context->principal.id);
    struct delivery *deliveries;
    struct db_rows *rows;
    struct db_call call;
    enum error error;

    inbox_claim_call(&call, context->arena, context->params[0], holder, 0, 0, limit, lease_ms,
                     arena_printf(context->arena, "%s.%d", pull->token, pull->portions++), -1);
    inbox_call_audit(&call, &context->principal, context->params[0]);
    error = handler_run(context, &call, &rows);
    if (error == OK)
        error = inbox_claim_result(context->arena, context->params[0], rows, &context->failure,
                                   &deliveries, ret_count, &pull->next_due_ms);
    if (error != OK)
        return error;
    for (size_t i = 0; i < *ret_count; i++) {
        struct document *message = delivery_document(context->arena, &deliveries[i]);

        pull->ids[pull->count++] = deliveries[i].delivery_id;
        pull->bytes += document_text(context->arena, message).len;
        document_append(pull->messages, message);
    }
    return OK;
}

/* In portions, because a message may have a megabyte: an answer ends with the portion that made it
 * large enough. What was claimed before a failure is in the answer all the same. */
static enum error claim(struct http_context *context, struct pull *pull, int64_t max,
                        int64_t lease_ms)
{
    size_t got = 0;
    int64_t limit;
    enum error error;

    pull->token = inbox_claim_token(context->arena);
    do {
        limit = max - (int64_t)pull->count;
        limit = limit < PULL_PORTION ? limit : PULL_PORTION;
        error = claim_portion(context, pull, limit, lease_ms, &got);
    } while (error == OK && (int64_t)got == limit && (int64_t)pull->count < max &&
             pull->bytes < PULL_BYTES);
    return pull->count > 0 ? OK : error;
}

/* It found nothing, but what is waiting may be waiting for another pull only: what that got is
 * noted as handed over after its answer was written, and until then nothing later of the same
 * senders is given out. */
static bool is_behind_others(const struct pull *pull)
{
    return pull->count == 0 && pull->next_due_ms >= 0 && pull->next_due_ms <= HANDED_DUE_MS;
}

/* Who pulls twice in a row would find nothing the second time. */
static enum error claim_behind_others(struct http_context *context, struct pull *pull, int64_t max,
                                      int64_t lease_ms)
{
    int64_t until = clock_ms() + HANDED_MS;
    enum error error = OK;

    while (error == OK && is_behind_others(pull) && clock_ms() < until) {
        clock_sleep_ms(clock_jitter_ms(HANDED_DUE_MS / 2));
        error = claim(context, pull, max, lease_ms);
    }
    return error;
}

static enum error claim_or_wait(struct http_context *context, struct pull *pull, int64_t max,
                                int64_t wait_s, int64_t lease_ms)
{
    struct waiting_room *room = context->server->waiting_room;
    int64_t deadline = clock_ms() + wait_s * 1000;
    uint64_t mark = waiting_room_mark(room), ignored;
    enum error error = claim(context, pull, max, lease_ms);

    if (error != OK || pull->count > 0 || (wait_s == 0 && !is_behind_others(pull)))
        return error;
    error = waiting_room_enter(room, &context->principal, &context->failure, &ignored);
    if (error != OK)
        return wait_s == 0 ? OK : error;
    error = claim_behind_others(context, pull, max, lease_ms);
    while (wait_s > 0 && error == OK && pull->count == 0 &&
           waiting_room_inbox(room, context->request, context->params[0], mark, deadline)) {
        mark = waiting_room_mark(room);
        error = check_again(context);
        if (error == OK)
            error = claim(context, pull, max, lease_ms);
    }
    waiting_room_leave(room, &context->principal);
    return error;
}

enum error handle_inbox_pull(struct http_context *context)
{
    const struct options *options = context->server->options;
    struct pull *pull = arena_alloc(context->arena, sizeof(*pull));
    int64_t max, wait_s, lease_ms;
    enum error error = check_inbox(context);

    if (error != OK ||
        (error = request_query_int(context->request, "max", 1, INBOX_IN_FLIGHT_MAX, PULL_DEFAULT,
                                   &context->failure, &max)) != OK ||
        (error = request_query_int(context->request, "wait", 0, PULL_WAIT_MAX, 0, &context->failure,
                                   &wait_s)) != OK ||
        (error =
             request_query_int(context->request, "leaseMs", INBOX_LEASE_MIN_MS, INBOX_LEASE_MAX_MS,
                               options->lease_ms, &context->failure, &lease_ms)) != OK)
        return error;
    *pull = (struct pull){.server = context->server,
                          .arena = context->arena,
                          .ids = arena_array(context->arena, (size_t)max, sizeof(struct text)),
                          .messages = document_array(context->arena)};
    error = claim_or_wait(context, pull, max, wait_s, lease_ms);
    if (error != OK)
        return error;
    response_json(context->response, 200,
                  document_put(document_object(context->arena), "messages", pull->messages));
    if (pull->count > 0) {
        context->response->written = note_handed;
        context->response->written_context = pull;
    }
    return OK;
}

/* ---- ack, nack, extend
 * ---------------------------------------------------------------------------- */

enum error handle_inbox_ack(struct http_context *context)
{
    static const char *const names[] = {
        [ACK_ACKED] = "acked", [ACK_ALREADY] = "already", [ACK_STALE] = "stale"};
    struct arena *arena = context->arena;
    const struct engine *engine = &context->server->engine;
    struct delivery_request said = {0};
    struct document *answer = document_object(arena);
    struct document *lists[3];
    struct ack_request *requests;
    struct ack *acks;
    size_t count;
    struct db_rows *rows;
    struct db_call call;
    enum error error = check_inbox(context);

    if (error == OK)
        error = ack_request_read(arena, engine->options, context->body, &context->failure, &said);
    if (error != OK)
        return error;
    requests = arena_array(arena, said.count, sizeof(*requests));
    for (size_t i = 0; i < said.count; i++) {
        requests[i].delivery_id = said.ids[i];
        requests[i].response = said.response;
    }
    inbox_ack_call(&call, arena, engine, context->params[0], requests, said.count);
    inbox_call_audit(&call, &context->principal, context->params[0]);
    error = handler_run(context, &call, &rows);
    if (error == OK)
        error = inbox_ack_result(engine, arena, rows, &context->failure, &acks, &count);
    if (error != OK)
        return error;
    for (int i = 0; i < 3; i++)
        lists[i] = document_array(arena);
    for (size_t i = 0; i < count; i++)
        document_append(lists[acks[i].outcome], document_from_text(arena, said.ids[i]));
    for (int i = 0; i < 3; i++)
        document_put(answer, names[i], lists[i]);
    response_json(context->response, 200, answer);
    return OK;
}

enum error handle_inbox_nack(struct http_context *context)
{
    const struct engine *engine = &context->server->engine;
    struct document *answer = document_object(context->arena);
    struct delivery_request said = {0};
    struct nack nack;
    struct db_rows *rows;
    struct db_call call;
    enum error error = check_inbox(context);

    if (error == OK)
        error = nack_request_read(context->arena, context->body, &context->failure, &said);
    if (error != OK)
        return error;
    inbox_nack_call(&call, context->arena, engine, context->params[0], said.ids[0], said.delay_ms,
                    said.requeue, said.reason);
    inbox_call_audit(&call, &context->principal, context->params[0]);
    error = handler_run(context, &call, &rows);
    if (error == OK)
        error = inbox_nack_result(engine, rows, &context->failure, &nack);
    if (error != OK)
        return error;
    document_put_string(answer, "status", nack.dead ? "dead" : "requeued");
    document_put_int(answer, "attempt", nack.attempt);
    if (!nack.dead)
        document_put_int(answer, "nextAttemptAt", nack.next_attempt_at);
    response_json(context->response, 200, answer);
    return OK;
}

enum error handle_inbox_extend(struct http_context *context)
{
    struct document *answer = document_object(context->arena);
    struct delivery_request said = {0};
    int64_t lease_expires_at;
    size_t extended;
    struct db_rows *rows;
    struct db_call call;
    enum error error = check_inbox(context);

    if (error == OK)
        error = extend_request_read(context->arena, context->server->options, context->body,
                                    &context->failure, &said);
    if (error != OK)
        return error;
    inbox_extend_call(&call, context->arena, context->params[0], said.ids, said.count,
                      said.lease_ms);
    inbox_call_audit(&call, &context->principal, context->params[0]);
    error = handler_run(context, &call, &rows);
    if (error == OK)
        error = inbox_extend_result(&context->server->engine, rows, &context->failure, &extended,
                                    &lease_expires_at);
    if (error != OK)
        return error;
    if (extended == 0)
        return failure_set(&context->failure, ERR_STALE, "pull again for the current delivery");
    document_put_int(answer, "extended", (int64_t)extended);
    document_put_int(answer, "leaseExpiresAt", lease_expires_at);
    response_json(context->response, 200, answer);
    return OK;
}
