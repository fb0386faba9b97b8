/* SPDX-License-Identifier: MIT
 *
 * What a client presents to be known by. Safest first: the token in `connect` (handshake.c), the
 * header Authorization, the subprotocol openclaw.bearer.<base64url>, a ticket in the URL, which is
 * good once and for half a minute. A token in the URL is refused: it ends up in logs.
 *
 * While the session is open the credential is looked at again, so that it ends with its token.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/shared.h"
#include "base/token.h"
#include "session/state.h"

/* ---- what the web server passed on ---------------------------------------------------------- */

/* The value of a name in "a=b&c=d" or, with ',' and a prefix, in a list of subprotocols. */
static bool next_part(struct text *rest, char separator, struct text *ret_part)
{
    size_t len = 0;

    while (rest->len > 0 && (rest->data[0] == ' ' || rest->data[0] == separator))
        *rest = (struct text){rest->data + 1, rest->len - 1};
    while (len < rest->len && rest->data[len] != separator)
        len++;
    *ret_part = (struct text){rest->data, len};
    *rest = (struct text){rest->data + len, rest->len - len};
    while (ret_part->len > 0 && ret_part->data[ret_part->len - 1] == ' ')
        ret_part->len--;
    return ret_part->len > 0;
}

static struct text query_value(struct text query, const char *name)
{
    struct text part;
    size_t len = strlen(name);

    while (query.data != NULL && next_part(&query, '&', &part)) {
        if (text_starts(part, name) && part.len > len && part.data[len] == '=')
            return (struct text){part.data + len + 1, part.len - len - 1};
    }
    return TEXT_NONE;
}

bool credentials_token_in_url(const struct session *session)
{
    struct text query = session->peer->query;
    static const char *const names[] = {"token",    "access_token", "auth",
                                        "password", "api_key",      NULL};

    for (const char *const *name = names; *name != NULL; name++) {
        if (query_value(query, *name).len > 0)
            return true;
    }
    return false;
}

static struct text header_token(struct session *session)
{
    static const char prefix[] = "openclaw.bearer.";
    struct text token = bearer_token(session->peer->authorization);
    struct text rest = session->peer->subprotocols;
    struct text part;

    while (token.data == NULL && rest.data != NULL && next_part(&rest, ',', &part)) {
        struct text coded, bytes = TEXT_NONE;

        if (!text_starts(part, prefix))
            continue;
        coded = (struct text){part.data + sizeof(prefix) - 1, part.len - sizeof(prefix) + 1};
        if (base64url_decode(session->life, coded, &bytes) == OK && bytes.len <= TOKEN_TEXT_MAX)
            token = bytes;
    }
    return token;
}

struct text credentials_claimed(const struct session *session)
{
    return query_value(session->peer->query, "principal");
}

void credentials_find(struct session *session)
{
    session->token = header_token(session);
    if (session->token.data == NULL) {
        session->token = query_value(session->peer->query, "ticket");
        session->token_is_ticket = session->token.data != NULL;
        if (session->token.len > TOKEN_TEXT_MAX)
            session->token.len = TOKEN_TEXT_MAX; /* which is none */
    }
    session->token_by_header =
        session->token.len > 0 || session->options->auth_mode == (int)AUTH_NONE;
}

/* ---- is it good? ---------------------------------------------------------------------------- */

bool credentials_call(struct session *session, struct operation *operation,
                      struct db_call *ret_call)
{
    if (session->token_is_ticket)
        principal_redeem_call(ret_call, operation->arena, session->token,
                              session->engine->executor.id);
    else
        principal_check_call(ret_call, operation->arena, session->token);
    return true;
}

unsigned credentials_granted(const struct session *session, const struct principal *principal)
{
    return (principal_may(principal, SCOPE_OPERATOR) ? (unsigned)SCOPE_ALL : principal->scopes) &
           session->scopes_asked;
}

void credentials_log(const struct session *session, const char *why, bool failed)
{
    struct text remote = session->peer->remote;
    const char *whose = session->refused_as.id;

    /* deploy/fail2ban reads auth.failed; the same line as of the HTTP face */
    if (failed)
        counter_add(counter_of("auth_failures session"), 1);
    if (failed && strcmp(why, "too many") == 0)
        counter_add(counter_of("auth_limited session"), 1);
    if (why != NULL)
        log_event(LOG_WARN, failed ? "auth.failed" : "auth.refused",
                  LOG_TEXT("remote", remote.data != NULL ? remote : TEXT_LITERAL("unknown")),
                  LOG_STR("reason", why), LOG_STR("principal", whose[0] ? whose : NULL),
                  LOG_STR("session", session->engine->executor.id));
}

static bool used_call(struct session *session, struct operation *operation,
                      struct db_call *ret_call)
{
    principal_used_call(ret_call, operation->arena, session->principal.credential_id);
    return true;
}

static void used_answer(struct session *session, struct operation *operation, enum error error,
                        struct failure *failure, struct db_rows *rows)
{
    (void)session;
    (void)operation;
    (void)error;
    (void)failure;
    (void)rows;
}

static const struct operation_kind used_kind = {"credential.used", used_call, used_answer, false};

void credentials_used(struct session *session, const struct principal *principal)
{
    if (principal->use_is_news)
        (void)operation_new(session, &used_kind);
}

/* ---- is it still? --------------------------------------------------------------------------- */

static bool recheck_call(struct session *session, struct operation *operation,
                         struct db_call *ret_call)
{
    principal_recheck_call(ret_call, operation->arena, session->principal.credential_id);
    return true;
}

/* What was granted anew counts at once. Who may do less comes again, so that nothing goes on that
 * it could not begin now, a subscription say. */
static void take_scopes(struct session *session, unsigned granted)
{
    if ((session->principal.scopes & ~granted) == 0) {
        session->principal.scopes = granted;
        return;
    }
    credentials_log(session, "scopes taken away", false);
    session_end(session, "a scope was taken away; connect again", STOP_GRACE_MS);
}

static void recheck_answer(struct session *session, struct operation *operation, enum error error,
                           struct failure *failure, struct db_rows *rows)
{
    struct principal principal;

    (void)operation;
    session->rechecking = false;
    session->recheck_at = session->now + clock_jitter_ms(RECHECK_MS);
    if (session->state != SESSION_OPEN)
        return;
    if (error == OK)
        error = principal_check_result(rows, failure, &principal);
    if (error == ERR_UNAUTHORIZED) {
        credentials_log(session, "revoked", false);
        session_end(session, "the token was revoked or has expired", STOP_GRACE_MS);
    } else if (error == OK) {
        take_scopes(session, credentials_granted(session, &principal));
        credentials_used(session, &principal);
    } else {
        session->recheck_at = session->now + clock_jitter_ms(RETRY_MAX_MS);
    }
}

static const struct operation_kind recheck_kind = {"session.recheck", recheck_call, recheck_answer,
                                                   false};

void credentials_recheck(struct session *session)
{
    if (session->now < session->recheck_at || session->rechecking)
        return;
    session->recheck_at = INT64_MAX;
    if (session->options->auth_mode == (int)AUTH_NONE)
        return;
    session->rechecking = true;
    (void)operation_new(session, &recheck_kind);
}
