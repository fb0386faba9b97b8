/* SPDX-License-Identifier: MIT
 *
 * The methods that only tell. In the shapes of OpenClaw's schema where it has one.
 */
#include "session/state.h"

#include "base/clock.h"

static void answer(struct session *session, struct request *request, struct document *payload)
{
    frame_result(session, request, payload);
    request_end(session, request);
}

/* Answers with the error and ends the request; true where there is none. */
static bool succeeded(struct session *session, struct operation *operation, enum error error,
                      const struct failure *failure)
{
    if (error == OK)
        return true;
    frame_error(session, operation->requests, error, failure);
    request_end(session, operation->requests);
    return false;
}

void method_ping(struct session *session, struct request *request)
{
    struct document *payload = document_object(request->arena);

    document_put_bool(payload, "pong", true);
    answer(session, request, document_put_int(payload, "ts", clock_wall_ms()));
}

/* There is no configuration to be had over the wire. */
void method_config_get(struct session *session, struct request *request)
{
    answer(session, request, document_object(request->arena));
}

/* ---- health and status --------------------------------------------------------------------------
 */

static bool health_call(struct session *session, struct operation *operation,
                        struct db_call *ret_call)
{
    (void)session;
    db_call_init(ret_call, operation->arena, STATEMENT_SETTING_GET);
    db_add_string(ret_call, "dbos_schema");
    return true;
}

/* Without a database that is the answer, and no error. */
static void health_answer(struct session *session, struct operation *operation, enum error error,
                          struct failure *failure, struct db_rows *rows)
{
    struct request *request = operation->requests;
    struct document *payload = document_object(request->arena);
    struct document *db = document_object(request->arena);
    const int64_t *asked = request->state;

    (void)rows;
    document_put_bool(db, "ok", error == OK);
    if (error != OK) {
        document_put_string(db, "code", error_code(error));
        document_put_string(db, "message", failure->detail);
    }
    document_put_bool(payload, "ok", error == OK);
    document_put_int(payload, "ts", clock_wall_ms());
    document_put_int(payload, "durationMs", session->now - *asked);
    document_put(payload, "db", db);
    answer(session, request, document_put_string(payload, "service", "openclaw-gateway"));
}

static const struct operation_kind health_kind = {"health", health_call, health_answer, false};

void method_health(struct session *session, struct request *request)
{
    int64_t *asked = arena_alloc(request->arena, sizeof(*asked));

    *asked = session->now;
    request->state = asked;
    operation_serve(operation_new(session, &health_kind), request);
}

static struct document *subscriptions_document(const struct session *session, struct arena *arena)
{
    struct document *list = document_array(arena);

    for (const struct subscription *each = session->subscriptions; each != NULL;
         each = each->next) {
        struct document *one = document_object(arena);

        document_put_string(one, "inbox", each->agent);
        document_put_int(one, "epoch", each->epoch);
        document_put_int(one, "inFlight", each->in_flight);
        document_put_int(one, "maxInFlight", each->max_in_flight);
        document_append(list, one);
    }
    return list;
}

void method_status(struct session *session, struct request *request)
{
    struct arena *arena = request->arena;
    struct document *payload = document_object(arena);

    document_put_string(payload, "service", "openclaw-gateway");
    document_put_string(payload, "version", PACKAGE_VERSION);
    document_put_int(payload, "ts", clock_wall_ms());
    document_put_int(payload, "uptimeMs", session->now - session->started);
    document_put_string(payload, "connId", session->engine->executor.id);
    if (principal_sees_all(&session->principal))
        document_put_string(payload, "host", session->engine->executor.host);
    document_put_string(payload, "principal", session->principal.id);
    document_put_string(payload, "database", session->retries == 0 ? "connected" : "unavailable");
    document_put_int(payload, "requests", session->requests);
    document_put_int(payload, "waits", session->wait_count);
    document_put(payload, "subscriptions", subscriptions_document(session, arena));
    answer(session, request, payload);
}

/* ---- agents and sessions
 * --------------------------------------------------------------------------- */

static bool agents_call(struct session *session, struct operation *operation,
                        struct db_call *ret_call)
{
    db_call_init(ret_call, operation->arena, STATEMENT_AGENT_SEEN);
    principal_add_viewer(ret_call, &session->principal);
    return true;
}

/* Columns: agent_id, name, created_at. */
static void agents_answer(struct session *session, struct operation *operation, enum error error,
                          struct failure *failure, struct db_rows *rows)
{
    struct request *request = operation->requests;
    struct arena *arena = request->arena;
    struct document *payload, *agents;

    if (!succeeded(session, operation, error, failure))
        return;
    payload = document_object(arena);
    agents = document_array(arena);
    for (size_t row = 0; row < db_rows_count(rows); row++) {
        struct document *agent = document_object(arena);

        document_put_text(agent, "id", arena_text(arena, db_text(rows, row, 0)));
        if (!db_is_null(rows, row, 1))
            document_put_text(agent, "name", arena_text(arena, db_text(rows, row, 1)));
        document_append(agents, agent);
    }
    document_put_string(payload, "defaultId", session->principal.id);
    document_put_string(payload, "mainKey", "main");
    document_put_string(payload, "scope", "per-sender");
    answer(session, request, document_put(payload, "agents", agents));
}

static const struct operation_kind agents_kind = {"agents.list", agents_call, agents_answer, true};

void method_agents_list(struct session *session, struct request *request)
{
    operation_serve(operation_new(session, &agents_kind), request);
}

/* One session an agent: its main one. */
static void sessions_answer(struct session *session, struct operation *operation, enum error error,
                            struct failure *failure, struct db_rows *rows)
{
    struct request *request = operation->requests;
    struct arena *arena = request->arena;
    struct document *payload, *sessions;

    if (!succeeded(session, operation, error, failure))
        return;
    payload = document_object(arena);
    sessions = document_array(arena);
    for (size_t row = 0; row < db_rows_count(rows); row++) {
        struct document *one = document_object(arena);
        struct text agent = db_text(rows, row, 0);

        document_put_string(one, "key",
                            arena_printf(arena, "agent:%.*s:main", (int)agent.len, agent.data));
        document_put_text(one, "agentId", arena_text(arena, agent));
        document_put_string(one, "kind", "direct");
        document_put_int(one, "updatedAt", db_int(rows, row, 2));
        document_append(sessions, one);
    }
    document_put_int(payload, "ts", clock_wall_ms());
    document_put_int(payload, "count", (int64_t)db_rows_count(rows));
    answer(session, request, document_put(payload, "sessions", sessions));
}

static const struct operation_kind sessions_kind = {"sessions.list", agents_call, sessions_answer,
                                                    true};

void method_sessions_list(struct session *session, struct request *request)
{
    operation_serve(operation_new(session, &sessions_kind), request);
}
