/* SPDX-License-Identifier: MIT
 *
 * Who is here, as far as this principal may know of them. The list goes out with hello-ok and on
 * request; operators, and whoever has asked for the list, are told of changes after that. The
 * sweeper sees those and rings who wants to hear of them: a connection that comes costs its
 * watchers one look together, and the others nothing.
 */
#include "base/clock.h"
#include "session/state.h"

static void put_client(struct document *entry, struct arena *arena, struct text json)
{
    static const char *const fields[] = {"version",      "platform",   "mode",
                                         "deviceFamily", "instanceId", NULL};
    struct document_limits limits = {65536, DOCUMENT_DEPTH_MAX, 100};
    struct document *client = NULL;

    if (json.data == NULL || document_parse(arena, json, &limits, NULL, &client) != OK)
        return;
    for (const char *const *field = fields; *field != NULL; field++) {
        struct text value = document_get_string(client, *field);

        if (value.len > 0)
            document_put_text(entry, *field, arena_text(arena, value));
    }
}

/* PresenceEntry of OpenClaw's schema. Columns: executor_id, principal_id, host, client, started_at,
 * seen_at, state. */
struct document *presence_document(struct arena *arena, struct db_rows *rows)
{
    struct document *list = document_array(arena);
    size_t count = db_rows_count(rows);

    for (size_t row = 0; row < count; row++) {
        struct document *entry = document_object(arena);
        struct document *user = document_object(arena);
        struct document *tags = document_array(arena);
        struct text principal = arena_text(arena, db_text(rows, row, 1));
        struct text state = arena_text(arena, db_text(rows, row, 6));

        if (!db_is_null(rows, row, 2))
            document_put_text(entry, "host", arena_text(arena, db_text(rows, row, 2)));
        put_client(entry, arena, db_text(rows, row, 3));
        document_put_text(entry, "text", principal);
        document_put_text(entry, "reason", state);
        document_append(tags, document_from_text(arena, state));
        document_put(entry, "tags", tags);
        document_put_int(entry, "ts", db_int(rows, row, 5));
        document_put_int(entry, "onlineSince", db_int(rows, row, 4));
        document_put_int(entry, "lastActivityAt", db_int(rows, row, 5));
        document_put_text(user, "id", principal);
        document_put(entry, "user", user);
        document_append(list, entry);
    }
    return list;
}

/* ---- watching ------------------------------------------------------------------------------ */

void presence_call(struct session *session, struct arena *arena, bool watch, int64_t limit,
                   struct db_call *ret_call)
{
    db_call_init(ret_call, arena, STATEMENT_PRESENCE_LIST);
    presence_add(session, watch, limit, ret_call);
}

void presence_add(struct session *session, bool watch, int64_t limit, struct db_call *ret_call)
{
    struct presence *presence = &session->presence;

    presence->watching = presence->watching || watch;
    db_add_int(ret_call, EXECUTOR_SUSPECT_MS(session->options));
    db_add_int(ret_call, limit);
    if (presence->watching)
        db_add_string(ret_call, session->engine->executor.id);
    else
        db_add_null(ret_call);
    principal_add_viewer(ret_call, &session->principal);
}

/* FNV-1a of who is there and in which state; when they were last seen is no news. */
static uint64_t digest_of(struct db_rows *rows)
{
    uint64_t digest = 0xcbf29ce484222325;

    for (size_t row = 0; row < db_rows_count(rows); row++) {
        for (unsigned column = 0; column <= 6; column += 6) {
            struct text text = db_text(rows, row, column);

            for (size_t i = 0; i < text.len; i++)
                digest = (digest ^ (unsigned char)text.data[i]) * 0x100000001b3;
        }
    }
    return digest;
}

bool presence_seen(struct session *session, struct db_rows *rows)
{
    struct presence *presence = &session->presence;
    uint64_t digest = digest_of(rows);
    bool changed = digest != presence->digest;

    presence->digest = digest;
    presence->looked_at = session->now;
    if (presence->watching)
        presence->look_at = session->now + clock_jitter_ms(PRESENCE_LOOK_MS);
    return changed;
}

void presence_wake(struct session *session)
{
    struct presence *presence = &session->presence;
    int64_t soon = presence->looked_at + PRESENCE_PAUSE_MS;

    if (presence->watching)
        presence->look_at = earlier(presence->look_at, soon > session->now ? soon : session->now);
}

static bool look_call(struct session *session, struct operation *operation,
                      struct db_call *ret_call)
{
    presence_call(session, operation->arena, true, PRESENCE_MAX, ret_call);
    return true;
}

static void look_answer(struct session *session, struct operation *operation, enum error error,
                        struct failure *failure, struct db_rows *rows)
{
    struct document *payload;

    (void)failure;
    session->presence.looking = false;
    if (session->state != SESSION_OPEN)
        return;
    if (error != OK) {
        session->presence.look_at = session->now + clock_jitter_ms(PRESENCE_LOOK_MS);
        return;
    }
    if (!presence_seen(session, rows) || !session_output_room(session))
        return;
    payload = document_object(operation->arena);
    document_put(payload, "presence", presence_document(operation->arena, rows));
    (void)frame_event(session, operation->arena, "presence", payload);
}

static const struct operation_kind look_kind = {"presence.look", look_call, look_answer, false};

void presence_advance(struct session *session)
{
    struct presence *presence = &session->presence;

    if (!presence->watching || presence->looking || session->now < presence->look_at)
        return;
    presence->looking = true;
    presence->look_at = INT64_MAX;
    (void)operation_new(session, &look_kind);
}

int64_t presence_deadline(const struct session *session)
{
    const struct presence *presence = &session->presence;

    return presence->watching && !presence->looking ? presence->look_at : INT64_MAX;
}

/* ---- the method ---------------------------------------------------------------------------- */

static void list_answer(struct session *session, struct operation *operation, enum error error,
                        struct failure *failure, struct db_rows *rows)
{
    struct request *request = operation->requests;

    if (error != OK) {
        frame_error(session, request, error, failure);
    } else {
        (void)presence_seen(session, rows);
        frame_result(session, request, presence_document(request->arena, rows));
    }
    request_end(session, request);
}

static const struct operation_kind list_kind = {"system-presence", look_call, list_answer, true};

void method_presence(struct session *session, struct request *request)
{
    operation_serve(operation_new(session, &list_kind), request);
}
