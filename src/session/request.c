/* SPDX-License-Identifier: MIT */
#include "gateway/dead_letter.h"
#include "session/state.h"

#include <stdarg.h>

/* Every method there is. The order is that of features.methods. */
const struct method methods[] = {
    {"connect", method_connect, 0, METHOD_CONNECTS, NULL},
    {"ping", method_ping, 0, 0, NULL},
    {"health", method_health, 0, 0, NULL},
    {"status", method_status, 0, 0, NULL},
    {"system-presence", method_presence, 0, 0, NULL},
    {"config.get", method_config_get, 0, 0, NULL},
    {"agents.list", method_agents_list, 0, 0, NULL},
    {"sessions.list", method_sessions_list, 0, 0, NULL},
    {"agent.send", method_agent_send, SCOPE_SEND, 0, members_send},
    {"agent", method_agent, SCOPE_SEND, 0, members_send},
    {"agent.wait", method_agent_wait, SCOPE_SEND, 0, members_workflow},
    {"send", method_send, SCOPE_SEND, 0, members_send},
    {"chat.send", method_chat_send, SCOPE_SEND, 0, members_send},
    {"sessions.send", method_sessions_send, SCOPE_SEND, 0, members_send},
    {"inbox.subscribe", method_inbox_subscribe, SCOPE_INBOX, 0, members_inbox},
    {"inbox.unsubscribe", method_inbox_unsubscribe, SCOPE_INBOX, 0, members_inbox},
    {"inbox.ack", method_inbox_ack, SCOPE_INBOX, 0, members_inbox},
    {"inbox.nack", method_inbox_nack, SCOPE_INBOX, 0, members_inbox},
    {"inbox.extend", method_inbox_extend, SCOPE_INBOX, 0, members_inbox},
    {"inbox.pull", method_inbox_pull, SCOPE_INBOX, 0, members_inbox},
    {"inbox.stats", method_inbox_stats, SCOPE_INBOX, 0, members_inbox},
    {"inbox.dead.list", method_dead_list, DEAD_LETTER_SCOPES, 0, members_dead_letters},
    {"inbox.dead.show", method_dead_show, DEAD_LETTER_SCOPES, 0, members_dead_letters},
    {"inbox.redrive", method_redrive, DEAD_LETTER_SCOPES, 0, members_dead_letters},
    {"inbox.purge", method_purge, DEAD_LETTER_SCOPES, 0, members_dead_letters},
    {"workflow.status", method_workflow_status, SCOPE_WORKFLOWS_READ, 0, members_workflow},
    {"workflow.list", method_workflow_list, SCOPE_WORKFLOWS_READ, 0, members_workflow},
    {"workflow.events", method_workflow_events, SCOPE_WORKFLOWS_READ, 0, members_workflow},
    {"workflow.start", method_workflow_start, SCOPE_WORKFLOWS_WRITE, 0, members_workflow},
    {"workflow.cancel", method_workflow_cancel, SCOPE_WORKFLOWS_WRITE, 0, members_workflow},
    {"workflow.resume", method_workflow_resume, SCOPE_WORKFLOWS_WRITE, 0, members_workflow},
    {"workflow.fork", method_workflow_fork, SCOPE_WORKFLOWS_WRITE, 0, members_workflow},
    {"workflow.restart", method_workflow_restart, SCOPE_WORKFLOWS_WRITE, 0, members_workflow},
    {"workflow.rewind", method_workflow_rewind, SCOPE_WORKFLOWS_WRITE, 0, members_workflow},
    {"workflow.delete", method_workflow_delete, SCOPE_WORKFLOWS_WRITE, 0, members_workflow},
    {NULL, NULL, 0, 0, NULL},
};

static const struct method unknown_method = {"", NULL, 0, 0, NULL};

static const struct method *method_find(struct text name)
{
    for (const struct method *method = methods; method->name != NULL; method++) {
        if (text_is(name, method->name))
            return method;
    }
    return &unknown_method;
}

void request_end(struct session *session, struct request *request)
{
    session->requests--;
    session->request_bytes -= request->bytes;
    arena_free(request->arena);
}

struct request *request_shrink(struct session *session, struct request *request, size_t state_size)
{
    struct arena *arena = arena_new();
    struct request *small = arena_alloc(arena, sizeof(*small));

    small->arena = arena;
    small->method = request->method;
    small->id = arena_text(arena, request->id);
    small->state = arena_alloc(arena, state_size);
    memcpy(small->state, request->state, state_size);
    session->requests++;
    request_end(session, request);
    return small;
}

void request_invalid(struct session *session, struct request *request, const char *format, ...)
{
    struct failure failure = {.error = ERR_INVALID_REQUEST};
    va_list arguments;

    va_start(arguments, format);
    const char *detail = arena_vprintf(request->arena, format, arguments);
    va_end(arguments);
    (void)failure_set(&failure, ERR_INVALID_REQUEST, "%s", detail);
    frame_error(session, request, ERR_INVALID_REQUEST, &failure);
    request_end(session, request);
}

bool request_int(struct session *session, struct request *request, const char *key, int64_t min,
                 int64_t max, int64_t otherwise, int64_t *ret_value)
{
    struct document *member = document_get(request->params, key);
    enum document_kind kind = document_kind(member);
    int64_t value;

    if (kind == DOCUMENT_ABSENT || kind == DOCUMENT_NULL) {
        *ret_value = otherwise;
        return true;
    }
    value = kind == DOCUMENT_INT ? document_int(member, 0) : 0;
    if (kind != DOCUMENT_INT || value < min || value > max) {
        request_invalid(session, request, "%s must be an integer from %lld to %lld", key,
                        (long long)min, (long long)max);
        return false;
    }
    *ret_value = value;
    return true;
}

struct text request_traceparent(const struct session *session, const struct request *request)
{
    struct text own = document_get_string(request->params, "traceparent");

    return text_is_traceparent(own) ? own : session->peer->traceparent;
}

/* ---- taking a frame ------------------------------------------------------------------------- */

static struct request *request_new(struct session *session, struct arena *arena, size_t bytes)
{
    struct request *request = arena_alloc(arena, sizeof(*request));

    request->arena = arena;
    request->bytes = bytes;
    session->requests++;
    session->request_bytes += bytes;
    return request;
}

static void bad_request(struct session *session, struct arena *arena, struct text id,
                        const char *what)
{
    struct failure failure = {0};
    enum error error = failure_set(&failure, ERR_INVALID_REQUEST, "%s", what);

    frame_bad(session, arena, id.len <= REQUEST_ID_MAX ? id : TEXT_NONE, error, &failure);
    arena_free(arena);
}

/* The method's name is kept in the request for the one answer that repeats it. */
static bool read_request(struct session *session, struct request *request,
                         struct document *document)
{
    struct text name = document_get_string(document, "method");
    enum document_kind params = document_kind(document_get(document, "params"));
    const char *what = NULL;

    request->id = document_get_string(document, "id");
    if (request->id.len == 0 || request->id.len > REQUEST_ID_MAX)
        what = "a request's id is a string of 1 to 1024 bytes";
    else if (name.len == 0 || name.len > METHOD_NAME_MAX)
        what = "a request's method is a string of 1 to 256 bytes";
    else if (params != DOCUMENT_ABSENT && params != DOCUMENT_NULL && params != DOCUMENT_OBJECT)
        what = "a request's params are an object";
    if (what != NULL) {
        session->requests--;
        session->request_bytes -= request->bytes;
        bad_request(session, request->arena, request->id, what);
        return false;
    }
    request->method = method_find(name);
    request->state = request->method == &unknown_method ? document : NULL;
    if (params == DOCUMENT_OBJECT)
        request->params = document_get(document, "params");
    return true;
}

void request_take(struct session *session, struct arena *arena, struct document *document,
                  size_t bytes)
{
    struct text type = document_get_string(document, "type");
    struct request *request;

    if (text_is(type, "res") || text_is(type, "event")) {
        bad_request(session, arena, document_get_string(document, "id"),
                    "a client sends requests or messages, no answers and no events");
        return;
    }
    request = request_new(session, arena, bytes);
    if (text_is(type, "req")) {
        if (!read_request(session, request, document))
            return;
    } else {
        request->id = document_get_string(document, "id");
        request->params = document;
    }
    if (session->state == SESSION_GREETED) {
        handshake_take(session, request);
    } else {
        session->bare = request->method == NULL;
        request_dispatch(session, request);
    }
}

/* ---- dispatch ----------------------------------------------------------------------------------
 */

/* More than that, and so much more behind it that it cannot stay unread. */
static bool too_many(const struct session *session)
{
    size_t most = (size_t)session->options->max_message_size * (REQUEST_BYTES_FACTOR + 1);

    return session->requests - session->wait_count > REQUESTS_MAX || session->request_bytes > most;
}

static void refuse(struct session *session, struct request *request, enum error error,
                   const char *detail)
{
    struct failure failure = {0};

    error = failure_set(&failure, error, "%s", detail);
    frame_error(session, request, error, &failure);
    request_end(session, request);
}

void request_dispatch(struct session *session, struct request *request)
{
    const struct method *method = request->method;
    const char *wrong;

    if (method == &unknown_method) {
        struct text name = document_get_string(request->state, "method");

        request_invalid(session, request, "unknown method: %.*s", (int)name.len, name.data);
        return;
    }
    session->bad_frames = 0;
    if (too_many(session)) {
        refuse(session, request, ERR_OVERLOADED, "too many requests wait for an answer");
        return;
    }
    if (method != NULL && method->scopes != 0 &&
        !principal_may(&session->principal, method->scopes)) {
        refuse(session, request, ERR_FORBIDDEN,
               arena_printf(request->arena, "%s needs the scope %s", method->name,
                            scopes_phrase(request->arena, method->scopes)));
        return;
    }
    wrong = members_check(request->arena, request->params,
                          method != NULL ? method->members : members_bare);
    if (wrong != NULL)
        request_invalid(session, request, "%s", wrong);
    else if (method != NULL)
        method->handler(session, request);
    else
        sending_bare(session, request);
}
