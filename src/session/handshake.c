/* SPDX-License-Identifier: MIT
 *
 * Who the client is, and what it may: connect, hello-ok, and every refusal. The database is not
 * asked before a credential was presented (credentials.c). Source: OpenClaw protocol 3 and 4.
 */
#include "session/state.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/token.h"
#include "gateway/attempt.h"

#define PROTOCOL_MIN 3
#define PROTOCOL_MAX 4

/* Why a connect is refused, in the words of OpenClaw's clients. */
enum refusal {
    REFUSED_NOT_CONNECT,
    REFUSED_PARAMS,
    REFUSED_PROTOCOL,
    REFUSED_TOKEN_MISSING,
    REFUSED_TOKEN,
    REFUSED_TICKET,
    REFUSED_LIMITED,
    REFUSED_SCOPES,
    REFUSED_ORIGIN,
    REFUSED_URL,
    REFUSED_STARTUP,
    REFUSED_IDENTITY,
    REFUSAL__MAX
};

static const struct refusal_row {
    const char *code, *detail, *message, *log;
    bool failed; /* somebody tried with what is no credential */
} refusals[REFUSAL__MAX] = {
    [REFUSED_NOT_CONNECT] = {"INVALID_REQUEST", NULL,
                             "invalid handshake: first request must be connect", NULL},
    [REFUSED_PARAMS] = {"INVALID_REQUEST", NULL,
                        "invalid connect params: minProtocol, maxProtocol and "
                        "client{id,version,platform,mode} are required",
                        NULL},
    [REFUSED_PROTOCOL] = {"INVALID_REQUEST", "PROTOCOL_MISMATCH",
                          "protocol mismatch: this gateway speaks 3 and 4", NULL},
    [REFUSED_TOKEN_MISSING] = {"INVALID_REQUEST", "AUTH_TOKEN_MISSING",
                               "unauthorized: a token is required (connect auth.token, or "
                               "Authorization: Bearer)",
                               "no token", true},
    [REFUSED_TOKEN] = {"INVALID_REQUEST", "AUTH_TOKEN_MISMATCH",
                       "unauthorized: the token is unknown, expired or revoked", "bad token", true},
    [REFUSED_TICKET] =
        {"INVALID_REQUEST", "AUTH_TOKEN_MISMATCH",
         "unauthorized: the ticket is unknown, was used, or is older than 30 s; POST "
         "/ws-ticket makes a new one",
         "bad ticket", true},
    [REFUSED_LIMITED] = {"INVALID_REQUEST", "AUTH_RATE_LIMITED",
                         "unauthorized: too many failed attempts; come again later, with a token "
                         "that is good",
                         "too many", true},
    [REFUSED_SCOPES] = {"FORBIDDEN", "AUTH_SCOPE_MISMATCH",
                        "a requested scope is not the principal's", "scopes"},
    [REFUSED_ORIGIN] = {"FORBIDDEN", "CONTROL_UI_ORIGIN_NOT_ALLOWED",
                        "browsers of this origin may not connect (ALLOWED_ORIGINS)", "origin"},
    [REFUSED_URL] = {"INVALID_REQUEST", "AUTH_UNAUTHORIZED",
                     "a token in the URL ends up in logs and is refused; send it in connect or as "
                     "Authorization: Bearer, and rotate it",
                     "token in URL", true},
    [REFUSED_STARTUP] = {"UNAVAILABLE", NULL, "the gateway cannot reach its database yet", NULL},
    [REFUSED_IDENTITY] = {"INVALID_REQUEST", "AUTH_UNAUTHORIZED",
                          "this connection is authenticated as somebody else", "second identity"},
};

/* ---- refusing ------------------------------------------------------------------------------- */

/* Answers and ends the request, and ends the connection. Who never asked (NULL) is told why it
 * ends. */
static void refuse_because(struct session *session, struct request *request, enum refusal refusal,
                           const char *message)
{
    struct document *details = NULL;
    bool later = refusal == REFUSED_STARTUP;

    if (request == NULL) {
        credentials_log(session, refusals[refusal].log, refusals[refusal].failed);
        session_end(session, message, STOP_GRACE_MS);
        return;
    }
    if (refusals[refusal].detail != NULL) {
        details = document_object(request->arena);
        document_put_string(details, "code", refusals[refusal].detail);
    }
    if (refusal == REFUSED_PROTOCOL)
        document_put_int(details, "expectedProtocol", PROTOCOL_MAX);
    if (later) {
        details = document_object(request->arena);
        document_put_string(details, "reason", "startup-sidecars");
    }
    if (session->refuses == NULL)
        credentials_log(session, refusals[refusal].log, refusals[refusal].failed);
    frame_refusal(session, request, refusals[refusal].code, message, details,
                  later                        ? clock_jitter_ms(1000)
                  : refusal == REFUSED_LIMITED ? session->refused_wait_ms
                                               : -1);
    request_end(session, request);
    session_end(session, later ? "the database is away" : "not authenticated", STOP_GRACE_MS);
}

static void refuse(struct session *session, struct request *request, enum refusal refusal)
{
    const char *wrong = refusal == REFUSED_PARAMS
                            ? members_check(request->arena, request->params, members_connect)
                            : NULL;

    refuse_because(session, request, refusal,
                   wrong != NULL ? arena_printf(request->arena, "invalid connect params: %s", wrong)
                                 : refusals[refusal].message);
}

/* Before anything is read there is no request to answer: the first one is told, under its own id;
 * who sends none, soon. The log hears of it at once. */
static void refuse_first(struct session *session, enum refusal refusal)
{
    session->refuses = &refusals[refusal];
    session->handshake_by = earlier(session->handshake_by, session->now + REFUSAL_GRACE_MS);
    credentials_log(session, refusals[refusal].log, refusals[refusal].failed);
}

/* ---- what the web server passed on ---------------------------------------------------------- */

void handshake_start(struct session *session)
{
    if (!origin_allowed(session->options->allowed_origins, session->peer->origin)) {
        refuse_first(session, REFUSED_ORIGIN);
        return;
    }
    if (credentials_token_in_url(session)) {
        refuse_first(session, REFUSED_URL);
        return;
    }
    credentials_find(session);
}

/* ---- reading connect
 * ------------------------------------------------------------------------------ */

/* What the client says of itself, for presence: a few fields, bounded. */
static bool read_client(struct session *session, struct document *client)
{
    static const char *const fields[] = {"id",          "version",    "platform",     "mode", NULL,
                                         "displayName", "instanceId", "deviceFamily", NULL};
    struct document *kept = document_object(session->life);
    bool required = true;

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]) - 1; i++) {
        struct text value;

        if (fields[i] == NULL) {
            required = false;
            continue;
        }
        value = document_get_string(client, fields[i]);
        if (value.len == 0 && required)
            return false;
        if (value.len > CLIENT_FIELD_MAX) {
            value.len = CLIENT_FIELD_MAX;
            value.len = utf8_valid_prefix(value);
        }
        if (value.len > 0)
            document_put_text(kept, fields[i], value);
    }
    session->client = document_text(session->life, kept);
    return true;
}

/* OpenClaw's own scope names stand for several of ours; what the principal has of these is granted.
 */
static const struct {
    const char *name;
    unsigned scopes;
} official_scopes[] = {
    {"operator.read", SCOPE_INBOX | SCOPE_WORKFLOWS_READ},
    {"operator.write", SCOPE_SEND | SCOPE_INBOX | SCOPE_WORKFLOWS_READ | SCOPE_WORKFLOWS_WRITE},
    {"operator.admin", ~0U},
};

/* False: a scope of ours is asked for by a name that does not exist. */
static bool read_scopes(struct session *session, struct document *scopes)
{
    size_t count = document_count(scopes);
    unsigned asked = 0;

    session->scopes_asked = ~0U;
    session->scopes_needed = 0;
    if (document_kind(scopes) != DOCUMENT_ARRAY || count == 0)
        return true;
    for (size_t i = 0; i < count; i++) {
        struct text name = document_string(document_at(scopes, i));
        unsigned scope = scope_from_name(name);

        session->scopes_needed |= scope;
        if (scope == 0 && !text_starts(name, "operator."))
            return false;
        for (size_t k = 0; k < sizeof(official_scopes) / sizeof(official_scopes[0]); k++) {
            if (text_is(name, official_scopes[k].name))
                scope |= official_scopes[k].scopes;
        }
        asked |= scope;
    }
    session->scopes_asked = asked;
    return true;
}

static enum refusal read_connect(struct session *session, struct document *params)
{
    struct document *min = document_get(params, "minProtocol");
    struct document *max = document_get(params, "maxProtocol");
    struct document *auth = document_get(params, "auth");
    struct text token;

    if (members_check(session->life, params, members_connect) != NULL ||
        document_kind(min) != DOCUMENT_INT || document_kind(max) != DOCUMENT_INT ||
        !read_client(session, document_get(params, "client")))
        return REFUSED_PARAMS;
    if (document_int(max, 0) < PROTOCOL_MIN || document_int(min, 0) > PROTOCOL_MAX ||
        document_int(min, 0) > document_int(max, 0))
        return REFUSED_PROTOCOL;
    session->protocol = earlier(PROTOCOL_MAX, document_int(max, 0));
    if (!read_scopes(session, document_get(params, "scopes")))
        return REFUSED_SCOPES;
    token = document_get_string(auth, "token");
    if (token.len == 0)
        token = document_get_string(auth, "password");
    if (token.len > TOKEN_TEXT_MAX)
        return REFUSED_TOKEN;
    if (token.len > 0 && session->options->auth_mode != (int)AUTH_NONE) {
        if (session->state == SESSION_OPEN && !text_equal(token, session->token))
            return REFUSED_IDENTITY;
        session->token = arena_text(session->life, token);
        session->token_by_header = false;
        session->token_is_ticket = false;
    }
    return REFUSAL__MAX;
}

/* ---- hello-ok
 * -------------------------------------------------------------------------------------- */

static const char *const event_names[] = {"connect.challenge", "tick",
                                          "shutdown",          "inbox.message",
                                          "inbox.fenced",      "presence",
                                          "message.delivered", "message.acknowledged",
                                          "message.dead",      "message.expired",
                                          "message.cancelled", NULL};

static struct document *features_document(struct arena *arena)
{
    struct document *features = document_object(arena);
    struct document *names = document_array(arena);
    struct document *events = document_array(arena);
    struct document *capabilities = document_array(arena);

    for (const struct method *method = methods; method->name != NULL; method++)
        document_append(names, document_from_text(arena, text_of(method->name)));
    for (const char *const *name = event_names; *name != NULL; name++)
        document_append(events, document_from_text(arena, text_of(*name)));
    document_append(capabilities, document_from_text(arena, TEXT_LITERAL("durable-inbox-v1")));
    document_put(features, "methods", names);
    document_put(features, "events", events);
    return document_put(features, "capabilities", capabilities);
}

static struct document *auth_document(const struct session *session, struct arena *arena)
{
    struct document *auth = document_object(arena);
    struct document *scopes = document_array(arena);

    for (unsigned bit = 1; bit < SCOPE_ALL; bit <<= 1) {
        if (session->principal.scopes & bit)
            document_append(scopes,
                            document_from_text(arena, text_of(scope_name((enum scope)bit))));
    }
    document_put_string(auth, "role", "operator");
    return document_put(auth, "scopes", scopes);
}

static struct document *snapshot_document(const struct session *session, struct arena *arena,
                                          struct document *presence)
{
    struct document *snapshot = document_object(arena);
    struct document *health = document_object(arena);
    struct document *version = document_object(arena);

    document_put_bool(health, "ok", true);
    document_put_int(health, "ts", clock_wall_ms());
    document_put_int(health, "durationMs", 0);
    document_put_int(version, "presence", 0);
    document_put_int(version, "health", 0);
    document_put(snapshot, "presence", presence);
    document_put(snapshot, "health", health);
    document_put(snapshot, "stateVersion", version);
    return document_put_int(snapshot, "uptimeMs", session->now - session->started);
}

static void hello(struct session *session, struct request *request, struct document *presence)
{
    struct arena *arena = request->arena;
    struct document *payload = document_object(arena);
    struct document *server = document_object(arena);
    struct document *policy = document_object(arena);

    document_put_string(server, "version", PACKAGE_VERSION);
    document_put_string(server, "connId", session->engine->executor.id);
    if (session->protocol == PROTOCOL_MIN) {
        document_put_string(server, "id", "openclaw-gateway-dbos");
        document_put_string(server, "displayName", "OpenClaw Gateway");
    }
    document_put_int(policy, "maxPayload", session->options->max_message_size);
    document_put_int(policy, "maxBufferedBytes", session->options->session_buffer_bytes);
    document_put_int(policy, "tickIntervalMs", session->options->tick_interval_ms);
    document_put_string(payload, "type", "hello-ok");
    document_put_int(payload, "protocol", session->protocol);
    document_put(payload, "server", server);
    document_put(payload, "features", features_document(arena));
    document_put(payload, "snapshot", snapshot_document(session, arena, presence));
    document_put(payload, "auth", auth_document(session, arena));
    document_put(payload, "policy", policy);
    session->connected = true;
    frame_result(session, request, payload);
    request_end(session, request);
}

/* ---- the three calls: who is it, register, who else is here
 * -------------------------------------- */

static void fail_opening(struct session *session, enum error error, const struct failure *failure)
{
    struct request *request = session->opening;

    session->opening = NULL;
    if (session->state != SESSION_CHECKING)
        return;
    if (request == NULL) {
        log_failure("session.handshake", failure);
        refuse(session, NULL, REFUSED_STARTUP);
    } else if (error_retry(error) == RETRY_NEVER) {
        log_failure("session.handshake", failure);
        frame_error(session, request, error, failure);
        request_end(session, request);
        session_end(session, "not authenticated", STOP_GRACE_MS);
    } else if (request->method != NULL && request->method->handler == method_connect) {
        refuse(session, request, REFUSED_STARTUP);
    } else {
        /* the socket stays; the next frame asks again */
        frame_error(session, request, ERR_UNAVAILABLE, failure);
        request_end(session, request);
        session_enter(session, SESSION_GREETED);
    }
}

static bool opened_by_connect(const struct session *session)
{
    const struct request *request = session->opening;

    return request != NULL && request->method != NULL && request->method->handler == method_connect;
}

static void open_session(struct session *session)
{
    struct request *request = session->opening;

    session->opening = NULL;
    session->tick_at = session->now + session->options->tick_interval_ms;
    session->recheck_at = session->now + clock_jitter_ms(RECHECK_MS);
    session_enter(session, SESSION_OPEN);
    if (request != NULL) {
        session->bare = request->method == NULL;
        request_dispatch(session, request);
    }
    session->here = NULL;
    input_frames(session);
}

static bool register_call(struct session *session, struct operation *operation,
                          struct db_call *ret_call)
{
    if (!opened_by_connect(session)) {
        executor_register_call(ret_call, operation->arena, &session->engine->executor,
                               session->principal.id, session->client);
        return true;
    }
    /* hello-ok says who else is here: one call for both */
    db_call_init(ret_call, operation->arena, STATEMENT_SESSION_OPEN);
    executor_add(ret_call, &session->engine->executor, session->principal.id, session->client);
    presence_add(session, principal_may(&session->principal, SCOPE_OPERATOR), SNAPSHOT_PRESENCE_MAX,
                 ret_call);
    return true;
}

static void register_answer(struct session *session, struct operation *operation, enum error error,
                            struct failure *failure, struct db_rows *rows)
{
    (void)operation;
    session->register_again |= error != OK; /* before anything that needs it */
    if (error != OK && error != ERR_IN_DOUBT) {
        fail_opening(session, error, failure);
        return;
    }
    session->registered = true;
    if (session->state != SESSION_CHECKING)
        return;
    if (error == OK && rows != NULL && opened_by_connect(session)) {
        (void)presence_seen(session, rows);
        session->here = presence_document(session->opening->arena, rows);
    }
    open_session(session);
}

static const struct operation_kind register_kind = {"session.register", register_call,
                                                    register_answer, true};

/* A sweeper that did not hear of us may have buried us; a row that says so must not stay. */
bool handshake_register_again(struct session *session)
{
    if (!session->register_again)
        return false;
    session->register_again = false;
    (void)operation_new(session, &register_kind);
    return true;
}

static void check_answer(struct session *session, struct operation *operation, enum error error,
                         struct failure *failure, struct db_rows *rows)
{
    struct request *request = session->opening;

    struct principal principal = {.id = ""};

    (void)operation;
    if (error == OK)
        error = principal_check_result(rows, failure, &principal);
    if (session->state != SESSION_CHECKING)
        return;
    if (error == ERR_UNAUTHORIZED) {
        session->opening = NULL;
        session->refused_as = principal;
        error = attempt_failed(session->options, session->peer->remote, principal.id, failure,
                               &session->refused_wait_ms);
        refuse(session, request,
               error == ERR_AUTH_RATE_LIMITED ? REFUSED_LIMITED
               : session->token_is_ticket     ? REFUSED_TICKET
                                              : REFUSED_TOKEN);
        return;
    }
    if (error != OK) {
        fail_opening(session, error, failure);
        return;
    }
    session->principal = principal;
    if (!session->token_is_ticket)
        attempt_succeeded(session->token);
    if (session->token_is_ticket && !principal_may(&principal, SCOPE_OPERATOR))
        session->scopes_asked &= principal.scopes; /* also when the token is looked at again */
    if ((session->scopes_needed & ~session->principal.scopes) != 0 &&
        !principal_may(&session->principal, SCOPE_OPERATOR)) {
        session->opening = NULL;
        refuse(session, request, REFUSED_SCOPES);
        return;
    }
    session->principal.scopes = credentials_granted(session, &session->principal);
    (void)operation_new(session, &register_kind);
    credentials_used(session, &principal);
}

static const struct operation_kind check_kind = {"session.check", credentials_call, check_answer,
                                                 true};

static bool snapshot_call(struct session *session, struct operation *operation,
                          struct db_call *ret_call)
{
    presence_call(session, operation->arena, principal_may(&session->principal, SCOPE_OPERATOR),
                  SNAPSHOT_PRESENCE_MAX, ret_call);
    return true;
}

/* Who else is here is not worth a refusal: without an answer the snapshot is empty. */
static void snapshot_answer(struct session *session, struct operation *operation, enum error error,
                            struct failure *failure, struct db_rows *rows)
{
    struct request *request = operation->requests;

    (void)failure;
    if (error == OK)
        (void)presence_seen(session, rows);
    hello(session, request,
          error == OK ? presence_document(request->arena, rows) : document_array(request->arena));
}

static const struct operation_kind presence_kind = {"session.presence", snapshot_call,
                                                    snapshot_answer, false};

/* ---- taking frames
 * ------------------------------------------------------------------------------------ */

void method_connect(struct session *session, struct request *request)
{
    enum refusal refusal;

    if (session->connected) {
        request_invalid(session, request, "already connected");
        return;
    }
    /* one that opened the session has been read */
    refusal = session->protocol != 0 ? REFUSAL__MAX : read_connect(session, request->params);
    if (refusal != REFUSAL__MAX)
        refuse(session, request, refusal);
    else if (session->here != NULL)
        hello(session, request, session->here);
    else
        operation_serve(operation_new(session, &presence_kind), request);
}

static bool is_limited(struct session *session)
{
    struct failure failure;

    return attempt_check(session->options, session->peer->remote, session->token, &failure,
                         &session->refused_wait_ms) != OK;
}

/* Somebody at a prompt, or an agent that only listens for now, has said who it is by its header.
 * Only now, and not at once: until it speaks it may still present another token in connect. */
bool handshake_by_header(struct session *session)
{
    if (session->state != SESSION_GREETED || session->refuses != NULL || session->token.len == 0 ||
        session->options->auth_mode == (int)AUTH_NONE)
        return false;
    session->handshake_by = INT64_MAX; /* from here the calls' own deadlines hold */
    if (is_limited(session)) {
        refuse(session, NULL, REFUSED_LIMITED);
        return true;
    }
    session_enter(session, SESSION_CHECKING);
    (void)operation_new(session, &check_kind);
    return true;
}

const char *handshake_late(const struct session *session)
{
    return session->refuses != NULL ? session->refuses->message : "nobody authenticated in time";
}

/* The first frame of a client that is not known yet. */
void handshake_take(struct session *session, struct request *request)
{
    bool connects = request->method != NULL && (request->method->flags & METHOD_CONNECTS);
    bool anybody = session->options->auth_mode == (int)AUTH_NONE;
    enum refusal refusal = REFUSAL__MAX;

    if (session->refuses != NULL)
        refusal = (enum refusal)(session->refuses - refusals);
    else if (connects)
        refusal = read_connect(session, request->params);
    if (refusal == REFUSAL__MAX && !anybody && session->token.len == 0)
        refusal = connects ? REFUSED_TOKEN_MISSING : REFUSED_NOT_CONNECT;
    if (refusal == REFUSAL__MAX && !anybody && is_limited(session))
        refusal = REFUSED_LIMITED;
    if (refusal != REFUSAL__MAX) {
        refuse(session, request, refusal);
        return;
    }
    session->opening = request;
    session_enter(session, SESSION_CHECKING);
    if (!anybody) {
        (void)operation_new(session, &check_kind);
        return;
    }
    principal_anybody(credentials_claimed(session), &session->principal);
    session->principal.scopes = credentials_granted(session, &session->principal);
    (void)operation_new(session, &register_kind);
}
